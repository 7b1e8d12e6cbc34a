//! Sources that are addresses: what `ADD` and build contexts fetch instead of reading.
//!
//! What counts as one follows the Dockerfile reference and, where that is silent, BuildKit: `git://`, `ssh://` and
//! `user@host:path` are git repositories, and so is an `http://` or `https://` address whose path ends in `.git`; every other
//! `http://` or `https://` address is a file. Nothing is opened here.

mod git;
#[cfg(test)]
mod tests;

pub use git::{GitSource, is_full_commit, is_reference};

/// A source that comes over the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteSource {
    /// A git repository.
    Git(GitSource),
    /// A file, by its `http://` or `https://` address as written.
    Url(String),
}

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteSourceError {
    /// A key of the query that means nothing here.
    #[error("`{key}` is no option of a git address")]
    UnknownOption {
        /// The key.
        key: String,
    },
    /// A key without the value that it needs.
    #[error("the option `{key}` of the git address has no value")]
    NoValue {
        /// The key.
        key: String,
    },
    /// A key that is given more than once.
    #[error("the option `{key}` of the git address is given more than once")]
    Repeated {
        /// The key.
        key: String,
    },
    /// A value that is neither true nor false.
    #[error("`{value}` is neither true nor false, which the option `{key}` of the git address needs")]
    NotBool {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// Two parts of the address say different things.
    #[error("the git address names both `{one}` and `{other}`")]
    Conflict {
        /// The first value.
        one: String,
        /// The second.
        other: String,
    },
    /// A commit that is not one, or only the start of one where that does not do.
    #[error("`{value}` is not a commit: 1 to 64 hexadecimal digits")]
    NotCommit {
        /// The value.
        value: String,
    },
    /// A name that git would not take, or take for an option.
    #[error("`{name}` cannot be the name of a branch, tag or commit")]
    BadReference {
        /// The name.
        name: String,
    },
    /// An address that cannot be handed to git.
    #[error("`{address}` is not the address of a git repository")]
    BadAddress {
        /// The address, without credentials.
        address: String,
    },
}

impl RemoteSource {
    /// Reads a source of `ADD`; `None` when it is a path.
    ///
    /// # Errors
    /// When it is the address of a git repository that says something that cannot be meant.
    pub fn parse(text: &str) -> Result<Option<Self>, RemoteSourceError> {
        if let Some(git) = GitSource::parse(text)? {
            return Ok(Some(Self::Git(git)));
        }
        Ok(is_http(text).then(|| Self::Url(text.to_owned())))
    }

    /// Reads the place of a build context, where `github.com/…` is a git repository too; `None` when it is a path.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_context(text: &str) -> Result<Option<Self>, RemoteSourceError> {
        if text.starts_with("github.com/") {
            return GitSource::of_url(&format!("https://{text}")).map(|git| Some(Self::Git(git)));
        }
        Self::parse(text)
    }
}

fn is_http(text: &str) -> bool {
    scheme(text).is_some_and(|(scheme, _)| matches!(scheme.as_str(), "http" | "https"))
}

/// The scheme in lower case, and what follows `://`.
fn scheme(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let valid = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    valid.then(|| (scheme.to_ascii_lowercase(), rest))
}

/// The name of the file that a URL leads to: the last component of its path, with `%` escapes read; `None` when the path has none.
///
/// ```
/// use rebit_dockerfile::remote::file_name;
/// assert_eq!(file_name("https://host/dir/a%20b.tar?x=y#z").as_deref(), Some("a b.tar"));
/// assert_eq!(file_name("https://host/"), None);
/// ```
#[must_use]
pub fn file_name(url: &str) -> Option<String> {
    let (_, rest) = scheme(url)?;
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (_, path) = rest.split_once('/')?;
    let path = unescape(path)?;
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    (!name.is_empty() && name != "." && name != ".." && !name.contains('\0')).then(|| name.to_owned())
}

/// An address without user name and password, for messages, logs and keys.
///
/// ```
/// use rebit_dockerfile::remote::redacted;
/// assert_eq!(redacted("https://user:secret@host/x"), "https://host/x");
/// assert_eq!(redacted("git@host:x.git"), "git@host:x.git");
/// ```
#[must_use]
pub fn redacted(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    // The user of an SSH address is part of where it leads; a password never is.
    let host = authority.rsplit_once('@').map_or(authority, |(user, host)| {
        if scheme.eq_ignore_ascii_case("ssh") && !user.contains(':') { authority } else { host }
    });
    format!("{scheme}://{host}{tail}")
}

/// Reads `%XX`; `None` when what comes out is not UTF-8 or an escape is not one.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let value = digit(rest.next()?)? * 16 + digit(rest.next()?)?;
        bytes.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(bytes).ok()
}
