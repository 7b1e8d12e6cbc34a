//! The configuration of apt (apt.conf(5)), as far as its values are scalars.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Deepest nesting of blocks.
const MAX_DEPTH: usize = 32;
/// Where apt's files are unless it is told otherwise.
const DEFAULTS: [(&str, &str); 9] = [
    ("dir", "/"),
    ("dir::etc", "etc/apt"),
    ("dir::etc::main", "apt.conf"),
    ("dir::etc::parts", "apt.conf.d"),
    ("dir::etc::sourcelist", "sources.list"),
    ("dir::etc::sourceparts", "sources.list.d"),
    ("dir::etc::trustedparts", "trusted.gpg.d"),
    ("dir::etc::netrc", "auth.conf"),
    ("dir::etc::netrcparts", "auth.conf.d"),
];

/// What apt is told: values by their names in lower case, later ones in place of earlier ones.
#[derive(Debug, Clone)]
pub struct AptConf {
    values: BTreeMap<String, String>,
}

/// Why a file was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct AptConfError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: &'static str,
}

impl Default for AptConf {
    fn default() -> Self {
        Self { values: DEFAULTS.map(|(name, value)| (name.to_owned(), value.to_owned())).into() }
    }
}

/// A part of the text.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Open,
    Close,
    End,
    Clear,
}

impl AptConf {
    /// Adds what a text says.
    ///
    /// # Errors
    /// [`AptConfError`], also for `#include`.
    pub fn add(&mut self, text: &str) -> Result<(), AptConfError> {
        let mut scopes: Vec<String> = vec![String::new()];
        let mut words: Vec<String> = Vec::new();
        let mut clears = false;
        for (line, token) in tokens(text)? {
            let wrong = |reason| AptConfError { line, reason };
            let scope = scopes.last().cloned().unwrap_or_default();
            let name = |word: &str| match scope.as_str() {
                "" => word.to_ascii_lowercase(),
                scope => format!("{scope}::{}", word.to_ascii_lowercase()),
            };
            match token {
                Token::Word(word) => words.push(word),
                Token::Clear => clears = true,
                Token::Open if scopes.len() == MAX_DEPTH => {
                    return Err(wrong("blocks are nested too deeply"));
                }
                Token::Open => {
                    let [word] = words.as_slice() else { return Err(wrong("a block has no name")) };
                    scopes.push(name(word));
                    words.clear();
                }
                Token::End if clears => {
                    for name in words.drain(..).map(|word| name(&word)) {
                        let below = format!("{name}::");
                        self.values.retain(|known, _| *known != name && !known.starts_with(&below));
                    }
                    clears = false;
                }
                Token::End => {
                    // A single word is an entry of a list, and what follows a name is its value.
                    if let [word, value] = words.as_slice()
                        && !word.ends_with("::")
                    {
                        self.values.insert(name(word), value.clone());
                    }
                    words.clear();
                }
                Token::Close => {
                    if scopes.len() == 1 || !words.is_empty() {
                        return Err(wrong("a block ends where none can"));
                    }
                    scopes.pop();
                }
            }
        }
        let line = text.lines().count();
        match (scopes.len(), words.is_empty()) {
            (1, true) => Ok(()),
            (1, false) => Err(AptConfError { line, reason: "a `;` is missing at the end" }),
            _ => Err(AptConfError { line, reason: "a block has no end" }),
        }
    }

    /// A value; names are compared without regard to case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(&name.to_ascii_lowercase()).map(String::as_str)
    }

    /// The names and values below a name, e.g. hosts and their proxies.
    pub fn below(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        let prefix = format!("{}::", name.to_ascii_lowercase());
        self.values
            .iter()
            .filter_map(move |(known, value)| Some((known.strip_prefix(&prefix)?, value.as_str())))
    }

    /// Whether something that is on unless said otherwise is on.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        !self.get(name).is_some_and(crate::sources::is_no)
    }

    /// Where a file or directory of `Dir::` is, relative to those above it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        let mut parts = Vec::new();
        let mut name = name.to_ascii_lowercase();
        loop {
            let value = self.get(&name).unwrap_or_default().to_owned();
            let is_last = value.starts_with('/');
            parts.push(value);
            match name.rsplit_once("::") {
                Some((above, _)) if !is_last => name = above.to_owned(),
                _ => break,
            }
        }
        parts.iter().rev().fold(PathBuf::from("/"), |path, part| path.join(part))
    }
}

