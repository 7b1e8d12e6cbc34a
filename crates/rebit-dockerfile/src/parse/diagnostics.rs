//! The list of findings while a file is read.

use super::MAX_DIAGNOSTICS;
use crate::diagnostic::{Code, Diagnostic, Severity};

/// Collects diagnostics up to the limit; beyond it, one says that there are more.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics {
    list: Vec<Diagnostic>,
    more: Option<Diagnostic>,
}

impl Diagnostics {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if self.list.len() < MAX_DIAGNOSTICS {
            self.list.push(diagnostic);
            return;
        }
        let message = format!("more than {MAX_DIAGNOSTICS} findings; the rest is not listed");
        let more = self.more.get_or_insert_with(|| {
            let more = Diagnostic::new(Code::TooManyDiagnostics, diagnostic.span, message);
            Diagnostic { severity: Severity::Warning, ..more }
        });
        // As bad as the worst that is not listed.
        more.severity = more.severity.max(diagnostic.severity);
    }

    /// How many findings there are.
    pub(crate) fn count(&self) -> usize {
        self.list.len()
    }

    /// Whether further findings are dropped.
    pub(crate) fn is_full(&self) -> bool {
        self.more.is_some()
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.list.iter().chain(&self.more).any(Diagnostic::is_error)
    }

    /// The findings in the order of the text.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.list.sort_by_key(|diagnostic| diagnostic.span);
        self.list.extend(self.more);
        self.list
    }

    #[cfg(test)]
    pub(crate) fn into_codes(self) -> Vec<Code> {
        self.list.into_iter().map(|diagnostic| diagnostic.code).collect()
    }
}
