//! Where packages come from: the sources of apt's configuration (sources.list(5)).

use std::path::PathBuf;

use crate::DistroError;
use crate::deb822::{Paragraph, Paragraphs};

/// One suite of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The address of the archive, without a `/` at its end.
    pub uri: String,
    /// The suite.
    pub suite: String,
    /// The components.
    pub components: Vec<String>,
    /// The architectures that it is used for; all when there is none.
    pub architectures: Vec<String>,
    /// Whose signature is accepted.
    pub signed_by: SignedBy,
    /// Whether a Release file counts after its `Valid-Until`; what apt is told in general where the source says nothing.
    pub expired: Option<bool>,
}

/// Whose signature of a Release file is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedBy {
    /// Whoever the machine trusts.
    Default,
    /// The keys of these files, or where there is none, of the files that the machine trusts. Where there are fingerprints, only keys
    /// that have one of them.
    Files {
        /// The files.
        paths: Vec<PathBuf>,
        /// The fingerprints, in upper case.
        fingerprints: Vec<String>,
    },
    /// The armored key that stands in the configuration.
    Key(Vec<u8>),
}

/// Reads a file of one source a line, `sources.list`. What is no source of binary packages is passed over.
///
/// # Errors
/// [`DistroError::Configuration`] with the line.
pub fn parse_list(text: &str, file: &str) -> Result<Vec<Source>, DistroError> {
    let mut sources = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t', '['])) else {
            continue;
        };
        let wrong = |reason: &str| DistroError::Configuration {
            file: file.to_owned(),
            reason: format!("line {}: {reason}", number + 1),
        };
        let rest = rest.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or_else(|| wrong("a `]` is missing"))?,
            None => ("", rest),
        };
        let mut words = rest.split_whitespace();
        let (Some(uri), Some(suite)) = (words.next(), words.next()) else {
            return Err(wrong("it has no address or no suite"));
        };
        let (mut architectures, mut signed_by, mut expired) = (Vec::new(), SignedBy::Default, None);
        for option in options.split_whitespace() {
            match option.split_once('=') {
                Some(("arch", value)) => architectures = value.split(',').map(str::to_owned).collect(),
                Some(("signed-by", value)) => signed_by = keys(value.split(',')).map_err(|e| wrong(&e))?,
                Some(("check-valid-until", value)) => expired = Some(is_no(value)),
                _ => {}
            }
        }
        sources.push(Source {
            uri: uri.trim_end_matches('/').to_owned(),
            suite: suite.to_owned(),
            components: words.map(str::to_owned).collect(),
            architectures,
            signed_by,
            expired,
        });
    }
    Ok(sources)
}

/// What apt takes for no (apt.conf(5)).
pub(crate) fn is_no(value: &str) -> bool {
    ["no", "false", "without", "off", "disable", "0"].iter().any(|no| value.eq_ignore_ascii_case(no))
}

/// Files and fingerprints; a word that is neither would make more keys count than are meant.
fn keys<'a>(words: impl Iterator<Item = &'a str>) -> Result<SignedBy, String> {
    let (mut paths, mut fingerprints) = (Vec::new(), Vec::new());
    for word in words.filter(|word| !word.is_empty()) {
        // With a `!` the very key is meant and not one below it; here both are compared.
        let digits = word.trim_end_matches('!');
        if word.starts_with('/') {
            paths.push(PathBuf::from(word));
        } else if matches!(digits.len(), 40 | 64) && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            fingerprints.push(digits.to_ascii_uppercase());
        } else {
            return Err(format!("`{word}` of Signed-By is neither a file nor a fingerprint"));
        }
    }
    let nothing = paths.is_empty() && fingerprints.is_empty();
    Ok(if nothing { SignedBy::Default } else { SignedBy::Files { paths, fingerprints } })
}

/// Reads a file of paragraphs, `NAME.sources`.
///
/// # Errors
/// [`DistroError::Configuration`].
pub fn parse_paragraphs(text: &str, file: &str) -> Result<Vec<Source>, DistroError> {
    let wrong = |reason: String| DistroError::Configuration { file: file.to_owned(), reason };
    let mut sources = Vec::new();
    for paragraph in Paragraphs::new(text.as_bytes()) {
        let fields = paragraph.map_err(|error| wrong(error.to_string()))?;
        let words =
            |name: &str| -> Vec<String> { fields.text(name).split_whitespace().map(str::to_owned).collect() };
        let enabled = !fields.get("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
        if !enabled || !words("Types").iter().any(|kind| kind == "deb") {
            continue;
        }
        let (uris, suites) = (words("URIs"), words("Suites"));
        let signed_by = signed_by(&fields).map_err(&wrong)?;
        if uris.is_empty() || suites.is_empty() {
            return Err(wrong("a source has no URIs or no Suites".to_owned()));
        }
        for uri in &uris {
            sources.extend(suites.iter().map(|suite| Source {
                uri: uri.trim_end_matches('/').to_owned(),
                suite: suite.clone(),
                components: words("Components"),
                architectures: words("Architectures"),
                signed_by: signed_by.clone(),
                expired: fields.get("Check-Valid-Until").map(is_no),
            }));
        }
    }
    Ok(sources)
}

fn signed_by(fields: &Paragraph) -> Result<SignedBy, String> {
    let text = fields.text("Signed-By");
    match text.find("-----BEGIN PGP") {
        // A line that holds a point is an empty one.
        Some(start) => {
            let key = text.get(start..).unwrap_or_default().lines();
            let lines: Vec<&str> = key.map(|line| if line == "." { "" } else { line }).collect();
            Ok(SignedBy::Key(format!("{}\n", lines.join("\n")).into_bytes()))
        }
        None => keys(text.split([',', ' ', '\t', '\n'])),
    }
}

/// What is wanted of the sources.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The suites; of a single one, its updates and security fixes are taken too where the sources have them.
    pub suites: &'a [String],
    /// The components.
    pub components: &'a [String],
    /// The architecture.
    pub architecture: &'a str,
    /// In place of the sources: the address of an archive.
    pub mirror: Option<&'a str>,
    /// Whether Release files count after their `Valid-Until`, whatever the sources say.
    pub expired: bool,
}

