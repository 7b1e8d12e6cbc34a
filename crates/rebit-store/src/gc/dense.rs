//! Writing packs anew, smaller: compressed harder, in larger frames, and what is nearly the same side by side.
//!
//! A session writes quickly and in the order in which content comes. What stays is worth more: a collection that is asked to
//! (`GcPolicy::dense`) takes some packs at a time, looks through them, and writes their objects in the order they have, but each behind the
//! first that is nearly the same, so that a compressor sees both. Which packs were written so is noted in the index, so that it is
//! done once; that note is lost with the index, and then it is done again.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use rayon::prelude::*;
use rusqlite::Connection;

use super::evacuate::{self, Idle, Leaving, Moving};
use super::sketch::sketch;
use crate::entry::{Codec, Entry, EntryKind, Member};
use crate::index::Durability;
use crate::pack::{PackId, TARGET};
use crate::store::Inner;
use crate::{GcReport, Session, Store, StoreError};

/// The level of compression: higher ones take much longer and save little.
const LEVEL: i32 = 9;
/// Objects longer than this have a frame of their own.
const SINGLE: u64 = 1 << 20;
/// Frames of several are closed at this length, so that one small object is read in some milliseconds.
const GROUP: usize = 2 << 20;
/// Or when they hold so many.
const GROUP_MEMBERS: usize = 4096;
/// Below this it is not worth fetching an object from another place.
const SIMILAR_FROM: u32 = 2 << 10;
/// Packs that are written anew together: so much space is taken in passing.
const BATCH: u64 = 512 << 20;
/// And so many objects are looked through at once.
const BATCH_OBJECTS: u64 = 500_000;
/// Decoded frames that are kept while objects are fetched.
const DECODED: usize = 48 << 20;
/// Frames that are compressed at the same time.
const AT_ONCE: usize = 8;

/// Writes anew what was not written so before.
pub(super) fn run(store: &Store, report: &mut GcReport) -> Result<(), StoreError> {
    let inner = &store.inner;
    let session = store.session()?;
    for batch in claim(&session)? {
        if !has_room(inner, batch.iter().map(|pack| pack.length).sum()) {
            report.problems.push("there is no room to write packs anew".to_owned());
            break;
        }
        let packs: Vec<PackId> = batch.iter().map(|pack| pack.pack).collect();
        match rewrite(&session, &packs) {
            Ok(left) => {
                report.removed_packs += (packs.len() - left.len()) as u64;
                report.rewritten_packs += batch.iter().filter(|pack| pack.live > 0).count() as u64;
                report.problems.extend(left.into_iter().map(|pack| evacuate::damaged(inner, pack)));
            }
            Err(error) => {
                report.problems.push(error.to_string());
                break;
            }
        }
    }
    Ok(())
}

/// Whether the disk has room for `bytes` and some more.
fn has_room(inner: &Inner, bytes: u64) -> bool {
    let free = |found: rustix::fs::StatVfs| found.f_bavail.saturating_mul(found.f_frsize);
    rustix::fs::statvfs(&inner.root).map_or(true, |found| free(found) > bytes + (64 << 20))
}

/// Claims what is to be written anew, in parts that are handled one after the other.
///
/// All of it at once: what is not claimed would be taken over to be written to.
fn claim(session: &Session) -> Result<Vec<Vec<Idle>>, StoreError> {
    let lease = session.shared.lease.id;
    session.shared.inner.index.write("claim packs", Durability::Normal, |index| {
        index.execute_batch(
            "CREATE TABLE IF NOT EXISTS dense (pack INTEGER PRIMARY KEY) STRICT;
             DELETE FROM dense WHERE pack NOT IN (SELECT id FROM packs);",
        )?;
        let mut found = Vec::new();
        let mut due = false;
        for pack in evacuate::idle(index)? {
            let query = "SELECT EXISTS (SELECT 1 FROM dense WHERE pack = ?1)";
            let dense: bool = index.query_row(query, [pack.pack.to_row()], |row| row.get(0))?;
            due |= !dense || pack.is_wasteful();
            // Short ones are put together with what comes.
            if !pack.damaged && (!dense || pack.is_wasteful() || pack.length < TARGET / 4) {
                found.push(pack);
            }
        }
        found.retain(|_| due);
        found.iter().try_for_each(|pack| evacuate::claim(index, lease, pack.pack))?;
        Ok(batches(found))
    })
}

