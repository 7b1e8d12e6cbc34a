//! What makes one tree into another: the content of a layer before it is tar.

use std::collections::BTreeMap;

use crate::tree::InsertError;
use crate::{Metadata, Node, Tree, TreePath};

/// What happens at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The path is to hold this node. A directory keeps what is below it; anything else replaces what was
    /// there. Hard-link groups are numbered within the changeset.
    Upsert(Node),
    /// The path, and everything below it, goes.
    Remove,
}

/// Changes in bytewise order of path.
///
/// The root has an entry only when its metadata changes; it is never removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changeset {
    entries: BTreeMap<TreePath, Change>,
}

/// Why a changeset does not apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The root would be removed or become something other than a directory.
    #[error("a changeset cannot replace the root")]
    Root {
        /// What is wrong.
        source: InsertError,
    },
    /// An entry lies below something that is not a directory and is not made one.
    #[error("`{path}` lies below something that is not a directory")]
    NotDirectory {
        /// The entry.
        path: TreePath,
    },
}

impl Changeset {
    /// No change.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that `tree` holds, its root's metadata included: what makes an empty directory into the
    /// tree.
    #[must_use]
    pub fn full(tree: &Tree) -> Self {
        let mut tree = tree.clone();
        tree.renumber_links();
        Self {
            entries: tree.iter().map(|(path, node)| (path.clone(), Change::Upsert(node.clone()))).collect(),
        }
    }

    /// Adds a change, in place of one at the same path.
    pub fn insert(&mut self, path: TreePath, change: Change) {
        self.entries.insert(path, change);
    }

    /// The change at `path`.
    #[must_use]
    pub fn get(&self, path: &TreePath) -> Option<&Change> {
        self.entries.get(path)
    }

    /// The changes in bytewise order of path.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&TreePath, &Change)> + Clone {
        self.entries.iter()
    }

    /// How many changes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The bytes of the files that it writes; every name of a hard link counts.
    #[must_use]
    pub fn size(&self) -> u64 {
        let size = |change: &Change| match change {
            Change::Upsert(node) => node.size(),
            Change::Remove => 0,
        };
        self.iter().map(|(_, change)| size(change)).fold(0, u64::saturating_add)
    }

    /// Whether there is no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds every ancestor directory of an entry, with the metadata that `upper` gives it. The root is not
    /// added.
    #[must_use]
    pub fn with_ancestors(mut self, upper: &Tree) -> Self {
        let mut missing: BTreeMap<TreePath, Change> = BTreeMap::new();
        for path in self.entries.keys() {
            for parent in path.ancestors().take_while(|parent| !parent.is_root()) {
                if self.entries.contains_key(&parent) || missing.contains_key(&parent) {
                    // Its own ancestors were or will be seen to with it.
                    break;
                }
                if let Some(node) = upper.get(&parent) {
                    missing.insert(parent, Change::Upsert(node.clone()));
                }
            }
        }
        self.entries.append(&mut missing);
        self
    }
}

/// Applies `changeset` to `lower`.
///
/// # Errors
/// [`ApplyError`] when an entry lies below a file or would replace the root.
pub fn apply(lower: &Tree, changeset: &Changeset) -> Result<Tree, ApplyError> {
    let mut tree = lower.clone();
    let mut groups: BTreeMap<u32, u32> = BTreeMap::new();
    let parents = Metadata::default();
    for (path, change) in changeset.iter() {
        match change {
            Change::Remove if path.is_root() => {
                return Err(ApplyError::Root { source: InsertError::Root });
            }
            Change::Remove => {
                tree.remove(path);
            }
            Change::Upsert(node) => {
                let blocked = path.ancestors().find_map(|parent| tree.get(&parent));
                if blocked.is_some_and(|node| !node.is_directory()) {
                    return Err(ApplyError::NotDirectory { path: path.clone() });
                }
                let mut node = node.clone();
                if node.link() != 0 {
                    let link = *groups.entry(node.link()).or_insert_with(|| tree.fresh_link());
                    node.set_link(link);
                }
                tree.insert(path.clone(), node, &parents).map_err(|source| ApplyError::Root { source })?;
            }
        }
    }
    Ok(tree)
}
