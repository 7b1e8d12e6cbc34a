//! The list of findings while a file is read.

use super::MAX_DIAGNOSTICS;
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::directive::Check;

/// Collects diagnostics up to the limit; beyond it, one says that there are more.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics {
    list: Vec<Diagnostic>,
    full: bool,
}

impl Diagnostics {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if self.list.len() < MAX_DIAGNOSTICS {
            self.list.push(diagnostic);
        } else if !self.full {
            self.full = true;
            let message = format!("more than {MAX_DIAGNOSTICS} findings; the rest is not listed");
            self.list.push(Diagnostic::new(Code::TooManyDiagnostics, diagnostic.span, message));
        }
    }

    /// Whether further findings are dropped.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.list.iter().any(Diagnostic::is_error)
    }

    /// The findings in the order of the text, after a `# check=` directive was applied.
    pub(crate) fn finish(mut self, check: Option<&Check>) -> Vec<Diagnostic> {
        if let Some(check) = check {
            self.list.retain(|d| !d.code.check_rule().is_some_and(|rule| check.skip.contains(rule)));
            for diagnostic in self.list.iter_mut().filter(|d| check.error && d.code.check_rule().is_some()) {
                diagnostic.severity = Severity::Error;
            }
        }
        self.list.sort_by_key(|diagnostic| diagnostic.span);
        self.list
    }

    #[cfg(test)]
    pub(crate) fn into_codes(self) -> Vec<Code> {
        self.list.into_iter().map(|diagnostic| diagnostic.code).collect()
    }
}
