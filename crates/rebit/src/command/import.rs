//! `rebit import`.

use std::fs::File;
use std::io::{self, Read};

use rebit_build::plan::DEFAULT_EPOCH;
use rebit_image::{ImportOptions, Place, Platform, RootfsOptions, StoredImage};
use rebit_oci::Reference;
use serde_json::json;

use super::{compression, place, store_name};
use crate::error::{CommandError, ExitKind};
use crate::flags::{Flags, Import};
use crate::output::{self, line, say, size};
use crate::progress::Transfer;
use crate::registry::{Pull, Registries};
use crate::{environment, signal};

/// What is imported, opened or at least named rightly before a store is made for it.
enum Input {
    Rootfs(Box<dyn Read + Send>, Box<RootfsOptions>),
    Image(Place, Box<ImportOptions>),
    Registry(Reference, Platform),
}

pub(crate) fn import(flags: &Flags, command: &Import) -> Result<(), CommandError> {
    let names = [store_name(&command.destination)?];
    let input = input(command)?;
    let store = environment::create_store(flags)?;
    let session = store.session()?;
    let image = match input {
        Input::Rootfs(mut reader, options) => {
            rebit_image::import_rootfs(&session, &mut *reader, &names, &options)?
        }
        Input::Registry(name, platform) => {
            let registries = Registries::new(&signal::stop_flag()?);
            let (session, transfer) = (&session, &Transfer::new(command.json));
            let registry = registries.get()?;
            let now = environment::now();
            let (any_platform, unpack) = (false, true);
            let pull = Pull { session, registry, platform, any_platform, unpack, now, transfer };
            pull.run(&name, &names).map_err(|error| registries.failure(error))?.image
        }
        Input::Image(place, options) => rebit_image::import_place(&session, &place, &names, &options)?,
    };
    report(&image, &names, command.json)
}

fn input(command: &Import) -> Result<Input, CommandError> {
    let platform = super::pull::platform(command.platform.as_deref())?;
    let now = environment::now();
    if command.rootfs {
        let epoch = environment::source_date_epoch(None)?.unwrap_or(DEFAULT_EPOCH);
        let options = RootfsOptions {
            compression: compression(command.compression),
            ..RootfsOptions::new(platform, epoch, now)
        };
        return Ok(Input::Rootfs(open(&command.source)?, Box::new(options)));
    }
    match place(&command.source)? {
        Place::Store { .. } => Err(CommandError::usage("the source is in the store already")
            .hint("`rebit tag` gives it another name; a tar of a root file system needs --rootfs")),
        Place::Registry { name } => Ok(Input::Registry(name, platform)),
        place => Ok(Input::Image(place, Box::new(ImportOptions::new(platform, now)))),
    }
}

fn open(source: &str) -> Result<Box<dyn Read + Send>, CommandError> {
    if source == "-" {
        return Ok(Box::new(io::stdin()));
    }
    match File::open(source) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => {
            Err(CommandError::message(format!("cannot read `{source}`: {error}")).with_exit(ExitKind::Failed))
        }
    }
}

fn report(image: &StoredImage, names: &[Reference], as_json: bool) -> Result<(), CommandError> {
    let digest = image.manifest.digest();
    let compressed: u64 = image.layers.iter().map(|layer| layer.size).sum();
    let names: Vec<String> = names.iter().map(Reference::familiar).collect();
    if as_json {
        return output::json(&json!({"names": names, "digest": digest, "size": compressed}));
    }
    let layers = image.layers.len();
    let plural = if layers == 1 { "" } else { "s" };
    say(format!("{}: {layers} layer{plural}, {}", names.join(", "), size(compressed)));
    line(digest.to_string())
}
