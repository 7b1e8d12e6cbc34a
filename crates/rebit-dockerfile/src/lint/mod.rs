//! Build checks: what builds but is probably not meant.
//!
//! [`Rule`] is the table. [`lint`] is a pure pass over a parsed file: it needs neither a store nor a base image. What is known besides
//! the text comes in through [`LintOptions`], and a rule that depends on something unknown stays silent rather than guess.
//!
//! `# check=skip=RULE,…;error=true;experimental=RULE,…` in the file, or the build argument [`BUILD_ARG`] in its place, say which rules
//! count and how much.

mod commands;
mod forms;
mod from;
mod names;
mod rules;
mod scope;
#[cfg(test)]
mod tests;
mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use rules::{Origin, Rule};

use crate::diagnostic::{Code, Diagnostic};
use crate::directive::Check;
use crate::ignore::Ignore;
use crate::instruction::Dockerfile;
use crate::parse::Diagnostics;
use crate::span::Span;
use scope::Scope;

/// The build argument whose value takes the place of the file's `# check=` directive.
pub const BUILD_ARG: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What a base image brings to the variables of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BaseFacts {
    /// The variables of its config's environment.
    pub variables: BTreeMap<String, String>,
    /// Whether its config has a `Shell`.
    pub has_shell: bool,
}

/// What is known besides the text.
#[derive(Clone, Copy)]
pub struct LintOptions<'a> {
    /// Settings that take the place of the file's `# check=` directive.
    pub check: Option<&'a Check>,
    /// The build arguments given.
    pub build_args: &'a BTreeMap<String, String>,
    /// The ignore file of the build context; without it nothing is said of ignored files.
    pub ignore: Option<&'a Ignore>,
    /// What is known of a base image, by its expanded name. `None`: nothing; then a variable is reported only if it looks like a mistyped
    /// one.
    pub base: &'a dyn Fn(&str) -> Option<BaseFacts>,
}

impl fmt::Debug for LintOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LintOptions").field("build_args", &self.build_args.keys()).finish_non_exhaustive()
    }
}

/// Runs all checks on a file that parsed without errors; findings come in the order of the text.
///
/// `source` is the text that `file` was parsed from. There are at most [`crate::MAX_DIAGNOSTICS`] findings and one that says that there
/// are more.
pub fn lint(source: &str, file: &Dockerfile, options: &LintOptions<'_>) -> Vec<Diagnostic> {
    let directive = file.directives.check.as_ref().map(|check| &check.value);
    let default = Check::default();
    let check = options.check.or(directive).unwrap_or(&default);
    let mut linter = Linter {
        source,
        file,
        options,
        check,
        global: Scope::global(file, options.build_args),
        defaults: Scope::global(file, &BTreeMap::new()),
        found: Diagnostics::default(),
    };
    linter.blank_lines();
    linter.stage_names();
    linter.instruction_casing();
    linter.global_args();
    let mut ends: Vec<Scope> = Vec::new();
    for stage in &file.stages {
        linter.from(stage);
        linter.forms(stage);
        linter.commands(stage);
        let end = linter.variables(stage, &ends);
        ends.push(end);
    }
    linter.found.finish()
}

struct Linter<'a> {
    source: &'a str,
    file: &'a Dockerfile,
    options: &'a LintOptions<'a>,
    check: &'a Check,
    /// The arguments of `FROM` lines.
    global: Scope,
    /// The same without build arguments.
    defaults: Scope,
    found: Diagnostics,
}

impl Linter<'_> {
    /// Reports a finding, unless the settings silence its rule.
    fn report(&mut self, rule: Rule, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.push(rule, Diagnostic::new(Code::Rule(rule), span, message).with_help(help));
    }

    fn push(&mut self, rule: Rule, mut diagnostic: Diagnostic) {
        if self.check.reports(rule) {
            if self.check.error {
                diagnostic.severity = crate::Severity::Error;
            }
            self.found.push(diagnostic);
        }
    }

    /// The text at a place.
    fn text(&self, span: Span) -> &str {
        self.source.get(span.range()).unwrap_or_default()
    }

    /// Where `$name` or `${name` stands inside a place; the place itself if it is not there as written.
    fn variable_span(&self, span: Span, name: &str) -> Span {
        let text = self.text(span);
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        for (at, _) in text.match_indices('$') {
            let rest = text.get(at + 1..).unwrap_or_default();
            let (brace, rest) = match rest.strip_prefix('{') {
                Some(rest) => (1, rest),
                None => (0, rest),
            };
            let Some(after) = rest.strip_prefix(name) else { continue };
            if after.starts_with(is_name) {
                continue;
            }
            let start = span.start + at;
            let closing = usize::from(brace == 1 && after.starts_with('}'));
            return Span::new(start, start + 1 + brace + name.len() + closing);
        }
        span
    }

    /// Reports the empty lines that the parser stepped over.
    fn blank_lines(&mut self) {
        for span in &self.file.blank_continuations {
            let message = "empty line inside a continued line";
            self.report(Rule::NoEmptyContinuation, *span, message, "remove it, or put `#` on it");
        }
    }
}

/// The name that is close to one, if there is one.
fn suggestion(name: &str, known: &BTreeSet<&str>) -> Option<String> {
    crate::suggest::closest(name, known.iter().copied()).map(str::to_owned)
}
