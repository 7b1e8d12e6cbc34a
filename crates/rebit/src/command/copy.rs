//! `rebit copy`.

use std::collections::{BTreeMap, BTreeSet};

use rebit_image::transport::{
    ArchiveForm, ArchiveSink, DockerArchiveSource, ImageDocuments, ImageNames, LayoutSink, LayoutSource,
    Sink, Source, select,
};
use rebit_image::{ImportOptions, Place};
use rebit_oci::manifest;

use super::pull::platform;
use super::push::summary;
use super::{find, place, store_name};
use crate::error::CommandError;
use crate::flags::{Copy, Flags};
use crate::output::{line, say};
use crate::progress::Transfer;
use crate::registry::{self, Outgoing, Pull, Registries, RegistrySource};
use crate::{environment, signal};

pub(crate) fn copy(flags: &Flags, command: &Copy) -> Result<(), CommandError> {
    let stop = signal::stop_flag()?;
    let registries = Registries::new(&stop);
    let (from, to) = (place(&command.source)?, place(&command.destination)?);
    let transfer = Transfer::new(command.quiet);
    let way = Way { command, registries: &registries, transfer: &transfer };
    let done = match (&from, &to) {
        (Place::Store { .. }, Place::Store { .. }) => {
            return Err(CommandError::usage("both places are the store")
                .hint("`rebit tag` gives an image another name"));
        }
        (Place::Store { .. }, to) => way.send_out(flags, to),
        (from, Place::Store { name }) => way.take_in(flags, from, name),
        (from, to) => way.between(from, to),
    };
    done.map_err(|error| registries.failure(error))
}

struct Way<'a> {
    command: &'a Copy,
    registries: &'a Registries,
    transfer: &'a Transfer,
}

impl Way<'_> {
    fn send_out(&self, flags: &Flags, to: &Place) -> Result<(), CommandError> {
        let store = environment::open_store(flags)?;
        let session = store.session()?;
        let image = find(&session, &self.command.source)?;
        if let Place::Registry { name } = to {
            let pushed = super::push::stored(self.registries.get()?, &session, &image, name, self.transfer)?;
            if !self.command.quiet {
                say(summary(name, &pushed));
            }
        } else {
            let names: Vec<_> = store_name(&self.command.source)
                .ok()
                .filter(|name| name.tag().is_some())
                .into_iter()
                .collect();
            super::keep_at_hand(&store, &image)?;
            rebit_image::export(&session, &image, to, &names)?;
        }
        line(image.manifest.digest().to_string())
    }

    fn take_in(&self, flags: &Flags, from: &Place, name: &str) -> Result<(), CommandError> {
        let names = [store_name(name)?];
        let platform = platform(self.command.platform.as_deref())?;
        let store = environment::create_store(flags)?;
        let session = store.session()?;
        let now = environment::now();
        let image = if let Place::Registry { name } = from {
            let (registry, transfer) = (self.registries.get()?, self.transfer);
            let (any_platform, unpack) = (false, false);
            let pull = Pull { session: &session, registry, platform, any_platform, unpack, now, transfer };
            pull.run(name, &names)?.image
        } else {
            rebit_image::import_place(&session, from, &names, &ImportOptions::new(platform, now))?
        };
        line(image.manifest.digest().to_string())
    }

    fn between(&self, from: &Place, to: &Place) -> Result<(), CommandError> {
        let source: Box<dyn Source + '_> = match from {
            Place::Registry { name } => {
                Box::new(RegistrySource::new(self.registries.get()?, name, self.transfer)?)
            }
            Place::Oci { path, tag } => Box::new(LayoutSource::open(path, tag.as_deref())?),
            Place::OciArchive { path, tag } => Box::new(LayoutSource::open_archive(path, tag.as_deref())?),
            Place::DockerArchive { path, name } => Box::new(DockerArchiveSource::open(path, name.as_ref())?),
            Place::Store { .. } => unreachable!("the store is asked elsewhere"),
        };
        let platform = platform(self.command.platform.as_deref())?;
        let image = select(&*source, &platform, false)?;
        if let Place::Registry { name } = to {
            let outgoing = Outgoing {
                source: &*source,
                image: &image,
                holders: holders(from, &image)?,
                transfer: self.transfer,
            };
            let pushed = registry::push(self.registries.get()?, name, &outgoing)?;
            if !self.command.quiet {
                say(summary(name, &pushed));
            }
        } else {
            let mut names = ImageNames::default();
            if let Place::Registry { name } = from {
                names.references.push(name.clone());
            }
            let mut sink = sink(to, &mut names)?;
            rebit_image::transport::copy(&*source, &image, &names, &mut *sink)?;
            sink.finish()?;
        }
        line(image.manifest.digest().to_string())
    }
}

/// Which repository has the blobs: the one that they are copied from.
fn holders(
    from: &Place,
    image: &ImageDocuments,
) -> Result<BTreeMap<rebit_oci::Digest, BTreeSet<rebit_oci::Reference>>, CommandError> {
    let Place::Registry { name } = from else { return Ok(BTreeMap::new()) };
    let layers = image.manifest.value().layers().iter().map(manifest::digest);
    let holder = |digest| Ok((digest?, BTreeSet::from([name.clone()])));
    layers.map(holder).collect::<Result<_, rebit_oci::digest::ParseDigestError>>().map_err(Into::into)
}

fn sink(to: &Place, names: &mut ImageNames) -> Result<Box<dyn Sink>, CommandError> {
    Ok(match to {
        Place::Oci { path, tag } => {
            names.tag.clone_from(tag);
            Box::new(LayoutSink::open(path)?)
        }
        Place::OciArchive { path, tag } => {
            names.tag.clone_from(tag);
            Box::new(ArchiveSink::create(path, ArchiveForm::Oci)?)
        }
        Place::DockerArchive { path, name } => {
            if let Some(name) = name.as_ref().filter(|name| !names.references.contains(name)) {
                names.references.insert(0, name.clone());
            }
            Box::new(ArchiveSink::create(path, ArchiveForm::Docker)?)
        }
        Place::Store { .. } | Place::Registry { .. } => unreachable!("these are no files"),
    })
}
