//! Directories on disk, relative to open descriptors.

use rebit_oci::object::ObjectError;

use crate::{InsertError, PathError, TreePath};

/// Why a directory on disk was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// An operation on a path failed.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was being done: `open`, `read`, `list` …
        action: &'static str,
        /// Relative to the directory that is read or written.
        path: TreePath,
        /// The cause.
        source: std::io::Error,
    },
    /// A file was written to while it was being read.
    #[error("`{path}` changed while it was being read")]
    Changed {
        /// Relative to the directory that is read.
        path: TreePath,
    },
    /// A name on disk is not a valid path of a tree.
    #[error("a name in `{directory}` cannot be in an image")]
    Name {
        /// Where the name is.
        directory: TreePath,
        /// What is wrong with it.
        source: PathError,
    },
    /// There is something that cannot be carried over and must not be dropped.
    #[error("`{path}`: {reason}")]
    Unsupported {
        /// Relative to the directory that is read or written.
        path: TreePath,
        /// What it is, in words.
        reason: String,
    },
    /// There is more than may be read.
    #[error("the directory has more than {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The objects' keeper failed.
    #[error("cannot keep or fetch the content of `{path}`")]
    Object {
        /// Relative to the directory that is read or written.
        path: TreePath,
        /// The cause.
        source: ObjectError,
    },
    /// The tree does not take the node.
    #[error("the tree does not take `{path}`")]
    Insert {
        /// Where.
        path: TreePath,
        /// The cause.
        source: InsertError,
    },
}

impl DiskError {
    pub(crate) fn io(action: &'static str, path: &TreePath, source: impl Into<std::io::Error>) -> Self {
        Self::Io { action, path: path.clone(), source: source.into() }
    }

    pub(crate) fn object(path: &TreePath, source: ObjectError) -> Self {
        Self::Object { path: path.clone(), source }
    }
}
