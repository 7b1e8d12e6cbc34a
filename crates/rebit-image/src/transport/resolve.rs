//! From what a place offers to one manifest.

use std::collections::BTreeSet;
use std::io::Read;

use rebit_oci::document::MAX_DOCUMENT;
use rebit_oci::manifest::{self, Descriptor, ImageIndex, ImageManifest, Kind};
use rebit_oci::{Digest, Raw};

use super::{ImageDocuments, Offer, Source};
use crate::{ImageError, Platform};

/// How deep indexes may be nested.
pub(crate) const MAX_DEPTH: usize = 4;
/// Most manifests of one index.
pub(super) const MAX_CHILDREN: usize = 1000;
/// What BuildKit puts on a manifest that is not an image but describes one.
const ATTESTATION: &str = "vnd.docker.reference.type";

/// Reads a small blob whole, verified.
pub(crate) fn read_blob(source: &dyn Source, digest: &Digest, size: u64) -> Result<Vec<u8>, ImageError> {
    if size > MAX_DOCUMENT {
        return Err(ImageError::Limit {
            what: format!("the size of document {digest}"),
            limit: MAX_DOCUMENT,
        });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    let mut reader = source.open(digest, size)?;
    reader.read_to_end(&mut bytes).map_err(|error| ImageError::blob(*digest, error))?;
    Ok(bytes)
}

/// Reads a manifest and its config.
pub(crate) fn documents(
    source: &dyn Source,
    digest: &Digest,
    size: u64,
) -> Result<ImageDocuments, ImageError> {
    let manifest = Raw::<ImageManifest>::parse("manifest", read_blob(source, digest, size)?)?;
    let described = manifest.value().config();
    if manifest::kind(described.media_type()) != Kind::Config {
        let what = format!("manifest {digest} with a config of type `{}`", described.media_type());
        return Err(ImageError::Unsupported { what });
    }
    let config_digest = manifest::digest(described)?;
    let config = Raw::parse("config", read_blob(source, &config_digest, described.size())?)?;
    Ok(ImageDocuments { manifest, config })
}

/// A manifest of an index, with what it is for.
struct Candidate {
    digest: Digest,
    size: u64,
    platform: Option<Platform>,
}

/// Chooses the image for `wanted` and reads its documents.
///
/// A place that offers one image gives that one; it must be for `wanted` unless `any_platform`. Of an index
/// the best fitting manifest is taken. Several images at the top of a place can only be told apart by
/// platform when they go by the same name.
///
/// # Errors
/// [`ImageError::NotFound`] when nothing is offered, [`ImageError::Ambiguous`] when several images are,
/// [`ImageError::NoPlatform`] when there is none for `wanted`.
pub fn select(
    source: &dyn Source,
    wanted: &Platform,
    any_platform: bool,
) -> Result<ImageDocuments, ImageError> {
    let offers = source.offers()?;
    let Some(first) = offers.first() else {
        return Err(ImageError::NotFound { what: "an image".to_owned(), place: source.place() });
    };
    let distinct: BTreeSet<Digest> = offers.iter().map(|offer| offer.digest).collect();
    if distinct.len() > 1 {
        let one_name = offers.iter().all(|offer| (&offer.tag, &offer.name) == (&first.tag, &first.name));
        if !one_name || offers.iter().any(|offer| offer.platform.is_none()) {
            return Err(ambiguous(source, &offers));
        }
        let candidates = offers.iter().map(|offer| Candidate {
            digest: offer.digest,
            size: offer.size,
            platform: offer.platform.clone(),
        });
        return choose(source, candidates.collect(), wanted, any_platform);
    }
    let mut offer = Candidate { digest: first.digest, size: first.size, platform: None };
    let mut media_type = first.media_type.clone();
    for _ in 0..MAX_DEPTH {
        match manifest::kind(&media_type) {
            Kind::ImageIndex => {}
            Kind::Manifest => {
                return checked(documents(source, &offer.digest, offer.size)?, wanted, any_platform);
            }
            _ => {
                let what = format!("manifest {} of type `{media_type}`", offer.digest);
                return Err(ImageError::Unsupported { what });
            }
        }
        let index = Raw::<ImageIndex>::parse("image index", read_blob(source, &offer.digest, offer.size)?)?;
        let children = index.value().manifests();
        let nested = children.iter().find(|child| manifest::kind(child.media_type()) == Kind::ImageIndex);
        match (children.len(), nested) {
            (1, Some(child)) => {
                media_type = child.media_type().clone();
                offer = Candidate { digest: manifest::digest(child)?, size: child.size(), platform: None };
            }
            _ => return choose(source, candidates(&index)?, wanted, any_platform),
        }
    }
    Err(too_deep())
}

pub(super) fn too_deep() -> ImageError {
    ImageError::Limit { what: "the depth of nested image indexes".to_owned(), limit: MAX_DEPTH as u64 }
}

pub(super) fn too_many(index: &Digest) -> ImageError {
    let what = format!("the number of manifests in index {index}");
    ImageError::Limit { what, limit: MAX_CHILDREN as u64 }
}

fn candidates(index: &Raw<ImageIndex>) -> Result<Vec<Candidate>, ImageError> {
    let children = index.value().manifests();
    if children.len() > MAX_CHILDREN {
        return Err(too_many(&index.digest()));
    }
    let mut candidates = Vec::new();
    for child in children {
        if manifest::kind(child.media_type()) == Kind::Manifest && !is_attestation(child) {
            candidates.push(Candidate {
                digest: manifest::digest(child)?,
                size: child.size(),
                platform: child.platform().as_ref().map(Platform::of_descriptor),
            });
        }
    }
    Ok(candidates)
}

/// Whether an index says of a manifest that it is no image.
pub(crate) fn is_attestation(child: &Descriptor) -> bool {
    child.annotations().as_ref().is_some_and(|annotations| annotations.contains_key(ATTESTATION))
}

fn choose(
    source: &dyn Source,
    mut candidates: Vec<Candidate>,
    wanted: &Platform,
    any_platform: bool,
) -> Result<ImageDocuments, ImageError> {
    for candidate in &mut candidates {
        // A layout may hold only some of the manifests of an index: the others cannot be asked.
        if candidate.platform.is_none() && source.stat(&candidate.digest)?.is_some() {
            let found = documents(source, &candidate.digest, candidate.size)?;
            candidate.platform = Some(Platform::of_config(found.config.value()));
        }
    }
    let fit = |candidate: &Candidate| candidate.platform.as_ref().and_then(|found| wanted.fit(found));
    let best = candidates.iter().filter_map(|candidate| Some((fit(candidate)?, candidate)));
    match (best.min_by_key(|(fit, _)| *fit), candidates.as_slice()) {
        (Some((_, best)), _) => documents(source, &best.digest, best.size),
        (None, [only]) if any_platform => documents(source, &only.digest, only.size),
        (None, _) => Err(ImageError::NoPlatform {
            wanted: wanted.clone(),
            available: candidates
                .iter()
                .filter_map(|c| c.platform.as_ref().map(ToString::to_string))
                .collect(),
        }),
    }
}

fn checked(
    found: ImageDocuments,
    wanted: &Platform,
    any_platform: bool,
) -> Result<ImageDocuments, ImageError> {
    let platform = Platform::of_config(found.config.value());
    if any_platform || wanted.fit(&platform).is_some() {
        return Ok(found);
    }
    Err(ImageError::NoPlatform { wanted: wanted.clone(), available: vec![platform.to_string()] })
}

pub(super) fn ambiguous(source: &dyn Source, offers: &[Offer]) -> ImageError {
    let name = |offer: &Offer| offer.tag.clone().or_else(|| offer.name.clone());
    ImageError::Ambiguous {
        name: String::new(),
        place: source.place(),
        candidates: offers
            .iter()
            .take(20)
            .map(|offer| name(offer).unwrap_or_else(|| offer.digest.to_string()))
            .collect(),
    }
}
