//! An image layout as a source: in a directory or in an archive.
//!
//! Source: OCI image-spec, `image-layout.md`.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rebit_oci::digest::VerifyReader;
use rebit_oci::document::MAX_DOCUMENT;
use rebit_oci::{Digest, Reference};

use super::files::{Archive, Directory, Files, read_small};
use super::layout_index::LayoutIndex;
use super::{Offer, Source};
use crate::ImageError;

/// An image layout, read where it is.
#[derive(Debug, Clone)]
pub struct LayoutSource {
    files: Arc<dyn Files>,
    tag: Option<String>,
}

/// The name of a blob's file.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

impl LayoutSource {
    /// A layout in a directory. With `tag`, only what goes by it is offered.
    ///
    /// # Errors
    /// [`ImageError::NotFound`] when there is no such directory.
    pub fn open(path: &Path, tag: Option<&str>) -> Result<Self, ImageError> {
        Ok(Self::over(Arc::new(Directory::open(path)?), tag))
    }

    /// A layout in a tar archive, which is read in place and never unpacked.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], [`ImageError::CorruptEntry`] and the like.
    pub fn open_archive(path: &Path, tag: Option<&str>) -> Result<Self, ImageError> {
        Ok(Self::over(Arc::new(Archive::open(path)?), tag))
    }

    pub(crate) fn over(files: Arc<dyn Files>, tag: Option<&str>) -> Self {
        Self { files, tag: tag.map(str::to_owned) }
    }

    /// The bytes of `index.json`.
    pub(crate) fn index_bytes(&self) -> Result<Vec<u8>, ImageError> {
        read_small(&*self.files, "index.json", MAX_DOCUMENT)?.ok_or_else(|| ImageError::NotFound {
            what: "an image layout (`index.json`)".to_owned(),
            place: self.files.place(),
        })
    }

    /// Whether the layout is in an archive, which is one program's work from end to end.
    pub(crate) fn is_archive(&self) -> bool {
        self.files.is_archive()
    }

    fn wanted(&self, offer: &Offer) -> bool {
        let Some(tag) = &self.tag else { return true };
        let same_reference = || {
            let (Ok(wanted), Some(name)) = (tag.parse::<Reference>(), &offer.name) else { return false };
            // A bare word is a tag here, not a repository.
            (tag.contains(['/', ':'])) && name.parse() == Ok(wanted)
        };
        offer.tag.as_ref() == Some(tag) || same_reference()
    }
}

impl Source for LayoutSource {
    fn place(&self) -> String {
        self.files.place()
    }

    fn offers(&self) -> Result<Vec<Offer>, ImageError> {
        let index = LayoutIndex::parse(&self.index_bytes()?).and_then(|index| index.offers());
        let mut offers = index.map_err(|reason| ImageError::CorruptEntry {
            entry: "index.json".to_owned(),
            place: self.files.place(),
            reason,
        })?;
        offers.retain(|offer| self.wanted(offer));
        if let (Some(tag), true) = (&self.tag, offers.is_empty()) {
            return Err(ImageError::NotFound { what: format!("image `{tag}`"), place: self.files.place() });
        }
        Ok(offers)
    }

    fn stat(&self, digest: &Digest) -> Result<Option<u64>, ImageError> {
        self.files.stat(&blob_name(digest))
    }

    fn open(&self, digest: &Digest, size: u64) -> Result<Box<dyn Read + Send + '_>, ImageError> {
        let Some((reader, found)) = self.files.open(&blob_name(digest))? else {
            return Err(ImageError::NotFound { what: format!("blob {digest}"), place: self.files.place() });
        };
        check_size(digest, size, found)?;
        Ok(Box::new(VerifyReader::new(reader, *digest, size)))
    }
}

/// Refuses a blob of another size before it is read.
pub(crate) fn check_size(digest: &Digest, expected: u64, found: u64) -> Result<(), ImageError> {
    if expected == found {
        return Ok(());
    }
    let reason = format!("it has {found} bytes where {expected} were promised");
    Err(ImageError::CorruptBlob { digest: *digest, reason })
}
