//! A session: the lease under which objects are written and found.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use rebit_oci::digest::HashingReader;
use rebit_oci::object::{ObjectError, ObjectSink, ObjectSource};
use rebit_oci::{Digest, ObjectId};

use crate::entry::BlobRow;
use crate::index::{Durability, blobs, objects};
use crate::lease::{self, Lease};
use crate::read::{self, Locate, Located};
use crate::store::Inner;
use crate::{BlobForm, BlobStat, Store, StoreError, format, pieces};

mod caches;
pub(crate) mod commit;
pub(crate) mod frame;
mod put;
pub(crate) mod records;
pub(crate) mod state;
pub(crate) mod writer;

use state::State;
use writer::Writer;

/// A lease on the store, and what has been put under it.
///
/// An object that a session has put or found stays until the session is dropped, whoever collects garbage
/// meanwhile. What was put can be read through the session at once; others see it, and it survives a crash,
/// after [`commit`](Self::commit). Dropping a session abandons what it has not committed.
///
/// Sessions are `Sync`: threads put through one at the same time.
#[derive(Debug)]
pub struct Session {
    pub(crate) store: Store,
    pub(crate) shared: Arc<Shared>,
}

/// The part of a session that the compressing threads hold too.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) inner: Arc<Inner>,
    pub(crate) lease: Lease,
    state: Mutex<State>,
    /// Signalled when bytes in flight become fewer.
    landed: Condvar,
    /// Held shared while something is put, and alone by a commit: an object and those it refers to are
    /// committed together.
    gate: RwLock<()>,
    writer: Mutex<Writer>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    pub(crate) fn start(store: &Store) -> Result<Self, StoreError> {
        let inner = Arc::clone(&store.inner);
        inner.check_writable()?;
        let lease = inner.index.write("start a lease", Durability::Normal, |index| {
            lease::end_dead(index, &inner.process)?;
            lease::start(index, &inner.process)
        })?;
        let shared = Shared {
            writer: Mutex::new(Writer::new(lease.id)),
            state: Mutex::new(State::new(lease.generation)),
            landed: Condvar::new(),
            gate: RwLock::new(()),
            lease,
            inner,
        };
        let session = Self { store: store.clone(), shared: Arc::new(shared) };
        // After a kill, nobody has to know of collections to get the space back.
        crate::gc::remove_dead_scratch(&session.shared.inner)?;
        Ok(session)
    }

    /// The store that the session writes to.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Stores a small document as a blob. `edges` as in [`ObjectSink::put`].
    ///
    /// # Errors
    /// [`StoreError::MissingEdge`], [`StoreError::Full`], [`StoreError::DiskFull`] or another failure to
    /// write, which may be one of an earlier call.
    pub fn put_blob(&self, content: &[u8], edges: &[ObjectId]) -> Result<(Digest, ObjectId), StoreError> {
        let object = self.shared.put(content, edges)?;
        let digest = Digest::of(content);
        self.add_blob(digest, object, content.len() as u64, BlobForm::Plain);
        Ok((digest, object))
    }

    /// Stores a blob of any size in bounded memory; returns its digest, its object and its length.
    ///
    /// # Errors
    /// As [`put_blob`](Self::put_blob), and [`StoreError::Input`] when `reader` fails.
    pub fn put_blob_reader(
        &self,
        reader: &mut dyn Read,
        edges: &[ObjectId],
    ) -> Result<(Digest, ObjectId, u64), StoreError> {
        let mut hashing = HashingReader::new(reader);
        let (object, size) = self.shared.put_reader(&mut hashing, edges)?;
        let (digest, _) = hashing.finish().map_err(|source| StoreError::Input { source })?;
        self.add_blob(digest, object, size, BlobForm::Plain);
        Ok((digest, object, size))
    }

    /// Stores a blob that is the concatenation of `parts`, each an object and its length.
    ///
    /// That the concatenation has `digest` is the caller's word; a read verifies it.
    ///
    /// # Errors
    /// [`StoreError::MissingEdge`] when a part is missing, [`StoreError::CorruptBlob`] when the lengths do not
    /// add up to `size` or are not those of the parts.
    pub fn put_composite(
        &self,
        digest: &Digest,
        size: u64,
        parts: &[(ObjectId, u64)],
    ) -> Result<ObjectId, StoreError> {
        let wrong = |reason: &str| StoreError::CorruptBlob { digest: *digest, reason: reason.to_owned() };
        let total = parts.iter().try_fold(0_u64, |total, part| total.checked_add(part.1));
        if total != Some(size) {
            return Err(wrong("the lengths of its parts do not add up to its own"));
        }
        for (object, length) in parts {
            let missing = || StoreError::MissingEdge { what: format!("blob {digest}"), edge: *object };
            if self.object_length(object)?.ok_or_else(missing)? != *length {
                return Err(wrong("the length of a part is not that of its object"));
            }
        }
        let mut edges = Vec::new();
        objects::merge(&mut edges, &parts.iter().map(|part| part.0).collect::<Vec<_>>());
        let object = self.shared.put(&pieces::encode(parts), &edges)?;
        self.add_blob(*digest, object, size, BlobForm::Composite);
        Ok(object)
    }

    /// Says that following the recipe in the stored object `recipe` gives a blob of `size` bytes. The objects that
    /// the recipe needs must be its edges.
    ///
    /// That it gives `digest` is the caller's word, and should have been tried; a read verifies it. Notes the
    /// feature `recipes` in the store.
    ///
    /// # Errors
    /// [`StoreError::ObjectNotFound`], or that the feature cannot be noted.
    pub fn put_recipe(&self, digest: &Digest, size: u64, recipe: &ObjectId) -> Result<(), StoreError> {
        if !self.contains(recipe)? {
            return Err(StoreError::ObjectNotFound { object: *recipe });
        }
        format::require(&self.shared.inner.root, format::RECIPES)?;
        self.add_blob(*digest, *recipe, size, BlobForm::Recipe);
        Ok(())
    }

    /// Says that a stored object is also the content of a blob. The digest is the caller's word.
    ///
    /// # Errors
    /// [`StoreError::ObjectNotFound`].
    pub fn name_blob(&self, digest: &Digest, object: &ObjectId) -> Result<(), StoreError> {
        let size = self.object_length(object)?.ok_or(StoreError::ObjectNotFound { object: *object })?;
        self.contains(object)?;
        self.add_blob(*digest, *object, size, BlobForm::Plain);
        Ok(())
    }

    fn add_blob(&self, digest: Digest, object: ObjectId, size: u64, form: BlobForm) {
        self.shared.state().blobs.insert((digest, object), BlobRow { digest, object, size, form });
    }

    /// As [`Store::read_blob`], and sees what this session has put.
    ///
    /// # Errors
    /// As [`Store::read_blob`].
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, StoreError> {
        read::read_blob(self, digest, limit)
    }

    /// As [`Store::open_blob`], and sees what this session has put.
    ///
    /// # Errors
    /// As [`Store::open_blob`].
    pub fn open_blob(&self, digest: &Digest) -> Result<(Box<dyn Read + Send + '_>, u64), StoreError> {
        read::open_blob(self, digest)
    }

    /// The objects that a blob is put together from, in order, with their lengths; `None` when it is kept in another form.
    ///
    /// # Errors
    /// What the index says, and [`StoreError::CorruptObject`].
    pub fn blob_parts(&self, digest: &Digest) -> Result<Option<Vec<(ObjectId, u64)>>, StoreError> {
        read::blob_parts(self, digest)
    }

    /// As [`Store::stat_blob`], and sees what this session has put; what it finds stays for the session.
    ///
    /// # Errors
    /// What the index says.
    pub fn stat_blob(&self, digest: &Digest) -> Result<Option<BlobStat>, StoreError> {
        if let Some(found) = self.shared.state().find_blob(digest) {
            return Ok(Some(found));
        }
        let found = self.shared.inner.index.read("find a blob", |index| Ok(blobs::find(index, digest)?))?;
        for stat in found {
            if self.shared.hit(&stat.object)? {
                return Ok(Some(stat));
            }
        }
        Ok(None)
    }

    /// The recipe of a blob, if it is kept as one, whatever else it is kept as; it stays for the session.
    ///
    /// # Errors
    /// What the index says.
    pub fn recipe_of(&self, digest: &Digest) -> Result<Option<ObjectId>, StoreError> {
        let pending = self.shared.state().recipe_of(digest);
        let found = self.shared.inner.index.read("find a blob", |index| Ok(blobs::find(index, digest)?))?;
        let found = found.into_iter().filter(|stat| stat.form == BlobForm::Recipe).map(|stat| stat.object);
        for object in pending.into_iter().chain(found) {
            if self.shared.hit(&object)? {
                return Ok(Some(object));
            }
        }
        Ok(None)
    }

    /// Whether the store holds `object` with all it refers to; if so it stays for the session.
    ///
    /// # Errors
    /// What the index says.
    pub fn contains(&self, object: &ObjectId) -> Result<bool, StoreError> {
        self.shared.hit(object)
    }

    /// The length of an object's content, put or stored; `None` when it is missing.
    ///
    /// # Errors
    /// What the index says.
    pub fn object_length(&self, object: &ObjectId) -> Result<Option<u64>, StoreError> {
        let pending = self.shared.state().pending.get(object).map(|pending| pending.size);
        pending.map_or_else(|| self.store.object_length(object), |size| Ok(Some(size)))
    }

    /// Makes everything put so far durable, and seen by others.
    ///
    /// One sync of the pack and one transaction, however many objects there are.
    ///
    /// # Errors
    /// As [`put_blob`](Self::put_blob). After [`StoreError::Busy`] it may be called again; after a failure to
    /// write, the session can only be dropped.
    pub fn commit(&self) -> Result<(), StoreError> {
        self.shared.commit()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.close();
        let lease = self.shared.lease.id;
        let end = self.shared.inner.index.write("end a lease", Durability::Normal, |index| {
            self.shared.write_touched(index)?;
            Ok(lease::end(index, lease)?)
        });
        // A lease that could not be ended is ended by the next session after this process.
        drop(end);
        let scratch = self.shared.inner.root.join(crate::scratch::SCRATCH).join(lease.directory_name());
        let _only_when_empty = std::fs::remove_dir(scratch);
    }
}

impl Locate for Session {
    fn inner(&self) -> &Inner {
        &self.shared.inner
    }

    fn locate(&self, object: &ObjectId) -> Result<Option<Located>, StoreError> {
        if let Some(pending) = self.shared.state().pending.get(object) {
            return Ok(Some(pending.located()));
        }
        self.store.locate(object)
    }

    fn locate_blob(&self, digest: &Digest) -> Result<Option<BlobStat>, StoreError> {
        self.stat_blob(digest)
    }
}

impl ObjectSource for Session {
    fn read(&self, object: &ObjectId) -> Result<Arc<[u8]>, ObjectError> {
        Ok(read::read_object(self, object)?)
    }

    fn open(&self, object: &ObjectId) -> Result<Box<dyn Read + Send + '_>, ObjectError> {
        Ok(read::open_object(self, object)?)
    }
}

impl ObjectSink for Session {
    fn put(&self, content: &[u8], edges: &[ObjectId]) -> Result<ObjectId, ObjectError> {
        Ok(self.shared.put(content, edges)?)
    }

    fn put_reader(&self, reader: &mut dyn Read) -> Result<(ObjectId, u64), ObjectError> {
        Ok(self.shared.put_reader(reader, &[])?)
    }
}
