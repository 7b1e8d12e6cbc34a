//! `rebit referrers`.

use rebit_image::transport::select;
use rebit_remote::registry::{Access, Referrer, Wanted};
use serde_json::json;

use super::{pull, source, store_name};
use crate::error::{CommandError, printable};
use crate::flags::Referrers;
use crate::output::{self, cut, size, table};
use crate::progress::Transfer;
use crate::registry::Registries;
use crate::signal;

/// Lists what refers to an image or index at its registry: signatures, inventories, provenances.
pub(crate) fn referrers(command: &Referrers) -> Result<(), CommandError> {
    let name = store_name(command.name.strip_prefix("docker://").unwrap_or(&command.name))?;
    let registries = Registries::new(&signal::stop_flag()?);
    let repository = registries.get()?.repository(&name, Access::Pull)?;
    let subject = match &command.platform {
        Some(platform) => {
            let transfer = Transfer::new(true);
            let place = rebit_image::Place::Registry { name: name.clone() };
            let source = source::open(&place, &registries, &transfer)?;
            let image = select(&*source, &pull::platform(Some(platform))?, false);
            image.map_err(|error| registries.failure(error))?.manifest.digest()
        }
        None => {
            let digest = name.digest();
            let top = repository.digest_of(Wanted::of(&name, digest.as_ref()));
            top.map_err(|error| registries.failure(error))?
        }
    };
    let found = repository.referrers(&subject).map_err(|error| registries.failure(error))?;
    if command.json {
        return output::json(&json!({"name": name.to_string(), "digest": subject, "referrers": found}));
    }
    let row = |referrer: &Referrer| {
        let kind = referrer.artifact_type.clone().unwrap_or_else(|| referrer.media_type.clone());
        let said: Vec<String> =
            referrer.annotations.iter().map(|(name, value)| format!("{name}={value}")).collect();
        vec![
            referrer.digest.to_string(),
            printable(&kind).to_string(),
            size(referrer.size),
            cut(&printable(&said.join(" ")).to_string(), 80),
        ]
    };
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    table(&["DIGEST", "TYPE", "SIZE", "ANNOTATIONS"], &rows)
}
