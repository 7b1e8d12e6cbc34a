//! The scanner behind [`Expander`].

use std::collections::BTreeSet;

use super::pattern::Pattern;
use super::{ExpandError, Expander, Expansion, MAX_DEPTH, MAX_OUTPUT_BYTES};

/// Expands a whole text.
pub(super) fn run(expander: &Expander<'_>, text: &str) -> Result<Expansion, ExpandError> {
    let mut scan = Scan {
        expander,
        length: text.len(),
        chars: Cursor(text),
        keep_escapes: expander.keep_escapes,
        depth: 0,
        used: BTreeSet::new(),
        undefined: BTreeSet::new(),
    };
    let (text, words) = scan.until(None)?;
    let (words, places) = words.finish(scan.offset());
    if text.len() > MAX_OUTPUT_BYTES {
        return Err(ExpandError::TooLong { max: MAX_OUTPUT_BYTES });
    }
    Ok(Expansion { text, words, used: scan.used, undefined: scan.undefined, places })
}

struct Scan<'a> {
    expander: &'a Expander<'a>,
    length: usize,
    chars: Cursor<'a>,
    keep_escapes: bool,
    depth: usize,
    used: BTreeSet<String>,
    undefined: BTreeSet<String>,
}

/// The text that is left.
struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    fn peek(&self) -> Option<char> {
        self.0.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.0.chars();
        let c = chars.next();
        self.0 = chars.as_str();
        c
    }

    fn next_if(&mut self, wanted: impl FnOnce(char) -> bool) -> Option<char> {
        if wanted(self.peek()?) { self.next() } else { None }
    }

    fn next_if_eq(&mut self, wanted: char) -> Option<char> {
        self.next_if(|c| c == wanted)
    }
}

/// Collects words, and where they stand in the unexpanded text, while it goes by.
#[derive(Default)]
struct Words {
    word: String,
    start: usize,
    words: Vec<String>,
    places: Vec<(usize, usize)>,
}

impl Words {
    /// Text that belongs to the word whatever it is; it stands at `at`.
    fn quoted(&mut self, text: &str, at: usize) {
        if self.word.is_empty() {
            self.start = at;
        }
        self.word.push_str(text);
    }

    /// A character that ends the word if it is a blank.
    fn unquoted(&mut self, c: char, at: usize) {
        if c.is_whitespace() {
            self.end(at);
        } else {
            self.quoted(c.encode_utf8(&mut [0; 4]), at);
        }
    }

    fn end(&mut self, at: usize) {
        if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
            self.places.push((self.start, at.max(self.start)));
        }
    }

    fn finish(mut self, at: usize) -> (Vec<String>, Vec<(usize, usize)>) {
        self.end(at);
        (self.words, self.places)
    }
}

