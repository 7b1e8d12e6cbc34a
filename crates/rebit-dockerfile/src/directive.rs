//! Parser directives: `# syntax=`, `# escape=`, `# check=`.

use crate::diagnostic::{Code, Diagnostic};
use crate::lex::Physical;
use crate::lint::Rule;
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
    pub skip: RuleSet,
    /// `experimental=`: checks that are off by default and are wanted.
    pub experimental: RuleSet,
    /// `error=true`: a failed check fails the build.
    pub error: bool,
}

impl Check {
    /// Reads `skip=RULE,…;error=true;experimental=RULE,…`; `all` stands for every rule.
    ///
    /// # Errors
    /// The option that cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse_check(text)
    }

    /// Whether findings of a rule are reported.
    pub fn reports(&self, rule: Rule) -> bool {
        let on = !rule.is_experimental() || self.experimental.contains(rule.name());
        on && !self.skip.contains(rule.name())
    }

    /// The names in it that no rule has.
    pub fn unknown(&self) -> Vec<&str> {
        let names = [&self.skip, &self.experimental].into_iter().flat_map(|set| match set {
            RuleSet::All => &[][..],
            RuleSet::Rules(rules) => rules.as_slice(),
        });
        names.map(String::as_str).filter(|name| Rule::named(name).is_none()).collect()
    }
}

/// Which checks an option of `# check=` is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleSet {
    /// `all`.
    All,
    /// These, by [`Rule::name`]; compared without case.
    Rules(Vec<String>),
}

impl Default for RuleSet {
    fn default() -> Self {
        Self::Rules(Vec::new())
    }
}

impl RuleSet {
    /// Whether a check of this name is in the set.
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
        let Some((name, value)) = line.comment().and_then(split) else {
            mistyped(&line, diagnostics);
            break;
        };
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
                Ok(check) => {
                    check.unknown().into_iter().for_each(|name| diagnostics.push(unknown_rule(name, place)));
                    directives.check = Some(Spanned::new(check, place));
                }
                Err(option) => {
                    let diagnostic = Diagnostic::new(
                        Code::InvalidDirective,
                        place,
                        format!("invalid check option `{option}`"),
                    );
                    diagnostics
                        .push(diagnostic.with_help("options are `skip=RULE,…`, `error=true` and `experimental=RULE,…`; `all` is every rule"));
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

/// Warns of a comment that is a directive but for a letter or two.
fn mistyped(line: &Physical<'_>, diagnostics: &mut Diagnostics) {
    let Some((name, _)) = line.comment().and_then(|comment| comment.split_once('=')) else { return };
    let close = crate::suggest::closest(name.trim(), ["syntax", "escape", "check"]);
    if let Some(close) = close.filter(|close| !close.eq_ignore_ascii_case(name.trim())) {
        let message = format!("`{}` is no parser directive, so this is a comment", name.trim());
        let diagnostic = Diagnostic::new(Code::MistypedDirective, line.trimmed_span(), message);
        diagnostics.push(diagnostic.with_help(format!("did you mean `{close}`?")));
    }
}

fn unknown_rule(name: &str, span: Span) -> Diagnostic {
    let diagnostic = Diagnostic::new(Code::UnknownRule, span, format!("there is no build check `{name}`"));
    match crate::suggest::closest(name, Rule::ALL.iter().map(|rule| rule.name())) {
        Some(close) => diagnostic.with_help(format!("did you mean `{close}`?")),
        None => diagnostic,
    }
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
        let list = || match value.trim() {
            "all" => RuleSet::All,
            value => RuleSet::Rules(
                value.split(',').map(|rule| rule.trim().to_owned()).filter(|rule| !rule.is_empty()).collect(),
            ),
        };
        match key.trim() {
            "skip" => check.skip = list(),
            "error" => check.error = parse_bool(value.trim()).ok_or_else(bad)?,
            "experimental" => check.experimental = list(),
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
        let text = "# check=skip=UndefinedVar, fromAsCasing;error=true\n#ESCAPE = `\r\n  #  Syntax=docker/dockerfile:1  \nFROM a\n";
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
        assert!(check.error && check.skip.contains("undefinedvar") && !check.reports(Rule::FromAsCasing));
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
        check("# check=skip=StageNameCasin;experimental=all\n", &[Code::UnknownRule]);
        check("# check=skp=all\n", &[Code::InvalidDirective]);
    }
}
