//! Why the store could not do something.

use std::io;
use std::path::{Path, PathBuf};

use rebit_oci::object::ObjectError;
use rebit_oci::{Digest, ObjectId};

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no store at this path, and creating one was not asked for.
    #[error("there is no store at `{}`", path.display())]
    NoStore {
        /// The root.
        path: PathBuf,
    },
    /// The directory holds something that is not a store.
    #[error("`{}` is not a store: {reason}", path.display())]
    NotAStore {
        /// The root.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The store was written by a newer program, in a way this one cannot read.
    #[error("the store at `{}` needs `{feature}`, which this version does not know", path.display())]
    UnsupportedFeature {
        /// The root.
        path: PathBuf,
        /// The name of the feature, or `format version N`.
        feature: String,
    },
    /// The store may be read but not written by this version.
    #[error("the store at `{}` is read-only for this version: it uses `{feature}`", path.display())]
    ReadOnly {
        /// The root.
        path: PathBuf,
        /// The name of the feature.
        feature: String,
    },
    /// Nobody has this object.
    #[error("object {object} is missing")]
    ObjectNotFound {
        /// The object asked for.
        object: ObjectId,
    },
    /// Nobody has this blob.
    #[error("blob {digest} is missing")]
    BlobNotFound {
        /// The blob asked for.
        digest: Digest,
    },
    /// No ref has this name.
    #[error("there is no ref `{name}`")]
    RefNotFound {
        /// The name asked for.
        name: String,
    },
    /// A ref of this name exists already.
    #[error("the ref `{name}` exists already")]
    RefExists {
        /// The name.
        name: String,
    },
    /// Something below a ref is missing, so what belongs to it cannot be told from garbage. Nothing was removed.
    #[error("ref `{name}` is damaged: object {object} below it is missing")]
    DanglingRef {
        /// The name of the ref.
        name: String,
        /// The missing object.
        object: ObjectId,
    },
    /// The operation needs the store for itself.
    #[error("{sessions} other sessions use the store")]
    InUse {
        /// How many.
        sessions: u64,
    },
    /// A name is empty, too long, or has control characters.
    #[error("`{name}` cannot be a name: {reason}")]
    InvalidName {
        /// The name, cut to 100 characters.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// An object refers to one that the store does not hold.
    #[error("{what} refers to object {edge}, which is missing")]
    MissingEdge {
        /// What refers to it, in words.
        what: String,
        /// The missing object.
        edge: ObjectId,
    },
    /// The bytes kept for an object are not its content.
    #[error("object {object} is damaged: {reason}")]
    CorruptObject {
        /// The object asked for.
        object: ObjectId,
        /// What was found, with pack and offset.
        reason: String,
    },
    /// The bytes kept for a blob are not its content.
    #[error("blob {digest} is damaged: {reason}")]
    CorruptBlob {
        /// The blob asked for.
        digest: Digest,
        /// What was found.
        reason: String,
    },
    /// The recipe of a blob cannot be followed: it is damaged, or needs what this program does not have.
    #[error("blob {digest} cannot be made from its recipe")]
    Recipe {
        /// The blob asked for.
        digest: Digest,
        /// The cause.
        source: io::Error,
    },
    /// The index is not a database, or its rows make no sense. [`Store::rebuild`](crate::Store::rebuild) helps.
    #[error("the index `{}` is damaged: {reason}", path.display())]
    CorruptIndex {
        /// The index file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// An input is larger than a limit.
    #[error("{what} is larger than the limit of {limit} bytes")]
    Limit {
        /// What was too large.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// The quota is used up. Nothing was written.
    #[error("the store is full: {used} of {limit} bytes are used")]
    Full {
        /// The quota, in bytes.
        limit: u64,
        /// What the whole store took when the write was refused, in bytes.
        used: u64,
    },
    /// The file system has no space left.
    #[error("no space is left on the disk for `{}`", path.display())]
    DiskFull {
        /// The file being written.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another process kept the index locked for longer than the time limit.
    #[error("another process keeps the index `{}` locked", path.display())]
    Busy {
        /// The index file.
        path: PathBuf,
    },
    /// The caller's reader failed.
    #[error("cannot read the content")]
    Input {
        /// The cause.
        source: io::Error,
    },
    /// An earlier write of this session failed; nothing it has not committed is kept.
    #[error("an earlier write of this session failed: {reason}")]
    SessionFailed {
        /// The earlier error, in words.
        reason: String,
    },
    /// A file or directory could not be used.
    #[error("cannot {what} `{}`", path.display())]
    Io {
        /// What was being done, in words.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The index could not be used.
    #[error("cannot {what} in the index")]
    Index {
        /// What was being done, in words.
        what: &'static str,
        /// The cause.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// Wraps an I/O error; a full disk becomes [`StoreError::DiskFull`].
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, source },
            _ => Self::Io { what, path, source },
        }
    }
}

impl From<StoreError> for ObjectError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::ObjectNotFound { object } => Self::NotFound { object },
            StoreError::CorruptObject { object, reason } => Self::Corrupt { object, reason },
            StoreError::Limit { what, limit } => Self::Limit { what, limit },
            other => Self::Storage { what: "the store failed".to_owned(), source: Box::new(other) },
        }
    }
}
