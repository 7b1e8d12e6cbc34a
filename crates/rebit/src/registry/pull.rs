//! From a registry into the store.

use std::time::SystemTime;

use rebit_image::transport::{ImageDocuments, select};
use rebit_image::{ImageError, ImportOptions, Platform, StoredImage, fetch, import, remember_choice};
use rebit_oci::{Digest, Reference};
use rebit_remote::registry::Registry;
use rebit_store::Session;

use super::RegistrySource;
use crate::progress::Transfer;

/// How many blobs come at the same time, the one that is applied included.
const STREAMS: usize = 4;

/// How images are taken from registries.
pub(crate) struct Pull<'a> {
    pub(crate) session: &'a Session,
    pub(crate) registry: &'a Registry,
    pub(crate) platform: Platform,
    pub(crate) any_platform: bool,
    /// Whether the layers are unpacked, too.
    pub(crate) unpack: bool,
    pub(crate) now: SystemTime,
    pub(crate) transfer: &'a Transfer,
}

/// What came.
pub(crate) struct Pulled {
    pub(crate) image: StoredImage,
    /// What the name stands for at the registry: the image's manifest, or the index that it was taken from.
    pub(crate) top: Digest,
}

impl Pull<'_> {
    /// Takes an image and names it; what the store has is not fetched.
    pub(crate) fn run(&self, name: &Reference, names: &[Reference]) -> Result<Pulled, ImageError> {
        let source = RegistrySource::new(self.registry, name, self.transfer)?.beside(self.session);
        let mut options = ImportOptions::new(self.platform.clone(), self.now);
        options.any_platform = self.any_platform;
        options.fetchers = STREAMS - 1;
        let take = if self.unpack { import } else { fetch };
        let image = take(self.session, &source, names, &options).inspect_err(|_| {
            // Blobs that came whole stay for the next try, until a collection finds that nothing needs them. That they cannot be
            // kept is no other error than the one that there is.
            let _kept = self.session.commit();
        })?;
        // Got before, so this asks nobody.
        let top = source.digest()?;
        if top != image.manifest.digest() {
            remember_choice(self.session, &top, &self.platform, &image, self.now)?;
        }
        Ok(Pulled { image, top })
    }

    /// Only looks what an image is.
    pub(crate) fn look(&self, name: &Reference) -> Result<ImageDocuments, ImageError> {
        let source = RegistrySource::new(self.registry, name, self.transfer)?.beside(self.session);
        select(&source, &self.platform, self.any_platform)
    }
}
