//! Heredocs: `<<NAME` in `RUN`, `COPY` and `ADD`, and in `ONBUILD` of these.

use crate::expand::{ExpandError, Expander};
use crate::span::Span;

/// One heredoc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter, quotes removed. `COPY` and `ADD` use it as the file's name.
    pub name: String,
    /// The number before `<<`, 0 without one.
    pub fd: u32,
    /// Whether variables in the body are expanded: no part of the delimiter was quoted.
    pub expand: bool,
    /// `<<-`: leading tabs are removed.
    pub chomp: bool,
    /// The lines between, exactly as in the file, with their line endings (CRLF included).
    pub body: String,
    /// Where the word that introduces it stands.
    pub span: Span,
    /// Where the body stands.
    pub body_span: Span,
}

impl Heredoc {
    /// The body as the step sees it: without leading tabs if [`chomp`](Self::chomp) says so.
    pub fn content(&self) -> String {
        if self.chomp { chomp_tabs(&self.body) } else { self.body.clone() }
    }
}

impl Heredoc {
    /// Whether a command line is a heredoc and nothing else.
    pub(crate) fn is_alone(line: &str) -> bool {
        matches!(Opening::parse(line), Ok(Some(_)))
    }
}

/// The word that introduces a heredoc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) name: String,
    pub(crate) fd: u32,
    pub(crate) expand: bool,
    pub(crate) chomp: bool,
}

impl Opening {
    /// Reads a word, quotes and escapes still in it: digits, `<<`, perhaps `-`, and one shell word without `<`. `None` if it is
    /// something else.
    pub(crate) fn parse(word: &str) -> Result<Option<Self>, ExpandError> {
        let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (fd, rest) = word.split_at(digits);
        let Some(rest) = rest.strip_prefix("<<") else { return Ok(None) };
        let (chomp, rest) = match rest.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let rest = rest.trim_start();
        if rest.is_empty() || rest.contains('<') {
            return Ok(None);
        }
        let none = |_: &str| None;
        let plain = Expander::new('\\', &none).keep_undefined().expand_words(rest)?;
        let [name] = plain.as_slice() else { return Ok(None) };
        // A quote that is in the raw word only was one that quoted.
        let raw = Expander::raw('\\', &none, false).expand_words(rest)?;
        let quotes = |words: &[String]| words.iter().map(|w| w.matches(['\'', '"']).count()).sum::<usize>();
        let expand = quotes(&plain) == quotes(&raw);
        Ok(Some(Self { name: name.clone(), fd: fd.parse().unwrap_or(0), expand, chomp }))
    }
}

/// Removes the tabs at the start of every line.
fn chomp_tabs(body: &str) -> String {
    body.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
}
