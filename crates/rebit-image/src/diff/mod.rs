//! Why two images are not the same.
//!
//! - [`content`]: [`explain`], how two contents of a file differ; of bytes alone, whatever they are part of.
//! - [`mod@cause`]: the rules that tell what a difference comes from.
//! - `archive`: files that hold other files.

mod archive;
mod budget;
pub mod cause;
pub mod content;
mod finding;
mod lines;

pub use budget::{Budget, MAX_CONTENT};
pub use content::{explain, explain_streams};
pub use finding::{Cause, Finding, Ignored};
