//! Checkouts: directories made from objects, shared by processes, evictable.
//!
//! A checkout is never the only copy of anything. It is not synced: one that was made before the machine was
//! booted last is not used, since its files may be cut short.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{OptionalExtension, params};
use rustix::fs::{CWD, FlockOperation, RenameFlags};

use crate::index::Durability;
use crate::scratch::{self, CHECKOUTS, SCRATCH};
use crate::store::Inner;
use crate::{ScratchDir, Session, StoreError};

/// How often publishing is tried while others publish and evict the same checkout.
const ATTEMPTS: u32 = 2000;

/// A checkout that is not evicted while this value lives.
#[derive(Debug)]
pub struct Checkout {
    path: PathBuf,
    /// Locked shared; an eviction wants it alone.
    _lock: File,
}

impl Checkout {
    /// The directory. Nothing below it may be changed.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The directory of a key: any string can be one.
fn name(key: &str) -> String {
    blake3::hash(key.as_bytes()).to_hex().to_string()
}

impl Session {
    /// The checkout published under `key`, held until the value is dropped; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`], or what the index says.
    pub fn checkout(&self, key: &str) -> Result<Option<Checkout>, StoreError> {
        let inner = &self.shared.inner;
        let name = name(key);
        let boot = inner.index.read("find a checkout", |index| {
            let found = index
                .prepare_cached("SELECT boot FROM checkouts WHERE name = ?1")?
                .query_row([&name], |row| row.get::<_, String>(0))
                .optional()?;
            Ok(found)
        })?;
        if boot.as_deref() != Some(&inner.process.boot) {
            return Ok(None);
        }
        let path = inner.root.join(CHECKOUTS).join(name);
        Ok(lock(&path, FlockOperation::LockShared)?.map(|lock| Checkout { path, _lock: lock }))
    }

    /// Removes the checkout published under `key`, unless somebody holds it.
    ///
    /// # Errors
    /// [`StoreError::Io`], or what the index says.
    pub fn remove_checkout(&self, key: &str) -> Result<(), StoreError> {
        evict(&self.shared.inner, &name(key)).map(drop)
    }

    /// Publishes a scratch directory of this session as the checkout of `key`. When another process was
    /// first, `directory` is removed and theirs is returned.
    ///
    /// The directory itself is renamed, so its mode must let its owner write; a tree whose own top directory
    /// must not is to be built one level further down.
    ///
    /// # Errors
    /// [`StoreError::Io`], or what the index says.
    pub fn publish_checkout(&self, key: &str, directory: ScratchDir) -> Result<Checkout, StoreError> {
        let inner = &self.shared.inner;
        let name = name(key);
        let path = inner.root.join(CHECKOUTS).join(&name);
        let bytes = scratch::tree_bytes(directory.path())?;
        // The lock stays with the directory when it is renamed: nobody evicts it in between.
        let gone = || StoreError::io("lock", directory.path(), io::ErrorKind::NotFound.into());
        let lock = lock(directory.path(), FlockOperation::LockShared)?.ok_or_else(gone)?;
        for _ in 0..ATTEMPTS {
            if let Some(theirs) = self.checkout(key)? {
                return Ok(theirs);
            }
            // What is there is of an earlier boot. Its row must not be taken for the new one's.
            if !evict(inner, &name)? {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            inner.index.write("add a checkout", Durability::Normal, |index| {
                index.execute(
                    "INSERT OR REPLACE INTO checkouts (name, bytes, boot) VALUES (?1, ?2, ?3)",
                    params![name, bytes.cast_signed(), inner.process.boot],
                )?;
                Ok(())
            })?;
            match rustix::fs::renameat_with(CWD, directory.path(), CWD, &path, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    directory.release();
                    return Ok(Checkout { path, _lock: lock });
                }
                Err(rustix::io::Errno::EXIST) => {}
                Err(errno) => return Err(StoreError::io("publish", &path, errno.into())),
            }
        }
        Err(StoreError::io("publish", &path, io::ErrorKind::ResourceBusy.into()))
    }
}

/// Locks a directory; `None` when it is not there, or locked otherwise and `operation` does not wait.
fn lock(path: &Path, operation: FlockOperation) -> Result<Option<File>, StoreError> {
    let fail = |source: io::Error| StoreError::io("lock", path, source);
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(fail)?,
    };
    match rustix::fs::flock(&file, operation) {
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        other => other.map_err(|errno| fail(errno.into()))?,
    }
    // It may have been evicted between opening and locking.
    let locked = file.metadata().map_err(fail)?;
    match fs::symlink_metadata(path) {
        Ok(named) if (named.dev(), named.ino()) == (locked.dev(), locked.ino()) => Ok(Some(file)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fail(error)),
        _ => Ok(None),
    }
}

/// Removes a checkout unless somebody holds it; says whether it is gone.
pub(crate) fn evict(inner: &Inner, name: &str) -> Result<bool, StoreError> {
    let path = inner.root.join(CHECKOUTS).join(name);
    let Some(lock) = lock(&path, FlockOperation::NonBlockingLockExclusive)? else {
        return Ok(!path.exists());
    };
    inner.index.write("forget a checkout", Durability::Normal, |index| {
        index.execute("DELETE FROM checkouts WHERE name = ?1", [name])?;
        Ok(())
    })?;
    // Out of sight first: a tree that is half removed must not be found.
    let random = crate::pack::random_u64().map_err(|source| StoreError::io("name", &path, source))?;
    let evicted = inner.root.join(SCRATCH).join(format!("evicted-{random:016x}"));
    match fs::rename(&path, &evicted) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(StoreError::io("evict", &path, error));
        }
        _ => {}
    }
    drop(lock);
    scratch::remove_tree(&evicted)?;
    Ok(true)
}

/// The checkouts there are, and whether each was made since the last boot.
pub(crate) fn list(inner: &Inner) -> Result<Vec<(String, bool)>, StoreError> {
    let mut checkouts = Vec::new();
    for name in scratch::names(&inner.root.join(CHECKOUTS))? {
        let boot = inner.index.read("find a checkout", |index| {
            let found = index
                .query_row("SELECT boot FROM checkouts WHERE name = ?1", [&name], |row| {
                    row.get::<_, String>(0)
                })
                .optional()?;
            Ok(found)
        })?;
        let fresh = boot.as_deref() == Some(&inner.process.boot);
        checkouts.push((name, fresh));
    }
    Ok(checkouts)
}
