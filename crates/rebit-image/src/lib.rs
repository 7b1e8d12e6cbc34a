//! Images: kept in the store, taken in, sent out, checked.
//!
//! - [`place`]: [`Place`], where an image is, in skopeo's words.
//! - [`image`], [`record`], [`store_image`]: an image of the store, and the object that keeps it together.
//! - [`transport`]: places as sources and sinks.
//! - [`mod@import`], [`rootfs`]: from a place, or from a root file system archive, into the store.
//! - [`mod@export`]: from the store to a place.
//! - [`recipe`]: layer blobs that are made again from the files instead of being kept.
//! - [`mod@verify`]: every digest computed again.
//! - [`mod@provenance`]: how an image was made, as a document.
//! - [`mod@rebuild`]: an image beside one that was built again from its sources.
//! - [`mod@history`], [`mod@inspect`]: what there is to show of an image.
//!
//! ```text
//! oci: ─────────────┐                                  ┌─► oci:
//! oci-archive: ─────┤ Source ─► import ─► store ─► copy ┤ Sink
//! docker-archive: ──┘              ▲                    └─► oci-archive:, docker-archive:
//! root file system ────────────────┘
//! ```
//!
//! A published digest survives: manifests, configs and layer blobs are kept as they came. What this crate
//! writes itself is specified in `docs/format/image.md`.

pub mod diff;
mod error;
pub mod export;
pub mod history;
pub mod image;
pub mod import;
pub mod inspect;
pub mod place;
pub mod platform;
pub mod provenance;
pub mod rebuild;
pub mod recipe;
pub mod record;
pub mod rootfs;
pub mod store_image;
mod tee;
#[cfg(test)]
mod testing;
mod time;
pub mod transport;
pub mod verify;

pub use error::ImageError;
pub use export::{Exported, export, export_to, export_to_writer, open_sink};
pub use history::{HistoryRow, history};
pub use image::{LayerBlob, NewImage, StoredImage};
pub use import::{ImportOptions, fetch, import, import_place, unpack};
pub use inspect::{Inspect, InspectLayer, inspect, inspect_documents};
pub use place::{ParsePlaceError, Place};
pub use platform::{ParsePlatformError, Platform};
pub use provenance::{Provenance, ProvenanceError, provenance};
pub use recipe::{
    Compacted, LayerForm, RecipeUsage, compact, keep_at_hand, layer_form, recipe_usage, recognise,
};
pub use rootfs::{RootfsOptions, import_rootfs, put_rootfs};
pub use store_image::{
    ImageSummary, find, find_digest, find_for, find_text, holders, list, names_of, open, put_image,
    remember_choice, tag, untag,
};
pub use verify::{Finding, VerifiedImage, VerifyError, VerifyReport, verify, verify_source};
