//! `rebit push`.

use std::collections::BTreeSet;

use rebit_image::transport::StoreSource;
use rebit_image::{ImageError, StoredImage};
use rebit_oci::Reference;
use rebit_remote::registry::{Attached, Pushed, Registry};
use rebit_store::Session;
use serde_json::json;

use super::{find, provenance, store_name};
use crate::error::CommandError;
use crate::flags::{Flags, Push};
use crate::output::{self, line, say, size};
use crate::progress::Transfer;
use crate::registry::{self, Outgoing, Registries};
use crate::{environment, signal};

pub(crate) fn push(flags: &Flags, command: &Push) -> Result<(), CommandError> {
    let stop = signal::stop_flag()?;
    let registries = Registries::new(&stop);
    let destination = command.destination.as_ref().unwrap_or(&command.image);
    let name = store_name(destination.strip_prefix("docker://").unwrap_or(destination))?;
    let store = environment::open_store(flags)?;
    let session = store.session()?;
    let image = find(&session, &command.image)?;
    let document = if command.provenance { Some(provenance::of(&session, &command.image)?) } else { None };
    let transfer = Transfer::new(command.quiet || command.json);
    let pushed = stored(registries.get()?, &session, &image, &name, &transfer);
    let pushed = pushed.map_err(|error| registries.failure(error))?;
    let attached = document.map(|document| publish(&registries, &name, &image, &document)).transpose()?;
    let digest = image.manifest.digest();
    if command.json {
        return output::json(&json!({
            "name": name.to_string(),
            "digest": digest,
            "present": pushed.present,
            "mounted": pushed.mounted,
            "uploaded": pushed.uploaded,
            "bytes": pushed.bytes,
            "provenance": attached.map(|attached| attached.digest),
        }));
    }
    if !command.quiet {
        say(summary(&name, &pushed));
        if let Some(attached) = &attached {
            say(published(attached));
        }
    }
    line(digest.to_string())
}

/// Puts the provenance of an image that was sent beside it.
pub(super) fn publish(
    registries: &Registries,
    name: &Reference,
    image: &StoredImage,
    document: &[u8],
) -> Result<Attached, CommandError> {
    let attached = registry::provenance::publish(registries.get()?, name, image, document);
    attached.map_err(|error| registries.failure(error))
}

/// What became of a provenance, in words.
pub(super) fn published(attached: &Attached) -> String {
    let by = if attached.by_tag { ", listed by a tag: the registry has no list of referrers" } else { "" };
    format!("provenance {}{by}", attached.digest)
}

/// Sends an image of the store.
pub(super) fn stored(
    registry: &Registry,
    session: &Session,
    image: &StoredImage,
    name: &Reference,
    transfer: &Transfer,
) -> Result<Pushed, ImageError> {
    let source = StoreSource::new(session, image);
    let digests: BTreeSet<_> = image.layers.iter().map(|layer| layer.digest).collect();
    let outgoing = Outgoing {
        source: &source,
        image: &source.documents(),
        holders: rebit_image::holders(session.store(), &digests)?,
        transfer,
    };
    registry::push(registry, name, &outgoing)
}

/// What a push did, in words.
pub(super) fn summary(name: &Reference, pushed: &Pushed) -> String {
    let Pushed { present, mounted, uploaded, bytes } = pushed;
    format!("{name}: {uploaded} blobs sent ({}), {mounted} mounted, {present} were there", size(*bytes))
}
