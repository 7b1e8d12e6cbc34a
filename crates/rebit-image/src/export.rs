//! From the store to a place.

use std::io::Write;

use rebit_oci::{Digest, Reference};
use rebit_store::Session;

use crate::transport::{ArchiveForm, ArchiveSink, ImageNames, LayoutSink, Sink, StoreSource, copy};
use crate::{ImageError, Place, StoredImage};

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The manifest's digest, the same as in the store.
    pub digest: Digest,
    /// Bytes of all blobs of the image.
    pub size: u64,
}

/// Writes an image of the store to `place`.
///
/// `names` become the image's names there: annotations of an image layout, `RepoTags` of a Docker archive.
/// An archive is replaced as a whole; a layout keeps the other images it has. The same image under the same
/// names gives the same archive, byte for byte. A failed export leaves nothing behind.
///
/// # Errors
/// [`ImageError::Unsupported`] for [`Place::Store`] (use [`tag`](crate::tag)) and [`Place::Registry`], or when reading or writing fails.
pub fn export(
    session: &Session,
    image: &StoredImage,
    place: &Place,
    names: &[Reference],
) -> Result<Exported, ImageError> {
    let mut names = ImageNames { tag: None, references: names.to_vec() };
    let sink = open_sink(place, &mut names)?;
    export_to(session, image, sink, &names)
}

/// Opens a place that images are written to, and adds to `names` what the place itself says of them.
///
/// # Errors
/// [`ImageError::Unsupported`] for [`Place::Store`] and [`Place::Registry`], or when it cannot be opened.
pub fn open_sink(place: &Place, names: &mut ImageNames) -> Result<Box<dyn Sink>, ImageError> {
    Ok(match place {
        Place::Store { .. } => {
            return Err(ImageError::Unsupported { what: "exporting to the store".to_owned() });
        }
        Place::Registry { .. } => return Err(not_here(place)),
        Place::Oci { path, tag } => {
            names.tag.clone_from(tag);
            Box::new(LayoutSink::open(path)?)
        }
        Place::OciArchive { path, tag } => {
            names.tag.clone_from(tag);
            Box::new(ArchiveSink::create(path, ArchiveForm::Oci)?)
        }
        Place::DockerArchive { path, name } => {
            if let Some(name) = name.as_ref().filter(|name| !names.references.contains(name)) {
                names.references.insert(0, name.clone());
            }
            Box::new(ArchiveSink::create(path, ArchiveForm::Docker)?)
        }
    })
}

/// A registry is reached by whoever has a network.
pub(crate) fn not_here(place: &Place) -> ImageError {
    ImageError::Unsupported { what: format!("`{place}` as a place without a network") }
}

/// Writes an image of the store as an archive to a stream, the same bytes as [`export`] writes to a file.
///
/// # Errors
/// When reading or writing fails; what was written by then stays written.
pub fn export_to_writer(
    session: &Session,
    image: &StoredImage,
    writer: &mut dyn Write,
    form: ArchiveForm,
    names: &ImageNames,
) -> Result<Exported, ImageError> {
    export_to(session, image, Box::new(ArchiveSink::to_writer(Box::new(writer), form)), names)
}

/// Writes an image of the store to any sink.
///
/// # Errors
/// When reading or writing fails.
pub fn export_to(
    session: &Session,
    image: &StoredImage,
    mut sink: Box<dyn Sink + '_>,
    names: &ImageNames,
) -> Result<Exported, ImageError> {
    let source = StoreSource::new(session, image);
    let size = copy(&source, &source.documents(), names, &mut *sink)?;
    sink.finish()?;
    Ok(Exported { digest: image.digest(), size })
}

#[cfg(test)]
mod tests;
