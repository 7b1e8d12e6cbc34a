//! A whole file tree in memory: every path with its metadata, contents by [`ObjectId`](rebit_oci::ObjectId).
//!
//! A tree always has a root directory, and the parent of every entry is a directory of the tree.
//! Building blocks: [`Tree::resolve`] (symbolic links inside the root), [`Tree::graft`] (copy a
//! subtree), [`Tree::store`] and [`Tree::load`] (`docs/format/tree.md`).

mod graft;
mod links;
pub mod object;
mod resolve;
mod store;

use std::collections::BTreeMap;
use std::ops::Bound;

pub use graft::{Conflict, GraftError};
pub use resolve::ResolveError;
pub use store::{LoadError, MAX_DEPTH, MAX_ENTRIES, StoreError};

use crate::node::MODE_MASK;
use crate::{Kind, Metadata, Node, TreePath};

/// A file tree: a flat, ordered map of paths.
///
/// Equality compares hard-link groups by their members, not by their numbers.
#[derive(Debug, Clone)]
pub struct Tree {
    nodes: BTreeMap<TreePath, Node>,
    next_link: u32,
}

/// Why a node cannot be put into a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// The root is a directory and stays one.
    #[error("the root of a tree can only be a directory")]
    Root,
}

/// How many nodes of each kind a tree has, the root not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Directories.
    pub directories: u64,
    /// Names of regular files.
    pub files: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Devices and pipes.
    pub others: u64,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// An empty root directory: mode 0755, owner 0:0, mtime 0.
    #[must_use]
    pub fn new() -> Self {
        Self::with_root(Metadata::default())
    }

    /// An empty root directory with `metadata`.
    #[must_use]
    pub fn with_root(metadata: Metadata) -> Self {
        Self { nodes: BTreeMap::from([(TreePath::root(), Node::directory(metadata))]), next_link: 1 }
    }

    /// Takes sorted or unsorted nodes of a tree that is known to be whole: the root and every parent are
    /// in it.
    fn from_nodes(nodes: Vec<(TreePath, Node)>) -> Self {
        let next_link = nodes.iter().map(|(_, node)| node.link()).max().unwrap_or(0).saturating_add(1);
        Self { nodes: nodes.into_iter().collect(), next_link }
    }

    /// The node at `path`, symbolic links not followed.
    #[must_use]
    pub fn get(&self, path: &TreePath) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Whether there is a node at `path`.
    #[must_use]
    pub fn contains(&self, path: &TreePath) -> bool {
        self.nodes.contains_key(path)
    }

    /// Whether `path` is a directory of the tree.
    #[must_use]
    pub fn is_directory(&self, path: &TreePath) -> bool {
        self.get(path).is_some_and(Node::is_directory)
    }

    /// As [`is_directory`](Self::is_directory), without a path being made for it.
    pub(crate) fn is_directory_at(&self, path: &[u8]) -> bool {
        self.nodes.get(path).is_some_and(Node::is_directory)
    }

    /// The metadata of the root directory.
    #[must_use]
    pub fn root(&self) -> &Metadata {
        match self.nodes.get(&[][..]) {
            Some(node) => &node.metadata,
            None => unreachable!("a tree always has a root"),
        }
    }

    /// Puts `node` at `path`.
    ///
    /// Parents that are missing are made with the metadata `parents`; a parent that is not a directory is
    /// replaced by one. A directory put over a directory changes its metadata and keeps what is below;
    /// anything else replaces what was there, subtree and all. A file whose hard-link group is not 0
    /// joins the group of that number in this tree: use [`fresh_link`](Self::fresh_link) for a new one.
    ///
    /// # Errors
    /// [`InsertError::Root`] for anything but a directory at the root.
    pub fn insert(&mut self, path: TreePath, mut node: Node, parents: &Metadata) -> Result<(), InsertError> {
        if path.is_root() && !node.is_directory() {
            return Err(InsertError::Root);
        }
        node.metadata.mode = match node.kind {
            Kind::Symlink { .. } => 0o777,
            _ => node.metadata.mode & MODE_MASK,
        };
        self.make_parents(&path, parents);
        self.next_link = self.next_link.max(node.link().saturating_add(1));
        if !node.is_directory() && self.is_directory(&path) {
            self.remove(&path);
        }
        self.nodes.insert(path, node);
        Ok(())
    }

    fn make_parents(&mut self, path: &TreePath, metadata: &Metadata) {
        if self.is_directory_at(path.parent_bytes()) {
            return;
        }
        for parent in path.ancestors() {
            if self.is_directory(&parent) {
                break;
            }
            self.nodes.insert(parent, Node::directory(metadata.clone()));
        }
    }

    /// Removes `path` and everything below it, and returns how many nodes went. The root itself stays.
    pub fn remove(&mut self, path: &TreePath) -> usize {
        let below: Vec<TreePath> = match self.get(path) {
            None => return 0,
            Some(node) if node.is_directory() => self.below(path).map(|(path, _)| path.clone()).collect(),
            Some(_) => Vec::new(),
        };
        for path in &below {
            self.nodes.remove(path);
        }
        let itself = !path.is_root() && self.nodes.remove(path).is_some();
        below.len() + usize::from(itself)
    }

    /// Changes the metadata of the node at `path` and of every other name of the same file. Returns
    /// whether there is such a node.
    pub fn update_metadata(&mut self, path: &TreePath, mut change: impl FnMut(&mut Metadata)) -> bool {
        let Some(node) = self.nodes.get_mut(path) else { return false };
        let mut apply = |node: &mut Node| {
            change(&mut node.metadata);
            node.metadata.mode &= MODE_MASK;
            if matches!(node.kind, Kind::Symlink { .. }) {
                node.metadata.mode = 0o777;
            }
        };
        match node.link() {
            0 => apply(node),
            link => self.nodes.values_mut().filter(|node| node.link() == link).for_each(apply),
        }
        true
    }

    /// Sets the mtime of every node, the root included.
    pub fn set_mtimes(&mut self, mtime: i64) {
        self.nodes.values_mut().for_each(|node| node.metadata.mtime = mtime);
    }

    /// Every node in bytewise order of path, the root first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&TreePath, &Node)> + Clone {
        self.nodes.iter()
    }

    /// Every node strictly below `path`, in bytewise order.
    pub fn below(&self, path: &TreePath) -> impl DoubleEndedIterator<Item = (&TreePath, &Node)> + Clone {
        let first = after(path, b'/');
        let end = after(path, b'/' + 1);
        let range: (Bound<&[u8]>, Bound<&[u8]>) = if path.is_root() {
            (Bound::Excluded(&[]), Bound::Unbounded)
        } else {
            (Bound::Included(&first), Bound::Excluded(&end))
        };
        self.nodes.range::<[u8], _>(range)
    }

    /// The entries of the directory `path`, in bytewise order of full path.
    pub fn children<'a>(
        &'a self,
        path: &TreePath,
    ) -> impl Iterator<Item = (&'a TreePath, &'a Node)> + use<'a> {
        let parent = path.clone();
        let mut start =
            if path.is_root() { Bound::Excluded(Vec::new()) } else { Bound::Included(after(path, b'/')) };
        let end = if path.is_root() { Bound::Unbounded } else { Bound::Excluded(after(path, b'/' + 1)) };
        std::iter::from_fn(move || {
            loop {
                let range = (start.as_ref().map(Vec::as_slice), end.as_ref().map(Vec::as_slice));
                let (found, node) = self.nodes.range::<[u8], _>(range).next()?;
                if found.parent_bytes() == parent.as_bytes() {
                    start = Bound::Excluded(found.as_bytes().to_vec());
                    return Some((found, node));
                }
                // Below a child: go to where the names after it start.
                let depth = if parent.is_root() { 0 } else { parent.as_bytes().len() + 1 };
                let name = found.as_bytes().iter().skip(depth).take_while(|byte| **byte != b'/').count();
                let mut jump = found.as_bytes().get(..depth + name)?.to_vec();
                jump.push(b'/' + 1);
                start = Bound::Included(jump);
            }
        })
    }

    /// How many nodes there are, the root included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing but the root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.len() <= 1
    }

    /// How many nodes of each kind there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (_, node) in self.below(&TreePath::root()) {
            match node.kind {
                Kind::Directory => counts.directories += 1,
                Kind::File { .. } => counts.files += 1,
                Kind::Symlink { .. } => counts.symlinks += 1,
                Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => counts.others += 1,
            }
        }
        counts
    }

    /// Bytes of all files, one with several names counted once.
    #[must_use]
    pub fn size(&self) -> u64 {
        let mut seen = std::collections::BTreeSet::new();
        let counted = self.nodes.values().filter(|node| node.link() == 0 || seen.insert(node.link()));
        counted.map(Node::size).fold(0, u64::saturating_add)
    }

    /// Whether both trees hold the same nodes; `compare` says whether mtimes count.
    #[must_use]
    pub fn same(&self, other: &Self, compare: crate::Compare) -> bool {
        self.len() == other.len()
            && self.iter().zip(other.iter()).all(|((path, a), (other_path, b))| {
                path == other_path
                    && a.kind.same_but_link(&b.kind)
                    && compare.metadata(&a.metadata, &b.metadata)
            })
            && self.link_groups() == other.link_groups()
    }
}

impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        self.same(other, crate::Compare::Exact)
    }
}

impl Eq for Tree {}

/// `path` and one more byte: the bounds of what lies below it.
fn after(path: &TreePath, byte: u8) -> Vec<u8> {
    let mut bound = Vec::with_capacity(path.as_bytes().len() + 1);
    bound.extend_from_slice(path.as_bytes());
    bound.push(byte);
    bound
}

#[cfg(test)]
mod tests;
