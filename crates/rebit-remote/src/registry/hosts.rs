//! Which hosts are asked for a name: `registries.conf` (containers-registries.conf(5), version 2).

use std::collections::BTreeMap;

use rebit_oci::Reference;
use serde::Deserialize;

use super::RegistryError;

/// The host behind docker.io.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// The registries that the machine's configuration speaks of.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    rules: BTreeMap<String, Rule>,
    search: Vec<String>,
    aliases: BTreeMap<String, String>,
}

/// Why a configuration of registries cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostsError {
    /// It is no TOML of that shape.
    #[error("it is not a configuration of registries: {reason}")]
    Malformed {
        /// Where and why.
        reason: String,
    },
    /// It is of the old kind.
    #[error("it has the form of version 1 (`[registries.search]`), which is not supported")]
    Version1,
    /// A registry without a name.
    #[error("a registry has neither prefix nor location")]
    NoName,
}

#[derive(Debug, Clone)]
struct Rule {
    location: String,
    insecure: bool,
    blocked: bool,
    digests_only: bool,
    mirrors: Vec<Mirror>,
}

#[derive(Debug, Clone, Deserialize)]
struct Mirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default, rename = "pull-from-mirror")]
    when: When,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum When {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

#[derive(Deserialize)]
struct File {
    #[serde(default, rename = "unqualified-search-registries")]
    search: Option<Vec<String>>,
    #[serde(default, rename = "registry")]
    rules: Vec<FileRule>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    #[serde(default)]
    registries: Option<toml::Table>,
}

#[derive(Deserialize)]
struct FileRule {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default, rename = "mirror-by-digest-only")]
    digests_only: bool,
    #[serde(default, rename = "mirror")]
    mirrors: Vec<Mirror>,
}

/// How a host is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// Over TLS with a certificate that an authority vouches for.
    Tls,
    /// Over TLS with any certificate, else without TLS.
    Any,
    /// Without TLS.
    Plain,
}

/// A place to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Host and port.
    pub(super) host: String,
    /// The name under which credentials for it are kept.
    pub(super) account: String,
    pub(super) repository: String,
    pub(super) security: Security,
}

/// What is wanted of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To read.
    Pull,
    /// To write too.
    Push,
}

impl Hosts {
    /// Adds what a file says; it takes precedence over what was added before.
    ///
    /// # Errors
    /// [`HostsError`].
    pub fn add(&mut self, text: &str) -> Result<(), HostsError> {
        let file: File = toml::from_str(text)
            .map_err(|error| HostsError::Malformed { reason: error.to_string().trim_end().to_owned() })?;
        if file.registries.is_some() {
            return Err(HostsError::Version1);
        }
        for rule in file.rules {
            let prefix = if rule.prefix.is_empty() { rule.location.clone() } else { rule.prefix };
            if prefix.is_empty() {
                return Err(HostsError::NoName);
            }
            let FileRule { location, insecure, blocked, digests_only, mirrors, .. } = rule;
            self.rules.insert(prefix, Rule { location, insecure, blocked, digests_only, mirrors });
        }
        if let Some(search) = file.search {
            self.search = search;
        }
        self.aliases.extend(file.aliases);
        Ok(())
    }

    /// What a name that says no registry can mean, the first one first; `None` when Docker's rule holds, or the text says a registry.
    #[must_use]
    pub fn expand(&self, text: &str) -> Option<Vec<Reference>> {
        let name = text.split('@').next().unwrap_or_default();
        let slash = name.rfind('/').map_or(0, |at| at + 1);
        let end = name.get(slash..)?.find(':').map_or(name.len(), |colon| slash + colon);
        let (name, suffix) = (text.get(..end)?, text.get(end..)?);
        let first = name.split('/').next().unwrap_or_default();
        if name.contains('/') && (first.contains(['.', ':']) || first == "localhost") {
            return None;
        }
        if let Some(alias) = self.aliases.get(name) {
            return Some(vec![format!("{alias}{suffix}").parse().ok()?]);
        }
        let candidates = self.search.iter().filter_map(|registry| format!("{registry}/{text}").parse().ok());
        let candidates: Vec<Reference> = candidates.collect();
        (!candidates.is_empty()).then_some(candidates)
    }

