//! A content-addressed store on disk for many processes at once, without a daemon.

mod error;
mod reports;
mod session;
mod store;
mod types;

pub use error::StoreError;
pub use reports::{
    DiskUsage, Finding, FindingKind, FsckOptions, FsckProgress, FsckReport, GcPlan, GcPolicy, GcReport,
    RebuildReport, RefUsage,
};
pub use session::{Checkout, ScratchDir, Session};
pub use store::Store;
pub use types::{BlobForm, BlobStat, Ref, StatKey, StoreOptions};
