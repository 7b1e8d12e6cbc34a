//! The store and what can be read from it.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rebit_oci::object::{ObjectError, ObjectSource};
use rebit_oci::{Digest, ObjectId};

use crate::format::{self, Access};
use crate::index::{Index, blobs, objects};
use crate::lease::ProcessIdentity;
use crate::pack::Packs;
use crate::read::{self, Locate, Located};
use crate::vfs::{RealVfs, Vfs};
use crate::{BlobStat, RebuildReport, Session, StoreError, StoreOptions};
use crate::{journal, pack, rebuild, reserve, scratch};

/// The file of settings, which is the user's: nothing here reads or writes it.
pub(crate) const SETTINGS: &str = "config.toml";

/// A store on disk; cheap to clone and to share between threads.
///
/// Reading needs no session, but only a [`Session`] keeps what it found from being collected by another
/// process meanwhile.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

/// What all handles of one opened store share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) root: PathBuf,
    pub(crate) options: StoreOptions,
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) index: Index,
    pub(crate) packs: Packs,
    pub(crate) process: ProcessIdentity,
    access: Access,
    workers: OnceLock<Option<rayon::ThreadPool>>,
}

impl Inner {
    /// The threads that compress. `None` when none can be started: then the caller does it.
    pub(crate) fn workers(&self) -> Option<&rayon::ThreadPool> {
        let start = || rayon::ThreadPoolBuilder::new().thread_name(|n| format!("store-{n}")).build().ok();
        self.workers.get_or_init(start).as_ref()
    }

    /// Fails unless this version may write.
    pub(crate) fn check_writable(&self) -> Result<(), StoreError> {
        match &self.access {
            Access::Full => Ok(()),
            Access::ReadOnly(feature) => {
                Err(StoreError::ReadOnly { path: self.root.clone(), feature: feature.clone() })
            }
        }
    }
}

impl Store {
    /// Opens the store at `root`; makes one when there is none and `options.create` says so.
    ///
    /// When the index is missing though there are packs, it is made anew from them first.
    ///
    /// # Errors
    /// [`StoreError::NoStore`], [`StoreError::NotAStore`], [`StoreError::UnsupportedFeature`], or what
    /// the file system and the index say.
    pub fn open(root: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        Ok(Self::open_in(root, options, Arc::new(RealVfs))?.0)
    }

