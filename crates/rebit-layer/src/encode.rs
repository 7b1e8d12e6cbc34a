//! From a changeset to the blob of a layer.

mod resume;

use rebit_oci::manifest::Compression;
use std::io::{self, Read, Write};
use std::sync::Arc;

use rayon::prelude::*;
use rebit_oci::digest::Hasher;
use rebit_oci::object::{ObjectError, ObjectSink, ObjectSource};
use rebit_oci::{DiffId, Digest, ObjectId};

use crate::codec;
use crate::segment::{Piece, Segment, SegmentKey, Segments, segments};
use crate::tar::write::{WriteError, entries};
use crate::{Changeset, Report};
use resume::{Chain, Resume};

/// Remembers compressed segments.
pub trait SegmentCache: Sync {
    /// The compressed part of the segment `key` made by the encoder `encoder`, and its length.
    fn get(&self, key: &SegmentKey, encoder: &str) -> Option<(ObjectId, u64)>;

    /// Remembers a part. Failing to is no error: it is only a cache.
    fn put(&self, key: &SegmentKey, encoder: &str, part: ObjectId, size: u64);

    /// What was remembered of an encoding at the cut `key`.
    fn state(&self, _key: &SegmentKey) -> Option<Vec<u8>> {
        None
    }

    /// Remembers where an encoding can go on. Failing to is no error.
    fn put_state(&self, _key: &SegmentKey, _state: &[u8]) {}
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
    /// How many of the parts came from the cache by the keys of their segments.
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
    /// The tar stream could not be written out.
    #[error("cannot write the tar stream")]
    Output {
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

/// Plain bytes of the segments that are in memory at once, in each of three stages.
const WINDOW: u64 = 8 << 20;

/// Encodes `changeset`, which should have its ancestors
/// ([`Changeset::with_ancestors`]).
///
/// Segments are read and compressed in parallel on rayon's pool, a window of about 8 MiB at a time; the
/// bytes do not depend on how many threads that has. Each part is put into `sink`; a part that `cache`
/// knows is read from `objects` instead of being made.
///
/// # Errors
/// [`EncodeError`], when an entry cannot be written, a content is missing or not as long as its node says,
/// or a part cannot be kept.
pub fn encode_layer(
    changeset: &Changeset,
    objects: &dyn ObjectSource,
    sink: &dyn ObjectSink,
    cache: &dyn SegmentCache,
    options: &EncodeOptions,
) -> Result<EncodedLayer, EncodeError> {
    let LayerFormat::V1 = options.format;
    let stage = Stage { objects, sink, cache, compression: options.compression };
    let encoder = codec::encoder_id(options.compression);
    let resume = Resume::find(segments(entries(changeset, options.epoch)), cache, encoder);
    let mut output = Output::new(cache, encoder, resume);
    let mut feeder = Feeder::new(segments(entries(changeset, options.epoch)), objects);
    feeder.skip(output.parts.len())?;
    let mut window = feeder.window()?;
    let mut done = Vec::new();
    while !window.is_empty() || !done.is_empty() {
        // While one window is compressed, the one before it is hashed and the one after it is fetched.
        let (compressed, next) = rayon::join(
            || window.into_par_iter().map(|job| stage.run(job)).collect::<Result<Vec<_>, _>>(),
            || {
                output.take(done);
                feeder.window()
            },
        );
        (done, window) = (compressed?, next?);
    }
    Ok(EncodedLayer {
        diff_id: DiffId(output.plain.clone().finish()),
        uncompressed_size: output.plain.length(),
        size: output.blob.length(),
        digest: output.blob.finish(),
        compression: options.compression,
        parts: output.parts,
        cached_parts: output.cached_parts,
        report: feeder.segments.into_report(),
    })
}

/// Writes the tar stream of `changeset` to `out`, the bytes that a layer's diff id is the digest of.
///
/// Without an `epoch` each entry has the mtime of its node: an archive that is no layer.
///
/// # Errors
/// [`EncodeError`]; [`EncodeError::Output`] when `out` fails.
pub fn write_tar(
    changeset: &Changeset,
    objects: &dyn ObjectSource,
    epoch: impl Into<Option<i64>>,
    out: &mut dyn Write,
) -> Result<Report, EncodeError> {
    let mut feeder = Feeder::new(segments(entries(changeset, epoch)), objects);
    loop {
        let window = feeder.window()?;
        if window.is_empty() {
            return Ok(feeder.segments.into_report());
        }
        for job in window {
            let plain = plain_bytes(job, objects)?;
            out.write_all(&plain).map_err(|source| EncodeError::Output { source })?;
        }
    }
}

/// A segment to be compressed, with the parts of large files that only come in sequence.
struct Job {
    segment: Segment,
    fetched: Vec<Vec<u8>>,
}

/// Cuts the stream and reads large files front to back.
struct Feeder<'a> {
    segments: Segments<'a>,
    objects: &'a dyn ObjectSource,
    stream: Option<(ObjectId, u64, Box<dyn Read + Send + 'a>)>,
}

impl<'a> Feeder<'a> {
    fn new(segments: Segments<'a>, objects: &'a dyn ObjectSource) -> Self {
        Self { segments, objects, stream: None }
    }

    /// Leaves out the first `count` segments.
    fn skip(&mut self, count: usize) -> Result<(), EncodeError> {
        for segment in self.segments.by_ref().take(count) {
            segment?;
        }
        Ok(())
    }

    /// The next segments, none at the end.
    fn window(&mut self) -> Result<Vec<Job>, EncodeError> {
        let mut window = Vec::new();
        let mut length = 0;
        while length < WINDOW {
            let Some(segment) = self.segments.next() else { break };
            let segment = segment?;
            length += segment.length;
            let mut fetched = Vec::new();
            for piece in &segment.pieces {
                if let Piece::Content { object, offset, length, total } = *piece
                    && length != total
                {
                    fetched.push(self.fetch(object, offset, length, total)?);
                }
            }
            window.push(Job { segment, fetched });
        }
        Ok(window)
    }

    fn fetch(
        &mut self,
        object: ObjectId,
        offset: u64,
        length: u64,
        total: u64,
    ) -> Result<Vec<u8>, EncodeError> {
        let io = |source| EncodeError::Io { object, source };
        let mut reader = match self.stream.take() {
            Some((open, at, reader)) if open == object && at == offset => reader,
            _ => {
                let mut reader = self.objects.open(&object)?;
                io::copy(&mut reader.by_ref().take(offset), &mut io::sink()).map_err(io)?;
                reader
            }
        };
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        reader.by_ref().take(length).read_to_end(&mut bytes).map_err(io)?;
        let end = offset + bytes.len() as u64;
        if (bytes.len() as u64) < length {
            return Err(EncodeError::Length { object, expected: total, found: end });
        }
        if end < total {
            self.stream = Some((object, end, reader));
        } else if reader.read(&mut [0]).map_err(io)? != 0 {
            // Reading past the end also lets the source see that the content was whole.
            return Err(EncodeError::Length { object, expected: total, found: end + 1 });
        }
        Ok(bytes)
    }
}

fn plain_bytes(job: Job, objects: &dyn ObjectSource) -> Result<Vec<u8>, EncodeError> {
    let mut plain = Vec::with_capacity(usize::try_from(job.segment.length).unwrap_or(0));
    let mut fetched = job.fetched.into_iter();
    for piece in job.segment.pieces {
        match piece {
            Piece::Bytes(bytes) => plain.extend_from_slice(&bytes),
            Piece::Content { length, total, .. } if length != total => {
                plain.extend_from_slice(&fetched.next().unwrap_or_default());
            }
            Piece::Content { object, total, .. } => {
                let content = objects.read(&object)?;
                if content.len() as u64 != total {
                    let found = content.len() as u64;
                    return Err(EncodeError::Length { object, expected: total, found });
                }
                plain.extend_from_slice(&content);
            }
        }
    }
    Ok(plain)
}

/// Domain of the key of a segment by its bytes.
const CONTENT_CONTEXT: &str = "rebit layer format 1 segment bytes";

/// What turns a job into a part.
struct Stage<'a> {
    objects: &'a dyn ObjectSource,
    sink: &'a dyn ObjectSink,
    cache: &'a dyn SegmentCache,
    compression: Compression,
}

struct Part {
    key: SegmentKey,
    plain: Vec<u8>,
    bytes: Arc<[u8]>,
    object: ObjectId,
    cached: bool,
}

/// A part that the cache knows.
type Known = (ObjectId, Arc<[u8]>);

impl Stage<'_> {
    fn run(&self, job: Job) -> Result<Part, EncodeError> {
        let encoder = codec::encoder_id(self.compression);
        let key = job.segment.key();
        let stride = !job.fetched.is_empty();
        let plain = plain_bytes(job, self.objects)?;
        if let Some((object, bytes)) = self.known(&key, encoder)? {
            return Ok(Part { key, plain, bytes, object, cached: true });
        }
        // A large file that changed in one place is another object, and most of its pieces are what they were.
        let by_content = stride.then(|| SegmentKey(blake3::derive_key(CONTENT_CONTEXT, &plain)));
        if let Some(content) = &by_content
            && let Some((object, bytes)) = self.known(content, encoder)?
        {
            self.cache.put(&key, encoder, object, bytes.len() as u64);
            // Two pieces of one layer may be the same, and which comes first is the threads' affair: neither is counted.
            return Ok(Part { key, plain, bytes, object, cached: false });
        }
        let bytes = codec::encode_segment(self.compression, &plain)
            .map_err(|source| EncodeError::Encoder { encoder, source })?;
        let object = self.sink.put(&bytes, &[])?;
        for key in [Some(key), by_content].into_iter().flatten() {
            self.cache.put(&key, encoder, object, bytes.len() as u64);
        }
        Ok(Part { key, plain, bytes: bytes.into(), object, cached: false })
    }

