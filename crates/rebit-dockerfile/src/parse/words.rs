//! What is wrong with a word whatever its variables are.

use super::{Diagnostics, Statement};
use crate::diagnostic::{Code, Diagnostic};
use crate::expand::{ExpandError, Expander};
use crate::instruction::{Files, Instruction};
use crate::mode::ChmodMode;
use crate::span::Spanned;

/// Reports what is wrong with the words of an instruction.
pub(super) fn check(statement: &Statement, escape: char, diagnostics: &mut Diagnostics) {
    let instruction = match statement {
        Statement::From(from) => return check_words(from.expanded_words(), None, escape, diagnostics),
        Statement::Instruction(instruction) => instruction,
    };
    let files = match instruction {
        Instruction::Copy(copy) => &copy.files,
        Instruction::Add(add) => &add.files,
        _ => return check_words(instruction.expanded_words(), None, escape, diagnostics),
    };
    let help = "a path with blanks in it needs the JSON form: `[\"a b\", \"/to/\"]`";
    check_words(instruction.expanded_words(), (!files.json).then_some(help), escape, diagnostics);
    check_owner_and_mode(files, diagnostics);
}

/// Reports values that are complete without any variable and wrong.
fn check_owner_and_mode(files: &Files, diagnostics: &mut Diagnostics) {
    let constant = |word: &&Spanned<String>| !word.value.contains(['$', '\'', '"', '\\']);
    if let Some(mode) = files.chmod.as_ref().filter(constant)
        && let Err(error) = ChmodMode::parse(&mode.value)
    {
        let help = "write octal digits such as `0644`, or changes such as `u=rwX,go-w`";
        let diagnostic = Diagnostic::new(Code::InvalidFlagValue, mode.span, format!("--chmod: {error}"));
        diagnostics.push(diagnostic.with_help(help));
    }
    if let Some(owner) = files.chown.as_ref().filter(constant)
        && owner.value.matches(':').count() > 1
    {
        let message = format!("--chown: `{}` is not a user and a group", owner.value);
        let diagnostic = Diagnostic::new(Code::InvalidFlagValue, owner.span, message);
        diagnostics.push(diagnostic.with_help("write `--chown=USER[:GROUP]`, names or numbers"));
    }
}

/// Reports quotes and braces that are not closed, and modifiers that do not exist; `quote_help` is what to do about the quotes.
fn check_words<'a>(
    words: impl IntoIterator<Item = &'a Spanned<String>>,
    quote_help: Option<&str>,
    escape: char,
    diagnostics: &mut Diagnostics,
) {
    let any = |_: &str| Some("x".to_owned());
    for word in words {
        if !word.value.contains(['$', '\'', '"']) {
            continue;
        }
        let Err(error) = Expander::new(escape, &any).expand(&word.value) else { continue };
        let help = match &error {
            ExpandError::UnclosedQuote { quote } => quote_help.map_or_else(
                || format!("add the closing `{quote}`, or write `{escape}{quote}` for the character itself"),
                str::to_owned,
            ),
            ExpandError::UnclosedBrace | ExpandError::UnclosedPattern { .. } => {
                "add the closing `}`; a value with blanks in it needs quotes".to_owned()
            }
            ExpandError::BadSubstitution => format!("write `{escape}$` for the character itself"),
            ExpandError::UnsupportedModifier { .. } => {
                "there are `:-` `-` `:+` `+` `:?` `?` `#` `##` `%` `%%` `/` and `//`".to_owned()
            }
            // The rest depends on values, or is a limit that the builder reports.
            _ => continue,
        };
        let message = format!("cannot read `{}`: {error}", word.value);
        diagnostics.push(Diagnostic::new(Code::InvalidWord, word.span, message).with_help(help));
        // What closes such a quote is in a later word.
        if quote_help.is_some() {
            return;
        }
    }
}
