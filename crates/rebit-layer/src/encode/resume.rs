//! Where an encoding can go on.
//!
//! The digests of a layer are of its whole stream, so a change near the end would have everything before it read and hashed again.
//! At some of its cuts the state of both digests is kept in the segment cache, under the chain of the keys of all segments
//! before it; a later encoding that begins with the same segments goes on from there.

use rebit_oci::ObjectId;
use rebit_oci::digest::Hasher;

use super::SegmentCache;
use crate::segment::{SegmentKey, Segments};

/// So many segments lie between two states; a state costs an object of its own.
const EVERY: usize = 16;
/// Domain of a chain. The number is raised when what a state looks like changes.
const CONTEXT: &str = "rebit encoding state 1";

/// The segments so far.
pub(super) struct Chain {
    hash: [u8; 32],
    count: usize,
}

impl Chain {
    pub(super) fn new(encoder: &str) -> Self {
        Self { hash: blake3::derive_key(CONTEXT, encoder.as_bytes()), count: 0 }
    }

    /// Adds a segment; the key of the state after it, if one is kept there.
    pub(super) fn push(&mut self, key: &SegmentKey) -> Option<SegmentKey> {
        let mut hasher = blake3::Hasher::new_keyed(&self.hash);
        hasher.update(&key.0);
        self.hash = *hasher.finalize().as_bytes();
        self.count += 1;
        self.count.is_multiple_of(EVERY).then_some(SegmentKey(self.hash))
    }
}

/// The beginning of a layer that need not be encoded again.
pub(super) struct Resume {
    pub(super) chain: Chain,
    pub(super) plain: Hasher,
    pub(super) blob: Hasher,
    pub(super) parts: Vec<(ObjectId, u64)>,
}

impl Resume {
    /// The longest known beginning of the stream that `segments` cuts; errors are left for the encoding to find.
    pub(super) fn find(
        segments: Segments<'_>,
        cache: &dyn SegmentCache,
        encoder: &'static str,
    ) -> Option<Self> {
        let mut chain = Chain::new(encoder);
        let mut keys = Vec::new();
        let mut points = Vec::new();
        for segment in segments {
            let key = segment.ok()?.key();
            points.extend(chain.push(&key).map(|point| (keys.len() + 1, point)));
            keys.push(key);
        }
        let mut found = points.into_iter().rev();
        found.find_map(|(count, point)| {
            let (plain, blob) = decode(&cache.state(&point)?)?;
            let parts: Vec<_> =
                keys.get(..count)?.iter().map(|key| cache.get(key, encoder)).collect::<Option<_>>()?;
            let total = parts.iter().map(|(_, size)| size).sum::<u64>();
            let chain = Chain { hash: point.0, count };
            (total == blob.length()).then_some(Self { chain, plain, blob, parts })
        })
    }
}

/// Both states, one after the other.
pub(super) fn encode(plain: &Hasher, blob: &Hasher) -> Vec<u8> {
    [plain.save(), blob.save()].concat()
}

fn decode(bytes: &[u8]) -> Option<(Hasher, Hasher)> {
    let (plain, blob) = bytes.split_at_checked(bytes.len() / 2)?;
    Some((Hasher::restore(plain)?, Hasher::restore(blob)?))
}
