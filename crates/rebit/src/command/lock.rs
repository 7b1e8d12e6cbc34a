//! `rebit lock`.

use serde_json::json;

use crate::assembly::Assembly;
use crate::error::CommandError;
use crate::flags::{Flags, Lock};
use crate::output::{self, line, say};
use crate::{environment, signal};

pub(crate) fn lock(flags: &Flags, command: &Lock) -> Result<(), CommandError> {
    let stop = signal::stop_flag()?;
    let assembly = Assembly::open(&command.file, true, command.json, &stop)?;
    let chosen = assembly.chosen(&command.names)?;
    let store = environment::create_store(flags)?;
    let session = store.session()?;
    let mut locked = Vec::new();
    for (name, recipe) in chosen {
        let name_shown = name.familiar();
        let (pins, changes) = assembly.pins(&session, name, recipe, command.update)?;
        let packages = pins.packages.len();
        let moved = changes.clone().unwrap_or_default();
        if command.json {
            locked.push(json!({"name": name_shown, "packages": packages, "changes": moved}));
            continue;
        }
        let what = match &changes {
            None => "as they were",
            Some(moved) if moved.is_empty() => "nothing moved",
            Some(_) => "pinned",
        };
        say(format!("{name_shown}: {packages} packages, {what}"));
        for change in &moved {
            line(format!("{name_shown}: {change}"))?;
        }
    }
    // What was read from the archives stays for the next time.
    session.commit()?;
    let gone = if command.names.is_empty() { assembly.prune()? } else { Vec::new() };
    if command.json {
        return output::json(&json!({"images": locked, "removed": gone}));
    }
    gone.iter().for_each(|name| say(format!("{name}: has no recipe any more")));
    Ok(())
}
