//! Heredocs: `<<NAME` in `RUN`, `COPY` and `ADD`, and in `ONBUILD` of these.

use crate::diagnostic::{Code, Diagnostic};
use crate::expand::{ExpandError, Expander};
use crate::lex::{Part, Physical};
use crate::parse::Diagnostics;
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
    /// Where the closing line stands; empty if it is missing.
    pub end_span: Span,
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

/// Finds the heredocs that a logical line introduces, with the places of their words.
///
/// The line is split as a shell would; if it cannot be (a quote is not closed, say), it has no heredocs.
pub(crate) fn openings(line: Part<'_>) -> Vec<(Opening, Span)> {
    if !line.text().contains("<<") {
        return Vec::new();
    }
    let none = |_: &str| None;
    let words = Expander::raw('\\', &none, true).expand(line.text()).unwrap_or_default();
    let mut found = Vec::new();
    for (word, (start, end)) in words.words.iter().zip(words.places) {
        if let Ok(Some(opening)) = Opening::parse(word) {
            found.push((opening, line.sub(start, end).span()));
        }
    }
    found
}

/// Reads the bodies of the heredocs from the lines at `start`; gives them and where the text goes on.
pub(crate) fn read_bodies(
    source: &str,
    start: usize,
    openings: Vec<(Opening, Span)>,
    diagnostics: &mut Diagnostics,
) -> (Vec<Heredoc>, usize) {
    let mut next = start;
    let mut heredocs = Vec::new();
    for (opening, span) in openings {
        let body_start = next;
        let mut body_end = next;
        let mut closing = None;
        let mut almost = None;
        while let Some(line) = Physical::at(source, next) {
            next = line.next();
            let text = if opening.chomp { line.text.trim_start_matches('\t') } else { line.text };
            if text == opening.name {
                closing = Some(Span::new(line.start, line.start + line.text.len()));
                break;
            }
            if almost.is_none() && line.text.trim() == opening.name {
                almost = Some(line.trimmed_span());
            }
            body_end = next;
        }
        if closing.is_none() {
            let message = format!("heredoc `{}` is not closed", opening.name);
            let help = format!("add a line that holds only `{}`", opening.name);
            let diagnostic = Diagnostic::new(Code::UnterminatedHeredoc, span, message);
            diagnostics.push(match almost {
                Some(almost) => diagnostic
                    .with_label(almost, "has blanks around it")
                    .with_help("remove them; with `<<-` tabs before it are allowed"),
                None => diagnostic.with_help(help),
            });
        }
        heredocs.push(Heredoc {
            name: opening.name,
            fd: opening.fd,
            expand: opening.expand,
            chomp: opening.chomp,
            body: source.get(body_start..body_end).unwrap_or_default().to_owned(),
            span,
            body_span: Span::new(body_start, body_end),
            end_span: closing.unwrap_or(Span::new(next, next)),
        });
    }
    (heredocs, next)
}

/// Removes the tabs at the start of every line.
fn chomp_tabs(body: &str) -> String {
    body.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
}
