//! Removing packs: whole ones that hold nothing, and ones that hold too little after moving that elsewhere.

use std::collections::{HashMap, HashSet};
use std::io;

use rebit_oci::ObjectId;
use rusqlite::{Connection, params};

use crate::entry::{self, BlobRow, Entry, EntryKind, Member, PACK_HEADER};
use crate::index::objects::{self, Place};
use crate::index::{Durability, Fail, blobs};
use crate::pack::{PackId, Scan, Scanned};
use crate::session::commit::note_packs;
use crate::session::frame;
use crate::session::state::Outgoing;
use crate::session::writer::Writer;
use crate::store::Inner;
use crate::{GcReport, Session, Store, StoreError};

/// A pack is rewritten when more than this share of it, one part in so many, is waste.
const WASTE: u64 = 4;
/// Objects that are left over from several frames are put together up to this length.
const GROUP: usize = 1 << 20;

/// Removes what can be removed.
pub(super) fn run(store: &Store, report: &mut GcReport) -> Result<(), StoreError> {
    let inner = &store.inner;
    remove_orphans(inner, report)?;
    let candidates = candidates(inner)?;
    if candidates.is_empty() {
        return Ok(());
    }
    let session = store.session()?;
    // Those that hold nothing come first: they make room for the others.
    for candidate in candidates {
        match evacuate(&session, candidate.pack) {
            Ok(Outcome::Removed) => {
                report.removed_packs += 1;
                report.rewritten_packs += u64::from(candidate.live > 0);
            }
            Ok(Outcome::InUse) => {}
            Ok(Outcome::Damaged) => {
                let path = inner.packs.path(candidate.pack);
                report.problems.push(format!("`{}` is damaged and was left as it is", path.display()));
            }
            Err(error) => {
                report.problems.push(error.to_string());
                break;
            }
        }
    }
    Ok(())
}

