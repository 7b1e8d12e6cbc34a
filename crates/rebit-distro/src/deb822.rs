//! Paragraphs of fields, the shape of every control file (deb822(5)).

use std::io::{self, BufRead};

/// Most bytes of a paragraph; the largest in use, a Release file, has some hundred thousand.
const MAX_PARAGRAPH: usize = 16 << 20;

/// One paragraph: its fields in their order, lines of a value joined by `\n`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paragraph {
    fields: Vec<(String, String)>,
}

/// Why a control file was not read.
#[derive(Debug, thiserror::Error)]
pub enum Deb822Error {
    /// A line is neither a field nor the continuation of one.
    #[error("line {line} is not `Field: value`")]
    Malformed {
        /// Its number, from 1.
        line: usize,
    },
    /// A paragraph is too long.
    #[error("the paragraph at line {line} is longer than {MAX_PARAGRAPH} bytes")]
    TooLong {
        /// The line at which the limit is passed.
        line: usize,
    },
    /// The text could not be read.
    #[error("the text could not be read after line {line}")]
    Io {
        /// The last line that was read.
        line: usize,
        /// Why.
        source: io::Error,
    },
}

impl Paragraph {
    /// A field's value; names are compared without regard to case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// A field's value, or nothing.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// The fields in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether a field says `yes`.
    #[must_use]
    pub fn is_yes(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("yes"))
    }
}

/// Reads the one paragraph of a text.
///
/// # Errors
/// [`Deb822Error`].
pub fn paragraph(text: &[u8]) -> Result<Paragraph, Deb822Error> {
    Ok(Paragraphs::new(text).next().transpose()?.unwrap_or_default())
}

/// The paragraphs of a text, read as they are asked for. Bytes that are not UTF-8 are replaced.
#[derive(Debug)]
pub struct Paragraphs<R> {
    reader: R,
    line: usize,
    buffer: Vec<u8>,
    ended: bool,
}

impl<R: BufRead> Paragraphs<R> {
    /// The paragraphs that `reader` yields.
    pub fn new(reader: R) -> Self {
        Self { reader, line: 0, buffer: Vec::new(), ended: false }
    }

    /// The next line without its end; `None` at the end of the text.
    fn read_line(&mut self, room: usize) -> Result<Option<String>, Deb822Error> {
        self.buffer.clear();
        let limit = u64::try_from(room).unwrap_or(u64::MAX).saturating_add(1);
        let mut limited = io::Read::take(&mut self.reader, limit);
        let line = self.line;
        let count =
            limited.read_until(b'\n', &mut self.buffer).map_err(|source| Deb822Error::Io { line, source })?;
        if count == 0 {
            return Ok(None);
        }
        self.line += 1;
        if count > room {
            return Err(Deb822Error::TooLong { line: self.line });
        }
        Ok(Some(String::from_utf8_lossy(&self.buffer).trim_end().to_owned()))
    }

    fn read(&mut self) -> Result<Option<Paragraph>, Deb822Error> {
        let mut found = Paragraph::default();
        let mut room = MAX_PARAGRAPH;
        while let Some(line) = self.read_line(room)? {
            room = room.saturating_sub(line.len() + 1);
            if line.is_empty() {
                if found.fields.is_empty() {
                    continue;
                }
                return Ok(Some(found));
            }
            if line.starts_with('#') {
                continue;
            }
            let malformed = Deb822Error::Malformed { line: self.line };
            if line.starts_with([' ', '\t']) {
                let Some((_, value)) = found.fields.last_mut() else { return Err(malformed) };
                value.push('\n');
                value.push_str(line.trim_start());
                continue;
            }
            match line.split_once(':') {
                Some((name, value)) if !name.is_empty() && !name.contains(char::is_whitespace) => {
                    found.fields.push((name.to_owned(), value.trim().to_owned()));
                }
                _ => return Err(malformed),
            }
        }
        self.ended = true;
        Ok((!found.fields.is_empty()).then_some(found))
    }
}

impl<R: BufRead> Iterator for Paragraphs<R> {
    type Item = Result<Paragraph, Deb822Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.read().transpose();
        // What follows a mistake means nothing.
        self.ended |= matches!(next, Some(Err(_)));
        next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<Paragraph>, Deb822Error> {
        Paragraphs::new(text.as_bytes()).collect()
    }

    #[test]
    fn paragraphs_are_read() {
        let found = read("\n# c\nA: 1\nB:\n x\n .\n\ty\n# c\nC: 2\n\n\n\nA: 3").unwrap();
        assert_eq!(found.len(), 2);
        let fields: Vec<_> = found[0].fields().collect();
        assert_eq!(fields, [("A", "1"), ("B", "\nx\n.\ny"), ("C", "2")]);
        assert_eq!((found[1].get("a"), found[1].get("B"), found[1].text("B")), (Some("3"), None, ""));
        assert!(read("").unwrap().is_empty() && read("\n\n").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_field_is_named_by_its_line() {
        for (text, line) in [("A: 1\nB", 2), (" x", 1), (": x", 1), ("A b: x", 1)] {
            let error = read(text).unwrap_err();
            assert!(
                matches!(error, Deb822Error::Malformed { line: found } if found == line),
                "{text}: {error}"
            );
        }
        let long = format!("A: {}", "x".repeat(MAX_PARAGRAPH));
        assert!(matches!(read(&long).unwrap_err(), Deb822Error::TooLong { line: 1 }));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[A:\n #x.\t]{0,60}") {
            let _ = read(&text);
        }

        #[test]
        fn simple_fields_come_back(values in proptest::collection::vec("[a-z]{1,8}", 1..5)) {
            let text: String = values.iter().enumerate().map(|(n, v)| format!("F{n}: {v}\n")).collect();
            let found = paragraph(text.as_bytes()).unwrap();
            let back: Vec<&str> = found.fields().map(|(_, value)| value).collect();
            prop_assert_eq!(back, values);
        }
    }
}
