//! From a place to a registry.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use rebit_image::ImageError;
use rebit_image::transport::{Document, Everything, ImageDocuments, Source};
use rebit_oci::manifest::{self, OCI_MANIFEST};
use rebit_oci::{Digest, Reference};
use rebit_remote::registry::{
    Access, Manifest, OpenBlob, Push, PushBlob, PushEvent, Pushed, Registry, RegistryError, Repository,
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
    sent(
        &repository,
        name,
        outgoing.transfer,
        &Sending { blobs: &blobs, open, before: &[], top: &manifest, tags: &tags_of(name) },
    )
}

/// An image index on its way out, with all below it.
pub(crate) struct OutgoingIndex<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) all: &'a Everything,
    /// Repositories that have blobs of it, wherever they are.
    pub(crate) holders: BTreeMap<Digest, BTreeSet<Reference>>,
    pub(crate) transfer: &'a Transfer,
}

/// Sends an index with all its images under a name: its tag, else its digest.
pub(crate) fn push_index(
    registry: &Registry,
    name: &Reference,
    outgoing: &OutgoingIndex<'_>,
) -> Result<Pushed, ImageError> {
    let OutgoingIndex { source, all, holders, transfer } = outgoing;
    if name.digest().is_some_and(|digest| digest != all.top.digest) {
        let what = format!("sending index {} under the name `{name}`", all.top.digest);
        return Err(ImageError::Unsupported { what });
    }
    let repository = registry.repository(name, Access::Push).map_err(|error| image_error(name, error))?;
    let blob = |(digest, size): (&Digest, &u64)| {
        let from = same_registry(name, holders.get(digest));
        PushBlob { digest: *digest, size: *size, from }
    };
    let blobs: Vec<PushBlob> = all.blobs.iter().map(blob).collect();
    let open: &OpenBlob<'_> = &|digest, size| Ok(source.open(digest, size)?);
    let manifest = |document: &Document| Manifest {
        digest: document.digest,
        media_type: document.media_type.to_string(),
        bytes: document.bytes.clone(),
    };
    let before: Vec<Manifest> = all.below.iter().map(manifest).collect();
    let top = manifest(&all.top);
    sent(
        &repository,
        name,
        transfer,
        &Sending { blobs: &blobs, open, before: &before, top: &top, tags: &tags_of(name) },
    )
}

/// The tag of a name, if it has one.
fn tags_of(name: &Reference) -> Vec<String> {
    name.tag().map(str::to_owned).into_iter().collect()
}

/// What goes to a repository.
pub(super) struct Sending<'a> {
    pub(super) blobs: &'a [PushBlob],
    pub(super) open: &'a OpenBlob<'a>,
    pub(super) before: &'a [Manifest],
    pub(super) top: &'a Manifest,
    pub(super) tags: &'a [String],
}

pub(super) fn sent(
    repository: &Repository,
    name: &Reference,
    transfer: &Transfer,
    sending: &Sending<'_>,
) -> Result<Pushed, ImageError> {
    let observe = |event: PushEvent<'_>| match event {
        PushEvent::Bytes { blob, count } => transfer.add(&blob.digest, blob.size, count),
        PushEvent::Done { blob, how } => transfer.done(&blob.digest, blob.size, how),
    };
    // A reader that lives for as long as this does.
    let open: &OpenBlob<'_> = &|digest, size| (sending.open)(digest, size);
    let push = Push {
        blobs: sending.blobs,
        open,
        before: sending.before,
        manifest: sending.top,
        tags: sending.tags,
        jobs: STREAMS,
        observe: &observe,
    };
    repository.push(&push).map_err(|error| match error {
        // What the source says of itself needs no frame around it.
        RegistryError::Source { source, what } => match source.downcast::<ImageError>() {
            Ok(error) => *error,
            Err(source) => image_error(name, RegistryError::Source { source, what }),
        },
        error => image_error(name, error),
    })
}

/// Repositories of the registry of `name` among those that have a blob.
pub(super) fn same_registry(name: &Reference, holders: Option<&BTreeSet<Reference>>) -> Vec<String> {
    let same = holders
        .into_iter()
        .flatten()
        .filter(|holder| holder.registry() == name.registry() && holder.repository() != name.repository());
    let names: BTreeSet<&str> = same.map(Reference::repository).collect();
    names.into_iter().take(MAX_HOLDERS).map(str::to_owned).collect()
}

/// The blobs of an image, each once, with the repositories of the same registry that may have them.
fn blobs(name: &Reference, outgoing: &Outgoing<'_>) -> Result<Vec<PushBlob>, ImageError> {
    let image = outgoing.image;
    let mut blobs: Vec<PushBlob> = Vec::new();
    for layer in image.manifest.value().layers() {
        let digest = manifest::digest(layer)?;
        if !blobs.iter().any(|blob| blob.digest == digest) {
            blobs.push(PushBlob {
                digest,
                size: layer.size(),
                from: same_registry(name, outgoing.holders.get(&digest)),
            });
        }
    }
    let config = image.config.digest();
    if !blobs.iter().any(|blob| blob.digest == config) {
        blobs.push(PushBlob { digest: config, size: image.config.size(), from: Vec::new() });
    }
    Ok(blobs)
}
