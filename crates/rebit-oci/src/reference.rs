//! Image names as Docker reads them: `[registry/]repository[:tag][@digest]`.
//!
//! `busybox` is `docker.io/library/busybox:latest`. Source: the `reference` grammar of
//! distribution/reference, and the defaults of Docker's command line.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Digest;

const DEFAULT_REGISTRY: &str = "docker.io";
const OFFICIAL: &str = "library/";
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// An image name in its full form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an image name: {reason}")]
pub struct ParseReferenceError {
    /// The text as given, cut to 300 characters.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Reference {
    /// The registry host, with its port when one was given.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `None` only when there is a digest.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, when one was given.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Registry and repository as people write them: `docker.io/library/` left out.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        if self.registry == DEFAULT_REGISTRY {
            self.repository.strip_prefix(OFFICIAL).unwrap_or(&self.repository).to_owned()
        } else {
            format!("{}/{}", self.registry, self.repository)
        }
    }

    /// The whole name as people write it.
    #[must_use]
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_name();
        self.push_suffix(&mut text);
        text
    }

    fn push_suffix(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut suffix = String::new();
        self.push_suffix(&mut suffix);
        write!(f, "{}/{}{suffix}", self.registry, self.repository)
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|reason| ParseReferenceError { text: text.chars().take(300).collect(), reason })
    }
}

fn parse(text: &str) -> Result<Reference, String> {
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest.parse::<Digest>().map_err(|error| error.to_string())?)),
        None => (text, None),
    };
    // A colon after the last slash starts the tag; one before it belongs to the registry's port.
    let after_slash = name.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match name[after_slash..].find(':') {
        Some(colon) => (&name[..after_slash + colon], Some(&name[after_slash + colon + 1..])),
        None => (name, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    let (registry, repository) = split_registry(name);
    if repository.is_empty() {
        return Err("the repository is empty".into());
    }
    let repository = if registry == DEFAULT_REGISTRY && !repository.contains('/') {
        format!("{OFFICIAL}{repository}")
    } else {
        repository.to_owned()
    };
    check_registry(registry)?;
    repository.split('/').try_for_each(check_component)?;
    if registry.len() + 1 + repository.len() > MAX_NAME {
        return Err(format!("it is longer than {MAX_NAME} characters"));
    }
    let tag = match (tag, digest) {
        (None, None) => Some("latest".to_owned()),
        (tag, _) => tag.map(str::to_owned),
    };
    Ok(Reference { registry: registry.to_owned(), repository, tag, digest })
}

fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
            let registry = if first == "index.docker.io" { DEFAULT_REGISTRY } else { first };
            (registry, rest)
        }
        _ => (DEFAULT_REGISTRY, name),
    }
}

fn check_registry(registry: &str) -> Result<(), String> {
    let (host, port) = registry.split_once(':').map_or((registry, None), |(host, port)| (host, Some(port)));
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !host.split('.').all(label) || port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(format!("`{registry}` is not a registry host"));
    }
    Ok(())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn check_component(component: &str) -> Result<(), String> {
    let bytes = component.as_bytes();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let edges = bytes.first().is_some_and(|b| plain(*b)) && bytes.last().is_some_and(|b| plain(*b));
    let separators_hold = component
        .split(|c: char| plain(u8::try_from(c).unwrap_or(b' ')))
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'));
    if edges && separators_hold {
        return Ok(());
    }
    if component.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("a repository has no upper-case letters".into());
    }
    Err(format!("`{component}` is not a repository component"))
}

fn check_tag(tag: &str) -> Result<(), String> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = tag.as_bytes();
    let holds =
        bytes.first().is_some_and(|b| word(*b)) && bytes.iter().all(|b| word(*b) || b".-".contains(b));
    if holds && tag.len() <= MAX_TAG { Ok(()) } else { Err(format!("`{tag}` is not a tag")) }
}

impl Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_completed_as_docker_does() {
        let check = |text: &str, full: &str, familiar: &str| {
            let reference: Reference = text.parse().unwrap();
            assert_eq!((reference.to_string().as_str(), reference.familiar().as_str()), (full, familiar));
            assert_eq!(full.parse(), Ok(reference));
        };
        check("busybox", "docker.io/library/busybox:latest", "busybox:latest");
        check("debian:bookworm", "docker.io/library/debian:bookworm", "debian:bookworm");
        check("a/b", "docker.io/a/b:latest", "a/b:latest");
        check("docker.io/a", "docker.io/library/a:latest", "a:latest");
        check("index.docker.io/a", "docker.io/library/a:latest", "a:latest");
        check("localhost/a", "localhost/a:latest", "localhost/a:latest");
        check("localhost:5000/a/b:1", "localhost:5000/a/b:1", "localhost:5000/a/b:1");
        check(
            "ghcr.io/a_b/c--d/e.f:V1.0-x_y",
            "ghcr.io/a_b/c--d/e.f:V1.0-x_y",
            "ghcr.io/a_b/c--d/e.f:V1.0-x_y",
        );
        let digest = Digest::of(b"");
        check(&format!("a@{digest}"), &format!("docker.io/library/a@{digest}"), &format!("a@{digest}"));
        check(&format!("a:1@{digest}"), &format!("docker.io/library/a:1@{digest}"), &format!("a:1@{digest}"));
    }

    #[test]
    fn what_is_not_a_name_says_why() {
        for text in [
            "",
            ":",
            "a:",
            "A",
            "a/B",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a/",
            "/a",
            "a//b",
            "a b",
            "a:b c",
            "a@",
            "a@sha256:1",
            "x.y:z/a",
            "a.b:99999/c",
            "é",
            "a:é",
            "a:.b",
        ] {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(!error.reason.is_empty(), "{text}");
        }
        assert!("Debian".parse::<Reference>().unwrap_err().reason.contains("upper-case"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_printing_reads_back(text in "[a-zA-Z0-9._:/@é-]{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
                prop_assert_eq!(reference.familiar().parse(), Ok(reference));
            }
        }
    }
}
