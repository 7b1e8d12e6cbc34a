mod arguments;
mod faults;
mod forms;
mod heredocs;
mod layout;
mod properties;

use super::*;

/// Parses a file that has no error.
fn good(text: &str) -> Dockerfile {
    let parsed = parse(text);
    assert!(!parsed.has_errors(), "{text:?}: {:?}", parsed.diagnostics);
    parsed.file
}

/// The only instruction after `FROM a`.
fn one(line: &str) -> Node<Instruction> {
    let mut file = good(&format!("FROM a\n{line}"));
    let mut stage = file.stages.pop().unwrap();
    assert_eq!(stage.instructions.len(), 1, "{line:?}");
    stage.instructions.pop().unwrap()
}

/// The codes of all errors of a file.
fn errors(text: &str) -> Vec<Code> {
    parse(text).diagnostics.into_iter().filter(Diagnostic::is_error).map(|d| d.code).collect()
}

/// The codes of all warnings of a file.
fn warnings(text: &str) -> Vec<Code> {
    parse(text).diagnostics.into_iter().filter(|d| !d.is_error()).map(|d| d.code).collect()
}

fn strings(words: &[Spanned<String>]) -> Vec<&str> {
    words.iter().map(Spanned::as_str).collect()
}
