//! Reading a layer, or any other tar archive, onto a tree.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rebit_oci::ObjectId;
use rebit_oci::object::{ObjectError, ObjectSink};

use super::apply::Apply;
use super::input::{TarInput, Unsplit};
use super::stream::{Meta, Stream};
use crate::recipe::Splitter;
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

impl ReadOptions {
    /// An image layer: whiteouts count; default limits.
    #[must_use]
    pub fn layer() -> Self {
        Self { whiteouts: true, limits: Limits::default() }
    }

    /// Any archive: names are taken literally; default limits.
    #[must_use]
    pub fn archive() -> Self {
        Self { whiteouts: false, limits: Limits::default() }
    }
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

/// Files up to this size are kept by worker threads while the archive is read on.
const SMALL: u64 = 1 << 20;
/// Bytes of small files that may wait for the workers.
const WAITING: u64 = 16 << 20;

/// Applies the archive that `reader` yields, decompressed, to `lower`.
///
/// The archive may be ustar, GNU or pax; long names, large numbers, hard links, sparse files and
/// `SCHILY.xattr` records are understood. An entry replaces what its path holds, except that a directory
/// over a directory only changes its metadata; a later entry wins over an earlier one. The directory of an
/// entry is resolved inside the root, symbolic links followed, and made when it is missing. With
/// [`ReadOptions::whiteouts`], `.wh.NAME` hides what
/// `lower` has there and `.wh..wh..opq` what it has in the directory; neither touches what the archive itself
/// brought. A hard link shares the file with its target, whatever its own header says. The stream is read
/// to its end.
///
/// # Errors
/// [`ReadError`] naming the entry.
pub fn read_layer(
    reader: &mut dyn Read,
    lower: &Tree,
    sink: &dyn ObjectSink,
    options: &ReadOptions,
) -> Result<ImportedLayer, ReadError> {
    read_from(&mut Unsplit(reader), lower, sink, options)
}

/// As [`read_layer`], and says to `splitter` which bytes are contents. They must go to the sink that the splitter has.
///
/// # Errors
/// As [`read_layer`].
pub fn read_layer_split(
    splitter: &mut Splitter<'_>,
    lower: &Tree,
    sink: &dyn ObjectSink,
    options: &ReadOptions,
) -> Result<ImportedLayer, ReadError> {
    read_from(splitter, lower, sink, options)
}

fn read_from(
    reader: &mut dyn TarInput,
    lower: &Tree,
    sink: &dyn ObjectSink,
    options: &ReadOptions,
) -> Result<ImportedLayer, ReadError> {
    let failed: Mutex<Option<(String, ObjectError)>> = Mutex::new(None);
    let waiting = AtomicU64::new(0);
    let mut apply = Apply::new(lower, options.whiteouts);
    rayon::in_place_scope(|scope| {
        let mut stream = Stream::new(reader, options.limits);
        let mut total = 0_u64;
        while let Some(meta) = stream.next()? {
            total = total.saturating_add(if is_file(meta.type_flag) { meta.size } else { 0 });
            if total > options.limits.total_size {
                return Err(stream.limit("bytes of all files", options.limits.total_size));
            }
            let Some(path) = apply.place(&meta)? else { continue };
            let content = if !is_file(meta.type_flag) {
                None
            } else if meta.size > SMALL {
                Some(large(&mut stream, &meta, sink)?)
            } else {
                let content = small(&mut stream, &meta)?;
                let object = ObjectId::of(&content);
                let size = content.len() as u64;
                stream.reader.end_content(&object, size);
                let entry = stream.name();
                let (failed, waiting) = (&failed, &waiting);
                let keep = move || {
                    if let Err(error) = sink.put(&content, &[]) {
                        lock(failed).get_or_insert((entry, error));
                    }
                };
                // When the workers are behind, this thread does the work instead of waiting for them.
                if waiting.load(Ordering::Relaxed) + size > WAITING {
                    keep();
                } else {
                    waiting.fetch_add(size, Ordering::Relaxed);
                    scope.spawn(move |_| {
                        keep();
                        waiting.fetch_sub(size, Ordering::Relaxed);
                    });
                }
                Some((object, size))
            };
            if let Some((entry, source)) = lock(&failed).take() {
                return Err(ReadError::Object { entry, source });
            }
            apply.entry(path, meta, content)?;
        }
        Ok(())
    })?;
    if let Some((entry, source)) = lock(&failed).take() {
        return Err(ReadError::Object { entry, source });
    }
    Ok(apply.finish())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_file(type_flag: u8) -> bool {
    matches!(type_flag, b'0' | 0 | b'7')
}

/// A sparse file is stored as something else than its content, and that is left in the stream.
fn begin(stream: &mut Stream<'_>, meta: &Meta, large: bool) {
    if meta.sparse.is_none() {
        stream.reader.begin_content(large);
    }
}

fn small(stream: &mut Stream<'_>, meta: &Meta) -> Result<Vec<u8>, ReadError> {
    let mut content = Vec::with_capacity(usize::try_from(meta.size).unwrap_or(0));
    begin(stream, meta, false);
    let read = stream.body(meta).read_to_end(&mut content);
    read.map_err(|source| body_error(stream.name(), source))?;
    Ok(content)
}

fn large(stream: &mut Stream<'_>, meta: &Meta, sink: &dyn ObjectSink) -> Result<(ObjectId, u64), ReadError> {
    begin(stream, meta, true);
    let mut body = Remembering { inner: stream.body(meta), error: None };
    let kept = sink.put_reader(&mut body);
    let error = body.error.take();
    let entry = stream.name();
    // What the archive did wrong says more than what the sink made of it.
    match (error, kept) {
        (Some(source), _) => Err(body_error(entry, source)),
        (None, Ok(kept)) if kept.1 == meta.size => {
            stream.reader.end_content(&kept.0, kept.1);
            Ok(kept)
        }
        (None, Ok(_)) => Err(ReadError::Truncated { entry }),
        (None, Err(source)) => Err(ReadError::Object { entry, source }),
    }
}

fn body_error(entry: String, source: io::Error) -> ReadError {
    if source.kind() == io::ErrorKind::UnexpectedEof && source.get_ref().is_none() {
        ReadError::Truncated { entry }
    } else {
        ReadError::Io { entry, source }
    }
}

/// Keeps the error of a reader that somebody else reads from.
struct Remembering<R> {
    inner: R,
    error: Option<io::Error>,
}

impl<R: Read> Read for Remembering<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.error = Some(error);
            }
            kind.into()
        })
    }
}

#[cfg(test)]
mod tests;
