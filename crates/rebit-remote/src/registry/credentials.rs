//! Who the user is to a registry, and the files that say so: Docker's `config.json` and containers' `auth.json`.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// What a registry is shown. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user name and a password.
    Password {
        /// The user name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token that the registry's token server takes for others.
    IdentityToken(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

impl Credentials {
    /// The value of an `Authorization` field; `None` for a token.
    pub(super) fn basic(&self) -> Option<String> {
        match self {
            Self::Password { user, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            Self::IdentityToken(_) => None,
        }
    }
}

/// The key under which Docker keeps what it knows of docker.io.
pub const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// What a file of credentials says of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// These.
    Credentials(Credentials),
    /// The program `docker-credential-NAME` knows.
    Helper {
        /// The end of the program's name.
        name: String,
        /// What it is asked for.
        server: String,
    },
}

/// A `config.json` or `auth.json`.
#[derive(Debug, Default, Deserialize)]
pub struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: String,
}

#[derive(Default, Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth(..)")
    }
}

/// Why a file of credentials cannot be used. It does not repeat what is in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthFileError {
    /// It is no JSON of that shape.
    #[error("it is not a file of credentials (line {line}, column {column})")]
    Malformed {
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
    /// An entry is not base64 of `user:password`.
    #[error("the entry `{key}` is not base64 of a user name and a password")]
    Entry {
        /// The entry.
        key: String,
    },
}

impl AuthFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`AuthFileError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, AuthFileError> {
        // An error of the parser may quote the file.
        serde_json::from_slice(bytes)
            .map_err(|error| AuthFileError::Malformed { line: error.line(), column: error.column() })
    }

    /// What the file says of `registry`, where `repository` is wanted. The longest name that fits counts.
    ///
    /// # Errors
    /// [`AuthFileError::Entry`].
    pub fn entry(&self, registry: &str, repository: &str) -> Result<Option<Entry>, AuthFileError> {
        let server = server_key(registry);
        if let Some(name) = self.helper_of(registry) {
            return Ok(Some(Entry::Helper { name, server }));
        }
        let full = format!("{registry}/{repository}");
        let fits = |key: &str| {
            let key = host_of(key);
            let fits = full.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            fits.then_some(key.len())
        };
        let known = self.auths.iter().filter_map(|(key, auth)| Some((fits(key)?, key, auth)));
        let known = known.filter(|(_, _, auth)| auth.is_some());
        match known.max_by_key(|(length, _, _)| *length) {
            Some((_, key, auth)) => auth.credentials(key).map(|found| Some(Entry::Credentials(found))),
            None => Ok(None),
        }
    }

    /// The helper that knows of `registry`: its own, or the one for all.
    #[must_use]
    pub fn helper_of(&self, registry: &str) -> Option<String> {
        let own = self.helpers.iter().find(|(key, _)| host_of(key) == registry).map(|(_, name)| name);
        own.or(Some(&self.store)).filter(|name| !name.is_empty()).cloned()
    }
}

impl Auth {
    fn is_some(&self) -> bool {
        !self.auth.is_empty() || !self.identity_token.is_empty() || !self.username.is_empty()
    }

    fn credentials(&self, key: &str) -> Result<Credentials, AuthFileError> {
        if !self.identity_token.is_empty() {
            return Ok(Credentials::IdentityToken(self.identity_token.clone()));
        }
        if self.auth.is_empty() {
            return Ok(Credentials::Password {
                user: self.username.clone(),
                password: self.password.clone(),
            });
        }
        let pair = || {
            let text = String::from_utf8(STANDARD.decode(self.auth.trim()).ok()?).ok()?;
            let (user, password) = text.split_once(':')?;
            // Docker once ended passwords with a zero byte.
            Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
        };
        let (user, password) = pair().ok_or_else(|| AuthFileError::Entry { key: key.to_owned() })?;
        Ok(Credentials::Password { user, password })
    }
}

/// The key by which Docker keeps a registry.
#[must_use]
pub fn server_key(registry: &str) -> String {
    if registry == "docker.io" { DOCKER_HUB_KEY.to_owned() } else { registry.to_owned() }
}

/// The value of `auth` for a user name and a password.
#[must_use]
pub fn encode_auth(user: &str, password: &str) -> String {
    STANDARD.encode(format!("{user}:{password}"))
}

/// The host, and perhaps a part of a repository, that a key is about.
fn host_of(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let name = rest.trim_end_matches('/');
    let name = name.strip_suffix("/v1").or_else(|| name.strip_suffix("/v2")).unwrap_or(name);
    if matches!(name, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Option<Entry> {
        Some(Entry::Credentials(Credentials::Password { user: user.into(), password: password.into() }))
    }

    #[test]
    fn the_entry_that_fits_best_counts() {
        let auth = |text: &str| STANDARD.encode(text);
        let file = format!(
            r#"{{"auths": {{
                "https://index.docker.io/v1/": {{"auth": "{}"}},
                "a.example": {{"auth": "{}"}},
                "a.example/team": {{"auth": "{}"}},
                "https://b.example/v2/": {{"username": "u", "password": "p"}},
                "c.example:5000": {{"auth": "", "identitytoken": "t"}},
                "empty.example": {{}}
            }}, "HttpHeaders": {{}}}}"#,
            auth("hub:1"),
            auth("all:2:3"),
            auth("team:4\0")
        );
        let file = AuthFile::parse(file.as_bytes()).unwrap();
        for (registry, repository, expected) in [
            ("docker.io", "library/x", password("hub", "1")),
            ("a.example", "x", password("all", "2:3")),
            ("a.example", "team/x", password("team", "4")),
            ("a.example", "teams/x", password("all", "2:3")),
            ("a.example:1", "x", None),
            ("b.example", "x", password("u", "p")),
            ("c.example:5000", "x", Some(Entry::Credentials(Credentials::IdentityToken("t".into())))),
            ("empty.example", "x", None),
            ("d.example", "x", None),
        ] {
            assert_eq!(file.entry(registry, repository).unwrap(), expected, "{registry} {repository}");
        }
    }

    #[test]
    fn helpers_come_before_what_is_in_the_file() {
        let file = br#"{"auths": {"a.example": {"auth": "eDp5"}}, "credsStore": "all", "credHelpers": {"b.example": "one", "docker.io": "hub"}}"#;
        let file = AuthFile::parse(file).unwrap();
        for (registry, name, server) in [
            ("a.example", "all", "a.example"),
            ("b.example", "one", "b.example"),
            ("docker.io", "hub", DOCKER_HUB_KEY),
        ] {
            let expected = Entry::Helper { name: name.into(), server: server.into() };
            assert_eq!(file.entry(registry, "x").unwrap(), Some(expected));
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        let error = AuthFile::parse(br#"{"auths": {"a": {"auth": {"secret": 1}}}}"#).unwrap_err();
        assert!(matches!(error, AuthFileError::Malformed { line: 1, .. }), "{error}");
        for auth in ["%%%", "bm9jb2xvbg==", "/////w=="] {
            let file = format!(r#"{{"auths": {{"a": {{"auth": "{auth}"}}}}}}"#);
            let error = AuthFile::parse(file.as_bytes()).unwrap().entry("a", "x").unwrap_err();
            assert_eq!(error.to_string(), "the entry `a` is not base64 of a user name and a password");
        }
        let credentials = Credentials::Password { user: "u".into(), password: "secret".into() };
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
