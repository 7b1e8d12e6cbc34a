//! `rebit history`.

use rebit_image::transport::select;
use rebit_image::{HistoryRow, Place};

use super::{find, place, provenance, pull, source};
use crate::error::CommandError;
use crate::flags::{Flags, History};
use crate::output::{cut, json, size, table};
use crate::progress::Transfer;
use crate::registry::Registries;
use crate::{environment, signal};

pub(crate) fn history(flags: &Flags, command: &History) -> Result<(), CommandError> {
    if command.provenance {
        return provenance::show(flags, command);
    }
    let place = place(&command.image)?;
    let rows = match place {
        Place::Store { .. } => {
            let store = environment::open_store(flags)?;
            rebit_image::history(&find(&store.session()?, &command.image)?)
        }
        place => elsewhere(&place)?,
    };
    if command.json {
        return json(&rows);
    }
    let row = |entry: &rebit_image::HistoryRow| {
        let digest =
            entry.layer.map(|digest| if command.no_trunc { digest.to_string() } else { digest.short() });
        let made_by = entry.created_by.clone();
        vec![
            digest.unwrap_or_else(|| "-".to_owned()),
            entry.created.clone().unwrap_or_else(|| "-".to_owned()),
            size(entry.size),
            if command.no_trunc { made_by } else { cut(&made_by, 60) },
        ]
    };
    // The last change comes first, as elsewhere.
    let rows: Vec<Vec<String>> = rows.iter().rev().map(row).collect();
    table(&["LAYER", "CREATED", "SIZE", "CREATED BY"], &rows)
}

/// An image that is not in the store: its documents say it.
fn elsewhere(place: &Place) -> Result<Vec<HistoryRow>, CommandError> {
    let registries = Registries::new(&signal::stop_flag()?);
    let transfer = Transfer::new(true);
    let source = source::open(place, &registries, &transfer)?;
    let image = select(&*source, &pull::platform(None)?, true).map_err(|error| registries.failure(error))?;
    Ok(rebit_image::inspect_documents(&image, &[])?.history)
}
