//! A session: the lease under which objects are written and found.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rebit_oci::object::{ObjectError, ObjectSink, ObjectSource};
use rebit_oci::{CacheKey, Digest, ObjectId};

use crate::store::absent;
use crate::{BlobStat, StatKey, Store, StoreError};

/// A lease on the store; dropping it releases the lease and abandons what was not committed.
#[derive(Debug)]
pub struct Session {
    store: Store,
}

/// A private directory that is removed when dropped.
#[derive(Debug)]
pub struct ScratchDir {}

impl ScratchDir {
    /// The directory.
    pub fn path(&self) -> &Path {
        Path::new("")
    }
}

/// A checkout that is not evicted while this value lives.
#[derive(Debug)]
pub struct Checkout {}

impl Checkout {
    /// The directory.
    pub fn path(&self) -> &Path {
        Path::new("")
    }
}

impl Session {
    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }
    /// Stores a small document as a blob and an object. `edges` as in [`ObjectSink::put`].
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn put_blob(&self, _content: &[u8], _edges: &[ObjectId]) -> Result<(Digest, ObjectId), StoreError> {
        absent()
    }
    /// Stores a blob of any size in bounded memory.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn put_blob_reader(
        &self,
        _reader: &mut dyn Read,
        _edges: &[ObjectId],
    ) -> Result<(Digest, ObjectId, u64), StoreError> {
        absent()
    }
    /// Stores a blob that is the concatenation of `parts` (object and length).
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn put_composite(
        &self,
        _digest: &Digest,
        _size: u64,
        _parts: &[(ObjectId, u64)],
    ) -> Result<ObjectId, StoreError> {
        absent()
    }
    /// As [`Store::read_blob`], and sees what this session has put.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn read_blob(&self, _digest: &Digest, _limit: u64) -> Result<Vec<u8>, StoreError> {
        absent()
    }
    /// As [`Store::open_blob`], and sees what this session has put.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn open_blob(&self, _digest: &Digest) -> Result<(Box<dyn Read + Send + '_>, u64), StoreError> {
        absent()
    }
    /// As [`Store::stat_blob`], and sees what this session has put; what it finds stays for the session.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn stat_blob(&self, _digest: &Digest) -> Result<Option<BlobStat>, StoreError> {
        absent()
    }
    /// Whether the store holds `object` with all it refers to; if so it stays for the session.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn contains(&self, _object: &ObjectId) -> Result<bool, StoreError> {
        absent()
    }
    /// Makes everything put so far durable and indexed.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn commit(&self) -> Result<(), StoreError> {
        absent()
    }
    /// The payload of a record, when it is whole and all its objects are there.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn get_record(&self, _key: &CacheKey, _now: SystemTime) -> Result<Option<Vec<u8>>, StoreError> {
        absent()
    }
    /// Why the last [`get_record`](Self::get_record) of `key` found nothing though there is a record.
    pub fn miss_reason(&self, _key: &CacheKey) -> Option<String> {
        None
    }
    /// Commits, then writes a record.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn put_record(
        &self,
        _key: &CacheKey,
        _payload: &[u8],
        _edges: &[ObjectId],
        _now: SystemTime,
    ) -> Result<(), StoreError> {
        absent()
    }
    /// Commits, then names `root` durably.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn set_ref(
        &self,
        _name: &str,
        _digest: &Digest,
        _root: &ObjectId,
        _now: SystemTime,
    ) -> Result<(), StoreError> {
        absent()
    }
    /// The encoded form of a segment, when it is cached.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn segment(&self, _key: &[u8; 32], _encoder: &str) -> Result<Option<(ObjectId, u64)>, StoreError> {
        absent()
    }
    /// Remembers the encoded form of a segment; written with the next commit.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn put_segment(
        &self,
        _key: &[u8; 32],
        _encoder: &str,
        _object: &ObjectId,
        _length: u64,
    ) -> Result<(), StoreError> {
        absent()
    }
    /// The content of a file in this state, when it is known.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn stat_cache_get(&self, _key: &StatKey) -> Result<Option<ObjectId>, StoreError> {
        absent()
    }
    /// As [`stat_cache_get`](Self::stat_cache_get) for many files at once; the results are in their order.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn stat_cache_get_many(&self, _keys: &[StatKey]) -> Result<Vec<Option<ObjectId>>, StoreError> {
        absent()
    }
    /// Remembers the contents of files: commits, then writes them in one transaction.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn stat_cache_put(
        &self,
        _entries: &[(StatKey, ObjectId)],
        _now: SystemTime,
    ) -> Result<(), StoreError> {
        absent()
    }
    /// A new private directory under the store.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn scratch_dir(&self, _label: &str) -> Result<ScratchDir, StoreError> {
        absent()
    }
    /// A published checkout, held until the value is dropped.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn checkout(&self, _key: &str) -> Result<Option<Checkout>, StoreError> {
        absent()
    }
    /// Publishes a scratch directory as a checkout. If another process was first, theirs is returned.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn publish_checkout(&self, _key: &str, _dir: ScratchDir) -> Result<Checkout, StoreError> {
        absent()
    }
}

impl ObjectSource for Session {
    fn read(&self, _object: &ObjectId) -> Result<Arc<[u8]>, ObjectError> {
        Ok(absent()?)
    }
    fn open(&self, _object: &ObjectId) -> Result<Box<dyn Read + Send + '_>, ObjectError> {
        Ok(absent()?)
    }
}

impl ObjectSink for Session {
    fn put(&self, _content: &[u8], _edges: &[ObjectId]) -> Result<ObjectId, ObjectError> {
        Ok(absent()?)
    }
    fn put_reader(&self, _reader: &mut dyn Read) -> Result<(ObjectId, u64), ObjectError> {
        Ok(absent()?)
    }
}
