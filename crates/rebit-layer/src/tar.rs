//! Layers as tar streams: [`write`](mod@write) makes the canonical one, [`read`](mod@read) takes any.

mod header;

pub(crate) use header::{BLOCK, padding};

pub mod read;
mod stream;
pub mod write;
