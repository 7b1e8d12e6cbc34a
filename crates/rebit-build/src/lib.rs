//! From a Dockerfile to an image.
//!
//! ```text
//! Dockerfile ─ plan ─► Graph ─ execute ─► Built ─ store ─► StoredImage
//! ```
//!
//! - [`mod@plan`] selects the stages that the target needs, replaces variables and computes configs. It is pure, and its result, a
//!   [`Graph`], can be printed.
//! - [`execute`] goes through the steps. Each has a cache key over exactly what can reach its result; what the store knows
//!   under that key is used, and nothing is run or read.
//! - `COPY`, `ADD` and `WORKDIR` are computed on trees: no file content is read or written. Only `RUN` needs a root file system:
//!   an overlay over images or directories that are written once and kept in the store's loose tier, whose upper directory is
//!   read back as a tree.
//! - Layers are encoded at the end, for the target only: other stages leave none.
//!
//! This crate reads no clock, no environment and no terminal: the present time is an option, and what happens is told to a
//! [`Progress`].

pub mod cache_archive;
mod commit;
mod context;
mod debug;
mod error;
mod explain;
pub mod fetch;
mod fetched;
pub mod fix;
pub mod graph;
mod key;
mod op;
pub mod plan;
pub mod platform;
pub mod progress;
mod provenance;
mod record;
pub mod remote;
mod run_image;
mod run_tree;
mod schedule;
mod snapshot;
mod solve;
pub mod time;
mod trees;
mod trial;
pub mod user;

pub use commit::{Built, SessionSegments};
pub use context::{Context, ContextRoot, read_archive};
pub use debug::{DebugRequest, FailedStep, debug, last_failure, shell};
pub use error::{BuildError, StepProblem};
pub use explain::StepReport;
pub use fetch::Fetch;
pub use graph::Graph;
pub use op::mounts::Secrets;
pub use op::run::{HostNetwork, describe, network_files};
pub use plan::{Planned, plan};
pub use progress::Progress;
pub use provenance::{Asked, context_name};
pub use remote::{Remote, RemoteError};
pub use run_image::{RunRequest, run_image};
pub use run_tree::{TreeRun, run_tree};
pub use snapshot::SnapshotterKind;
pub use solve::{BuildInputs, BuildOptions, Images, NoCache, execute, execute_steps, last_report};
pub use trial::{Overseer, Trial};
