//! `.dockerignore`: which files of the build context do not exist for the build.
//!
//! The rules are those of moby's pattern matcher:
//!
//! - One pattern a line. A line that starts with `#` is a comment, blanks around a pattern are trimmed, empty lines do nothing. A byte
//!   order mark is dropped.
//! - `!` before a pattern (blanks may follow it) brings back what earlier patterns excluded. The last pattern that matches decides.
//! - A pattern is cleaned like a path: `.`, `..` and repeated or trailing `/` disappear, a leading `/` means nothing. Patterns are
//!   anchored at the root of the context.
//! - `*` is any characters but `/`, `?` one, `[a-z]` a class, `\x` the character `x`, `**` any number of directories, also none.
//! - A pattern that matches a directory matches all that is below it.
//!
//! Two oddities are kept: a pattern that starts with `**` and has no other wildcard matches any path that ends with its rest
//! (`**foo` matches `xfoo`), and one whose only wildcard is `**` at its end matches any path that starts with what is before it
//! (`foo**` matches `foobar/x`). `.` as a pattern excludes nothing.
//!
//! Names are text here. A caller with names outside UTF-8 should convert them lossily: the replacement character is one character that `?`
//! and `*` match, as Go's matcher does.

mod pattern;
#[cfg(test)]
mod tests;

use thiserror::Error;

use pattern::Pattern;

/// How long an ignore file may be, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// How many patterns an ignore file may hold.
pub const MAX_PATTERNS: usize = 10_000;

/// An ignore file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IgnoreError {
    /// `!` without a pattern.
    #[error("line {line}: `!` without a pattern")]
    EmptyException {
        /// Line number, from 1.
        line: usize,
    },
    /// A pattern with an error in it.
    #[error("line {line}: syntax error in pattern `{pattern}`")]
    BadPattern {
        /// Line number, from 1.
        line: usize,
        /// The pattern, cleaned.
        pattern: String,
    },
    /// More than [`MAX_BYTES`] or [`MAX_PATTERNS`].
    #[error("more than {max} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
}

/// The patterns of an ignore file.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

impl Ignore {
    /// Reads the text of an ignore file.
    ///
    /// # Errors
    /// [`IgnoreError`] for a pattern that cannot be read, or beyond a limit.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        if text.len() > MAX_BYTES {
            return Err(IgnoreError::Limit { what: "bytes", max: MAX_BYTES });
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
        Self::build(lines.map(|(index, line)| (index + 1, line)))
    }

    /// Reads patterns that do not come from a file, such as `--exclude`; `#` is not special. "Lines" in errors are their numbers.
    ///
    /// # Errors
    /// [`IgnoreError`] for a pattern that cannot be read, or beyond a limit.
    pub fn from_patterns<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, IgnoreError> {
        Self::build(patterns.into_iter().enumerate().map(|(index, line)| (index + 1, line)))
    }

    fn build<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Result<Self, IgnoreError> {
        let mut patterns = Vec::new();
        for (line, text) in lines {
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            if patterns.len() == MAX_PATTERNS {
                return Err(IgnoreError::Limit { what: "patterns", max: MAX_PATTERNS });
            }
            patterns.push(Pattern::parse(text, line)?);
        }
        Ok(Self { patterns })
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether a pattern brings back what others exclude.
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.exception)
    }

    /// Whether the file or directory at `path` (relative, `/`-separated, clean) is excluded. The root (`.` or empty) never is.
    pub fn matches(&self, path: &str) -> bool {
        if path.is_empty() || path == "." {
            return false;
        }
        let mut excluded = false;
        for pattern in &self.patterns {
            // A pattern that could not change the outcome is not tried.
            if pattern.exception == excluded && prefixes(path).any(|prefix| pattern.matches(prefix)) {
                excluded = !pattern.exception;
            }
        }
        excluded
    }

    /// Whether anything below the directory `dir` may be included although `dir` itself is excluded.
    ///
    /// A walker may skip a directory if [`matches`](Self::matches) holds for it and this does not. Errs on the side of `true`: with a
    /// wildcard in an exception only the part before it counts.
    pub fn may_include_below(&self, dir: &str) -> bool {
        if !self.matches(dir) {
            return true;
        }
        // Only an exception after the pattern that excluded the directory can bring something back.
        let last =
            self.patterns.iter().rposition(|p| !p.exception && prefixes(dir).any(|prefix| p.matches(prefix)));
        let after = self.patterns.iter().skip(last.map_or(0, |at| at + 1));
        after.into_iter().any(|pattern| pattern.exception && pattern.may_match_below(dir))
    }
}

/// `a`, `a/b`, `a/b/c` for `a/b/c`.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').map(|(at, _)| at).chain(std::iter::once(path.len()));
    ends.filter_map(|end| path.get(..end))
}
