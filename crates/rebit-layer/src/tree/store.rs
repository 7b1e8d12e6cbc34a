//! Keeping a tree as objects: one for each directory and one for the root (`docs/format/tree.md`).

use std::collections::{BTreeMap, BTreeSet};

use rebit_oci::object::{ObjectError, ObjectSink, ObjectSource};
use rebit_oci::{ObjectId, TreeId};

use super::Tree;
use super::object::{self, DecodeError, Entry, Root};
use crate::{Kind, Node, PathError, TreePath, xattr};

/// Most nodes that a tree may have when it is stored or loaded.
pub const MAX_ENTRIES: usize = 4 << 20;
/// Deepest path that a tree may have when it is stored or loaded, in components.
pub const MAX_DEPTH: usize = 256;

/// Why a tree was not stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The tree is larger than what loads.
    #[error("the tree has {what}; the limit is {limit}")]
    Limit {
        /// What there is too much of, with the path where one is at fault.
        what: String,
        /// The limit.
        limit: usize,
    },
    /// A node holds what the format cannot say.
    #[error("`{path}` cannot be stored: {reason}")]
    Unsupported {
        /// The node.
        path: TreePath,
        /// Why not.
        reason: &'static str,
    },
    /// The objects' keeper failed.
    #[error("cannot store a tree")]
    Object {
        /// The cause.
        #[from]
        source: ObjectError,
    },
}

