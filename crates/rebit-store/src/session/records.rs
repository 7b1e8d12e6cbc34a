//! Records: what a cache key led to.

use std::collections::BTreeSet;
use std::time::SystemTime;

use rebit_oci::{CacheKey, ObjectId};
use rusqlite::{OptionalExtension, params};

use super::Session;
use crate::index::objects::{join_ids, split_ids};
use crate::index::{Durability, objects};
use crate::{StoreError, time};

/// The longest payload of a record.
pub(crate) const PAYLOAD_LIMIT: usize = 16 << 20;

/// A row of the table.
pub(crate) struct RecordRow {
    pub(crate) payload: Vec<u8>,
    pub(crate) sum: Vec<u8>,
    pub(crate) edges: Vec<u8>,
}

impl RecordRow {
    /// Whether the row is what was written.
    pub(crate) fn is_whole(&self, key: &CacheKey) -> bool {
        self.edges.len().is_multiple_of(32) && self.sum == checksum(key, &self.edges, &self.payload)
    }
}

fn checksum(key: &CacheKey, edges: &[u8], payload: &[u8]) -> [u8; 32] {
    let length = (edges.len() as u64).to_le_bytes();
    let mut hasher = blake3::Hasher::new();
    for part in [&key.0[..], &length, edges, payload] {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

impl Session {
    /// The payload of a record, when it is whole and all its objects are there; these then stay for the
    /// session. `now` becomes the time it was last used, with the next commit.
    ///
    /// A record that is damaged or lacks an object is a miss; [`miss_reason`](Self::miss_reason) says why.
    ///
    /// # Errors
    /// What the index says.
    pub fn get_record(&self, key: &CacheKey, now: SystemTime) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.shared.inner.index.read("read a record", |index| {
            let row = index
                .prepare_cached("SELECT payload, sum, edges FROM records WHERE key = ?1")?
                .query_row([key.as_bytes()], |row| {
                    Ok(RecordRow { payload: row.get(0)?, sum: row.get(1)?, edges: row.get(2)? })
                })
                .optional()?;
            Ok(row)
        })?;
        let miss = |reason: String| {
            self.shared.state().miss_reasons.insert(*key, reason);
            Ok(None)
        };
        self.shared.state().miss_reasons.remove(key);
        let Some(row) = found else { return Ok(None) };
        if !row.is_whole(key) {
            return miss("the record is damaged".to_owned());
        }
        for edge in split_ids(&row.edges) {
            if !self.shared.hit(&edge)? {
                return miss(format!("object {edge}, which the record needs, is missing"));
            }
        }
        self.shared.state().touched.insert(*key, time::seconds(now));
        Ok(Some(row.payload))
    }

    /// When a record was last used, without using it.
    ///
    /// # Errors
    /// What the index says.
    pub fn record_used(&self, key: &CacheKey) -> Result<Option<SystemTime>, StoreError> {
        self.shared.inner.index.read("read a record", |index| {
            let used = index
                .prepare_cached("SELECT used FROM records WHERE key = ?1")?
                .query_row([key.as_bytes()], |row| row.get::<_, i64>(0))
                .optional()?;
            Ok(used.and_then(time::from_seconds))
        })
    }

    /// Why the last [`get_record`](Self::get_record) of `key` was a miss though there is a record.
    #[must_use]
    pub fn miss_reason(&self, key: &CacheKey) -> Option<String> {
        self.shared.state().miss_reasons.get(key).cloned()
    }

    /// Commits, then writes a record in place of an older one of this key. `edges` are the objects without
    /// which it is worth nothing.
    ///
    /// # Errors
    /// [`StoreError::MissingEdge`], [`StoreError::Limit`] for a payload above 16 MiB, or as
    /// [`commit`](Self::commit).
    pub fn put_record(
        &self,
        key: &CacheKey,
        payload: &[u8],
        edges: &[ObjectId],
        now: SystemTime,
    ) -> Result<(), StoreError> {
        if payload.len() > PAYLOAD_LIMIT {
            let what = format!("the payload of record {key}");
            return Err(StoreError::Limit { what, limit: PAYLOAD_LIMIT as u64 });
        }
        self.commit()?;
        let edges: BTreeSet<ObjectId> = edges.iter().copied().collect();
        let edges: Vec<ObjectId> = edges.into_iter().collect();
        let done = self.shared.inner.index.write("write a record", Durability::Normal, |index| {
            objects::resurrect(index, edges.iter().copied())?;
            let joined = join_ids(&edges);
            let sum = checksum(key, &joined, payload);
            index
                .prepare_cached(
                    "INSERT OR REPLACE INTO records (key, payload, sum, edges, used)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![key.as_bytes(), payload, sum, joined, time::seconds(now)])?;
            Ok(())
        });
        done.map_err(|error| match error {
            StoreError::ObjectNotFound { object } => {
                StoreError::MissingEdge { what: format!("record {key}"), edge: object }
            }
            other => other,
        })
    }
}
