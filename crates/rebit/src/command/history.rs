//! `rebit history`.

use super::{find, provenance};
use crate::environment;
use crate::error::CommandError;
use crate::flags::{Flags, History};
use crate::output::{cut, json, size, table};

pub(crate) fn history(flags: &Flags, command: &History) -> Result<(), CommandError> {
    if command.provenance {
        return provenance::show(flags, command);
    }
    let store = environment::open_store(flags)?;
    let session = store.session()?;
    let image = find(&session, &command.image)?;
    let rows = rebit_image::history(&image);
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
