//! The address of a git repository, with what to take of it.

use super::{RemoteSourceError, redacted, scheme, unescape};

/// A git repository and what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GitSource {
    /// The repository, as git takes it.
    pub remote: String,
    /// A branch, tag, full reference or commit; the default branch when missing.
    pub reference: Option<String>,
    /// The commit that it has to be, or its first digits, in lower case.
    pub checksum: Option<String>,
    /// The directory that is wanted, as written.
    pub subdir: Option<String>,
    /// Whether `.git` is kept, when the address says so.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are taken, when the address says so.
    pub submodules: Option<bool>,
}

/// The repository without credentials, and what is wanted of it after `#`.
impl std::fmt::Display for GitSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&redacted(&self.remote))?;
        if self.reference.is_some() || self.subdir.is_some() {
            write!(f, "#{}", self.reference.as_deref().unwrap_or_default())?;
        }
        self.subdir.as_ref().map_or(Ok(()), |subdir| write!(f, ":{subdir}"))
    }
}

impl GitSource {
    /// Reads an address; `None` when it is not that of a git repository.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, RemoteSourceError> {
        if text.starts_with("./") || text.starts_with("../") {
            return Ok(None);
        }
        let Some((scheme, rest)) = scheme(text) else { return Self::of_scp(text) };
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let is_git = match scheme.as_str() {
            "git" | "ssh" => true,
            "http" | "https" => path.contains('/') && path.ends_with(".git"),
            _ => false,
        };
        if is_git { Self::of_url(text).map(Some) } else { Ok(None) }
    }

    /// Reads `scheme://…`, which is known to be git's.
    pub(super) fn of_url(text: &str) -> Result<Self, RemoteSourceError> {
        let bad = || RemoteSourceError::BadAddress { address: redacted(text) };
        let (scheme, rest) = scheme(text).ok_or_else(bad)?;
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').ok_or_else(bad)?;
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        // A name that begins with `-` would be an option to what git starts.
        if host.is_empty() || host.starts_with('-') || path.is_empty() || has_control(rest) {
            return Err(bad());
        }
        Self { remote: format!("{scheme}://{rest}"), ..Self::default() }.with(query, fragment)
    }

    /// Reads `user@host:path`.
    fn of_scp(text: &str) -> Result<Option<Self>, RemoteSourceError> {
        let (address, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (address, query) = address.split_once('?').unwrap_or((address, ""));
        let Some((user, rest)) = address.split_once('@') else { return Ok(None) };
        let Some((host, path)) = rest.split_once(':') else { return Ok(None) };
        let word = |text: &str, more: &[u8]| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
        };
        if !word(user, b"-_") || !word(host, b"-.") {
            return Ok(None);
        }
        if user.starts_with('-') || host.starts_with('-') || path.is_empty() || has_control(path) {
            return Err(RemoteSourceError::BadAddress { address: address.to_owned() });
        }
        Self { remote: address.to_owned(), ..Self::default() }.with(query, fragment).map(Some)
    }

    fn with(mut self, query: &str, fragment: &str) -> Result<Self, RemoteSourceError> {
        let bad = |text: &str| RemoteSourceError::BadReference { name: text.to_owned() };
        let fragment = unescape(fragment).ok_or_else(|| bad(fragment))?;
        let (reference, subdir) = fragment.split_once(':').unwrap_or((&fragment, ""));
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        (self.reference, self.subdir) = (given(reference), given(subdir));
        self.query(query)?;
        if let Some(checksum) = &self.checksum {
            check_commit(checksum)?;
        }
        match &self.reference {
            Some(name) if !is_reference(name) => Err(bad(name)),
            _ => Ok(self),
        }
    }

    fn query(&mut self, query: &str) -> Result<(), RemoteSourceError> {
        let mut seen: Vec<String> = Vec::new();
        for field in query.split('&').filter(|field| !field.is_empty()) {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            let value = unescape(&value.replace('+', " "))
                .ok_or_else(|| RemoteSourceError::NoValue { key: key.to_owned() })?;
            let key = if key == "commit" { "checksum" } else { key };
            if seen.iter().any(|known| known == key) {
                return Err(RemoteSourceError::Repeated { key: key.to_owned() });
            }
            seen.push(key.to_owned());
            self.option(key, value)?;
        }
        Ok(())
    }

    fn option(&mut self, key: &str, value: String) -> Result<(), RemoteSourceError> {
        let flag = |value: &str| match value {
            "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
            _ => Err(RemoteSourceError::NotBool { key: key.to_owned(), value: value.to_owned() }),
        };
        let full = |prefix: &str| {
            if value.starts_with(prefix) { value.clone() } else { format!("{prefix}{value}") }
        };
        match key {
            "submodules" => self.submodules = flag(&value)?,
            "keep-git-dir" => self.keep_git_dir = flag(&value)?,
            "ref" | "branch" | "tag" | "subdir" | "checksum" if value.is_empty() => {
                return Err(RemoteSourceError::NoValue { key: key.to_owned() });
            }
            "ref" => agree(&mut self.reference, value)?,
            "branch" => agree(&mut self.reference, full("refs/heads/"))?,
            "tag" => agree(&mut self.reference, full("refs/tags/"))?,
            "subdir" => agree(&mut self.subdir, value)?,
            "checksum" => self.checksum = Some(value.to_ascii_lowercase()),
            _ => return Err(RemoteSourceError::UnknownOption { key: key.to_owned() }),
        }
        Ok(())
    }

    /// Takes a checksum that is given beside the address (`ADD --checksum`).
    ///
    /// # Errors
    /// When it is no commit, or the address has another one.
    pub fn with_checksum(mut self, checksum: &str) -> Result<Self, RemoteSourceError> {
        let checksum = checksum.to_ascii_lowercase();
        check_commit(&checksum)?;
        agree(&mut self.checksum, checksum)?;
        Ok(self)
    }

    /// The commit, when the address names it in full: what it leads to then never changes.
    #[must_use]
    pub fn commit(&self) -> Option<&str> {
        let full = |text: &&str| is_full_commit(text);
        self.checksum.as_deref().filter(full).or_else(|| self.reference.as_deref().filter(full))
    }
}

/// Whether a text is a commit in full: 40 hexadecimal digits in lower case, or 64 in a repository that uses SHA-256.
#[must_use]
pub fn is_full_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn check_commit(text: &str) -> Result<(), RemoteSourceError> {
    if (1..=64).contains(&text.len()) && is_hex(text) {
        return Ok(());
    }
    Err(RemoteSourceError::NotCommit { value: text.to_owned() })
}

fn agree(place: &mut Option<String>, value: String) -> Result<(), RemoteSourceError> {
    match place {
        Some(one) if *one != value => Err(RemoteSourceError::Conflict { one: one.clone(), other: value }),
        _ => {
            *place = Some(value);
            Ok(())
        }
    }
}

fn has_control(text: &str) -> bool {
    text.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// Whether a text can be the name of a branch, tag or other reference, complete or not: the rules of git-check-ref-format(1), by
/// which it is a path that stays where it is, too.
#[must_use]
pub fn is_reference(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let hidden = |part: &str| part.starts_with('.') || part.ends_with(".lock");
    !name.starts_with(['-', '+', '/'])
        && !name.ends_with(['/', '.'])
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains("//")
        && !name.contains(forbidden)
        && !name.split('/').any(hidden)
}
