//! The nouns of the OCI image specification, as plain values.
//!
//! This crate is pure: it opens no file and no socket and reads neither clock nor environment.
//!
//! - [`digest`]: [`Digest`], [`DiffId`], [`ChainId`] and the readers and writers that compute them.
//! - [`id`]: the 32-byte BLAKE3 identities [`ObjectId`], [`TreeId`] and [`CacheKey`]; one type each.
//! - [`object`]: the traits by which other crates read and write content by [`ObjectId`].
//! - [`document`]: a parsed JSON document together with the exact bytes it was read from.
//! - [`config`]: the image config, with Docker's additions.
//! - [`manifest`]: manifests, image indexes and descriptors, read and written.
//! - [`reference`]: image names as Docker reads them.
//! - [`json`]: the canonical JSON writer.
//! - [`encode`]: the length-prefixed encoding that every cache key is a hash of.
//!
//! A digest is always of bytes that exist: [`document::Raw`] keeps what was read, and whatever this
//! crate writes goes through [`json::to_canonical`].

pub mod config;
pub mod digest;
pub mod document;
pub mod encode;
mod hex;
pub mod id;
pub mod json;
pub mod manifest;
pub mod object;
pub mod reference;

pub use digest::{ChainId, DiffId, Digest};
pub use document::Raw;
pub use id::{CacheKey, ObjectId, TreeId};
pub use reference::Reference;
