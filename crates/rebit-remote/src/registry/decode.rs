//! Every decoder of bytes that a registry, or a file about registries, hands to this crate; one entrance for those who try them.

use rebit_oci::Reference;
use rebit_oci::manifest::{self, Descriptor, ImageIndex, ImageManifest};

use super::hosts::Access;
use super::{AuthFile, Hosts, Policy, auth, challenge, host, list, repository};
use crate::http::Address;

/// Which decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoder {
    /// A name of an image.
    Reference,
    /// `WWW-Authenticate`.
    Challenge,
    /// `Link`.
    Link,
    /// A URL, and a location relative to it.
    Address,
    /// A manifest, an index, and what says which it is.
    Manifest,
    /// A page of a list of tags, a list of referrers, a token, a list of errors.
    Answers,
    /// `registries.conf`.
    Hosts,
    /// `config.json` and `auth.json`.
    Credentials,
    /// `policy.json`.
    Policy,
}

impl Decoder {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Reference,
        Self::Challenge,
        Self::Link,
        Self::Address,
        Self::Manifest,
        Self::Answers,
        Self::Hosts,
        Self::Credentials,
        Self::Policy,
    ];

    /// Reads `bytes` and uses what came of it. Whatever they are, this ends, without a panic, and what is accepted has the properties
    /// that the rest of the crate relies on.
    ///
    /// # Panics
    /// When a decoder is wrong.
    pub fn try_on(self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        match self {
            Self::Reference => reference(&text),
            Self::Challenge => drop(challenge::parse(text.lines())),
            Self::Link => drop(text.lines().filter_map(list::next_of).count()),
            Self::Address => address(&text),
            Self::Manifest => documents(bytes),
            Self::Answers => {
                drop(list::tags_of(bytes));
                drop(list::referrers_of(bytes));
                assert!(auth::token_of(bytes).is_none_or(|token| !token.contains(['\r', '\n', ' '])));
                assert!(!host::said(bytes).contains(char::is_control));
            }
            Self::Hosts => hosts(&text),
            Self::Credentials => {
                let Ok(file) = AuthFile::parse(bytes) else { return };
                for registry in ["docker.io", "a.example", "localhost:5000"] {
                    // That an entry is no base64 is an answer too.
                    drop(file.entry(registry, "team/app"));
                }
            }
            Self::Policy => {
                let Ok(policy) = Policy::parse(bytes) else { return };
                for name in NAMES.iter().filter_map(|name| name.parse().ok()) {
                    drop(policy.check(&name));
                }
            }
        }
    }
}

const NAMES: [&str; 3] = ["busybox", "a.example/team/app:1", "localhost:5000/x"];

fn reference(text: &str) {
    let Ok(name) = text.parse::<Reference>() else { return };
    assert_eq!(name.to_string().parse().as_ref(), Ok(&name), "a name in full is the same name");
    let endpoints = Hosts::default().endpoints(&name, Access::Push);
    assert!(endpoints.is_ok_and(|endpoints| endpoints.len() == 1));
}

fn address(text: &str) {
    let (base, location) = text.split_once('\n').unwrap_or((text, "/x"));
    let Ok(base) = Address::parse(base) else { return };
    if let Ok(to) = base.join(location) {
        let shown = to.to_string();
        assert!(shown.bytes().all(|byte| byte.is_ascii_graphic()), "a request has one line");
        assert!(Address::parse(&shown).is_ok_and(|again| again.to_string() == shown));
    }
}

fn documents(bytes: &[u8]) {
    // That a descriptor has another digest is an answer too.
    let used = |descriptor: &Descriptor| drop(manifest::digest(descriptor));
    if let Ok(image) = serde_json::from_slice::<ImageManifest>(bytes) {
        image.layers().iter().chain([image.config()]).for_each(used);
    }
    if let Ok(index) = serde_json::from_slice::<ImageIndex>(bytes) {
        index.manifests().iter().for_each(used);
    }
    for named in [None, Some(manifest::OCI_INDEX), Some("text/html")] {
        drop(repository::media_type(bytes, named, "it"));
    }
}

