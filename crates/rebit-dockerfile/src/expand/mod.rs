//! Variables and quotes in a word, by the rules of BuildKit's shell lexer.
//!
//! # What is expanded
//!
//! `ADD`, `ARG` (defaults, when no build argument takes their place; never names), `COPY`, `ENV` (keys and values), `EXPOSE`, `FROM`
//! (image and `--platform`, with the global `ARG`s only), `LABEL`, `STOPSIGNAL`, `USER`, `VOLUME`, `WORKDIR`, and the values in
//! `RUN --mount=` except `from`. Not: the commands of `RUN`, `CMD`, `ENTRYPOINT`, `HEALTHCHECK` (a shell may do it when they run), `SHELL`,
//! `MAINTAINER`. `ONBUILD` keeps its trigger as written; it is expanded where it fires.
//!
//! Of `COPY` and `ADD`: sources, destination, `--chown`, `--chmod`, `--checksum`, and heredoc bodies whose delimiter has no quotes. Not
//! `--from`, in which a variable is an error, and not `--exclude`. [`crate::Instruction::expanded_words`] lists the words.
//!
//! | part | call |
//! |---|---|
//! | most words | [`Expander::expand_word`] |
//! | `EXPOSE` words, which may become several | [`Expander::expand_words`] |
//! | `FROM` | [`Expander::expand_word`] |
//! | heredoc bodies | [`Expander::heredoc`], then [`Expander::expand_word`]: quotes stay |
//!
//! # Grammar
//!
//! - `'…'` is literal. `"…"` expands variables; in it the escape character quotes `"`, `$` and itself and is kept before anything else.
//!   Elsewhere the escape character quotes any one character; at the end of the word it vanishes.
//! - `$name`, `${name}`; a name is letters, digits and `_`, or digits alone, or one of `@*#?-$!`. An undefined variable is empty. A `$`
//!   before anything else stands for itself.
//! - `${name:-w}` `${name-w}` default, `${name:+w}` `${name+w}` alternative, `${name:?w}` `${name?w}` error. With the colon an empty
//!   value counts as unset. `w` is itself expanded.
//! - `${name#p}` `${name##p}` without the shortest or longest prefix that matches, `${name%p}` `${name%%p}` suffix,
//!   `${name/p/w}` `${name//p/w}` first or every match replaced. In a pattern `*` is any characters but line feeds and `?` one.

mod pattern;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

/// How deep `${…}` may nest.
pub const MAX_DEPTH: usize = 64;

/// How long the result of one expansion may be, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 4 << 20;

/// A word that cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExpandError {
    /// A quote is not closed.
    #[error("a {quote} is not closed")]
    UnclosedQuote {
        /// The quote, `'` or `"`.
        quote: char,
    },
    /// `${` is not closed.
    #[error("`${{` without its closing `}}`")]
    UnclosedBrace,
    /// `${name/` has no second `/`.
    #[error("`${{{name}/` without its second `/`")]
    UnclosedPattern {
        /// The variable.
        name: String,
    },
    /// `${` is followed by something that is no name.
    #[error("bad substitution: `${{` must be followed by a name")]
    BadSubstitution,
    /// `${name` is followed by an operator that does not exist.
    #[error("unsupported modifier `{modifier}` in `${{{name}…}}`")]
    UnsupportedModifier {
        /// The variable.
        name: String,
        /// The operator.
        modifier: String,
    },
    /// `${name?…}` and the variable is unset, or empty with `:?`.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The author's message, or a standard one.
        message: String,
    },
    /// A pattern escapes a character that needs no escape.
    #[error("invalid pattern `{pattern}`: `\\{escaped}` is no escape")]
    InvalidPattern {
        /// The pattern.
        pattern: String,
        /// The character after `\`; the replacement character at the end.
        escaped: char,
    },
    /// A pattern is too long to be compiled.
    #[error("pattern of {length} bytes is too long")]
    PatternTooLarge {
        /// Its length in bytes.
        length: usize,
    },
    /// Nested more than [`MAX_DEPTH`] deep.
    #[error("`${{…}}` nested more than {max} deep")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// The result is longer than [`MAX_OUTPUT_BYTES`].
    #[error("expansion is longer than {max} bytes")]
    TooLong {
        /// The limit.
        max: usize,
    },
}

/// The result of an expansion and the variables it met.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expansion {
    /// The whole text with variables replaced and quotes removed.
    pub text: String,
    /// The same split into words: at blanks that were neither quoted nor escaped, also inside the values of unquoted variables.
    pub words: Vec<String>,
    /// Variables that had a value.
    pub used: BTreeSet<String>,
    /// Variables that had none, unless `${name-…}`, `${name+…}` or `${name?…}` says what then.
    pub undefined: BTreeSet<String>,
    /// Where each word stands in the unexpanded text.
    pub(crate) places: Vec<(usize, usize)>,
}

/// Expands words with one escape character and one set of variables.
#[derive(Clone, Copy)]
pub struct Expander<'a> {
    escape: char,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    keep_quotes: bool,
    keep_escapes: bool,
    skip_quotes: bool,
    skip_undefined: bool,
}

impl fmt::Debug for Expander<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expander").field("escape", &self.escape).finish_non_exhaustive()
    }
}

impl<'a> Expander<'a> {
    /// An expander with the file's escape character ([`crate::Directives::escape_char`]); `lookup` gives a variable's value.
    pub fn new(escape: char, lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            escape,
            lookup,
            keep_quotes: false,
            keep_escapes: false,
            skip_quotes: false,
            skip_undefined: false,
        }
    }

    /// An expander for heredoc bodies: quotes are plain characters, `\` is the escape character whatever the file says.
    pub fn heredoc(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { skip_quotes: true, ..Self::new('\\', lookup) }
    }

    /// Keeps quotes in the result, and escape characters if asked to; used to find heredocs.
    pub(crate) fn raw(escape: char, lookup: &'a dyn Fn(&str) -> Option<String>, keep_escapes: bool) -> Self {
        Self { keep_quotes: true, keep_escapes, skip_undefined: true, ..Self::new(escape, lookup) }
    }

    /// Leaves variables without a value as they are written.
    #[must_use]
    pub fn keep_undefined(mut self) -> Self {
        self.skip_undefined = true;
        self
    }

    /// Expands a word; blanks in it stay.
    ///
    /// # Errors
    /// [`ExpandError`], also for `${name?…}`.
    pub fn expand_word(&self, word: &str) -> Result<String, ExpandError> {
        self.expand(word).map(|expansion| expansion.text)
    }

    /// Expands a text and splits the result into words.
    ///
    /// # Errors
    /// [`ExpandError`], also for `${name?…}`.
    pub fn expand_words(&self, text: &str) -> Result<Vec<String>, ExpandError> {
        self.expand(text).map(|expansion| expansion.words)
    }

    /// Expands a text and reports words and variables too.
    ///
    /// # Errors
    /// [`ExpandError`], also for `${name?…}`.
    pub fn expand(&self, text: &str) -> Result<Expansion, ExpandError> {
        scan::run(self, text)
    }
}
