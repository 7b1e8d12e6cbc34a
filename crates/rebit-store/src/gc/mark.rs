//! What is reached from where.

use std::collections::HashSet;

use rebit_oci::{CacheKey, ObjectId};
use rusqlite::{Connection, OptionalExtension};

use crate::index::Fail;
use crate::index::objects::{edges_at, split_ids};
use crate::{GcPolicy, StoreError, refs, time};

/// A set of objects closed under edges.
#[derive(Debug, Default)]
pub(crate) struct Marked {
    pub(crate) ids: HashSet<ObjectId>,
    /// What they take in packs.
    pub(crate) bytes: u64,
}

impl Marked {
    /// Adds everything reached from `roots`. Fails with the first object that is missing; then the set is as
    /// it was.
    pub(crate) fn add(
        &mut self,
        index: &Connection,
        roots: Vec<ObjectId>,
    ) -> rusqlite::Result<Result<(), ObjectId>> {
        let walked = Addition::walk(self, index, roots)?;
        Ok(walked.map(|addition| self.extend(addition)))
    }

    /// Adds what `roots` reach unless it is too much, or something is missing.
    fn add_within(
        &mut self,
        index: &Connection,
        roots: Vec<ObjectId>,
        limit: Option<u64>,
    ) -> rusqlite::Result<Kept> {
        let Ok(addition) = Addition::walk(self, index, roots)? else { return Ok(Kept::Incomplete) };
        if limit.is_some_and(|limit| self.bytes + addition.bytes > limit) {
            return Ok(Kept::Full);
        }
        self.extend(addition);
        Ok(Kept::Yes)
    }

    fn extend(&mut self, addition: Addition) {
        self.ids.extend(addition.new);
        self.bytes += addition.bytes;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Yes,
    Incomplete,
    Full,
}

/// What roots reach beyond a set.
#[derive(Default)]
struct Addition {
    new: HashSet<ObjectId>,
    bytes: u64,
}

impl Addition {
    fn walk(
        base: &Marked,
        index: &Connection,
        mut stack: Vec<ObjectId>,
    ) -> rusqlite::Result<Result<Self, ObjectId>> {
        let mut addition = Self::default();
        let mut statement = index.prepare_cached("SELECT cost, edges FROM objects WHERE id = ?1")?;
        while let Some(id) = stack.pop() {
            if base.ids.contains(&id) || !addition.new.insert(id) {
                continue;
            }
            let row = statement
                .query_row([id.as_bytes()], |row| Ok((row.get::<_, i64>(0)?, edges_at(row, 1)?)))
                .optional()?;
            let Some((cost, edges)) = row else { return Ok(Err(id)) };
            addition.bytes += cost.cast_unsigned();
            stack.extend(edges);
        }
        Ok(Ok(addition))
    }
}

/// What the roots reach, and the records that are no roots.
#[derive(Debug)]
pub(crate) struct Roots {
    pub(crate) marked: Marked,
    pub(crate) dropped_records: Vec<CacheKey>,
}

impl Roots {
    /// Marks from all refs, and from records as the policy says, the most recently used first.
    pub(crate) fn find(index: &Connection, policy: &GcPolicy) -> Result<Self, Fail> {
        let mut marked = Marked::default();
        for entry in refs::all(index)?.into_iter().filter(|entry| !policy.drop_refs.contains(entry)) {
            if let Err(object) = marked.add(index, vec![entry.root])? {
                return Err(StoreError::DanglingRef { name: entry.name, object }.into());
            }
        }
        let mut oldest = policy.keep_records_newer.map(time::seconds);
        if let (Some(oldest), Some(last)) = (&mut oldest, last_builds(index, policy.keep_last)?) {
            *oldest = last.min(*oldest);
        }
        let mut dropped_records = Vec::new();
        let mut full = false;
        let mut statement = index.prepare("SELECT key, edges, used FROM records ORDER BY used DESC, key")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let key = CacheKey(row.get(0)?);
            let edges = split_ids(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?);
            let used: i64 = row.get(2)?;
            if full || oldest.is_some_and(|oldest| used < oldest) {
                dropped_records.push(key);
                continue;
            }
            // A record that lacks an object is worth nothing.
            let kept = marked.add_within(index, edges, policy.max_bytes)?;
            full = kept == Kept::Full;
            if kept != Kept::Yes {
                dropped_records.push(key);
            }
        }
        Ok(Self { marked, dropped_records })
    }
}

/// When the first of the last `count` builds used its records; `None` when none is to be kept.
fn last_builds(index: &Connection, count: u32) -> rusqlite::Result<Option<i64>> {
    let query = "SELECT min(used) FROM (SELECT DISTINCT used FROM records ORDER BY used DESC LIMIT ?1)";
    index.query_row(query, [count], |row| row.get(0))
}
