//! Following a recipe.

use std::io::{self, Read};

use rayon::prelude::*;
use rebit_oci::ObjectId;
use rebit_oci::object::{ObjectError, ObjectSource};

use super::encoder::Encode;
use super::{Content, Encoder, MAX_BLOCK, Part, Recipe, Split};

/// Contents up to this length are read whole.
const SMALL: u64 = 1 << 20;
/// Encoders are fed so much at a time.
const FEED: usize = 256 << 10;
/// Plain bytes of the segments that are compressed at the same time.
const WINDOW: u64 = 8 << 20;

/// Gives the blob of the recipe in `bytes`.
///
/// What it yields is not verified here: whoever reads it knows the digest. About 32 MiB are in memory at most, and the
/// recipe.
///
/// # Errors
/// A [`RecipeError`](super::RecipeError) inside an [`io::Error`]; the reader's errors carry an [`ObjectError`] when an
/// object is missing or damaged.
pub fn open<'a>(source: &'a dyn ObjectSource, bytes: &[u8]) -> io::Result<Box<dyn Read + Send + 'a>> {
    let recipe = Recipe::decode(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Box::new(recipe.blob(source)))
}

impl Recipe {
    /// The blob.
    pub fn blob<'a>(self, source: &'a dyn ObjectSource) -> impl Read + Send + use<'a> {
        encoded(self.parts, Joined::new(source, self.tar))
    }
}

/// The blob that `parts` make of a tar stream.
pub fn encoded<'a>(parts: Vec<Part>, tar: impl Read + Send + 'a) -> impl Read + Send + 'a {
    Blob {
        tar,
        parts: parts.into_iter().peekable(),
        encoder: None,
        left: 0,
        feed: Vec::new(),
        out: Vec::new(),
        at: 0,
    }
}

impl Split {
    /// The tar stream.
    pub fn join<'a>(self, source: &'a dyn ObjectSource) -> impl Read + Send + use<'a> {
        Joined::new(source, self)
    }
}

fn fail(error: ObjectError) -> io::Error {
    let kind = match error {
        ObjectError::NotFound { .. } => io::ErrorKind::NotFound,
        ObjectError::Corrupt { .. } => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

fn corrupt(object: ObjectId, reason: &str) -> io::Error {
    fail(ObjectError::Corrupt { object, reason: reason.to_owned() })
}

/// A tar stream put together.
struct Joined<'a> {
    source: &'a dyn ObjectSource,
    scaffold: std::vec::IntoIter<(ObjectId, u64)>,
    contents: std::vec::IntoIter<Content>,
    block: Vec<u8>,
    at: usize,
    /// Bytes of the scaffold before the next content; with no content left, all that there is.
    before: u64,
    next: Option<Content>,
    content: Option<(ObjectId, Box<dyn Read + Send + 'a>, u64)>,
}

impl<'a> Joined<'a> {
    fn new(source: &'a dyn ObjectSource, split: Split) -> Self {
        let mut joined = Self {
            source,
            scaffold: split.scaffold.into_iter(),
            contents: split.contents.into_iter(),
            block: Vec::new(),
            at: 0,
            before: 0,
            next: None,
            content: None,
        };
        joined.advance();
        joined
    }

    fn advance(&mut self) {
        self.next = self.contents.next();
        self.before = self.next.map_or(u64::MAX, |content| content.before);
    }

    fn open(&mut self) -> io::Result<bool> {
        let Some(Content { object, length, .. }) = self.next else { return Ok(false) };
        let reader: Box<dyn Read + Send + 'a> = if length <= SMALL {
            Box::new(io::Cursor::new(self.source.read(&object).map_err(fail)?))
        } else {
            self.source.open(&object).map_err(fail)?
        };
        self.content = Some((object, reader, length));
        self.advance();
        Ok(true)
    }

    /// The next block of the scaffold; `false` at its end.
    fn load(&mut self) -> io::Result<bool> {
        let Some((object, length)) = self.scaffold.next() else { return Ok(false) };
        let compressed = self.source.read(&object).map_err(fail)?;
        let length = length.min(MAX_BLOCK) as usize;
        let block = zstd::bulk::decompress(&compressed, length);
        self.block = block.map_err(|_| corrupt(object, "it is no block of a scaffold"))?;
        self.at = 0;
        if self.block.len() != length {
            return Err(corrupt(object, "its length is not what the recipe says"));
        }
        Ok(true)
    }

    fn scaffold(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() && !self.load()? {
            return Ok(0);
        }
        let rest = self.block.get(self.at..).unwrap_or_default();
        let most = usize::try_from(self.before).unwrap_or(usize::MAX);
        let count = rest.len().min(buffer.len()).min(most);
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        self.before -= count as u64;
        Ok(count)
    }
}

impl Read for Joined<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some((object, reader, left)) = &mut self.content {
                let count = reader.read(buffer)?;
                let wrong = || corrupt(*object, "its length is not what the recipe says");
                *left = left.checked_sub(count as u64).ok_or_else(wrong)?;
                if count > 0 {
                    return Ok(count);
                }
                if *left > 0 {
                    return Err(wrong());
                }
                self.content = None;
            }
            if self.before > 0 {
                return self.scaffold(buffer);
            }
            if !self.open()? {
                return Ok(0);
            }
        }
    }
}

