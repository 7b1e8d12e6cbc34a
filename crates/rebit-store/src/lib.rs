//! A content-addressed store on disk for many processes at once, without a daemon.
//!
//! The store keeps *objects*: bytes named by their BLAKE3, with edges to the objects they refer to. It does not
//! know what they mean. A *blob* is a content named by its SHA-256, held by an object; a *ref* is a name that
//! keeps an object and all below it; a *record* says what a cache key led to. The bytes on disk are specified,
//! sentence by sentence, in `docs/format/store.md`.
//!
//! # Layout
//!
//! ```text
//! ROOT/
//!   store.toml              what makes this a store; the features it uses
//!   packs/ID.pack           the truth: append-only, self-describing, compressed
//!   refs.log                the refs once more, readable without the index
//!   index.sqlite            where everything is; can be made anew
//!   loose/checkouts/HASH/   directories made from objects; evictable
//!   scratch/LEASE/          private directories of sessions
//!   reserve                 1 MiB that a collection frees when the disk is full
//! ```
//!
//! # From bytes to a ref
//!
//! [`Store::session`] takes a lease. [`ObjectSink::put`] names the content and asks whether it is there; if
//! not, small contents (up to 64 KiB) are gathered into frames of about 1 MiB, larger ones get a frame of
//! their own, and above 2 MiB they are cut by content into chunks, the object being the list of these. Frames
//! are compressed by a few threads while the caller goes on (at most 64 MiB are on their way), and appended to
//! the session's pack. What was put can be read through the session at once. [`Session::commit`] makes it
//! durable and visible, [`Session::set_ref`] names it. Reading goes the other way: ref, index, pack.
//! Everything that is handed out has been hashed.
//!
//! # Write order
//!
//! 1. Frames are appended to the pack.
//! 2. The pack is synced, and its directory if it is new: one sync per commit.
//! 3. One index transaction adds the rows.
//! 4. A ref is set in a transaction that is itself synced, after its line in `refs.log`.
//!
//! A crash after 1 or 2 leaves bytes behind the pack's committed length: the next writer of the pack cuts them
//! off. A crash after 3 leaves objects that nothing keeps: a collection drops them. No crash needs a repair.
//!
//! # What is kept
//!
//! Refs, live sessions and (as the policy says) records. [`Store::execute_gc`] marks from the index alone and
//! works in two phases by *generation*; a session's hits are safe without being written down. The argument is
//! in the module `gc`. The order is rows first, durably, then files; a file that is gone already is done.
//!
//! # Many at once
//!
//! Each session appends to a pack of its own, so writers meet only in the index, for a transaction per commit.
//! Readers never wait. Leases name processes, and die with them; no clock decides. A checkout is held by a
//! shared lock on its directory. A quota counts everything under the root, and what others have reserved.
//!
//! # Modules
//!
//! Bytes: `entry` (what a pack is made of), `pieces` (lists of chunks and parts), `journal`, `format`.
//! Places: `pack`, `frame_cache`, `index`. Use: `store`, `read`, `session`, `refs`, `scratch`, `checkout`.
//! Upkeep: `lease`, `gc`, `fsck`, `rebuild`, `du`, `quota`, `reserve`. [`vfs`] is the seam for tests.
//!
//! [`ObjectSink::put`]: rebit_oci::object::ObjectSink::put

mod cache_dir;
mod caches;
mod checkout;
mod du;
mod entry;
mod error;
mod format;
mod frame_cache;
mod fsck;
mod gc;
mod index;
mod journal;
mod lease;
mod pack;
mod pieces;
mod quota;
mod read;
mod rebuild;
mod refs;
mod reports;
mod reserve;
mod scratch;
mod session;
mod store;
mod time;
mod types;
pub mod vfs;
mod work_lock;

pub use cache_dir::{CacheDir, CacheInfo, CacheSharing};
pub use caches::{CachePrune, CachePruned, HeldCache};
pub use checkout::Checkout;
pub use error::StoreError;
pub use reports::{
    DiskUsage, Finding, FindingKind, FsckOptions, FsckProgress, FsckReport, GcPlan, GcPolicy, GcReport,
    RebuildReport, RefUsage,
};
pub use scratch::ScratchDir;
pub use session::Session;
pub use store::Store;
pub use types::{BlobForm, BlobStat, OpenRecipe, Ref, StatKey, StoreOptions};
pub use work_lock::WorkLock;

/// The decoders of bytes on disk, as pure functions, for fuzzing.
pub mod decode {
    pub use crate::entry::{
        BlobRow, Codec, Entry, EntryError, EntryHeader, EntryKind, Member, MemberKind, seal_for_fuzzing,
    };
    pub use crate::format::Format;
    pub use crate::journal::Journal;
    pub use crate::pieces::decode as pieces;
}

#[cfg(test)]
mod tests;
