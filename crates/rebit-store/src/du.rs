//! What takes how much space.

use std::collections::HashMap;

use rebit_oci::ObjectId;
use rusqlite::{Connection, OptionalExtension};

use crate::gc::mark::{Marked, Roots};
use crate::{DiskUsage, GcPolicy, RefUsage, Store, StoreError, quota, refs};

impl Store {
    /// What the files under the root take; what is in them is not looked at, the rest of the result is empty.
    ///
    /// # Errors
    /// What the files and the index say.
    pub fn file_usage(&self) -> Result<DiskUsage, StoreError> {
        quota::files(&self.inner)
    }

    /// When the least recently used record was used last.
    ///
    /// # Errors
    /// What the index says.
    pub fn oldest_record(&self) -> Result<Option<std::time::SystemTime>, StoreError> {
        let oldest = self.inner.index.read("look for old records", |index| {
            Ok(index.query_row("SELECT min(used) FROM records", [], |row| row.get::<_, Option<i64>>(0))?)
        })?;
        Ok(oldest.and_then(crate::time::from_seconds))
    }

    /// What takes how much space, and what each ref takes.
    ///
    /// Walks scratch directories and marks from every ref: not for every run.
    ///
    /// # Errors
    /// [`StoreError::DanglingRef`], or what the files and the index say.
    pub fn du(&self) -> Result<DiskUsage, StoreError> {
        let mut usage = quota::files(&self.inner)?;
        self.inner.index.snapshot("measure the store", |index| {
            let count =
                |query: &str| index.query_row(query, [], |row| Ok(row.get::<_, i64>(0)?.cast_unsigned()));
            usage.objects = count("SELECT count(*) FROM objects")?;
            usage.logical_bytes = count("SELECT coalesce(sum(size), 0) FROM objects WHERE kind = 0")?;
            usage.records = count("SELECT count(*) FROM records")?;
            let kept = Roots::find(index, &GcPolicy::default())?.marked;
            let all = count("SELECT coalesce(sum(cost), 0) FROM objects")?;
            usage.unreferenced_objects = usage.objects.saturating_sub(kept.ids.len() as u64);
            usage.unreferenced_bytes = all.saturating_sub(kept.bytes);
            usage.refs = by_ref(index)?;
            usage.kept_alone_bytes =
                usage.refs.iter().map(|entry| entry.exclusive_bytes + entry.shared_bytes).sum();
            let mut all = Marked::default();
            for entry in refs::all(index)? {
                let _complete = all.add(index, vec![entry.root])?;
            }
            usage.kept_bytes = all.bytes;
            Ok(())
        })?;
        Ok(usage)
    }
}

/// How many refs keep an object: the one, or several.
enum Holder {
    One(usize),
    Several,
}

fn by_ref(index: &Connection) -> rusqlite::Result<Vec<RefUsage>> {
    let refs = refs::all(index)?;
    let mut holders: HashMap<ObjectId, Holder> = HashMap::new();
    let mut totals = Vec::with_capacity(refs.len());
    // What a chunked object is made of is among the objects already.
    let mut content = index.prepare("SELECT size FROM objects WHERE id = ?1 AND kind = 0")?;
    for (number, entry) in refs.iter().enumerate() {
        let mut marked = Marked::default();
        // A dangling one was refused before.
        let _complete = marked.add(index, vec![entry.root])?;
        let mut content_bytes = 0;
        for id in marked.ids {
            let size: Option<i64> = content.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
            content_bytes += size.unwrap_or(0).cast_unsigned();
            holders.entry(id).and_modify(|holder| *holder = Holder::Several).or_insert(Holder::One(number));
        }
        totals.push((marked.bytes, content_bytes));
    }
    let mut exclusive = vec![0_u64; refs.len()];
    let mut statement = index.prepare_cached("SELECT cost FROM objects WHERE id = ?1")?;
    for (id, holder) in holders {
        if let Holder::One(number) = holder
            && let Some(bytes) = exclusive.get_mut(number)
        {
            *bytes += statement.query_row([id.as_bytes()], |row| row.get::<_, i64>(0))?.cast_unsigned();
        }
    }
    let usage = refs.into_iter().zip(totals).zip(exclusive);
    Ok(usage
        .map(|((entry, (total, content_bytes)), exclusive_bytes)| RefUsage {
            name: entry.name,
            exclusive_bytes,
            shared_bytes: total - exclusive_bytes,
            content_bytes,
        })
        .collect())
}