/// The parts of a text with the lines on which they begin; comments are none.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, AptConfError> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let line = text.get(..text.len() - rest.len()).unwrap_or_default().matches('\n').count() + 1;
        let wrong = |reason| AptConfError { line, reason };
        let until = |end: &str| rest.find(end).map_or(rest.len(), |at| at + end.len());
        let Some(first) = rest.chars().next() else { return Ok(found) };
        let (token, length) = match first {
            '#' if rest.starts_with("#clear") => (Some(Token::Clear), "#clear".len()),
            '#' if rest.starts_with("#include") => return Err(wrong("`#include` is not supported")),
            '/' if rest.starts_with("/*") => (None, until("*/")),
            '#' => (None, until("\n")),
            '/' if rest.starts_with("//") => (None, until("\n")),
            '{' => (Some(Token::Open), 1),
            '}' => (Some(Token::Close), 1),
            ';' => (Some(Token::End), 1),
            '"' => {
                let inside = rest.get(1..).unwrap_or_default();
                let end = inside.find('"').ok_or_else(|| wrong("a `\"` is missing"))?;
                (Some(Token::Word(inside.get(..end).unwrap_or_default().to_owned())), end + 2)
            }
            _ => {
                let is_end = |c: char| c.is_whitespace() || "{};\"".contains(c);
                let end = rest.find(is_end).unwrap_or(rest.len());
                (Some(Token::Word(rest.get(..end).unwrap_or_default().to_owned())), end)
            }
        };
        found.extend(token.map(|token| (line, token)));
        rest = rest.get(length..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "// c\n# c\nAcquire { http { Proxy \"http://p:1\"; Proxy::a.test DIRECT; }; /* x\n */\n  Check-Valid-Until \"false\"; };\nAPT::List:: \"x\";\nDPkg::Post-Invoke { \"rm -f x || true\"; };\nDir::Etc \"conf\"; Dir::Etc::netrc \"/secret\";\nA::B 1; A::C 2;\n#clear A::B;\n";

    #[test]
    fn values_are_read() {
        let mut conf = AptConf::default();
        conf.add(TEXT).unwrap();
        assert_eq!(conf.get("acquire::HTTP::proxy"), Some("http://p:1"));
        assert_eq!(conf.below("Acquire::http::Proxy").collect::<Vec<_>>(), [("a.test", "DIRECT")]);
        assert!(!conf.is_on("Acquire::Check-Valid-Until") && conf.is_on("Acquire::Check-Date"));
        assert_eq!((conf.get("A::B"), conf.get("A::C"), conf.get("APT::List")), (None, Some("2"), None));
        let path = |name: &str| conf.path(name).display().to_string();
        assert_eq!(path("Dir::Etc::sourcelist"), "/conf/sources.list");
        assert_eq!(path("Dir::Etc::netrc"), "/secret");
        assert_eq!(AptConf::default().path("Dir::Etc::parts").display().to_string(), "/etc/apt/apt.conf.d");
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_line() {
        for (text, line, expected) in [
            ("A 1;\nB { C 2;", 2, "no end"),
            ("A 1", 1, "`;` is missing"),
            ("A 1;\n}", 2, "ends where none can"),
            ("{ A 1; };", 1, "no name"),
            ("\n\nA \"1;", 3, "is missing"),
            ("#include /x;", 1, "`#include`"),
        ] {
            let error = AptConf::default().add(text).unwrap_err();
            assert!(error.line == line && error.reason.contains(expected), "{text}: {error}");
        }
        assert!(AptConf::default().add(&"a{".repeat(100)).unwrap_err().reason.contains("too deeply"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[A:{};\"#/* \né]{0,60}") {
            let _ = AptConf::default().add(&text);
        }
    }
}
