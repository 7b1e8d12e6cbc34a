//! Which encoders may have made a blob.
//!
//! The start of the blob is decompressed, and every candidate compresses what comes out; those whose bytes are the
//! blob's, as far as both go, are left. Few need more than a block to be told apart. What a header says about the
//! level is not believed, it costs nothing to try.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress, Status};
use rayon::prelude::*;

use super::{Encoder, framing};
use crate::codec::decode::Format;

/// How much of a blob [`candidates`] wants to see.
pub const HEAD: usize = 4 << 20;
/// Plain bytes that are looked at first, and at most.
const LOOKS: [usize; 2] = [512 << 10, 6 << 20];
/// The end of what a Zstandard encoder was made to give early.
const RAGGED: usize = 300 << 10;

/// The encoders that may have made the blob that begins with `head`, the most likely first. Empty when none is known.
///
/// `head` is the first [`HEAD`] bytes, or the whole blob.
#[must_use]
pub fn candidates(head: &[u8]) -> Vec<Encoder> {
    let found = match Format::sniff(head) {
        Format::Plain => Ok(vec![Encoder::Plain]),
        Format::Gzip => gzip(head),
        Format::Zstd => zstd(head),
        Format::Bzip2 | Format::Xz => Ok(Vec::new()),
    };
    // What cannot be decompressed is refused by whoever reads it in earnest.
    found.unwrap_or_default()
}

fn gzip(head: &[u8]) -> io::Result<Vec<Encoder>> {
    let mut rest = head;
    framing::header(&mut rest)?;
    let mut encoders: Vec<Encoder> =
        (1..=9).flat_map(|level| [Encoder::Gnu(level), Encoder::Zlib(level), Encoder::Pigz(level)]).collect();
    for look in LOOKS {
        let sample = inflate(rest, look)?;
        if sample.ended && !encoders.contains(&Encoder::Libdeflate) {
            encoders.insert(0, Encoder::Libdeflate);
        }
        let fits = |encoder: &Encoder| fits_deflate(*encoder, &sample).unwrap_or(false);
        encoders = encoders.into_par_iter().filter(fits).collect();
        if encoders.len() < 2 {
            break;
        }
    }
    Ok(encoders)
}

/// A stream and what comes out of it, as far as both were looked at.
struct Sample<'a> {
    encoded: &'a [u8],
    plain: Vec<u8>,
    ended: bool,
}

fn inflate(encoded: &[u8], most: usize) -> io::Result<Sample<'_>> {
    let mut state = Decompress::new(false);
    let mut plain = vec![0; most];
    let status = state.decompress(encoded, &mut plain, FlushDecompress::None)?;
    plain.truncate(state.total_out() as usize);
    let ended = status == Status::StreamEnd;
    let end = if ended { state.total_in() as usize } else { encoded.len() };
    Ok(Sample { encoded: &encoded[..end], plain, ended })
}

fn fits_deflate(encoder: Encoder, sample: &Sample<'_>) -> io::Result<bool> {
    let mut part = encoder.start(None)?;
    let mut out = Vec::new();
    for piece in sample.plain.chunks(128 << 10) {
        part.push(piece, &mut out)?;
        if !sample.encoded.starts_with(&out) {
            return Ok(false);
        }
    }
    if sample.ended {
        part.finish(&mut out)?;
        return Ok(out == sample.encoded);
    }
    Ok(encoder != Encoder::Libdeflate)
}

fn zstd(head: &[u8]) -> io::Result<Vec<Encoder>> {
    // The frame header: magic (4), then a byte that says what follows.
    let descriptor = head.get(4).copied().unwrap_or_default();
    let checked = descriptor & 4 != 0;
    let size = zstd::zstd_safe::get_frame_content_size(head).ok().flatten();
    let mut plain = Vec::new();
    // A frame that is cut short gives what it can.
    let _cut = zstd::Decoder::with_buffer(head)?.single_frame().take(LOOKS[1] as u64).read_to_end(&mut plain);
    let encoder = |threads| move |level| Encoder::Zstd { level, threads, sized: size.is_some(), checked };
    let encoders: Vec<Encoder> = (1..=9).map(encoder(true)).chain((1..=9).map(encoder(false))).collect();
    let fits = |encoder: &Encoder| -> io::Result<bool> {
        let mut part = encoder.start(size)?;
        let mut out = Vec::new();
        part.push(&plain, &mut out)?;
        part.peek(&mut out)?;
        let common = out.iter().zip(head).take_while(|(a, b)| a == b).count();
        Ok(common + RAGGED >= out.len().min(head.len()) && common >= 6)
    };
    Ok(encoders.into_par_iter().filter(|encoder| fits(encoder).unwrap_or(false)).collect())
}
