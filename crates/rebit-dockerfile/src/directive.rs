//! Parser directives: `# syntax=`, `# escape=`, `# check=`.

use crate::diagnostic::{Code, Diagnostic};
use crate::lex::Physical;
use crate::mount::parse_bool;
use crate::parse::Diagnostics;
use crate::span::{Span, Spanned};

/// The directives of a file. They stand in its first lines, before any other comment, blank line or instruction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directives {
    /// `# syntax=`: the frontend image the author asks for, as written.
    pub syntax: Option<Spanned<String>>,
    /// `# escape=`: `\` or `` ` ``.
    pub escape: Option<Spanned<char>>,
    /// `# check=`: what to do with build checks.
    pub check: Option<Spanned<Check>>,
}

impl Directives {
    /// The escape character in force.
    pub fn escape_char(&self) -> char {
        self.escape.as_ref().map_or('\\', |escape| escape.value)
    }
}

/// The value of `# check=`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Check {
    /// `skip=`: checks that are not reported.
    pub skip: Skip,
    /// `error=true`: a failed check fails the build.
    pub error: bool,
}

/// Which checks `# check=skip=` silences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skip {
    /// `skip=all`.
    All,
    /// These, by the name BuildKit gives them; compared without case.
    Rules(Vec<String>),
}

impl Default for Skip {
    fn default() -> Self {
        Self::Rules(Vec::new())
    }
}

impl Skip {
    /// Whether a check of this name is silenced.
    pub fn contains(&self, rule: &str) -> bool {
        match self {
            Self::All => true,
            Self::Rules(rules) => rules.iter().any(|r| r.eq_ignore_ascii_case(rule)),
        }
    }
}

/// Reads the directives at `start`; gives them and where the text goes on.
///
/// They end at the first line that is none. Names are case-insensitive; blanks may stand before `#` and around name and value.
pub(crate) fn read(source: &str, start: usize, diagnostics: &mut Diagnostics) -> (Directives, usize) {
    let mut directives = Directives::default();
    let mut seen: Vec<(String, Span)> = Vec::new();
    let mut next = start;
    while let Some(line) = Physical::at(source, next) {
        let Some((name, value)) = line.comment().and_then(split) else { break };
        let span = line.trimmed_span();
        next = line.next();
        if let Some((_, first)) = seen.iter().find(|(other, _)| *other == name) {
            let message = format!("parser directive `{name}` is given twice");
            let diagnostic = Diagnostic::new(Code::DuplicateDirective, span, message);
            diagnostics.push(diagnostic.with_label(*first, "first given here"));
            continue;
        }
        let place = value_span(&line, value);
        match name.as_str() {
            "syntax" => directives.syntax = Some(Spanned::new(value.to_owned(), place)),
            "escape" => match value {
                "\\" | "`" => {
                    directives.escape = Some(Spanned::new(value.chars().next().unwrap_or('\\'), place))
                }
                _ => {
                    let message = format!("the escape character is `\\` or `` ` ``, not `{value}`");
                    diagnostics.push(Diagnostic::new(Code::InvalidDirective, place, message));
                }
            },
            _ => match parse_check(value) {
                Ok(check) => directives.check = Some(Spanned::new(check, place)),
                Err(option) => {
                    let diagnostic = Diagnostic::new(
                        Code::InvalidDirective,
                        place,
                        format!("invalid check option `{option}`"),
                    );
                    diagnostics
                        .push(diagnostic.with_help("options are `skip=RULE,…`, `skip=all` and `error=true`"));
                }
            },
        }
        seen.push((name, span));
    }
    (directives, next)
}

/// Name, in lower case, and value of a comment that is a directive.
fn split(comment: &str) -> Option<(String, &str)> {
    let (name, value) = comment.trim_start().split_once('=')?;
    let (name, value) = (name.trim_end().to_lowercase(), value.trim());
    (matches!(name.as_str(), "syntax" | "escape" | "check") && !value.is_empty()).then_some((name, value))
}

fn value_span(line: &Physical<'_>, value: &str) -> Span {
    let end = line.start + line.text.trim_end().len();
    Span::new(end.saturating_sub(value.len()), end)
}

/// Reads `skip=A,B;error=true`. The error is the option that cannot be read.
fn parse_check(text: &str) -> Result<Check, String> {
    let mut check = Check::default();
    for option in text.split(';') {
        let bad = || option.trim().to_owned();
        let (key, value) = option.split_once('=').ok_or_else(bad)?;
        let list =
            || value.split(',').map(|rule| rule.trim().to_owned()).filter(|rule| !rule.is_empty()).collect();
        match key.trim() {
            "skip" if value.trim() == "all" => check.skip = Skip::All,
            "skip" => check.skip = Skip::Rules(list()),
            "error" => check.error = parse_bool(value.trim()).ok_or_else(bad)?,
            // Names experimental checks to run; there are none here.
            "experimental" => {}
            _ => return Err(bad()),
        }
    }
    Ok(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> (Directives, usize, Vec<Code>) {
        let mut diagnostics = Diagnostics::default();
        let (directives, next) = read(text, 0, &mut diagnostics);
        (directives, next, diagnostics.into_codes())
    }

    #[test]
    fn all_three_in_any_order() {
        let text = "# check=skip=A, B;error=true\n#ESCAPE = `\r\n  #  Syntax=docker/dockerfile:1  \nFROM a\n";
        let (directives, next, codes) = read_all(text);
        assert_eq!(codes, []);
        assert!(text[next..].starts_with("FROM"));
        assert_eq!(directives.escape_char(), '`');
        let syntax = directives.syntax.unwrap();
        assert_eq!(
            (syntax.as_str(), &text[syntax.span.range()]),
            ("docker/dockerfile:1", "docker/dockerfile:1")
        );
        let check = directives.check.unwrap().value;
        assert!(
            check.error && check.skip.contains("a") && check.skip.contains("B") && !check.skip.contains("C")
        );
    }

    #[test]
    fn end_at_anything_else() {
        for text in [
            "# a comment\n# escape=`\n",
            "\n# escape=`\n",
            "FROM a\n# escape=`",
            "# foo=bar\n#escape=`",
            "#escape=\n",
        ] {
            let (directives, next, codes) = read_all(text);
            assert_eq!(
                (directives.escape_char(), next, codes.as_slice()),
                ('\\', 0, [].as_slice()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn faults() {
        let check = |text, expected: &[Code]| assert_eq!(read_all(text).2, expected, "{text:?}");
        check("# escape=`\n# escape=\\\n", &[Code::DuplicateDirective]);
        check("# escape=x\n", &[Code::InvalidDirective]);
        check("# syntax=a\n# SYNTAX=b\n# syntax=c\n", &[Code::DuplicateDirective, Code::DuplicateDirective]);
        check("# check=skip\n", &[Code::InvalidDirective]);
        check("# check=error=perhaps\n", &[Code::InvalidDirective]);
        check("# check=skip=all;error=1\n", &[]);
        check("# check=skp=all\n", &[Code::InvalidDirective]);
    }
}
