//! The store and what can be read from it.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rebit_oci::object::{ObjectError, ObjectSource};
use rebit_oci::{Digest, ObjectId};

use crate::{BlobStat, Ref, Session, StoreError, StoreOptions};
use crate::{DiskUsage, FsckOptions, FsckProgress, FsckReport, GcPlan, GcPolicy, GcReport, RebuildReport};

/// A store on disk; cheap to clone and to share between threads.
#[derive(Debug, Clone)]
pub struct Store {}

pub(crate) fn absent<T>() -> Result<T, StoreError> {
    Err(StoreError::SessionFailed { reason: "not there yet".to_owned() })
}

impl Store {
    /// Opens the store at `root`.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn open(_root: &Path, _options: &StoreOptions) -> Result<Self, StoreError> {
        absent()
    }
    /// Throws the index away and makes a new one from the packs.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn rebuild(_root: &Path, _options: &StoreOptions) -> Result<(Self, RebuildReport), StoreError> {
        absent()
    }
    /// The root directory.
    pub fn root(&self) -> &Path {
        Path::new("")
    }
    /// Starts a session: a lease under which objects are written and found.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn session(&self) -> Result<Session, StoreError> {
        absent()
    }
    /// Reads a whole blob of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn read_blob(&self, _digest: &Digest, _limit: u64) -> Result<Vec<u8>, StoreError> {
        absent()
    }
    /// Opens a blob for streaming, with its length; verified at its end.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn open_blob(&self, _digest: &Digest) -> Result<(Box<dyn Read + Send + '_>, u64), StoreError> {
        absent()
    }
    /// What is known of a blob, without reading it.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn stat_blob(&self, _digest: &Digest) -> Result<Option<BlobStat>, StoreError> {
        absent()
    }
    /// The length of an object; `None` when it is missing.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn object_length(&self, _object: &ObjectId) -> Result<Option<u64>, StoreError> {
        absent()
    }
    /// The objects that `object` refers to; for a large one these include its chunks.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn edges(&self, _object: &ObjectId) -> Result<Vec<ObjectId>, StoreError> {
        absent()
    }
    /// All refs, by name.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn refs(&self) -> Result<Vec<Ref>, StoreError> {
        absent()
    }
    /// One ref.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn get_ref(&self, _name: &str) -> Result<Option<Ref>, StoreError> {
        absent()
    }
    /// Deletes a ref; `false` when there was none.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn delete_ref(&self, _name: &str) -> Result<bool, StoreError> {
        absent()
    }
    /// Renames a ref; `to` must be free.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn rename_ref(&self, _from: &str, _to: &str) -> Result<(), StoreError> {
        absent()
    }
    /// Says what a collection under `policy` would remove.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn prepare_gc(&self, _policy: &GcPolicy) -> Result<GcPlan, StoreError> {
        absent()
    }
    /// Collects garbage.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn execute_gc(&self, _plan: GcPlan) -> Result<GcReport, StoreError> {
        absent()
    }
    /// Checks every byte.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn fsck(
        &self,
        _options: &FsckOptions,
        _progress: &mut dyn FnMut(FsckProgress),
    ) -> Result<FsckReport, StoreError> {
        absent()
    }
    /// What takes how much space.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn du(&self) -> Result<DiskUsage, StoreError> {
        absent()
    }
    /// Fills the index anew from the packs.
    ///
    /// # Errors
    /// As [`StoreError`].
    pub fn rebuild_index(&self) -> Result<RebuildReport, StoreError> {
        absent()
    }
}

impl ObjectSource for Store {
    fn read(&self, _object: &ObjectId) -> Result<Arc<[u8]>, ObjectError> {
        Ok(absent()?)
    }
    fn open(&self, _object: &ObjectId) -> Result<Box<dyn Read + Send + '_>, ObjectError> {
        Ok(absent()?)
    }
}
