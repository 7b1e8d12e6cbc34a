//! Checking the bytes of packs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rebit_oci::ObjectId;

use super::{Check, Placed, io_error};
use crate::entry::{Entry, EntryError, EntryKind, Member, MemberKind, PACK_HEADER};
use crate::pack::{PackId, Scan, Scanned};
use crate::vfs::VfsFile;
use crate::{Finding, FindingKind, StoreError};

impl Check<'_> {
    /// Reads every pack up to its last commit.
    pub(super) fn packs(&mut self) -> Result<(), StoreError> {
        let packs = &self.store.inner.packs;
        let files: BTreeMap<PackId, u64> = packs.list()?.into_iter().collect();
        let known = self.known_packs()?;
        self.done.total_bytes = known.values().sum();
        for (pack, length) in &files {
            self.report.unindexed_bytes += length.saturating_sub(known.get(pack).copied().unwrap_or(0));
        }
        for (pack, committed) in &known {
            let length = files.get(pack).copied();
            if length.unwrap_or(0) < *committed {
                let reason = match length {
                    None => "the pack is gone".to_owned(),
                    Some(length) => format!("the pack has {length} bytes where {committed} were written"),
                };
                let objects = self.placed.get(pack).map(Vec::as_slice).unwrap_or_default();
                // Of a pack that is cut short, the scan finds out which objects are lost.
                let lost = if length.is_none() { ids(objects) } else { Vec::new() };
                self.find_in_pack(FindingKind::PackMissing, reason, *pack, length.unwrap_or(0), lost);
            }
            if let Some(length) = length {
                self.pack(*pack, length.min(*committed))?;
            }
        }
        // Rows that lead to packs which nobody knows.
        for pack in self.placed.keys().filter(|pack| !known.contains_key(pack)).copied().collect::<Vec<_>>() {
            let lost = ids(self.placed.get(&pack).map(Vec::as_slice).unwrap_or_default());
            let reason = "the index places objects in a pack that it does not know".to_owned();
            self.find_in_pack(FindingKind::ObjectPlace, reason, pack, 0, lost);
        }
        Ok(())
    }

    fn find_in_pack(
        &mut self,
        kind: FindingKind,
        reason: String,
        pack: PackId,
        offset: u64,
        objects: Vec<ObjectId>,
    ) -> &mut Finding {
        self.wrong.objects.extend(objects.iter().copied());
        let path: PathBuf = self.store.inner.packs.path(pack);
        let finding = self.find(kind, reason);
        (finding.pack, finding.offset, finding.objects) = (Some(path), Some(offset), objects);
        finding
    }

    fn pack(&mut self, pack: PackId, end: u64) -> Result<(), StoreError> {
        let path = self.store.inner.packs.path(pack);
        let fail = io_error("read the pack", &path);
        if end == 0 {
            return Ok(());
        }
        // Not through the cache: what is on the disk now is checked.
        let file = self.store.inner.vfs.open(&path, false).map_err(&fail)?;
        self.report.packs += 1;
        self.header(pack, &*file, end)?;
        let mut placed = by_frame(self.placed.get(&pack).map(Vec::as_slice).unwrap_or_default());
        let mut scan = Scan::new(&*file, PACK_HEADER.min(end), end);
        while let Some(scanned) = scan.next().map_err(&fail)? {
            match scanned {
                Scanned::Gap { offset, length, reason } => {
                    let after = placed.split_off(&(offset + length));
                    let lost =
                        placed.split_off(&offset).into_values().flatten().map(|object| object.id).collect();
                    placed.extend(after);
                    let reason = format!("{length} bytes are no valid entry: {reason}");
                    self.wrong.packs.insert(pack);
                    self.find_in_pack(FindingKind::PackEntry, reason, pack, offset, lost);
                    self.advance(length);
                }
                Scanned::Entry { offset, bytes } => {
                    let here = placed.remove(&offset).unwrap_or_default();
                    self.entry(pack, offset, &bytes, &here);
                    self.report.bytes += bytes.len() as u64;
                    self.advance(bytes.len() as u64);
                }
            }
        }
        for (offset, objects) in placed {
            let reason = "the index places objects where no entry starts".to_owned();
            self.find_in_pack(FindingKind::ObjectPlace, reason, pack, offset, ids(&objects));
        }
        Ok(())
    }

    fn header(&mut self, pack: PackId, file: &dyn VfsFile, end: u64) -> Result<(), StoreError> {
        let path = self.store.inner.packs.path(pack);
        let mut header = vec![0; PACK_HEADER.min(end) as usize];
        file.read_exact_at(&mut header, 0).map_err(io_error("read the pack", &path))?;
        if header != pack.header() {
            let reason = "the header of the pack is damaged".to_owned();
            self.find_in_pack(FindingKind::PackHeader, reason, pack, 0, Vec::new());
        }
        self.report.bytes += header.len() as u64;
        self.advance(header.len() as u64);
        Ok(())
    }

    /// Checks an entry whose checksums hold, and that it holds what the index places there.
    fn entry(&mut self, pack: PackId, offset: u64, bytes: &[u8], placed: &[Placed]) {
        let members = match decode(bytes) {
            Ok(members) => members,
            Err(error) => {
                self.find_in_pack(FindingKind::PackEntry, error.to_string(), pack, offset, ids(placed));
                return;
            }
        };
        let mut wrong = Vec::new();
        for (member, whole) in &members {
            self.report.objects += u64::from(member.kind == MemberKind::Plain);
            if !whole {
                wrong.push(member.id);
            }
        }
        if !wrong.is_empty() {
            let reason = "bytes do not hash to the identity of their object".to_owned();
            self.find_in_pack(FindingKind::ObjectContent, reason, pack, offset, wrong);
        }
        let fits = |object: &Placed| {
            members.iter().any(|(member, _)| {
                (member.id, member.size, member.kind) == (object.id, object.size, object.kind)
            })
        };
        let misplaced: Vec<ObjectId> =
            placed.iter().filter(|object| !fits(object)).map(|object| object.id).collect();
        if !misplaced.is_empty() {
            let reason = "the entry does not hold what the index places there".to_owned();
            self.find_in_pack(FindingKind::ObjectPlace, reason, pack, offset, misplaced);
        }
    }
}

/// The members of an entry, and whether each one's bytes are its content.
fn decode(bytes: &[u8]) -> Result<Vec<(Member, bool)>, EntryError> {
    let entry = Entry::decode(bytes)?;
    match entry.header.kind {
        EntryKind::Blobs => entry.blobs().map(|_| Vec::new()),
        EntryKind::Edges => entry.edges().map(|_| Vec::new()),
        EntryKind::Frame => {
            let (members, payload) = (entry.members()?, entry.payload()?);
            let whole = |member: &Member| {
                let bytes = payload.get(member.offset as usize..)?.get(..member.length as usize)?;
                Some(member.kind == MemberKind::Chunked || ObjectId::of(bytes) == member.id)
            };
            Ok(members
                .into_iter()
                .map(|member| {
                    let whole = whole(&member).unwrap_or(false);
                    (member, whole)
                })
                .collect())
        }
    }
}

fn by_frame(objects: &[Placed]) -> BTreeMap<u64, Vec<Placed>> {
    let mut frames: BTreeMap<u64, Vec<Placed>> = BTreeMap::new();
    for object in objects {
        frames.entry(object.frame).or_default().push(*object);
    }
    frames
}

fn ids(objects: &[Placed]) -> Vec<ObjectId> {
    objects.iter().map(|object| object.id).collect()
}
