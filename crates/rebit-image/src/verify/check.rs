//! One image after another, blob by blob; findings are collected.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use rebit_layer::codec::decode::{self, DecodeLimits, Format};
use rebit_oci::config::ImageConfig;
use rebit_oci::manifest::{self, Compression, Descriptor, ImageIndex, ImageManifest, Kind, MediaType};
use rebit_oci::{DiffId, Digest, Raw};

use super::hash;
use super::{Finding, MAX_FINDINGS, VerifiedImage, VerifyError, VerifyReport};
use crate::transport::{MAX_DEPTH, Offer, Source, is_attestation, read_blob};
use crate::{ImageError, Platform};

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct Check {
    /// Whether a blob that cannot be read says nothing of the blob.
    strict: bool,
    findings: Vec<Finding>,
    more: bool,
    report: VerifyReport,
    /// Blobs that were read, or tried.
    pub(super) seen: BTreeSet<Digest>,
    /// Blobs that a manifest or index names.
    pub(super) named: BTreeSet<Digest>,
    /// Manifests and indexes.
    documents: BTreeSet<Digest>,
    layers: BTreeMap<Digest, Option<(DiffId, Format)>>,
}

impl Check {
    /// What cannot be read says nothing of what is there.
    pub(super) fn strict() -> Self {
        Self { strict: true, ..Self::default() }
    }

