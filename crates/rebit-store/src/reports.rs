//! What the maintenance operations are told and what they report.

use std::path::PathBuf;
use std::time::SystemTime;

use rebit_oci::{Digest, ObjectId};

use crate::Ref;

/// What a collection keeps besides refs and what live sessions use.
#[derive(Debug, Clone, Default)]
pub struct GcPolicy {
    /// Records last used before this time are dropped; `None` keeps them whatever their age.
    pub keep_records_newer: Option<SystemTime>,
    /// Records that the last this many builds used are kept whatever their age. The records that one build used have one time
    /// of last use; builds of the same second count as one.
    pub keep_last: u32,
    /// Records are dropped, least recently used first, until what is kept takes at most this many bytes in
    /// packs. Refs are always kept: this is a target for the cache, not a cap.
    pub max_bytes: Option<u64>,
    /// Everything under the root is to take at most this many bytes. What can be made anew goes for it, in this order: checkouts that
    /// nobody holds, records (least recently used first, those of the last builds too), caches that nobody uses (likewise).
    /// Refs are always kept.
    pub max_total: Option<u64>,
    /// Evict every checkout that nobody holds.
    pub checkouts: bool,
    /// Write what the packs hold anew where that was not done before: compressed harder, in larger frames, what is nearly the same side
    /// by side. Takes as much time as compressing it at zstd's level 9, and 512 MiB of disk in passing.
    pub dense: bool,
    /// Refs that are deleted first, unless they were set anew since.
    pub drop_refs: Vec<Ref>,
}

/// What a collection would do, as a value: nothing has happened yet.
#[derive(Debug, Clone)]
pub struct GcPlan {
    /// The policy it was made for.
    pub policy: GcPolicy,
    /// Objects that nothing keeps.
    pub unreachable_objects: u64,
    /// The bytes these take in packs.
    pub unreachable_bytes: u64,
    /// Objects that are kept.
    pub kept_objects: u64,
    /// The bytes these take in packs.
    pub kept_bytes: u64,
    /// Records that would be dropped.
    pub dropped_records: u64,
    /// Refs that would be deleted.
    pub dropped_refs: u64,
    /// Checkouts that would be evicted if nobody holds them then.
    pub checkouts: u64,
    /// The bytes these take.
    pub checkout_bytes: u64,
    /// Caches that would be removed if nobody uses them then.
    pub caches: u64,
    /// The bytes these take.
    pub cache_bytes: u64,
    /// Sessions alive now: what they may use is kept until they end.
    pub live_sessions: u64,
}

/// What a collection did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Objects dropped.
    pub dropped_objects: u64,
    /// Objects that nothing keeps, left until the sessions alive now have ended.
    pub deferred_objects: u64,
    /// Records dropped.
    pub dropped_records: u64,
    /// Refs deleted.
    pub dropped_refs: u64,
    /// Caches removed.
    pub removed_caches: u64,
    /// Packs removed, rewritten ones included.
    pub removed_packs: u64,
    /// Packs whose remaining content was written anew.
    pub rewritten_packs: u64,
    /// Checkouts evicted.
    pub evicted_checkouts: u64,
    /// Scratch directories of dead sessions removed.
    pub removed_scratch: u64,
    /// Leases of dead processes removed.
    pub dead_leases: u64,
    /// The bytes under the root before, less those after.
    pub freed_bytes: i64,
    /// The bytes under the root after.
    pub total_bytes: u64,
    /// What could not be removed or rewritten, and why.
    pub problems: Vec<String>,
}

/// How far a check goes.
#[derive(Debug, Clone, Default)]
pub struct FsckOptions {
    /// Take damaged objects, and all that refer to them, out of the index, so that they are stored anew when
    /// they are put again; drop records that cannot be used; write the journal of refs anew when it is damaged. Nothing is removed
    /// from the packs.
    pub repair: bool,
}

/// How far a check has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsckProgress {
    /// Bytes checked.
    pub done_bytes: u64,
    /// Bytes to check, as known now.
    pub total_bytes: u64,
}

