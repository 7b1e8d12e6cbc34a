//! Compression: the frozen encoders of layer format 1, and decoders for whatever comes in.
//!
//! An encoder compresses one segment on its own; the parts put together are one valid stream. Its bytes
//! are part of the layer format (`docs/format/layer.md`, "Encoders"): a change to any of them is a new
//! format number.

pub mod decode;
pub(crate) mod deflate;

use std::io;

use decode::Format;
use rebit_oci::manifest::Compression;

/// Level of the gzip encoder. Chosen by measurement, see `docs/format/layer.md`.
const GZIP_LEVEL: i32 = 3;
/// What gzip puts before and after a deflate stream when there is no name.
const GZIP_HEADER: usize = 10;
const GZIP_TRAILER: usize = 8;
/// Level of the Zstandard encoder.
const ZSTD_LEVEL: i32 = 3;

/// The name of the encoder that layer format 1 uses for `compression`, as caches record it.
#[must_use]
pub fn encoder_id(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none-v1",
        Compression::Gzip => "gzip-v1",
        Compression::Zstd => "zstd-v1",
    }
}

/// Compresses one segment: one gzip member, one Zstandard frame, or the bytes themselves.
///
/// # Errors
/// The compressor's; none is known to happen for a segment's size.
pub fn encode_segment(compression: Compression, plain: &[u8]) -> io::Result<Vec<u8>> {
    match compression {
        Compression::None => Ok(plain.to_vec()),
        Compression::Gzip => gzip(plain),
        Compression::Zstd => zstd(plain),
    }
}

fn gzip(plain: &[u8]) -> io::Result<Vec<u8>> {
    let level = gzip_v1::CompressionLvl::new(GZIP_LEVEL)
        .map_err(|_| io::Error::other("the compression level is not supported"))?;
    let mut compressor = gzip_v1::Compressor::new(level);
    let mut part = vec![0; compressor.gzip_compress_bound(plain.len())];
    let length = compressor
        .gzip_compress(plain, &mut part)
        .map_err(|_| io::Error::other("the output is larger than its bound"))?;
    part.truncate(length);
    part.shrink_to_fit();
    Ok(part)
}

/// The raw deflate stream in what [`encode_segment`] makes for gzip.
pub(crate) fn deflate_segment(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut member = gzip(plain)?;
    let end = member.len().saturating_sub(GZIP_TRAILER);
    member.truncate(end);
    member.drain(..GZIP_HEADER.min(end));
    Ok(member)
}

/// Decompresses what [`encode_segment`] gives, at most `limit` bytes: one member or one frame, which says how long it is. Returns the
/// number of bytes; `plain` begins with them, and is made longer where it is too short, so that it can be used again.
///
/// # Errors
/// Damage, and whatever is not exactly that: it is for [`decode`](mod@decode) then. Plain segments are not decompressed.
pub fn decode_segment(format: Format, part: &[u8], limit: usize, plain: &mut Vec<u8>) -> io::Result<usize> {
    let invalid = |reason: &'static str| io::Error::new(io::ErrorKind::InvalidData, reason);
    let length = match format {
        Format::Gzip => part.last_chunk().map(|length| u64::from(u32::from_le_bytes(*length))),
        Format::Zstd => zstd::zstd_safe::get_frame_content_size(part).ok().flatten(),
        Format::Plain | Format::Bzip2 | Format::Xz => None,
    };
    let length = length.and_then(|length| usize::try_from(length).ok()).filter(|length| *length <= limit);
    let length = length.ok_or_else(|| invalid("the length of the segment is not known, or too large"))?;
    if plain.len() < length {
        plain.resize(length, 0);
    }
    let room = plain.get_mut(..length).unwrap_or_default();
    let found = match format {
        Format::Zstd => zstd::bulk::decompress_to_buffer(part, room)?,
        _ => {
            let found = gzip_v1::Decompressor::new().gzip_decompress(part, room);
            found.map_err(|_| invalid("the member is damaged"))?
        }
    };
    if found == length { Ok(length) } else { Err(invalid("the segment has another length")) }
}

fn zstd(plain: &[u8]) -> io::Result<Vec<u8>> {
    // A context of its own for each segment: nothing of another one can reach the bytes.
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    compressor.include_checksum(true)?;
    compressor.include_contentsize(true)?;
    // The single-threaded and the multi-threaded encoder differ in their bytes; the latter gives the same
    // ones for every number of workers.
    compressor.multithread(1)?;
    let mut part = compressor.compress(plain)?;
    part.shrink_to_fit();
    Ok(part)
}

#[cfg(test)]
mod tests;
