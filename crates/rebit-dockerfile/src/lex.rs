//! Lines: physical ones, and the logical ones that continuations make of them, with a map back to the source.

use crate::span::{Span, Spanned};

/// A line of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Physical<'a> {
    /// Without its line ending.
    pub(crate) text: &'a str,
    /// With its line ending.
    pub(crate) raw: &'a str,
    /// Where it starts.
    pub(crate) start: usize,
}

impl<'a> Physical<'a> {
    /// The line that starts at an offset; `None` at the end of the text.
    pub(crate) fn at(source: &'a str, start: usize) -> Option<Self> {
        let rest = source.get(start..).filter(|rest| !rest.is_empty())?;
        let raw = rest.split_inclusive('\n').next().unwrap_or(rest);
        Some(Self { text: raw.trim_end_matches(['\r', '\n']), raw, start })
    }

    /// Where the next line starts.
    pub(crate) fn next(&self) -> usize {
        self.start + self.raw.len()
    }

    /// The place of the text without blanks at its start.
    pub(crate) fn trimmed_span(&self) -> Span {
        let trimmed = self.text.trim_start();
        Span::new(self.start + self.text.len() - trimmed.len(), self.start + self.text.len())
    }

    /// The comment, without `#`, if the line is one.
    pub(crate) fn comment(&self) -> Option<&'a str> {
        self.text.trim_start().strip_prefix('#')
    }
}

/// Physical lines joined at their continuations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Logical {
    text: String,
    pieces: Vec<Piece>,
    /// Blank lines between continued ones.
    pub(crate) blank_lines: Vec<Span>,
    /// Where the text after this line starts.
    pub(crate) next: usize,
}

/// A part of the joined text that stands in one place of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    at: usize,
    source: usize,
    len: usize,
}

impl Logical {
    /// Reads the logical line that starts at an offset.
    ///
    /// A line continues if the escape character is last but for blanks and tabs, and no other escape character stands before it. Inside a
    /// continued line, comment lines and blank lines are skipped; at the end of the file it just ends.
    pub(crate) fn read(source: &str, start: usize, escape: char) -> Self {
        let mut logical = Self { next: start, ..Self::default() };
        let mut first = true;
        while let Some(line) = Physical::at(source, logical.next) {
            logical.next = line.next();
            if !first && line.comment().is_some() {
                continue;
            }
            if !first && line.text.trim_start().is_empty() {
                logical.blank_lines.push(Span::new(line.start, line.start + line.text.len()));
                continue;
            }
            let blanks = if first { line.text.len() - line.text.trim_start().len() } else { 0 };
            let text = line.text.get(blanks..).unwrap_or_default();
            first = false;
            let continued = strip_continuation(text, escape);
            logical.push(continued.unwrap_or(text), line.start + blanks);
            if continued.is_none() {
                break;
            }
        }
        logical
    }

    fn push(&mut self, text: &str, source: usize) {
        self.pieces.push(Piece { at: self.text.len(), source, len: text.len() });
        self.text.push_str(text);
    }

    /// Where a range of the joined text stands; a range over several pieces covers what is between them.
    fn span(&self, start: usize, end: usize) -> Span {
        let place = |at: usize, is_end: bool| {
            let before = |p: &Piece| if is_end { p.at + p.len < at } else { p.at + p.len <= at };
            let piece = self.pieces.get(self.pieces.partition_point(before)).or(self.pieces.last());
            piece.map_or(self.next, |p| p.source + at.saturating_sub(p.at).min(p.len))
        };
        let from = place(start, start == end);
        Span::new(from, if start == end { from } else { place(end, true) })
    }

    /// All of the line.
    pub(crate) fn all(&self) -> Part<'_> {
        Part { line: self, start: 0, end: self.text.len() }
    }
}

/// The line without its continuation; `None` if it does not continue.
fn strip_continuation(text: &str, escape: char) -> Option<&str> {
    let before = text.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!before.ends_with(escape)).then_some(before)
}

