//! Layers as tar streams: [`write`](mod@write) makes the canonical one, [`read`](mod@read) takes any.

pub mod read;
pub mod write;
