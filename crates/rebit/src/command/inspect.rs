//! `rebit inspect`.

use super::find;
use crate::environment;
use crate::error::CommandError;
use crate::flags::{Document, Flags, Inspect};
use crate::output::{bytes, json};

pub(crate) fn inspect(flags: &Flags, command: &Inspect) -> Result<(), CommandError> {
    let store = environment::open_store(flags)?;
    let session = store.session()?;
    let image = find(&session, &command.image)?;
    match command.raw {
        Some(Document::Manifest) => bytes(image.manifest.bytes()),
        Some(Document::Config) => bytes(image.config.bytes()),
        None => {
            let names = rebit_image::names_of(&store, &image.digest())?;
            json(&rebit_image::inspect(&session, &image, &names)?)
        }
    }
}
