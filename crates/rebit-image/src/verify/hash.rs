//! Hashing as fast as it goes: what decompresses and what hashes run beside each other.

use std::io::{self, Read};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rayon::prelude::*;
use rebit_layer::codec::decode::Format;
use rebit_layer::codec::decode_segment;
use rebit_oci::digest::Hasher;
use rebit_oci::{DiffId, Digest, ObjectId};

use crate::ImageError;
use crate::transport::{Parts, Source};

/// Bytes that go from one thread to another at once, and how often before the first waits.
const PIECE: usize = 256 << 10;
const WAITING: usize = 4;
/// Compressed bytes of the segments that are decompressed at the same time, and the longest that any may become.
const WINDOW: u64 = 4 << 20;
const LONGEST: usize = 16 << 20;

/// The digest of what a reader gives; it is hashed on a thread of its own.
pub(super) fn elsewhere(mut reader: impl Read) -> io::Result<Digest> {
    thread::scope(|scope| {
        let (filled, to_hash) = sync_channel::<Vec<u8>>(WAITING);
        let (hashed, empty) = sync_channel::<Vec<u8>>(WAITING + 1);
        let digest = scope.spawn(move || {
            let mut hasher = Hasher::new();
            for piece in to_hash {
                hasher.update(&piece);
                // The reader may be at its end, and want no more.
                let _ = hashed.try_send(piece);
            }
            hasher.finish()
        });
        loop {
            let mut piece = empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE));
            piece.clear();
            if (&mut reader).take(PIECE as u64).read_to_end(&mut piece)? == 0 {
                break;
            }
            if filled.send(piece).is_err() {
                break;
            }
        }
        drop(filled);
        digest.join().map_err(|_| io::Error::other("a thread that hashes has ended"))
    })
}

/// Whether a blob that is kept as segments is whole, and its tar stream the one of `diff_id`; what it is compressed with.
///
/// Segments are decompressed several at a time. `None` is for whatever is not as it should be, and for blobs kept in another form: those are
/// read from end to end. Memory is bounded by a few windows.
pub(super) fn segments(
    source: &dyn Source,
    digest: &Digest,
    size: u64,
    diff_id: DiffId,
) -> Result<Option<Format>, ImageError> {
    // What is damaged is reported by who reads it as a whole.
    let Ok(Some(parts)) = source.parts(digest) else { return Ok(None) };
    let length = parts.list.iter().try_fold(0_u64, |sum, (_, length)| sum.checked_add(*length));
    let Some((first, _)) = parts.list.first().filter(|_| length == Some(size)) else { return Ok(None) };
    let Ok(start) = parts.objects.read(first) else { return Ok(None) };
    let format = Format::sniff(&start);
    let used = Mutex::default();
    let hashed = thread::scope(|scope| {
        let (packed, to_hash) = sync_channel::<Vec<Segment>>(1);
        let used = &used;
        let of_plain = scope.spawn(move || {
            let mut hasher = Hasher::new();
            for segment in to_hash.into_iter().flatten() {
                match segment {
                    Segment::Plain(bytes) => hasher.update(&bytes),
                    Segment::Decoded(buffer, length) => {
                        hasher.update(buffer.get(..length).unwrap_or_default());
                        lock(used).push(buffer);
                    }
                }
            }
            hasher.finish()
        });
        let of_blob = decode(&parts, format, &packed, used);
        drop(packed);
        let (of_blob, of_plain) = (of_blob?, of_plain.join().ok()?);
        Some((of_blob.unwrap_or(of_plain), of_plain))
    });
    Ok(hashed.filter(|found| *found == (*digest, diff_id.0)).map(|_| format))
}

enum Segment {
    Plain(Arc<[u8]>),
    /// A buffer, and how much of it is meant.
    Decoded(Vec<u8>, usize),
}

/// Buffers that are hashed and can be used again.
type Used = Mutex<Vec<Vec<u8>>>;

fn lock(used: &Used) -> MutexGuard<'_, Vec<Vec<u8>>> {
    used.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Decompresses all segments, hands them on in order, and gives the digest of the blob: none when the segments are the blob.
fn decode(
    parts: &Parts<'_>,
    format: Format,
    plain: &SyncSender<Vec<Segment>>,
    used: &Used,
) -> Option<Option<Digest>> {
    let mut hasher = (format != Format::Plain).then(Hasher::new);
    let mut rest = parts.list.as_slice();
    while !rest.is_empty() {
        let (window, after) = rest.split_at(window(rest));
        rest = after;
        let read = |(object, _): &(ObjectId, u64)| {
            let part = parts.objects.read(object).ok()?;
            if format == Format::Plain {
                return Some((Arc::clone(&part), Segment::Plain(part)));
            }
            let mut buffer = lock(used).pop().unwrap_or_default();
            let length = decode_segment(format, &part, LONGEST, &mut buffer).ok()?;
            Some((part, Segment::Decoded(buffer, length)))
        };
        let read = window.par_iter().map(read).collect::<Option<Vec<_>>>()?;
        let (packed, segments): (Vec<_>, Vec<_>) = read.into_iter().unzip();
        plain.send(segments).ok()?;
        if let Some(hasher) = &mut hasher {
            packed.iter().for_each(|part| hasher.update(part));
        }
    }
    Some(hasher.map(Hasher::finish))
}

/// How many segments are decompressed at the same time: at least one.
fn window(rest: &[(ObjectId, u64)]) -> usize {
    let mut length = 0;
    let fits = |(_, more): &&(ObjectId, u64)| {
        let before = length;
        length += more;
        before == 0 || length <= WINDOW
    };
    rest.iter().take_while(fits).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hashed_elsewhere_is_what_was_read() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 20 * PIECE + 7] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            assert_eq!(elsewhere(bytes.as_slice()).unwrap(), Digest::of(&bytes), "{length}");
        }
        let failing = [1, 2, 3].chain(Failing);
        assert!(elsewhere(failing).is_err());
    }

    struct Failing;

    impl Read for Failing {
        fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::InvalidData.into())
        }
    }

    #[test]
    fn windows_hold_one_segment_at_least() {
        let part = |length| (ObjectId([0; 32]), length);
        let check = |lengths: &[u64], expected| {
            let parts: Vec<_> = lengths.iter().map(|length| part(*length)).collect();
            assert_eq!(window(&parts), expected, "{lengths:?}");
        };
        check(&[WINDOW * 2, 1], 1);
        check(&[WINDOW], 1);
        check(&[WINDOW / 2, WINDOW / 2, 1], 2);
        check(&[1, 1, 1], 3);
    }
}
