//! The provenance of an image beside it at its registry (`docs/format/provenance.md`, "At a registry").

use std::collections::BTreeMap;
use std::io::Read as _;

use rebit_image::provenance::{MAX_PROVENANCE, PREDICATE_TYPE, Provenance, sha256};
use rebit_image::{ImageError, StoredImage};
use rebit_oci::manifest::{self, ImageManifest, OCI_MANIFEST};
use rebit_oci::{Digest, Reference};
use rebit_remote::registry::{
    Access, Attached, Attachment, Referrer, Registry, RegistryError, Repository, Wanted,
};

use super::image_error;

/// The media type of a statement, and the type of the artifact that has one.
const STATEMENT: &str = "application/vnd.in-toto+json";
/// The annotation that says what is stated, as BuildKit has it.
const PREDICATE: &str = "in-toto.io/predicate-type";
/// How many statements of an image are looked at.
const MAX_STATEMENTS: usize = 16;

/// Puts a provenance document beside an image that is at the registry.
pub(crate) fn publish(
    registry: &Registry,
    name: &Reference,
    image: &StoredImage,
    document: &[u8],
) -> Result<Attached, ImageError> {
    let media_type = image.manifest.value().media_type().as_ref();
    let attachment = Attachment {
        subject_type: &media_type.map_or_else(|| OCI_MANIFEST.to_owned(), ToString::to_string),
        subject: image.digest(),
        subject_size: image.manifest.size(),
        artifact_type: STATEMENT,
        annotations: BTreeMap::from([(PREDICATE.to_owned(), PREDICATE_TYPE.to_owned())]),
        content: document,
    };
    let repository = registry.repository(name, Access::Push);
    let attached = repository.and_then(|repository| repository.attach(&attachment));
    attached.map_err(|error| image_error(name, error))
}

/// The provenance that a registry has of an image. It is about this image; who put it there is the registry's to say.
///
/// Returns the first one of ours, else the number of statements that are others'.
pub(crate) fn published(
    registry: &Registry,
    name: &Reference,
    image: &Digest,
) -> Result<Result<Vec<u8>, usize>, ImageError> {
    let failed = |error| image_error(name, error);
    let repository = registry.repository(name, Access::Pull).map_err(failed)?;
    let mut others = 0;
    let referrers = repository.referrers(image).map_err(failed)?;
    let is_statement = |referrer: &&Referrer| {
        referrer.artifact_type.as_deref() == Some(STATEMENT)
            && referrer.annotations.get(PREDICATE).is_none_or(|kind| kind == PREDICATE_TYPE)
    };
    for referrer in referrers.iter().filter(is_statement).take(MAX_STATEMENTS) {
        let found = statement(&repository, &referrer.digest, image).map_err(failed)?;
        match found.map(|bytes| (is_about(&bytes, image), bytes)) {
            Some((true, bytes)) => return Ok(Ok(bytes)),
            _ => others += 1,
        }
    }
    Ok(Err(others))
}

/// The statement that an artifact has, when it is about `image` and no larger than one may be.
fn statement(
    repository: &Repository,
    artifact: &Digest,
    image: &Digest,
) -> Result<Option<Vec<u8>>, RegistryError> {
    let found = repository.manifest(Wanted::Digest(artifact))?;
    let Ok(found) = serde_json::from_slice::<ImageManifest>(&found.bytes) else { return Ok(None) };
    let subject = found.subject().as_ref().and_then(|subject| manifest::digest(subject).ok());
    let layer = found.layers().iter().find(|layer| layer.media_type().to_string() == STATEMENT);
    let Some(layer) = layer.filter(|layer| subject == Some(*image) && layer.size() <= MAX_PROVENANCE) else {
        return Ok(None);
    };
    let Ok(digest) = manifest::digest(layer) else { return Ok(None) };
    let mut bytes = Vec::new();
    let read = repository.blob(&digest, layer.size())?.read_to_end(&mut bytes);
    match read {
        Ok(_) => Ok(Some(bytes)),
        Err(error) => Err(RegistryError::Source { what: format!("blob {digest}"), source: Box::new(error) }),
    }
}

/// Whether bytes are a provenance of ours of this image.
fn is_about(bytes: &[u8], image: &Digest) -> bool {
    Provenance::decode(bytes)
        .is_ok_and(|found| found.subject.iter().any(|subject| subject.digest == sha256(image)))
}
