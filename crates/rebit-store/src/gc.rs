//! Garbage collection.
//!
//! *Roots* are the refs' root objects and the records that the policy keeps. What is reached from them by
//! edges stays. Nothing is read from packs to find out.
//!
//! Sessions pin nothing, object by object; they are protected by *generations*:
//!
//! 1. The index holds a generation number. A lease notes it when it starts. A collection adds one to it, in
//!    the transaction in which it condemns every object that is not reached, with the new number.
//! 2. An object condemned in generation `c` is dropped only when no lease older than `c` is alive, and if it
//!    is still not reached. A collection drops, in the same transaction, what it or an earlier one has
//!    condemned and what no lease holds back.
//! 3. Invariant: nothing below an uncondemned object is condemned. A collection keeps it, since what is
//!    reached is closed under edges; a commit keeps it by taking the condemnation off everything below what it
//!    adds; so does a session that finds a condemned object: it takes the condemnation off that object and
//!    all below it, in one transaction, or learns that it is gone.
//!
//! A session remembers what it has seen uncondemned. When a commit finds a new generation, it sees to what the commit refers to, and
//! forgets the rest: a later object must not refer to what was condemned meanwhile without taking the condemnation off.
//!
//! So when a session sees an object uncondemned, everything below it is uncondemned too, and can only be
//! condemned later, in a generation above that of the session's lease: by 2 all of it stays until the session
//! ends. Before it ends, the session has made a ref or a record that reaches what it wants to keep. A hit
//! therefore costs a look-up and no write.
//!
//! A crash at any point leaves nothing wrong: rows are dropped durably before files are removed, files
//! without rows are removed by the next collection, and a file that is gone already is done.

use std::collections::HashSet;

use rebit_oci::ObjectId;
use rusqlite::{Connection, Transaction};

use crate::index::objects::id_at;
use crate::index::{Durability, Fail};
use crate::lease::{self, LeaseId};
use crate::store::Inner;
use crate::{GcPlan, GcPolicy, GcReport, Ref, Store, StoreError};
use crate::{checkout, journal, quota, refs, reserve, scratch};

mod dense;
mod evacuate;
mod fit;
pub(crate) mod mark;
mod sketch;

use mark::{Marked, Roots};

impl Store {
    /// Says what a collection under `policy` would remove. Nothing is changed.
    ///
    /// # Errors
    /// [`StoreError::DanglingRef`], or what the index says.
    pub fn prepare_gc(&self, policy: &GcPolicy) -> Result<GcPlan, StoreError> {
        let inner = &self.inner;
        let usage = quota::files(inner)?;
        let plan = self.plan(policy, usage.checkouts)?;
        match policy.max_total {
            Some(max) => fit::plan(self, plan, &usage, max),
            None => Ok(plan),
        }
    }

    /// As [`prepare_gc`](Self::prepare_gc), whatever the store takes.
    fn plan(&self, policy: &GcPolicy, checkout_bytes: u64) -> Result<GcPlan, StoreError> {
        let inner = &self.inner;
        let known = checkout::list(inner)?;
        inner.index.snapshot("look for garbage", |index| {
            let roots = Roots::find(index, policy)?;
            let (alive, _) = lease::sort(index, &inner.process)?;
            let (objects, bytes) =
                index.query_row("SELECT count(*), coalesce(sum(cost), 0) FROM objects", [], |row| {
                    Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned()))
                })?;
            let kept = roots.marked.ids.len() as u64;
            let present: Vec<Ref> = refs::all(index)?;
            Ok(GcPlan {
                policy: policy.clone(),
                unreachable_objects: objects.saturating_sub(kept),
                unreachable_bytes: bytes.saturating_sub(roots.marked.bytes),
                kept_objects: kept,
                kept_bytes: roots.marked.bytes,
                dropped_records: roots.dropped_records.len() as u64,
                dropped_refs: policy.drop_refs.iter().filter(|entry| present.contains(entry)).count() as u64,
                checkouts: known.iter().filter(|(_, fresh)| policy.checkouts || !fresh).count() as u64,
                checkout_bytes: if policy.checkouts { checkout_bytes } else { 0 },
                caches: 0,
                cache_bytes: 0,
                live_sessions: alive.len() as u64,
            })
        })
    }

    /// Collects garbage as planned; what is garbage is found out anew.
    ///
    /// What sessions that are alive now may use is left to a later collection. On a full disk the reserve is
    /// freed first. May be interrupted at any point and run again.
    ///
    /// # Errors
    /// [`StoreError::DanglingRef`], [`StoreError::ReadOnly`], or what the files and the index say. What could
    /// not be removed is no error but a problem in the report.
    pub fn execute_gc(&self, plan: GcPlan) -> Result<GcReport, StoreError> {
        let inner = &self.inner;
        inner.check_writable()?;
        let before = quota::files(inner)?.total();
        let mut report = GcReport::default();
        reserve::free(&inner.root)?;
        for entry in &plan.policy.drop_refs {
            report.dropped_refs += u64::from(self.delete_ref_as_it_was(entry)?);
        }
        self.sweep(&plan.policy, &mut report)?;
        if let Some(max) = plan.policy.max_total {
            fit::execute(self, &plan.policy, max, &mut report)?;
        }
        reserve::fill(&inner.root)?;
        report.total_bytes = quota::files(inner)?.total();
        report.freed_bytes = before.cast_signed() - report.total_bytes.cast_signed();
        Ok(report)
    }

    /// One collection, with the reserve freed.
    fn sweep(&self, policy: &GcPolicy, report: &mut GcReport) -> Result<(), StoreError> {
        let inner = &self.inner;
        report.dead_leases += inner.index.write("end dead leases", Durability::Normal, |index| {
            Ok(lease::end_dead(index, &inner.process)?)
        })?;
        remove_scratch(inner, report)?;
        for (name, fresh) in checkout::list(inner)? {
            if policy.checkouts || !fresh {
                match checkout::evict(inner, &name) {
                    Ok(evicted) => report.evicted_checkouts += u64::from(evicted),
                    Err(error) => report.problems.push(error.to_string()),
                }
            }
        }
        inner
            .index
            .write("collect garbage", Durability::Full, |index| collect(index, inner, policy, report))?;
        if policy.dense {
            dense::run(self, report)?;
        }
        evacuate::run(self, report)?;
        inner.index.shrink(policy.dense)?;
        inner.index.checkpoint()
    }
}

