//! The blocks of a tar archive brought into entries: long names and pax records folded in.

use std::collections::BTreeMap;
use std::io::{self, Read};

use tar::{EntryType, Header};

use super::BLOCK;
use super::input::TarInput;
use super::read::{Limits, ReadError};
use crate::path::shown;

/// What the headers say about an entry.
#[derive(Debug, Clone)]
pub(crate) struct Meta {
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) type_flag: u8,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: i64,
    /// Length of the file once it is whole.
    pub(crate) size: u64,
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Where the stored bytes go, when the file is sparse: (offset, length).
    pub(super) sparse: Option<Vec<(u64, u64)>>,
}

/// Reads entries from an archive.
pub(crate) struct Stream<'a> {
    pub(super) reader: &'a mut dyn TarInput,
    limits: Limits,
    /// Bytes of the current entry that are still in the stream, and the padding after them.
    pub(super) rest: u64,
    padding: u64,
    entries: u64,
    global: BTreeMap<Vec<u8>, Vec<u8>>,
    name: String,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(reader: &'a mut dyn TarInput, limits: Limits) -> Self {
        Self { reader, limits, rest: 0, padding: 0, entries: 0, global: BTreeMap::new(), name: String::new() }
    }

    /// The name of the current entry, or of the last one, for messages.
    pub(crate) fn name(&self) -> String {
        self.name.clone()
    }

    pub(super) fn malformed<T>(&self, reason: impl Into<String>) -> Result<T, ReadError> {
        Err(ReadError::Malformed { entry: self.name(), reason: reason.into() })
    }

    fn io(&self, source: io::Error) -> ReadError {
        if source.kind() == io::ErrorKind::UnexpectedEof && source.get_ref().is_none() {
            ReadError::Truncated { entry: self.name() }
        } else {
            ReadError::Io { entry: self.name(), source }
        }
    }

    /// Goes to the next entry; `None` at the end of the archive, all of which was then read.
    pub(crate) fn next(&mut self) -> Result<Option<Meta>, ReadError> {
        self.skip_body()?;
        let mut pax: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let (mut long_name, mut long_link) = (None, None);
        let mut extensions = 0;
        loop {
            let Some(block) = self.header_block()? else {
                return if extensions == 0 {
                    Ok(None)
                } else {
                    self.malformed("nothing follows an extension header")
                };
            };
            let header = Header::from_byte_slice(&block);
            match header.entry_type() {
                EntryType::XHeader => {
                    let body = self.extension(header)?;
                    self.records(&body, &mut pax)?;
                }
                EntryType::XGlobalHeader => {
                    let body = self.extension(header)?;
                    let mut global = std::mem::take(&mut self.global);
                    let parsed = self.records(&body, &mut global);
                    self.global = global;
                    parsed?;
                    // A global header is complete in itself; an archive may end with one.
                    continue;
                }
                EntryType::GNULongName => long_name = Some(text(self.extension(header)?)),
                EntryType::GNULongLink => long_link = Some(text(self.extension(header)?)),
                _ => {
                    let mut records = self.global.clone();
                    records.append(&mut pax);
                    return self.entry(header, records, long_name, long_link).map(Some);
                }
            }
            extensions += 1;
            if extensions > 16 {
                return self.malformed("more than 16 extension headers");
            }
        }
    }

    /// The next block that is not zero; `None` at the end, after the rest of the stream was read.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>, ReadError> {
        let mut block = [0; BLOCK];
        if !self.read_block(&mut block)? {
            return Ok(None);
        }
        if block.iter().all(|byte| *byte == 0) {
            // One zero block ends an archive as two do; what is after it is padding, read to let whoever
            // verifies the stream see its end.
            io::copy(&mut *self.reader, &mut io::sink()).map_err(|source| self.io(source))?;
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block);
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| match at {
                148..156 => u32::from(b' '),
                _ => u32::from(*byte),
            })
            .sum();
        if header.cksum().ok() != Some(sum) {
            return self.malformed("the checksum of its header is wrong");
        }
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(self.limit("headers", self.limits.entries));
        }
        Ok(Some(block))
    }

    /// Reads one block. `false` when the stream ends before it.
    pub(super) fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, ReadError> {
        let mut filled = 0;
        while let Some(space) = block.get_mut(filled..).filter(|space| !space.is_empty()) {
            match self.reader.read(space) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(ReadError::Truncated { entry: self.name() }),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.io(error)),
            }
        }
        Ok(true)
    }

    pub(crate) fn limit(&self, what: &'static str, limit: u64) -> ReadError {
        ReadError::Limit { entry: self.name(), what, limit }
    }

    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, ReadError> {
        let size = self.number(header.entry_size(), "size")?;
        if size > self.limits.extension_size {
            return Err(self.limit("bytes of an extension header", self.limits.extension_size));
        }
        self.begin_body(size);
        let mut body = Vec::new();
        self.read_body(&mut body)?;
        self.skip_body()?;
        Ok(body)
    }

    fn begin_body(&mut self, size: u64) {
        self.rest = size;
        self.padding = super::padding(size) as u64;
    }

    fn read_body(&mut self, into: &mut Vec<u8>) -> Result<(), ReadError> {
        let expected = self.rest;
        self.rest = 0;
        let count = (&mut *self.reader).take(expected).read_to_end(into).map_err(|source| self.io(source))?;
        if (count as u64) < expected {
            return Err(ReadError::Truncated { entry: self.name() });
        }
        Ok(())
    }

    fn skip_body(&mut self) -> Result<(), ReadError> {
        let expected = self.rest.saturating_add(self.padding);
        (self.rest, self.padding) = (0, 0);
        let skipped = io::copy(&mut (&mut *self.reader).take(expected), &mut io::sink());
        match skipped.map_err(|source| self.io(source))? {
            count if count < expected => Err(ReadError::Truncated { entry: self.name() }),
            _ => Ok(()),
        }
    }

    pub(super) fn number<T>(&self, value: io::Result<T>, field: &str) -> Result<T, ReadError> {
        value.or_else(|_| self.malformed(format!("its {field} is not a number")))
    }

    /// Parses pax records; an empty value removes one.
    fn records(&self, body: &[u8], into: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), ReadError> {
        let mut rest = body;
        while !rest.is_empty() {
            // GNU tar pads with NUL bytes in some versions.
            if rest.iter().all(|byte| *byte == 0) {
                break;
            }
            let Some((key, value, after)) = record(rest) else {
                return self.malformed("a pax record is not valid");
            };
            if value.is_empty() && !key.starts_with(XATTR) {
                into.remove(key);
            } else if key.starts_with(b"GNU.sparse.offset") || key.starts_with(b"GNU.sparse.numbytes") {
                return Err(ReadError::Unsupported {
                    entry: self.name(),
                    feature: "GNU sparse format 0.0".into(),
                });
            } else {
                into.insert(key.to_vec(), value.to_vec());
            }
            if into.len() > 4096 {
                return self.malformed("more than 4096 pax records");
            }
            rest = after;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        header: &Header,
        mut records: BTreeMap<Vec<u8>, Vec<u8>>,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Meta, ReadError> {
        let sparse_name = records.remove(&b"GNU.sparse.name"[..]);
        let path = sparse_name
            .or_else(|| records.remove(&b"path"[..]))
            .or(long_name)
            .unwrap_or_else(|| header.path_bytes().into_owned());
        self.name = shown(&path);
        let link = records
            .remove(&b"linkpath"[..])
            .or(long_link)
            .unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        let stored = match self.decimal(&records, b"size")? {
            Some(size) => size,
            None => self.number(header.entry_size(), "size")?,
        };
        let mut meta = Meta {
            path,
            link,
            type_flag: header.entry_type().as_byte(),
            mode: self.number(header.mode(), "mode")? & crate::node::MODE_MASK,
            uid: self.owner(&records, b"uid", header.uid())?,
            gid: self.owner(&records, b"gid", header.gid())?,
            mtime: self.mtime(&records, header)?,
            size: stored,
            device: (0, 0),
            xattrs: BTreeMap::new(),
            sparse: None,
        };
        if matches!(meta.type_flag, b'3' | b'4') {
            let number = |value: io::Result<Option<u32>>| value.ok().flatten().unwrap_or(0);
            meta.device = (number(header.device_major()), number(header.device_minor()));
        }
        // Only regular files have content; some writers give a size to others all the same.
        let has_body = !matches!(meta.type_flag, b'1'..=b'6');
        self.begin_body(if has_body { stored } else { 0 });
        self.sparse(header, &records, &mut meta)?;
        if meta.size > self.limits.file_size {
            return Err(self.limit("bytes of one file", self.limits.file_size));
        }
        for (key, value) in records {
            if let Some(name) = key.strip_prefix(XATTR) {
                meta.xattrs.insert(name.to_vec(), value);
            }
        }
        Ok(meta)
    }

    pub(super) fn decimal(
        &self,
        records: &BTreeMap<Vec<u8>, Vec<u8>>,
        key: &[u8],
    ) -> Result<Option<u64>, ReadError> {
        let Some(value) = records.get(key) else { return Ok(None) };
        let value = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        match value {
            Some(value) => Ok(Some(value)),
            None => self.malformed(format!("its pax record `{}` is not a number", shown(key))),
        }
    }

    fn owner(
        &self,
        records: &BTreeMap<Vec<u8>, Vec<u8>>,
        key: &[u8],
        field: io::Result<u64>,
    ) -> Result<u32, ReadError> {
        let value = match self.decimal(records, key)? {
            Some(value) => value,
            None => self.number(field, "owner")?,
        };
        u32::try_from(value).or_else(|_| self.malformed("its owner has more than 32 bits"))
    }

    fn mtime(&self, records: &BTreeMap<Vec<u8>, Vec<u8>>, header: &Header) -> Result<i64, ReadError> {
        let Some(value) = records.get(&b"mtime"[..]) else {
            // Older writers leave the field empty; base-256 may be negative and is taken as it is.
            return Ok(header.mtime().map_or(0, u64::cast_signed));
        };
        let text = std::str::from_utf8(value).unwrap_or_default();
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let Ok(seconds) = whole.parse::<i64>() else { return self.malformed("its mtime is not a number") };
        // Whole seconds are rounded down, also before 1970.
        let below = whole.starts_with('-') && fraction.bytes().any(|digit| digit != b'0');
        Ok(seconds.saturating_sub(i64::from(below)))
    }

    /// The content of the entry that `meta` describes, holes filled with zeros.
    pub(crate) fn body<'s>(&'s mut self, meta: &'s Meta) -> Body<'s, 'a> {
        Body { pieces: meta.sparse.as_deref(), size: meta.size, at: 0, stream: self }
    }
}

