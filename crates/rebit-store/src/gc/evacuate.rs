//! Removing packs: whole ones that hold nothing, and ones that hold too little after moving that elsewhere.

use std::collections::{HashMap, HashSet};
use std::io;

use rebit_oci::ObjectId;
use rusqlite::{Connection, Row, params};

use crate::entry::{self, BlobRow, Entry, EntryKind, Member, MemberKind, PACK_HEADER};
use crate::index::objects::{self, Place};
use crate::index::{Durability, Fail, blobs};
use crate::lease::LeaseId;
use crate::pack::{PackId, Scan, Scanned};
use crate::session::commit::note_packs;
use crate::session::frame;
use crate::session::state::Outgoing;
use crate::session::writer::{Writer, Written};
use crate::store::Inner;
use crate::{GcReport, Session, Store, StoreError};

/// A pack is rewritten when more than this share of it, one part in so many, is waste.
const WASTE: u64 = 4;
/// Objects that are left over from several frames are put together up to this length.
const GROUP: usize = 1 << 20;
/// They are compressed at this level at least: what is left over is not new.
const LEVEL: i32 = 3;

/// Removes what can be removed.
pub(super) fn run(store: &Store, report: &mut GcReport) -> Result<(), StoreError> {
    let inner = &store.inner;
    remove_orphans(inner, report)?;
    if inner.index.snapshot("look for waste", |index| Ok(candidates(index)?))?.is_empty() {
        return Ok(());
    }
    let session = store.session()?;
    // All at once: one that is not claimed would be taken over to be written to, and its waste would stay.
    let claimed = inner.index.write("claim packs", Durability::Normal, |index| {
        let found = candidates(index)?;
        found.iter().try_for_each(|candidate| claim(index, session.shared.lease.id, candidate.pack))?;
        Ok(found)
    })?;
    // Those that hold nothing come first: they make room for the others.
    for candidate in claimed {
        match evacuate(&session, candidate.pack) {
            Ok(true) => {
                report.removed_packs += 1;
                report.rewritten_packs += u64::from(candidate.live > 0);
            }
            Ok(false) => report.problems.push(damaged(inner, candidate.pack)),
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

/// What a report says of a pack that could not be emptied.
pub(super) fn damaged(inner: &Inner, pack: PackId) -> String {
    format!("`{}` is damaged and was left as it is", inner.packs.path(pack).display())
}

/// A pack that nobody writes to.
pub(super) struct Idle {
    pub(super) pack: PackId,
    pub(super) length: u64,
    /// What its objects take.
    pub(super) live: u64,
    /// How many these are.
    pub(super) objects: u64,
    /// Whether it holds bytes that are no entry.
    pub(super) damaged: bool,
    extra: u64,
}

impl Idle {
    /// Whether so much of it is waste that it should be written anew, or removed.
    pub(super) fn is_wasteful(&self) -> bool {
        let waste = self.length.saturating_sub(self.live + self.extra + PACK_HEADER);
        let nothing = self.live == 0 && (waste > 0 || self.extra == 0);
        self.damaged || nothing || waste > self.length / WASTE
    }
}

/// All packs that nobody writes to, the emptiest first.
pub(super) fn idle(index: &Connection) -> rusqlite::Result<Vec<Idle>> {
    let mut live: HashMap<PackId, (u64, u64)> = HashMap::new();
    let mut statement = index.prepare("SELECT pack, sum(cost), count(*) FROM objects GROUP BY pack")?;
    let mut rows = statement.query([])?;
    let unsigned =
        |row: &Row<'_>, column| Ok::<_, rusqlite::Error>(row.get::<_, i64>(column)?.cast_unsigned());
    while let Some(row) = rows.next()? {
        live.insert(PackId::from_row(row.get(0)?), (unsigned(row, 1)?, unsigned(row, 2)?));
    }
    let mut found = Vec::new();
    let mut statement =
        index.prepare("SELECT id, length, extra, damaged FROM packs WHERE writer IS NULL ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let pack = PackId::from_row(row.get(0)?);
        let (live, objects) = live.get(&pack).copied().unwrap_or_default();
        let (length, extra, damaged) = (unsigned(row, 1)?, unsigned(row, 2)?, row.get(3)?);
        found.push(Idle { pack, length, live, objects, damaged, extra });
    }
    found.sort_by_key(|pack| pack.live);
    Ok(found)
}

fn candidates(index: &Connection) -> rusqlite::Result<Vec<Idle>> {
    let mut found = idle(index)?;
    found.retain(Idle::is_wasteful);
    Ok(found)
}

/// Makes a session the writer of a pack that has none; nothing is appended to it any more.
pub(super) fn claim(index: &Connection, lease: LeaseId, pack: PackId) -> rusqlite::Result<()> {
    let change = "UPDATE packs SET writer = ?2, sealed = 1 WHERE id = ?1 AND writer IS NULL";
    index.prepare_cached(change)?.execute(params![pack.to_row(), lease.0]).map(drop)
}

/// Moves what a claimed pack still holds, then removes it; false when something in it could not be moved.
fn evacuate(session: &Session, pack: PackId) -> Result<bool, StoreError> {
    let inner = &session.shared.inner;
    let mut writer = session.shared.writer();
    writer.ignore_quota();
    let mut moving = Moving::new(inner, &mut writer);
    moving.copy(pack)?;
    let moves = std::mem::take(&mut moving.moves);
    let written = writer.sync(inner)?;
    Ok(settle(inner, &[pack], &moves, &written, |_| Ok(()))?.is_empty())
}

/// Notes where objects are now, and removes the claimed packs that they came from; returns those that still hold something.
pub(super) fn settle(
    inner: &Inner,
    packs: &[PackId],
    moves: &[Move],
    written: &[Written],
    note: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<Vec<PackId>, StoreError> {
    let left = inner.index.write("move objects", Durability::Full, |index| {
        for change in moves {
            change.apply(index)?;
        }
        note_packs(index, written)?;
        note(index)?;
        let mut left = Vec::new();
        for pack in packs {
            let holds = "SELECT EXISTS (SELECT 1 FROM objects WHERE pack = ?1)";
            let change = if index.query_row(holds, [pack.to_row()], |row| row.get(0))? {
                left.push(*pack);
                "UPDATE packs SET writer = NULL WHERE id = ?1"
            } else {
                "DELETE FROM packs WHERE id = ?1"
            };
            index.execute(change, [pack.to_row()])?;
        }
        // A check that runs meanwhile sees by the generation that files have moved.
        index.execute("UPDATE meta SET value = value + 1 WHERE name = 'generation'", [])?;
        Ok(left)
    })?;
    packs.iter().filter(|pack| !left.contains(pack)).try_for_each(|pack| remove_file(inner, *pack))?;
    Ok(left)
}

/// An object's old and new place.
pub(super) struct Move {
    id: ObjectId,
    from: (PackId, u64),
    to: Place,
    cost: u64,
}

impl Move {
    fn apply(&self, index: &Connection) -> rusqlite::Result<()> {
        let (pack, frame) = self.from;
        index
            .prepare_cached(
                "UPDATE objects SET pack = ?4, frame = ?5, entry = ?6, cost = ?7
                 WHERE id = ?1 AND pack = ?2 AND frame = ?3",
            )?
            .execute(params![
                self.id.as_bytes(),
                pack.to_row(),
                objects::signed(frame),
                self.to.pack.to_row(),
                objects::signed(self.to.frame),
                objects::signed(self.to.entry),
                objects::signed(self.cost),
            ])?;
        Ok(())
    }
}

/// An object on its way, and the frame that it comes from.
pub(super) type Leaving = (Outgoing, (PackId, u64));

/// What is being moved out of packs.
pub(super) struct Moving<'a> {
    pub(super) inner: &'a Inner,
    writer: &'a mut Writer,
    pub(super) moves: Vec<Move>,
    /// Objects left over from frames that are not whole.
    group: Vec<Leaving>,
    group_bytes: usize,
}

impl<'a> Moving<'a> {
    pub(super) fn new(inner: &'a Inner, writer: &'a mut Writer) -> Self {
        Self { inner, writer, moves: Vec::new(), group: Vec::new(), group_bytes: 0 }
    }

    fn copy(&mut self, pack: PackId) -> Result<(), StoreError> {
        scan(self.inner, pack, |offset, bytes| {
            let Ok(entry) = Entry::decode(bytes) else { return Ok(()) };
            match entry.header.kind {
                EntryKind::Frame => self.frame(pack, offset, &entry, bytes),
                EntryKind::Blobs | EntryKind::Edges => self.rows(&entry),
            }
        })?;
        self.flush()
    }

    /// Copies what is alive of an entry that holds no objects.
    pub(super) fn rows(&mut self, entry: &Entry<'_>) -> Result<(), StoreError> {
        match entry.header.kind {
            EntryKind::Frame => Ok(()),
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
        let live = live(self.inner, (pack, offset), &members)?;
        let count = live.iter().filter(|live| **live).count();
        if count == 0 {
            return Ok(());
        }
        if count == members.len() {
            return self.whole((pack, offset), &members, bytes, entry.header.raw.into());
        }
        let Ok(payload) = entry.payload() else { return Ok(()) };
        for (member, _) in members.into_iter().zip(live).filter(|(_, live)| *live) {
            let Some(object) = outgoing(member, &payload) else { continue };
            if self.group_bytes + object.bytes.len() > GROUP {
                self.flush()?;
            }
            self.group_bytes += object.bytes.len() + object.edges.len() * 32;
            self.group.push((object, (pack, offset)));
        }
        Ok(())
    }

    /// Copies a frame as it is.
    pub(super) fn whole(
        &mut self,
        from: (PackId, u64),
        members: &[Member],
        bytes: &[u8],
        raw: u64,
    ) -> Result<(), StoreError> {
        let moved = members.iter().map(|member| (member.id, from, member.size, member.kind, member.length));
        self.append(bytes, raw, moved)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let group = std::mem::take(&mut self.group);
        self.group_bytes = 0;
        if group.is_empty() {
            return Ok(());
        }
        let (bytes, raw) = encode(&group, self.inner.options.compression_level.max(LEVEL));
        self.group(&group, &bytes, raw)
    }

    /// Writes an [encoded](encode) frame of objects.
    pub(super) fn group(&mut self, group: &[Leaving], bytes: &[u8], raw: u64) -> Result<(), StoreError> {
        let moved = group
            .iter()
            .map(|(object, from)| (object.id, *from, object.size, object.kind, object.bytes.len() as u32));
        self.append(bytes, raw, moved)
    }

    fn append(
        &mut self,
        bytes: &[u8],
        raw: u64,
        moved: impl ExactSizeIterator<Item = (ObjectId, (PackId, u64), u64, MemberKind, u32)>,
    ) -> Result<(), StoreError> {
        let (pack, frame) = self.writer.append(self.inner, bytes)?;
        let entry = bytes.len() as u64;
        let total = raw + moved.len() as u64;
        for (id, from, size, kind, length) in moved {
            let to = Place { pack, frame, entry, size, kind };
            let cost = (entry * (u64::from(length) + 1)).div_ceil(total);
            self.moves.push(Move { id, from, to, cost });
        }
        Ok(())
    }
}

/// The bytes of a frame, and the length of its payload when decoded.
pub(super) fn encode(group: &[Leaving], level: i32) -> (Vec<u8>, u64) {
    let objects: Vec<Outgoing> = group.iter().map(|(object, _)| object.clone()).collect();
    frame::encode(&objects, level)
}

/// An object of a frame, to be written to another.
pub(super) fn outgoing(member: Member, payload: &[u8]) -> Option<Outgoing> {
    let Member { id, kind, offset, length, size, edges } = member;
    let bytes = payload.get(offset as usize..)?.get(..length as usize)?;
    Some(Outgoing { id, kind, size, edges, bytes: bytes.into() })
}

/// Which members of a frame are objects of the store.
pub(super) fn live(inner: &Inner, frame: (PackId, u64), members: &[Member]) -> Result<Vec<bool>, StoreError> {
    inner.index.read("look for garbage", |index| {
        let mut live = Vec::with_capacity(members.len());
        for member in members {
            let found = objects::find(index, &member.id)?;
            live.push(found.is_some_and(|(place, _)| (place.pack, place.frame) == frame));
        }
        Ok(live)
    })
}

/// Hands out the entries of a pack that are whole. What makes no sense is left: its objects keep their place.
pub(super) fn scan(
    inner: &Inner,
    pack: PackId,
    mut entry: impl FnMut(u64, &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let path = inner.packs.path(pack);
    let fail = |source| StoreError::io("read the pack", &path, source);
    let file = match inner.packs.open(pack) {
        // Nothing is there to be moved. If the index says otherwise, its rows stay.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(fail)?,
    };
    let end = file.length().map_err(fail)?;
    let mut scan = Scan::new(&*file, PACK_HEADER.min(end), end);
    while let Some(scanned) = scan.next().map_err(fail)? {
        if let Scanned::Entry { offset, bytes } = scanned {
            entry(offset, &bytes)?;
        }
    }
    Ok(())
}
