//! Placeholder module, replaced by the crate's tour.