const XATTR: &[u8] = b"SCHILY.xattr.";

/// The content of an entry.
pub(crate) struct Body<'s, 'a> {
    stream: &'s mut Stream<'a>,
    pieces: Option<&'s [(u64, u64)]>,
    size: u64,
    at: u64,
}

impl Read for Body<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.size.saturating_sub(self.at);
        // How far the next hole or the next stored bytes reach.
        let (stored, run) = match self.pieces {
            None => (true, left),
            Some(pieces) => {
                let next = pieces.partition_point(|(offset, length)| offset + length <= self.at);
                match pieces.get(next) {
                    Some((offset, length)) if *offset <= self.at => (true, offset + length - self.at),
                    Some((offset, _)) => (false, offset - self.at),
                    None => (false, left),
                }
            }
        };
        let most = usize::try_from(run.min(left)).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..most).filter(|buffer| !buffer.is_empty()) else { return Ok(0) };
        let count = if stored {
            let count = self.stream.reader.read(buffer)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.stream.rest = self.stream.rest.saturating_sub(count as u64);
            count
        } else {
            buffer.fill(0);
            buffer.len()
        };
        self.at += count as u64;
        Ok(count)
    }
}

/// `LENGTH KEY=VALUE\n` at the start of `bytes`: key, value, and what follows.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(bytes.get(..space)?).ok()?.parse().ok()?;
    let (whole, after) = bytes.split_at_checked(length)?;
    let pair = whole.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    Some((pair.get(..equals)?, pair.get(equals + 1..)?, after))
}

/// A GNU long name without the NUL that ends it.
fn text(mut body: Vec<u8>) -> Vec<u8> {
    if let Some(end) = body.iter().position(|byte| *byte == 0) {
        body.truncate(end);
    }
    body
}
