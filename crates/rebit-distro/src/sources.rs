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
}

/// Whose signature of a Release file is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedBy {
    /// Whoever the machine trusts.
    Default,
    /// The keys of these files.
    Files(Vec<PathBuf>),
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
        let (mut architectures, mut signed_by) = (Vec::new(), SignedBy::Default);
        for option in options.split_whitespace() {
            match option.split_once('=') {
                Some(("arch", value)) => architectures = value.split(',').map(str::to_owned).collect(),
                Some(("signed-by", value)) => signed_by = files(value.split(',')),
                _ => {}
            }
        }
        sources.push(Source {
            uri: uri.trim_end_matches('/').to_owned(),
            suite: suite.to_owned(),
            components: words.map(str::to_owned).collect(),
            architectures,
            signed_by,
        });
    }
    Ok(sources)
}

fn files<'a>(words: impl Iterator<Item = &'a str>) -> SignedBy {
    // Fingerprints instead of files choose among the trusted keys; the keyrings are asked as a whole then.
    let paths: Vec<PathBuf> = words.filter(|word| word.starts_with('/')).map(PathBuf::from).collect();
    if paths.is_empty() { SignedBy::Default } else { SignedBy::Files(paths) }
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
        if uris.is_empty() || suites.is_empty() {
            return Err(wrong("a source has no URIs or no Suites".to_owned()));
        }
        for uri in &uris {
            sources.extend(suites.iter().map(|suite| Source {
                uri: uri.trim_end_matches('/').to_owned(),
                suite: suite.clone(),
                components: words("Components"),
                architectures: words("Architectures"),
                signed_by: signed_by(&fields),
            }));
        }
    }
    Ok(sources)
}

fn signed_by(fields: &Paragraph) -> SignedBy {
    let text = fields.text("Signed-By");
    match text.find("-----BEGIN PGP") {
        // A line that holds a point is an empty one.
        Some(start) => {
            let key = text.get(start..).unwrap_or_default().lines();
            let lines: Vec<&str> = key.map(|line| if line == "." { "" } else { line }).collect();
            SignedBy::Key(format!("{}\n", lines.join("\n")).into_bytes())
        }
        None => files(text.split_whitespace()),
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
}

/// Chooses the sources for a recipe, in the order of its suites.
///
/// # Errors
/// [`DistroError::NoSource`].
pub fn select(sources: &[Source], wanted: &Wanted<'_>) -> Result<Vec<Source>, DistroError> {
    let on = |uri: &str, suite: &str, signed_by: &SignedBy| Source {
        uri: uri.trim_end_matches('/').to_owned(),
        suite: suite.to_owned(),
        components: wanted.components.to_vec(),
        architectures: Vec::new(),
        signed_by: signed_by.clone(),
    };
    if let Some(mirror) = wanted.mirror {
        return Ok(wanted.suites.iter().map(|suite| on(mirror, suite, &SignedBy::Default)).collect());
    }
    let fits = |source: &&Source| {
        source.architectures.is_empty() || source.architectures.iter().any(|name| name == wanted.architecture)
    };
    let mut chosen: Vec<Source> = Vec::new();
    for suite in wanted.suites {
        let mut names = vec![suite.clone()];
        if wanted.suites.len() == 1 {
            names.extend(["updates", "security"].map(|more| format!("{suite}-{more}")));
        }
        let before = chosen.len();
        for name in &names {
            for source in sources.iter().filter(fits).filter(|source| source.suite == *name) {
                let taken = on(&source.uri, name, &source.signed_by);
                if !chosen.contains(&taken) {
                    chosen.push(taken);
                }
            }
        }
        if chosen.len() == before {
            // An archive that has one release of a distribution has the others.
            let release = |source: &&Source| {
                !source.suite.contains(['-', '/'])
                    && source.components.iter().any(|name| name == "main")
                    && sources.iter().any(|other| {
                        other.uri == source.uri && other.suite == format!("{}-updates", source.suite)
                    })
            };
            let other = sources.iter().filter(fits).find(release);
            let other = other.ok_or_else(|| DistroError::NoSource { suite: suite.clone() })?;
            chosen.push(on(&other.uri, suite, &other.signed_by));
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# comment\ndeb http://a.test/debian/ bookworm main contrib # more\ndeb-src http://a.test/debian bookworm main\ndeb [arch=amd64,arm64 signed-by=/k/a.gpg] http://b.test x main\n\n";
    const PARAGRAPHS: &str = "Types: deb deb-src\nURIs: http://a.test/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k/a.gpg\n\nTypes: deb\nURIs: http://s.test/\nSuites: bookworm-security\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----\n\nTypes: deb\nURIs: http://off.test\nSuites: bookworm\nEnabled: no\n\nTypes: deb-src\nURIs: http://src.test\nSuites: bookworm\n";

    #[test]
    fn lists_are_read() {
        let found = parse_list(LIST, "f").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].uri.as_str(), found[0].components.len()), ("http://a.test/debian", 2));
        assert_eq!(found[1].architectures, ["amd64", "arm64"]);
        assert_eq!(found[1].signed_by, SignedBy::Files(vec!["/k/a.gpg".into()]));
        for (text, expected) in [("deb x", "line 1: it has no"), ("\ndeb [x http://a b", "line 2: a `]`")] {
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
        assert!(parse_paragraphs("Types: deb\nURIs: x\n", "f").is_err());
    }

    fn selected(suites: &[&str], mirror: Option<&str>) -> Result<Vec<String>, DistroError> {
        let sources = parse_paragraphs(PARAGRAPHS, "f").unwrap();
        let suites: Vec<String> = suites.iter().map(|suite| (*suite).to_owned()).collect();
        let components = ["main".to_owned()];
        let wanted = Wanted { suites: &suites, components: &components, architecture: "amd64", mirror };
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
        assert_eq!(selected(&["trixie"], None).unwrap(), ["http://a.test/debian trixie"]);
        assert_eq!(selected(&["x"], Some("http://m.test/")).unwrap(), ["http://m.test x"]);
        let none =
            select(&[], &Wanted { suites: &["x".into()], components: &[], architecture: "a", mirror: None });
        assert!(matches!(none, Err(DistroError::NoSource { suite }) if suite == "x"));
    }
}
