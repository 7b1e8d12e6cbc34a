//! The bytes of tree objects, version 1 (`docs/format/tree.md`).
//!
//! Decoding accepts exactly what encoding writes: for every value there is one encoding.

use std::collections::BTreeMap;

use rebit_oci::ObjectId;

use crate::node::MODE_MASK;
use crate::path::MAX_COMPONENT;
use crate::{Kind, Metadata, Node, TreePath, xattr};

const DIRECTORY_MAGIC: &[u8; 8] = b"rebitdir";
const ROOT_MAGIC: &[u8; 8] = b"rebittre";
const VERSION: u16 = 1;
/// Longest target of a symbolic link, in bytes.
pub(crate) const MAX_TARGET: usize = 4095;
/// Smallest encoding of a directory entry, to bound allocation by what is there.
const SMALLEST_ENTRY: usize = 1 + 1 + 1 + 18 + 2;

/// Why bytes are not a tree object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The object ends early, has something left over, or holds a value that encoding never writes.
    #[error("the object is malformed: {reason}")]
    Malformed {
        /// What is wrong.
        reason: &'static str,
    },
    /// The object is of a later version.
    #[error("version {version} of the tree format is not supported")]
    Unsupported {
        /// The version found.
        version: u16,
    },
}

/// One entry of a directory object: a name, and the node, hard-link group 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, one valid component.
    pub name: Vec<u8>,
    /// What it is.
    pub node: Node,
    /// For a directory, the object that holds its entries.
    pub directory: Option<ObjectId>,
}

/// The content of a root object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Metadata of the root directory.
    pub metadata: Metadata,
    /// The object that holds its entries.
    pub directory: ObjectId,
    /// Hard-link groups as [`Tree::link_groups`](crate::Tree::link_groups) lists them.
    pub groups: Vec<Vec<TreePath>>,
}

/// Encodes a directory whose entries come in bytewise order of name.
#[must_use]
pub fn encode_directory<'a>(
    entries: impl ExactSizeIterator<Item = (&'a [u8], &'a Node, Option<ObjectId>)>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(14 + entries.len() * 96);
    out.extend_from_slice(DIRECTORY_MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    put_count(&mut out, entries.len());
    for (name, node, directory) in entries {
        out.push(kind_code(&node.kind));
        out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(name);
        put_metadata(&mut out, &node.metadata);
        match &node.kind {
            Kind::Directory => out.extend_from_slice(directory.unwrap_or(ObjectId([0; 32])).as_bytes()),
            Kind::File { object, size, .. } => {
                out.extend_from_slice(object.as_bytes());
                out.extend_from_slice(&size.to_le_bytes());
            }
            Kind::Symlink { target } => {
                out.extend_from_slice(&u16::try_from(target.len()).unwrap_or(u16::MAX).to_le_bytes());
                out.extend_from_slice(target);
            }
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                out.extend_from_slice(&major.to_le_bytes());
                out.extend_from_slice(&minor.to_le_bytes());
            }
            Kind::Fifo => {}
        }
    }
    out
}

/// Encodes a root object.
#[must_use]
pub fn encode_root(root: &Root) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(ROOT_MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    put_metadata(&mut out, &root.metadata);
    out.extend_from_slice(root.directory.as_bytes());
    put_count(&mut out, root.groups.len());
    for group in &root.groups {
        put_count(&mut out, group.len());
        for path in group {
            let path = path.as_bytes();
            out.extend_from_slice(&u16::try_from(path.len()).unwrap_or(u16::MAX).to_le_bytes());
            out.extend_from_slice(path);
        }
    }
    out
}

