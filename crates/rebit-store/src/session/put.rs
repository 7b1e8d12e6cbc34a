//! Taking objects in.

use std::io::Read;
use std::sync::{Arc, PoisonError};

use rebit_oci::ObjectId;

use super::Shared;
use super::state::{Outgoing, Pending, PendingPlace, State};
use crate::entry::MemberKind;
use crate::index::{Durability, objects};
use crate::pieces::{self, Cutter, MAX_CHUNK};
use crate::{StoreError, entry};

/// Objects up to this length share a frame with others.
const SMALL: usize = 64 << 10;
/// A shared frame is closed at this length.
const GROUP: usize = 1 << 20;
/// Or when it holds so many objects or edges.
const GROUP_MEMBERS: usize = 4096;

impl Shared {
    /// Stores `content`.
    pub(crate) fn put(self: &Arc<Self>, content: &[u8], edges: &[ObjectId]) -> Result<ObjectId, StoreError> {
        let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        let id = ObjectId::of(content);
        self.check_edges(&id, edges)?;
        if self.hit_with(&id, edges)? {
            return Ok(id);
        }
        if content.len() <= MAX_CHUNK {
            self.take(Outgoing {
                id,
                kind: MemberKind::Plain,
                size: content.len() as u64,
                edges: edges.to_vec(),
                bytes: content.into(),
            })?;
            return Ok(id);
        }
        let mut pieces = Vec::new();
        let mut cutter = Cutter::new(content, Vec::new());
        while let Some(chunk) = cutter.next().map_err(|source| StoreError::Input { source })? {
            pieces.push((self.put_chunk(chunk)?, chunk.len() as u64));
        }
        self.take_list(id, &pieces, edges)?;
        Ok(id)
    }

    /// Stores what `reader` yields.
    pub(crate) fn put_reader(
        self: &Arc<Self>,
        reader: &mut dyn Read,
        edges: &[ObjectId],
    ) -> Result<(ObjectId, u64), StoreError> {
        let input = |source| StoreError::Input { source };
        let mut head = Vec::new();
        reader.take(MAX_CHUNK as u64 + 1).read_to_end(&mut head).map_err(input)?;
        if head.len() <= MAX_CHUNK {
            return Ok((self.put(&head, edges)?, head.len() as u64));
        }
        // The gate is taken per chunk: the reader may take its time.
        let (mut hasher, mut size, mut pieces) = (blake3::Hasher::new(), 0, Vec::new());
        let mut cutter = Cutter::new(reader, head);
        while let Some(chunk) = cutter.next().map_err(input)? {
            hasher.update(chunk);
            size += chunk.len() as u64;
            let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
            pieces.push((self.put_chunk(chunk)?, chunk.len() as u64));
        }
        let id = ObjectId(*hasher.finalize().as_bytes());
        let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        self.check_edges(&id, edges)?;
        if !self.hit_with(&id, edges)? {
            self.take_list(id, &pieces, edges)?;
        }
        Ok((id, size))
    }

    fn put_chunk(self: &Arc<Self>, chunk: &[u8]) -> Result<ObjectId, StoreError> {
        let id = ObjectId::of(chunk);
        if !self.hit_with(&id, &[])? {
            let (kind, size) = (MemberKind::Plain, chunk.len() as u64);
            self.take(Outgoing { id, kind, size, edges: Vec::new(), bytes: chunk.into() })?;
        }
        Ok(id)
    }

    fn take_list(
        self: &Arc<Self>,
        id: ObjectId,
        pieces: &[(ObjectId, u64)],
        edges: &[ObjectId],
    ) -> Result<(), StoreError> {
        let bytes = pieces::encode(pieces);
        let size = pieces.iter().map(|piece| piece.1).sum();
        if bytes.len() > entry::MAX_PAYLOAD as usize {
            let limit = (entry::MAX_PAYLOAD as u64 / 40) * (512 << 10);
            return Err(StoreError::Limit { what: format!("object {id}"), limit });
        }
        let mut all = Vec::new();
        objects::merge(&mut all, &pieces.iter().map(|piece| piece.0).collect::<Vec<_>>());
        objects::merge(&mut all, edges);
        self.take(Outgoing { id, kind: MemberKind::Chunked, size, edges: all, bytes: bytes.into() })
    }

    /// Whether `object` is here, with everything below it; if so it stays for the session.
    pub(crate) fn hit(&self, object: &ObjectId) -> Result<bool, StoreError> {
        let generation = {
            let mut state = self.state();
            state.check()?;
            if state.is_here(object) {
                return Ok(true);
            }
            state.generation
        };
        let found = self.inner.index.read("find an object", |index| Ok(objects::find(index, object)?))?;
        let Some((_, condemned)) = found else { return Ok(false) };
        if condemned {
            let revived = self
                .inner
                .index
                .write("keep an object", Durability::Normal, |index| objects::resurrect(index, [*object]));
            match revived {
                // A collection was faster.
                Err(StoreError::ObjectNotFound { .. }) => return Ok(false),
                other => other?,
            }
        }
        self.state().remember_seen(generation, [*object]);
        Ok(true)
    }