/// Packs that hold nothing come first and by themselves: they make room for the others.
fn batches(packs: Vec<Idle>) -> Vec<Vec<Idle>> {
    let mut batches: Vec<Vec<Idle>> = Vec::new();
    let (mut bytes, mut objects, mut holds) = (0, 0, false);
    for pack in packs {
        let fits = bytes + pack.length <= BATCH && objects + pack.objects <= BATCH_OBJECTS;
        match batches.last_mut().filter(|_| fits && holds == (pack.live > 0)) {
            Some(last) => last.push(pack),
            None => {
                (bytes, objects, holds) = (0, 0, pack.live > 0);
                batches.push(vec![pack]);
            }
        }
        let last = batches.last().and_then(|batch| batch.last());
        bytes += last.map_or(0, |pack| pack.length);
        objects += last.map_or(0, |pack| pack.objects);
    }
    batches
}

/// Moves everything that claimed packs hold, then removes them; returns those that could not be emptied.
fn rewrite(session: &Session, packs: &[PackId]) -> Result<Vec<PackId>, StoreError> {
    let inner = &*session.shared.inner;
    let mut writer = session.shared.writer();
    writer.ignore_quota();
    let mut moving = Moving::new(inner, &mut writer);
    let found = survey(&mut moving, packs)?;
    write(&mut moving, &found)?;
    let moves = std::mem::take(&mut moving.moves);
    writer.seal(inner)?;
    let written = writer.sync(inner)?;
    evacuate::settle(inner, packs, &moves, &written, |index: &Connection| {
        for pack in &written {
            index.execute("INSERT OR IGNORE INTO dense VALUES (?1)", [pack.id.to_row()])?;
        }
        Ok(())
    })
}

/// An object that is to be moved.
struct Found {
    /// Where the first is that is nearly the same, or itself.
    like: usize,
    frame: (PackId, u64),
    /// The entry's length.
    entry: u64,
    /// Its number among the members.
    member: usize,
}

/// Looks through packs: what need not be compressed again is moved at once, the rest is returned in the order to write it in.
fn survey(moving: &mut Moving<'_>, packs: &[PackId]) -> Result<Vec<Found>, StoreError> {
    let inner = moving.inner;
    let mut found: Vec<Found> = Vec::new();
    let mut alike: HashMap<u64, usize> = HashMap::new();
    for pack in packs {
        evacuate::scan(inner, *pack, |offset, bytes| {
            let Ok(entry) = Entry::decode(bytes) else { return Ok(()) };
            if entry.header.kind != EntryKind::Frame {
                return moving.rows(&entry);
            }
            let Ok(members) = entry.members() else { return Ok(()) };
            let frame = (*pack, offset);
            let live = evacuate::live(inner, frame, &members)?;
            if !live.contains(&true) {
                return Ok(());
            }
            if members.len() == 1 && entry.header.codec == Codec::Plain {
                return moving.whole(frame, &members, bytes, entry.header.raw.into());
            }
            let Ok(payload) = entry.payload() else { return Ok(()) };
            for (number, member) in members.iter().enumerate().filter(|(number, _)| live[*number]) {
                let place = found.len();
                let content = payload.get(member.offset as usize..);
                let content = content.and_then(|rest| rest.get(..member.length as usize)).unwrap_or_default();
                let comparable = member.length >= SIMILAR_FROM && u64::from(member.length) <= SINGLE;
                let like = if comparable { *alike.entry(sketch(content)).or_insert(place) } else { place };
                found.push(Found { like, frame, entry: bytes.len() as u64, member: number });
            }
            Ok(())
        })?;
    }
    found.sort_by_key(|object| object.like);
    Ok(found)
}

