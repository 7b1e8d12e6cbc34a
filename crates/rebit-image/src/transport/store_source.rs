//! An image of the store as a source.

use std::io::Read;

use rebit_oci::Digest;
use rebit_oci::manifest::MediaType;
use rebit_store::Session;

use super::layout_source::check_size;
use super::{ImageDocuments, Offer, Parts, Source};
use crate::{ImageError, StoredImage};

/// One image of the store.
#[derive(Debug)]
pub struct StoreSource<'a> {
    session: &'a Session,
    image: &'a StoredImage,
}

impl<'a> StoreSource<'a> {
    /// The image as a source.
    #[must_use]
    pub fn new(session: &'a Session, image: &'a StoredImage) -> Self {
        Self { session, image }
    }

    /// The image's documents.
    #[must_use]
    pub fn documents(&self) -> ImageDocuments {
        ImageDocuments { manifest: self.image.manifest.clone(), config: self.image.config.clone() }
    }
}

impl Source for StoreSource<'_> {
    fn place(&self) -> String {
        "the store".to_owned()
    }

    fn offers(&self) -> Result<Vec<Offer>, ImageError> {
        let manifest = &self.image.manifest;
        Ok(vec![Offer {
            media_type: manifest.value().media_type().clone().unwrap_or(MediaType::ImageManifest),
            digest: manifest.digest(),
            size: manifest.size(),
            platform: Some(self.image.platform()),
            tag: None,
            name: None,
        }])
    }

    fn stat(&self, digest: &Digest) -> Result<Option<u64>, ImageError> {
        Ok(self.session.stat_blob(digest)?.map(|stat| stat.size))
    }

    fn parts(&self, digest: &Digest) -> Result<Option<Parts<'_>>, ImageError> {
        let list = self.session.blob_parts(digest)?;
        Ok(list.map(|list| Parts { objects: self.session, list }))
    }

    fn open(&self, digest: &Digest, size: u64) -> Result<Box<dyn Read + Send + '_>, ImageError> {
        let (reader, found) = self.session.open_blob(digest)?;
        check_size(digest, size, found)?;
        Ok(reader)
    }
}
