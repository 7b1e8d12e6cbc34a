//! What a repository has: tags, and what refers to a manifest.

use std::collections::BTreeMap;

use rebit_oci::Digest;
use rebit_oci::manifest::{ImageIndex, OCI_INDEX};
use serde::{Deserialize, Serialize};
use ureq::http::Method;

use super::attach::referrers_tag;
use super::host::{Call, Host};
use super::repository::{MAX_MANIFEST, Repository, Wanted};
use super::{Manifest, RegistryError};
use crate::http::Answer;

/// Most pages of a list.
const MAX_PAGES: usize = 1000;
/// Most entries of a list.
const MAX_ENTRIES: usize = 100_000;

/// A manifest that is about another one: a signature, an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Referrer {
    /// The digest of the manifest.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
    /// What kind of document.
    pub media_type: String,
    /// What kind of thing.
    pub artifact_type: Option<String>,
    /// What is said of it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

impl Repository {
    /// All tags, in the registry's order.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn tags(&self) -> Result<Vec<String>, RegistryError> {
        let what = format!("the list of tags of `{}`", self.name().familiar_name());
        let host = self.host();
        let mut tags = Vec::new();
        let first = format!("{}/tags/list?n=1000", host.endpoint.repository);
        self.pages(first, &what, &mut |bytes| {
            tags.extend(tags_of(bytes).map_err(|reason| host.protocol(&what, reason))?);
            Ok(tags.len())
        })?;
        Ok(tags)
    }

    /// What refers to a manifest: by the registry's list, else by the tag that stands for it where there is none.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn referrers(&self, subject: &Digest) -> Result<Vec<Referrer>, RegistryError> {
        let what = format!("what refers to {subject}");
        let host = self.host();
        let mut found = Vec::new();
        let first = format!("{}/referrers/{subject}", host.endpoint.repository);
        let listed = self.pages(first, &what, &mut |bytes| {
            found.extend(referrers(host, bytes, &what)?);
            Ok(found.len())
        });
        match listed {
            // That there is no such list is said in more than one way.
            Err(RegistryError::NotFound { .. } | RegistryError::Status { status: 400 | 405 | 501, .. }) => {}
            other => return other.map(|()| found),
        }
        match self.manifest(Wanted::Tag(&referrers_tag(subject))) {
            Ok(Manifest { media_type, bytes, .. }) if media_type == OCI_INDEX => {
                referrers(host, &bytes, &what)
            }
            Ok(_) | Err(RegistryError::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Reads one page after the other, up to the limits. `take` says how many entries there are.
    fn pages(
        &self,
        first: String,
        what: &str,
        take: &mut dyn FnMut(&[u8]) -> Result<usize, RegistryError>,
    ) -> Result<(), RegistryError> {
        let (host, mut target) = (self.host(), first);
        let scope = self.scope(host);
        for _ in 0..MAX_PAGES {
            let answer = host.send(&Call::new(Method::GET, &target, &scope))?;
            if answer.head.status != 200 {
                return Err(host.refusal(answer, what));
            }
            let next = next(&answer).map(|next| host.absolute(&next, what)).transpose()?;
            if take(&host.body(answer, MAX_MANIFEST)?)? > MAX_ENTRIES {
                return Err(host.protocol(what, format!("it has more than {MAX_ENTRIES} entries")));
            }
            match next {
                Some(next) => target = next,
                None => return Ok(()),
            }
        }
        Err(host.protocol(what, format!("it has more than {MAX_PAGES} pages")))
    }
}

/// The address in `Link: <…>; rel="next"`.
fn next(answer: &Answer) -> Option<String> {
    answer.head.all("link").find_map(next_of)
}

/// The address, when a field is about the next page.
pub(super) fn next_of(link: &str) -> Option<String> {
    let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|part| {
        let part = part.trim().replace(['"', ' '], "");
        part.eq_ignore_ascii_case("rel=next")
    });
    is_next.then(|| address.to_owned())
}

fn referrers(host: &Host, bytes: &[u8], what: &str) -> Result<Vec<Referrer>, RegistryError> {
    referrers_of(bytes).map_err(|reason| host.protocol(what, reason))
}

/// Reads a list of referrers; the error says what is wrong.
pub(super) fn referrers_of(bytes: &[u8]) -> Result<Vec<Referrer>, String> {
    let index: ImageIndex = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let referrer = |descriptor: &rebit_oci::manifest::Descriptor| {
        Ok(Referrer {
            digest: rebit_oci::manifest::digest(descriptor).map_err(|error| error.to_string())?,
            size: descriptor.size(),
            media_type: descriptor.media_type().to_string(),
            artifact_type: descriptor.artifact_type().as_ref().map(ToString::to_string),
            annotations: descriptor.annotations().clone().unwrap_or_default().into_iter().collect(),
        })
    };
    index.manifests().iter().map(referrer).collect()
}

/// Reads a page of a list of tags; the error says what is wrong.
pub(super) fn tags_of(bytes: &[u8]) -> Result<Vec<String>, String> {
    let page: Tags = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    Ok(page.tags.unwrap_or_default())
}
