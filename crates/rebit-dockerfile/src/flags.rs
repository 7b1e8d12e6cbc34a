//! Flags after an instruction's name: `--name`, `--name=value`, and `--` to end them.

use crate::diagnostic::{Code, Diagnostic};
use crate::lex::Part;
use crate::parse::Diagnostics;
use crate::span::{Span, Spanned};
use crate::suggest;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// `--name`, `--name=true` or `--name=false`, once.
    Bool,
    /// `--name=value`, once.
    Value,
    /// `--name=value`, any number of times.
    Values,
}

/// The flags an instruction knows.
pub(crate) type Known = &'static [(&'static str, Takes)];

#[derive(Debug, Clone, PartialEq, Eq)]
struct Flag {
    name: String,
    value: Option<String>,
    span: Span,
}

/// The flags of one instruction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Flags {
    flags: Vec<Flag>,
}

impl Flags {
    /// Takes the flags from the start of a part, and gives the rest, trimmed.
    ///
    /// Quotes in a flag are removed and `\` (whatever the file's escape character is) quotes one character.
    pub(crate) fn take(part: Part<'_>) -> (Self, Part<'_>) {
        let mut flags = Self::default();
        let mut rest = part.trim();
        while rest.text().starts_with("--") {
            let (word, end) = unquote(rest.text());
            let span = rest.sub(0, end).span();
            rest = rest.from(end).trim();
            let Some(flag) = word.strip_prefix("--").filter(|flag| !flag.is_empty()) else { break };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            flags.flags.push(Flag { name: name.to_owned(), value, span });
        }
        (flags, rest)
    }

    /// Reports flags that are not known, given twice, or lack a value, and drops them.
    pub(crate) fn check(&mut self, instruction: &str, known: Known, diagnostics: &mut Diagnostics) {
        let mut seen: Vec<Flag> = Vec::new();
        // At most as many as there are known names.
        let mut once: Vec<(String, Span)> = Vec::new();
        for flag in std::mem::take(&mut self.flags) {
            let Some((_, takes)) = known.iter().find(|(name, _)| *name == flag.name) else {
                if !diagnostics.is_full() {
                    diagnostics.push(unknown(&flag, instruction, known));
                }
                continue;
            };
            let repeated = once.iter().find(|(name, _)| *name == flag.name);
            if let Some((_, first)) = repeated {
                let message = format!("flag `--{}` is given twice", flag.name);
                let diagnostic = Diagnostic::new(Code::DuplicateFlag, flag.span, message);
                diagnostics.push(diagnostic.with_label(*first, "first given here"));
                continue;
            }
            if *takes != Takes::Values {
                once.push((flag.name.clone(), flag.span));
            }
            let missing = match takes {
                Takes::Bool => flag.value.as_deref() == Some(""),
                _ => flag.value.is_none(),
            };
            if missing {
                let message = format!("flag `--{}` needs a value", flag.name);
                diagnostics.push(Diagnostic::new(Code::MissingFlagValue, flag.span, message));
                continue;
            }
            seen.push(flag);
        }
        self.flags = seen;
    }

    /// The place of the first flag, if there is one.
    pub(crate) fn first_span(&self) -> Option<Span> {
        self.flags.first().map(|flag| flag.span)
    }

    /// All values of a flag, with the place of the flag.
    pub(crate) fn values(&self, name: &str) -> Vec<Spanned<String>> {
        let flags = self.flags.iter().filter(|flag| flag.name == name);
        flags.filter_map(|flag| Some(Spanned::new(flag.value.clone()?, flag.span))).collect()
    }

    /// The value of a flag; an empty one is none.
    pub(crate) fn value(&self, name: &str) -> Option<Spanned<String>> {
        self.values(name).into_iter().next().filter(|value| !value.value.is_empty())
    }

