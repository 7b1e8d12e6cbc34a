//! `rebit export`.

use rebit_image::Place;

use super::{find, place, store_name};
use crate::environment;
use crate::error::CommandError;
use crate::flags::{Export, Flags};
use crate::output::line;

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
    super::keep_at_hand(&store, &image)?;
    rebit_image::export(&session, &image, &destination, &names)?;
    line(image.manifest.digest().to_string())
}
