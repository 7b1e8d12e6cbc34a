//! Parser directives: `# syntax=`, `# escape=`, `# check=`.

use crate::span::Spanned;

/// The directives of a file. They stand in its first lines, before any other comment, blank line or instruction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directives {
    /// `# syntax=`: the frontend image the author asks for, as written.
    pub syntax: Option<Spanned<String>>,
    /// `# escape=`: `\` or `` ` ``.
    pub escape: Option<Spanned<char>>,
    /// `# check=`: what to do with build checks.
    pub check: Option<Spanned<Check>>,
}

impl Directives {
    /// The escape character in force.
    pub fn escape_char(&self) -> char {
        self.escape.as_ref().map_or('\\', |escape| escape.value)
    }
}

/// The value of `# check=`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Check {
    /// `skip=`: checks that are not reported.
    pub skip: Skip,
    /// `error=true`: a failed check fails the build.
    pub error: bool,
}

/// Which checks `# check=skip=` silences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skip {
    /// `skip=all`.
    All,
    /// These, by the name BuildKit gives them; compared without case.
    Rules(Vec<String>),
}

impl Default for Skip {
    fn default() -> Self {
        Self::Rules(Vec::new())
    }
}

impl Skip {
    /// Whether a check of this name is silenced.
    pub fn contains(&self, rule: &str) -> bool {
        match self {
            Self::All => true,
            Self::Rules(rules) => rules.iter().any(|r| r.eq_ignore_ascii_case(rule)),
        }
    }
}
