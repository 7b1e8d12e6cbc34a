//! `rebit copy`.

use std::collections::{BTreeMap, BTreeSet};

use rebit_image::transport::{Everything, ImageNames, Source, everything, select};
use rebit_image::{ImportOptions, Place};
use rebit_oci::manifest::{self, Kind, kind};
use rebit_oci::{Digest, Reference};
use rebit_remote::registry::Pushed;

use super::pull::platform;
use super::push::summary;
use super::{find, place, store_name};
use crate::error::CommandError;
use crate::flags::{Copy, Flags};
use crate::output::{count, line, say};
use crate::progress::Transfer;
use crate::registry::{self, Outgoing, OutgoingIndex, Pull, Referring, Registries};
use crate::{environment, signal};

pub(crate) fn copy(flags: &Flags, command: &Copy) -> Result<(), CommandError> {
    let stop = signal::stop_flag()?;
    let registries = Registries::new(&stop);
    let (from, to) = (place(&command.source)?, place(&command.destination)?);
    if command.all && [&from, &to].iter().any(|place| matches!(place, Place::Store { .. })) {
        return Err(CommandError::usage("`--all`: a name of the store is one image, not an index")
            .hint("`--platform` says which image of an index goes to the store"));
    }
    if command.referrers && [&from, &to].iter().any(|place| !matches!(place, Place::Registry { .. })) {
        return Err(CommandError::usage("`--referrers`: both places have to be registries, `docker://NAME`"));
    }
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
            let registry = self.registries.get()?;
            self.pushed(name, super::push::stored(registry, &session, &image, name, self.transfer)?);
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
        let source = super::source::open(from, self.registries, self.transfer)?;
        let all = if self.command.all { Some(everything(&*source)?) } else { None };
        // One image is copied as one image, whatever it runs on.
        if let Some(all) = all.filter(|all| kind(&all.top.media_type) == Kind::ImageIndex) {
            return self.index(&*source, &all, from, to);
        }
        let platform = platform(self.command.platform.as_deref())?;
        let image = select(&*source, &platform, self.command.all)?;
        if let Place::Registry { name } = to {
            let layers: Vec<_> = image.manifest.value().layers().iter().map(manifest::digest).collect();
            let outgoing = Outgoing {
                source: &*source,
                image: &image,
                holders: holders(from, layers.into_iter().collect::<Result<Vec<_>, _>>()?),
                transfer: self.transfer,
            };
            self.pushed(name, registry::push(self.registries.get()?, name, &outgoing)?);
            self.referrers(from, name, &[image.manifest.digest()])?;
        } else {
            let mut names = names(from);
            let mut sink = rebit_image::open_sink(to, &mut names)?;
            rebit_image::transport::copy(&*source, &image, &names, &mut *sink)?;
            sink.finish()?;
        }
        line(image.manifest.digest().to_string())
    }

    /// An index with all its images.
    fn index(
        &self,
        source: &dyn Source,
        all: &Everything,
        from: &Place,
        to: &Place,
    ) -> Result<(), CommandError> {
        if let Place::Registry { name } = to {
            let holders = holders(from, all.blobs.keys().copied());
            let outgoing = OutgoingIndex { source, all, holders, transfer: self.transfer };
            self.pushed(name, registry::push_index(self.registries.get()?, name, &outgoing)?);
            let documents = all.below.iter().chain([&all.top]);
            self.referrers(from, name, &documents.map(|document| document.digest).collect::<Vec<_>>())?;
        } else {
            let mut names = names(from);
            let mut sink = rebit_image::open_sink(to, &mut names)?;
            rebit_image::transport::copy_index(source, all, &names, &mut *sink)?;
            sink.finish()?;
        }
        if !self.command.quiet {
            let documents = all.below.iter().filter(|below| kind(&below.media_type) == Kind::Manifest);
            say(format!("an index of {}", count(documents.count() as u64, "manifest", "manifests")));
        }
        line(all.top.digest.to_string())
    }

    /// What refers to what was copied, where that is wanted.
    fn referrers(&self, from: &Place, to: &Reference, subjects: &[Digest]) -> Result<(), CommandError> {
        let Place::Registry { name: from } = from else { return Ok(()) };
        if !self.command.referrers {
            return Ok(());
        }
        let (registry, transfer) = (self.registries.get()?, self.transfer);
        let copied = Referring { registry, from, to, transfer }.copy(subjects)?;
        if !self.command.quiet {
            say(count(copied as u64, "referrer", "referrers"));
        }
        Ok(())
    }

    fn pushed(&self, name: &Reference, pushed: Pushed) {
        if !self.command.quiet {
            say(summary(name, &pushed));
        }
    }
}

/// What an image is called where it goes.
fn names(from: &Place) -> ImageNames {
    let mut names = ImageNames::default();
    if let Place::Registry { name } = from {
        names.references.push(name.clone());
    }
    names
}

/// Which repository has the blobs: the one that they are copied from.
fn holders(from: &Place, blobs: impl IntoIterator<Item = Digest>) -> BTreeMap<Digest, BTreeSet<Reference>> {
    let Place::Registry { name } = from else { return BTreeMap::new() };
    blobs.into_iter().map(|digest| (digest, BTreeSet::from([name.clone()]))).collect()
}
