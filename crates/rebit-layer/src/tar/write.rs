//! The canonical tar stream of a changeset (`docs/format/layer.md`).

use crate::TreePath;

/// Why an entry cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A tar stream cannot say this.
    #[error("`{path}` cannot be in a layer: {reason}")]
    Unsupported {
        /// The entry.
        path: TreePath,
        /// Why not.
        reason: String,
    },
}
