//! The patterns of `${name#p}`, `${name%p}` and `${name/p/w}`: `*`, `?` and literals.

use regex::{Regex, RegexBuilder};

use super::ExpandError;

/// How large a compiled pattern may be, in bytes.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// A pattern, item by item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern<'a> {
    text: &'a str,
    items: Vec<Item>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    /// `*`: any characters but line feeds.
    Many,
    /// `?`: one character but a line feed.
    One,
    Char(char),
}

impl<'a> Pattern<'a> {
    /// Reads a pattern. `\*`, `\?`, `\\` are literal, `\}` and `\/` are what they escape; any other escape is an error.
    pub(super) fn parse(text: &'a str) -> Result<Self, ExpandError> {
        let mut items = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            items.push(match c {
                '*' => Item::Many,
                '?' => Item::One,
                '\\' if matches!(chars.peek(), Some('}' | '/')) => continue,
                '\\' => match chars.next() {
                    Some(c @ ('*' | '?' | '\\')) => Item::Char(c),
                    other => {
                        let escaped = other.unwrap_or(char::REPLACEMENT_CHARACTER);
                        return Err(ExpandError::InvalidPattern { pattern: text.to_owned(), escaped });
                    }
                },
                c => Item::Char(c),
            });
        }
        Ok(Self { text, items })
    }

    /// `value` without the prefix that matches; `value` itself if none does.
    pub(super) fn strip_prefix(&self, value: &str, longest: bool) -> Result<String, ExpandError> {
        let regex = self.compile(self.items.iter(), true, longest)?;
        let end = regex.find(value).map_or(0, |found| found.end());
        Ok(value.get(end..).unwrap_or_default().to_owned())
    }

    /// `value` without the suffix that matches; `value` itself if none does.
    ///
    /// A search finds the leftmost match, and the shortest suffix is the rightmost one: so pattern and value are turned round.
    pub(super) fn strip_suffix(&self, value: &str, longest: bool) -> Result<String, ExpandError> {
        let regex = self.compile(self.items.iter().rev(), true, longest)?;
        let reversed: String = value.chars().rev().collect();
        let end = regex.find(&reversed).map_or(0, |found| found.end());
        Ok(reversed.get(end..).unwrap_or_default().chars().rev().collect())
    }

    /// `value` with the first or every match replaced. Matches are the longest at their place: `*` is greedy here.
    pub(super) fn replace(
        &self,
        value: &str,
        with: &str,
        all: bool,
        max: usize,
    ) -> Result<String, ExpandError> {
        let regex = self.compile(self.items.iter(), false, true)?;
        let mut out = String::new();
        let mut copied = 0;
        for found in regex.find_iter(value).take(if all { usize::MAX } else { 1 }) {
            out.push_str(value.get(copied..found.start()).unwrap_or_default());
            out.push_str(with);
            copied = found.end();
            if out.len() > max {
                return Err(ExpandError::TooLong { max });
            }
        }
        out.push_str(value.get(copied..).unwrap_or_default());
        Ok(out)
    }

    fn compile<'i>(
        &self,
        items: impl Iterator<Item = &'i Item>,
        anchored: bool,
        greedy: bool,
    ) -> Result<Regex, ExpandError> {
        let mut text = String::from(if anchored { "^" } else { "" });
        let mut buffer = [0; 4];
        for item in items {
            match item {
                Item::Many if greedy => text.push_str(".*"),
                Item::Many => text.push_str(".*?"),
                Item::One => text.push('.'),
                Item::Char(c) => text.push_str(&regex::escape(c.encode_utf8(&mut buffer))),
            }
        }
        let built = RegexBuilder::new(&text).size_limit(MAX_COMPILED_BYTES).build();
        built.map_err(|_| ExpandError::PatternTooLarge { length: self.text.len() })
    }
}
