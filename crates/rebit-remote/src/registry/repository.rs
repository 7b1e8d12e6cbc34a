//! One name at a registry: its manifests and blobs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rebit_oci::manifest::{DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, OCI_INDEX, OCI_MANIFEST};
use rebit_oci::{Digest, Reference};
use serde::Deserialize;
use ureq::http::Method;

use super::blob::Blob;
use super::credentials::Credentials;
use super::host::{Call, Host};
use super::hosts::{Access, Endpoint};
use super::{Machinery, RegistryError, RegistryOptions, Site};
use crate::http::{Answer, Identity};

/// The largest manifest that is read, as registries have it: 4 MiB.
pub(super) const MAX_MANIFEST: u64 = 4 << 20;

/// A repository, at its registry or the mirrors of it.
pub struct Repository {
    name: Reference,
    /// The last one is the registry itself; the ones before are mirrors.
    pub(super) hosts: Vec<Arc<Host>>,
    /// The first host that has not failed.
    from: AtomicUsize,
    pub(super) access: Access,
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository").field("name", &self.name.to_string()).finish_non_exhaustive()
    }
}

/// A manifest or index as it came, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The digest of its bytes.
    pub digest: Digest,
    /// What the registry or the document itself calls it.
    pub media_type: String,
    /// It.
    pub bytes: Vec<u8>,
}

