//! Why something could not be done with an image.

use std::io;
use std::path::{Path, PathBuf};

use rebit_layer::{EncodeError, LoadError, ReadError};
use rebit_oci::Digest;
use rebit_oci::digest::{Mismatch, ParseDigestError};
use rebit_oci::document::DocumentError;
use rebit_oci::object::ObjectError;
use rebit_store::StoreError;

use crate::Platform;

/// Why something could not be done with an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// There is no such image, blob or entry.
    #[error("{what} is not in `{place}`")]
    NotFound {
        /// What was looked for.
        what: String,
        /// Where.
        place: String,
    },
    /// A name fits more than one image.
    #[error("`{name}` in `{place}` can be any of {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked for; empty when nothing was.
        name: String,
        /// Where.
        place: String,
        /// What there is, at most 20 of them.
        candidates: Vec<String>,
    },
    /// An index has no manifest for the platform, or the image is for another one.
    #[error("there is no image for {wanted}, only for {}", available.join(", "))]
    NoPlatform {
        /// What was asked for.
        wanted: Platform,
        /// What there is.
        available: Vec<String>,
    },
    /// A blob is not what its digest or descriptor says.
    #[error("blob {digest} is damaged: {reason}")]
    CorruptBlob {
        /// The digest asked for.
        digest: Digest,
        /// What was found.
        reason: String,
    },
    /// A file or an archive entry is not what it should be.
    #[error("`{entry}` in `{place}` is not valid: {reason}")]
    CorruptEntry {
        /// The entry or file, relative to the place.
        entry: String,
        /// The archive or directory.
        place: String,
        /// What was found.
        reason: String,
    },
    /// Manifest, config and layers contradict each other.
    #[error("image {manifest} is inconsistent: {reason}")]
    Inconsistent {
        /// The manifest.
        manifest: Digest,
        /// What does not fit.
        reason: String,
    },
    /// A layer's tar stream is not the one the config promises.
    #[error("layer {number} ({digest}) has diff id {found} where the config says {expected}")]
    DiffId {
        /// Counted from 1, lowest first.
        number: usize,
        /// The blob.
        digest: Digest,
        /// What the config says.
        expected: Digest,
        /// What was found.
        found: Digest,
    },
    /// A layer could not be read as a tar archive.
    #[error("cannot read layer {number} ({digest})")]
    Layer {
        /// Counted from 1, lowest first.
        number: usize,
        /// The blob.
        digest: Digest,
        /// The cause.
        source: ReadError,
    },
    /// A root file system archive could not be read.
    #[error("cannot read the root file system")]
    Rootfs {
        /// The cause.
        source: ReadError,
    },
    /// What needs the files of an image was given one whose layers are not unpacked.
    #[error("the layers of image {digest} are not unpacked")]
    Packed {
        /// The manifest.
        digest: Digest,
    },
    /// This version cannot do that.
    #[error("{what} is not supported")]
    Unsupported {
        /// What was asked for.
        what: String,
    },
    /// An input is larger than a limit.
    #[error("{what} is above the limit of {limit}")]
    Limit {
        /// What was too large or too many.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// A document is not what it should be.
    #[error("cannot read an image document")]
    Document {
        /// The cause.
        #[from]
        source: DocumentError,
    },
    /// A descriptor names a digest that cannot be checked.
    #[error("a descriptor has a digest that cannot be used")]
    Digest {
        /// The cause.
        #[from]
        source: ParseDigestError,
    },
    /// A file could not be used.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was being done, in words.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A blob could not be read.
    #[error("cannot read blob {digest}")]
    BlobIo {
        /// The blob.
        digest: Digest,
        /// The cause.
        source: io::Error,
    },
    /// A place that this crate does not know itself, such as a registry, failed.
    #[error("cannot use `{place}`")]
    Place {
        /// The place.
        place: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A root file system stream could not be read.
    #[error("cannot read the input")]
    Input {
        /// The cause.
        source: io::Error,
    },
    /// The store failed.
    #[error("the store failed")]
    Store {
        /// The cause.
        #[from]
        source: StoreError,
    },
    /// An object of the store could not be read or written.
    #[error("cannot use an object of the store")]
    Object {
        /// The cause.
        #[from]
        source: ObjectError,
    },
    /// A tree could not be kept.
    #[error("cannot keep a tree")]
    StoreTree {
        /// The cause.
        #[from]
        source: rebit_layer::StoreError,
    },
    /// A tree could not be loaded.
    #[error("cannot load a tree")]
    LoadTree {
        /// The cause.
        #[from]
        source: LoadError,
    },
    /// A layer could not be written.
    #[error("cannot write a layer")]
    Encode {
        /// The cause.
        #[from]
        source: EncodeError,
    },
}

impl ImageError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// An error while reading `digest`: a mismatch is damage, anything else trouble with reading.
    pub(crate) fn blob(digest: Digest, source: io::Error) -> Self {
        match source.get_ref().and_then(|inner| inner.downcast_ref::<Mismatch>()) {
            Some(Mismatch::Digest { found, .. }) => {
                Self::CorruptBlob { digest, reason: format!("its bytes have digest {found}") }
            }
            Some(Mismatch::Length { expected, found, .. }) => {
                let reason = format!("it has {found} bytes where {expected} were promised");
                Self::CorruptBlob { digest, reason }
            }
            None if source.kind() == io::ErrorKind::UnexpectedEof => {
                Self::CorruptBlob { digest, reason: "it ends too early".to_owned() }
            }
            None => Self::BlobIo { digest, source },
        }
    }
}