/// Suites that have no updates beside them: they are nothing but updates.
const ROLLING: [&str; 3] = ["unstable", "sid", "experimental"];

/// Chooses the sources for a recipe, in the order of its suites.
///
/// # Errors
/// [`DistroError::NoSource`], and [`DistroError::Configuration`] for an address that only apt can use.
pub fn select(sources: &[Source], wanted: &Wanted<'_>) -> Result<Vec<Source>, DistroError> {
    let on = |source: &Source, suite: &str| Source {
        suite: suite.to_owned(),
        components: wanted.components.to_vec(),
        architectures: Vec::new(),
        ..source.clone()
    };
    if let Some(mirror) = wanted.mirror {
        let source = Source {
            uri: mirror.trim_end_matches('/').to_owned(),
            suite: String::new(),
            components: Vec::new(),
            architectures: Vec::new(),
            signed_by: SignedBy::Default,
            expired: wanted.expired.then_some(true),
        };
        return checked(wanted.suites.iter().map(|suite| on(&source, suite)).collect());
    }
    let sources: Vec<&Source> = sources
        .iter()
        .filter(|source| {
            source.architectures.is_empty()
                || source.architectures.iter().any(|name| name == wanted.architecture)
        })
        .collect();
    let mut chosen: Vec<Source> = Vec::new();
    for suite in wanted.suites {
        let found = if sources.iter().any(|source| source.suite == *suite) {
            let mut names = vec![suite.clone()];
            if wanted.suites.len() == 1 {
                names.extend(BESIDE.map(|more| format!("{suite}{more}")));
            }
            let all = names.iter().flat_map(|name| {
                sources.iter().filter(move |source| source.suite == *name).map(move |source| on(source, name))
            });
            all.collect()
        } else {
            let beside = wanted.suites.len() == 1 && !ROLLING.contains(&suite.as_str());
            let found = other_release(&sources, suite, beside);
            found.iter().map(|(source, name)| on(source, name)).collect::<Vec<_>>()
        };
        if found.is_empty() {
            return Err(DistroError::NoSource { suite: suite.clone() });
        }
        for source in found {
            if !chosen.contains(&source) {
                chosen.push(source);
            }
        }
    }
    if wanted.expired {
        chosen.iter_mut().for_each(|source| source.expired = Some(true));
    }
    checked(chosen)
}

/// What the updates and security fixes of a suite are called.
const BESIDE: [&str; 2] = ["-updates", "-security"];

/// Where a suite is that no source names: an archive that has one release of a distribution has the others, and where it has updates
/// and security fixes of the one it has those of the others.
fn other_release<'a>(sources: &[&'a Source], suite: &str, beside: bool) -> Vec<(&'a Source, String)> {
    let named = |name: String| sources.iter().copied().filter(move |source| source.suite == name);
    let release = sources.iter().copied().find(|source| {
        !source.suite.contains(['-', '/'])
            && source.components.iter().any(|name| name == "main")
            && named(format!("{}-updates", source.suite)).any(|other| other.uri == source.uri)
    });
    let Some(release) = release else { return Vec::new() };
    let mut found = vec![(release, suite.to_owned())];
    for more in BESIDE.iter().filter(|_| beside) {
        let beside = named(format!("{}{more}", release.suite));
        found.extend(beside.map(|source| (source, format!("{suite}{more}"))));
    }
    found
}

