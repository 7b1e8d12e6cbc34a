//! File trees, the changesets between them, and the layers that carry those.
//!
//! A [`Tree`] is a flat, ordered map from [`TreePath`] to [`Node`], file contents by
//! [`ObjectId`](rebit_oci::ObjectId). Trees come from a directory ([`walk`]), from a layer or another
//! archive ([`tar::read`](mod@tar::read)), from what a `RUN` left behind ([`overlay`]), or from the store
//! ([`Tree::load`]).
//!
//! ```text
//! lower Tree ─┐
//!             ├─ diff ─► Changeset ─ with_ancestors ─► tar::write ─► segment ─► encode ─► layer blob
//! upper Tree ─┘              └─ checkout ─► directory
//! ```
//!
//! The bytes of a layer are a function of the two trees, the epoch and the format number
//! (`docs/format/layer.md`). Nothing here reads a clock, an environment or a locale.
//!
//! * [`path`], [`node`], [`tree`]: the model; `tree::object` is its persistent form (`docs/format/tree.md`).
//! * [`mod@diff`], [`changeset`]: [`diff()`] and [`apply`].
//! * [`tar`], [`segment`], [`codec`], [`encode`]: from a changeset to the bytes of a layer, and back.
//! * [`walk`], [`overlay`], [`mod@checkout`]: directories on disk, opened component by component,
//!   symbolic links never followed.
//! * [`erofs`]: a changeset as an image that the kernel mounts.
//! * [`report`]: what was left out on the way.

pub mod changeset;
pub mod checkout;
pub mod codec;
pub mod diff;
mod disk;
pub mod encode;
pub mod erofs;
pub mod node;
pub mod overlay;
pub mod path;
pub mod recipe;
pub mod report;
pub mod segment;
pub mod tar;
#[cfg(test)]
mod testing;
pub mod tree;
pub mod walk;
pub mod xattr;

pub use changeset::{ApplyError, Change, Changeset, apply};
pub use checkout::{CheckoutOptions, CheckoutReport, Whiteouts, checkout};
pub use diff::{Compare, diff};
pub use disk::DiskError;
pub use encode::{
    EncodeError, EncodeOptions, EncodedLayer, LayerFormat, NoSegmentCache, SegmentCache, encode_layer,
    write_tar,
};
pub use node::{Kind, Metadata, Node};
pub use overlay::upper_tree;
pub use path::{PathError, TreePath};
pub use report::{Notice, Report, Tally};
pub use tar::read::{ImportedLayer, Limits, ReadError, ReadOptions, read_layer, read_layer_split};
pub use tree::{Conflict, GraftError, InsertError, LoadError, ResolveError, StoreError, Tree};
pub use walk::{FileStat, ModePolicy, NoCache, StatCache, Verdict, WalkOptions, Walked, walk_directory};
