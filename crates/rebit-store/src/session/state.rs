//! What a session has put and not committed yet, and what it knows to be there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rebit_oci::{CacheKey, Digest, ObjectId};

use crate::entry::{BlobRow, MemberKind};
use crate::index::objects::Place;
use crate::pack::Stored;
use crate::read::Located;
use crate::{BlobForm, BlobStat, StoreError};

/// How many identities are remembered as being there; beyond it the index is asked again.
const KNOWN_LIMIT: usize = 1 << 19;

/// An object that is not in the index yet.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) kind: MemberKind,
    pub(super) size: u64,
    pub(super) edges: Vec<ObjectId>,
    pub(super) place: PendingPlace,
}

/// Where such an object is.
#[derive(Debug, Clone)]
pub(super) enum PendingPlace {
    /// Waiting to be written.
    Memory(Arc<[u8]>),
    /// Written, and the share of its entry.
    Written(Place, u64),
}

impl Pending {
    pub(super) fn located(&self) -> Located {
        match &self.place {
            PendingPlace::Memory(bytes) => {
                Located::Memory(Stored { kind: self.kind, bytes: Arc::clone(bytes) })
            }
            PendingPlace::Written(place, _) => Located::Placed(*place),
        }
    }
}

/// An object on its way into a frame.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) id: ObjectId,
    pub(crate) kind: MemberKind,
    pub(crate) size: u64,
    pub(crate) edges: Vec<ObjectId>,
    pub(crate) bytes: Arc<[u8]>,
}

/// A segment that was encoded.
#[derive(Debug, Clone)]
pub(super) struct NewSegment {
    pub(super) object: ObjectId,
    pub(super) length: u64,
}

/// Why a session cannot go on.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    Full { limit: u64, used: u64 },
    Other(String),
}

impl Failure {
    pub(super) fn of(error: &StoreError) -> Self {
        match error {
            StoreError::Full { limit, used } => Self::Full { limit: *limit, used: *used },
            other => Self::Other(other.to_string()),
        }
    }

    fn error(&self) -> StoreError {
        match self {
            Self::Full { limit, used } => StoreError::Full { limit: *limit, used: *used },
            Self::Other(reason) => StoreError::SessionFailed { reason: reason.clone() },
        }
    }
}

/// The mutable part of a session.
#[derive(Debug)]
pub(super) struct State {
    /// Indexed objects that were seen uncondemned in the generation or later.
    known: HashSet<ObjectId>,
    pub(super) pending: HashMap<ObjectId, Pending>,
    /// Small objects waiting for their frame to fill.
    pub(super) group: Vec<Outgoing>,
    pub(super) group_bytes: usize,
    /// Bytes given to the compressing threads and not written yet.
    pub(super) in_flight: usize,
    pub(super) blobs: BTreeMap<(Digest, ObjectId), BlobRow>,
    /// Edges of objects that were there before.
    pub(super) extra_edges: BTreeMap<ObjectId, Vec<ObjectId>>,
    pub(super) segments: BTreeMap<([u8; 32], String), NewSegment>,
    /// Records that were used, and when.
    pub(super) touched: BTreeMap<CacheKey, i64>,
    pub(super) miss_reasons: BTreeMap<CacheKey, String>,
    /// The generation in which all edges of what is pending were seen uncondemned.
    pub(super) generation: i64,
    /// The error itself, for the first who asks.
    first_failure: Option<StoreError>,
    failure: Option<Failure>,
    pub(super) closed: bool,
}

impl State {
    pub(super) fn new(generation: i64) -> Self {
        Self {
            known: HashSet::new(),
            pending: HashMap::new(),
            group: Vec::new(),
            group_bytes: 0,
            in_flight: 0,
            blobs: BTreeMap::new(),
            extra_edges: BTreeMap::new(),
            segments: BTreeMap::new(),
            touched: BTreeMap::new(),
            miss_reasons: BTreeMap::new(),
            generation,
            first_failure: None,
            failure: None,
            closed: false,
        }
    }

    /// Whether `object` needs no question to the index.
    pub(super) fn is_here(&self, object: &ObjectId) -> bool {
        self.known.contains(object) || self.pending.contains_key(object)
    }

    pub(super) fn remember(&mut self, objects: impl IntoIterator<Item = ObjectId>) {
        if self.known.len() > KNOWN_LIMIT {
            self.known.clear();
        }
        self.known.extend(objects);
    }

    /// As [`remember`](Self::remember), for what was seen since the generation was `generation`: not if a commit has found a new one
    /// meanwhile.
    pub(super) fn remember_seen(&mut self, generation: i64, objects: impl IntoIterator<Item = ObjectId>) {
        if self.generation == generation {
            self.remember(objects);
        }
    }

    /// Everything pending was seen uncondemned in `generation`. What else was seen in an earlier one is to be looked at again.
    pub(super) fn advance(&mut self, generation: i64) {
        if self.generation != generation {
            self.known.clear();
            self.generation = generation;
        }
    }

    pub(super) fn find_blob(&self, digest: &Digest) -> Option<BlobStat> {
        let row = self.holders(digest).min_by_key(|row| row.form.code())?;
        Some(BlobStat { size: row.size, object: row.object, form: row.form })
    }

    /// The recipe that was put for a blob.
    pub(super) fn recipe_of(&self, digest: &Digest) -> Option<ObjectId> {
        self.holders(digest).find(|row| row.form == BlobForm::Recipe).map(|row| row.object)
    }

    fn holders(&self, digest: &Digest) -> impl Iterator<Item = &BlobRow> {
        let first = (*digest, ObjectId([0; 32]));
        self.blobs.range(first..).take_while(move |((found, _), _)| found == digest).map(|(_, row)| row)
    }

    pub(super) fn fail(&mut self, error: StoreError) {
        if self.failure.is_none() {
            self.failure = Some(Failure::of(&error));
            self.first_failure = Some(error);
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Fails when an earlier write did: first with its own error, then with its words.
    pub(super) fn check(&mut self) -> Result<(), StoreError> {
        match (self.first_failure.take(), &self.failure) {
            (Some(error), _) => Err(error),
            (None, Some(failure)) => Err(failure.error()),
            (None, None) => Ok(()),
        }
    }
}