/// Writes what was found, in its order.
fn write(moving: &mut Moving<'_>, found: &[Found]) -> Result<(), StoreError> {
    let mut frames = Frames { inner: moving.inner, decoded: VecDeque::new(), bytes: 0 };
    let mut groups: Vec<Vec<Leaving>> = Vec::new();
    let mut open: Vec<Leaving> = Vec::new();
    let mut open_bytes = 0;
    for object in found {
        let Some(leaving) = frames.fetch(object)? else { continue };
        let bytes = leaving.0.bytes.len() + leaving.0.edges.len() * 32;
        if leaving.0.bytes.len() as u64 > SINGLE {
            groups.push(vec![leaving]);
        } else {
            if open_bytes + bytes > GROUP || open.len() >= GROUP_MEMBERS {
                groups.push(std::mem::take(&mut open));
                open_bytes = 0;
            }
            open_bytes += bytes;
            open.push(leaving);
        }
        if groups.len() >= AT_ONCE {
            compress(moving, &std::mem::take(&mut groups))?;
        }
    }
    groups.extend((!open.is_empty()).then_some(open));
    compress(moving, &groups)
}

/// Compresses frames at the same time, and writes them in their order.
fn compress(moving: &mut Moving<'_>, groups: &[Vec<Leaving>]) -> Result<(), StoreError> {
    let all = || groups.par_iter().map(|group| evacuate::encode(group, LEVEL)).collect();
    let encoded: Vec<(Vec<u8>, u64)> = match moving.inner.workers() {
        Some(workers) => workers.install(all),
        None => groups.iter().map(|group| evacuate::encode(group, LEVEL)).collect(),
    };
    for (group, (bytes, raw)) in groups.iter().zip(encoded) {
        moving.group(group, &bytes, raw)?;
    }
    Ok(())
}

/// Frames that were decoded last.
struct Frames<'a> {
    inner: &'a Inner,
    decoded: VecDeque<Decoded>,
    bytes: usize,
}

struct Decoded {
    frame: (PackId, u64),
    content: Rc<Content>,
}

/// The members of a frame, and its payload.
type Content = (Vec<Member>, Vec<u8>);

impl Frames<'_> {
    /// The object; `None` when it cannot be read any more: then it stays where it is.
    fn fetch(&mut self, object: &Found) -> Result<Option<Leaving>, StoreError> {
        let Some(content) = self.decode(object)? else { return Ok(None) };
        let (members, payload) = &*content;
        let member = members.get(object.member).cloned();
        let outgoing = member.and_then(|member| evacuate::outgoing(member, payload));
        Ok(outgoing.map(|outgoing| (outgoing, object.frame)))
    }

    fn decode(&mut self, object: &Found) -> Result<Option<Rc<Content>>, StoreError> {
        if let Some(at) = self.decoded.iter().rposition(|decoded| decoded.frame == object.frame) {
            let found = self.decoded.remove(at);
            let content = found.as_ref().map(|found| Rc::clone(&found.content));
            self.decoded.extend(found);
            return Ok(content);
        }
        let (pack, offset) = object.frame;
        let path = self.inner.packs.path(pack);
        let bytes = self
            .inner
            .packs
            .read_entry(pack, offset, object.entry)
            .map_err(|source| StoreError::io("read the pack", &path, source))?;
        let Ok(entry) = Entry::decode(&bytes) else { return Ok(None) };
        let (Ok(members), Ok(payload)) = (entry.members(), entry.payload()) else { return Ok(None) };
        self.bytes += payload.len();
        let content = Rc::new((members, payload));
        self.decoded.push_back(Decoded { frame: object.frame, content: Rc::clone(&content) });
        while self.bytes > DECODED {
            let Some(oldest) = self.decoded.pop_front() else { break };
            self.bytes -= oldest.content.1.len();
        }
        Ok(Some(content))
    }
}
