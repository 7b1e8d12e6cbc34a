//! `rebit tag` and `rebit rm`.

use super::{find, store_name};
use crate::environment;
use crate::error::CommandError;
use crate::flags::{Flags, Rm, Tag};
use crate::output::line;

pub(crate) fn tag(flags: &Flags, command: &Tag) -> Result<(), CommandError> {
    let names = command.names.iter().map(|name| store_name(name)).collect::<Result<Vec<_>, _>>()?;
    let store = environment::open_store(flags)?;
    let session = store.session()?;
    let image = find(&session, &command.image)?;
    for name in &names {
        rebit_image::tag(&session, &image, name, environment::now())?;
    }
    Ok(())
}

pub(crate) fn rm(flags: &Flags, command: &Rm) -> Result<(), CommandError> {
    let names = command.images.iter().map(|name| store_name(name)).collect::<Result<Vec<_>, _>>()?;
    let store = environment::open_store(flags)?;
    let mut missing = Vec::new();
    for name in &names {
        if rebit_image::untag(&store, name)? {
            line(format!("removed {}", name.familiar()))?;
        } else {
            missing.push(name.familiar());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(CommandError::message(format!("there is no image {} in the store", missing.join(", "))))
}
