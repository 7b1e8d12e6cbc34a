//! The structures on disk, in the kernel's order of fields.

use super::{BLOCK_SIZE, Place};
use crate::Metadata;

/// Bytes of a block.
pub(super) const BLOCK: usize = 4096;

/// File types of directory entries.
pub(super) const REGULAR: u8 = 1;
pub(super) const DIRECTORY: u8 = 2;
pub(super) const CHARACTER: u8 = 3;
pub(super) const BLOCK_DEVICE: u8 = 4;
pub(super) const FIFO: u8 = 5;
pub(super) const SYMLINK: u8 = 7;

const SUPERBLOCK_AT: usize = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;
const HAS_MTIME: u32 = 0x2;
const CHUNKED_FILE: u32 = 0x4;
const DEVICE_TABLE: u32 = 0x8;
/// Bytes of an entry of the device table; the first one follows the superblock.
const DEVICE: usize = 128;

/// Bytes of an extended inode.
const INODE: u64 = 64;
/// Inodes are numbered by their place in these.
const SLOT: u64 = 32;
const PLAIN: u16 = 0;
const INLINE: u16 = 2;
const CHUNKS: u16 = 4;
/// Chunks are given by entries that name a device.
const CHUNK_INDEXES: u16 = 0x20;
const CHUNK_INDEX: u64 = 8;

/// What the first block says.
pub(super) struct Superblock<'a> {
    pub(super) blocks: u32,
    pub(super) inodes: u64,
    pub(super) root: u64,
    pub(super) data_files: &'a [u32],
}

impl Superblock<'_> {
    pub(super) fn write(&self, image: &mut [u8]) {
        let mut put = |at: usize, bytes: &[u8]| write_at(image, SUPERBLOCK_AT + at, bytes);
        put(0, &MAGIC.to_le_bytes());
        put(8, &HAS_MTIME.to_le_bytes());
        put(12, &[12]);
        put(14, &u16::try_from(self.root).unwrap_or_default().to_le_bytes());
        put(16, &self.inodes.to_le_bytes());
        put(36, &self.blocks.to_le_bytes());
        // Inodes begin in the second block.
        put(40, &1_u32.to_le_bytes());
        let table = if self.data_files.is_empty() { 0 } else { DEVICE_TABLE };
        put(80, &(CHUNKED_FILE | table).to_le_bytes());
        put(86, &u16::try_from(self.data_files.len()).unwrap_or_default().to_le_bytes());
        let first = (SUPERBLOCK_AT + 128) / DEVICE;
        put(88, &u16::try_from(first).unwrap_or_default().to_le_bytes());
        for (number, blocks) in self.data_files.iter().enumerate() {
            write_at(image, (first + number) * DEVICE + 64, &blocks.to_le_bytes());
        }
    }
}

/// What an inode holds.
#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    Empty,
    /// The blocks of a directory.
    Directory(&'a [u8]),
    Symlink(&'a [u8]),
    Extent {
        place: Place,
        size: u64,
    },
    Device(u32, u32),
}

/// An inode and where it is.
#[derive(Clone)]
pub(super) struct Inode<'a> {
    pub(super) kind: u8,
    pub(super) links: u32,
    /// Bytes of its content.
    pub(super) size: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: i64,
    xattrs: Vec<u8>,
    content: Content<'a>,
    /// Where it begins, from the first inode on.
    at: u64,
    /// Whether what does not fill a block stands beside it.
    inline: bool,
    /// Its first block, where it has some.
    first_block: u32,
}

impl<'a> Inode<'a> {
    pub(super) fn new(kind: u8, metadata: &Metadata, xattrs: Vec<u8>, content: Content<'a>) -> Self {
        let size = match content {
            Content::Symlink(target) => target.len() as u64,
            Content::Extent { size, .. } => size,
            Content::Empty | Content::Directory(_) | Content::Device(..) => 0,
        };
        let &Metadata { mode, uid, gid, mtime, .. } = metadata;
        Self {
            kind,
            links: 0,
            size,
            mode,
            uid,
            gid,
            mtime,
            xattrs,
            content,
            at: 0,
            inline: false,
            first_block: 0,
        }
    }

    /// What overlayfs takes for a name that is not there.
    pub(super) fn whiteout() -> Self {
        Self::new(CHARACTER, &Metadata::new(0, 0), Vec::new(), Content::Device(0, 0))
    }

    /// The same inode with its content.
    pub(super) fn with(&self, content: Content<'a>) -> Self {
        Self { content, ..self.clone() }
    }

    /// Its number on disk.
    pub(super) fn nid(&self) -> u64 {
        self.at / SLOT
    }

    /// Whether its content is in blocks of this image or beside it.
    fn has_own_content(&self) -> bool {
        matches!(self.content, Content::Directory(_) | Content::Symlink(_))
    }

    fn tail(&self) -> u64 {
        self.size % BLOCK_SIZE
    }

    /// Bytes of the inode with what stands beside it.
    fn length(&self) -> u64 {
        let head = INODE + self.xattrs.len() as u64;
        match self.content {
            Content::Extent { .. } => head.next_multiple_of(CHUNK_INDEX) + CHUNK_INDEX,
            _ if self.inline => head + self.tail(),
            _ => head,
        }
    }

