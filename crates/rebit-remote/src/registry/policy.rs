//! Which images of registries may be taken: `policy.json` (containers-policy.json(5)).
//!
//! Signatures are not verified here. What a policy wants signed is therefore refused, by the name of what it wants.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use rebit_oci::Reference;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::RegistryError;

/// The transport of registries.
const DOCKER: &str = "docker";

/// A policy; without one everything may be taken.
#[derive(Debug, Clone, Default)]
pub struct Policy(Option<File>);

/// Why a file is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is no JSON of that shape.
    #[error("it is not a policy: {reason}")]
    Malformed {
        /// Where and why.
        reason: String,
    },
    /// A list of requirements has none.
    #[error("it has no requirement for `{scope}`")]
    Empty {
        /// What it is about.
        scope: String,
    },
}

/// Why a policy does not let an image in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// `reject`.
    Rejected,
    /// A requirement that cannot be checked, such as `signedBy` or `sigstoreSigned`.
    Unverified {
        /// The type of it.
        requirement: String,
    },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default: Vec<Requirement>,
    #[serde(default)]
    transports: Unique<Unique<Vec<Requirement>>>,
}

/// A map in which no key is there twice: two programs could take different ones of them.
#[derive(Debug, Clone)]
struct Unique<V>(BTreeMap<String, V>);

impl<V> Default for Unique<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Unique<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = Unique<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique<V>, A::Error> {
                let mut unique = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, V>()? {
                    if unique.insert(key.clone(), value).is_some() {
                        return Err(A::Error::custom(format!("`{key}` is there twice")));
                    }
                }
                Ok(Unique(unique))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

#[derive(Debug, Clone, Deserialize)]
struct Requirement {
    #[serde(rename = "type")]
    kind: String,
}

impl Policy {
    /// Reads a file.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let file: File = serde_json::from_slice(bytes)
            .map_err(|error| PolicyError::Malformed { reason: error.to_string() })?;
        let scopes = file
            .transports
            .0
            .values()
            .flat_map(|scopes| &scopes.0)
            .map(|(scope, list)| (scope.as_str(), list));
        for (scope, list) in scopes.chain([("default", &file.default)]) {
            if list.is_empty() {
                return Err(PolicyError::Empty { scope: scope.to_owned() });
            }
        }
        Ok(Self(Some(file)))
    }

    /// Whether an image may be taken from its registry; all requirements of the narrowest scope that fits have to hold.
    ///
    /// # Errors
    /// [`RegistryError::Policy`].
    pub fn check(&self, name: &Reference) -> Result<(), RegistryError> {
        let Some((scope, requirements)) = self.requirements(name) else { return Ok(()) };
        for requirement in requirements {
            let refusal = match requirement.kind.as_str() {
                "insecureAcceptAnything" => continue,
                "reject" => Refusal::Rejected,
                kind => Refusal::Unverified { requirement: kind.to_owned() },
            };
            return Err(RegistryError::Policy { name: name.to_string(), scope, refusal });
        }
        Ok(())
    }

    fn requirements(&self, name: &Reference) -> Option<(String, &[Requirement])> {
        let file = self.0.as_ref()?;
        if let Some(scopes) = file.transports.0.get(DOCKER) {
            for scope in scopes_of(name) {
                if let Some(found) = scopes.0.get(&scope) {
                    return Some((if scope.is_empty() { DOCKER.to_owned() } else { scope }, found));
                }
            }
        }
        Some(("default".to_owned(), &file.default))
    }
}

