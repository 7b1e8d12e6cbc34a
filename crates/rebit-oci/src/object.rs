//! Reading and writing content by its [`ObjectId`], whoever keeps it.
//!
//! A layer is written and read against these traits; the store implements them, and tests use
//! [`MemoryObjects`].

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use crate::ObjectId;

/// Why an object could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// Nobody has this object.
    #[error("object {object} is missing")]
    NotFound {
        /// The object asked for.
        object: ObjectId,
    },
    /// The bytes kept for this object are not its content.
    #[error("object {object} is damaged: {reason}")]
    Corrupt {
        /// The object asked for.
        object: ObjectId,
        /// What was found.
        reason: String,
    },
    /// An input is larger than a limit.
    #[error("{what} is larger than the limit of {limit} bytes")]
    Limit {
        /// What was too large.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// The keeper failed; `what` says at what.
    #[error("{what}")]
    Storage {
        /// What was being done, in words.
        what: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Reads objects.
///
/// Bytes handed out are verified: a source returns [`ObjectError::Corrupt`] rather than wrong bytes.
pub trait ObjectSource: Sync {
    /// Reads a whole object into memory. For content that may be large, use [`open`](Self::open).
    ///
    /// # Errors
    /// [`ObjectError::NotFound`] when it is missing, [`ObjectError::Corrupt`] when it is damaged.
    fn read(&self, object: &ObjectId) -> Result<Arc<[u8]>, ObjectError>;

    /// Opens an object for streaming.
    ///
    /// The reader fails before its end when the content is damaged; the error it returns then carries
    /// an [`ObjectError`].
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn open(&self, object: &ObjectId) -> Result<Box<dyn Read + Send + '_>, ObjectError>;
}

/// Takes objects in.
///
/// `Ok` means "the keeper holds this object", not "this call put it there".
pub trait ObjectSink: Sync {
    /// Stores `content`. `edges` are the objects that this one refers to: they live as long as it does,
    /// and must have been put before.
    ///
    /// # Errors
    /// [`ObjectError::Storage`] when the keeper fails.
    fn put(&self, content: &[u8], edges: &[ObjectId]) -> Result<ObjectId, ObjectError>;

    /// Stores everything `reader` yields, in bounded memory, and returns its identity and length.
    ///
    /// # Errors
    /// [`ObjectError::Storage`] when reading or keeping fails.
    fn put_reader(&self, reader: &mut dyn Read) -> Result<(ObjectId, u64), ObjectError>;
}

/// Both directions at once: what a step that changes a tree needs.
pub trait Objects: ObjectSource + ObjectSink {}

impl<T: ObjectSource + ObjectSink> Objects for T {}

/// Objects kept in memory, for tests and small work.
#[derive(Default)]
pub struct MemoryObjects {
    objects: Mutex<BTreeMap<ObjectId, Arc<[u8]>>>,
}

impl fmt::Debug for MemoryObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryObjects").field("count", &self.len()).finish()
    }
}

impl MemoryObjects {
    /// Starts empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many objects are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ObjectSource for MemoryObjects {
    fn read(&self, object: &ObjectId) -> Result<Arc<[u8]>, ObjectError> {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.get(object).cloned().ok_or(ObjectError::NotFound { object: *object })
    }

    fn open(&self, object: &ObjectId) -> Result<Box<dyn Read + Send + '_>, ObjectError> {
        Ok(Box::new(io::Cursor::new(self.read(object)?)))
    }
}

impl ObjectSink for MemoryObjects {
    fn put(&self, content: &[u8], _edges: &[ObjectId]) -> Result<ObjectId, ObjectError> {
        let object = ObjectId::of(content);
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.entry(object).or_insert_with(|| content.into());
        Ok(object)
    }

    fn put_reader(&self, reader: &mut dyn Read) -> Result<(ObjectId, u64), ObjectError> {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).map_err(|source| ObjectError::Storage {
            what: "cannot read the content".into(),
            source: source.into(),
        })?;
        Ok((self.put(&content, &[])?, content.len() as u64))
    }
}
