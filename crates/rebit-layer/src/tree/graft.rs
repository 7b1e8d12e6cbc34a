//! Copying a part of one tree into another: what `COPY` does.

use std::collections::BTreeMap;

use super::{InsertError, Tree};
use crate::{Metadata, Node, PathError, TreePath};

/// What to do when a directory would come over something else, or something else over a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// Replace what is there.
    Replace,
    /// Fail with [`GraftError::Conflict`].
    Refuse,
}

/// Why a subtree was not copied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraftError {
    /// The source has nothing at the path.
    #[error("`{path}` does not exist in the source")]
    NotFound {
        /// The path in the source.
        path: TreePath,
    },
    /// A directory meets something that is not one, and replacing was not asked for.
    #[error("`{path}` cannot be replaced: one is a directory and the other is not")]
    Conflict {
        /// The path in the destination.
        path: TreePath,
    },
    /// A destination path is too long.
    #[error("a destination path is not valid")]
    Path {
        /// What is wrong.
        source: PathError,
    },
    /// Something other than a directory was to become the root.
    #[error("the destination cannot take the node")]
    Insert {
        /// What is wrong.
        source: InsertError,
    },
}

impl Tree {
    /// Copies `source_path` of `source`, with everything below it, to `destination` of this tree.
    ///
    /// `policy` sees each node with its destination path before it is written, may change it, and returns
    /// whether to write it; what is below a node that is not written is offered all the same. Directories
    /// merge with those that are there. Missing parents get the metadata `parents`. Hard-link groups come
    /// along under fresh numbers, as far as their names do. Paths are taken literally: resolve them before.
    ///
    /// # Errors
    /// [`GraftError`]; what was written before an error stays.
    pub fn graft(
        &mut self,
        source: &Self,
        source_path: &TreePath,
        destination: &TreePath,
        parents: &Metadata,
        conflict: Conflict,
        mut policy: impl FnMut(&TreePath, &mut Node) -> bool,
    ) -> Result<(), GraftError> {
        let top =
            source.get(source_path).ok_or_else(|| GraftError::NotFound { path: source_path.clone() })?;
        let mut groups: BTreeMap<u32, u32> = BTreeMap::new();
        for (path, node) in std::iter::once((source_path, top)).chain(source.below(source_path)) {
            let below = path.relative_to(source_path).unwrap_or_else(TreePath::root);
            let target = destination.append(&below).map_err(|source| GraftError::Path { source })?;
            let mut node = node.clone();
            if node.link() != 0 {
                let link = *groups.entry(node.link()).or_insert_with(|| self.fresh_link());
                node.set_link(link);
            }
            if !policy(&target, &mut node) {
                continue;
            }
            let there = self.get(&target);
            if conflict == Conflict::Refuse
                && there.is_some_and(|there| there.is_directory() != node.is_directory())
            {
                return Err(GraftError::Conflict { path: target });
            }
            self.insert(target, node, parents).map_err(|source| GraftError::Insert { source })?;
        }
        Ok(())
    }
}