/// Files that the index does not know: what was left when a collection stopped between rows and files, or
/// when a new pack's row was lost with the power.
fn remove_orphans(inner: &Inner, report: &mut GcReport) -> Result<(), StoreError> {
    // Files first: a file has its row before it is there.
    let files = inner.packs.list()?;
    let known: HashSet<PackId> = inner.index.read("list the packs", |index| {
        let mut statement = index.prepare("SELECT id FROM packs")?;
        let rows = statement.query_map([], |row| Ok(PackId::from_row(row.get(0)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    })?;
    for (pack, _) in files {
        if !known.contains(&pack) {
            remove_file(inner, pack)?;
            report.removed_packs += 1;
        }
    }
    Ok(())
}

fn remove_file(inner: &Inner, pack: PackId) -> Result<(), StoreError> {
    let path = inner.packs.path(pack);
    inner.packs.forget(pack);
    match inner.vfs.remove(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", &path, error)),
        _ => Ok(()),
    }
}

struct Candidate {
    pack: PackId,
    live: u64,
}

/// Packs that nobody writes to and that hold too little, the emptiest first.
fn candidates(inner: &Inner) -> Result<Vec<Candidate>, StoreError> {
    inner.index.snapshot("look for waste", |index| {
        let mut live: HashMap<PackId, u64> = HashMap::new();
        let mut statement = index.prepare("SELECT pack, sum(cost) FROM objects GROUP BY pack")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            live.insert(PackId::from_row(row.get(0)?), row.get::<_, i64>(1)?.cast_unsigned());
        }
        let mut found = Vec::new();
        let mut statement =
            index.prepare("SELECT id, length, extra, damaged FROM packs WHERE writer IS NULL ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let pack = PackId::from_row(row.get(0)?);
            let length = row.get::<_, i64>(1)?.cast_unsigned();
            let extra = row.get::<_, i64>(2)?.cast_unsigned();
            let live = live.get(&pack).copied().unwrap_or(0);
            let waste = length.saturating_sub(live + extra + PACK_HEADER);
            let nothing = live == 0 && (waste > 0 || extra == 0);
            let damaged = row.get::<_, bool>(3)?;
            if damaged || nothing || waste > length / WASTE {
                found.push(Candidate { pack, live });
            }
        }
        found.sort_by_key(|candidate| candidate.live);
        Ok(found)
    })
}

enum Outcome {
    Removed,
    InUse,
    Damaged,
}

/// Moves what a pack still holds, then removes it.
fn evacuate(session: &Session, pack: PackId) -> Result<Outcome, StoreError> {
    let inner = &session.shared.inner;
    let lease = session.shared.lease.id.0;
    let claimed = inner.index.write("claim a pack", Durability::Normal, |index| {
        let claimed = index.execute(
            "UPDATE packs SET writer = ?2, sealed = 1 WHERE id = ?1 AND writer IS NULL",
            params![pack.to_row(), lease],
        )?;
        Ok(claimed == 1)
    })?;
    if !claimed {
        return Ok(Outcome::InUse);
    }
    let mut writer = session.shared.writer();
    writer.ignore_quota();
    let mut moving =
        Moving { inner, writer: &mut writer, moves: Vec::new(), group: Vec::new(), group_bytes: 0 };
    moving.copy(pack)?;
    let moves = std::mem::take(&mut moving.moves);
    let written = writer.sync(inner)?;
    let emptied = inner.index.write("move objects", Durability::Full, |index| {
        for change in &moves {
            change.apply(index, pack)?;
        }
        note_packs(index, &written)?;
        let left: bool = index.query_row(
            "SELECT EXISTS (SELECT 1 FROM objects WHERE pack = ?1)",
            [pack.to_row()],
            |row| row.get(0),
        )?;
        let change = if left {
            "UPDATE packs SET writer = NULL WHERE id = ?1"
        } else {
            "DELETE FROM packs WHERE id = ?1"
        };
        index.execute(change, [pack.to_row()])?;
        // A check that runs meanwhile sees by the generation that files have moved.
        index.execute("UPDATE meta SET value = value + 1 WHERE name = 'generation'", [])?;
        Ok(!left)
    })?;
    if !emptied {
        return Ok(Outcome::Damaged);
    }
    remove_file(inner, pack)?;
    Ok(Outcome::Removed)
}

/// An object's old and new place.
struct Move {
    id: ObjectId,
    from: u64,
    to: Place,
    cost: u64,
}

impl Move {
    fn apply(&self, index: &Connection, pack: PackId) -> rusqlite::Result<()> {
        index
            .prepare_cached(
                "UPDATE objects SET pack = ?4, frame = ?5, entry = ?6, cost = ?7
                 WHERE id = ?1 AND pack = ?2 AND frame = ?3",
            )?
            .execute(params![
                self.id.as_bytes(),
                pack.to_row(),
                objects::signed(self.from),
                self.to.pack.to_row(),
                objects::signed(self.to.frame),
                objects::signed(self.to.entry),
                objects::signed(self.cost),
            ])?;
        Ok(())
    }
}

/// What is being moved out of one pack.
struct Moving<'a> {
    inner: &'a Inner,
    writer: &'a mut Writer,
    moves: Vec<Move>,
    /// Objects left over from frames that are not whole, with the place they had.
    group: Vec<(Outgoing, u64)>,
    group_bytes: usize,
}

impl Moving<'_> {
    fn copy(&mut self, pack: PackId) -> Result<(), StoreError> {
        let path = self.inner.packs.path(pack);
        let fail = |source| StoreError::io("read the pack", &path, source);
        let file = match self.inner.packs.open(pack) {
            // Nothing is there to be moved. If the index says otherwise, its rows stay.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(fail)?,
        };
        let end = file.length().map_err(fail)?;
        let mut scan = Scan::new(&*file, PACK_HEADER.min(end), end);
        while let Some(scanned) = scan.next().map_err(fail)? {
            if let Scanned::Entry { offset, bytes } = scanned {
                self.entry(pack, offset, &bytes)?;
            }
        }
        self.flush()
    }

    /// Moves what is alive of one entry. One that makes no sense is left: its objects keep their place.
    fn entry(&mut self, pack: PackId, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let Ok(entry) = Entry::decode(bytes) else { return Ok(()) };
        match entry.header.kind {
            EntryKind::Frame => self.frame(pack, offset, &entry, bytes),
            EntryKind::Blobs => {
                let rows = self.live_blobs(&entry.blobs().unwrap_or_default())?;
                self.append_unless_empty(rows.is_empty(), &entry::encode_blobs(&rows))
            }
            EntryKind::Edges => {
                let mut rows = entry.edges().unwrap_or_default();
                let here = self.inner.index.read("look for garbage", |index| {
                    rows.iter()
                        .map(|(id, _)| Ok(objects::find(index, id)?.is_some()))
                        .collect::<Result<Vec<_>, Fail>>()
                })?;
                let mut here = here.into_iter();
                rows.retain(|_| here.next().unwrap_or(false));
                self.append_unless_empty(rows.is_empty(), &entry::encode_edges(&rows))
            }
        }
    }

    fn append_unless_empty(&mut self, empty: bool, bytes: &[u8]) -> Result<(), StoreError> {
        if !empty {
            self.writer.append_extra(self.inner, bytes)?;
        }
        Ok(())
    }

    fn live_blobs(&self, rows: &[BlobRow]) -> Result<Vec<BlobRow>, StoreError> {
        self.inner.index.read("look for garbage", |index| {
            let mut live = Vec::new();
            for row in rows {
                if blobs::find(index, &row.digest)?.iter().any(|stat| stat.object == row.object) {
                    live.push(*row);
                }
            }
            Ok(live)
        })
    }

    fn frame(
        &mut self,
        pack: PackId,
        offset: u64,
        entry: &Entry<'_>,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let Ok(members) = entry.members() else { return Ok(()) };
        let live = self.inner.index.read("look for garbage", |index| {
            let mut live = Vec::new();
            for member in &members {
                let found = objects::find(index, &member.id)?;
                live.push(found.is_some_and(|(place, _)| place.pack == pack && place.frame == offset));
            }
            Ok(live)
        })?;
        let count = live.iter().filter(|live| **live).count();
        if count == 0 {
            return Ok(());
        }
        if count == members.len() {
            let (to, frame) = self.writer.append(self.inner, bytes)?;
            let length = bytes.len() as u64;
            let total = u64::from(entry.header.raw) + members.len() as u64;
            for member in members {
                let cost = (length * (u64::from(member.length) + 1)).div_ceil(total);
                let to = Place { pack: to, frame, entry: length, size: member.size, kind: member.kind };
                self.moves.push(Move { id: member.id, from: offset, to, cost });
            }
            return Ok(());
        }
        let Ok(payload) = entry.payload() else { return Ok(()) };
        for (member, _) in members.into_iter().zip(live).filter(|(_, live)| *live) {
            self.add_to_group(member, &payload, offset)?;
        }
        Ok(())
    }

    fn add_to_group(&mut self, member: Member, payload: &[u8], from: u64) -> Result<(), StoreError> {
        let Member { id, kind, offset, length, size, edges } = member;
        let bytes = payload.get(offset as usize..).and_then(|rest| rest.get(..length as usize));
        let Some(bytes) = bytes else { return Ok(()) };
        if self.group_bytes + bytes.len() > GROUP {
            self.flush()?;
        }
        self.group_bytes += bytes.len() + edges.len() * 32;
        self.group.push((Outgoing { id, kind, size, edges, bytes: bytes.into() }, from));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let (objects, origins): (Vec<Outgoing>, Vec<u64>) =
            std::mem::take(&mut self.group).into_iter().unzip();
        self.group_bytes = 0;
        if objects.is_empty() {
            return Ok(());
        }
        let (bytes, raw) = frame::encode(&objects, self.inner.options.compression_level);
        let (pack, frame) = self.writer.append(self.inner, &bytes)?;
        let entry = bytes.len() as u64;
        let total = raw + objects.len() as u64;
        for (object, from) in objects.into_iter().zip(origins) {
            let to = Place { pack, frame, entry, size: object.size, kind: object.kind };
            let cost = (entry * (object.bytes.len() as u64 + 1)).div_ceil(total);
            self.moves.push(Move { id: object.id, from, to, cost });
        }
        Ok(())
    }
}
