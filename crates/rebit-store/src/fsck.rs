//! Checking: every byte of every pack, every object, blob, ref and record.
//!
//! What a writer that was killed left behind its last commit is not damage: such bytes are counted, not read.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;

use rebit_oci::{CacheKey, ObjectId};
use rusqlite::params;

use crate::entry::MemberKind;
use crate::index::objects::{self, edges_at, id_at};
use crate::index::{Durability, blobs, generation};
use crate::pack::PackId;
use crate::rebuild::above;
use crate::{Finding, FindingKind, FsckOptions, FsckProgress, FsckReport, Store, StoreError};
use crate::{gc, journal, lease, refs};

mod content;
mod packs;
mod strays;

/// The most identities that one finding lists.
const LISTED: usize = 100;

/// An object's row, as far as a check needs it.
#[derive(Debug, Clone, Copy)]
struct Placed {
    id: ObjectId,
    frame: u64,
    size: u64,
    kind: MemberKind,
}

/// A check under way.
struct Check<'a> {
    store: &'a Store,
    report: FsckReport,
    progress: &'a mut dyn FnMut(FsckProgress),
    done: FsckProgress,
    /// By pack, in order of their place.
    placed: BTreeMap<PackId, Vec<Placed>>,
    wrong: Wrong,
}

/// What a repair takes out.
#[derive(Default)]
struct Wrong {
    /// Objects that cannot be read.
    objects: HashSet<ObjectId>,
    /// Packs with bytes that are no valid entry.
    packs: BTreeSet<PackId>,
    /// Records that cannot be used.
    records: BTreeSet<CacheKey>,
    /// Whether the journal of refs lacks something.
    journal: bool,
}

impl Wrong {
    fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.packs.is_empty() && self.records.is_empty() && !self.journal
    }
}

impl Store {
    /// Checks everything: the checksums of all bytes in packs, the identity of every object, the digest of
    /// every blob, that edges lead somewhere, and that refs and records can be resolved.
    ///
    /// Others may use the store meanwhile. `progress` is told how far the check is.
    ///
    /// # Errors
    /// What the files and the index say; damage is no error but a finding in the report.
    /// [`StoreError::InUse`] when a repair is asked for while sessions are alive.
    pub fn fsck(
        &self,
        options: &FsckOptions,
        progress: &mut dyn FnMut(FsckProgress),
    ) -> Result<FsckReport, StoreError> {
        let generation_now = || self.inner.index.read("check", |index| Ok(generation(index)?));
        loop {
            let before = generation_now()?;
            let mut check = Check {
                store: self,
                report: FsckReport::default(),
                progress: &mut *progress,
                done: FsckProgress { done_bytes: 0, total_bytes: 0 },
                placed: BTreeMap::new(),
                wrong: Wrong::default(),
            };
            check.run()?;
            let (mut report, wrong) = (check.report, check.wrong);
            // What a collection moved under the check may have looked like damage.
            if !report.is_clean() && generation_now()? != before {
                continue;
            }
            if options.repair && !wrong.is_empty() {
                self.forget(wrong, &mut report)?;
            }
            return Ok(report);
        }
    }

    /// Takes damaged objects, and all that refer to them, out of the index. Packs with damaged bytes are marked, so that the
    /// next collection moves what they still hold and removes them.
    fn forget(&self, wrong: Wrong, report: &mut FsckReport) -> Result<(), StoreError> {
        let inner = &self.inner;
        inner.check_writable()?;
        inner.index.write("forget damaged objects", Durability::Full, |index| {
            let (alive, _) = lease::sort(index, &inner.process)?;
            if !alive.is_empty() {
                return Err(StoreError::InUse { sessions: alive.len() as u64 }.into());
            }
            let parents = parents(index)?;
            let mut forgotten = above(&parents, wrong.objects.iter().copied().collect());
            forgotten.extend(wrong.objects);
            for id in forgotten {
                report.forgotten_objects +=
                    index.execute("DELETE FROM objects WHERE id = ?1", [id.as_bytes()])? as u64;
            }
            for key in &wrong.records {
                report.dropped_records +=
                    index.execute("DELETE FROM records WHERE key = ?1", [key.as_bytes()])? as u64;
            }
            for pack in &wrong.packs {
                index.execute("UPDATE packs SET damaged = 1 WHERE id = ?1", [pack.to_row()])?;
            }
            index.execute("UPDATE meta SET value = value + 1 WHERE name = 'generation'", [])?;
            gc::drop_weak_rows(index)?;
            if wrong.journal {
                journal::rewrite(index, &inner.root, &*inner.vfs)?;
                report.rewrote_journal = true;
            }
            Ok(())
        })
    }
}

/// Who refers to whom, backwards.
fn parents(index: &rusqlite::Connection) -> rusqlite::Result<HashMap<ObjectId, Vec<ObjectId>>> {
    let mut parents: HashMap<ObjectId, Vec<ObjectId>> = HashMap::new();
    let mut statement = index.prepare("SELECT id, edges FROM objects WHERE edges IS NOT NULL")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id = id_at(row, 0)?;
        for edge in edges_at(row, 1)? {
            parents.entry(edge).or_default().push(id);
        }
    }
    Ok(parents)
}