/// Which manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// The one that a tag stands for.
    Tag(&'a str),
    /// This one.
    Digest(&'a Digest),
}

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl<'a> Wanted<'a> {
    /// What a name stands for: its digest, else its tag.
    #[must_use]
    pub fn of(name: &'a Reference, digest: Option<&'a Digest>) -> Self {
        match digest {
            Some(digest) => Self::Digest(digest),
            None => Self::Tag(name.tag().unwrap_or("latest")),
        }
    }
}

/// What a token has to allow.
pub(super) fn scope(repository: &str, access: Access) -> String {
    match access {
        Access::Pull => format!("repository:{repository}:pull"),
        Access::Push => format!("repository:{repository}:pull,push"),
    }
}

impl Repository {
    pub(super) fn new(
        machinery: &Arc<Machinery>,
        name: &Reference,
        access: Access,
    ) -> Result<Self, RegistryError> {
        let endpoints = machinery.options.hosts.endpoints(name, access)?;
        let host = |endpoint| Arc::new(Host::new(endpoint, Arc::clone(machinery)));
        let hosts = endpoints.into_iter().map(host).collect();
        Ok(Self { name: name.clone(), hosts, from: AtomicUsize::new(0), access })
    }

    /// The name that this is the repository of.
    #[must_use]
    pub fn name(&self) -> &Reference {
        &self.name
    }

    pub(super) fn scope(&self, host: &Host) -> String {
        scope(&host.endpoint.repository, self.access)
    }

    /// The registry itself, which is written to.
    pub(super) fn host(&self) -> &Arc<Host> {
        match self.hosts.last() {
            Some(host) => host,
            None => unreachable!("a name has at least the registry that it says"),
        }
    }

    /// Asks one host after the other. What fails once is not asked again.
    pub(super) fn first<T>(
        &self,
        ask: impl Fn(&Arc<Host>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let from = self.from.load(Ordering::Relaxed);
        for (number, host) in self.hosts.iter().enumerate().skip(from) {
            match ask(host) {
                Err(error) if error.is_of_the_place() && number + 1 < self.hosts.len() => {
                    // That a mirror lacks one thing says nothing of the next.
                    if !matches!(error, RegistryError::NotFound { .. }) {
                        self.from.fetch_max(number + 1, Ordering::Relaxed);
                    }
                }
                answer => return answer,
            }
        }
        unreachable!("the last host is never left out")
    }

    /// Gets a manifest or index.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::Digest`] when it is another one, [`RegistryError::Unsupported`] for Docker's
    /// schema 1.
    pub fn manifest(&self, wanted: Wanted<'_>) -> Result<Manifest, RegistryError> {
        self.first(|host| {
            let what = self.what(wanted);
            let answer = self.ask_manifest(host, Method::GET, wanted)?;
            if answer.head.status != 200 {
                return Err(host.refusal(answer, &what));
            }
            let (stated, named) = (digest_field(&answer), answer.head.media_type());
            let bytes = host.body(answer, MAX_MANIFEST)?;
            let digest = Digest::of(&bytes);
            let expected = match wanted {
                Wanted::Digest(digest) => Some(*digest),
                Wanted::Tag(_) => stated,
            };
            if expected.is_some_and(|expected| expected != digest) {
                let registry = host.endpoint.account.clone();
                return Err(RegistryError::Digest { what, registry, found: digest });
            }
            let media_type = media_type(&bytes, named.as_deref(), &what)?
                .ok_or_else(|| host.protocol(&what, "it is no JSON object"))?;
            Ok(Manifest { digest, media_type, bytes })
        })
    }

    /// The digest of the manifest or index that is there now, without getting it where the registry says it.
    ///
    /// # Errors
    /// As [`manifest`](Self::manifest).
    pub fn digest_of(&self, wanted: Wanted<'_>) -> Result<Digest, RegistryError> {
        let stated = self.first(|host| {
            let answer = self.ask_manifest(host, Method::HEAD, wanted)?;
            match answer.head.status {
                200 => Ok(digest_field(&answer)),
                // Some know GET only.
                400 | 405 | 501 => Ok(None),
                _ => Err(host.refusal(answer, &self.what(wanted))),
            }
        })?;
        stated.map_or_else(|| self.manifest(wanted).map(|manifest| manifest.digest), Ok)
    }

    fn ask_manifest(&self, host: &Host, method: Method, wanted: Wanted<'_>) -> Result<Answer, RegistryError> {
        let accept = [OCI_INDEX, OCI_MANIFEST, DOCKER_MANIFEST_LIST, DOCKER_MANIFEST].join(", ");
        let (target, scope) = (format!("{}/manifests/{wanted}", host.endpoint.repository), self.scope(host));
        host.send(&Call::new(method, &target, &scope).field("accept", accept))
    }

    /// Words for a manifest of this repository.
    pub(super) fn what(&self, wanted: Wanted<'_>) -> String {
        let separator = if matches!(wanted, Wanted::Tag(_)) { ':' } else { '@' };
        format!("`{}{separator}{wanted}`", self.name.familiar_name())
    }

    /// Gets a blob of `size` bytes as it comes.
    ///
    /// # Errors
    /// As [`manifest`](Self::manifest); what goes wrong later comes from the reader, as a [`RegistryError`] within.
    pub fn blob(&self, digest: &Digest, size: u64) -> Result<Blob, RegistryError> {
        self.first(|host| Blob::open(host, &self.scope(host), digest, size))
    }

    /// The length of a blob, when the repository has it.
    ///
    /// # Errors
    /// [`RegistryError`], except that it is not there.
    pub fn stat(&self, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        let host = self.host();
        let (target, scope) = (format!("{}/blobs/{digest}", host.endpoint.repository), self.scope(host));
        let answer = host.send(&Call::new(Method::HEAD, &target, &scope))?;
        match answer.head.status {
            200 => {
                let length = answer.head.field("content-length").and_then(|text| text.parse().ok());
                let what = format!("blob {digest}");
                length.map(Some).ok_or_else(|| host.protocol(&what, "it does not say its length"))
            }
            404 => Ok(None),
            _ => Err(host.refusal(answer, &format!("blob {digest}"))),
        }
    }
}

pub(super) fn digest_field(answer: &Answer) -> Option<Digest> {
    answer.head.field("docker-content-digest")?.parse().ok()
}

/// What a document is: what it says itself, else what the registry calls it; `None` when it is none.
pub(super) fn media_type(
    bytes: &[u8],
    named: Option<&str>,
    what: &str,
) -> Result<Option<String>, RegistryError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Look {
        #[serde(default)]
        schema_version: u32,
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let look: Option<Look> = serde_json::from_slice(bytes).ok();
    let is_old = |named: &str| named.starts_with("application/vnd.docker.distribution.manifest.v1+");
    let Some(look) = look else { return Ok(None) };
    if look.schema_version == 1 || (look.media_type.is_none() && named.is_some_and(is_old)) {
        return Err(RegistryError::Unsupported { what: format!("{what}, an image of Docker's schema 1,") });
    }
    let known = |text: &str| text.starts_with("application/vnd.");
    Ok(Some(match (look.media_type, named) {
        (Some(own), _) => own,
        (None, Some(named)) if known(named) => named.to_owned(),
        (None, _) if look.manifests.is_some() => OCI_INDEX.to_owned(),
        (None, _) => OCI_MANIFEST.to_owned(),
    }))
}

/// Asks a host whether it knows these credentials.
pub(super) fn log_in(
    machinery: &Arc<Machinery>,
    host: &str,
    credentials: Credentials,
) -> Result<(), RegistryError> {
    struct One {
        inner: Arc<dyn Site>,
        credentials: Credentials,
    }
    impl Site for One {
        fn authorities(&self, host: &str) -> Vec<u8> {
            self.inner.authorities(host)
        }

        fn identity(&self, host: &str) -> Result<Option<Identity>, Box<dyn std::error::Error + Send + Sync>> {
            self.inner.identity(host)
        }

        fn credentials(
            &self,
            _: &str,
            _: &str,
        ) -> Result<Option<Credentials>, Box<dyn std::error::Error + Send + Sync>> {
            Ok(Some(self.credentials.clone()))
        }
    }
    let invalid = |_| RegistryError::Protocol {
        what: "a login".to_owned(),
        registry: host.to_owned(),
        reason: "it is not a registry host".to_owned(),
    };
    let name: Reference = format!("{host}/login").parse().map_err(invalid)?;
    let endpoints = machinery.options.hosts.endpoints(&name, Access::Push)?;
    let site: Arc<dyn Site> = Arc::new(One { inner: Arc::clone(&machinery.options.site), credentials });
    let registry = super::Registry::new(RegistryOptions { site, ..machinery.options.clone() });
    let endpoint = endpoints.into_iter().next_back();
    let endpoint = endpoint.map(|endpoint| Endpoint { repository: String::new(), ..endpoint });
    let Some(endpoint) = endpoint else { unreachable!("a name has at least the registry that it says") };
    let host = Host::new(endpoint, registry.machinery);
    let answer = host.send(&Call::new(Method::GET, "", ""))?;
    match answer.head.status {
        200 => Ok(()),
        _ => Err(host.refusal(answer, "a login")),
    }
}
