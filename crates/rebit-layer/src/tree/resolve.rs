//! Resolving a path inside a tree, as a process whose root is the tree would.

use super::Tree;
use crate::path::shown;
use crate::{Kind, PathError, TreePath};

/// Most symbolic links that one resolution follows, as Linux.
const MAX_LINKS: usize = 40;

/// Why a path does not resolve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// More than 40 symbolic links on the way.
    #[error("too many symbolic links on the way to `{path}`")]
    Loop {
        /// The path asked for.
        path: String,
    },
    /// Something on the way is neither a directory nor a symbolic link.
    #[error("`{at}` is not a directory, on the way to `{path}`")]
    NotDirectory {
        /// What is in the way.
        at: TreePath,
        /// The path asked for.
        path: String,
    },
    /// A component, or what a symbolic link says, is not a valid path.
    #[error("`{path}` does not resolve")]
    Path {
        /// The path asked for.
        path: String,
        /// What is wrong.
        source: PathError,
    },
}

impl Tree {
    /// Resolves `path` from the root.
    ///
    /// Absolute symbolic links start again at the root and `..` stops there, so nothing leads out. With
    /// `follow_last`, or when `path` ends in `/`, a symbolic link at the end is followed too. Components that
    /// do not exist are kept: the result is where the path would be.
    ///
    /// # Errors
    /// [`ResolveError`] when more than 40 links are met or a file is used as a directory.
    pub fn resolve(&self, path: impl AsRef<[u8]>, follow_last: bool) -> Result<TreePath, ResolveError> {
        let asked = path.as_ref();
        let follow_last = follow_last || asked.ends_with(b"/");
        let mut pending: Vec<Vec<u8>> = Vec::new();
        push_reversed(&mut pending, asked);
        let mut current = TreePath::root();
        let mut links = 0;
        while let Some(component) = pending.pop() {
            if component == b".." {
                current = current.parent().unwrap_or(current);
                continue;
            }
            let next = current
                .join(&component)
                .map_err(|source| ResolveError::Path { path: shown(asked), source })?;
            match self.get(&next).map(|node| &node.kind) {
                Some(Kind::Symlink { target }) if follow_last || !pending.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(ResolveError::Loop { path: shown(asked) });
                    }
                    if target.starts_with(b"/") {
                        current = TreePath::root();
                    }
                    push_reversed(&mut pending, target);
                }
                Some(Kind::Directory) | None => current = next,
                Some(_) if pending.is_empty() => current = next,
                Some(_) => return Err(ResolveError::NotDirectory { at: next, path: shown(asked) }),
            }
        }
        Ok(current)
    }
}

fn push_reversed(pending: &mut Vec<Vec<u8>>, path: &[u8]) {
    let components = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    pending.extend(components.rev().map(<[u8]>::to_vec));
}
