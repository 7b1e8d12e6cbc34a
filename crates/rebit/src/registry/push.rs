//! From a place to a registry.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use rebit_image::ImageError;
use rebit_image::transport::{ImageDocuments, Source};
use rebit_oci::manifest::{self, OCI_MANIFEST};
use rebit_oci::{Digest, Reference};
use rebit_remote::registry::{
    Access, Manifest, OpenBlob, Push, PushBlob, PushEvent, Pushed, Registry, RegistryError,
};

use super::image_error;
use crate::progress::Transfer;

/// How many blobs go at the same time.
const STREAMS: NonZeroUsize = NonZeroUsize::new(4).unwrap();
/// How many repositories are asked for a blob that another image has.
const MAX_HOLDERS: usize = 3;

/// An image on its way out.
pub(crate) struct Outgoing<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) image: &'a ImageDocuments,
    /// Repositories that have blobs of it, wherever they are.
    pub(crate) holders: BTreeMap<Digest, BTreeSet<Reference>>,
    pub(crate) transfer: &'a Transfer,
}

/// Sends an image under a name: its tag, else its digest.
pub(crate) fn push(
    registry: &Registry,
    name: &Reference,
    outgoing: &Outgoing<'_>,
) -> Result<Pushed, ImageError> {
    let failed = |error| image_error(name, error);
    let document = &outgoing.image.manifest;
    if name.digest().is_some_and(|digest| digest != document.digest()) {
        let what = format!("sending image {} under the name `{name}`", document.digest());
        return Err(ImageError::Unsupported { what });
    }
    let repository = registry.repository(name, Access::Push).map_err(failed)?;
    let blobs = blobs(name, outgoing)?;
    let (config, source) = (&outgoing.image.config, outgoing.source);
    let open: &OpenBlob<'_> = &move |digest, size| {
        if *digest == config.digest() {
            return Ok(Box::new(config.bytes()));
        }
        Ok(source.open(digest, size)?)
    };
    let media_type = document.value().media_type().as_ref();
    let manifest = Manifest {
        digest: document.digest(),
        media_type: media_type.map_or_else(|| OCI_MANIFEST.to_owned(), ToString::to_string),
        bytes: document.bytes().to_vec(),
    };
    let observe = |event: PushEvent<'_>| match event {
        PushEvent::Bytes { blob, count } => outgoing.transfer.add(&blob.digest, blob.size, count),
        PushEvent::Done { blob, how } => outgoing.transfer.done(&blob.digest, blob.size, how),
    };
    let tags: Vec<String> = name.tag().map(str::to_owned).into_iter().collect();
    let push =
        Push { blobs: &blobs, open, manifest: &manifest, tags: &tags, jobs: STREAMS, observe: &observe };
    repository.push(&push).map_err(|error| match error {
        // What the source says of itself needs no frame around it.
        RegistryError::Source { source, what } => match source.downcast::<ImageError>() {
            Ok(error) => *error,
            Err(source) => failed(RegistryError::Source { source, what }),
        },
        error => failed(error),
    })
}

/// The blobs of an image, each once, with the repositories of the same registry that may have them.
fn blobs(name: &Reference, outgoing: &Outgoing<'_>) -> Result<Vec<PushBlob>, ImageError> {
    let image = outgoing.image;
    let from = |digest: &Digest| -> Vec<String> {
        let holders = outgoing.holders.get(digest).into_iter().flatten();
        let same = holders.filter(|holder| {
            holder.registry() == name.registry() && holder.repository() != name.repository()
        });
        let names: BTreeSet<&str> = same.map(Reference::repository).collect();
        names.into_iter().take(MAX_HOLDERS).map(str::to_owned).collect()
    };
    let mut blobs: Vec<PushBlob> = Vec::new();
    for layer in image.manifest.value().layers() {
        let digest = manifest::digest(layer)?;
        if !blobs.iter().any(|blob| blob.digest == digest) {
            blobs.push(PushBlob { digest, size: layer.size(), from: from(&digest) });
        }
    }
    let config = image.config.digest();
    if !blobs.iter().any(|blob| blob.digest == config) {
        blobs.push(PushBlob { digest: config, size: image.config.size(), from: Vec::new() });
    }
    Ok(blobs)
}