    /// Where `name` is asked for, mirrors first.
    ///
    /// # Errors
    /// [`RegistryError::Blocked`].
    pub(super) fn endpoints(&self, name: &Reference, access: Access) -> Result<Vec<Endpoint>, RegistryError> {
        let full = format!("{}/{}", name.registry(), name.repository());
        let rules = self.rules.iter().filter_map(|(prefix, rule)| Some((fit(prefix, &full)?, rule)));
        let Some((length, rule)) = rules.max_by_key(|(length, _)| *length) else {
            return Ok(vec![endpoint(&full, false)]);
        };
        if rule.blocked {
            return Err(RegistryError::Blocked { name: full });
        }
        let rest = full.get(length..).unwrap_or_default();
        let mut found = Vec::new();
        let wanted = |mirror: &&Mirror| match (name.digest().is_some(), mirror.when) {
            (false, When::DigestOnly) | (true, When::TagOnly) => false,
            (by_digest, _) => by_digest || !rule.digests_only,
        };
        if access == Access::Pull {
            let mirrors = rule.mirrors.iter().filter(wanted);
            found.extend(
                mirrors.map(|mirror| endpoint(&format!("{}{rest}", mirror.location), mirror.insecure)),
            );
        }
        let own = if rule.location.is_empty() { full.clone() } else { format!("{}{rest}", rule.location) };
        found.push(endpoint(&own, rule.insecure));
        Ok(found)
    }
}

/// How much of `name` a prefix covers; `*.` stands for any subdomain.
fn fit(prefix: &str, name: &str) -> Option<usize> {
    if let Some(domain) = prefix.strip_prefix("*.") {
        let host = name.split(['/', ':']).next().unwrap_or_default();
        let below = host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        return below.then_some(host.len());
    }
    let rest = name.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(prefix.len())
}

fn endpoint(full: &str, insecure: bool) -> Endpoint {
    let (account, repository) = full.split_once('/').unwrap_or((full, ""));
    let host = if account == "docker.io" { DOCKER_HUB } else { account };
    let security = match insecure {
        true => Security::Any,
        false if is_loopback(host) => Security::Plain,
        false => Security::Tls,
    };
    // Docker's own registry keeps what has one word in a directory of its own.
    let repository = match repository.contains('/') || account != "docker.io" {
        true => repository.to_owned(),
        false => format!("library/{repository}"),
    };
    Endpoint { host: host.to_owned(), account: account.to_owned(), repository, security }
}

