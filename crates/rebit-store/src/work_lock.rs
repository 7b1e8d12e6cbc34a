//! Locks by key, so that two processes that need the same result do the work once.
//!
//! A lock says only that somebody is at work; what was done is found through records. It goes with its holder, however that ends.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use rebit_oci::CacheKey;
use rustix::fs::FlockOperation;

use crate::{Session, StoreError};

pub(crate) const LOCKS: &str = "loose/locks";

/// Held while the work for a key is done.
#[derive(Debug)]
pub struct WorkLock {
    path: PathBuf,
    _file: File,
}

impl Drop for WorkLock {
    fn drop(&mut self) {
        // The name goes while the lock is still held: whoever waited on the old file finds that it has no name and asks again.
        let _ = fs::remove_file(&self.path);
    }
}

impl Session {
    /// Takes the lock of `key`; `None` when another session has it.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn try_work_lock(&self, key: &CacheKey) -> Result<Option<WorkLock>, StoreError> {
        let directory = self.shared.inner.root.join(LOCKS);
        let path = directory.join(key.to_string());
        let failed = |source| StoreError::io("lock", &path, source);
        fs::create_dir_all(&directory).map_err(failed)?;
        loop {
            let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(failed(error.into())),
            }
            // A file that lost its name in between is nobody's lock.
            let named = fs::symlink_metadata(&path).ok().map(|found| (found.dev(), found.ino()));
            let held = file.metadata().map_err(failed)?;
            if named == Some((held.dev(), held.ino())) {
                return Ok(Some(WorkLock { path, _file: file }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, StoreOptions};

    // S-76
    #[test]
    fn one_works_at_a_time_and_leaves_no_file() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(&root.path().join("store"), &StoreOptions::default()).unwrap();
        let (key, other) = (CacheKey([1; 32]), CacheKey([2; 32]));
        let counter = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let session = store.session().unwrap();
                    for _ in 0..50 {
                        let lock = loop {
                            if let Some(lock) = session.try_work_lock(&key).unwrap() {
                                break lock;
                            }
                            std::thread::yield_now();
                        };
                        assert_eq!(
                            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst),
                            0,
                            "two at once"
                        );
                        counter.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        let session = store.session().unwrap();
        let held = session.try_work_lock(&key).unwrap();
        assert!(held.is_some() && session.try_work_lock(&key).unwrap().is_none());
        assert!(session.try_work_lock(&other).unwrap().is_some());
        drop(held);
        assert_eq!(fs::read_dir(store.root().join(LOCKS)).unwrap().count(), 0);
    }
}
