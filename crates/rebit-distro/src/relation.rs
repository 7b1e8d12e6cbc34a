//! Fields that name other packages: `Depends`, `Conflicts`, `Provides` and their kin (Debian policy 7.1).

use std::cmp::Ordering;
use std::fmt;

use crate::version::Version;

/// Most relations of a field.
const MAX_RELATIONS: usize = 10_000;

/// How a version compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`, and the old `<`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`, and the old `>`
    LaterOrEqual,
    /// `>>`
    Later,
}

/// A package, and which of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The package's name.
    pub name: String,
    /// What stands after a colon: `any`, `native`, or an architecture.
    pub qualifier: Option<String>,
    /// Which versions; all when it is missing.
    pub version: Option<(Operator, Version)>,
    /// The architectures that the relation is for, `!` before those it is not for; all when there is none.
    pub architectures: Vec<String>,
}

/// Relations of which one is enough.
pub type Alternatives = Vec<Relation>;

/// Why a field was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` does not name a package: {reason}")]
pub struct ParseRelationError {
    /// The part of the field, cut.
    pub text: String,
    /// What is wrong.
    pub reason: String,
}

impl Operator {
    /// Whether `version` stands to `limit` as this says.
    #[must_use]
    pub fn holds(self, version: &Version, limit: &Version) -> bool {
        let order = version.cmp(limit);
        match self {
            Self::Earlier => order == Ordering::Less,
            Self::EarlierOrEqual => order != Ordering::Greater,
            Self::Equal => order == Ordering::Equal,
            Self::LaterOrEqual => order != Ordering::Less,
            Self::Later => order == Ordering::Greater,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        }
    }
}

impl Relation {
    /// Whether a package of this relation's name in `version` is meant.
    #[must_use]
    pub fn takes(&self, version: &Version) -> bool {
        self.version.as_ref().is_none_or(|(operator, limit)| operator.holds(version, limit))
    }

    /// Whether the relation is for packages of `architecture`.
    #[must_use]
    pub fn is_for(&self, architecture: &str) -> bool {
        let named = |word: &str| word == architecture || word == "any" || word == "linux-any";
        let mut excludes = self.architectures.iter().filter_map(|word| word.strip_prefix('!')).peekable();
        match excludes.peek() {
            Some(_) => !excludes.any(named),
            None => self.architectures.is_empty() || self.architectures.iter().any(|word| named(word)),
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(qualifier) = &self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        match &self.version {
            Some((operator, version)) => write!(f, " ({} {version})", operator.as_str()),
            None => Ok(()),
        }
    }
}

/// Reads a field: groups separated by commas, alternatives by `|`. Restrictions to build profiles are not understood.
///
/// # Errors
/// [`ParseRelationError`] with the part that is wrong.
pub fn parse(field: &str) -> Result<Vec<Alternatives>, ParseRelationError> {
    let groups = field.split(',').map(str::trim).filter(|group| !group.is_empty());
    let mut count = 0;
    groups
        .map(|group| {
            group
                .split('|')
                .map(|text| {
                    count += 1;
                    if count > MAX_RELATIONS {
                        return Err(wrong(text, "the field has too many of them"));
                    }
                    relation(text)
                })
                .collect()
        })
        .collect()
}

fn wrong(text: &str, reason: impl Into<String>) -> ParseRelationError {
    ParseRelationError { text: text.trim().chars().take(80).collect(), reason: reason.into() }
}

/// Whether a text is the name of a package (policy 5.6.7; one character is taken too).
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
}

