//! Decompressing a stream of unknown format within limits.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::recipe::framing::{self, Framing};

/// What a stream is compressed with, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// None of the others.
    Plain,
    /// gzip, any number of members.
    Gzip,
    /// Zstandard, any number of frames.
    Zstd,
    /// bzip2, any number of streams.
    Bzip2,
    /// xz, any number of streams.
    Xz,
}

impl Format {
    /// The format that a stream starting with `start` has; six bytes are enough to tell.
    #[must_use]
    pub fn sniff(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame may come first.
            [first, 0x2a, 0x4d, 0x18, ..] if first & 0xf0 == 0x50 => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::Plain,
        }
    }

    /// Its usual name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        }
    }
}

/// What a compressed stream may cost at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most bytes that come out.
    pub output: u64,
    /// Most bytes that come out for each byte that goes in, once [`ratio_from`](Self::ratio_from) are out.
    pub ratio: u64,
    /// How many bytes may come out before the ratio counts.
    pub ratio_from: u64,
}

impl Default for DecodeLimits {
    /// 1 TiB, 1000 to 1 after 16 MiB. (Deflate cannot do more than 1032 to 1.)
    fn default() -> Self {
        Self { output: 1 << 40, ratio: 1000, ratio_from: 16 << 20 }
    }
}

/// Memory that a decoder may take for the window its stream asks for.
const MEMORY: u64 = 256 << 20;

/// Why a stream was not decompressed; found inside the [`io::Error`] of a [`Decoder`].
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The compressed bytes are not a valid stream.
    #[error("the {format} stream is damaged", format = format.name())]
    Corrupt {
        /// What the stream was taken for.
        format: Format,
        /// The decompressor's own words.
        source: io::Error,
    },
    /// The stream decompresses to more than is allowed.
    #[error("the {format} stream holds more than {limit} bytes", format = format.name())]
    OutputLimit {
        /// What the stream was taken for.
        format: Format,
        /// The limit.
        limit: u64,
    },
    /// The stream decompresses to so many times its size that it must be hostile.
    #[error("the {format} stream is more than {ratio} times larger inside than outside", format = format.name())]
    RatioLimit {
        /// What the stream was taken for.
        format: Format,
        /// The limit.
        ratio: u64,
    },
}

/// What has passed the input side of a decoder.
#[derive(Debug, Default)]
struct Consumed {
    bytes: AtomicU64,
    failed: AtomicBool,
}

struct Counting<R> {
    inner: R,
    consumed: Arc<Consumed>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(count) => {
                self.consumed.bytes.fetch_add(count as u64, Ordering::Relaxed);
                Ok(count)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.consumed.failed.store(true, Ordering::Relaxed);
                }
                Err(error)
            }
        }
    }
}

/// A reader of the bytes inside a compressed stream.
///
/// Errors of the stream below come through as they are; the decoder's own carry a [`DecodeError`].
pub struct Decoder<'a> {
    inner: Box<dyn Read + Send + 'a>,
    format: Format,
    consumed: Arc<Consumed>,
    produced: u64,
    limits: DecodeLimits,
}

impl fmt::Debug for Decoder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("format", &self.format).field("produced", &self.produced).finish()
    }
}

/// Opens a decompressor for `reader` after a look at its first bytes.
///
/// # Errors
/// The reader's own for those first bytes.
pub fn open<'a>(reader: impl Read + Send + 'a, limits: DecodeLimits) -> io::Result<Decoder<'a>> {
    open_framed(reader, limits, None)
}

/// As [`open`], and notes in `framing` how the stream is put together.
///
/// # Errors
/// As [`open`].
pub fn open_framed<'a>(
    mut reader: impl Read + Send + 'a,
    limits: DecodeLimits,
    framing: Option<Framing>,
) -> io::Result<Decoder<'a>> {
    let mut start = Vec::with_capacity(6);
    reader.by_ref().take(6).read_to_end(&mut start)?;
    let format = Format::sniff(&start);
    let consumed = Arc::new(Consumed::default());
    let whole = io::Cursor::new(start).chain(reader);
    let input =
        BufReader::with_capacity(128 * 1024, Counting { inner: whole, consumed: Arc::clone(&consumed) });
    let inner: Box<dyn Read + Send + 'a> = match format {
        Format::Plain => match framing {
            Some(framing) => Box::new(framing::Plain::new(input, framing)),
            None => Box::new(input),
        },
        Format::Gzip if framing.is_some() => Box::new(framing::Gzip::new(input, framing.unwrap_or_default())),
        Format::Zstd if framing.is_some() => {
            Box::new(framing::Zstd::new(input, framing.unwrap_or_default())?)
        }
        Format::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Format::Zstd => Box::new(zstd::Decoder::with_buffer(input)?),
        Format::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        Format::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(MEMORY, liblzma::stream::CONCATENATED)
                .map_err(io::Error::other)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
    };
    Ok(Decoder { inner, format, consumed, produced: 0, limits })
}

impl Decoder<'_> {
    /// What the stream is compressed with.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    fn check(&self) -> Result<(), DecodeError> {
        let DecodeLimits { output, ratio, ratio_from } = self.limits;
        if self.produced > output {
            return Err(DecodeError::OutputLimit { format: self.format, limit: output });
        }
        let consumed = self.consumed.bytes.load(Ordering::Relaxed);
        if self.produced > ratio_from && self.produced > consumed.saturating_mul(ratio) {
            return Err(DecodeError::RatioLimit { format: self.format, ratio });
        }
        Ok(())
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(count) => {
                self.produced = self.produced.saturating_add(count as u64);
                self.check().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                Ok(count)
            }
            Err(error)
                if error.kind() == io::ErrorKind::Interrupted
                    || self.format == Format::Plain
                    || self.consumed.failed.load(Ordering::Relaxed) =>
            {
                Err(error)
            }
            Err(source) => {
                let corrupt = DecodeError::Corrupt { format: self.format, source };
                Err(io::Error::new(io::ErrorKind::InvalidData, corrupt))
            }
        }
    }
}

#[cfg(test)]
mod tests;