/// Why a tree was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// An object of the tree is missing, damaged or unreadable.
    #[error("cannot load tree {tree}")]
    Object {
        /// The tree asked for.
        tree: TreeId,
        /// The cause.
        source: ObjectError,
    },
    /// An object is not what a tree is made of.
    #[error("object {object} of tree {tree} is not a tree object")]
    Corrupt {
        /// The tree asked for.
        tree: TreeId,
        /// The object.
        object: ObjectId,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// Names put together give a path that is not valid, or a hard-link group names what is not a file.
    #[error("tree {tree} is inconsistent at `{path}`")]
    Inconsistent {
        /// The tree asked for.
        tree: TreeId,
        /// Where.
        path: TreePath,
    },
    /// A path is too long.
    #[error("tree {tree} has a path that is not valid")]
    Path {
        /// The tree asked for.
        tree: TreeId,
        /// What is wrong.
        source: PathError,
    },
    /// There is more than a tree may have.
    #[error("tree {tree} has more than {limit} {what}")]
    Limit {
        /// The tree asked for.
        tree: TreeId,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

type Named<'a> = (&'a [u8], &'a Node, Option<ObjectId>);

impl Tree {
    /// Stores the tree and returns its identity. Directories that are the same give the same object, in
    /// one tree and from tree to tree.
    ///
    /// # Errors
    /// [`StoreError`]; file contents must be in the sink already, as its contract on edges says.
    pub fn store(&self, sink: &dyn ObjectSink) -> Result<TreeId, StoreError> {
        if self.len() > MAX_ENTRIES {
            return Err(StoreError::Limit { what: format!("{} entries", self.len()), limit: MAX_ENTRIES });
        }
        let mut waiting: BTreeMap<&[u8], Vec<Named<'_>>> = BTreeMap::new();
        // In reverse order of path what a directory holds comes before the directory itself.
        for (path, node) in self.iter().rev() {
            check(path, node)?;
            let directory = match node.kind {
                Kind::Directory => {
                    Some(store_directory(waiting.remove(path.as_bytes()).unwrap_or_default(), sink)?)
                }
                _ => None,
            };
            match path.file_name() {
                Some(name) => waiting.entry(path.parent_bytes()).or_default().push((name, node, directory)),
                None => return self.store_root(directory.unwrap_or(ObjectId([0; 32])), sink),
            }
        }
        unreachable!("a tree always has a root")
    }

    fn store_root(&self, directory: ObjectId, sink: &dyn ObjectSink) -> Result<TreeId, StoreError> {
        let root = Root { metadata: self.root().clone(), directory, groups: self.link_groups() };
        let object = sink.put(&object::encode_root(&root), &[directory])?;
        Ok(TreeId(*object.as_bytes()))
    }

    /// Loads a tree.
    ///
    /// # Errors
    /// [`LoadError`]; at most [`MAX_ENTRIES`] nodes and [`MAX_DEPTH`] levels are taken.
    pub fn load(id: &TreeId, source: &dyn ObjectSource) -> Result<Self, LoadError> {
        let tree = *id;
        let read =
            |object: &ObjectId| source.read(object).map_err(|source| LoadError::Object { tree, source });
        let corrupt = |object, source| LoadError::Corrupt { tree, object, source };
        let root =
            object::decode_root(&read(&id.object())?).map_err(|source| corrupt(id.object(), source))?;

        let empty = ObjectId::of(&object::encode_directory(std::iter::empty::<Named<'_>>()));
        let mut nodes = vec![(TreePath::root(), Node::directory(root.metadata))];
        let mut pending = vec![(TreePath::root(), root.directory)];
        while let Some((parent, object)) = pending.pop() {
            if object == empty {
                continue;
            }
            let entries =
                object::decode_directory(&read(&object)?).map_err(|source| corrupt(object, source))?;
            if nodes.len() + entries.len() > MAX_ENTRIES {
                return Err(LoadError::Limit { tree, what: "entries", limit: MAX_ENTRIES });
            }
            if !entries.is_empty() && parent.depth() >= MAX_DEPTH {
                return Err(LoadError::Limit { tree, what: "levels", limit: MAX_DEPTH });
            }
            for Entry { name, node, directory } in entries {
                let path = parent.join(&name).map_err(|source| LoadError::Path { tree, source })?;
                if let Some(directory) = directory {
                    pending.push((path.clone(), directory));
                }
                nodes.push((path, node));
            }
        }
        let mut loaded = Self::from_nodes(nodes);
        for group in root.groups {
            loaded.load_group(tree, &group)?;
        }
        Ok(loaded)
    }

    fn load_group(&mut self, tree: TreeId, group: &[TreePath]) -> Result<(), LoadError> {
        let first = group.first().and_then(|path| self.get(path)).cloned();
        for path in group {
            // A file that is in a group already, or is not the same file as the first, is nobody's encoding.
            let fits = matches!((self.get(path), &first), (Some(node), Some(first))
                if matches!(node.kind, Kind::File { link: 0, .. })
                    && node.kind == first.kind
                    && node.metadata.same_but_mtime(&first.metadata));
            if !fits {
                return Err(LoadError::Inconsistent { tree, path: path.clone() });
            }
        }
        let link = self.fresh_link();
        self.set_group(group, link);
        Ok(())
    }
}

fn store_directory(mut entries: Vec<Named<'_>>, sink: &dyn ObjectSink) -> Result<ObjectId, ObjectError> {
    entries.sort_unstable_by_key(|(name, ..)| *name);
    let edges: BTreeSet<ObjectId> = entries
        .iter()
        .filter_map(|(_, node, directory)| match node.kind {
            Kind::File { object, .. } => Some(object),
            _ => *directory,
        })
        .collect();
    let edges: Vec<ObjectId> = edges.into_iter().collect();
    sink.put(&object::encode_directory(entries.into_iter()), &edges)
}

/// Refuses what would not load again.
fn check(path: &TreePath, node: &Node) -> Result<(), StoreError> {
    if path.depth() > MAX_DEPTH {
        return Err(StoreError::Limit { what: format!("`{path}`, too deep"), limit: MAX_DEPTH });
    }
    let refuse = |reason| Err(StoreError::Unsupported { path: path.clone(), reason });
    if let Kind::Symlink { target } = &node.kind
        && !object::valid_target(target)
    {
        return refuse("its target is empty, too long or holds a NUL byte");
    }
    let xattrs = &node.metadata.xattrs;
    let bytes: usize = xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if xattrs.len() > xattr::MAX_COUNT || bytes > xattr::MAX_BYTES {
        return refuse("it has too many extended attributes");
    }
    if xattrs.keys().any(|name| name.is_empty() || name.len() > 255 || name.contains(&0)) {
        return refuse("the name of an extended attribute is not valid");
    }
    Ok(())
}
