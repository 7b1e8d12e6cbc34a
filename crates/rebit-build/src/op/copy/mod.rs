//! `COPY` and `ADD` as tree operations: nothing is read or written but metadata, unless an archive is unpacked.
//!
//! It goes in two parts. [`select`] finds the sources in their tree; the [`Selection`] has a digest over exactly what
//! would be copied, which is what the step's cache key holds. [`place`] puts it into the lower tree.
//!
//! The rules are BuildKit's: a directory's content is copied, not the directory, so that a destination is made with 0755 or,
//! when it exists, keeps its metadata; directories merge; symbolic links are followed at a source and on the way to the
//! destination, never below.

mod archive;
mod place;
mod select;
#[cfg(test)]
mod tests;

pub(crate) use place::place;
pub(crate) use select::{Fetched, prune, select};