/// Refuses addresses that have credentials, which pins would keep, and those that only apt knows how to use.
fn checked(sources: Vec<Source>) -> Result<Vec<Source>, DistroError> {
    for Source { uri, suite, .. } in &sources {
        let wrong = |reason: String| {
            Err(DistroError::Configuration { file: "the sources of packages".to_owned(), reason })
        };
        let (method, rest) = uri.split_once(':').unwrap_or(("", uri));
        if !matches!(method, "http" | "https" | "file") {
            return wrong(format!(
                "the suite `{suite}` is reached by `{method}:`, which only apt can use; http, https and file are supported"
            ));
        }
        if rest.trim_start_matches('/').split('/').next().is_some_and(|authority| authority.contains('@')) {
            return wrong(format!(
                "the address of the suite `{suite}` has credentials, and pins would keep them"
            ));
        }
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# comment\ndeb http://a.test/debian/ bookworm main contrib # more\ndeb-src http://a.test/debian bookworm main\ndeb [arch=amd64,arm64 signed-by=/k/a.gpg check-valid-until=no] http://b.test x main\n\n";
    const PARAGRAPHS: &str = "Types: deb deb-src\nURIs: http://a.test/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k/a.gpg\n\nTypes: deb\nURIs: http://s.test/\nSuites: bookworm-security\nComponents: main\nCheck-Valid-Until: yes\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----\n\nTypes: deb\nURIs: http://off.test\nSuites: bookworm\nEnabled: no\n\nTypes: deb-src\nURIs: http://src.test\nSuites: bookworm\n";

    #[test]
    fn lists_are_read() {
        let found = parse_list(LIST, "f").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].uri.as_str(), found[0].components.len()), ("http://a.test/debian", 2));
        assert_eq!(found[1].architectures, ["amd64", "arm64"]);
        let a_key = SignedBy::Files { paths: vec!["/k/a.gpg".into()], fingerprints: Vec::new() };
        assert_eq!((&found[1].signed_by, found[1].expired), (&a_key, Some(true)));
        for (text, expected) in [
            ("deb x", "line 1: it has no"),
            ("\ndeb [x http://a b", "line 2: a `]`"),
            ("deb [signed-by=a.gpg] http://a b", "line 1: `a.gpg` of Signed-By is neither a file nor"),
        ] {
            let error = parse_list(text, "f").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn paragraphs_are_read() {
        let found = parse_paragraphs(PARAGRAPHS, "f").unwrap();
        let suites: Vec<&str> = found.iter().map(|source| source.suite.as_str()).collect();
        assert_eq!(suites, ["bookworm", "bookworm-updates", "bookworm-security"]);
        let key = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(found[2].signed_by, SignedBy::Key(key.to_vec()));
        assert_eq!((found[0].expired, found[2].expired), (None, Some(false)));
        let digits = "0123456789abcdef0123456789ABCDEF01234567";
        let text = format!("Types: deb\nURIs: x\nSuites: s\nSigned-By: /k, {digits}!\n");
        assert_eq!(
            parse_paragraphs(&text, "f").unwrap()[0].signed_by,
            SignedBy::Files { paths: vec!["/k".into()], fingerprints: vec![digits.to_ascii_uppercase()] }
        );
        assert!(parse_paragraphs(&text.replace("0123", "123"), "f").is_err());
        assert!(parse_paragraphs("Types: deb\nURIs: x\n", "f").is_err());
    }

    fn selected(suites: &[&str], mirror: Option<&str>) -> Result<Vec<String>, DistroError> {
        let sources = parse_paragraphs(PARAGRAPHS, "f").unwrap();
        let suites: Vec<String> = suites.iter().map(|suite| (*suite).to_owned()).collect();
        let components = ["main".to_owned()];
        let wanted = Wanted {
            suites: &suites,
            components: &components,
            architecture: "amd64",
            mirror,
            expired: false,
        };
        let found = select(&sources, &wanted)?;
        Ok(found.iter().map(|source| format!("{} {}", source.uri, source.suite)).collect())
    }

    #[test]
    fn sources_are_chosen_by_suite() {
        let [main, updates, security] = [
            "http://a.test/debian bookworm",
            "http://a.test/debian bookworm-updates",
            "http://s.test bookworm-security",
        ];
        assert_eq!(selected(&["bookworm"], None).unwrap(), [main, updates, security]);
        assert_eq!(selected(&["bookworm", "bookworm-security"], None).unwrap(), [main, security]);
        // A release that the sources do not name has its updates where theirs are.
        assert_eq!(
            selected(&["trixie"], None).unwrap(),
            [main, updates, security].map(|source| source.replace("bookworm", "trixie"))
        );
        assert_eq!(selected(&["sid"], None).unwrap(), [main.replace("bookworm", "sid")]);
        assert_eq!(selected(&["sid", "bookworm"], None).unwrap(), [&main.replace("bookworm", "sid"), main]);
        assert_eq!(selected(&["x"], Some("http://m.test/")).unwrap(), ["http://m.test x"]);
        for (mirror, expected) in [
            ("mirror+file:/x", "by `mirror+file:`, which only apt can use"),
            ("http://u:p@h/x", "has credentials"),
        ] {
            let error = selected(&["x"], Some(mirror)).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("u:p"), "{error}");
        }
        let suites = ["x".to_owned()];
        let none =
            Wanted { suites: &suites, components: &[], architecture: "a", mirror: None, expired: false };
        let none = select(&[], &none);
        assert!(matches!(none, Err(DistroError::NoSource { suite }) if suite == "x"));
    }
}
