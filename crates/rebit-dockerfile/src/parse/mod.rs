//! From text to tree.

use crate::diagnostic::Diagnostic;
use crate::instruction::{Dockerfile, Instruction, Node};

/// How long a file may be, in bytes.
pub const MAX_FILE_BYTES: usize = 4 << 20;

/// How many instructions a file may hold.
pub const MAX_INSTRUCTIONS: usize = 20_000;

/// How many heredocs one instruction may have.
pub const MAX_HEREDOCS: usize = 64;

/// How many diagnostics are reported.
pub const MAX_DIAGNOSTICS: usize = 256;

/// The result of [`parse`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parsed {
    /// What could be read.
    pub file: Dockerfile,
    /// What there is to say, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// Whether any diagnostic forbids a build.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Reads a whole file.
pub fn parse(text: &str) -> Parsed {
    let _ = text;
    Parsed::default()
}

/// Reads one trigger of an image config's `OnBuild` list, heredocs included. The escape character is `\`.
///
/// # Errors
/// The diagnostics, if one is an error or if the text is not exactly one instruction that may be a trigger. Spans are of `text`.
pub fn parse_trigger(text: &str) -> Result<Node<Instruction>, Vec<Diagnostic>> {
    let _ = text;
    Err(Vec::new())
}
