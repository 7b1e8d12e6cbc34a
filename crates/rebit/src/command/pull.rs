//! `rebit pull`.

use rebit_image::{ImageError, Platform};
use rebit_oci::Reference;
use rebit_remote::registry::Registry;
use serde_json::json;

use super::store_name;
use crate::error::CommandError;
use crate::flags::{Flags, Pull as PullCommand};
use crate::output::{self, line, say, size};
use crate::progress::Transfer;
use crate::registry::{Pull, Pulled, Registries};
use crate::{environment, signal};

pub(crate) fn pull(flags: &Flags, command: &PullCommand) -> Result<(), CommandError> {
    let stop = signal::stop_flag()?;
    let registries = Registries::new(&stop);
    let registry = registries.get()?;
    let candidates = candidates(registry, &command.name)?;
    let platform = platform(command.platform.as_deref())?;
    let store = environment::create_store(flags)?;
    let session = store.session()?;
    let transfer = Transfer::new(command.quiet || command.json);
    let pull = Pull {
        session: &session,
        registry,
        platform,
        any_platform: false,
        unpack: command.unpack,
        now: environment::now(),
        transfer: &transfer,
    };
    let (name, pulled) = first(&pull, &candidates).map_err(|error| registries.failure(error))?;
    report(command, &name, &pulled, &transfer)
}

/// What the text can mean.
fn candidates(registry: &Registry, text: &str) -> Result<Vec<Reference>, CommandError> {
    let text = text.strip_prefix("docker://").unwrap_or(text);
    let name = store_name(text)?;
    Ok(registry.expand(text).unwrap_or_else(|| vec![name]))
}

/// The platform that is meant.
pub(super) fn platform(text: Option<&str>) -> Result<Platform, CommandError> {
    let platform = match text {
        Some(text) => environment::parse_platform(text)?,
        None => environment::native_platform(),
    };
    Ok(Platform { os: platform.os, architecture: platform.architecture, variant: platform.variant })
}

/// Takes the first one that is there.
fn first(pull: &Pull<'_>, candidates: &[Reference]) -> Result<(Reference, Pulled), ImageError> {
    let mut missing = None;
    for name in candidates {
        match pull.run(name, std::slice::from_ref(name)) {
            Ok(pulled) => return Ok((name.clone(), pulled)),
            Err(error @ ImageError::NotFound { .. }) => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    let nowhere = || ImageError::NotFound { what: "the image".to_owned(), place: "no registry".to_owned() };
    Err(missing.unwrap_or_else(nowhere))
}

fn report(
    command: &PullCommand,
    name: &Reference,
    pulled: &Pulled,
    transfer: &Transfer,
) -> Result<(), CommandError> {
    let image = &pulled.image;
    let digest = image.manifest.digest();
    let total: u64 = image.layers.iter().map(|layer| layer.size).sum();
    let (blobs, bytes) = transfer.total();
    if command.json {
        return output::json(&json!({
            "name": name.to_string(),
            "digest": digest,
            "registry_digest": pulled.top,
            "size": total,
            "fetched": {"blobs": blobs, "bytes": bytes},
        }));
    }
    if !command.quiet {
        let layers = image.layers.len();
        let plural = if layers == 1 { "" } else { "s" };
        say(format!("{}: {layers} layer{plural}, {}, fetched {}", name.familiar(), size(total), size(bytes)));
    }
    line(digest.to_string())
}
