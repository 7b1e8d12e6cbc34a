//! A tar stream taken apart while it is read.

use std::fmt;
use std::io::{self, Read};

use rebit_oci::ObjectId;
use rebit_oci::object::ObjectSink;

use super::{Content, MAX_CONTENTS, MAX_PARTS};
use crate::tar::input::TarInput;

/// A scaffold is kept in blocks of so many bytes, or as many more as a small file has.
const BLOCK: usize = 4 << 20;
/// Contents up to this length stay in the scaffold: a reference takes more.
pub(super) const INLINE: u64 = 128;
/// The level that scaffolds are compressed with. It shows in no digest.
const LEVEL: i32 = 6;

/// A tar stream in two: scaffold and contents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Split {
    /// Objects, each one zstd frame, and the length of what is in it.
    pub scaffold: Vec<(ObjectId, u64)>,
    /// The contents, in order. What is left of the scaffold follows the last one.
    pub contents: Vec<Content>,
}

impl Split {
    /// The length of the tar stream; `None` when it is over 64 bits.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        let scaffold = self.scaffold.iter().map(|block| block.1);
        scaffold.chain(self.contents.iter().map(|content| content.length)).try_fold(0, u64::checked_add)
    }
}

/// Reads a tar stream and takes it apart.
///
/// Every byte that is read through it becomes part of the scaffold, unless the reader says that it was the content of an
/// object ([`read_layer_split`](crate::tar::read::read_layer_split) does). So any stream can be split, and what comes of it is the
/// stream again whatever the reader makes of it. At most about 5 MiB are in memory, and 48 bytes a content.
pub struct Splitter<'a> {
    reader: &'a mut dyn Read,
    sink: &'a dyn ObjectSink,
    split: Split,
    /// The scaffold that is not kept yet.
    block: Vec<u8>,
    kept: u64,
    /// How long the scaffold was at the last content.
    at_content: u64,
    content: Open,
    /// Bytes were read that are neither in the scaffold nor in a content, or there are too many pieces.
    lost: bool,
}

impl fmt::Debug for Splitter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Splitter").field("split", &self.split).finish_non_exhaustive()
    }
}

/// The content that is being read.
enum Open {
    No,
    /// It began there in the block.
    Kept(usize),
    /// So much of it was read.
    Passed(u64),
}

impl<'a> Splitter<'a> {
    /// Splits what `reader` yields; the scaffold goes to `sink`, where the contents go too.
    pub fn new(reader: &'a mut dyn Read, sink: &'a dyn ObjectSink) -> Self {
        Self {
            reader,
            sink,
            split: Split::default(),
            block: Vec::new(),
            kept: 0,
            at_content: 0,
            content: Open::No,
            lost: false,
        }
    }

    /// Reads what is left, and ends. `None` when the stream has more pieces than a recipe holds, or a large file was
    /// read and not kept.
    ///
    /// # Errors
    /// The reader's; those of the sink are inside an [`io::Error`].
    pub fn finish(mut self) -> io::Result<Option<Split>> {
        io::copy(&mut self, &mut io::sink())?;
        self.lost |= matches!(self.content, Open::Passed(1..));
        if !self.block.is_empty() {
            self.keep()?;
        }
        Ok((!self.lost).then_some(self.split))
    }

    fn keep(&mut self) -> io::Result<()> {
        let compressed = zstd::bulk::compress(&self.block, LEVEL)?;
        let object = self.sink.put(&compressed, &[]).map_err(io::Error::other)?;
        self.lost |= self.split.scaffold.len() >= MAX_PARTS;
        if !self.lost {
            self.split.scaffold.push((object, self.block.len() as u64));
        }
        self.kept += self.block.len() as u64;
        self.block.clear();
        Ok(())
    }
}

impl Read for Splitter<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        match &mut self.content {
            Open::Passed(length) => *length += count as u64,
            _ => self.block.extend_from_slice(&buffer[..count]),
        }
        if matches!(self.content, Open::No) && self.block.len() >= BLOCK {
            self.keep()?;
        }
        Ok(count)
    }
}

impl TarInput for Splitter<'_> {
    fn begin_content(&mut self, large: bool) {
        self.content = if large { Open::Passed(0) } else { Open::Kept(self.block.len()) };
    }

    fn end_content(&mut self, object: &ObjectId, length: u64) {
        match std::mem::replace(&mut self.content, Open::No) {
            Open::No => return,
            Open::Kept(start) => {
                let whole = self.block.len().checked_sub(start) == usize::try_from(length).ok();
                if !whole || length <= INLINE || self.split.contents.len() >= MAX_CONTENTS {
                    return;
                }
                self.block.truncate(start);
            }
            Open::Passed(0) if length == 0 => return,
            Open::Passed(read) => {
                self.lost |= read != length || self.split.contents.len() >= MAX_CONTENTS;
                if self.lost {
                    return;
                }
            }
        }
        let scaffold = self.kept + self.block.len() as u64;
        let before = scaffold - self.at_content;
        self.at_content = scaffold;
        self.split.contents.push(Content { before, object: *object, length });
    }
}