impl Scan<'_> {
    /// How much of the text was read.
    fn offset(&self) -> usize {
        self.length - self.chars.0.len()
    }

    /// Expands up to `stop`, which is consumed, or to the end of the text.
    fn until(&mut self, stop: Option<char>) -> Result<(String, Words), ExpandError> {
        let mut text = String::new();
        let mut words = Words::default();
        while let Some(c) = self.chars.peek() {
            if text.len() > MAX_OUTPUT_BYTES {
                return Err(ExpandError::TooLong { max: MAX_OUTPUT_BYTES });
            }
            let at = self.offset();
            match c {
                _ if Some(c) == stop => {
                    self.chars.next();
                    return Ok((text, words));
                }
                '$' => {
                    let value = self.dollar()?;
                    value.chars().for_each(|c| words.unquoted(c, at));
                    text.push_str(&value);
                }
                '\'' | '"' if !self.expander.skip_quotes => {
                    let part = if c == '"' { self.double_quote()? } else { self.single_quote()? };
                    words.quoted(&part, at);
                    text.push_str(&part);
                }
                '<' => {
                    let part = self.less_than();
                    words.quoted(&part, at);
                    text.push_str(&part);
                }
                _ => self.plain(&mut text, &mut words),
            }
        }
        match stop {
            None => Ok((text, words)),
            Some(_) => Err(ExpandError::UnclosedBrace),
        }
    }

    /// One character outside quotes, or an escape and the character it protects.
    fn plain(&mut self, text: &mut String, words: &mut Words) {
        let at = self.offset();
        let Some(c) = self.chars.next() else { return };
        if c != self.expander.escape {
            words.unquoted(c, at);
            text.push(c);
            return;
        }
        let before = text.len();
        if self.keep_escapes {
            text.push(c);
        }
        text.extend(self.chars.next());
        words.quoted(text.get(before..).unwrap_or_default(), at);
    }

    /// `<<` and the blanks after it stay in one word, so that `<< EOF` is seen as the start of a heredoc.
    fn less_than(&mut self) -> String {
        self.chars.next();
        let mut part = String::from("<");
        if self.chars.next_if_eq('<').is_none() {
            return part;
        }
        part.push('<');
        while let Some(c) = self.chars.next_if(|c| c.is_whitespace()) {
            part.push(c);
        }
        part
    }

    fn single_quote(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        self.quote_char(&mut text);
        loop {
            match self.chars.peek() {
                None => return Err(ExpandError::UnclosedQuote { quote: '\'' }),
                Some('\'') => {
                    self.quote_char(&mut text);
                    return Ok(text);
                }
                Some(_) => text.extend(self.chars.next()),
            }
        }
    }

    fn double_quote(&mut self) -> Result<String, ExpandError> {
        let escape = self.expander.escape;
        let mut text = String::new();
        self.quote_char(&mut text);
        loop {
            if text.len() > MAX_OUTPUT_BYTES {
                return Err(ExpandError::TooLong { max: MAX_OUTPUT_BYTES });
            }
            match self.chars.peek() {
                None => return Err(ExpandError::UnclosedQuote { quote: '"' }),
                Some('"') => {
                    self.quote_char(&mut text);
                    return Ok(text);
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(c) if c == escape => {
                    self.chars.next();
                    if self.keep_escapes {
                        text.push(c);
                    }
                    match self.chars.next_if(|next| next == '"' || next == '$' || next == escape) {
                        Some(next) => text.push(next),
                        // At the end the quote is not closed: the next turn says so.
                        None if self.chars.peek().is_none() => {}
                        None => text.push(c),
                    }
                }
                Some(_) => text.extend(self.chars.next()),
            }
        }
    }

    /// Consumes a quote character and keeps it if asked to.
    fn quote_char(&mut self, text: &mut String) {
        let quote = self.chars.next();
        if self.expander.keep_quotes {
            text.extend(quote);
        }
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        self.chars.next();
        if self.chars.next_if_eq('{').is_some() {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(ExpandError::TooDeep { max: MAX_DEPTH });
            }
            let value = self.braced()?;
            self.depth -= 1;
            return Ok(value);
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        match self.get(&name) {
            None if self.expander.skip_undefined => Ok(format!("${name}")),
            value => Ok(value.unwrap_or_default()),
        }
    }

    /// The inside of `${…}` and its `}`.
    fn braced(&mut self) -> Result<String, ExpandError> {
        match self.chars.peek() {
            None => return Err(ExpandError::UnclosedBrace),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        let Some(operator) = self.chars.next() else { return Err(ExpandError::UnclosedBrace) };
        match operator {
            '}' => match self.get(&name) {
                None if self.expander.skip_undefined => Ok(format!("${{{name}}}")),
                value => Ok(value.unwrap_or_default()),
            },
            ':' => {
                let Some(operator) = self.chars.next() else { return Err(ExpandError::UnclosedBrace) };
                self.modified(&name, operator, true)
            }
            '+' | '-' | '?' | '#' | '%' => self.modified(&name, operator, false),
            '/' => self.replaced(&name),
            other => Err(ExpandError::UnsupportedModifier { name, modifier: other.to_string() }),
        }
    }

    /// `${name-w}` and its relatives, after the operator.
    fn modified(&mut self, name: &str, operator: char, colon: bool) -> Result<String, ExpandError> {
        let is_pattern = matches!(operator, '#' | '%');
        let word = self.nested('}', is_pattern)?;
        let value = if is_pattern { self.get(name) } else { self.find(name) };
        let written = if colon { format!(":{operator}") } else { operator.to_string() };
        if value.is_none() && self.expander.skip_undefined {
            return Ok(format!("${{{name}{written}{word}}}"));
        }
        let present = value.as_ref().filter(|value| !(colon && value.is_empty()));
        match operator {
            '-' => Ok(present.cloned().unwrap_or(word)),
            '+' => Ok(present.map(|_| word).unwrap_or_default()),
            '?' => match (present, &value) {
                (Some(value), _) => Ok(value.clone()),
                (None, unset) => {
                    let standard = if unset.is_none() { "unset" } else { "empty" };
                    let message =
                        if word.is_empty() { format!("is not allowed to be {standard}") } else { word };
                    Err(ExpandError::Required { name: name.to_owned(), message })
                }
            },
            '#' | '%' => {
                let (longest, text) = match word.strip_prefix(operator) {
                    Some(rest) => (true, rest),
                    None => (false, word.as_str()),
                };
                let pattern = Pattern::parse(text)?;
                let value = value.unwrap_or_default();
                match operator {
                    '#' => pattern.strip_prefix(&value, longest),
                    _ => pattern.strip_suffix(&value, longest),
                }
            }
            _ => Err(ExpandError::UnsupportedModifier { name: name.to_owned(), modifier: written }),
        }
    }

    /// `${name/p/w}` after the first `/`.
    fn replaced(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.chars.next_if_eq('/').is_some();
        let text = self.nested('/', true).map_err(|error| match error {
            ExpandError::UnclosedBrace => ExpandError::UnclosedPattern { name: name.to_owned() },
            other => other,
        })?;
        let with = self.nested('}', true)?;
        let value = self.get(name);
        if value.is_none() && self.expander.skip_undefined {
            let slash = if all { "//" } else { "/" };
            return Ok(format!("${{{name}{slash}{text}/{with}}}"));
        }
        Pattern::parse(&text)?.replace(&value.unwrap_or_default(), &with, all, MAX_OUTPUT_BYTES)
    }

    /// An expanded word inside `${…}`, up to `stop`.
    fn nested(&mut self, stop: char, keep_escapes: bool) -> Result<String, ExpandError> {
        let outer = std::mem::replace(&mut self.keep_escapes, keep_escapes);
        let result = self.until(Some(stop));
        self.keep_escapes = outer;
        result.map(|(text, _)| text)
    }

    fn get(&mut self, name: &str) -> Option<String> {
        let value = self.find(name);
        if value.is_none() {
            self.undefined.insert(name.to_owned());
        }
        value
    }

    /// A value whose absence the author has thought of.
    fn find(&mut self, name: &str) -> Option<String> {
        let value = (self.expander.lookup)(name);
        if value.is_some() {
            self.used.insert(name.to_owned());
        }
        value
    }

    /// A variable's name; empty if there is none here.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.chars.peek() {
            Some(c) if c.is_ascii_digit() => {
                while let Some(c) = self.chars.next_if(|c| c.is_ascii_digit()) {
                    name.push(c);
                }
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => name.extend(self.chars.next()),
            _ => {
                while let Some(c) = self.chars.next_if(|c| c.is_alphanumeric() || c == '_') {
                    name.push(c);
                }
            }
        }
        name
    }
}
