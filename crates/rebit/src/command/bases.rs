//! Base images: from the store, else from their registries (Docker's rules of `--pull`).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use rebit_build::Images;
use rebit_build::graph::BuildPlatform;
use rebit_build::plan::{self, BasesError};
use rebit_image::{ImageError, Platform, StoredImage};
use rebit_oci::config::ImageConfig;
use rebit_oci::{Digest, Reference};
use rebit_sandbox::StopFlag;
use rebit_store::Session;

use super::dockerfile::Input;
use crate::assembly::Assembly;
use crate::environment;
use crate::error::CommandError;
use crate::flags::{BuildSource, NetworkFlag, PullFlag};
use crate::output::say;
use crate::progress::Transfer;
use crate::registry::{Pull, Registries};

/// How far base images are got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// They are needed whole.
    Whole,
    /// What they are is enough; what the store lacks is not taken in.
    Config,
}

/// Base images; those that were found are kept for the build.
pub(crate) struct Bases<'a> {
    session: &'a Session,
    /// Images that contexts brought along, which have no name.
    imported: &'a [StoredImage],
    /// Images that a recipe beside the Dockerfile has.
    assembly: Option<&'a Assembly>,
    found: Mutex<BTreeMap<Digest, StoredImage>>,
    registries: Registries,
    pull: PullFlag,
    depth: Depth,
    transfer: Transfer,
}

impl<'a> Bases<'a> {
    pub(crate) fn new(
        session: &'a Session,
        input: &'a Input,
        source: &BuildSource,
        depth: Depth,
        quiet: bool,
        stop: &StopFlag,
    ) -> Self {
        // A build without a network asks no registry.
        let pull = if source.network == NetworkFlag::None { PullFlag::Never } else { source.pull };
        Self {
            session,
            imported: &input.images,
            assembly: input.assembly.as_ref(),
            found: Mutex::default(),
            registries: Registries::new(stop),
            pull,
            depth,
            transfer: Transfer::new(quiet),
        }
    }

    fn stored(&self, name: &Reference, platform: &Platform) -> Result<Option<StoredImage>, BasesError> {
        let imported = |image: &&StoredImage| {
            name.digest() == Some(image.manifest.digest()) && name.registry() == "localhost"
        };
        if let Some(image) = self.imported.iter().find(imported) {
            return Ok(Some(image.clone()));
        }
        rebit_image::find_for(self.session, name, platform, environment::now())
            .map_err(|source| BasesError::Unreadable { source: Box::new(source) })
    }

    fn take(&self, image: StoredImage) -> (Digest, ImageConfig) {
        let (digest, config) = (image.manifest.digest(), image.config.value().clone());
        self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, image);
        (digest, config)
    }

    /// A build needs the files, too.
    fn take_stored(&self, name: &Reference, image: StoredImage) -> Result<(Digest, ImageConfig), BasesError> {
        let image = match self.depth {
            Depth::Config => image,
            Depth::Whole => {
                let name = self.transfer.is_shown().then(|| name.familiar());
                super::unpacked(self.session, image, name.as_deref())
                    .map_err(|source| BasesError::Unreadable { source: Box::new(source) })?
            }
        };
        Ok(self.take(image))
    }

    fn ask_registry(
        &self,
        name: &Reference,
        platform: &Platform,
        names: &[Reference],
    ) -> Result<(Digest, ImageConfig), BasesError> {
        let registry = self.registries.get().map_err(|error| unusable(&error))?;
        let pull = Pull {
            session: self.session,
            registry,
            platform: platform.clone(),
            any_platform: false,
            unpack: true,
            now: environment::now(),
            transfer: &self.transfer,
        };
        let unavailable = |error| match error {
            ImageError::NoPlatform { wanted, available } => {
                BasesError::WrongPlatform { found: available.join(", "), wanted: wanted.to_string() }
            }
            error => BasesError::Unavailable { source: Box::new(error) },
        };
        if self.depth == Depth::Config {
            let image = pull.look(name).map_err(unavailable)?;
            return Ok((image.manifest.digest(), image.config.value().clone()));
        }
        if self.transfer.is_shown() {
            say(format!("pulling {name}"));
        }
        pull.run(name, names).map(|pulled| self.take(pulled.image)).map_err(unavailable)
    }
}

fn unusable(error: &CommandError) -> BasesError {
    let text = error.text.trim_start_matches("error: ").to_owned();
    BasesError::Unavailable { source: text.into() }
}

impl plan::Bases for Bases<'_> {
    fn base(
        &self,
        reference: &Reference,
        platform: &BuildPlatform,
    ) -> Result<(Digest, ImageConfig), BasesError> {
        let BuildPlatform { os, architecture, variant } = platform.clone();
        let wanted = Platform { os, architecture, variant };
        // What a recipe says of a name comes before what the name means elsewhere.
        let assembled =
            self.assembly.and_then(|assembly| assembly.base(self.session, reference, platform)).transpose();
        let assembled = assembled.map_err(|source| BasesError::Unreadable { source: Box::new(source) })?;
        let is_assembled = assembled.is_some();
        let stored = match assembled {
            Some(image) => Some(image),
            None => self.stored(reference, &wanted)?,
        };
        let fits = |image: &StoredImage| {
            let config = image.config.value();
            (&config.os, &config.architecture) == (&platform.os, &platform.architecture)
        };
        // What is there by its digest cannot be another one at the registry.
        let is_sure = reference.digest().is_some() || reference.registry() == "localhost";
        let asks = self.pull == PullFlag::Always && !is_sure && !is_assembled;
        match stored {
            Some(image) if fits(&image) && !asks => self.take_stored(reference, image),
            None if self.pull == PullFlag::Never => Err(BasesError::NotFound),
            Some(image) if self.pull == PullFlag::Never || is_assembled => {
                let config = image.config.value();
                let found = format!("{}/{}", config.os, config.architecture);
                Err(BasesError::WrongPlatform { found, wanted: platform.to_string() })
            }
            // A name stands for one platform in the store; the image for another one goes by its digest.
            Some(image) if !fits(&image) => self.ask_registry(reference, &wanted, &[]),
            Some(_) => {
                let got = self.ask_registry(reference, &wanted, std::slice::from_ref(reference));
                got.map_err(|error| match error {
                    BasesError::Unavailable { source } => BasesError::Unasked { source },
                    error => error,
                })
            }
            None => self.ask_registry(reference, &wanted, std::slice::from_ref(reference)),
        }
    }
}

impl Images for Bases<'_> {
    fn image(&self, manifest: &Digest) -> Option<StoredImage> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).get(manifest).cloned()
    }
}
