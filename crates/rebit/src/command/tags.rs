//! `rebit tags`.

use rebit_remote::registry::Access;
use serde_json::json;

use super::store_name;
use crate::error::{CommandError, printable};
use crate::flags::Tags;
use crate::output::{self, line};
use crate::registry::Registries;
use crate::signal;

pub(crate) fn tags(command: &Tags) -> Result<(), CommandError> {
    let name = store_name(command.name.strip_prefix("docker://").unwrap_or(&command.name))?;
    let registries = Registries::new(&signal::stop_flag()?);
    let tags = registries.get()?.repository(&name, Access::Pull).and_then(|repository| repository.tags());
    let tags = tags.map_err(|error| registries.failure(error))?;
    if command.json {
        let repository = format!("{}/{}", name.registry(), name.repository());
        return output::json(&json!({"name": repository, "tags": tags}));
    }
    tags.iter().try_for_each(|tag| line(printable(tag)))
}