/// Reads `name[:qualifier] [(operator version)] [[architectures]]`.
///
/// # Errors
/// [`ParseRelationError`].
pub fn relation(text: &str) -> Result<Relation, ParseRelationError> {
    let trimmed = text.trim();
    let end = trimmed.find([' ', '\t', '\n', '(', '[', '<']).unwrap_or(trimmed.len());
    let (head, mut rest) = trimmed.split_at(end);
    let (name, qualifier) = match head.split_once(':') {
        Some((name, qualifier)) if is_name(qualifier) => (name, Some(qualifier.to_owned())),
        Some(_) => return Err(wrong(text, "what stands after the colon is no architecture")),
        None => (head, None),
    };
    if !is_name(name) {
        return Err(wrong(text, "the name is not valid"));
    }
    let mut found = Relation { name: name.to_owned(), qualifier, version: None, architectures: Vec::new() };
    rest = rest.trim_start();
    if let Some(after) = rest.strip_prefix('(') {
        let (inside, after) = after.split_once(')').ok_or_else(|| wrong(text, "a `)` is missing"))?;
        let inside = inside.trim();
        let at = inside.find(|c: char| !"<>=".contains(c)).unwrap_or(inside.len());
        let (operator, version) = inside.split_at(at);
        let operator = match operator {
            "<<" => Operator::Earlier,
            "<=" | "<" => Operator::EarlierOrEqual,
            "=" => Operator::Equal,
            ">=" | ">" => Operator::LaterOrEqual,
            ">>" => Operator::Later,
            other => return Err(wrong(text, format!("`{other}` compares no versions"))),
        };
        let version = version.trim().parse::<Version>().map_err(|error| wrong(text, error.to_string()))?;
        found.version = Some((operator, version));
        rest = after.trim_start();
    }
    if let Some(after) = rest.strip_prefix('[') {
        let (inside, after) = after.split_once(']').ok_or_else(|| wrong(text, "a `]` is missing"))?;
        found.architectures = inside.split_whitespace().map(str::to_owned).collect();
        rest = after.trim_start();
    }
    if rest.is_empty() { Ok(found) } else { Err(wrong(text, format!("`{rest}` is not understood"))) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn relations_are_read() {
        let check = |field: &str, expected: &[&[&str]]| {
            let found = parse(field).unwrap();
            let found: Vec<Vec<String>> =
                found.iter().map(|group| group.iter().map(Relation::to_string).collect()).collect();
            assert_eq!(found, expected, "{field}");
        };
        check("", &[]);
        check("a", &[&["a"]]);
        check(
            "libc6 (>= 2.36), debconf (>= 0.5) | debconf-2.0,\n perl:any ,",
            &[&["libc6 (>= 2.36)"], &["debconf (>= 0.5)", "debconf-2.0"], &["perl:any"]],
        );
        check("a(<<1:2-3)|b(= 4)", &[&["a (<< 1:2-3)", "b (= 4)"]]);
        check("a (< 1), b (> 1)", &[&["a (<= 1)"], &["b (>= 1)"]]);
    }

    #[test]
    fn architectures_restrict() {
        let is_for = |text: &str, architecture| relation(text).unwrap().is_for(architecture);
        assert!(is_for("a [amd64 arm64]", "arm64") && !is_for("a [amd64]", "arm64"));
        assert!(is_for("a [!amd64]", "arm64") && !is_for("a [!amd64 !i386]", "i386"));
        assert!(is_for("a [linux-any]", "amd64") && is_for("a", "amd64"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("a (1)", "`` compares no versions"),
            ("a (>= )", "it is empty"),
            ("a (>= 1", "a `)` is missing"),
            ("a [amd64", "a `]` is missing"),
            ("A", "the name is not valid"),
            ("a | ", "the name is not valid"),
            ("a:", "what stands after the colon"),
            ("a <!nocheck>", "`<!nocheck>` is not understood"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn versions_are_compared() {
        let takes = |text: &str, version: &str| relation(text).unwrap().takes(&version.parse().unwrap());
        assert!(takes("a (<< 2)", "1") && !takes("a (<< 2)", "2") && takes("a (<= 2)", "2"));
        assert!(takes("a (= 2)", "2.0~") == takes("a (= 2)", "2.0") || !takes("a (= 2)", "2.0~"));
        assert!(takes("a (>= 2)", "2") && takes("a (>> 2)", "2.1") && !takes("a (>> 2)", "2"));
        assert!(takes("a", "0"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ab:|,()\\[\\]<>=1. \n-]{0,40}") {
            if let Ok(groups) = parse(&text) {
                // What was read is written so that it reads the same.
                for relation in groups.iter().flatten().filter(|r| r.architectures.is_empty()) {
                    prop_assert_eq!(&super::relation(&relation.to_string()).unwrap(), relation);
                }
            }
        }
    }
}