    /// The part from the cache, if the object is still there and as long as the cache says.
    fn known(&self, key: &SegmentKey, encoder: &str) -> Result<Option<Known>, EncodeError> {
        let Some((object, size)) = self.cache.get(key, encoder) else { return Ok(None) };
        match self.objects.read(&object) {
            Ok(bytes) if bytes.len() as u64 == size => Ok(Some((object, bytes))),
            Ok(_) | Err(ObjectError::NotFound { .. }) => Ok(None),
            Err(source) => Err(source.into()),
        }
    }
}

/// The two digests, fed in the order of the stream.
struct Output<'a> {
    cache: &'a dyn SegmentCache,
    chain: Chain,
    plain: Hasher,
    blob: Hasher,
    parts: Vec<(ObjectId, u64)>,
    cached_parts: usize,
}

impl<'a> Output<'a> {
    fn new(cache: &'a dyn SegmentCache, encoder: &str, resume: Option<Resume>) -> Self {
        let Some(Resume { chain, plain, blob, parts }) = resume else {
            let (plain, blob) = (Hasher::new(), Hasher::new());
            return Self {
                cache,
                chain: Chain::new(encoder),
                plain,
                blob,
                parts: Vec::new(),
                cached_parts: 0,
            };
        };
        Self { cache, chain, plain, blob, cached_parts: parts.len(), parts }
    }

    fn take(&mut self, mut parts: Vec<Part>) {
        while !parts.is_empty() {
            // Up to where a state is kept, if that is in this window.
            let mut point = None;
            let found = parts.iter().position(|part| {
                point = self.chain.push(&part.key);
                point.is_some()
            });
            let rest = parts.split_off(found.map_or(parts.len(), |last| last + 1));
            self.hash(parts);
            if let Some(point) = point {
                self.cache.put_state(&point, &resume::encode(&self.plain, &self.blob));
            }
            parts = rest;
        }
    }

    fn hash(&mut self, parts: Vec<Part>) {
        let (plain, blob) = (&mut self.plain, &mut self.blob);
        rayon::join(
            || parts.iter().for_each(|part| plain.update(&part.plain)),
            || parts.iter().for_each(|part| blob.update(&part.bytes)),
        );
        for part in parts {
            self.parts.push((part.object, part.bytes.len() as u64));
            self.cached_parts += usize::from(part.cached);
        }
    }
}

#[cfg(test)]
mod tests;
