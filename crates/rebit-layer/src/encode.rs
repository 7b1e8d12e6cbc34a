//! From a changeset to the blob of a layer.

use rebit_oci::manifest::Compression;
use rebit_oci::object::{ObjectError, ObjectSink, ObjectSource};
use rebit_oci::{DiffId, Digest, ObjectId};

use crate::segment::SegmentKey;
use crate::tar::write::WriteError;
use crate::{Changeset, Report};

/// Remembers compressed segments.
pub trait SegmentCache: Sync {
    /// The compressed part of the segment `key` made by the encoder `encoder`, and its length.
    fn get(&self, key: &SegmentKey, encoder: &str) -> Option<(ObjectId, u64)>;

    /// Remembers a part. Failing to is no error: it is only a cache.
    fn put(&self, key: &SegmentKey, encoder: &str, part: ObjectId, size: u64);
}

/// Remembers nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSegmentCache;

impl SegmentCache for NoSegmentCache {
    fn get(&self, _key: &SegmentKey, _encoder: &str) -> Option<(ObjectId, u64)> {
        None
    }

    fn put(&self, _key: &SegmentKey, _encoder: &str, _part: ObjectId, _size: u64) {}
}

/// A layer format: everything that decides the bytes besides the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum LayerFormat {
    /// `docs/format/layer.md`, format 1.
    #[default]
    V1,
}

/// How a changeset becomes a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeOptions {
    /// mtime of every entry, in seconds since 1970.
    pub epoch: i64,
    /// How the blob is compressed.
    pub compression: Compression,
    /// Which format.
    pub format: LayerFormat,
}

/// A layer that was encoded: its blob is its parts, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedLayer {
    /// Digest of the tar stream.
    pub diff_id: DiffId,
    /// Length of the tar stream in bytes.
    pub uncompressed_size: u64,
    /// Digest of the blob.
    pub digest: Digest,
    /// Length of the blob in bytes.
    pub size: u64,
    /// How the blob is compressed.
    pub compression: Compression,
    /// The blob in pieces: each an object of the sink, with its length.
    pub parts: Vec<(ObjectId, u64)>,
    /// How many of the parts came from the cache.
    pub cached_parts: usize,
    /// What the layer does not carry.
    pub report: Report,
}

/// Why a changeset did not become a layer.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// An entry cannot be written as tar.
    #[error("cannot write the layer")]
    Write {
        /// The cause.
        #[from]
        source: WriteError,
    },
    /// A content could not be read, or a part not be kept.
    #[error("cannot encode the layer")]
    Object {
        /// The cause.
        #[from]
        source: ObjectError,
    },
    /// A content has another length than its node says.
    #[error("object {object} is {found} bytes long where the tree says {expected}")]
    Length {
        /// The object.
        object: ObjectId,
        /// What the node says.
        expected: u64,
        /// What was found; at least this many when it is longer.
        found: u64,
    },
    /// A content could not be read to its end.
    #[error("cannot read object {object}")]
    Io {
        /// The object.
        object: ObjectId,
        /// The cause.
        source: std::io::Error,
    },
    /// The compressor failed.
    #[error("the {encoder} encoder failed")]
    Encoder {
        /// Which encoder.
        encoder: &'static str,
        /// The cause.
        source: std::io::Error,
    },
}

/// Encodes `changeset`, which should have its ancestors.
///
/// # Errors
/// [`EncodeError`].
pub fn encode_layer(
    changeset: &Changeset,
    objects: &dyn ObjectSource,
    sink: &dyn ObjectSink,
    cache: &dyn SegmentCache,
    options: &EncodeOptions,
) -> Result<EncodedLayer, EncodeError> {
    let _ = (changeset, objects, sink, cache, options);
    Err(EncodeError::Encoder { encoder: "none", source: std::io::ErrorKind::Unsupported.into() })
}