/// Removes what a dead session left in scratch, when one did: cheap enough for every session's start.
pub(crate) fn remove_dead_scratch(inner: &Inner) -> Result<(), StoreError> {
    let directory = inner.root.join(scratch::SCRATCH);
    let names: Vec<(String, LeaseId)> = scratch::names(&directory)?
        .into_iter()
        .filter_map(|name| LeaseId::from_directory_name(&name).map(|lease| (name, lease)))
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let leases = leases(inner)?;
    for (name, _) in names.iter().filter(|(_, lease)| !leases.contains(lease)) {
        // A collection says what cannot be removed.
        let _left = scratch::remove_tree(&directory.join(name));
    }
    Ok(())
}

fn leases(inner: &Inner) -> Result<HashSet<LeaseId>, StoreError> {
    inner.index.read("list the leases", |index| {
        let mut statement = index.prepare("SELECT id FROM leases")?;
        let rows = statement.query_map([], |row| Ok(LeaseId(row.get(0)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    })
}

/// Removes scratch directories whose leases are gone.
fn remove_scratch(inner: &Inner, report: &mut GcReport) -> Result<(), StoreError> {
    let directory = inner.root.join(scratch::SCRATCH);
    // Names first: a directory made later has a lease that is seen.
    let names = scratch::names(&directory)?;
    let leases = leases(inner)?;
    for name in names {
        if LeaseId::from_directory_name(&name).is_some_and(|lease| leases.contains(&lease)) {
            continue;
        }
        match scratch::remove_tree(&directory.join(&name)) {
            Ok(()) => report.removed_scratch += 1,
            Err(error) => report.problems.push(error.to_string()),
        }
    }
    Ok(())
}

/// Condemns what is not reached and drops what nobody holds back, in one transaction.
fn collect(
    index: &Transaction<'_>,
    inner: &Inner,
    policy: &GcPolicy,
    report: &mut GcReport,
) -> Result<(), Fail> {
    let (alive, _) = lease::sort(index, &inner.process)?;
    let oldest = alive.iter().map(|lease| lease.generation).min();
    index.execute("UPDATE meta SET value = value + 1 WHERE name = 'generation'", [])?;
    let generation = crate::index::generation(index)?;

    let roots = Roots::find(index, policy)?;
    for key in &roots.dropped_records {
        index.prepare_cached("DELETE FROM records WHERE key = ?1")?.execute([key.as_bytes()])?;
    }
    report.dropped_records += roots.dropped_records.len() as u64;

    let changes = Changes::find(index, &roots.marked, generation, oldest)?;
    for id in &changes.revive {
        index
            .prepare_cached("UPDATE objects SET condemned = NULL WHERE id = ?1")?
            .execute([id.as_bytes()])?;
    }
    for id in &changes.condemn {
        index
            .prepare_cached("UPDATE objects SET condemned = ?2 WHERE id = ?1")?
            .execute((id.as_bytes(), generation))?;
    }
    for id in &changes.drop {
        index.prepare_cached("DELETE FROM objects WHERE id = ?1")?.execute([id.as_bytes()])?;
    }
    if !changes.drop.is_empty() {
        drop_weak_rows(index)?;
    }
    report.dropped_objects += changes.drop.len() as u64;
    report.deferred_objects = changes.deferred;
    journal::rewrite(index, &inner.root, &*inner.vfs)
}

/// Removes the rows that keep nothing and whose objects are gone.
pub(crate) fn drop_weak_rows(index: &Connection) -> rusqlite::Result<()> {
    index.execute_batch(
        "DELETE FROM blobs WHERE object NOT IN (SELECT id FROM objects);
         DELETE FROM segments WHERE object NOT IN (SELECT id FROM objects);
         DELETE FROM stat_cache WHERE object NOT IN (SELECT id FROM objects);",
    )
}

/// What becomes of objects.
#[derive(Default)]
struct Changes {
    revive: Vec<ObjectId>,
    condemn: Vec<ObjectId>,
    drop: Vec<ObjectId>,
    deferred: u64,
}

impl Changes {
    fn find(
        index: &Connection,
        marked: &Marked,
        generation: i64,
        oldest: Option<i64>,
    ) -> rusqlite::Result<Self> {
        let mut changes = Self::default();
        let mut statement = index.prepare("SELECT id, condemned FROM objects")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (id, condemned): (_, Option<i64>) = (id_at(row, 0)?, row.get(1)?);
            if marked.ids.contains(&id) {
                if condemned.is_some() {
                    changes.revive.push(id);
                }
                continue;
            }
            let since = condemned.unwrap_or(generation);
            if oldest.is_none_or(|oldest| oldest >= since) {
                changes.drop.push(id);
                continue;
            }
            changes.deferred += 1;
            if condemned.is_none() {
                changes.condemn.push(id);
            }
        }
        Ok(changes)
    }
}