    /// As [`open`](Self::open), with other file operations underneath.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(root: &Path, options: &StoreOptions, vfs: Arc<dyn Vfs>) -> Result<Self, StoreError> {
        Ok(Self::open_in(root, options, vfs)?.0)
    }

    /// The store, and what was found when its index had to be made.
    fn open_in(
        root: &Path,
        options: &StoreOptions,
        vfs: Arc<dyn Vfs>,
    ) -> Result<(Self, Option<RebuildReport>), StoreError> {
        let access = match format::load(root)? {
            Some(access) => access,
            None if options.create => {
                create(root)?;
                format::load(root)?.unwrap_or(Access::Full)
            }
            None => return Err(StoreError::NoStore { path: root.to_owned() }),
        };
        let packs = Packs::new(root, Arc::clone(&vfs));
        let mut report = None;
        let mut fill = |transaction: &rusqlite::Transaction<'_>| {
            report = Some(rebuild::fill(transaction, root, &*vfs, &packs)?);
            Ok(())
        };
        let index = Index::open(root, Arc::clone(&vfs), &mut fill)?;
        let inner = Inner {
            root: root.to_owned(),
            options: options.clone(),
            process: ProcessIdentity::current()?,
            access,
            workers: OnceLock::new(),
            vfs,
            index,
            packs,
        };
        Ok((Self { inner: Arc::new(inner) }, report))
    }

    /// Throws the index away and makes a new one from the packs and the journal of refs.
    ///
    /// For an index that is damaged. No other process may use the store meanwhile. Records and the other
    /// caches are lost.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn rebuild(root: &Path, options: &StoreOptions) -> Result<(Self, RebuildReport), StoreError> {
        if format::load(root)?.is_none() {
            return Err(StoreError::NoStore { path: root.to_owned() });
        }
        for name in Index::file_names() {
            let path = root.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io("remove", &path, error));
                }
                _ => {}
            }
        }
        let (store, report) = Self::open_in(root, options, Arc::new(RealVfs))?;
        Ok((store, report.unwrap_or_default()))
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Starts a session: a lease under which objects are written, and found ones stay.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`], or what the index says.
    pub fn session(&self) -> Result<Session, StoreError> {
        Session::start(self)
    }

    /// Reads a whole blob of at most `limit` bytes, verified.
    ///
    /// # Errors
    /// [`StoreError::BlobNotFound`], [`StoreError::Limit`], [`StoreError::CorruptBlob`] or
    /// [`StoreError::CorruptObject`].
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, StoreError> {
        read::read_blob(self, digest, limit)
    }

    /// Opens a blob for streaming and says how long it is.
    ///
    /// The reader fails before its end when the content is not that of `digest`; only a read that returned
    /// `Ok(0)` has verified it.
    ///
    /// # Errors
    /// As [`read_blob`](Self::read_blob).
    pub fn open_blob(&self, digest: &Digest) -> Result<(Box<dyn Read + Send + '_>, u64), StoreError> {
        read::open_blob(self, digest)
    }

    /// What is known of a blob, without reading it; `None` when the store does not have it.
    ///
    /// # Errors
    /// What the index says.
    pub fn stat_blob(&self, digest: &Digest) -> Result<Option<BlobStat>, StoreError> {
        self.locate_blob(digest)
    }

    /// The length of an object's content; `None` when it is missing.
    ///
    /// # Errors
    /// What the index says.
    pub fn object_length(&self, object: &ObjectId) -> Result<Option<u64>, StoreError> {
        let found = self.inner.index.read("find an object", |index| Ok(objects::find(index, object)?))?;
        Ok(found.map(|(place, _)| place.size))
    }

    /// The objects that `object` refers to; for a large one these include its chunks.
    ///
    /// # Errors
    /// [`StoreError::ObjectNotFound`].
    pub fn edges(&self, object: &ObjectId) -> Result<Vec<ObjectId>, StoreError> {
        let found = self.inner.index.read("read edges", |index| Ok(objects::edges(index, object)?))?;
        found.ok_or(StoreError::ObjectNotFound { object: *object })
    }
}

impl Locate for Store {
    fn inner(&self) -> &Inner {
        &self.inner
    }

    fn locate(&self, object: &ObjectId) -> Result<Option<Located>, StoreError> {
        let found = self.inner.index.read("find an object", |index| Ok(objects::find(index, object)?))?;
        Ok(found.map(|(place, _)| Located::Placed(place)))
    }

    fn locate_blob(&self, digest: &Digest) -> Result<Option<BlobStat>, StoreError> {
        let found = self.inner.index.read("find a blob", |index| Ok(blobs::find(index, digest)?))?;
        Ok(found.into_iter().next())
    }
}

impl ObjectSource for Store {
    fn read(&self, object: &ObjectId) -> Result<Arc<[u8]>, ObjectError> {
        Ok(read::read_object(self, object)?)
    }

    fn open(&self, object: &ObjectId) -> Result<Box<dyn Read + Send + '_>, ObjectError> {
        Ok(read::open_object(self, object)?)
    }
}

/// Makes a new, empty store. Several processes may do so at once.
fn create(root: &Path) -> Result<(), StoreError> {
    let make = |path: &Path| {
        fs::create_dir_all(path).map_err(|source| StoreError::io("create the directory", path, source))
    };
    make(root)?;
    let mut entries = fs::read_dir(root).map_err(|source| StoreError::io("list", root, source))?;
    // Directories of ours may be there already: another process is making the same store.
    let foreign = entries.find_map(|entry| {
        let name = entry.ok()?.file_name();
        let ours = ["packs", "loose", "scratch", reserve::FILE, journal::FILE, SETTINGS];
        let name = name.to_str()?.to_owned();
        (!ours.contains(&name.as_str()) && !name.starts_with("store.toml")).then_some(name)
    });
    if let Some(name) = foreign {
        let reason = format!("it has no `store.toml` and is not empty (`{name}`)");
        return Err(StoreError::NotAStore { path: root.to_owned(), reason });
    }
    for directory in [pack::DIRECTORY, scratch::CHECKOUTS, scratch::SCRATCH] {
        make(&root.join(directory))?;
    }
    reserve::fill(root)?;
    format::create(root)
}
