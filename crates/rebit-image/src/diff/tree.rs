//! Where two trees differ.
//!
//! Trees are kept as one object for each directory, named by its content: a directory that both have is one comparison
//! of two names, however much is below it. The trees may be in two stores.

use std::collections::{BTreeMap, BTreeSet};

use rebit_layer::tree::object::{self, Entry, Root};
use rebit_layer::tree::{MAX_DEPTH, MAX_ENTRIES};
use rebit_layer::{LoadError, Metadata, Node, TreePath};
use rebit_oci::object::ObjectSource;
use rebit_oci::{ObjectId, TreeId};

/// A tree and where its objects are.
#[derive(Clone, Copy)]
pub struct TreeSide<'a> {
    /// Who has the objects.
    pub objects: &'a dyn ObjectSource,
    /// The tree.
    pub tree: TreeId,
}

impl std::fmt::Debug for TreeSide<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeSide").field("tree", &self.tree).finish_non_exhaustive()
    }
}

/// A path at which two trees differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeChange {
    /// The path.
    pub path: TreePath,
    /// What the first tree has there.
    pub a: Option<Node>,
    /// What the second tree has there.
    pub b: Option<Node>,
    /// What is below a directory that only one of them has: entries, and bytes of files.
    pub below: (u64, u64),
}

/// A file that has other hard links: the names it has in the first tree and in the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkChange {
    /// The first of its names.
    pub path: TreePath,
    /// All its names in the first tree; empty when it has one or none.
    pub a: Vec<TreePath>,
    /// All its names in the second tree.
    pub b: Vec<TreePath>,
}

/// All differences of two trees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeChanges {
    /// In order of path. A directory that only one tree has is one change.
    pub changes: Vec<TreeChange>,
    /// Files whose hard links differ, though the paths are in both.
    pub links: Vec<LinkChange>,
    /// How many further changes there are.
    pub more: u64,
}

/// Most changes that are kept; further ones are counted.
const MAX_CHANGES: usize = 200_000;

/// Compares two trees; modification times count when `times` says so.
///
/// # Errors
/// [`LoadError`] when an object is missing or not part of a tree, or a tree has more than a tree may have.
pub fn changes(a: &TreeSide<'_>, b: &TreeSide<'_>, times: bool) -> Result<TreeChanges, LoadError> {
    let mut found = TreeChanges::default();
    if a.tree == b.tree {
        return Ok(found);
    }
    let mut walk = Walk { a, b, times, visited: 0, found: &mut found };
    let (root_a, root_b) = (walk.root(a)?, walk.root(b)?);
    // When the root was changed is in no layer that does not list it: an image has no say in it.
    let node = |root: &Root| Node::directory(Metadata { mtime: 0, ..root.metadata.clone() });
    walk.both(TreePath::root(), node(&root_a), node(&root_b));
    walk.directories(root_a.directory, root_b.directory)?;
    found.changes.sort_by(|x, y| x.path.cmp(&y.path));
    found.links = links(&root_a, &root_b, &found.changes);
    Ok(found)
}

/// Whether two trees are the same, but for when the root was changed. Only their root objects are read.
///
/// # Errors
/// As [`changes`].
pub fn same(a: &TreeSide<'_>, b: &TreeSide<'_>) -> Result<bool, LoadError> {
    if a.tree == b.tree {
        return Ok(true);
    }
    let mut found = TreeChanges::default();
    let walk = Walk { a, b, times: true, visited: 0, found: &mut found };
    let (x, y) = (walk.root(a)?, walk.root(b)?);
    Ok(x.directory == y.directory && x.groups == y.groups && x.metadata.same_but_mtime(&y.metadata))
}

/// What a tree has at a path; only the directories above it are read.
///
/// # Errors
/// As [`changes`].
pub fn node_at(side: &TreeSide<'_>, path: &TreePath) -> Result<Option<Node>, LoadError> {
    let mut found = TreeChanges::default();
    let mut walk = Walk { a: side, b: side, times: true, visited: 0, found: &mut found };
    let root = walk.root(side)?;
    if path.is_root() {
        return Ok(Some(Node::directory(root.metadata)));
    }
    let mut directory = Some(root.directory);
    let mut node = None;
    for name in path.as_bytes().split(|byte| *byte == b'/') {
        let Some(object) = directory else { return Ok(None) };
        let Some(entry) = walk.entries(side, &TreePath::root(), object)?.remove(name) else {
            return Ok(None);
        };
        (directory, node) = (entry.directory, Some(entry.node));
    }
    Ok(node)
}

struct Walk<'a> {
    a: &'a TreeSide<'a>,
    b: &'a TreeSide<'a>,
    times: bool,
    visited: usize,
    found: &'a mut TreeChanges,
}

