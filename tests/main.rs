//! The end-to-end tests: the built program, used as a person uses it, on real input.
//!
//! One binary, one file for each topic. A test that needs root, a kernel feature, a peer or a package says what is missing and is
//! skipped; `.ci/run` installs everything, so that nothing is skipped there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod applications;
mod archives;
mod build;
mod caches;
mod calculator;
mod check;
mod checks;
mod context;
mod copy;
mod crash;
mod determinism;
mod diff;
mod differential;
mod distro;
mod errors;
mod fix;
mod images;
mod matrix;
mod mounts;
mod options;
mod provenance;
mod rebuild;
mod registry;
mod remote;
mod snapshots;
mod store;
mod support;
mod tidy;
