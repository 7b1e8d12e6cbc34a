//! What refers to manifests, from one repository to another.

use rebit_image::ImageError;
use rebit_image::transport::Source as _;
use rebit_oci::manifest::{self, ImageManifest, Kind, MediaType, kind};
use rebit_oci::{Digest, Reference};
use rebit_remote::registry::{
    Access, Manifest, OpenBlob, PushBlob, Referrer, Registry, RegistryError, Repository, Wanted,
};

use super::push::{Sending, same_registry, sent};
use super::{RegistrySource, image_error};
use crate::progress::Transfer;

/// Where referrers are copied from and to.
pub(crate) struct Referring<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) from: &'a Reference,
    pub(crate) to: &'a Reference,
    pub(crate) transfer: &'a Transfer,
}

impl Referring<'_> {
    /// Copies what refers to these manifests, which are at both places; says how many there were. What refers to what refers is left.
    pub(crate) fn copy(&self, subjects: &[Digest]) -> Result<usize, ImageError> {
        let failed = |error| image_error(self.from, error);
        let source = self.registry.repository(self.from, Access::Pull).map_err(failed)?;
        let target = self.registry.repository(self.to, Access::Push);
        let target = target.map_err(|error| image_error(self.to, error))?;
        let mut count = 0;
        for subject in subjects {
            for referrer in source.referrers(subject).map_err(failed)? {
                self.one(&source, &target, subject, &referrer)?;
                count += 1;
            }
        }
        Ok(count)
    }

    fn one(
        &self,
        source: &Repository,
        target: &Repository,
        subject: &Digest,
        referrer: &Referrer,
    ) -> Result<(), ImageError> {
        if kind(&MediaType::from(referrer.media_type.as_str())) != Kind::Manifest {
            let what = format!("referrer {} of type `{}`", referrer.digest, referrer.media_type);
            return Err(ImageError::Unsupported { what });
        }
        let found = source.manifest(Wanted::Digest(&referrer.digest));
        let found = found.map_err(|error| image_error(self.from, error))?;
        let corrupt = |reason: String| ImageError::CorruptBlob { digest: referrer.digest, reason };
        let parsed: ImageManifest = serde_json::from_slice(&found.bytes)
            .map_err(|error| corrupt(format!("it is no manifest: {error}")))?;
        let about = parsed.subject().as_ref().and_then(|about| manifest::digest(about).ok());
        if about != Some(*subject) {
            return Err(corrupt(format!("it is listed for {subject} and is not about that")));
        }
        self.blobs(target, &parsed, &found)?;
        let put = target.put_referrer(subject, &found, referrer);
        put.map(drop).map_err(|error: RegistryError| image_error(self.to, error))
    }

    /// Sends the blobs of a manifest, and it by its digest.
    fn blobs(&self, target: &Repository, parsed: &ImageManifest, found: &Manifest) -> Result<(), ImageError> {
        let holders = [self.from.clone()].into();
        let mut blobs: Vec<PushBlob> = Vec::new();
        for described in parsed.layers().iter().chain([parsed.config()]) {
            let (digest, size) = (manifest::digest(described)?, described.size());
            if !blobs.iter().any(|blob| blob.digest == digest) {
                blobs.push(PushBlob { digest, size, from: same_registry(self.to, Some(&holders)) });
            }
        }
        let reader = RegistrySource::new(self.registry, self.from, self.transfer)?;
        let open: &OpenBlob<'_> = &|digest, size| Ok(reader.open(digest, size)?);
        let sending = Sending { blobs: &blobs, open, before: &[], top: found, tags: &[] };
        sent(target, self.to, self.transfer, &sending).map(drop)
    }
}
