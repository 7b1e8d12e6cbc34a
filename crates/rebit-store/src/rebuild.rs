//! Making the index anew from the packs and the journal of refs.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use rebit_oci::ObjectId;
use rusqlite::{Transaction, params};

use crate::entry::{Entry, EntryKind, PACK_HEADER};
use crate::index::objects::{NewObject, Place};
use crate::index::{Durability, Fail, blobs, objects};
use crate::pack::{PackId, Packs, Scan, Scanned, TARGET};
use crate::vfs::Vfs;
use crate::{RebuildReport, Store, StoreError, journal, refs};

impl Store {
    /// Fills the index anew from the packs, in one transaction.
    ///
    /// Objects that refer to something missing are left out, with all that refer to them: they are stored
    /// whole again when they are put the next time. Refs, records and leases stay as they are.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`], or what the files and the index say.
    pub fn rebuild_index(&self) -> Result<RebuildReport, StoreError> {
        let inner = &self.inner;
        inner.check_writable()?;
        inner.index.write("make the index anew", Durability::Full, |index| {
            index.execute_batch(
                "DELETE FROM objects; DELETE FROM blobs; DELETE FROM stat_cache; DELETE FROM segments;
                 DROP TABLE IF EXISTS dense;
                 UPDATE meta SET value = value + 1 WHERE name = 'generation';",
            )?;
            fill(index, &inner.root, &*inner.vfs, &inner.packs)
        })
    }
}

/// Fills tables that hold no objects.
pub(crate) fn fill(
    index: &Transaction<'_>,
    root: &Path,
    vfs: &dyn Vfs,
    packs: &Packs,
) -> Result<RebuildReport, Fail> {
    let mut found = Found::default();
    for (pack, length) in packs.list()? {
        let before = found.extra_bytes;
        let damage = found.report.damaged_bytes;
        let end = found.scan(packs, pack)?;
        let extra = found.extra_bytes - before;
        // A file without a single entry is what a writer left that was killed at its start.
        let end = if end <= PACK_HEADER { 0 } else { end };
        // A pack with a damaged end is not written to again: what is damaged may be more than a torn tail.
        let sealed = end != length || length >= TARGET;
        index.execute(
            "INSERT INTO packs (id, length, sealed, extra, writer, damaged) VALUES (?1, ?2, ?3, ?4, NULL, ?5)
             ON CONFLICT (id) DO UPDATE SET length = max(length, ?2), sealed = max(sealed, ?3), extra = ?4,
                                            damaged = ?5",
            params![
                pack.to_row(),
                objects::signed(end),
                sealed,
                objects::signed(extra),
                found.report.damaged_bytes > damage
            ],
        )?;
        found.report.packs += 1;
    }
    let incomplete = found.incomplete();
    found.report.incomplete_objects = incomplete.len() as u64;
    let mut ids: Vec<ObjectId> =
        found.objects.keys().filter(|id| !incomplete.contains(*id)).copied().collect();
    ids.sort_unstable();
    for id in ids {
        if let Some(object) = found.objects.remove(&id) {
            objects::insert(index, &object)?;
            found.report.objects += 1;
        }
    }
    for row in &found.blobs {
        if objects::find(index, &row.object)?.is_some() {
            blobs::insert(index, row)?;
            found.report.blobs += 1;
        }
    }
    restore_refs(index, root, vfs, &mut found.report)?;
    Ok(found.report)
}

/// Takes refs from the journal when the index has none, and says which cannot be resolved.
fn restore_refs(
    index: &Transaction<'_>,
    root: &Path,
    vfs: &dyn Vfs,
    report: &mut RebuildReport,
) -> Result<(), Fail> {
    if refs::all(index)?.is_empty() {
        for entry in journal::read(root, vfs)?.refs.values() {
            refs::insert(index, entry)?;
            report.refs += 1;
        }
    }
    for entry in refs::all(index)? {
        let root = objects::find(index, &entry.root)?;
        if root.is_none() || blobs::find(index, &entry.digest)?.is_empty() {
            report.dangling_refs.push(entry.name);
        }
    }
    Ok(())
}

