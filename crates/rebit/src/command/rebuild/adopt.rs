//! What is not given on the command line is taken from what is known of the image.

use rebit_build::time::{parse_rfc3339, rfc3339};
use rebit_image::provenance::Parameters;
use rebit_image::{Provenance, StoredImage};
use rebit_oci::manifest::{self, Compression, Kind};

use super::pairs;
use crate::environment;
use crate::error::CommandError;
use crate::flags::{BuildMeans, BuildSource, CompressionFlag, ContextModes, Verify};

/// The flags of the rebuild.
pub(super) struct Adopted {
    pub(super) source: BuildSource,
    pub(super) means: BuildMeans,
    /// What was taken and from where, in words.
    pub(super) taken: Vec<String>,
}

/// What an image without a provenance is asked.
const CONFIG: &str = "the image";
const PROVENANCE: &str = "its provenance";

/// Fills in what is not given.
pub(super) fn adopt(
    command: &Verify,
    given: &StoredImage,
    known: Option<&Provenance>,
) -> Result<Adopted, CommandError> {
    let mut adopted =
        Adopted { source: command.source.clone(), means: command.means.clone(), taken: Vec::new() };
    adopted.epoch(given, known)?;
    match known {
        Some(known) => adopted.parameters(known.parameters()),
        None => adopted.packing(given),
    }
    let annotations = given.manifest.value().annotations().clone().unwrap_or_default().into_iter().collect();
    if adopted.means.annotations.is_empty() {
        for pair in pairs(&annotations) {
            adopted.took(CONFIG, &format!("annotation {pair}"));
            adopted.means.annotations.push(pair);
        }
    }
    if adopted.source.platform.is_none() {
        let platform = given.platform().to_string();
        if platform != environment::native_platform().to_string() {
            adopted.took(CONFIG, &format!("platform {platform}"));
            adopted.source.platform = Some(platform);
        }
    }
    Ok(adopted)
}

impl Adopted {
    fn took(&mut self, from: &str, what: &str) {
        self.taken.push(format!("{from}: {what}"));
    }

    /// The time that everything in the image has. A config of another builder has one when it was told it, and else a fraction of a
    /// second, which no epoch has.
    fn epoch(&mut self, given: &StoredImage, known: Option<&Provenance>) -> Result<(), CommandError> {
        let named = |arg: &String| arg.split('=').next() == Some("SOURCE_DATE_EPOCH");
        if self.source.build_args.iter().any(named) || environment::source_date_epoch(None)?.is_some() {
            return Ok(());
        }
        let created = || given.config.value().created.as_deref().and_then(parse_rfc3339);
        let found = match known {
            Some(known) => Some((PROVENANCE, known.work().epoch)),
            None => created().map(|epoch| (CONFIG, epoch)),
        };
        if let Some((from, epoch)) = found {
            self.took(from, &format!("epoch {epoch} ({})", rfc3339(epoch)));
            self.source.epoch = Some(epoch);
        }
        Ok(())
    }

    fn parameters(&mut self, known: &Parameters) {
        let absent =
            |given: &[String], name: &str| !given.iter().any(|text| text.split('=').next() == Some(name));
        for (name, value) in &known.build_args {
            if absent(&self.source.build_args, name) {
                self.took(PROVENANCE, &format!("build argument {name}={value}"));
                self.source.build_args.push(format!("{name}={value}"));
            }
        }
        for (name, value) in &known.labels {
            if absent(&self.source.labels, name) {
                self.took(PROVENANCE, &format!("label {name}={value}"));
                self.source.labels.push(format!("{name}={value}"));
            }
        }
        if self.source.add_hosts.is_empty() && !known.hosts.is_empty() {
            self.took(PROVENANCE, &format!("hosts {}", known.hosts.join(" ")));
            self.source.add_hosts.clone_from(&known.hosts);
        }
        if self.source.fix.is_empty() && !known.fixers.is_empty() {
            self.took(PROVENANCE, &format!("fixers {}", known.fixers.join(", ")));
            let name = |fixer: &String| fixer.split(' ').next().unwrap_or_default().to_owned();
            self.source.fix = known.fixers.iter().map(name).collect();
        }
        if let (None, Some(target)) = (&self.source.target, &known.target) {
            self.took(PROVENANCE, &format!("target {target}"));
            self.source.target = Some(target.clone());
        }
        let modes = [ContextModes::Shared, ContextModes::Keep, ContextModes::Executable];
        let modes = modes.into_iter().find(|modes| modes.name() == known.modes);
        if let Some(modes) = modes.filter(|modes| *modes != ContextModes::Shared)
            && self.source.context_modes == ContextModes::Shared
        {
            self.took(PROVENANCE, &format!("modes {}", known.modes));
            self.source.context_modes = modes;
        }
        let compressions = [CompressionFlag::Gzip, CompressionFlag::Zstd, CompressionFlag::None];
        let named = |flag: &CompressionFlag| crate::command::compression(*flag).name() == known.compression;
        self.compression(PROVENANCE, compressions.into_iter().find(named));
    }

    /// How the image's own layers are packed, by the last one.
    fn packing(&mut self, given: &StoredImage) {
        let kind = given.layers.last().map(|layer| manifest::kind(&layer.media_type));
        let flag = match kind {
            Some(Kind::Layer(Compression::Zstd)) => Some(CompressionFlag::Zstd),
            Some(Kind::Layer(Compression::None)) => Some(CompressionFlag::None),
            _ => None,
        };
        self.compression(CONFIG, flag);
    }

    fn compression(&mut self, from: &str, flag: Option<CompressionFlag>) {
        let Some(flag) = flag.filter(|_| self.means.compression.is_none()) else { return };
        if flag != CompressionFlag::default() {
            self.took(from, &format!("compression {}", crate::command::compression(flag).name()));
        }
        self.means.compression = Some(flag);
    }
}