/// A part of a logical line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    line: &'a Logical,
    start: usize,
    end: usize,
}

/// The characters that separate words of a line.
pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

impl<'a> Part<'a> {
    /// The text.
    pub(crate) fn text(self) -> &'a str {
        self.line.text.get(self.start..self.end).unwrap_or_default()
    }

    /// Where it stands in the source.
    pub(crate) fn span(self) -> Span {
        self.line.span(self.start, self.end)
    }

    /// The part from `start` to `end`, counted in this one.
    pub(crate) fn sub(self, start: usize, end: usize) -> Self {
        let end = (self.start + end).min(self.end);
        Self { start: (self.start + start).min(end), end, ..self }
    }

    /// From `start` on.
    pub(crate) fn from(self, start: usize) -> Self {
        self.sub(start, self.end - self.start)
    }

    /// Without white space at its ends.
    pub(crate) fn trim(self) -> Self {
        let text = self.text();
        let start = text.len() - text.trim_start().len();
        self.sub(start, start + text.trim().len())
    }

    /// The first word and the rest after the blanks that follow it.
    pub(crate) fn split_word(self) -> (Self, Self) {
        let text = self.text();
        let end = text.find(is_blank).unwrap_or(text.len());
        let rest = text.get(end..).unwrap_or_default();
        let blanks = rest.len() - rest.trim_start_matches(is_blank).len();
        (self.sub(0, end), self.from(end + blanks))
    }

    /// The words between blanks; quotes mean nothing here.
    pub(crate) fn split_blanks(self) -> Vec<Spanned<String>> {
        let mut words = Vec::new();
        let mut rest = self.trim();
        while !rest.text().is_empty() {
            let (word, after) = rest.split_word();
            words.push(word.spanned());
            rest = after;
        }
        words
    }

    /// The text and its place.
    pub(crate) fn spanned(self) -> Spanned<String> {
        Spanned::new(self.text().to_owned(), self.span())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(source: &str, escape: char) -> String {
        Logical::read(source, 0, escape).text
    }

    #[test]
    fn continuations() {
        let check = |source, expected| assert_eq!(join(source, '\\'), expected, "{source:?}");
        check("RUN a", "RUN a");
        check("RUN a\nRUN b", "RUN a");
        check("RUN a \\\n  b", "RUN a   b");
        check("RUN a \\  \t\n  b", "RUN a   b");
        check("RUN a \\\r\n  b\r\n", "RUN a   b");
        check("RUN a \\\n# comment\n  # another \\\n  b", "RUN a   b");
        check("RUN a \\\n\n  \n  b", "RUN a   b");
        check("RUN a \\", "RUN a ");
        check("RUN a \\\n", "RUN a ");
        check("RUN a \\\n# only a comment", "RUN a ");
        check("RUN a \\\\\n b", "RUN a \\\\");
        check("RUN a \\\n\\\nb", "RUN a b");
        check("\\\nRUN a", "RUN a");
        check("  RUN a\\\n", "RUN a");
        check("RUN a `\n b", "RUN a `");
    }

    #[test]
    fn other_escape_character() {
        assert_eq!(join("RUN a `\n b \\\n c", '`'), "RUN a  b \\");
    }

    #[test]
    fn spans_lead_back() {
        let source = "RUN ab\\\n# c\ncd ef\n";
        let logical = Logical::read(source, 0, '\\');
        let words = logical.all().split_blanks();
        let seen: Vec<_> = words.iter().map(|w| (w.as_str(), &source[w.span.range()])).collect();
        assert_eq!(seen, [("RUN", "RUN"), ("abcd", "ab\\\n# c\ncd"), ("ef", "ef")]);
        assert_eq!(logical.next, source.len());
    }

    #[test]
    fn blank_lines_are_noted() {
        let logical = Logical::read("RUN a \\\n\n b", 0, '\\');
        assert_eq!(logical.blank_lines, [Span::new(8, 8)]);
    }
}
