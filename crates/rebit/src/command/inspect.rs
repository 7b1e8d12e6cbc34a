//! `rebit inspect`.

use rebit_image::Place;
use rebit_image::transport::{ImageDocuments, select, top};

use super::pull::platform;
use super::{find, place};
use crate::error::CommandError;
use crate::flags::{Document, Flags, Inspect};
use crate::output::{bytes, json};
use crate::progress::Transfer;
use crate::registry::Registries;
use crate::{environment, signal};

pub(crate) fn inspect(flags: &Flags, command: &Inspect) -> Result<(), CommandError> {
    let place = place(&command.image)?;
    if !matches!(place, Place::Store { .. }) {
        return elsewhere(&place, command);
    }
    if command.platform.is_some() {
        return Err(CommandError::usage("`--platform`: an image of the store is for one platform"));
    }
    let store = environment::open_store(flags)?;
    let session = store.session()?;
    let image = find(&session, &command.image)?;
    match command.raw {
        Some(Document::Manifest) => bytes(image.manifest.bytes()),
        Some(Document::Config) => bytes(image.config.bytes()),
        Some(Document::Index) => {
            Err(CommandError::usage("`--raw index`: an image of the store is in no index"))
        }
        None => {
            let names = rebit_image::names_of(&store, &image.digest())?;
            json(&rebit_image::inspect(&session, &image, &names)?)
        }
    }
}

/// An image that is not in the store: its documents are read, and none of its layers.
fn elsewhere(place: &Place, command: &Inspect) -> Result<(), CommandError> {
    let registries = Registries::new(&signal::stop_flag()?);
    let transfer = Transfer::new(true);
    let platform = platform(command.platform.as_deref())?;
    let source = super::source::open(place, &registries, &transfer)?;
    if command.raw == Some(Document::Index) {
        return bytes(&top(&*source).map_err(|error| registries.failure(error))?.bytes);
    }
    let image = select(&*source, &platform, command.platform.is_none());
    let image: ImageDocuments = image.map_err(|error| registries.failure(error))?;
    match command.raw {
        Some(Document::Manifest) => bytes(image.manifest.bytes()),
        Some(Document::Config) => bytes(image.config.bytes()),
        _ => json(&rebit_image::inspect_documents(&image, &[place.to_string()])?),
    }
}
