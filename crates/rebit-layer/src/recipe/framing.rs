//! Decompressing a blob while noting how it is put together.

use std::io::{self, BufRead, Read};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::{Encoder, MAX_PARTS, MAX_VERBATIM, Part};

/// A piece of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Bytes that are no compressed data: the header or trailer of a gzip member.
    Bytes(Vec<u8>),
    /// A raw deflate stream, a Zstandard frame, or plain bytes.
    Stream {
        /// How many bytes come out.
        plain: u64,
    },
}

/// How a blob is put together, known once it was read to its end.
#[derive(Debug, Clone, Default)]
pub struct Framing(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    frames: Vec<Frame>,
    verbatim: usize,
    /// There were too many pieces.
    given_up: bool,
}

impl Framing {
    fn add(&self, frame: Frame) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Frame::Bytes(bytes) = &frame {
            notes.verbatim += bytes.len();
        }
        notes.given_up |= notes.frames.len() >= MAX_PARTS || notes.verbatim > MAX_VERBATIM;
        if notes.given_up {
            notes.frames.clear();
        } else {
            notes.frames.push(frame);
        }
    }

    /// The parts of the blob when `encoder` made all its streams; `None` when there are more than a recipe holds.
    #[must_use]
    pub fn parts(&self, encoder: Encoder) -> Option<Vec<Part>> {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let part = |frame: &Frame| match frame {
            Frame::Bytes(bytes) => Some(Part::Verbatim(bytes.clone())),
            Frame::Stream { plain } if encoder.most().is_some_and(|most| *plain > most) => None,
            Frame::Stream { plain } => Some(Part::Encoded { encoder, plain: *plain }),
        };
        if notes.given_up { None } else { notes.frames.iter().map(part).collect() }
    }
}

/// Plain bytes, noted as one stream.
pub(crate) struct Plain<R> {
    inner: R,
    framing: Framing,
    length: u64,
    ended: bool,
}

impl<R: Read> Plain<R> {
    pub(crate) fn new(inner: R, framing: Framing) -> Self {
        Self { inner, framing, length: 0, ended: false }
    }
}

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.length += count as u64;
        if count == 0 && !buffer.is_empty() && !std::mem::replace(&mut self.ended, true) {
            self.framing.add(Frame::Stream { plain: self.length });
        }
        Ok(count)
    }
}

/// gzip members, one after the other.
pub(crate) struct Gzip<R> {
    inner: R,
    framing: Framing,
    state: Box<Decompress>,
    crc: Crc,
    inside: bool,
    ended: bool,
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

impl<R: BufRead> Gzip<R> {
    pub(crate) fn new(inner: R, framing: Framing) -> Self {
        let state = Box::new(Decompress::new(false));
        Self { inner, framing, state, crc: Crc::new(), inside: false, ended: false }
    }

    fn member(&mut self) -> io::Result<()> {
        let header = header(&mut self.inner)?;
        self.framing.add(Frame::Bytes(header));
        self.state.reset(false);
        self.crc.reset();
        self.inside = true;
        Ok(())
    }

    fn trailer(&mut self) -> io::Result<()> {
        let mut trailer = [0; 8];
        self.inner.read_exact(&mut trailer)?;
        self.inside = false;
        let (sum, length) = (self.crc.sum(), self.crc.amount());
        if trailer != (u64::from(sum) | u64::from(length) << 32).to_le_bytes() {
            return Err(invalid("the checksum of a gzip member is wrong"));
        }
        self.framing.add(Frame::Stream { plain: self.state.total_out() });
        self.framing.add(Frame::Bytes(trailer.to_vec()));
        Ok(())
    }
}

/// Reads the header of a gzip member, and gives its bytes.
pub(crate) fn header(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    const LIMIT: usize = 64 << 10;
    let mut bytes = vec![0; 10];
    input.read_exact(&mut bytes)?;
    let flags = bytes[3];
    if bytes[..3] != [0x1f, 0x8b, 8] || flags & 0xe0 != 0 {
        return Err(invalid("a gzip member does not begin as one"));
    }
    let take = |input: &mut dyn BufRead, bytes: &mut Vec<u8>, count: usize| {
        let start = bytes.len();
        bytes.resize(start + count, 0);
        input.read_exact(&mut bytes[start..])
    };
    if flags & 4 != 0 {
        take(input, &mut bytes, 2)?;
        let length = u16::from_le_bytes([bytes[10], bytes[11]]);
        take(input, &mut bytes, length.into())?;
    }
    // Name and comment.
    for _ in 0..(flags >> 3 & 1) + (flags >> 4 & 1) {
        loop {
            take(input, &mut bytes, 1)?;
            if bytes.last() == Some(&0) {
                break;
            }
            if bytes.len() > LIMIT + (64 << 10) {
                return Err(invalid("a gzip header is too long"));
            }
        }
    }
    if flags & 2 != 0 {
        let mut crc = Crc::new();
        crc.update(&bytes);
        let start = bytes.len();
        take(input, &mut bytes, 2)?;
        if bytes[start..] != (crc.sum() as u16).to_le_bytes() {
            return Err(invalid("the checksum of a gzip header is wrong"));
        }
    }
    Ok(bytes)
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if buffer.is_empty() || self.ended {
                return Ok(0);
            }
            let input = self.inner.fill_buf()?;
            if !self.inside {
                if input.is_empty() {
                    self.ended = true;
                    return Ok(0);
                }
                self.member()?;
                continue;
            }
            let empty = input.is_empty();
            let (taken, given) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(input, buffer, FlushDecompress::None)?;
            let (taken, given) = (self.state.total_in() - taken, (self.state.total_out() - given) as usize);
            self.inner.consume(taken as usize);
            self.crc.update(&buffer[..given]);
            if status == Status::StreamEnd {
                self.trailer()?;
            } else if empty && given == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            } else if taken == 0 && given == 0 {
                return Err(invalid("a deflate stream does not go on"));
            }
            if given > 0 {
                return Ok(given);
            }
        }
    }
}

/// Zstandard frames, one after the other.
pub(crate) struct Zstd<R> {
    inner: R,
    framing: Framing,
    state: zstd::stream::raw::Decoder<'static>,
    plain: u64,
    inside: bool,
}

impl<R: BufRead> Zstd<R> {
    pub(crate) fn new(inner: R, framing: Framing) -> io::Result<Self> {
        Ok(Self { inner, framing, state: zstd::stream::raw::Decoder::new()?, plain: 0, inside: false })
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use zstd::stream::raw::Operation;
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let input = self.inner.fill_buf()?;
            let empty = input.is_empty();
            if empty && !self.inside {
                return Ok(0);
            }
            let status = self.state.run_on_buffers(input, buffer)?;
            let (taken, given) = (status.bytes_read, status.bytes_written);
            self.inner.consume(taken);
            self.inside = true;
            self.plain += given as u64;
            if status.remaining == 0 {
                self.framing.add(Frame::Stream { plain: std::mem::take(&mut self.plain) });
                self.inside = false;
                self.state.reinit()?;
            }
            if given > 0 {
                return Ok(given);
            }
            if empty && self.inside {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