impl Check<'_> {
    fn run(&mut self) -> Result<(), StoreError> {
        self.index()?;
        self.packs()?;
        self.edges()?;
        self.chunked()?;
        self.blobs()?;
        self.refs()?;
        self.records()?;
        self.strays()?;
        self.name_what_is_concerned()
    }

    fn find(&mut self, kind: FindingKind, reason: String) -> &mut Finding {
        let finding = Finding {
            kind,
            reason,
            pack: None,
            offset: None,
            objects: Vec::new(),
            blobs: Vec::new(),
            refs: Vec::new(),
        };
        self.report.findings.push(finding);
        let last = self.report.findings.len() - 1;
        &mut self.report.findings[last]
    }

    fn find_object(&mut self, kind: FindingKind, object: ObjectId, reason: String) {
        self.wrong.objects.insert(object);
        self.find(kind, reason).objects.push(object);
    }

    fn advance(&mut self, bytes: u64) {
        self.done.done_bytes += bytes;
        (self.progress)(self.done);
    }

    fn index(&mut self) -> Result<(), StoreError> {
        let store = self.store;
        let (said, placed) = store.inner.index.snapshot("check", |index| {
            let said: String = index.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            let mut placed: BTreeMap<PackId, Vec<Placed>> = BTreeMap::new();
            let mut statement = index.prepare("SELECT pack, frame, entry, size, kind, id FROM objects")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let place = objects::place(row, 0)?;
                let object =
                    Placed { id: id_at(row, 5)?, frame: place.frame, size: place.size, kind: place.kind };
                placed.entry(place.pack).or_default().push(object);
            }
            Ok((said, placed))
        })?;
        if said != "ok" {
            self.find(FindingKind::Index, said);
        }
        self.placed = placed;
        for objects in self.placed.values_mut() {
            objects.sort_unstable_by_key(|object| (object.frame, object.id));
        }
        Ok(())
    }

    fn edges(&mut self) -> Result<(), StoreError> {
        let store = self.store;
        let missing = store.inner.index.snapshot("check", |index| {
            let mut missing = Vec::new();
            let mut statement = index.prepare("SELECT id, edges FROM objects WHERE edges IS NOT NULL")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                for edge in edges_at(row, 1)? {
                    if objects::find(index, &edge)?.is_none() {
                        missing.push((id_at(row, 0)?, edge));
                    }
                }
            }
            Ok(missing)
        })?;
        for (id, edge) in missing {
            let reason = format!("object {id} refers to object {edge}, which is missing");
            self.find_object(FindingKind::MissingEdge, id, reason);
        }
        Ok(())
    }

    fn refs(&mut self) -> Result<(), StoreError> {
        let inner = &self.store.inner;
        let (refs, dangling, journal) = inner.index.snapshot("check", |index| {
            let refs = refs::all(index)?;
            let mut dangling = Vec::new();
            for entry in &refs {
                if objects::find(index, &entry.root)?.is_none() {
                    dangling.push((entry.clone(), format!("its root object {} is missing", entry.root)));
                } else if blobs::find(index, &entry.digest)?.is_empty() {
                    dangling.push((entry.clone(), format!("its blob {} is missing", entry.digest)));
                }
            }
            let committed = journal::read_committed(index, &inner.root, &*inner.vfs)?;
            Ok((refs, dangling, (committed, journal::read(&inner.root, &*inner.vfs)?)))
        })?;
        let (journal, whole) = journal;
        let otherwise = |name: &&String| journal.refs.get(*name) != whole.refs.get(*name);
        let names: BTreeSet<&String> = journal.refs.keys().chain(whole.refs.keys()).collect();
        self.report.unindexed_refs = names.into_iter().filter(otherwise).cloned().collect();
        if journal.damaged > 0 {
            self.wrong.journal = true;
            self.find(
                FindingKind::RefJournal,
                format!("{} lines of the journal of refs are damaged", journal.damaged),
            );
        }
        for (entry, reason) in dangling {
            let reason = format!("ref `{}`: {reason}", entry.name);
            let finding = self.find(FindingKind::DanglingRef, reason);
            finding.blobs.push(entry.digest);
            finding.refs.push(entry.name);
        }
        for entry in refs {
            let noted = journal.refs.get(&entry.name);
            if noted.is_none_or(|noted| (noted.digest, noted.root) != (entry.digest, entry.root)) {
                let reason = format!("the journal of refs does not say what `{}` is", entry.name);
                self.wrong.journal = true;
                self.find(FindingKind::RefJournal, reason).refs.push(entry.name);
            }
        }
        Ok(())
    }

    /// Names the blobs and refs that the damaged objects of each finding belong to.
    fn name_what_is_concerned(&mut self) -> Result<(), StoreError> {
        if self.report.findings.iter().all(|finding| finding.objects.is_empty()) {
            return Ok(());
        }
        let findings = &mut self.report.findings;
        self.store.inner.index.snapshot("check", |index| {
            let parents = parents(index)?;
            let (all_blobs, all_refs) = (blobs::all(index)?, refs::all(index)?);
            for finding in findings {
                let mut concerned = above(&parents, finding.objects.clone());
                concerned.extend(finding.objects.iter().copied());
                for row in all_blobs.iter().filter(|row| concerned.contains(&row.object)) {
                    if !finding.blobs.contains(&row.digest) && finding.blobs.len() < LISTED {
                        finding.blobs.push(row.digest);
                    }
                }
                let names = all_refs.iter().filter(|entry| concerned.contains(&entry.root));
                for name in names.map(|entry| entry.name.clone()) {
                    if !finding.refs.contains(&name) {
                        finding.refs.push(name);
                    }
                }
                finding.objects.truncate(LISTED);
            }
            Ok(())
        })
    }

    /// The packs that the index knows, with their committed lengths.
    fn known_packs(&self) -> Result<BTreeMap<PackId, u64>, StoreError> {
        self.store.inner.index.read("list the packs", |index| {
            let mut statement = index.prepare("SELECT id, length FROM packs")?;
            let rows = statement.query_map(params![], |row| {
                Ok((PackId::from_row(row.get(0)?), row.get::<_, i64>(1)?.cast_unsigned()))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

fn io_error(what: &'static str, path: &std::path::Path) -> impl Fn(io::Error) -> StoreError {
    move |source| StoreError::io(what, path, source)
}
