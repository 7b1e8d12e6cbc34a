//! Piece lists, and where large content is cut.
//!
//! A piece list is what stands for content that is kept in several objects: a chunked object or a composite
//! blob. Its bytes are `RBL\x01`, then for each piece the 32 bytes of its identity and its length, 64-bit
//! little-endian.
//!
//! Content above 2 MiB is cut by FastCDC (2020) with the parameters that the Remote Execution API names
//! (average 512 KiB, minimum a quarter, maximum four times that, normalisation 2, seed 0), so that chunks are
//! the same as those of other stores that follow it.

use std::io::{self, Read};

use fastcdc::v2020::{FastCDC, Normalization};
use rebit_oci::ObjectId;

const MAGIC: [u8; 4] = *b"RBL\x01";
const ROW: usize = 40;

const AVERAGE: usize = 512 << 10;
/// Content up to this length is one object; the largest chunk, too.
pub(crate) const MAX_CHUNK: usize = AVERAGE * 4;
/// How much content is looked at at once while cutting.
const WINDOW: usize = MAX_CHUNK * 4;

/// Reads a piece list; `None` when the bytes are not one.
///
/// The sum of the lengths fits in 64 bits.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Vec<(ObjectId, u64)>> {
    let rows = bytes.strip_prefix(&MAGIC)?;
    if !rows.len().is_multiple_of(ROW) {
        return None;
    }
    let mut pieces = Vec::with_capacity(rows.len() / ROW);
    let mut total = 0_u64;
    for row in rows.chunks_exact(ROW) {
        let (id, length) = row.split_first_chunk::<32>()?;
        let length = u64::from_le_bytes(length.try_into().ok()?);
        total = total.checked_add(length)?;
        pieces.push((ObjectId(*id), length));
    }
    Some(pieces)
}

/// Writes a piece list.
pub(crate) fn encode(pieces: &[(ObjectId, u64)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAGIC.len() + pieces.len() * ROW);
    bytes.extend_from_slice(&MAGIC);
    for (id, length) in pieces {
        bytes.extend_from_slice(&id.0);
        bytes.extend_from_slice(&length.to_le_bytes());
    }
    bytes
}

/// Cuts a stream into chunks while reading it.
pub(crate) struct Cutter<R> {
    reader: R,
    window: Vec<u8>,
    start: usize,
    ended: bool,
}

impl<R: Read> Cutter<R> {
    /// Cuts `head`, which was read already, and the rest of `reader`.
    pub(crate) fn new(reader: R, head: Vec<u8>) -> Self {
        Self { reader, window: head, start: 0, ended: false }
    }

    /// The next chunk; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if !self.ended && self.window.len() - self.start < MAX_CHUNK {
            self.window.drain(..self.start);
            self.start = 0;
            let wanted = WINDOW - self.window.len();
            let read = (&mut self.reader).take(wanted as u64).read_to_end(&mut self.window)?;
            self.ended = read < wanted;
        }
        if self.start == self.window.len() {
            return Ok(None);
        }
        let end = self.start + cut(&self.window[self.start..]);
        let chunk = &self.window[self.start..end];
        self.start = end;
        Ok(Some(chunk))
    }
}

/// Where the first chunk of `content` ends; it must hold at least the largest chunk, or all that is left.
fn cut(content: &[u8]) -> usize {
    let cutter =
        FastCDC::with_level_and_seed(content, AVERAGE / 4, AVERAGE, MAX_CHUNK, Normalization::Level2, 0);
    cutter.cut(0, content.len()).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn piece_lists_round_trip_and_reject_other_bytes() {
        let pieces = vec![(ObjectId::of(b"a"), 1), (ObjectId::of(b"b"), u64::MAX - 1)];
        let bytes = encode(&pieces);
        assert_eq!(decode(&bytes), Some(pieces));
        assert_eq!(decode(&encode(&[])), Some(vec![]));
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(decode(&bytes[1..]), None);
        assert_eq!(decode(b""), None);
        assert_eq!(decode(&encode(&[(ObjectId::of(b"a"), 2), (ObjectId::of(b"b"), u64::MAX)])), None);
    }

    // S-22
    #[test]
    fn cuts_do_not_depend_on_how_the_content_arrives() {
        let content: Vec<u8> =
            (0_u32..3_000_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let lengths = |head: usize| {
            let mut cutter = Cutter::new(&content[head..], content[..head].to_vec());
            let mut lengths = Vec::new();
            while let Some(chunk) = cutter.next().unwrap() {
                lengths.push(chunk.len());
            }
            lengths
        };
        let whole: Vec<usize> =
            FastCDC::with_level_and_seed(&content, AVERAGE / 4, AVERAGE, MAX_CHUNK, Normalization::Level2, 0)
                .map(|chunk| chunk.length)
                .collect();
        for head in [0, 1, MAX_CHUNK + 1, WINDOW] {
            assert_eq!(lengths(head), whole, "with {head} bytes given first");
        }
        assert!(whole.iter().all(|length| *length <= MAX_CHUNK));
    }
}
