//! Making frames: compressing on several threads, writing on one at a time.

use std::cell::RefCell;
use std::sync::{Arc, PoisonError};

use super::Shared;
use super::state::{Outgoing, PendingPlace};
use crate::StoreError;
use crate::entry::{self, Codec, Member};
use crate::index::objects::Place;

/// The most bytes that wait to be compressed and written.
const IN_FLIGHT: usize = 64 << 20;
/// Payloads from this length on are probed before they are compressed.
const PROBE_FROM: usize = 256 << 10;
/// Only below this level: above it, compressing is worth some time.
const PROBE_BELOW: i32 = 4;
/// How much is probed.
const PROBE: usize = 32 << 10;

thread_local! {
    /// Setting a compressor up costs more than compressing a small frame.
    static COMPRESSOR: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
}

impl Shared {
    /// Gives a frame to the compressing threads; waits while too much is on its way.
    pub(super) fn send(self: &Arc<Self>, members: Vec<Outgoing>) -> Result<(), StoreError> {
        // Never nothing: an empty object is on its way, too.
        let bytes = members.iter().map(|member| 128 + member.bytes.len() + member.edges.len() * 32).sum();
        {
            let mut state = self.state();
            while state.in_flight > 0 && state.in_flight + bytes > IN_FLIGHT {
                state = self.landed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.check()?;
            state.in_flight += bytes;
        }
        let landing = Landing { shared: Arc::clone(self), bytes };
        let job = move || landing.run(members);
        match self.inner.workers() {
            Some(workers) => workers.spawn_fifo(job),
            None => job(),
        }
        Ok(())
    }

    /// Waits until nothing is on its way.
    pub(super) fn wait_until_landed(&self) {
        let mut state = self.state();
        while state.in_flight > 0 {
            state = self.landed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn write_frame(&self, members: &[Outgoing]) -> Result<(), StoreError> {
        {
            let state = self.state();
            if state.closed || state.has_failed() {
                return Ok(());
            }
        }
        let (bytes, raw) = encode(members, self.inner.options.compression_level);
        let (pack, frame) = self.writer().append(&self.inner, &bytes)?;
        let entry = bytes.len() as u64;
        let mut state = self.state();
        for member in members {
            let Some(pending) = state.pending.get_mut(&member.id) else { continue };
            let place = Place { pack, frame, entry, size: member.size, kind: member.kind };
            let cost = (entry * (member.bytes.len() as u64 + 1)).div_ceil(raw + members.len() as u64);
            pending.place = PendingPlace::Written(place, cost);
        }
        Ok(())
    }
}

/// A frame on its way: however it ends, its bytes are no longer in flight.
struct Landing {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Landing {
    fn run(self, members: Vec<Outgoing>) {
        if let Err(error) = self.shared.write_frame(&members) {
            self.shared.state().fail(error);
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if std::thread::panicking() {
            state.fail(StoreError::SessionFailed { reason: "a compressing thread panicked".to_owned() });
        }
        state.in_flight -= self.bytes;
        drop(state);
        self.shared.landed.notify_all();
    }
}

/// The bytes of a frame's entry, and the length of its payload when decoded.
pub(crate) fn encode(members: &[Outgoing], level: i32) -> (Vec<u8>, u64) {
    let mut joined = Vec::new();
    let payload: &[u8] = match members {
        [one] => &one.bytes,
        many => {
            for member in many {
                joined.extend_from_slice(&member.bytes);
            }
            &joined
        }
    };
    let mut offset = 0;
    let mut table = Vec::with_capacity(members.len());
    for member in members {
        let length = member.bytes.len() as u32;
        let (id, kind, size, edges) = (member.id, member.kind, member.size, member.edges.clone());
        table.push(Member { id, kind, offset, length, size, edges });
        offset += length;
    }
    let compressed = compress(payload, level);
    let (codec, stored) = match &compressed {
        Some(compressed) => (Codec::Zstd, compressed.as_slice()),
        None => (Codec::Plain, payload),
    };
    let bytes = entry::encode_frame(&table, codec, stored, payload.len());
    (bytes, payload.len() as u64)
}

/// Compresses `payload`; `None` when that does not save a twentieth.
fn compress(payload: &[u8], level: i32) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(of, _)| *of != level) {
            *slot = Some((level, zstd::bulk::Compressor::new(level).ok()?));
        }
        let (_, compressor) = slot.as_mut()?;
        let mut attempt = |input: &[u8]| {
            let mut output = Vec::with_capacity(input.len() - input.len() / 20);
            // Output that does not fit is an error: it saves too little.
            compressor.compress_to_buffer(input, &mut output).ok().map(|_| output)
        };
        if payload.len() >= PROBE_FROM && level < PROBE_BELOW {
            // Heads of files are often headers; the middle says more.
            let middle = payload.len() / 2;
            let probe = payload.get(middle..middle + PROBE)?;
            let head = payload.get(..PROBE)?;
            if attempt(probe).is_none() && attempt(head).is_none() {
                return None;
            }
        }
        attempt(payload)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // S-21
    #[test]
    fn only_what_shrinks_is_compressed() {
        let mut noise = vec![0; 300 << 10];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert!(compress(&noise, 1).is_none());
        assert!(compress(&noise[..1000], 1).is_none());
        assert!(compress(b"", 1).is_none());
        let text = b"all work and no play ".repeat(20_000);
        let compressed = compress(&text, 1).unwrap();
        assert_eq!(zstd::bulk::decompress(&compressed, text.len()).unwrap(), text);
    }
}
