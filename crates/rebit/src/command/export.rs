//! `rebit export`.

use rebit_image::Place;

use super::{find, place, push, store_name};
use crate::error::CommandError;
use crate::flags::{Export, Flags};
use crate::output::{line, say};
use crate::progress::Transfer;
use crate::registry::Registries;
use crate::{environment, signal};

pub(crate) fn export(flags: &Flags, command: &Export) -> Result<(), CommandError> {
    let destination = place(&command.destination)?;
    if let Place::Store { .. } = destination {
        return Err(CommandError::usage("the destination is the store itself")
            .hint("`rebit tag` gives an image another name"));
    }
    let store = environment::open_store(flags)?;
    let session = store.session()?;
    let image = find(&session, &command.source)?;
    // A digest as source gives the image no name.
    let names: Vec<_> =
        store_name(&command.source).ok().filter(|name| name.tag().is_some()).into_iter().collect();
    if let Place::Registry { name } = &destination {
        let registries = Registries::new(&signal::stop_flag()?);
        let transfer = Transfer::new(false);
        let pushed = push::stored(registries.get()?, &session, &image, name, &transfer);
        let pushed = pushed.map_err(|error| registries.failure(error))?;
        say(push::summary(name, &pushed));
        return line(image.manifest.digest().to_string());
    }
    super::keep_at_hand(&store, &image)?;
    rebit_image::export(&session, &image, &destination, &names)?;
    line(image.manifest.digest().to_string())
}
