//! URLs, as far as HTTP needs them.

use std::fmt;

/// An `http://` or `https://` address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) tls: bool,
    /// Host and port as written.
    pub(crate) authority: String,
    /// Begins with `/`, ends before a fragment.
    target: String,
    /// `user:password`, unescaped.
    pub(super) credentials: Option<Credentials>,
}

/// What is written before the `@` of an address. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials(String);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

impl Credentials {
    /// The value of an `Authorization` field.
    pub(super) fn basic(&self) -> String {
        format!("Basic {}", base64(self.0.as_bytes()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.target)
    }
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("it has no scheme")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err("its scheme is neither http nor https"),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (credentials, authority) = match authority.rsplit_once('@') {
            Some((credentials, host)) => (Some(credentials), host),
            None => (None, authority),
        };
        let valid = |c: char| c.is_ascii_alphanumeric() || "-._~:[]".contains(c);
        if authority.is_empty() || authority.starts_with(':') || !authority.chars().all(valid) {
            return Err("its host is not valid");
        }
        if port(authority).is_err() {
            return Err("its port is not valid");
        }
        let credentials = match credentials {
            Some(text) => Some(Credentials(unescape(text).ok_or("its user name or password is not valid")?)),
            None => None,
        };
        Ok(Self { tls, authority: authority.to_ascii_lowercase(), target: escaped(target), credentials })
    }

    /// Where `location` leads from here. Credentials go along to the same host only.
    pub(crate) fn join(&self, location: &str) -> Result<Self, &'static str> {
        let scheme = if self.tls { "https" } else { "http" };
        let path = self.target.split('?').next().unwrap_or("/");
        let mut to = if location.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme)) {
            Self::parse(location)?
        } else if let Some(rest) = location.strip_prefix("//") {
            Self::parse(&format!("{scheme}://{rest}"))?
        } else {
            let target = match location.chars().next() {
                Some('/') => location.to_owned(),
                Some('?') => format!("{path}{location}"),
                _ => {
                    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
                    format!("{directory}/{location}")
                }
            };
            Self { target: escaped(&target), ..self.clone() }
        };
        if to.credentials.is_none() && (to.tls, &to.authority) == (self.tls, &self.authority) {
            to.credentials.clone_from(&self.credentials);
        }
        Ok(to)
    }

    /// The host without port and brackets.
    pub(crate) fn host(&self) -> &str {
        host(&self.authority)
    }

    pub(super) fn port(&self) -> u16 {
        port(&self.authority).ok().flatten().unwrap_or(if self.tls { 443 } else { 80 })
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn host(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => authority.split(':').next().unwrap_or_default(),
    }
}

fn port(authority: &str) -> Result<Option<u16>, ()> {
    let after = authority.rsplit_once(']').map_or(authority, |(_, after)| after);
    match after.split_once(':') {
        None => Ok(None),
        Some((_, "")) => Ok(None),
        Some((_, port)) => port.parse().map(Some).map_err(|_| ()),
    }
}

/// A target without fragment, `.` and `..`, in which everything that a request line cannot hold is escaped.
fn escaped(target: &str) -> String {
    let target = target.split('#').next().unwrap_or_default();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut parts: Vec<&str> = Vec::new();
    let mut rest = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(part) = rest.next() {
        let last = rest.peek().is_none();
        match part {
            "." if last => parts.push(""),
            "." => {}
            ".." => {
                parts.pop();
                if last {
                    parts.push("");
                }
            }
            part => parts.push(part),
        }
    }
    let mut text = format!("/{}", parts.join("/"));
    if let Some(query) = query {
        text.push('?');
        text.push_str(query);
    }
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push(match byte {
            b'%' => u8::try_from(digit(rest.next()?)? * 16 + digit(rest.next()?)?).ok()?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let digit = DIGITS.get((bits >> (18 - 6 * place) & 63) as usize).copied().unwrap_or(b'=');
            text.push(char::from(if place <= chunk.len() { digit } else { b'=' }));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, expected) in [
            ("http://host", "http://host/"),
            ("HTTP://HOST:80/A", "http://host:80/A"),
            ("https://host/a b?c d#e", "https://host/a%20b?c%20d"),
            ("https://host?x", "https://host/?x"),
            ("https://host/é", "https://host/%C3%A9"),
            ("https://host/%41", "https://host/%41"),
            ("https://user:pass@host/a@b", "https://host/a@b"),
            ("http://[::1]:8080/", "http://[::1]:8080/"),
            ("http://host/a/../b/./c", "http://host/b/c"),
            ("http://host/../../a/..", "http://host/"),
            ("ftp://host", "its scheme is neither http nor https"),
            ("host/x", "it has no scheme"),
            ("http://", "its host is not valid"),
            ("http://:80/", "its host is not valid"),
            ("http://ho st/", "its host is not valid"),
            ("http://host:99999/", "its port is not valid"),
            ("http://host\r\nX: y/", "its host is not valid"),
            ("http://%zz@host/", "its user name or password is not valid"),
        ] {
            let shown = Address::parse(text).map_or_else(str::to_owned, |address| address.to_string());
            assert_eq!(shown, expected, "{text}");
        }
    }

    #[test]
    fn redirects_are_relative_to_where_they_come_from() {
        let from = Address::parse("https://u:p@host/a/b?c").unwrap();
        for (location, expected, credentials) in [
            ("http://other/x", "http://other/x", false),
            ("https://host/x", "https://host/x", true),
            ("https://host:8443/x", "https://host:8443/x", false),
            ("//other/x", "https://other/x", false),
            ("/x", "https://host/x", true),
            ("x?y", "https://host/a/x?y", true),
            ("../x", "https://host/x", true),
            ("?d", "https://host/a/b?d", true),
            ("x?u=http://y", "https://host/a/x?u=http://y", true),
            ("", "https://host/a/", true),
        ] {
            let to = from.join(location).unwrap();
            assert_eq!(
                (to.to_string().as_str(), to.credentials.is_some()),
                (expected, credentials),
                "{location}"
            );
        }
        assert!(from.join("ftp://host/x").is_err());
    }

    #[test]
    fn credentials_are_sent_and_never_shown() {
        let address = Address::parse("https://aladdin:open%20sesame@host/").unwrap();
        assert_eq!(address.credentials.as_ref().unwrap().basic(), "Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(!format!("{address:?} {address}").contains("sesame"));
        for (bytes, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("\u{3f}\u{7f}?", "P38/")]
        {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
    }
}