/// The scopes that a name is in, the narrowest first: itself, its repository and what that is in, its host, domains, all.
fn scopes_of(name: &Reference) -> Vec<String> {
    let repository = format!("{}/{}", name.registry(), name.repository());
    let mut scopes = Vec::new();
    match (name.digest(), name.tag()) {
        (Some(digest), _) => scopes.push(format!("{repository}@{digest}")),
        (None, tag) => scopes.push(format!("{repository}:{}", tag.unwrap_or("latest"))),
    }
    let mut rest = repository.as_str();
    loop {
        scopes.push(rest.to_owned());
        match rest.rsplit_once('/') {
            Some((above, _)) => rest = above,
            None => break,
        }
    }
    let mut host = rest.split(':').next().unwrap_or_default();
    while let Some((_, domain)) = host.split_once('.') {
        scopes.push(format!("*.{domain}"));
        host = domain;
    }
    scopes.push(String::new());
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{
        "default": [{"type": "reject"}],
        "transports": {
            "docker": {
                "docker.io": [{"type": "insecureAcceptAnything"}],
                "docker.io/library/signed": [{"type": "insecureAcceptAnything"}, {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}],
                "r.example:5000/team": [{"type": "sigstoreSigned", "keyPath": "/k"}],
                "r.example:5000/team/open:1": [{"type": "insecureAcceptAnything"}],
                "*.good.example": [{"type": "insecureAcceptAnything"}]
            },
            "docker-daemon": {"": [{"type": "insecureAcceptAnything"}]}
        }
    }"#;

    fn said(policy: &str, name: &str) -> String {
        let checked = Policy::parse(policy.as_bytes()).unwrap().check(&name.parse().unwrap());
        match checked {
            Ok(()) => "taken".to_owned(),
            Err(RegistryError::Policy { scope, refusal: Refusal::Rejected, .. }) => {
                format!("{scope} rejects")
            }
            Err(RegistryError::Policy { scope, refusal: Refusal::Unverified { requirement }, .. }) => {
                format!("{scope} wants {requirement}")
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn the_narrowest_scope_decides() {
        for (name, expected) in [
            ("busybox", "taken"),
            ("signed", "docker.io/library/signed wants signedBy"),
            ("signed:2", "docker.io/library/signed wants signedBy"),
            ("signed/more", "taken"),
            ("r.example:5000/team/app", "r.example:5000/team wants sigstoreSigned"),
            ("r.example:5000/team/open:1", "taken"),
            ("r.example:5000/team/open:2", "r.example:5000/team wants sigstoreSigned"),
            ("r.example:5000/other", "default rejects"),
            ("r.example/team/app", "default rejects"),
            ("a.good.example/x", "taken"),
            ("a.b.good.example:443/x", "taken"),
            ("good.example/x", "default rejects"),
        ] {
            assert_eq!(said(FILE, name), expected, "{name}");
        }
        let digest = rebit_oci::Digest::of(b"x");
        assert_eq!(
            said(FILE, &format!("r.example:5000/team/open@{digest}")),
            "r.example:5000/team wants sigstoreSigned"
        );
    }

    #[test]
    fn a_scope_for_all_registries_comes_before_the_default() {
        let policy = r#"{"default":[{"type":"insecureAcceptAnything"}],"transports":{"docker":{"":[{"type":"reject"}]}}}"#;
        assert_eq!(said(policy, "busybox"), "docker rejects");
        // What Debian installs.
        let debian = r#"{"default":[{"type":"insecureAcceptAnything"}],"transports":{"docker-daemon":{"":[{"type":"insecureAcceptAnything"}]}}}"#;
        assert_eq!(said(debian, "busybox"), "taken");
        assert!(Policy::default().check(&"busybox".parse().unwrap()).is_ok());
        // What is not known is not taken for something that holds.
        assert_eq!(said(r#"{"default":[{"type":"later"}]}"#, "busybox"), "default wants later");
    }

    #[test]
    fn what_is_no_policy_says_why() {
        let parse = |text: &str| Policy::parse(text.as_bytes()).unwrap_err();
        for text in ["", "{}", "[]", r#"{"default":[{}]}"#, r#"{"default":[],"x":1}"#] {
            assert!(matches!(parse(text), PolicyError::Malformed { .. }), "{text}");
        }
        let twice = r#"{"default":[{"type":"reject"}],"transports":{"docker":{"a":[{"type":"reject"}],"a":[{"type":"insecureAcceptAnything"}]}}}"#;
        assert!(parse(twice).to_string().contains("`a` is there twice"));
        assert_eq!(parse(r#"{"default":[]}"#), PolicyError::Empty { scope: "default".to_owned() });
        let empty = r#"{"default":[{"type":"reject"}],"transports":{"docker":{"a.example":[]}}}"#;
        assert_eq!(parse(empty), PolicyError::Empty { scope: "a.example".to_owned() });
    }
}
