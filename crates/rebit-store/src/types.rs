//! Plain values that go in and out of the store.

use std::io::{self, Read};
use std::time::SystemTime;

use rebit_oci::object::ObjectSource;
use rebit_oci::{Digest, ObjectId};

/// Gives back the bytes of a blob from its recipe and the objects that the recipe refers to.
///
/// The store knows where recipes are and what they keep, not what they say. What comes out is verified against the
/// blob's digest by the store. An error says why the recipe cannot be followed.
pub type OpenRecipe = for<'a> fn(&'a dyn ObjectSource, &[u8]) -> io::Result<Box<dyn Read + Send + 'a>>;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Create the store when there is none. Otherwise that is [`StoreError::NoStore`](crate::StoreError::NoStore).
    pub create: bool,
    /// The most bytes that everything under the root may take; `None` for no limit.
    ///
    /// It is a cap, checked before every append: a write that would pass it is
    /// [`StoreError::Full`](crate::StoreError::Full).
    pub max_bytes: Option<u64>,
    /// The zstd level of new frames.
    pub compression_level: i32,
    /// Reads blobs that are kept as recipes; without it they are
    /// [`StoreError::Recipe`](crate::StoreError::Recipe).
    pub recipes: Option<OpenRecipe>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { create: true, max_bytes: None, compression_level: 1, recipes: None }
    }
}

/// How a blob is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobForm {
    /// The blob's bytes are one object.
    Plain,
    /// The blob is the concatenation of the objects that its part list names.
    Composite,
    /// The blob is what following the recipe in the object gives ([`StoreOptions::recipes`]).
    Recipe,
}

impl BlobForm {
    /// The number that packs and index know it by. Readers prefer smaller ones.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Composite => 1,
            Self::Recipe => 2,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::Plain, Self::Composite, Self::Recipe].into_iter().find(|form| form.code() == code)
    }
}

/// What is known of a blob without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobStat {
    /// The length in bytes.
    pub size: u64,
    /// The object that keeps it alive: the content itself, or the part list of a composite.
    pub object: ObjectId,
    /// How it is kept.
    pub form: BlobForm,
}

/// A named root: what it names is kept by the garbage collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref {
    /// The name; 1 to 1024 bytes without control characters.
    pub name: String,
    /// The blob that the name stands for.
    pub digest: Digest,
    /// The object from which everything that belongs to it is reached.
    pub root: ObjectId,
    /// When the name was last set, to the second.
    pub updated: SystemTime,
}

/// The identity of a file's state on disk, for the stat cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatKey {
    /// The device number.
    pub dev: u64,
    /// The inode number.
    pub ino: u64,
    /// The length in bytes.
    pub size: u64,
    /// The modification time, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// The change time, in nanoseconds since 1970.
    pub ctime_ns: i64,
}