impl Walk<'_> {
    fn read<T>(
        &self,
        side: &TreeSide<'_>,
        object: ObjectId,
        decode: impl Fn(&[u8]) -> Result<T, object::DecodeError>,
    ) -> Result<T, LoadError> {
        let tree = side.tree;
        let bytes = side.objects.read(&object).map_err(|source| LoadError::Object { tree, source })?;
        decode(&bytes).map_err(|source| LoadError::Corrupt { tree, object, source })
    }

    fn root(&self, side: &TreeSide<'_>) -> Result<Root, LoadError> {
        self.read(side, side.tree.object(), object::decode_root)
    }

    /// The entries of a directory at `path`, within the limits of a tree.
    fn entries(
        &mut self,
        side: &TreeSide<'_>,
        path: &TreePath,
        object: ObjectId,
    ) -> Result<BTreeMap<Vec<u8>, Entry>, LoadError> {
        let tree = side.tree;
        let entries = self.read(side, object, object::decode_directory)?;
        self.visited += entries.len();
        if self.visited > 2 * MAX_ENTRIES {
            return Err(LoadError::Limit { tree, what: "entries", limit: MAX_ENTRIES });
        }
        if !entries.is_empty() && path.depth() >= MAX_DEPTH {
            return Err(LoadError::Limit { tree, what: "levels", limit: MAX_DEPTH });
        }
        Ok(entries.into_iter().map(|entry| (entry.name.clone(), entry)).collect())
    }

    fn directories(&mut self, a: ObjectId, b: ObjectId) -> Result<(), LoadError> {
        let mut pending = vec![(TreePath::root(), a, b)];
        while let Some((parent, a, b)) = pending.pop() {
            if a == b {
                continue;
            }
            let (side_a, side_b) = (self.a, self.b);
            let (mut in_a, mut in_b) = (self.entries(side_a, &parent, a)?, self.entries(side_b, &parent, b)?);
            let names: BTreeSet<Vec<u8>> = in_a.keys().chain(in_b.keys()).cloned().collect();
            for name in names {
                let tree = side_a.tree;
                let path = parent.join(&name).map_err(|source| LoadError::Path { tree, source })?;
                match (in_a.remove(&name), in_b.remove(&name)) {
                    (Some(x), Some(y)) => {
                        if let (Some(x), Some(y)) = (x.directory, y.directory) {
                            pending.push((path.clone(), x, y));
                        }
                        self.both(path, x.node, y.node);
                    }
                    (Some(x), None) => self.one(side_a, path, x, true)?,
                    (None, Some(y)) => self.one(side_b, path, y, false)?,
                    (None, None) => {}
                }
            }
        }
        Ok(())
    }

    fn both(&mut self, path: TreePath, a: Node, b: Node) {
        let same = a.kind.same_but_link(&b.kind)
            && a.metadata.same_but_mtime(&b.metadata)
            && (!self.times || a.metadata.mtime == b.metadata.mtime);
        if !same {
            self.push(TreeChange { path, a: Some(a), b: Some(b), below: (0, 0) });
        }
    }

    fn one(
        &mut self,
        side: &TreeSide<'_>,
        path: TreePath,
        entry: Entry,
        first: bool,
    ) -> Result<(), LoadError> {
        let mut below = (0_u64, 0_u64);
        let mut pending: Vec<(TreePath, ObjectId)> =
            entry.directory.map(|directory| (path.clone(), directory)).into_iter().collect();
        while let Some((parent, directory)) = pending.pop() {
            for (name, entry) in self.entries(side, &parent, directory)? {
                below = (below.0 + 1, below.1.saturating_add(size(&entry.node)));
                if let Some(directory) = entry.directory {
                    let tree = side.tree;
                    let path = parent.join(&name).map_err(|source| LoadError::Path { tree, source })?;
                    pending.push((path, directory));
                }
            }
        }
        let node = Some(entry.node);
        let (a, b) = if first { (node, None) } else { (None, node) };
        self.push(TreeChange { path, a, b, below });
        Ok(())
    }

    fn push(&mut self, change: TreeChange) {
        if self.found.changes.len() < MAX_CHANGES {
            self.found.changes.push(change);
        } else {
            self.found.more += 1;
        }
    }
}

/// The length of a file, 0 of anything else.
pub(super) fn size(node: &Node) -> u64 {
    match node.kind {
        rebit_layer::Kind::File { size, .. } => size,
        _ => 0,
    }
}

/// Groups that are in one tree only. Where a name came or went the change of the tree says so already.
fn links(a: &Root, b: &Root, changes: &[TreeChange]) -> Vec<LinkChange> {
    let one_sided: BTreeSet<&TreePath> = changes
        .iter()
        .filter(|change| change.a.is_none() || change.b.is_none())
        .map(|change| &change.path)
        .collect();
    let of = |groups: &[Vec<TreePath>]| -> BTreeMap<TreePath, Vec<TreePath>> {
        let common = |group: &Vec<TreePath>| -> Vec<TreePath> {
            let there = |path: &&TreePath| {
                !one_sided.contains(path) && !path.ancestors().any(|parent| one_sided.contains(&parent))
            };
            group.iter().filter(there).cloned().collect()
        };
        let common = groups.iter().map(common).filter(|group| group.len() > 1);
        common.flat_map(|group| group.clone().into_iter().map(move |path| (path, group.clone()))).collect()
    };
    // Only groups that are not the same need a closer look.
    let (all_a, all_b): (BTreeSet<_>, BTreeSet<_>) = (a.groups.iter().collect(), b.groups.iter().collect());
    let only = |groups: &[Vec<TreePath>], others: &BTreeSet<&Vec<TreePath>>| {
        groups.iter().filter(|group| !others.contains(group)).cloned().collect::<Vec<_>>()
    };
    let (of_a, of_b) = (of(&only(&a.groups, &all_b)), of(&only(&b.groups, &all_a)));
    let paths: BTreeSet<&TreePath> = of_a.keys().chain(of_b.keys()).collect();
    let mut said: BTreeSet<(Vec<TreePath>, Vec<TreePath>)> = BTreeSet::new();
    let mut found = Vec::new();
    for path in paths {
        let names =
            |groups: &BTreeMap<TreePath, Vec<TreePath>>| groups.get(path).cloned().unwrap_or_default();
        let (a, b) = (names(&of_a), names(&of_b));
        if a != b && said.insert((a.clone(), b.clone())) {
            found.push(LinkChange { path: path.clone(), a, b });
        }
    }
    found
}

#[cfg(test)]
mod tests;
