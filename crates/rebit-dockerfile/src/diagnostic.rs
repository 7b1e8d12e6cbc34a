//! What the parser has to say about a text: a severity, a stable code, a message and the places it is about.

use std::fmt;

use crate::lint::Rule;
use crate::span::Span;

/// How bad a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; the file builds.
    Warning,
    /// The file must not be built.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $severity:ident;)*) => {
        /// What kind of finding a diagnostic is. Names are stable: tools may match on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $variant,)*
            /// A build check found something.
            Rule(Rule),
        }

        impl Code {
            /// Every code of the parser, in the order of declaration; [`Rule::ALL`] has the build checks.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name: kebab case, or that of the build check.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Rule(rule) => rule.name(),
                }
            }

            /// The severity this finding has unless a `# check=` directive changes it.
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$variant => Severity::$severity,)*
                    Self::Rule(rule) => rule.severity(),
                }
            }
        }
    };
}

codes! {
    /// The text is longer than [`crate::MAX_FILE_BYTES`].
    FileTooLarge = "file-too-large", Error;
    /// More than [`crate::MAX_INSTRUCTIONS`] instructions.
    TooManyInstructions = "too-many-instructions", Error;
    /// More than [`crate::MAX_HEREDOCS`] heredocs in one instruction.
    TooManyHeredocs = "too-many-heredocs", Error;
    /// More than [`crate::MAX_DIAGNOSTICS`] diagnostics; the rest is not listed.
    TooManyDiagnostics = "too-many-diagnostics", Error;
    /// No instruction at all.
    EmptyFile = "empty-file", Error;
    /// No `FROM`.
    NoStage = "no-stage", Error;
    /// A parser directive appears twice.
    DuplicateDirective = "duplicate-directive", Error;
    /// A parser directive has a value it cannot have.
    InvalidDirective = "invalid-directive", Error;
    /// A comment of the first lines is almost a parser directive.
    MistypedDirective = "mistyped-directive", Warning;
    /// `# check=` names a build check that does not exist.
    UnknownRule = "unknown-rule", Warning;
    /// A line starts with a word that is no instruction.
    UnknownInstruction = "unknown-instruction", Error;
    /// An instruction other than `ARG` before the first `FROM`.
    InstructionBeforeFrom = "instruction-before-from", Error;
    /// An instruction lacks arguments.
    MissingArgument = "missing-argument", Error;
    /// An instruction has more arguments than it takes.
    TooManyArguments = "too-many-arguments", Error;
    /// An argument has a form the instruction does not take.
    InvalidArgument = "invalid-argument", Error;
    /// A key of `ENV`, `LABEL` or `ARG` is empty.
    BlankName = "blank-name", Error;
    /// A word of `ENV` or `LABEL` has no `=`.
    MissingEquals = "missing-equals", Error;
    /// An instruction has a flag it does not know.
    UnknownFlag = "unknown-flag", Error;
    /// A flag that may be given once is given twice.
    DuplicateFlag = "duplicate-flag", Error;
    /// A flag lacks its value.
    MissingFlagValue = "missing-flag-value", Error;
    /// A flag's value cannot be read.
    InvalidFlagValue = "invalid-flag-value", Error;
    /// A flag has no effect where it stands.
    IgnoredFlag = "ignored-flag", Warning;
    /// A variable where none is expanded.
    VariableNotSupported = "variable-not-supported", Error;
    /// A word has a quote or a brace that is not closed, or a modifier that does not exist.
    InvalidWord = "invalid-word", Error;
    /// A heredoc without its closing line.
    UnterminatedHeredoc = "unterminated-heredoc", Error;
    /// A heredoc where none can be.
    InvalidHeredoc = "invalid-heredoc", Error;
    /// A JSON array of something other than strings.
    JsonNotStrings = "json-not-strings", Error;
    /// Text that looks like a JSON array but is none, and so is taken as the shell form.
    InvalidJson = "invalid-json", Warning;
    /// `SHELL` needs a JSON array.
    ShellNotJson = "shell-not-json", Error;
    /// A stage name has a character it cannot have.
    InvalidStageName = "invalid-stage-name", Error;
    /// An instruction that cannot be an `ONBUILD` trigger.
    InvalidTrigger = "invalid-trigger", Error;
    /// A duration cannot be read or is out of range.
    InvalidDuration = "invalid-duration", Error;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A second place a diagnostic is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What is there, lower case.
    pub text: String,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is, after `# check=` was applied.
    pub severity: Severity,
    /// Which kind of finding it is.
    pub code: Code,
    /// What is wrong: lower case, no final period.
    pub message: String,
    /// The place it is about.
    pub span: Span,
    /// Further places.
    pub labels: Vec<Label>,
    /// What to do about it, when there is a next step.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A finding with the severity of its code.
    pub fn new(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: code.severity(),
            code,
            message: message.into(),
            span,
            labels: Vec::new(),
            help: None,
        }
    }

    /// Adds a next step.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a second place.
    #[must_use]
    pub fn with_label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Whether this finding forbids a build.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: {}", self.severity, self.code, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_kebab() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }

    #[test]
    fn display_names_the_code() {
        let diagnostic = Diagnostic::new(Code::EmptyFile, Span::default(), "file has no instruction");
        assert_eq!(diagnostic.to_string(), "error[empty-file]: file has no instruction");
    }
}
