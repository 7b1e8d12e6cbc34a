//! The byte quota: what everything under the root takes, and what may still be appended.
//!
//! A session asks before it appends, and reserves a little more than it needs, so that it does not ask every
//! time. What others have reserved counts as used: together they never pass the limit. Only what SQLite
//! itself adds to its files between two questions is not foreseen; the next question sees it.

use std::fs;
use std::io;
use std::path::Path;

use rusqlite::params;

use crate::index::{Durability, Index};
use crate::lease::LeaseId;
use crate::store::Inner;
use crate::{DiskUsage, Session, StoreError, journal, reserve, scratch};

/// The most that is reserved at once beyond what is needed.
const STEP: u64 = 4 << 20;

/// Reserves at least `needed` bytes for `lease`; says how many it may append.
pub(crate) fn reserve(inner: &Inner, lease: LeaseId, limit: u64, needed: u64) -> Result<u64, StoreError> {
    inner.index.write("reserve space", Durability::Normal, |index| {
        // What this lease reserved before is in its pack by now, or given back.
        index.execute("UPDATE leases SET reserved = 0 WHERE id = ?1", [lease.0])?;
        let others: i64 =
            index.query_row("SELECT coalesce(sum(reserved), 0) FROM leases", [], |row| row.get(0))?;
        let used = files(inner)?.total().saturating_add(others.cast_unsigned());
        let left = limit.saturating_sub(used);
        if left < needed {
            return Err(StoreError::Full { limit, used }.into());
        }
        let granted = needed.saturating_add(STEP.min(limit / 64)).min(left);
        index.execute(
            "UPDATE leases SET reserved = ?2 WHERE id = ?1",
            params![lease.0, granted.cast_signed()],
        )?;
        Ok(granted)
    })
}

impl Session {
    /// Fails unless files of `bytes` in all fit below the quota now: to be asked before they are written to a directory, which the
    /// store does not see being filled. Nothing is reserved.
    ///
    /// # Errors
    /// [`StoreError::Full`], or what the files and the index say.
    pub fn check_space(&self, bytes: u64) -> Result<(), StoreError> {
        let inner = &self.shared.inner;
        let Some(limit) = inner.options.max_bytes else { return Ok(()) };
        let lease = self.shared.lease.id;
        let others: i64 = inner.index.read("read what is reserved", |index| {
            let query = "SELECT coalesce(sum(reserved), 0) FROM leases WHERE id != ?1";
            Ok(index.query_row(query, [lease.0], |row| row.get(0))?)
        })?;
        let used = files(inner)?.total().saturating_add(others.cast_unsigned());
        if used.saturating_add(bytes) > limit {
            return Err(StoreError::Full { limit, used });
        }
        Ok(())
    }
}

/// What the files under the root take, by part; the rest of the result is empty.
pub(crate) fn files(inner: &Inner) -> Result<DiskUsage, StoreError> {
    let root = &inner.root;
    let packs = inner.packs.list()?;
    let mut index = file_length(&root.join(journal::FILE))?;
    for name in Index::file_names() {
        index += file_length(&root.join(name))?;
    }
    Ok(DiskUsage {
        packs: packs.iter().map(|(_, length)| length).sum(),
        pack_count: packs.len() as u64,
        index,
        checkouts: checkouts(inner)?,
        caches: crate::scratch::tree_bytes(&inner.root.join(crate::cache_dir::CACHES))?,
        scratch: scratch::tree_bytes(&root.join(scratch::SCRATCH))?,
        reserve: file_length(&root.join(reserve::FILE))?,
        ..DiskUsage::default()
    })
}

/// The checkouts' sizes as noted when they were published; others are walked.
fn checkouts(inner: &Inner) -> Result<u64, StoreError> {
    let directory = inner.root.join(scratch::CHECKOUTS);
    let noted = inner.index.read("read the sizes of checkouts", |index| {
        let mut statement = index.prepare("SELECT name, bytes FROM checkouts")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
        Ok(rows.collect::<rusqlite::Result<std::collections::BTreeMap<String, u64>>>()?)
    })?;
    let mut bytes = 0;
    for name in scratch::names(&directory)? {
        bytes += match noted.get(&name) {
            Some(bytes) => *bytes,
            None => scratch::tree_bytes(&directory.join(&name))?,
        };
    }
    Ok(bytes)
}

fn file_length(path: &Path) -> Result<u64, StoreError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(source) => Err(StoreError::io("look at", path, source)),
    }
}