    /// Puts the inode at `at` or after it, and returns where the next one may be.
    pub(super) fn put(&mut self, at: u64) -> u64 {
        let head = INODE + self.xattrs.len() as u64;
        self.inline = self.has_own_content() && self.tail() != 0 && head + self.tail() <= BLOCK_SIZE;
        // What stands beside an inode has to be in one block with its end.
        let crosses = at % BLOCK_SIZE + self.length() > BLOCK_SIZE;
        self.at = if self.inline && crosses { at.next_multiple_of(BLOCK_SIZE) } else { at };
        (self.at + self.length()).next_multiple_of(SLOT)
    }

    /// How many blocks of its own it needs.
    fn blocks(&self) -> u64 {
        match (self.has_own_content(), self.inline) {
            (false, _) => 0,
            (true, true) => self.size / BLOCK_SIZE,
            (true, false) => self.size.div_ceil(BLOCK_SIZE),
        }
    }

    /// Gives it blocks from `next` on; returns the next free one.
    pub(super) fn put_blocks(&mut self, next: u64) -> Option<u64> {
        self.first_block = u32::try_from(next).ok()?;
        Some(next + self.blocks())
    }

    /// The block after its last one; 0 when it has none.
    pub(super) fn blocks_end(&self) -> u64 {
        if self.blocks() == 0 { 0 } else { u64::from(self.first_block) + self.blocks() }
    }

    pub(super) fn write(&self, number: usize, image: &mut [u8]) {
        let at = self.at as usize + BLOCK;
        let mut put = |offset: usize, bytes: &[u8]| write_at(image, at + offset, bytes);
        let (layout, value) = match self.content {
            Content::Extent { size, .. } => (CHUNKS, u32::from(CHUNK_INDEXES | chunk_bits(size))),
            Content::Device(major, minor) => (PLAIN, device_number(major, minor)),
            _ if self.inline => (INLINE, self.first_block),
            Content::Empty => (PLAIN, 0),
            Content::Directory(_) | Content::Symlink(_) => (PLAIN, self.first_block),
        };
        put(0, &(layout << 1 | 1).to_le_bytes());
        put(2, &xattr_count(self.xattrs.len()).to_le_bytes());
        put(4, &u16::try_from(type_bits(self.kind) | self.mode).unwrap_or_default().to_le_bytes());
        put(8, &self.size.to_le_bytes());
        put(16, &value.to_le_bytes());
        put(20, &u32::try_from(number + 1).unwrap_or_default().to_le_bytes());
        put(24, &self.uid.to_le_bytes());
        put(28, &self.gid.to_le_bytes());
        put(32, &self.mtime.to_le_bytes());
        put(44, &self.links.to_le_bytes());
        put(INODE as usize, &self.xattrs);
        self.write_content(at, image);
    }

    fn write_content(&self, at: usize, image: &mut [u8]) {
        let beside = INODE as usize + self.xattrs.len();
        match self.content {
            Content::Extent { place, .. } => {
                let at = at + beside.next_multiple_of(CHUNK_INDEX as usize);
                write_at(image, at + 2, &(place.file + 1).to_le_bytes());
                write_at(image, at + 4, &place.block.to_le_bytes());
            }
            Content::Directory(content) | Content::Symlink(content) => {
                let in_blocks =
                    if self.inline { content.len() - content.len() % BLOCK } else { content.len() };
                let (blocks, tail) = content.split_at(in_blocks);
                write_at(image, self.first_block as usize * BLOCK, blocks);
                write_at(image, at + beside, tail);
            }
            Content::Empty | Content::Device(..) => {}
        }
    }
}

fn write_at(image: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = image.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// By how many bits a chunk is larger than a block, so that the whole file is one.
fn chunk_bits(size: u64) -> u16 {
    let blocks = size.div_ceil(BLOCK_SIZE).max(1);
    u16::try_from(blocks.next_power_of_two().trailing_zeros()).unwrap_or_default()
}

fn device_number(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

fn type_bits(kind: u8) -> u32 {
    match kind {
        DIRECTORY => 0o040_000,
        CHARACTER => 0o020_000,
        BLOCK_DEVICE => 0o060_000,
        FIFO => 0o010_000,
        SYMLINK => 0o120_000,
        _ => 0o100_000,
    }
}

/// Bytes of the header of inline attributes.
const XATTR_HEADER: usize = 12;

/// The number that stands for the length of inline attributes.
fn xattr_count(length: usize) -> u16 {
    let units = length.saturating_sub(XATTR_HEADER) / 4;
    if length == 0 { 0 } else { u16::try_from(units + 1).unwrap_or_default() }
}

/// The extended attributes of a node as they stand after its inode; `None` when EROFS cannot say them.
pub(super) fn xattrs(metadata: &Metadata) -> Option<Vec<u8>> {
    if metadata.xattrs.is_empty() {
        return Some(Vec::new());
    }
    let mut bytes = vec![0_u8; XATTR_HEADER];
    for (name, value) in &metadata.xattrs {
        let prefixes: [(u8, &[u8]); 3] = [(1, b"user."), (4, b"trusted."), (6, b"security.")];
        let (index, name) =
            prefixes.iter().find_map(|(index, prefix)| Some((*index, name.strip_prefix(*prefix)?)))?;
        bytes.extend([u8::try_from(name.len()).ok()?, index]);
        bytes.extend(u16::try_from(value.len()).ok()?.to_le_bytes());
        bytes.extend(name);
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    // The count is 16 bits of four bytes each.
    (bytes.len() < (usize::from(u16::MAX) - 1) * 4).then_some(bytes)
}
