//! Documents about a manifest, beside it at its registry (OCI 1.1's `subject` and referrers).

use std::collections::BTreeMap;

use rebit_oci::manifest::{OCI_INDEX, OCI_MANIFEST};
use rebit_oci::{Digest, json};
use serde_json::{Value, json};
use ureq::http::Method;

use super::host::Call;
use super::repository::{Repository, Wanted, digest_field};
use super::{Manifest, Referrer, RegistryError};

/// The media type of a config that says nothing.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// All of it.
const EMPTY_BYTES: &[u8] = b"{}";
/// What a registry says that keeps the list of referrers itself.
const SUBJECT: &str = "oci-subject";

/// A document about a manifest.
#[derive(Debug, Clone)]
pub struct Attachment<'a> {
    /// The media type of the manifest that it is about.
    pub subject_type: &'a str,
    /// The digest of that.
    pub subject: Digest,
    /// Its length.
    pub subject_size: u64,
    /// What kind of thing the document is, and its media type.
    pub artifact_type: &'a str,
    /// What is said of the document, by those who list it.
    pub annotations: BTreeMap<String, String>,
    /// The document.
    pub content: &'a [u8],
}

/// What became of an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
    /// The digest of the manifest that has the document.
    pub digest: Digest,
    /// Whether a tag lists it, because the registry keeps no list itself.
    pub by_tag: bool,
}

impl Attachment<'_> {
    /// The manifest of the document; the same document about the same manifest has the same one.
    fn manifest(&self) -> Result<Manifest, serde_json::Error> {
        let described = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()});
        let mut layer = described(self.artifact_type, self.content);
        if let Value::Object(layer) = &mut layer {
            layer.insert("annotations".to_owned(), json!(self.annotations));
        }
        let bytes = json::to_canonical(&json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": self.artifact_type,
            "config": described(EMPTY, EMPTY_BYTES),
            "layers": [layer],
            "subject": {"mediaType": self.subject_type, "digest": self.subject, "size": self.subject_size},
            "annotations": self.annotations,
        }))?;
        Ok(Manifest { digest: Digest::of(&bytes), media_type: OCI_MANIFEST.to_owned(), bytes })
    }

    fn referrer(&self, manifest: &Manifest) -> Referrer {
        Referrer {
            digest: manifest.digest,
            size: manifest.bytes.len() as u64,
            media_type: manifest.media_type.clone(),
            artifact_type: Some(self.artifact_type.to_owned()),
            annotations: self.annotations.clone(),
        }
    }
}

impl Referrer {
    fn descriptor(&self) -> Value {
        let mut descriptor = json!({"mediaType": self.media_type, "digest": self.digest, "size": self.size});
        if let Value::Object(fields) = &mut descriptor {
            fields.extend(self.artifact_type.iter().map(|kind| ("artifactType".to_owned(), json!(kind))));
            if !self.annotations.is_empty() {
                fields.insert("annotations".to_owned(), json!(self.annotations));
            }
        }
        descriptor
    }
}

impl Repository {
    /// Puts a document beside the manifest that it is about, which stays as it is. The registry lists it, or else a tag does.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn attach(&self, attachment: &Attachment<'_>) -> Result<Attached, RegistryError> {
        let unwritable = |error: serde_json::Error| self.host().protocol("a manifest", error.to_string());
        let manifest = attachment.manifest().map_err(unwritable)?;
        for bytes in [EMPTY_BYTES, attachment.content] {
            self.put_blob(&Digest::of(bytes), bytes.len() as u64, &[], &|| Ok(Box::new(bytes)))?;
        }
        self.put_referrer(&attachment.subject, &manifest, &attachment.referrer(&manifest))
    }

    /// Puts a manifest that is about another one and whose blobs are there. The registry lists it, or else a tag does, as `listed`.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn put_referrer(
        &self,
        subject: &Digest,
        manifest: &Manifest,
        listed: &Referrer,
    ) -> Result<Attached, RegistryError> {
        let is_listed = self.put_with_subject(manifest)?;
        if !is_listed {
            self.list_by_tag(subject, listed)?;
        }
        Ok(Attached { digest: manifest.digest, by_tag: !is_listed })
    }

    /// Puts a manifest by its digest; says whether the registry takes note of its subject.
    fn put_with_subject(&self, manifest: &Manifest) -> Result<bool, RegistryError> {
        let (host, wanted) = (self.host(), Wanted::Digest(&manifest.digest));
        let what = format!("putting {}", self.what(wanted));
        let (target, scope) = (format!("{}/manifests/{wanted}", host.endpoint.repository), self.scope(host));
        let mut call =
            Call::new(Method::PUT, &target, &scope).field("content-type", manifest.media_type.clone());
        call.bytes = Some(&manifest.bytes);
        let answer = host.send(&call)?;
        match (answer.head.status, digest_field(&answer)) {
            (200..=299, Some(found)) if found != manifest.digest => {
                Err(RegistryError::Digest { what, registry: host.endpoint.account.clone(), found })
            }
            (200..=299, _) => Ok(answer.head.field(SUBJECT).is_some()),
            _ => Err(host.refusal(answer, &what)),
        }
    }

    /// Adds a manifest to the index under the tag that stands for what refers to its subject. Two writers at the same time can take
    /// each other's entry away: registries have no lock.
    fn list_by_tag(&self, subject: &Digest, referrer: &Referrer) -> Result<(), RegistryError> {
        let tag = referrers_tag(subject);
        let wrong = |reason: &str| self.host().protocol(&format!("the list under tag {tag}"), reason);
        let mut index = match self.manifest(Wanted::Tag(&tag)) {
            Ok(found) if found.media_type == OCI_INDEX => {
                serde_json::from_slice(&found.bytes).map_err(|error| wrong(&error.to_string()))?
            }
            Ok(_) => return Err(wrong("it is no image index")),
            Err(RegistryError::NotFound { .. }) => {
                json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})
            }
            Err(error) => return Err(error),
        };
        let Some(list) = index.get_mut("manifests").and_then(Value::as_array_mut) else {
            return Err(wrong("it has no list of manifests"));
        };
        let digest = referrer.digest.to_string();
        if list.iter().any(|one| one.get("digest").and_then(Value::as_str) == Some(&digest)) {
            return Ok(());
        }
        list.push(referrer.descriptor());
        let bytes = json::to_canonical(&index).map_err(|error| wrong(&error.to_string()))?;
        let index = Manifest { digest: Digest::of(&bytes), media_type: OCI_INDEX.to_owned(), bytes };
        self.put_manifest(Wanted::Tag(&tag), &index)
    }
}

/// The tag that stands for what refers to a manifest, at registries without a list (distribution-spec, "referrers tag schema").
pub(super) fn referrers_tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}
