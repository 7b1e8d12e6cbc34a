//! A content-addressed store on disk for many processes at once, without a daemon.

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

pub use checkout::Checkout;
pub use error::StoreError;
pub use reports::{
    DiskUsage, Finding, FindingKind, FsckOptions, FsckProgress, FsckReport, GcPlan, GcPolicy, GcReport,
    RebuildReport, RefUsage,
};
pub use scratch::ScratchDir;
pub use session::Session;
pub use store::Store;
pub use types::{BlobForm, BlobStat, Ref, StatKey, StoreOptions};

/// The decoders of bytes on disk, as pure functions, for fuzzing.
pub mod decode {
    pub use crate::entry::{BlobRow, Codec, Entry, EntryError, EntryHeader, EntryKind, Member, MemberKind};
    pub use crate::format::Format;
    pub use crate::journal::Journal;
    pub use crate::pieces::decode as pieces;
}

#[cfg(test)]
mod tests;
