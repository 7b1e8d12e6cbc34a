//! Decoded frames, so that the many small files of one are decompressed once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rebit_oci::ObjectId;

use crate::entry::{Entry, EntryError, EntryKind, MemberKind};
use crate::pack::PackId;

/// The most bytes of decoded frames that are kept.
const LIMIT: usize = 48 << 20;

/// A frame with its payload decompressed.
#[derive(Debug)]
pub(crate) struct DecodedFrame {
    /// By identity.
    members: Vec<(ObjectId, MemberKind, u32, u32)>,
    payload: Vec<u8>,
}

impl DecodedFrame {
    /// Decodes an entry that must be a frame.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let entry = Entry::decode(bytes)?;
        if entry.header.kind != EntryKind::Frame {
            return Err(EntryError::Table);
        }
        let members = entry.members()?;
        let mut members: Vec<_> = members
            .into_iter()
            .map(|member| (member.id, member.kind, member.offset, member.length))
            .collect();
        members.sort_unstable_by_key(|member| member.0);
        Ok(Self { members, payload: entry.payload()? })
    }

    /// The bytes of one object.
    pub(crate) fn member(&self, id: &ObjectId) -> Option<(MemberKind, &[u8])> {
        let at = self.members.binary_search_by_key(id, |member| member.0).ok()?;
        let (_, kind, offset, length) = *self.members.get(at)?;
        let bytes = self.payload.get(offset as usize..)?.get(..length as usize)?;
        Some((kind, bytes))
    }
}

/// The most recently used frames.
#[derive(Debug, Default)]
pub(crate) struct FrameCache {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    frames: HashMap<(PackId, u64), (Arc<DecodedFrame>, u64)>,
    bytes: usize,
    clock: u64,
}

impl FrameCache {
    pub(crate) fn get(&self, pack: PackId, offset: u64) -> Option<Arc<DecodedFrame>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let clock = state.clock;
        let (frame, used) = state.frames.get_mut(&(pack, offset))?;
        *used = clock;
        Some(Arc::clone(frame))
    }

    /// Keeps a frame. One that holds a single object is not worth it.
    pub(crate) fn insert(&self, pack: PackId, offset: u64, frame: &Arc<DecodedFrame>) {
        if frame.members.len() < 2 {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let clock = state.clock;
        if state.frames.insert((pack, offset), (Arc::clone(frame), clock)).is_none() {
            state.bytes += frame.payload.len();
        }
        while state.bytes > LIMIT {
            let oldest = state.frames.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            let Some((evicted, _)) = oldest.and_then(|key| state.frames.remove(&key)) else { break };
            state.bytes -= evicted.payload.len();
        }
    }

    /// Drops every frame of a pack.
    pub(crate) fn forget(&self, pack: PackId) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.frames.retain(|key, _| key.0 != pack);
        state.bytes = state.frames.values().map(|(frame, _)| frame.payload.len()).sum();
    }
}
