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
    let store = environment::open_store(flags)?;
    let mut missing = Vec::new();
    for text in &command.images {
        let name = text.strip_prefix("store:").unwrap_or(text);
        match rebit_image::untag(&store, name) {
            Ok(removed) => removed.iter().try_for_each(|name| line(format!("removed {}", familiar(name))))?,
            Err(rebit_image::ImageError::NotFound { .. }) => missing.push(name),
            Err(error) => return Err(error.into()),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let quoted: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
    Err(CommandError::message(format!("the store has no image {}", quoted.join(", "))))
}

fn familiar(name: &str) -> String {
    name.parse::<rebit_oci::Reference>().map_or_else(|_| name.to_owned(), |name| name.familiar())
}