/// The kinds of damage a check tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindingKind {
    /// The header of a pack is damaged, or the file is not a pack.
    PackHeader,
    /// Bytes in a pack that are no valid entry.
    PackEntry,
    /// A pack that the index knows is gone or too short.
    PackMissing,
    /// An object's bytes do not hash to its identity.
    ObjectContent,
    /// The index places an object where it is not.
    ObjectPlace,
    /// An object refers to one that is missing.
    MissingEdge,
    /// A blob's bytes do not have its digest.
    BlobContent,
    /// A ref whose root or blob is missing.
    DanglingRef,
    /// A record whose payload is damaged or whose objects are missing.
    Record,
    /// The journal of refs has damaged lines or lacks refs.
    RefJournal,
    /// The index itself is damaged.
    Index,
}

/// One damage that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of damage.
    pub kind: FindingKind,
    /// What was found, in words.
    pub reason: String,
    /// The file it is in, when it is in one.
    pub pack: Option<PathBuf>,
    /// Where in that file.
    pub offset: Option<u64>,
    /// The objects concerned, as far as they are known; at most 100.
    pub objects: Vec<ObjectId>,
    /// The blobs concerned: those that cannot be read because of it; at most 100.
    pub blobs: Vec<Digest>,
    /// The refs concerned.
    pub refs: Vec<String>,
}

/// What a check saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FsckReport {
    /// Packs read.
    pub packs: u64,
    /// Bytes read from packs.
    pub bytes: u64,
    /// Objects whose content was hashed.
    pub objects: u64,
    /// Blobs whose content was hashed.
    pub blobs: u64,
    /// Bytes after the last indexed entry of packs: what a writer left when it was killed. Harmless.
    pub unindexed_bytes: u64,
    /// Files that are no part of the store, and packs that the index does not know: harmless. A collection removes such packs.
    pub stray_files: Vec<PathBuf>,
    /// Refs that the journal knows otherwise than the index, behind the last change that the index noted: what a command was about to
    /// do when it was killed. Or the index is older than the journal; making it anew brings them back.
    pub unindexed_refs: Vec<String>,
    /// The damage, in the order it was found.
    pub findings: Vec<Finding>,
    /// Objects taken out of the index by a repair.
    pub forgotten_objects: u64,
    /// Records dropped by a repair.
    pub dropped_records: u64,
    /// Whether a repair wrote the journal of refs anew.
    pub rewrote_journal: bool,
}

impl FsckReport {
    /// Whether nothing is damaged.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

/// What a ref takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUsage {
    /// The name of the ref.
    pub name: String,
    /// Bytes in packs that only this ref keeps.
    pub exclusive_bytes: u64,
    /// Bytes in packs that other refs keep too.
    pub shared_bytes: u64,
    /// What the contents that it keeps take before compression, each counted once.
    pub content_bytes: u64,
}

/// What takes how much space. Sizes of files are what they occupy, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// The pack files.
    pub packs: u64,
    /// The index with its write-ahead log, and the journal of refs.
    pub index: u64,
    /// The checkouts.
    pub checkouts: u64,
    /// The directories of cache mounts.
    pub caches: u64,
    /// The scratch directories.
    pub scratch: u64,
    /// The reserve file.
    pub reserve: u64,
    /// How many packs there are.
    pub pack_count: u64,
    /// How many objects there are.
    pub objects: u64,
    /// What all contents take before compression; chunks that large objects share count once.
    pub logical_bytes: u64,
    /// How many objects neither a ref nor a record keeps.
    pub unreferenced_objects: u64,
    /// The bytes these take in packs.
    pub unreferenced_bytes: u64,
    /// How many records there are.
    pub records: u64,
    /// The bytes in packs that refs keep.
    pub kept_bytes: u64,
    /// What these would be if no two refs shared anything.
    pub kept_alone_bytes: u64,
    /// What each ref takes, by name.
    pub refs: Vec<RefUsage>,
}

impl DiskUsage {
    /// Everything under the root.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.packs + self.index + self.checkouts + self.caches + self.scratch + self.reserve
    }
}

/// What making the index anew found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RebuildReport {
    /// Packs scanned.
    pub packs: u64,
    /// Objects found.
    pub objects: u64,
    /// Blobs found.
    pub blobs: u64,
    /// Refs restored.
    pub refs: u64,
    /// Bytes that were no valid entry.
    pub damaged_bytes: u64,
    /// Objects left out because something they refer to is missing.
    pub incomplete_objects: u64,
    /// Refs whose root or blob is missing.
    pub dangling_refs: Vec<String>,
}