fn kind_code(kind: &Kind) -> u8 {
    match kind {
        Kind::Directory => 1,
        Kind::File { .. } => 2,
        Kind::Symlink { .. } => 3,
        Kind::CharDevice { .. } => 4,
        Kind::BlockDevice { .. } => 5,
        Kind::Fifo => 6,
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_metadata(out: &mut Vec<u8>, metadata: &Metadata) {
    // Twelve bits, so the cast keeps everything.
    out.extend_from_slice(&((metadata.mode & MODE_MASK) as u16).to_le_bytes());
    out.extend_from_slice(&metadata.uid.to_le_bytes());
    out.extend_from_slice(&metadata.gid.to_le_bytes());
    out.extend_from_slice(&metadata.mtime.to_le_bytes());
    out.extend_from_slice(&u16::try_from(metadata.xattrs.len()).unwrap_or(u16::MAX).to_le_bytes());
    for (name, value) in &metadata.xattrs {
        out.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
        put_count(out, value.len());
        out.extend_from_slice(name);
        out.extend_from_slice(value);
    }
}

/// Decodes a directory object.
///
/// # Errors
/// [`DecodeError`] for anything that [`encode_directory`] does not write.
pub fn decode_directory(bytes: &[u8]) -> Result<Vec<Entry>, DecodeError> {
    let mut input = Input { rest: bytes };
    input.header(DIRECTORY_MAGIC)?;
    let count = input.u32()? as usize;
    let mut entries: Vec<Entry> = Vec::with_capacity(count.min(input.rest.len() / SMALLEST_ENTRY));
    for _ in 0..count {
        let entry = input.entry()?;
        if entries.last().is_some_and(|last| last.name >= entry.name) {
            return malformed("names are not in order");
        }
        entries.push(entry);
    }
    input.end()?;
    Ok(entries)
}

/// Decodes a root object.
///
/// # Errors
/// [`DecodeError`] for anything that [`encode_root`] does not write.
pub fn decode_root(bytes: &[u8]) -> Result<Root, DecodeError> {
    let mut input = Input { rest: bytes };
    input.header(ROOT_MAGIC)?;
    let metadata = input.metadata()?;
    let directory = input.object()?;
    let count = input.u32()?;
    let mut groups: Vec<Vec<TreePath>> = Vec::new();
    for _ in 0..count {
        let members = input.u32()?;
        let mut group: Vec<TreePath> = Vec::new();
        for _ in 0..members {
            let length = usize::from(input.u16()?);
            let path = TreePath::parse(input.take(length)?);
            let path = path.map_err(|_| DecodeError::Malformed { reason: "a path is not valid" })?;
            if path.is_root() || group.last().is_some_and(|last| *last >= path) {
                return malformed("a hard-link group is not in order");
            }
            group.push(path);
        }
        if group.len() < 2 || groups.last().is_some_and(|last| *last >= group) {
            return malformed("hard-link groups are too small or not in order");
        }
        groups.push(group);
    }
    input.end()?;
    Ok(Root { metadata, directory, groups })
}

fn malformed<T>(reason: &'static str) -> Result<T, DecodeError> {
    Err(DecodeError::Malformed { reason })
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or(DecodeError::Malformed { reason: "it ends early" })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) =
            self.rest.split_first_chunk::<N>().ok_or(DecodeError::Malformed { reason: "it ends early" })?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    fn object(&mut self) -> Result<ObjectId, DecodeError> {
        self.array().map(ObjectId)
    }

    fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { malformed("something follows its end") }
    }

    fn header(&mut self, magic: &[u8; 8]) -> Result<(), DecodeError> {
        if &self.array::<8>()? != magic {
            return malformed("it does not start as such an object does");
        }
        match self.u16()? {
            VERSION => Ok(()),
            version => Err(DecodeError::Unsupported { version }),
        }
    }

    fn metadata(&mut self) -> Result<Metadata, DecodeError> {
        let mode = u32::from(self.u16()?);
        if mode & !MODE_MASK != 0 {
            return malformed("a mode has more than 12 bits");
        }
        let (uid, gid) = (self.u32()?, self.u32()?);
        let mtime = self.array().map(i64::from_le_bytes)?;
        Ok(Metadata { mode, uid, gid, mtime, xattrs: self.xattrs()? })
    }

    fn xattrs(&mut self) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, DecodeError> {
        let mut xattrs: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut bytes = 0_usize;
        for _ in 0..self.u16()? {
            let (name_length, value_length) = (usize::from(self.u16()?), self.u32()? as usize);
            let (name, value) = (self.take(name_length)?, self.take(value_length)?);
            bytes = bytes.saturating_add(name.len()).saturating_add(value.len());
            if name.is_empty() || name.contains(&0) {
                return malformed("an attribute has no valid name");
            }
            if xattrs.last_key_value().is_some_and(|(last, _)| last.as_slice() >= name) {
                return malformed("attributes are not in order");
            }
            xattrs.insert(name.to_vec(), value.to_vec());
        }
        if xattrs.len() > xattr::MAX_COUNT || bytes > xattr::MAX_BYTES {
            return malformed("a node has too many attributes");
        }
        Ok(xattrs)
    }

    fn entry(&mut self) -> Result<Entry, DecodeError> {
        let code = self.u8()?;
        let length = usize::from(self.u8()?);
        let name = self.take(length)?;
        if name.is_empty()
            || name.len() > MAX_COMPONENT
            || name.contains(&0)
            || name.contains(&b'/')
            || matches!(name, b"." | b"..")
        {
            return malformed("a name is not valid");
        }
        let metadata = self.metadata()?;
        let mut directory = None;
        let kind = match code {
            1 => {
                directory = Some(self.object()?);
                Kind::Directory
            }
            2 => Kind::File { object: self.object()?, size: self.u64()?, link: 0 },
            3 => {
                let length = usize::from(self.u16()?);
                let target = self.take(length)?;
                if !valid_target(target) || metadata.mode != 0o777 {
                    return malformed("a symbolic link is not valid");
                }
                Kind::Symlink { target: target.to_vec() }
            }
            4 => Kind::CharDevice { major: self.u32()?, minor: self.u32()? },
            5 => Kind::BlockDevice { major: self.u32()?, minor: self.u32()? },
            6 => Kind::Fifo,
            _ => return malformed("an entry is of an unknown kind"),
        };
        Ok(Entry { name: name.to_vec(), node: Node { metadata, kind }, directory })
    }
}

/// Whether a symbolic link may say this: not empty, no NUL, at most 4095 bytes.
pub(crate) fn valid_target(target: &[u8]) -> bool {
    !target.is_empty() && target.len() <= MAX_TARGET && !target.contains(&0)
}
