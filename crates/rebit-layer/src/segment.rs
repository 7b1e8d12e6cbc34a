//! Where the tar stream of a layer is cut (`docs/format/layer.md`, "Segments").

/// Identity of a segment: what it holds, described without reading any content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentKey(pub [u8; 32]);
