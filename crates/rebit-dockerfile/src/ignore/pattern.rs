//! One pattern of an ignore file.

use regex::{Regex, RegexBuilder};

use super::IgnoreError;
use crate::glob;

/// How large a compiled pattern may be, in bytes.
const MAX_COMPILED_BYTES: usize = 1 << 20;

#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// `!`.
    pub(super) exception: bool,
    matcher: Matcher,
    /// The part before the first wildcard.
    literal: String,
}

#[derive(Debug, Clone)]
enum Matcher {
    Exact(String),
    /// Ended with `**`.
    Prefix(String),
    /// Began with `**`.
    Suffix(String),
    Regex(Regex),
}

impl Pattern {
    /// Reads a trimmed, non-empty line.
    pub(super) fn parse(text: &str, line: usize) -> Result<Self, IgnoreError> {
        let (exception, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, text),
        };
        if text.is_empty() {
            return Err(IgnoreError::EmptyException { line });
        }
        let cleaned = clean(text);
        let pattern = match cleaned.strip_prefix('/') {
            Some(rest) if !rest.is_empty() => rest,
            _ => cleaned.as_str(),
        };
        let bad = || IgnoreError::BadPattern { line, pattern: pattern.to_owned() };
        glob::validate(pattern.as_bytes()).map_err(|_| bad())?;
        let matcher = compile(pattern).ok_or_else(bad)?;
        let literal = pattern.split(['*', '?', '[', '\\']).next().unwrap_or_default().to_owned();
        Ok(Self { exception, matcher, literal })
    }

    /// Whether the pattern matches this path itself.
    pub(super) fn matches(&self, path: &str) -> bool {
        match &self.matcher {
            Matcher::Exact(name) => path == name,
            Matcher::Prefix(prefix) => path.starts_with(prefix),
            // `**/x` also matches `x`.
            Matcher::Suffix(suffix) => path.ends_with(suffix) || suffix.strip_prefix('/') == Some(path),
            Matcher::Regex(regex) => regex.is_match(path),
        }
    }

    /// Whether the pattern may match a path below `dir`.
    pub(super) fn may_match_below(&self, dir: &str) -> bool {
        let below = format!("{dir}/");
        match &self.matcher {
            Matcher::Exact(name) => name.starts_with(&below),
            // Either the wildcard comes after `dir/…`, or it comes so early that anything may follow.
            _ => self.literal.starts_with(&below) || below.starts_with(&self.literal),
        }
    }
}

/// Go's `filepath.Clean`: the shortest path that means the same, by its text alone.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// Chooses how to match. `None` if the pattern is no regular expression either.
fn compile(pattern: &str) -> Option<Matcher> {
    let mut regex = String::from("^");
    let mut kind = Kind::Exact;
    let mut chars = pattern.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                if chars.peek().is_some() {
                    regex.push_str("(.*/)?");
                    kind = Kind::Regex;
                } else if kind == Kind::Exact {
                    kind = Kind::Prefix;
                } else {
                    regex.push_str(".*");
                    kind = Kind::Regex;
                }
                if first {
                    kind = Kind::Suffix;
                }
            }
            '*' => {
                regex.push_str("[^/]*");
                kind = Kind::Regex;
            }
            '?' => {
                regex.push_str("[^/]");
                kind = Kind::Regex;
            }
            '\\' => {
                push_literal(&mut regex, chars.next()?);
                kind = Kind::Regex;
            }
            '[' => {
                class(&mut regex, &mut chars)?;
                kind = Kind::Regex;
            }
            c => push_literal(&mut regex, c),
        }
        first = false;
    }
    Some(match kind {
        Kind::Exact => Matcher::Exact(pattern.to_owned()),
        Kind::Prefix => Matcher::Prefix(pattern.trim_end_matches('/').strip_suffix("**")?.to_owned()),
        Kind::Suffix => Matcher::Suffix(pattern.strip_prefix("**")?.to_owned()),
        Kind::Regex => {
            regex.push('$');
            Matcher::Regex(RegexBuilder::new(&regex).size_limit(MAX_COMPILED_BYTES).build().ok()?)
        }
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exact,
    Prefix,
    Suffix,
    Regex,
}

/// A class, which the glob syntax was checked for, as a regular expression's class.
fn class(regex: &mut String, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<()> {
    regex.push('[');
    if chars.next_if_eq(&'^').is_some() {
        regex.push('^');
    }
    let mut inverted_only = true;
    loop {
        match chars.next()? {
            ']' => break,
            low => {
                let low = if low == '\\' { chars.next()? } else { low };
                let mut high = low;
                if chars.next_if_eq(&'-').is_some() {
                    let end = chars.next()?;
                    high = if end == '\\' { chars.next()? } else { end };
                }
                // A range that is empty holds nothing, where a regular expression would be in error.
                if low <= high {
                    inverted_only = false;
                    class_char(regex, low);
                    regex.push('-');
                    class_char(regex, high);
                }
            }
        }
    }
    if inverted_only {
        return None;
    }
    regex.push(']');
    Some(())
}

fn class_char(regex: &mut String, c: char) {
    regex.push_str(&format!("\\x{{{:x}}}", u32::from(c)));
}

fn push_literal(regex: &mut String, c: char) {
    regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
}