/// Whether a host is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        unqualified-search-registries = ["one.example", "two.example"]
        short-name-mode = "enforcing"
        [aliases]
        "tool" = "quay.example/team/tool"
        [[registry]]
        location = "docker.io"
        [[registry.mirror]]
        location = "mirror.example/hub"
        [[registry.mirror]]
        location = "localhost:5000"
        insecure = true
        pull-from-mirror = "digest-only"
        [[registry]]
        prefix = "a.example/team"
        location = "b.example/x"
        insecure = true
        [[registry]]
        prefix = "*.bad.example"
        blocked = true
        [[registry]]
        prefix = "a.example/team/pinned"
        mirror-by-digest-only = true
        [[registry.mirror]]
        location = "m.example/p"
    "#;

    fn hosts() -> Hosts {
        let mut hosts = Hosts::default();
        hosts.add(FILE).unwrap();
        hosts
    }

    #[test]
    fn names_are_asked_for_where_the_file_says() {
        let check = |name: &str, access, expected: &[&str]| {
            let endpoints = hosts().endpoints(&name.parse().unwrap(), access).unwrap();
            let shown: Vec<String> =
                endpoints.iter().map(|e| format!("{}/{} {:?}", e.host, e.repository, e.security)).collect();
            assert_eq!(shown, expected, "{name}");
        };
        let digest = rebit_oci::Digest::of(b"x");
        let hub = "registry-1.docker.io/library/busybox Tls";
        check("busybox", Access::Pull, &["mirror.example/hub/library/busybox Tls", hub]);
        check("busybox", Access::Push, &[hub]);
        let local = "localhost:5000/library/busybox Any";
        check(
            &format!("busybox@{digest}"),
            Access::Pull,
            &["mirror.example/hub/library/busybox Tls", local, hub],
        );
        check("a.example/team/app:1", Access::Pull, &["b.example/x/app Any"]);
        check("a.example/teams/app", Access::Pull, &["a.example/teams/app Tls"]);
        check("a.example/team/pinned", Access::Pull, &["a.example/team/pinned Tls"]);
        check(
            &format!("a.example/team/pinned@{digest}"),
            Access::Pull,
            &["m.example/p Tls", "a.example/team/pinned Tls"],
        );
        check("127.0.0.1:5000/x", Access::Push, &["127.0.0.1:5000/x Plain"]);
        for name in ["x.bad.example/a", "y.x.bad.example:1/a"] {
            let error = hosts().endpoints(&name.parse().unwrap(), Access::Pull).unwrap_err();
            assert!(matches!(error, RegistryError::Blocked { .. }), "{error}");
        }
        check("bad.example/a", Access::Pull, &["bad.example/a Tls"]);
    }

    #[test]
    fn without_a_file_docker_s_rules_hold() {
        let check = |name: &str, expected: &str| {
            let endpoint = &Hosts::default().endpoints(&name.parse().unwrap(), Access::Pull).unwrap()[0];
            let Endpoint { host, repository, account, security } = endpoint;
            assert_eq!(format!("{host} {repository} {account} {security:?}"), expected);
            assert_eq!(Hosts::default().expand(name), None);
        };
        check("busybox", "registry-1.docker.io library/busybox docker.io Tls");
        check("a/b", "registry-1.docker.io a/b docker.io Tls");
        check("localhost/x", "localhost x localhost Plain");
        check("127.1.2.3/x", "127.1.2.3 x 127.1.2.3 Plain");
        check("r.example:5000/x", "r.example:5000 x r.example:5000 Tls");
    }

    #[test]
    fn short_names_mean_what_the_file_says() {
        let check = |text: &str, expected: Option<&[&str]>| {
            let expanded = hosts().expand(text);
            let expanded = expanded.map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>());
            let expanded = expanded.as_ref().map(|list| list.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(expanded.as_deref(), expected, "{text}");
        };
        check("tool:3", Some(&["quay.example/team/tool:3"]));
        check("tool", Some(&["quay.example/team/tool:latest"]));
        check("app", Some(&["one.example/app:latest", "two.example/app:latest"]));
        check("me/app:1", Some(&["one.example/me/app:1", "two.example/me/app:1"]));
        check("docker.io/app", None);
        check("localhost/app", None);
        check("r:5000/app", None);
    }

    #[test]
    fn later_files_count_more_and_wrong_ones_say_why() {
        let mut hosts = hosts();
        hosts.add("[aliases]\ntool = \"x.example/tool\"").unwrap();
        hosts.add("[[registry]]\nprefix = \"docker.io\"\nlocation = \"own.example\"").unwrap();
        assert_eq!(hosts.expand("tool").unwrap()[0].registry(), "x.example");
        let endpoints = hosts.endpoints(&"busybox".parse().unwrap(), Access::Pull).unwrap();
        assert_eq!((endpoints.len(), endpoints[0].host.as_str()), (1, "own.example"));
        assert!(matches!(hosts.add("x = "), Err(HostsError::Malformed { .. })));
        assert_eq!(hosts.add("[registries.search]\nregistries = []"), Err(HostsError::Version1));
        assert_eq!(hosts.add("[[registry]]\ninsecure = true"), Err(HostsError::NoName));
    }
}