    pub(super) fn add(&mut self, blob: Option<Digest>, entry: Option<&str>, problem: String) {
        let finding = Finding { blob, entry: entry.map(str::to_owned), problem };
        if self.findings.contains(&finding) {
            return;
        }
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        } else {
            self.more = true;
        }
    }

    pub(super) fn orphan(&mut self, digest: Digest) {
        self.report.orphans.push(digest);
    }

    pub(super) fn unchecked(&mut self, name: &str) {
        self.report.unchecked.push(name.to_owned());
    }

    /// As [`note`](Self::note) for what makes a place one: what is not there at all is no damage, unless
    /// something else is known to be damaged.
    pub(super) fn opened<T>(&mut self, result: Result<T, ImageError>) -> Result<Option<T>, ImageError> {
        match result {
            Err(ImageError::NotFound { .. }) if !self.findings.is_empty() => Ok(None),
            Err(error @ (ImageError::NotFound { .. } | ImageError::Unsupported { .. })) => Err(error),
            other => self.note(other),
        }
    }

    /// Turns damage into a finding; other errors end the verification.
    pub(super) fn note<T>(&mut self, result: Result<T, ImageError>) -> Result<Option<T>, ImageError> {
        let error = match result {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        match error {
            ImageError::BlobIo { .. } if self.strict => return Err(error),
            ImageError::CorruptBlob { digest, reason } => self.add(Some(digest), None, reason),
            ImageError::CorruptEntry { entry, reason, .. } => self.add(None, Some(&entry), reason),
            ImageError::BlobIo { digest, source } => {
                self.add(Some(digest), None, format!("it cannot be read: {}", chain(&source)));
            }
            ImageError::Io { .. } | ImageError::Ambiguous { .. } | ImageError::Place { .. } => {
                return Err(error);
            }
            // The store tells damage from trouble, but both mean that the image cannot be trusted.
            other => self.add(None, None, chain(&other)),
        }
        Ok(None)
    }

    /// [`note`](Self::note) where the blob concerned is known.
    fn note_blob<T>(
        &mut self,
        digest: Digest,
        result: Result<T, ImageError>,
    ) -> Result<Option<T>, ImageError> {
        match result {
            Err(
                error @ (ImageError::Io { .. }
                | ImageError::Place { .. }
                | ImageError::CorruptBlob { .. }
                | ImageError::BlobIo { .. }),
            ) => self.note(Err(error)),
            Err(error @ ImageError::Unsupported { .. }) if self.strict => Err(error),
            Err(ImageError::NotFound { .. }) => {
                self.add(Some(digest), None, "it is missing".to_owned());
                Ok(None)
            }
            Err(other) => {
                self.add(Some(digest), None, chain(&other));
                Ok(None)
            }
            Ok(value) => Ok(Some(value)),
        }
    }

    /// Checks a manifest or index and everything below it.
    pub(super) fn offer(&mut self, source: &dyn Source, offer: &Offer) -> Result<(), ImageError> {
        let names: Vec<String> = offer.tag.iter().chain(&offer.name).cloned().collect();
        if let Some(known) = self.report.images.iter_mut().find(|image| image.digest == offer.digest) {
            known.names.extend(names.iter().cloned());
            known.names.sort_unstable();
            known.names.dedup();
        }
        let found = Found {
            media_type: offer.media_type.clone(),
            digest: offer.digest,
            size: offer.size,
            platform: offer.platform.clone(),
            attestation: false,
        };
        self.document(source, &found, &names, 0)
    }

    fn document(
        &mut self,
        source: &dyn Source,
        found: &Found,
        names: &[String],
        depth: usize,
    ) -> Result<(), ImageError> {
        self.named.insert(found.digest);
        if !self.documents.insert(found.digest) {
            return Ok(());
        }
        let Some(bytes) = self.read(source, found.digest, found.size)? else { return Ok(()) };
        match manifest::kind(&found.media_type) {
            Kind::Manifest => {
                let parsed = Raw::parse("manifest", bytes).map_err(ImageError::from);
                match self.note_blob(found.digest, parsed)? {
                    Some(manifest) => self.image(source, &manifest, found, names),
                    None => Ok(()),
                }
            }
            Kind::ImageIndex if depth < MAX_DEPTH => {
                let parsed = Raw::<ImageIndex>::parse("image index", bytes).map_err(ImageError::from);
                let Some(index) = self.note_blob(found.digest, parsed)? else { return Ok(()) };
                self.media_type(found, index.value().media_type().as_ref());
                for child in index.value().manifests() {
                    if let Some(child) = self.found(found.digest, child) {
                        self.document(source, &child, names, depth + 1)?;
                    }
                }
                Ok(())
            }
            Kind::ImageIndex => {
                self.add(Some(found.digest), None, format!("indexes are nested more than {MAX_DEPTH} deep"));
                Ok(())
            }
            // Something that is not an image may be kept beside images: its digest is all there is to check.
            _ => Ok(()),
        }
    }

    /// A descriptor of the document `by`.
    fn found(&mut self, by: Digest, descriptor: &Descriptor) -> Option<Found> {
        match manifest::digest(descriptor) {
            Ok(digest) => Some(Found {
                media_type: descriptor.media_type().clone(),
                digest,
                size: descriptor.size(),
                platform: descriptor.platform().as_ref().map(Platform::of_descriptor),
                attestation: is_attestation(descriptor),
            }),
            Err(error) => {
                self.add(Some(by), None, error.to_string());
                None
            }
        }
    }

    fn read(
        &mut self,
        source: &dyn Source,
        digest: Digest,
        size: u64,
    ) -> Result<Option<Vec<u8>>, ImageError> {
        let bytes = self.note_blob(digest, read_blob(source, &digest, size))?;
        if self.seen.insert(digest) && bytes.is_some() {
            self.count(size);
        }
        Ok(bytes)
    }

    pub(super) fn count(&mut self, size: u64) {
        self.report.blobs += 1;
        self.report.bytes += size;
    }

    fn media_type(&mut self, found: &Found, stated: Option<&MediaType>) {
        if let Some(stated) = stated.filter(|stated| **stated != found.media_type) {
            let problem = format!("it says it is `{stated}`, and what names it says `{}`", found.media_type);
            self.add(Some(found.digest), None, problem);
        }
    }

    fn image(
        &mut self,
        source: &dyn Source,
        manifest: &Raw<ImageManifest>,
        found: &Found,
        names: &[String],
    ) -> Result<(), ImageError> {
        let digest = manifest.digest();
        self.media_type(found, manifest.value().media_type().as_ref());
        if manifest.value().schema_version() != 2 {
            self.add(Some(digest), None, "its schema version is not 2".to_owned());
        }
        let described = manifest.value().config();
        let Some(config) = self.found(digest, described) else { return Ok(()) };
        self.named.insert(config.digest);
        let layers: Vec<Found> =
            manifest.value().layers().iter().filter_map(|layer| self.found(digest, layer)).collect();
        self.named.extend(layers.iter().map(|layer| layer.digest));
        let bytes = self.read(source, config.digest, config.size)?;
        if found.attestation || manifest::kind(described.media_type()) != Kind::Config {
            // An artifact or attestation: its blobs are checked as blobs.
            for layer in layers {
                self.blob(source, layer.digest, layer.size)?;
            }
            return Ok(());
        }
        let parsed = bytes.map(|bytes| Raw::<ImageConfig>::parse("config", bytes).map_err(ImageError::from));
        let parsed = parsed.transpose();
        let Some(Some(config)) = self.note_blob(config.digest, parsed)? else {
            for layer in layers {
                self.layer(source, &layer, None)?;
            }
            return Ok(());
        };
        self.consistent(digest, &config, found, layers.len());
        let diff_ids = &config.value().rootfs.diff_ids;
        for (number, layer) in layers.iter().enumerate() {
            self.layer(source, layer, diff_ids.get(number).copied())?;
        }
        self.report.images.push(VerifiedImage {
            names: names.to_vec(),
            digest,
            config_digest: config.digest(),
            platform: Platform::of_config(config.value()),
            layers: layers.iter().map(|layer| layer.digest).zip(diff_ids.iter().copied()).collect(),
        });
        Ok(())
    }

    /// What config and manifest say of each other.
    fn consistent(&mut self, manifest: Digest, config: &Raw<ImageConfig>, found: &Found, layers: usize) {
        let value = config.value();
        let at = Some(config.digest());
        if value.rootfs.kind != "layers" {
            self.add(at, None, format!("its root file system is of type `{}`", value.rootfs.kind));
        }
        let diff_ids = value.rootfs.diff_ids.len();
        if diff_ids != layers {
            self.add(
                at,
                None,
                format!("it has {diff_ids} diff ids, and manifest {manifest} has {layers} layers"),
            );
        }
        let lines = value.history.iter().filter(|line| !line.empty_layer).count();
        if !value.history.is_empty() && lines != diff_ids {
            self.add(
                at,
                None,
                format!("{lines} lines of its history made a layer, and it has {diff_ids} diff ids"),
            );
        }
        if value.os.is_empty() || value.architecture.is_empty() {
            self.add(at, None, "it does not say what the image runs on".to_owned());
        }
        let platform = Platform::of_config(value);
        if let Some(stated) = found.platform.as_ref().filter(|stated| stated.fit(&platform).is_none()) {
            self.add(
                Some(manifest),
                None,
                format!("it is listed for {stated}, and its config is for {platform}"),
            );
        }
    }

    /// A blob of which only the digest can be checked.
    pub(super) fn blob(&mut self, source: &dyn Source, digest: Digest, size: u64) -> Result<(), ImageError> {
        if !self.seen.insert(digest) {
            return Ok(());
        }
        let read = source.open(&digest, size).and_then(|mut reader| {
            io::copy(&mut reader, &mut io::sink()).map_err(|error| ImageError::blob(digest, error))
        });
        if self.note_blob(digest, read)?.is_some() {
            self.count(size);
        }
        Ok(())
    }

    fn layer(
        &mut self,
        source: &dyn Source,
        layer: &Found,
        diff_id: Option<DiffId>,
    ) -> Result<(), ImageError> {
        let at = Some(layer.digest);
        let Kind::Layer(compression) = manifest::kind(&layer.media_type) else {
            self.add(at, None, format!("it is a layer of the unknown type `{}`", layer.media_type));
            return self.blob(source, layer.digest, layer.size);
        };
        let read = match self.layers.get(&layer.digest) {
            Some(known) => *known,
            None => {
                // What is not as it should be is looked at again, for the words.
                let whole = match diff_id {
                    Some(diff_id) => hash::segments(source, &layer.digest, layer.size, diff_id)?,
                    None => None,
                };
                let read = match whole {
                    Some(format) => diff_id.map(|diff_id| (diff_id, format)),
                    None => self.note_blob(layer.digest, read_layer(source, layer))?,
                };
                if self.seen.insert(layer.digest) && read.is_some() {
                    self.count(layer.size);
                }
                self.layers.insert(layer.digest, read);
                read
            }
        };
        let Some((found, format)) = read else { return Ok(()) };
        let expected = match compression {
            Compression::None => Format::Plain,
            Compression::Gzip => Format::Gzip,
            Compression::Zstd => Format::Zstd,
        };
        if format != expected {
            let problem = format!("it is {}, and its media type says {}", format.name(), expected.name());
            self.add(at, None, problem);
        }
        if let Some(diff_id) = diff_id.filter(|diff_id| *diff_id != found) {
            self.add(at, None, format!("its diff id is {found} where the config says {diff_id}"));
        }
        Ok(())
    }

    pub(super) fn finish(
        mut self,
        place: &str,
        expected: Option<Digest>,
    ) -> Result<VerifyReport, VerifyError> {
        let place = place.to_owned();
        if !self.findings.is_empty() {
            return Err(VerifyError::Findings { place, findings: self.findings, more: self.more });
        }
        if let Some(expected) = expected.filter(|expected| !self.documents.contains(expected)) {
            let found = self.report.images.iter().map(|image| image.digest).collect();
            return Err(VerifyError::NotExpected { place, expected, found });
        }
        self.report.orphans.sort_unstable();
        self.report.unchecked.sort_unstable();
        Ok(self.report)
    }
}

/// What a layer may decompress to. Nothing is kept here, so that no ratio is too high: whatever can be built can
/// be verified.
const DECODE: DecodeLimits = DecodeLimits { output: 1 << 40, ratio: u64::MAX, ratio_from: u64::MAX };

/// A descriptor, as far as it matters here.
#[derive(Debug)]
struct Found {
    media_type: MediaType,
    digest: Digest,
    size: u64,
    platform: Option<Platform>,
    /// What names it says that it describes an image and is none.
    attestation: bool,
}

/// Reads a layer blob to its end and computes its diff id.
fn read_layer(source: &dyn Source, layer: &Found) -> Result<(DiffId, Format), ImageError> {
    let mut reader = source.open(&layer.digest, layer.size)?;
    let plain = decode::open(&mut reader, DECODE).and_then(|decoder| {
        let format = decoder.format();
        Ok((DiffId(hash::elsewhere(decoder)?), format))
    });
    // Damage of the blob explains whatever the decoder met.
    io::copy(&mut reader, &mut io::sink()).map_err(|error| ImageError::blob(layer.digest, error))?;
    plain.map_err(|error| ImageError::CorruptBlob {
        digest: layer.digest,
        reason: format!("it cannot be decompressed: {}", chain(&error)),
    })
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
