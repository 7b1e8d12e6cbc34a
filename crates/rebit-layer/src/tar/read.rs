//! Reading a layer, or any other tar archive, onto a tree.

use rebit_oci::object::ObjectError;

use crate::{PathError, Report, ResolveError, Tree};

/// What an archive may cost at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most entries.
    pub entries: u64,
    /// Largest file in bytes.
    pub file_size: u64,
    /// Most bytes of all files together.
    pub total_size: u64,
    /// Largest extension header (pax records, GNU long names) in bytes.
    pub extension_size: u64,
}

impl Default for Limits {
    /// 4 M entries, 1 TiB for a file and for all, 1 MiB for an extension header.
    fn default() -> Self {
        Self { entries: 4 << 20, file_size: 1 << 40, total_size: 1 << 40, extension_size: 1 << 20 }
    }
}

/// How an archive is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOptions {
    /// Whether `.wh.` names remove (a layer) or are names like any other (an archive).
    pub whiteouts: bool,
    /// Limits.
    pub limits: Limits,
}

/// An archive that was read.
#[derive(Debug, Clone)]
pub struct ImportedLayer {
    /// The lower tree with the archive applied.
    pub tree: Tree,
    /// What was ignored or dropped.
    pub report: Report,
}

/// Why an archive was not read. `entry` is the entry's name, lossy and cut to 200 bytes.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stream ends in the middle of something.
    #[error("the archive ends in the middle of `{entry}`")]
    Truncated {
        /// The entry, empty before the first name was seen.
        entry: String,
    },
    /// A header or extension is not valid.
    #[error("entry `{entry}` is malformed: {reason}")]
    Malformed {
        /// The entry, or the one before it.
        entry: String,
        /// What is wrong.
        reason: String,
    },
    /// The entry uses a feature that is not read.
    #[error("entry `{entry}` is not supported: {feature}")]
    Unsupported {
        /// The entry.
        entry: String,
        /// The feature.
        feature: String,
    },
    /// The name or a link target is not a path inside the root.
    #[error("entry `{entry}` has a name or target that is not valid")]
    Path {
        /// The entry.
        entry: String,
        /// What is wrong.
        source: PathError,
    },
    /// The directory of the entry does not resolve.
    #[error("entry `{entry}` has no place in the tree")]
    Resolve {
        /// The entry.
        entry: String,
        /// What is wrong.
        source: ResolveError,
    },
    /// A hard link names something that is not there or is not a file.
    #[error("entry `{entry}` is a hard link to `{target}`, which is not a file of the tree")]
    LinkTarget {
        /// The entry.
        entry: String,
        /// What it links to.
        target: String,
    },
    /// There is more than the limits allow.
    #[error("entry `{entry}`: {what} above the limit of {limit}")]
    Limit {
        /// The entry.
        entry: String,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The stream could not be read.
    #[error("cannot read the archive at entry `{entry}`")]
    Io {
        /// The entry, or the one before it.
        entry: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A content could not be kept.
    #[error("cannot keep the content of entry `{entry}`")]
    Object {
        /// The entry.
        entry: String,
        /// The cause.
        source: ObjectError,
    },
}

/// Applies the archive that `reader` yields to `lower`.
///
/// # Errors
/// [`ReadError`] naming the entry.
pub fn read_layer(
    reader: &mut dyn std::io::Read,
    lower: &Tree,
    sink: &dyn rebit_oci::object::ObjectSink,
    options: &ReadOptions,
) -> Result<ImportedLayer, ReadError> {
    let _ = (reader, lower, sink, options);
    Err(ReadError::Unsupported { entry: String::new(), feature: "reading".into() })
}
