//! Two caches in the index: encoded segments, and the contents of files by their state on disk.
//!
//! Neither keeps an object alive. Their rows are removed with the objects they name, in the same transaction.

use std::time::SystemTime;

use rebit_oci::ObjectId;
use rusqlite::{Connection, OptionalExtension, params};

use super::Session;
use super::state::NewSegment;
use crate::index::objects::{id_at, signed, unsigned};
use crate::index::{Durability, objects};
use crate::{StatKey, StoreError};

/// A file changed so recently may change again without another time stamp.
const RACY_NS: i128 = 2_000_000_000;
/// So many rows are skipped before a search is cheaper.
const STRIDE: usize = 24;

impl Session {
    /// The encoded form of a segment, and its length, when it is cached; it then stays for the session.
    ///
    /// # Errors
    /// What the index says.
    pub fn segment(&self, key: &[u8; 32], encoder: &str) -> Result<Option<(ObjectId, u64)>, StoreError> {
        if let Some(new) = self.shared.state().segments.get(&(*key, encoder.to_owned())) {
            return Ok(Some((new.object, new.length)));
        }
        let found = self.shared.inner.index.read("find a segment", |index| {
            let found = index
                .prepare_cached("SELECT object, length FROM segments WHERE key = ?1 AND encoder = ?2")?
                .query_row(params![key, encoder], |row| Ok((id_at(row, 0)?, unsigned(row.get(1)?))))
                .optional()?;
            Ok(found)
        })?;
        match found {
            Some((object, length)) if self.shared.hit(&object)? => Ok(Some((object, length))),
            _ => Ok(None),
        }
    }

    /// Remembers the encoded form of a segment; written with the next commit.
    ///
    /// # Errors
    /// [`StoreError::MissingEdge`] when `object` was not put.
    pub fn put_segment(
        &self,
        key: &[u8; 32],
        encoder: &str,
        object: &ObjectId,
        length: u64,
    ) -> Result<(), StoreError> {
        if !self.shared.hit(object)? {
            let what = format!("the segment cache of encoder `{encoder}`");
            return Err(StoreError::MissingEdge { what, edge: *object });
        }
        let segment = NewSegment { object: *object, length };
        self.shared.state().segments.insert((*key, encoder.to_owned()), segment);
        Ok(())
    }

    /// The content of a file in this state, when it is known; it then stays for the session.
    ///
    /// # Errors
    /// What the index says.
    pub fn stat_cache_get(&self, key: &StatKey) -> Result<Option<ObjectId>, StoreError> {
        Ok(self.stat_cache_get_many(std::slice::from_ref(key))?.pop().flatten())
    }

    /// As [`stat_cache_get`](Self::stat_cache_get) for many files; the results are in the order of `keys`.
    ///
    /// # Errors
    /// What the index says.
    pub fn stat_cache_get_many(&self, keys: &[StatKey]) -> Result<Vec<Option<ObjectId>>, StoreError> {
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_unstable_by_key(|at| keys.get(*at).map(|key| (signed(key.dev), signed(key.ino))));
        let generation = self.shared.state().generation;
        let (mut found, all_live) = self.shared.inner.index.snapshot("read the stat cache", |index| {
            Ok((look_up(index, keys, &order)?, !objects::any_condemned(index)?))
        })?;
        if all_live {
            // A row goes with its object, and nothing is condemned: no object needs to be looked at.
            self.shared.state().remember_seen(generation, found.iter().flatten().copied());
            return Ok(found);
        }
        for slot in &mut found {
            if let Some(object) = *slot
                && !self.shared.hit(&object)?
            {
                *slot = None;
            }
        }
        Ok(found)
    }

    /// Remembers the contents of files: commits, then writes them in one transaction.
    ///
    /// Files changed less than two seconds before `now`, or after it, are left out: they may change again
    /// without it showing.
    ///
    /// # Errors
    /// [`StoreError::MissingEdge`] when an object was not put, or as [`commit`](Self::commit).
    pub fn stat_cache_put(&self, entries: &[(StatKey, ObjectId)], now: SystemTime) -> Result<(), StoreError> {
        for (_, object) in entries {
            if !self.shared.hit(object)? {
                return Err(StoreError::MissingEdge { what: "the stat cache".to_owned(), edge: *object });
            }
        }
        self.commit()?;
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_nanos().cast_signed());
        let settled = |time: i64| i128::from(time) + RACY_NS <= now;
        let mut rows: Vec<&(StatKey, ObjectId)> =
            entries.iter().filter(|(key, _)| settled(key.mtime_ns) && settled(key.ctime_ns)).collect();
        if rows.is_empty() {
            return Ok(());
        }
        rows.sort_unstable_by_key(|(key, _)| (signed(key.dev), signed(key.ino)));
        self.shared.inner.index.write("write the stat cache", Durability::Normal, |index| {
            let mut insert = index.prepare_cached(
                "INSERT OR REPLACE INTO stat_cache (dev, ino, size, mtime, ctime, object)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for (key, object) in rows {
                insert.execute(params![
                    signed(key.dev),
                    signed(key.ino),
                    signed(key.size),
                    key.mtime_ns,
                    key.ctime_ns,
                    object.as_bytes()
                ])?;
            }
            Ok(())
        })
    }
}

/// Walks keys and rows in the same order, side by side: a directory's files are near each other in both.
fn look_up(index: &Connection, keys: &[StatKey], order: &[usize]) -> rusqlite::Result<Vec<Option<ObjectId>>> {
    let mut found = vec![None; keys.len()];
    let mut statement = index.prepare_cached(
        "SELECT ino, size, mtime, ctime, object FROM stat_cache WHERE dev = ?1 AND ino >= ?2 ORDER BY ino",
    )?;
    let mut next = 0;
    while let Some(first) = order.get(next).and_then(|at| keys.get(*at)) {
        let mut rows = statement.query(params![signed(first.dev), signed(first.ino)])?;
        let mut skipped = 0;
        while let Some(row) = rows.next()? {
            let ino: i64 = row.get(0)?;
            // Keys before this row are not there.
            while let Some((at, key)) = order.get(next).and_then(|at| Some((*at, keys.get(*at)?))) {
                if key.dev != first.dev || signed(key.ino) > ino {
                    break;
                }
                if signed(key.ino) == ino {
                    let (size, mtime, ctime) = (unsigned(row.get(1)?), row.get(2)?, row.get(3)?);
                    let same = (key.size, key.mtime_ns, key.ctime_ns) == (size, mtime, ctime);
                    if same && let Some(slot) = found.get_mut(at) {
                        *slot = Some(id_at(row, 4)?);
                    }
                    skipped = 0;
                }
                next += 1;
            }
            skipped += 1;
            let same_device =
                order.get(next).and_then(|at| keys.get(*at)).is_some_and(|key| key.dev == first.dev);
            if !same_device || skipped > STRIDE {
                break;
            }
        }
        drop(rows);
        // No row at or after this key: it, and the rest of its device, is not there.
        if skipped == 0 {
            while order.get(next).and_then(|at| keys.get(*at)).is_some_and(|key| key.dev == first.dev) {
                next += 1;
            }
        }
    }
    Ok(found)
}