/// What the packs hold.
#[derive(Default)]
struct Found {
    objects: HashMap<ObjectId, NewObject>,
    blobs: Vec<crate::entry::BlobRow>,
    extra_edges: Vec<(ObjectId, Vec<ObjectId>)>,
    /// Bytes of entries that hold no objects.
    extra_bytes: u64,
    report: RebuildReport,
}

impl Found {
    /// Scans a pack; returns where its last whole entry ends.
    fn scan(&mut self, packs: &Packs, pack: PackId) -> Result<u64, StoreError> {
        let path = packs.path(pack);
        let fail = |source| StoreError::io("read the pack", &path, source);
        let file = packs.open(pack).map_err(fail)?;
        let end = file.length().map_err(fail)?;
        let mut scan = Scan::new(&*file, PACK_HEADER.min(end), end);
        let mut good = PACK_HEADER.min(end);
        while let Some(scanned) = scan.next().map_err(fail)? {
            match scanned {
                Scanned::Gap { length, .. } => self.report.damaged_bytes += length,
                Scanned::Entry { offset, bytes } => {
                    if self.take(pack, offset, &bytes).is_none() {
                        self.report.damaged_bytes += bytes.len() as u64;
                    }
                    good = offset + bytes.len() as u64;
                }
            }
        }
        // A damaged header is damage where something follows it.
        let mut header = [0; PACK_HEADER as usize];
        if good > PACK_HEADER {
            file.read_exact_at(&mut header, 0).map_err(fail)?;
            if header != pack.header() {
                self.report.damaged_bytes += PACK_HEADER;
            }
        }
        Ok(good)
    }

    /// Takes what an entry says; `None` when it makes no sense after all.
    fn take(&mut self, pack: PackId, offset: u64, bytes: &[u8]) -> Option<()> {
        let entry = Entry::decode(bytes).ok()?;
        if entry.header.kind != EntryKind::Frame {
            self.extra_bytes += bytes.len() as u64;
        }
        match entry.header.kind {
            EntryKind::Frame => {
                let members = entry.members().ok()?;
                let length = bytes.len() as u64;
                let divisor = u64::from(entry.header.raw) + members.len() as u64;
                for member in members {
                    let cost = (length * (u64::from(member.length) + 1)).div_ceil(divisor.max(1));
                    let place =
                        Place { pack, frame: offset, entry: length, size: member.size, kind: member.kind };
                    let object = NewObject { id: member.id, place, cost, edges: member.edges };
                    match self.objects.entry(member.id) {
                        std::collections::hash_map::Entry::Vacant(slot) => drop(slot.insert(object)),
                        std::collections::hash_map::Entry::Occupied(mut slot) => {
                            objects::merge(&mut slot.get_mut().edges, &object.edges);
                        }
                    }
                }
            }
            EntryKind::Blobs => self.blobs.extend(entry.blobs().ok()?),
            EntryKind::Edges => self.extra_edges.extend(entry.edges().ok()?),
        }
        Some(())
    }

    /// The objects below which something is missing.
    fn incomplete(&mut self) -> HashSet<ObjectId> {
        for (id, edges) in std::mem::take(&mut self.extra_edges) {
            if let Some(object) = self.objects.get_mut(&id) {
                objects::merge(&mut object.edges, &edges);
            }
        }
        let mut parents: HashMap<ObjectId, Vec<ObjectId>> = HashMap::new();
        let mut missing = Vec::new();
        for object in self.objects.values() {
            for edge in &object.edges {
                if !self.objects.contains_key(edge) {
                    missing.push(*edge);
                }
                parents.entry(*edge).or_default().push(object.id);
            }
        }
        above(&parents, missing)
    }
}

/// Everything that refers to one of `missing`, directly or not.
pub(crate) fn above(parents: &HashMap<ObjectId, Vec<ObjectId>>, missing: Vec<ObjectId>) -> HashSet<ObjectId> {
    let mut found = HashSet::new();
    let mut stack = missing;
    while let Some(object) = stack.pop() {
        for parent in parents.get(&object).into_iter().flatten() {
            if found.insert(*parent) {
                stack.push(*parent);
            }
        }
    }
    found
}
