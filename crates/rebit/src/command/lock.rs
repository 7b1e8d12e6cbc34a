//! `rebit lock`.

use rebit_distro::debian_architecture;
use serde_json::json;

use crate::assembly::{Assembly, architecture};
use crate::error::CommandError;
use crate::flags::{Flags, Lock};
use crate::output::{self, line, say};
use crate::{environment, signal};

pub(crate) fn lock(flags: &Flags, command: &Lock) -> Result<(), CommandError> {
    let stop = signal::stop_flag()?;
    let assembly = Assembly::open(&command.file, true, command.json, &stop)?;
    let chosen = assembly.chosen(&command.names)?;
    let platform = command.platform.as_deref().map(environment::parse_platform).transpose()?;
    let store = environment::create_store(flags)?;
    let session = store.session()?;
    let mut locked = Vec::new();
    let native = environment::native_platform();
    let native = debian_architecture(&native.architecture, native.variant.as_deref());
    for (name, recipe) in chosen {
        let architectures = match &platform {
            Some(platform) => vec![architecture(recipe, Some(platform))?],
            None => assembly.pinned_architectures(name, recipe)?,
        };
        for architecture in architectures {
            let (pins, changes) = assembly.pins(&session, name, recipe, &architecture, command.update)?;
            let packages = pins.packages.len();
            let moved = changes.clone().unwrap_or_default();
            let shown = match native == Some(architecture.as_str()) {
                true => name.familiar(),
                false => format!("{} ({architecture})", name.familiar()),
            };
            if command.json {
                locked.push(json!({
                    "name": name.familiar(),
                    "architecture": architecture,
                    "packages": packages,
                    "changes": moved,
                }));
                continue;
            }
            let what = match &changes {
                None => "as they were",
                Some(moved) if moved.is_empty() => "nothing moved",
                Some(_) => "pinned",
            };
            say(format!("{shown}: {packages} packages, {what}"));
            for change in &moved {
                line(format!("{shown}: {change}"))?;
            }
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