    /// As [`hit`](Self::hit), and the object gains `edges`.
    fn hit_with(&self, object: &ObjectId, edges: &[ObjectId]) -> Result<bool, StoreError> {
        if !self.hit(object)? {
            return Ok(false);
        }
        if edges.is_empty() {
            return Ok(true);
        }
        let pending = self.state().pending.get(object).map(|pending| pending.edges.clone());
        let mut all = match pending {
            Some(edges) => edges,
            None => {
                let found =
                    self.inner.index.read("read edges", |index| Ok(objects::edges(index, object)?))?;
                found.unwrap_or_default()
            }
        };
        let before = all.len();
        objects::merge(&mut all, edges);
        if let Some(new) = all.get(before..).filter(|new| !new.is_empty()) {
            objects::merge(self.state().extra_edges.entry(*object).or_default(), new);
        }
        Ok(true)
    }

    fn check_edges(&self, object: &ObjectId, edges: &[ObjectId]) -> Result<(), StoreError> {
        let limit = u64::from(entry::MAX_ROWS);
        if edges.len() as u64 > limit {
            return Err(StoreError::Limit {
                what: format!("the edges of object {object}"),
                limit: limit * 32,
            });
        }
        for edge in edges {
            if !self.hit(edge)? {
                return Err(StoreError::MissingEdge { what: format!("object {object}"), edge: *edge });
            }
        }
        Ok(())
    }

    /// Takes an object that is not here on its way into a frame.
    fn take(self: &Arc<Self>, object: Outgoing) -> Result<(), StoreError> {
        let frame = {
            let mut state = self.state();
            state.check()?;
            if state.is_here(&object.id) {
                // Another thread was faster. Its edges are the same or become extra ones.
                let edges = object.edges.clone();
                let id = object.id;
                drop(state);
                return self.hit_with(&id, &edges).map(drop);
            }
            let pending = Pending {
                kind: object.kind,
                size: object.size,
                edges: object.edges.clone(),
                place: PendingPlace::Memory(Arc::clone(&object.bytes)),
            };
            state.pending.insert(object.id, pending);
            if object.bytes.len() > SMALL { Some(vec![object]) } else { state.add_to_group(object) }
        };
        frame.map_or(Ok(()), |frame| self.send(frame))
    }
}

impl State {
    /// Adds a small object to the frame being filled; returns that frame when it is full.
    fn add_to_group(&mut self, object: Outgoing) -> Option<Vec<Outgoing>> {
        self.group_bytes += object.bytes.len() + object.edges.len() * 32;
        self.group.push(object);
        (self.group_bytes >= GROUP || self.group.len() >= GROUP_MEMBERS).then(|| self.take_group())
    }

    pub(super) fn take_group(&mut self) -> Vec<Outgoing> {
        self.group_bytes = 0;
        std::mem::take(&mut self.group)
    }
}

#[cfg(test)]
mod tests {
    use rebit_oci::Digest;
    use rebit_oci::object::{ObjectError, ObjectSource};

    use super::*;
    use crate::{Store, StoreOptions};

    // S-25
    #[test]
    fn content_that_is_not_what_its_name_says_is_not_handed_out() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path(), &StoreOptions::default()).unwrap();
        let session = store.session().unwrap();
        let shared = &session.shared;
        let [good, other] =
            [b"good content", b"more content"].map(|content| shared.put(content, &[]).unwrap());
        let lie = ObjectId::of(b"what it should be");
        let (kind, bytes) = (MemberKind::Plain, Arc::from(&b"what it is, now."[..]));
        shared.take(Outgoing { id: lie, kind, size: 16, edges: Vec::new(), bytes }).unwrap();
        // The first list promises the right whole and has a wrong chunk, the second one the other way round.
        let chunk_lies = ObjectId::of(b"good contentwhat it is, now.");
        shared.take_list(chunk_lies, &[(good, 12), (lie, 16)], &[]).unwrap();
        let whole_lies = ObjectId::of(b"more contentgood content");
        shared.take_list(whole_lies, &[(good, 12), (other, 12)], &[]).unwrap();
        let digest = Digest::of(b"good contenT");
        session.name_blob(&digest, &good).unwrap();
        session.commit().unwrap();

        for (object, damaged) in [(lie, lie), (chunk_lies, lie), (whole_lies, whole_lies)] {
            let read = store.read(&object);
            assert!(
                matches!(read, Err(ObjectError::Corrupt { object, .. }) if object == damaged),
                "{read:?}"
            );
        }
        assert!(store.open(&lie).is_err());
        for (object, whole) in [(chunk_lies, &b"good content"[..]), (whole_lies, b"good contentmore content")]
        {
            let mut handed_out = Vec::new();
            assert!(store.open(&object).unwrap().read_to_end(&mut handed_out).is_err());
            assert_eq!(handed_out, whole);
        }
        let read = store.read_blob(&digest, 100);
        assert!(matches!(read, Err(StoreError::CorruptBlob { .. })), "{read:?}");
        assert!(store.open_blob(&digest).unwrap().0.read_to_end(&mut Vec::new()).is_err());
    }
}
