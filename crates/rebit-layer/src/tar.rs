//! Layers as tar streams: [`write`](mod@write) makes the canonical one, [`read`](mod@read) takes any.

mod apply;
mod header;
pub(crate) mod input;

pub(crate) use header::{BLOCK, padding};

pub mod read;
mod sparse;
mod stream;
pub mod write;
