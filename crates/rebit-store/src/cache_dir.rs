//! Cache directories: what `RUN --mount=type=cache` keeps from build to build.
//!
//! A cache has a name and one directory, or several when builds that must not share use it at once. It is nobody's only copy of
//! anything that an image holds, it is not checked, and it stays until it is removed by name or pruned.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{CWD, FlockOperation, RenameFlags};

use crate::store::Inner;
use crate::{Session, StoreError};

pub(crate) const CACHES: &str = "loose/caches";
/// The file that holds a cache's name.
pub(crate) const NAME: &str = "name";
/// Most directories of one cache.
pub(crate) const MAX_DIRECTORIES: u32 = 256;

/// Who may use a cache at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheSharing {
    /// Any number at once.
    Shared,
    /// One; a second one gets a directory of its own.
    Private,
    /// One; a second one waits.
    Locked,
}

/// A cache's directory, held until the value is dropped.
#[derive(Debug)]
pub struct CacheDir {
    path: PathBuf,
    _lock: File,
}

impl CacheDir {
    /// The directory. What is written into it stays.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A cache as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheInfo {
    /// Its name.
    pub name: String,
    /// What its directories take, in bytes.
    pub bytes: u64,
    /// How many directories it has.
    pub directories: u64,
    /// When a session last asked for it, as that session said; `None` when that cannot be told.
    pub used: Option<SystemTime>,
}

pub(crate) fn cache_path(inner: &Inner, name: &str) -> PathBuf {
    inner.root.join(CACHES).join(blake3::hash(name.as_bytes()).to_hex().as_str())
}

impl Session {
    /// The directory of the cache `name`. A new one is given to `fill`, under another name, before anyone else sees it.
    ///
    /// With [`CacheSharing::Locked`] this waits until nobody else holds it. `now` is noted as the time of its last use.
    ///
    /// # Errors
    /// [`StoreError::InvalidName`] for an empty name or one of more than 1024 bytes, [`StoreError::Limit`] when 256 builds use it
    /// privately at once, [`StoreError::Io`], or what `fill` gives.
    pub fn cache_dir<E: From<StoreError>>(
        &self,
        name: &str,
        sharing: CacheSharing,
        now: SystemTime,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<CacheDir, E> {
        let inner = &self.shared.inner;
        inner.check_writable()?;
        let cache = make(inner, name)?;
        note_use(&cache, now)?;
        let (number, lock) = claim(&cache, sharing)?;
        let path = cache.join(format!("{number}"));
        if !path.exists() {
            let made = self.scratch_dir("cache")?;
            let files = made.path().join("fs");
            fs::create_dir(&files)
                .map_err(|source| StoreError::io("create the directory", &files, source))?;
            fill(&files)?;
            match rustix::fs::renameat_with(CWD, &files, CWD, &path, RenameFlags::NOREPLACE) {
                // Another one that shares it was faster: theirs is used.
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(StoreError::io("publish the cache", &path, error.into()).into()),
            }
        }
        Ok(CacheDir { path, _lock: lock })
    }
}

/// Makes the cache's place, without a directory of content.
pub(crate) fn make(inner: &Inner, name: &str) -> Result<PathBuf, StoreError> {
    if name.is_empty() || name.len() > 1024 {
        let name = name.chars().take(100).collect();
        return Err(StoreError::InvalidName { name, reason: "it must be 1 to 1024 bytes" });
    }
    let cache = cache_path(inner, name);
    let file = cache.join(NAME);
    // Written once: who lists the caches meanwhile sees a whole name.
    let write = || match fs::read(&file) {
        Ok(known) if known == name.as_bytes() => Ok(()),
        _ => fs::create_dir_all(&cache).and_then(|()| fs::write(&file, name)),
    };
    write().map_err(|source| StoreError::io("create the cache", &cache, source))?;
    Ok(cache)
}

/// The file that holds the name has the time of the last use.
pub(crate) fn note_use(cache: &Path, now: SystemTime) -> Result<(), StoreError> {
    let path = cache.join(NAME);
    let file = File::options().append(true).open(&path);
    file.and_then(|file| file.set_modified(now))
        .map_err(|source| StoreError::io("note the use of the cache", &path, source))
}

/// Finds a directory number that `sharing` may use, and locks it.
fn claim(cache: &Path, sharing: CacheSharing) -> Result<(u32, File), StoreError> {
    let (operation, last) = match sharing {
        CacheSharing::Shared => (FlockOperation::LockShared, 1),
        CacheSharing::Locked => (FlockOperation::LockExclusive, 1),
        CacheSharing::Private => (FlockOperation::NonBlockingLockExclusive, MAX_DIRECTORIES),
    };
    for number in 0..last {
        let path = cache.join(format!("{number}.lock"));
        let failed = |source| StoreError::io("lock", &path, source);
        let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
        match rustix::fs::flock(&file, operation) {
            Ok(()) => return Ok((number, file)),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
    Err(StoreError::Limit {
        what: "the number of private directories of a cache".to_owned(),
        limit: u64::from(last),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, StoreOptions};

    fn fixture() -> (tempfile::TempDir, Store) {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(&root.path().join("store"), &StoreOptions::default()).unwrap();
        (root, store)
    }

    fn open(session: &Session, name: &str, sharing: CacheSharing) -> CacheDir {
        session
            .cache_dir::<StoreError>(name, sharing, SystemTime::UNIX_EPOCH, |path| {
                fs::write(path.join("filled"), "1").unwrap();
                Ok(())
            })
            .unwrap()
    }

    // S-74
    #[test]
    fn a_cache_is_filled_once_and_keeps_what_is_written() {
        let (_root, store) = fixture();
        let session = store.session().unwrap();
        let cache = open(&session, "go/build", CacheSharing::Shared);
        fs::remove_file(cache.path().join("filled")).unwrap();
        fs::write(cache.path().join("kept"), "content").unwrap();
        drop((cache, session));
        let session = store.session().unwrap();
        let cache = open(&session, "go/build", CacheSharing::Locked);
        assert!(!cache.path().join("filled").exists() && cache.path().join("kept").exists());
        let infos = store.caches().unwrap();
        assert_eq!((infos.len(), infos[0].name.as_str(), infos[0].directories), (1, "go/build", 1));
        assert!(infos[0].bytes > 0);
    }

    // S-75
    #[test]
    fn sharing_says_who_gets_which_directory() {
        let (_root, store) = fixture();
        let session = store.session().unwrap();
        let first = open(&session, "c", CacheSharing::Private);
        let second = open(&session, "c", CacheSharing::Private);
        assert_ne!(first.path(), second.path());
        drop((first, second));
        let shared = open(&session, "c", CacheSharing::Shared);
        let also = open(&session, "c", CacheSharing::Shared);
        assert_eq!(shared.path(), also.path());
        assert!(!store.remove_cache("c").unwrap(), "a cache in use was removed");
        drop((shared, also));
        assert!(store.remove_cache("c").unwrap() && !store.remove_cache("c").unwrap());
        assert_eq!(store.caches().unwrap()[0].bytes, 0);
    }

    #[test]
    fn names_have_limits() {
        let (_root, store) = fixture();
        let session = store.session().unwrap();
        for name in ["", &"x".repeat(1025)] {
            let cache =
                session
                    .cache_dir::<StoreError>(name, CacheSharing::Shared, SystemTime::UNIX_EPOCH, |_| Ok(()));
            assert!(matches!(cache, Err(StoreError::InvalidName { .. })));
        }
    }
}