    /// The value of a flag that is true or false; `None` without the flag.
    pub(crate) fn bool(&self, name: &str, diagnostics: &mut Diagnostics) -> Option<bool> {
        let flag = self.flags.iter().find(|flag| flag.name == name)?;
        let Some(text) = &flag.value else { return Some(true) };
        let value = match text.to_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        };
        if value.is_none() {
            let message = format!("flag `--{name}` is `true` or `false`, not `{text}`");
            diagnostics.push(Diagnostic::new(Code::InvalidFlagValue, flag.span, message));
        }
        value
    }
}

fn unknown(flag: &Flag, instruction: &str, known: Known) -> Diagnostic {
    let message = format!("{instruction} has no flag `--{}`", flag.name);
    let diagnostic = Diagnostic::new(Code::UnknownFlag, flag.span, message);
    match suggest::closest(&flag.name, known.iter().map(|(name, _)| *name)) {
        Some(name) => diagnostic.with_help(format!("did you mean `--{name}`?")),
        None if known.is_empty() => diagnostic.with_help(format!("{instruction} takes no flags")),
        None => {
            let names: Vec<String> = known.iter().map(|(name, _)| format!("`--{name}`")).collect();
            diagnostic.with_help(format!("{instruction} knows {}", names.join(", ")))
        }
    }
}

/// The first word without its quotes, and where it ends.
fn unquote(text: &str) -> (String, usize) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            (c, None) if c.is_whitespace() => return (word, at),
            ('\\', _) => word.extend(chars.next().map(|(_, c)| c)),
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, _) => word.push(c),
        }
    }
    (word, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lex::Logical;

    const KNOWN: Known = &[("from", Takes::Value), ("link", Takes::Bool), ("mount", Takes::Values)];

    fn read(text: &str) -> (Flags, String, Vec<Code>) {
        let logical = Logical::read(text, 0, '\u{1}');
        let (mut flags, rest) = Flags::take(logical.all());
        let mut diagnostics = Diagnostics::default();
        flags.check("COPY", KNOWN, &mut diagnostics);
        flags.bool("link", &mut diagnostics);
        (flags, rest.text().to_owned(), diagnostics.into_codes())
    }

    #[test]
    fn taken_from_the_front() {
        let check = |text, names: &[(&str, Option<&str>)], rest| {
            let (flags, seen_rest, codes) = read(text);
            let seen: Vec<_> = flags.flags.iter().map(|f| (f.name.as_str(), f.value.as_deref())).collect();
            assert_eq!((seen.as_slice(), seen_rest.as_str()), (names, rest), "{text}");
            assert_eq!(codes, [], "{text}");
        };
        check("a --link b", &[], "a --link b");
        check("--from=x a b", &[("from", Some("x"))], "a b");
        check("  --link   --from=x   a b", &[("link", None), ("from", Some("x"))], "a b");
        check("--link -- --from=x b", &[("link", None)], "--from=x b");
        check("--link --", &[("link", None)], "");
        check("--from=\"x y\" b", &[("from", Some("x y"))], "b");
        check("--from='x y'z b", &[("from", Some("x yz"))], "b");
        check("--from=x\\ y b", &[("from", Some("x y"))], "b");
        check("--from=\"x y", &[("from", Some("x y"))], "");
        check("--mount=a --mount=b c", &[("mount", Some("a")), ("mount", Some("b"))], "c");
        check("-x", &[], "-x");
        check("--from= b", &[("from", Some(""))], "b");
        check("--from=é b", &[("from", Some("é"))], "b");
        check("--link=FALSE b", &[("link", Some("FALSE"))], "b");
    }

    #[test]
    fn faults() {
        let check = |text, expected: &[Code]| assert_eq!(read(text).2, expected, "{text}");
        check("--form=x a b", &[Code::UnknownFlag]);
        check("--from a b", &[Code::MissingFlagValue]);
        check("--from=a --from=b c", &[Code::DuplicateFlag]);
        check("--link=yes c", &[Code::InvalidFlagValue]);
        check("--link= c", &[Code::MissingFlagValue]);
        check("--link --link c", &[Code::DuplicateFlag]);
        check("--= c", &[Code::UnknownFlag]);
    }
}
