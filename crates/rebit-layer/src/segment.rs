//! Where the tar stream of a layer is cut (`docs/format/layer.md`, "Segments").
//!
//! The place of a cut depends on the entries near it only, so that a change in one place leaves the
//! segments elsewhere as they were; and a segment is described, and its key computed, without reading
//! any content.

use std::collections::VecDeque;

use rebit_oci::ObjectId;

use crate::Report;
use crate::tar::write::{Entries, TRAILER, TarEntry, WriteError};

/// A segment is not cut before it is this long, unless a large file follows.
pub const MIN: u64 = 512 * 1024;
/// A segment this long is cut after the entry that made it so.
pub const MAX: u64 = 2 * 1024 * 1024;
/// A file larger than this is cut inside.
pub const LARGE: u64 = 2 * 1024 * 1024;
/// Distance of the cuts inside a large file.
pub const STRIDE: u64 = 1024 * 1024;

/// Domain of a segment key.
const KEY_CONTEXT: &str = "rebit layer format 1 segment";

/// Identity of a segment: what it holds, described without reading any content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentKey(pub [u8; 32]);

/// A piece of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Headers, padding, trailer. Two of these never follow each other.
    Bytes(Vec<u8>),
    /// A part of a file's content.
    Content {
        /// The content.
        object: ObjectId,
        /// Where the part starts.
        offset: u64,
        /// How long the part is.
        length: u64,
        /// How long the whole content is.
        total: u64,
    },
}

/// A run of the tar stream that is compressed on its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segment {
    /// What it is made of, in order.
    pub pieces: Vec<Piece>,
    /// How many bytes that is.
    pub length: u64,
}

impl Segment {
    /// The key under which the compressed segment is cached.
    #[must_use]
    pub fn key(&self) -> SegmentKey {
        let mut hasher = blake3::Hasher::new_derive_key(KEY_CONTEXT);
        for piece in &self.pieces {
            match piece {
                Piece::Bytes(bytes) => {
                    hasher.update(&[0]);
                    hasher.update(&(bytes.len() as u64).to_le_bytes());
                    hasher.update(bytes);
                }
                Piece::Content { object, offset, length, .. } => {
                    hasher.update(&[1]);
                    hasher.update(object.as_bytes());
                    hasher.update(&offset.to_le_bytes());
                    hasher.update(&length.to_le_bytes());
                }
            }
        }
        SegmentKey(*hasher.finalize().as_bytes())
    }

    fn bytes(&mut self, more: &[u8]) {
        if more.is_empty() {
            return;
        }
        self.length += more.len() as u64;
        match self.pieces.last_mut() {
            Some(Piece::Bytes(bytes)) => bytes.extend_from_slice(more),
            _ => self.pieces.push(Piece::Bytes(more.to_vec())),
        }
    }

    fn content(&mut self, object: ObjectId, offset: u64, length: u64, total: u64) {
        self.length = self.length.saturating_add(length);
        self.pieces.push(Piece::Content { object, offset, length, total });
    }
}

/// The segments of a stream of entries, the trailer included.
#[derive(Debug)]
pub struct Segments<'a> {
    entries: Entries<'a>,
    current: Segment,
    /// A cut is due before the next entry, if there is one.
    cut: bool,
    ready: VecDeque<Segment>,
    large: Option<LargeFile>,
    finished: bool,
}

/// A large file whose pieces are still being handed out.
#[derive(Debug)]
struct LargeFile {
    object: ObjectId,
    offset: u64,
    total: u64,
}

/// Cuts the stream of `entries`.
#[must_use]
pub fn segments(entries: Entries<'_>) -> Segments<'_> {
    Segments {
        entries,
        current: Segment::default(),
        cut: false,
        ready: VecDeque::new(),
        large: None,
        finished: false,
    }
}

impl Iterator for Segments<'_> {
    type Item = Result<Segment, WriteError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(segment) = self.ready.pop_front() {
                return Some(Ok(segment));
            }
            if self.finished {
                return None;
            }
            if let Some(large) = self.large.take() {
                self.continue_large(large);
                continue;
            }
            match self.entries.next() {
                Some(Ok(entry)) => self.add(&entry),
                Some(Err(error)) => {
                    self.finished = true;
                    return Some(Err(error));
                }
                None => {
                    self.current.bytes(&TRAILER);
                    self.flush();
                    self.finished = true;
                }
            }
        }
    }
}

impl Segments<'_> {
    /// What the segments handed out so far do not carry.
    #[must_use]
    pub fn into_report(self) -> Report {
        self.entries.into_report()
    }

    fn flush(&mut self) {
        self.cut = false;
        if self.current.length > 0 {
            self.ready.push_back(std::mem::take(&mut self.current));
        }
    }

    fn add(&mut self, entry: &TarEntry) {
        let large = entry.body.filter(|(_, size)| *size > LARGE);
        if self.cut || large.is_some() {
            self.flush();
        }
        self.current.bytes(&entry.header);
        if let Some((object, total)) = large {
            self.large = Some(LargeFile { object, offset: 0, total });
            return;
        }
        if let Some((object, size)) = entry.body {
            self.current.content(object, 0, size, size);
            self.pad(size);
        }
        self.cut =
            self.current.length >= MAX || (self.current.length >= MIN && chosen(&entry.path, entry.length()));
    }

    /// One step of a large file: a cut every [`STRIDE`] bytes of content, as long as a whole stride stays.
    fn continue_large(&mut self, mut large: LargeFile) {
        let LargeFile { object, offset, total } = large;
        let rest = total - offset;
        if rest >= 2 * STRIDE {
            self.current.content(object, offset, STRIDE, total);
            self.flush();
            large.offset += STRIDE;
            self.large = Some(large);
        } else {
            self.current.content(object, offset, rest, total);
            self.pad(total);
            self.cut = true;
        }
    }

    fn pad(&mut self, size: u64) {
        let zeros = [0; crate::tar::BLOCK];
        self.current.bytes(zeros.get(..crate::tar::padding(size)).unwrap_or_default());
    }
}

/// Whether the name of an entry of `length` bytes makes a cut after it: with a probability of
/// `length / MIN`, decided by the hash of its path.
fn chosen(path: &[u8], length: u64) -> bool {
    let [a, b, c, d, ..] = *blake3::hash(path).as_bytes();
    u64::from(u32::from_le_bytes([a, b, c, d])) * MIN < length << 32
}

#[cfg(test)]
mod tests;