fn hosts(text: &str) {
    let mut hosts = Hosts::default();
    if hosts.add(text).is_err() {
        return;
    }
    for name in NAMES {
        assert!(hosts.expand(name).is_none_or(|names| !names.is_empty()));
        let Ok(name) = name.parse() else { continue };
        assert!(
            hosts.endpoints(&name, Access::Pull).is_ok_and(|found| !found.is_empty())
                || text.contains("blocked")
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Something that each decoder takes.
    fn seed(decoder: Decoder) -> &'static str {
        match decoder {
            Decoder::Reference => {
                "r.example:5000/team/app:v1.0@sha256:0000000000000000000000000000000000000000000000000000000000000000"
            }
            Decoder::Challenge => {
                "Basic realm=\"x\", Bearer realm=\"https://a.example/token\",service=\"b\",scope=\"repository:a/b:pull\""
            }
            Decoder::Link => "</v2/a/tags/list?last=b&n=1>; rel=\"next\"",
            Decoder::Address => "https://u:p%20@[::1]:5000/a/./b?c=d\n//other.example/../x?y#z",
            Decoder::Manifest => {
                r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":2},"layers":[],"manifests":[]}"#
            }
            Decoder::Answers => {
                r#"{"schemaVersion":2,"tags":["a"],"token":"abc","errors":[{"code":"X","message":"y"}],"manifests":[{"mediaType":"a/b","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":2}]}"#
            }
            Decoder::Hosts => {
                "unqualified-search-registries = [\"a.example\"]\n[aliases]\nx = \"b.example/x\"\n[[registry]]\nprefix = \"*.example\"\n[[registry.mirror]]\nlocation = \"c/d\"\npull-from-mirror = \"tag-only\"\n"
            }
            Decoder::Credentials => {
                r#"{"auths":{"a.example":{"auth":"eDp5"},"https://index.docker.io/v1/":{"identitytoken":"t"}},"credHelpers":{"b":"c"},"credsStore":""}"#
            }
            Decoder::Policy => {
                r#"{"default":[{"type":"reject"}],"transports":{"docker":{"*.example":[{"type":"signedBy"}],"":[{"type":"insecureAcceptAnything"}]}}}"#
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            Decoder::ALL.iter().for_each(|decoder| decoder.try_on(&bytes));
        }

        #[test]
        fn what_is_a_little_wrong_is_read_or_refused(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6),
        ) {
            for decoder in Decoder::ALL {
                let mut bytes = seed(decoder).as_bytes().to_vec();
                for (place, byte, how) in &changes {
                    if bytes.is_empty() {
                        break;
                    }
                    let at = place.index(bytes.len());
                    match how {
                        0 => bytes[at] = *byte,
                        1 => bytes.insert(at, *byte),
                        2 => drop(bytes.remove(at)),
                        _ => bytes.truncate(at),
                    }
                }
                decoder.try_on(&bytes);
            }
        }

        #[test]
        fn names_are_read_or_refused(text in "[a-z0-9.:/@_-]{0,60}") {
            Decoder::Reference.try_on(text.as_bytes());
        }

        #[test]
        fn addresses_are_read_or_refused(text in "https?://[a-z0-9.:@%\\[\\]/?#\\\\ é-]{0,40}\n[a-z0-9.:@%/?#\\\\ é-]{0,40}") {
            Decoder::Address.try_on(text.as_bytes());
        }
    }

    #[test]
    fn the_seeds_are_taken() {
        Decoder::ALL.iter().for_each(|decoder| decoder.try_on(seed(*decoder).as_bytes()));
        assert!(Hosts::default().add(seed(Decoder::Hosts)).is_ok());
        assert!(Policy::parse(seed(Decoder::Policy).as_bytes()).is_ok());
        assert_eq!(list::next_of(seed(Decoder::Link)).as_deref(), Some("/v2/a/tags/list?last=b&n=1"));
        assert_eq!(list::tags_of(seed(Decoder::Answers).as_bytes()).unwrap(), ["a"]);
        assert_eq!(list::referrers_of(seed(Decoder::Answers).as_bytes()).unwrap().len(), 1);
        assert_eq!(auth::token_of(seed(Decoder::Answers).as_bytes()).as_deref(), Some("abc"));
    }
}
