//! What a tree holds at a path.

use std::collections::BTreeMap;

use rebit_oci::ObjectId;

/// The permission, set-id and sticky bits that a mode may have.
pub const MODE_MASK: u32 = 0o7777;

/// Who owns a node, what may be done with it, and when it was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Permission, set-id and sticky bits: 12 bits. Always `0o777` for a symbolic link.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Seconds since 1970-01-01 00:00 UTC; fractions are not kept.
    pub mtime: i64,
    /// Extended attributes by full name; only allowed names
    /// ([`xattr::is_allowed`](crate::xattr::is_allowed)).
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Metadata {
    /// Metadata with `mode`, owner 0:0, mtime `mtime`, no extended attributes.
    #[must_use]
    pub fn new(mode: u32, mtime: i64) -> Self {
        Self { mode: mode & MODE_MASK, uid: 0, gid: 0, mtime, xattrs: BTreeMap::new() }
    }

    /// Metadata of a directory that nobody described: mode 0755, owner 0:0.
    #[must_use]
    pub fn directory(mtime: i64) -> Self {
        Self::new(0o755, mtime)
    }

    /// Whether everything but the mtime is the same.
    #[must_use]
    pub fn same_but_mtime(&self, other: &Self) -> bool {
        self.mode == other.mode
            && self.uid == other.uid
            && self.gid == other.gid
            && self.xattrs == other.xattrs
    }
}

impl Default for Metadata {
    /// Mode 0755, owner 0:0, mtime 0.
    fn default() -> Self {
        Self::directory(0)
    }
}

/// The kind of a node, with what only that kind has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory; what it holds are the nodes below its path.
    Directory,
    /// A regular file.
    File {
        /// Its content.
        object: ObjectId,
        /// Length of the content in bytes.
        size: u64,
        /// 0, or the hard-link group: files of one tree with the same number are one file with many
        /// names. The number means nothing outside its tree.
        link: u32,
    },
    /// A symbolic link.
    Symlink {
        /// What it says, verbatim; not empty, no NUL, at most 4095 bytes.
        target: Vec<u8>,
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

impl Kind {
    /// Whether the kind and all it says are the same, hard-link groups aside.
    #[must_use]
    pub fn same_but_link(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { object: a, size: n, .. }, Self::File { object: b, size: m, .. }) => {
                a == b && n == m
            }
            _ => self == other,
        }
    }
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Owner, mode, time, attributes.
    pub metadata: Metadata,
    /// What it is.
    pub kind: Kind,
}

impl Node {
    /// A directory.
    #[must_use]
    pub fn directory(metadata: Metadata) -> Self {
        Self { metadata, kind: Kind::Directory }
    }

    /// A file that has one name.
    #[must_use]
    pub fn file(metadata: Metadata, object: ObjectId, size: u64) -> Self {
        Self { metadata, kind: Kind::File { object, size, link: 0 } }
    }

    /// A symbolic link; its mode becomes `0o777`.
    #[must_use]
    pub fn symlink(mut metadata: Metadata, target: impl Into<Vec<u8>>) -> Self {
        metadata.mode = 0o777;
        Self { metadata, kind: Kind::Symlink { target: target.into() } }
    }

    /// Whether this is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }

    /// The hard-link group, 0 when there is none.
    #[must_use]
    pub fn link(&self) -> u32 {
        match self.kind {
            Kind::File { link, .. } => link,
            _ => 0,
        }
    }

    /// Changes the hard-link group of a file; does nothing to other kinds.
    pub fn set_link(&mut self, group: u32) {
        if let Kind::File { link, .. } = &mut self.kind {
            *link = group;
        }
    }

    /// Length of a file's content; 0 for other kinds.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self.kind {
            Kind::File { size, .. } => size,
            _ => 0,
        }
    }
}
