//! Who one is to an archive: `auth.conf` (apt_auth.conf(5)).

use std::fmt;

/// Most entries of all files.
const MAX_ENTRIES: usize = 10_000;

/// A name and a password. They are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}

/// Whom an entry is for, and what is said there.
#[derive(Debug, Clone)]
struct Entry {
    /// `http` or `https`; where none is written, `https` alone.
    scheme: String,
    /// Host and port, in lower case.
    authority: String,
    /// What a path begins with; nothing, or it begins with `/`.
    path: String,
    login: Login,
}

/// The entries of files, in their order.
#[derive(Debug, Clone, Default)]
pub struct Logins {
    entries: Vec<Entry>,
}

impl Logins {
    /// Adds the entries of a text, and returns how many were beyond the limit of 10,000 and left out. Words that are not known are passed
    /// over, as apt does.
    pub fn add(&mut self, text: &str) -> usize {
        let text: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .flat_map(|line| [line, "\n"])
            .collect();
        let mut words = text.split_whitespace();
        let mut current: Option<Entry> = None;
        let mut left_out = 0;
        while let Some(word) = words.next() {
            if !matches!(word, "machine" | "login" | "password") {
                continue;
            }
            let Some(value) = words.next() else { break };
            match (word, &mut current) {
                ("machine", current) => left_out += self.push(current.replace(machine(value))),
                ("login", Some(entry)) => value.clone_into(&mut entry.login.name),
                ("password", Some(entry)) => value.clone_into(&mut entry.login.password),
                _ => {}
            }
        }
        left_out + self.push(current)
    }

    fn push(&mut self, entry: Option<Entry>) -> usize {
        let whole = |entry: &Entry| !entry.login.name.is_empty() && !entry.authority.is_empty();
        let Some(entry) = entry.filter(whole) else { return 0 };
        if self.entries.len() >= MAX_ENTRIES {
            return 1;
        }
        self.entries.push(entry);
        0
    }

    /// The login for an address: that of the first entry with its scheme, its host, its port if one is written, and the beginning of its
    /// path.
    #[must_use]
    pub fn find(&self, url: &str) -> Option<&Login> {
        let (scheme, authority, path) = parts(url)?;
        let host = without_port(&authority);
        // `..` would leave the path that credentials are for.
        let plain = !path.split('/').any(|part| part == "..");
        let fits = |entry: &&Entry| {
            entry.scheme == scheme
                && (entry.authority == authority || entry.authority == host)
                && (entry.path.is_empty() || (plain && path.starts_with(&entry.path)))
        };
        self.entries.iter().find(fits).map(|entry| &entry.login)
    }
}

fn machine(text: &str) -> Entry {
    let login = Login { name: String::new(), password: String::new() };
    let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let (scheme, authority, path) = parts(&full).unwrap_or_default();
    Entry { scheme, authority, path, login }
}

/// Scheme, host with port, and path.
fn parts(url: &str) -> Option<(String, String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    Some((scheme.to_ascii_lowercase(), authority.to_ascii_lowercase(), path.to_owned()))
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_entry_that_fits_is_taken() {
        // D-18
        let mut logins = Logins::default();
        logins.add(
            "# machine c.test login no password no\nmachine a.test/deb login one password 1\nmachine a.test\n  login two\n  password 2\nmachine http://plain.test:8080 login three password 3\nmachine d.test password only\nmachine e.test login four unknown word password 4",
        );
        for (url, expected) in [
            ("https://a.test/deb/dists", Some("one")),
            ("https://a.test/debian/x", Some("one")),
            ("https://a.test/deb/../x", Some("two")),
            ("https://A.test:99/x", Some("two")),
            ("http://a.test/deb", None),
            ("https://a.test.evil/deb", None),
            ("https://x@a.test/", None),
            ("http://plain.test:8080/x", Some("three")),
            ("http://plain.test/x", None),
            ("https://plain.test:8080/x", None),
            ("https://c.test/", None),
            ("https://d.test/", None),
            ("https://e.test/", Some("four")),
            ("file:/a.test/deb", None),
        ] {
            assert_eq!(logins.find(url).map(|login| login.name.as_str()), expected, "{url}");
        }
        assert!(!format!("{logins:?}").contains("two"));
    }

    #[test]
    fn entries_beyond_the_limit_are_counted() {
        let mut logins = Logins::default();
        let text = |from, to| {
            (from..to).map(|n| format!("machine h{n}.test login a password b\n")).collect::<String>()
        };
        assert_eq!(logins.add(&text(0, MAX_ENTRIES - 1)), 0);
        assert_eq!(logins.add(&text(MAX_ENTRIES - 1, MAX_ENTRIES + 2)), 2);
        assert!(
            logins.find("https://h9999.test/").is_some() && logins.find("https://h10000.test/").is_none()
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(machine|login|password|[a:/# \n]){0,12}", url in "[a:/@]{0,12}") {
            let mut logins = Logins::default();
            logins.add(&text);
            let _ = logins.find(&url);
        }
    }
}
