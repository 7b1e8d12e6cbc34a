//! Why two images are not the same.
//!
//! From the outside in:
//!
//! - [`mod@report`]: [`compare`], two images or directories as a whole; what a semantic comparison leaves aside.
//! - [`document`], [`layers`]: manifest and config field by field; layers as blobs.
//! - [`mod@tree`], [`node`]: where two trees differ, by the names of their directories; how two nodes differ.
//! - [`content`]: [`explain`], how two contents differ. Of bytes alone, whatever they are part of.
//! - `archive`: files that hold other files. `lines`: texts.
//! - [`mod@cause`]: the rules that tell what a difference comes from.

mod archive;
mod budget;
pub mod cause;
pub mod content;
pub mod document;
mod finding;
pub mod layers;
mod lines;
pub mod node;
pub mod report;
pub mod tree;

pub use budget::{Budget, MAX_CONTENT};
pub use content::{explain, explain_streams};
pub use finding::{Cause, Finding, Ignored};
pub use report::{FileChange, FileState, Report, Side, Subject, compare};
