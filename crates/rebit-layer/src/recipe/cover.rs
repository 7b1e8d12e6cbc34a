//! Few edges instead of many: directories that hold what a recipe refers to, and nothing else.

use std::collections::{BTreeSet, HashMap, HashSet};

use rebit_oci::object::ObjectSource;
use rebit_oci::{ObjectId, TreeId};

use super::split::INLINE;
use crate::Kind;
use crate::tree::LoadError;
use crate::tree::object::{self, Entry};

/// Objects that together reach all of `wanted`: the directories of `tree` in which every file is wanted or too short to be referred to, the
/// topmost ones, and what is in none of these.
///
/// A recipe of a layer that adds a directory needs one edge for it. Nothing is reached but what the layer itself brought, as far as files go:
/// damage elsewhere does not count as damage to the recipe.
///
/// # Errors
/// [`LoadError`] when the tree cannot be read.
pub fn cover(
    wanted: &[ObjectId],
    tree: &TreeId,
    source: &dyn ObjectSource,
) -> Result<Vec<ObjectId>, LoadError> {
    let mut cover = Cover {
        wanted: wanted.iter().copied().collect(),
        tree: *tree,
        source,
        seen: HashMap::new(),
        edges: BTreeSet::new(),
    };
    let root = object::decode_root(&cover.read(&tree.object())?);
    let root = root.map_err(|source| LoadError::Corrupt { tree: *tree, object: tree.object(), source })?;
    let top = cover.visit(root.directory)?;
    cover.take(root.directory, top);
    let mut left = cover.wanted.clone();
    let mut pending: Vec<ObjectId> = cover.edges.iter().copied().collect();
    while let Some(directory) = pending.pop() {
        for Entry { node, directory, .. } in cover.entries(&directory)? {
            pending.extend(directory);
            if let Kind::File { object, .. } = node.kind {
                left.remove(&object);
            }
        }
    }
    cover.edges.extend(left);
    Ok(cover.edges.into_iter().collect())
}

struct Cover<'a> {
    wanted: HashSet<ObjectId>,
    tree: TreeId,
    source: &'a dyn ObjectSource,
    seen: HashMap<ObjectId, Holds>,
    edges: BTreeSet<ObjectId>,
}

/// What the files below a directory are.
#[derive(Clone, Copy)]
struct Holds {
    wanted: bool,
    others: bool,
}

impl Cover<'_> {
    fn read(&self, object: &ObjectId) -> Result<std::sync::Arc<[u8]>, LoadError> {
        self.source.read(object).map_err(|source| LoadError::Object { tree: self.tree, source })
    }

    fn entries(&self, directory: &ObjectId) -> Result<Vec<Entry>, LoadError> {
        object::decode_directory(&self.read(directory)?).map_err(|source| LoadError::Corrupt {
            tree: self.tree,
            object: *directory,
            source,
        })
    }

    fn visit(&mut self, directory: ObjectId) -> Result<Holds, LoadError> {
        if let Some(holds) = self.seen.get(&directory) {
            return Ok(*holds);
        }
        let mut holds = Holds { wanted: false, others: false };
        let mut below = Vec::new();
        for Entry { node, directory, .. } in self.entries(&directory)? {
            if let Some(directory) = directory {
                let held = self.visit(directory)?;
                holds.wanted |= held.wanted;
                holds.others |= held.others;
                below.push((directory, held));
            } else if let Kind::File { object, size, .. } = node.kind {
                let wanted = self.wanted.contains(&object);
                holds.wanted |= wanted;
                holds.others |= !wanted && size > INLINE;
            }
        }
        if holds.others {
            below.into_iter().for_each(|(directory, held)| self.take(directory, held));
        }
        self.seen.insert(directory, holds);
        Ok(holds)
    }

    fn take(&mut self, directory: ObjectId, holds: Holds) {
        if holds.wanted && !holds.others {
            self.edges.insert(directory);
        }
    }
}
