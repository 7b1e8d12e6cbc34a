//! An image at any place but the store, to be read where it is.

use rebit_image::Place;
use rebit_image::transport::{DockerArchiveSource, LayoutSource, Source};

use crate::error::CommandError;
use crate::progress::Transfer;
use crate::registry::{Registries, RegistrySource};

/// Opens a place. Of a registry nothing is asked yet.
pub(super) fn open<'a>(
    place: &Place,
    registries: &'a Registries,
    transfer: &'a Transfer,
) -> Result<Box<dyn Source + 'a>, CommandError> {
    Ok(match place {
        Place::Registry { name } => Box::new(RegistrySource::new(registries.get()?, name, transfer)?),
        Place::Oci { path, tag } => Box::new(LayoutSource::open(path, tag.as_deref())?),
        Place::OciArchive { path, tag } => Box::new(LayoutSource::open_archive(path, tag.as_deref())?),
        Place::DockerArchive { path, name } => Box::new(DockerArchiveSource::open(path, name.as_ref())?),
        Place::Store { .. } => return Err(CommandError::usage(format!("`{place}` is in the store"))),
    })
}
