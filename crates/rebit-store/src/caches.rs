//! The caches as a whole: what there is, holding one, removing and replacing what it holds.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::FlockOperation;

use crate::cache_dir::{CACHES, MAX_DIRECTORIES, NAME, cache_path, make, note_use};
use crate::{CacheInfo, ScratchDir, Session, Store, StoreError, scratch};

/// A cache that nobody else uses until the value is dropped.
#[derive(Debug)]
pub struct HeldCache {
    cache: PathBuf,
    /// What they lock are the directories of these numbers.
    locks: Vec<(u32, File)>,
}

/// Which caches are removed.
#[derive(Debug, Clone, Default)]
pub struct CachePrune {
    /// Those last used before this time.
    pub older_than: Option<SystemTime>,
    /// The least recently used ones, until the others take at most this many bytes.
    pub max_bytes: Option<u64>,
    /// Nothing is removed.
    pub dry_run: bool,
}

/// What pruning did, each list with the least recently used first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CachePruned {
    /// What was removed, or would be.
    pub removed: Vec<CacheInfo>,
    /// What would have been, had nobody used it.
    pub in_use: Vec<CacheInfo>,
}

impl Store {
    /// All caches, by name.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn caches(&self) -> Result<Vec<CacheInfo>, StoreError> {
        let root = self.inner.root.join(CACHES);
        let mut found = Vec::new();
        for entry in scratch::names(&root)? {
            let cache = root.join(entry);
            // A cache without its name was killed while it was made; the next use of the name mends it.
            let Ok(name) = fs::read_to_string(cache.join(NAME)) else { continue };
            if cache_path(&self.inner, &name) != cache {
                continue;
            }
            let used = fs::metadata(cache.join(NAME)).and_then(|file| file.modified()).ok();
            let numbers = scratch::names(&cache)?.into_iter().filter(|entry| entry.parse::<u32>().is_ok());
            let directories: Vec<PathBuf> = numbers.map(|number| cache.join(number)).collect();
            let mut bytes = 0;
            for directory in &directories {
                bytes += scratch::tree_bytes(directory)?;
            }
            found.push(CacheInfo { name, bytes, directories: directories.len() as u64, used });
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Holds a cache that is there; `None` when somebody uses it or there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn hold_cache(&self, name: &str) -> Result<Option<HeldCache>, StoreError> {
        hold(cache_path(&self.inner, name))
    }

    /// Removes what a cache holds; `false` when somebody uses it or there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn remove_cache(&self, name: &str) -> Result<bool, StoreError> {
        match self.hold_cache(name)? {
            Some(held) => held.clear(),
            None => Ok(false),
        }
    }

    /// Removes caches, the least recently used first. Those in use are left, and others go in their place.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn prune_caches(&self, prune: &CachePrune) -> Result<CachePruned, StoreError> {
        let mut caches = self.caches()?;
        caches.retain(|cache| cache.directories > 0);
        caches.sort_by(|a, b| (a.used, &a.name).cmp(&(b.used, &b.name)));
        let mut left: u64 = caches.iter().map(|cache| cache.bytes).sum();
        let mut pruned = CachePruned::default();
        for cache in caches {
            let old = prune.older_than.is_some_and(|time| cache.used.is_none_or(|used| used < time));
            if !old && prune.max_bytes.is_none_or(|limit| left <= limit) {
                continue;
            }
            if prune.dry_run || self.remove_cache(&cache.name)? {
                left = left.saturating_sub(cache.bytes);
                pruned.removed.push(cache);
            } else {
                pruned.in_use.push(cache);
            }
        }
        Ok(pruned)
    }
}

impl Session {
    /// Holds a cache, which is made when there is none; `None` when somebody uses it. `now` is noted as its last use.
    ///
    /// # Errors
    /// [`StoreError::InvalidName`], [`StoreError::ReadOnly`], [`StoreError::Io`].
    pub fn take_cache(&self, name: &str, now: SystemTime) -> Result<Option<HeldCache>, StoreError> {
        let inner = &self.shared.inner;
        inner.check_writable()?;
        let cache = make(inner, name)?;
        let first = cache.join("0.lock");
        File::options()
            .create(true)
            .append(true)
            .open(&first)
            .map_err(|source| StoreError::io("lock", &first, source))?;
        let held = hold(cache)?;
        if let Some(held) = &held {
            note_use(&held.cache, now)?;
        }
        Ok(held)
    }
}

fn hold(cache: PathBuf) -> Result<Option<HeldCache>, StoreError> {
    let mut locks = Vec::new();
    for entry in scratch::names(&cache)? {
        let Some(number) = entry.strip_suffix(".lock").and_then(|number| number.parse().ok()) else {
            continue;
        };
        let path = cache.join(&entry);
        let failed = |source| StoreError::io("lock", &path, source);
        let file = File::options().append(true).open(&path).map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => locks.push((number, file)),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        }
    }
    locks.sort_by_key(|(number, _)| *number);
    Ok((!locks.is_empty()).then_some(HeldCache { cache, locks }))
}

impl HeldCache {
    /// Its directories of content with their numbers, in order.
    #[must_use]
    pub fn directories(&self) -> Vec<(u32, PathBuf)> {
        let all = self.locks.iter().map(|(number, _)| (*number, self.cache.join(number.to_string())));
        all.filter(|(_, path)| path.is_dir()).collect()
    }

    /// Removes what it holds; `false` when it held nothing.
    ///
    /// The locks stay: somebody may be waiting for one of them.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn clear(&self) -> Result<bool, StoreError> {
        let directories = self.directories();
        for (_, directory) in &directories {
            scratch::remove_tree(directory)?;
        }
        Ok(!directories.is_empty())
    }

    /// Puts other content in the place of all that it holds: each directory `fs` of `made` becomes one of the cache, from 0 on.
    ///
    /// # Errors
    /// [`StoreError::Limit`] for more than 256, [`StoreError::Io`]. An interrupted replacement leaves some of the directories or
    /// none, never a part of one.
    pub fn replace(mut self, made: Vec<ScratchDir>) -> Result<(), StoreError> {
        if made.len() > MAX_DIRECTORIES as usize {
            let what = "the number of private directories of a cache".to_owned();
            return Err(StoreError::Limit { what, limit: u64::from(MAX_DIRECTORIES) });
        }
        self.clear()?;
        for (number, made) in (0_u32..).zip(made) {
            if !self.locks.iter().any(|(known, _)| *known == number) {
                let path = self.cache.join(format!("{number}.lock"));
                let file = File::options().create(true).append(true).open(&path);
                let file = file.map_err(|source| StoreError::io("lock", &path, source))?;
                self.locks.push((number, file));
            }
            publish(&made.path().join("fs"), &self.cache.join(number.to_string()))?;
        }
        Ok(())
    }
}

fn publish(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|source| StoreError::io("publish the cache", to, source))
}

#[cfg(test)]
mod tests;