/// A blob being made.
struct Blob<R> {
    tar: R,
    parts: std::iter::Peekable<std::vec::IntoIter<Part>>,
    encoder: Option<Box<dyn Encode>>,
    /// Plain bytes that the encoder still gets.
    left: u64,
    feed: Vec<u8>,
    out: Vec<u8>,
    at: usize,
}

impl<R: Read> Blob<R> {
    /// Makes some more; `false` at the end.
    fn step(&mut self) -> io::Result<bool> {
        (self.at, self.feed) = (0, std::mem::take(&mut self.feed));
        self.out.clear();
        if let Some(mut encoder) = self.encoder.take() {
            let wanted = self.left.min(FEED as u64);
            self.feed.clear();
            take(&mut self.tar, wanted, &mut self.feed)?;
            self.left -= wanted;
            encoder.push(&self.feed, &mut self.out)?;
            if self.left == 0 {
                encoder.finish(&mut self.out)?;
            } else {
                self.encoder = Some(encoder);
            }
            return Ok(true);
        }
        match self.parts.peek() {
            None => {
                // The tar stream's own end is where its last object is verified.
                let ended = self.tar.read(&mut [0])? == 0;
                if ended { Ok(false) } else { Err(invalid("the recipe leaves a part of the tar stream")) }
            }
            Some(Part::Encoded { encoder, plain }) if encoder.most().is_none() => {
                self.encoder = Some(encoder.start(Some(*plain))?);
                self.left = *plain;
                self.parts.next();
                Ok(true)
            }
            Some(_) => self.batch().map(|()| true),
        }
    }

    /// Makes several segments at the same time, and what stands between them.
    fn batch(&mut self) -> io::Result<()> {
        let at_once = |part: &Part| match part {
            Part::Verbatim(_) => true,
            Part::Encoded { encoder, .. } => encoder.most().is_some(),
        };
        let (mut jobs, mut length) = (Vec::new(), 0);
        while length < WINDOW
            && let Some(part) = self.parts.next_if(at_once)
        {
            jobs.push(match part {
                Part::Verbatim(bytes) => (None, bytes),
                Part::Encoded { encoder, plain } => {
                    let mut bytes = Vec::new();
                    take(&mut self.tar, plain, &mut bytes)?;
                    length += plain;
                    (Some(encoder), bytes)
                }
            });
        }
        let encode = |(encoder, bytes): (Option<Encoder>, Vec<u8>)| -> io::Result<Vec<u8>> {
            let Some(encoder) = encoder else { return Ok(bytes) };
            let mut out = Vec::new();
            let mut part = encoder.start(Some(bytes.len() as u64))?;
            part.push(&bytes, &mut out)?;
            part.finish(&mut out)?;
            Ok(out)
        };
        let parts = jobs.into_par_iter().map(encode).collect::<io::Result<Vec<_>>>()?;
        parts.iter().for_each(|part| self.out.extend_from_slice(part));
        Ok(())
    }
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Takes exactly `count` bytes.
fn take(tar: &mut impl Read, count: u64, into: &mut Vec<u8>) -> io::Result<()> {
    let taken = tar.take(count).read_to_end(into)?;
    if taken as u64 == count { Ok(()) } else { Err(invalid("the tar stream of the recipe is too short")) }
}

impl<R: Read> Read for Blob<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.at == self.out.len() {
            if !self.step()? {
                return Ok(0);
            }
        }
        let rest = self.out.get(self.at..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}
