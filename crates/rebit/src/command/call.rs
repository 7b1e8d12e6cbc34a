//! `rebit build --call` and `--check`: questions about a Dockerfile.

use rebit_dockerfile::outline::{self, Outline, OutlineMount, Target};
use rebit_dockerfile::{Code, Diagnostic, SourceFile, Span};
use serde_json::{Value, json};

use super::dockerfile::Input;
use crate::error::{CommandError, ExitKind};
use crate::flags::{Call, Question};
use crate::output::{json, line, table};

/// Answers a question; `None` if the answer is to build.
pub(crate) fn answer(
    call: Call,
    input: &Input,
    target: Option<&str>,
    quiet: bool,
) -> Option<Result<(), CommandError>> {
    match call.question {
        Question::Build => None,
        Question::Check => Some(if call.json { check_json(input) } else { check(input, quiet) }),
        Question::Outline => Some(readable(input).and_then(|()| show_outline(input, target, call.json))),
        Question::Targets => Some(readable(input).and_then(|()| show_targets(input, call.json))),
    }
}

/// A file with errors in it has no certain answer.
fn readable(input: &Input) -> Result<(), CommandError> {
    if input.parsed.has_errors() { input.say(true) } else { Ok(()) }
}

fn check(input: &Input, quiet: bool) -> Result<(), CommandError> {
    input.say(quiet)?;
    match input.findings.len() {
        0 => line("no findings"),
        1 => Err(CommandError::message("the check has one finding")),
        count => Err(CommandError::message(format!("the check has {count} findings"))),
    }
}

fn check_json(input: &Input) -> Result<(), CommandError> {
    let (errors, warnings): (Vec<_>, Vec<_>) = input.findings.iter().partition(|found| found.is_error());
    let list = |found: Vec<&Diagnostic>| -> Vec<Value> {
        found.into_iter().map(|found| finding(&input.file, found)).collect()
    };
    json(&json!({
        "warnings": list(warnings),
        "errors": list(errors),
        "sources": [{ "filename": input.file.name() }],
    }))?;
    if input.findings.is_empty() { Ok(()) } else { Err(CommandError::silent(ExitKind::Failed)) }
}

fn finding(file: &SourceFile, found: &Diagnostic) -> Value {
    let rule = match found.code {
        Code::Rule(rule) => Some(rule),
        _ => None,
    };
    json!({
        "ruleName": found.code.name(),
        "description": rule.map(|rule| rule.description()),
        "url": rule.map(|rule| rule.page()),
        "detail": found.message,
        "help": found.help,
        "location": location(file, found.span),
    })
}

/// Lines and characters, both from 1; the end is after the last character.
fn location(file: &SourceFile, span: Span) -> Value {
    let place = |offset| {
        let position = file.position(offset);
        json!({ "line": position.line, "character": position.column })
    };
    json!({ "sourceIndex": 0, "ranges": [{ "start": place(span.start), "end": place(span.end) }] })
}

fn show_targets(input: &Input, as_json: bool) -> Result<(), CommandError> {
    let targets = outline::targets(&input.parsed.file);
    if as_json {
        let targets: Vec<Value> = targets.iter().map(|target| target_json(&input.file, target)).collect();
        return json(&json!({ "targets": targets, "sources": [{ "filename": input.file.name() }] }));
    }
    let rows: Vec<Vec<String>> = targets
        .iter()
        .map(|target| {
            let default = if target.is_default { " (default)" } else { "" };
            let name = format!("{}{default}", target_name(target));
            vec![name, target.base.to_owned(), target.description.unwrap_or_default().to_owned()]
        })
        .collect();
    table(&["TARGET", "BASE", "DESCRIPTION"], &rows)
}

fn target_name(target: &Target<'_>) -> String {
    target.name.map_or_else(|| target.index.to_string(), str::to_owned)
}

fn target_json(file: &SourceFile, target: &Target<'_>) -> Value {
    json!({
        "name": target.name,
        "index": target.index,
        "default": target.is_default,
        "description": target.description,
        "base": target.base,
        "platform": target.platform,
        "location": location(file, target.span),
    })
}

fn show_outline(input: &Input, target: Option<&str>, as_json: bool) -> Result<(), CommandError> {
    let file = &input.parsed.file;
    let outline = outline::outline(file, target).ok_or_else(|| {
        let names: Vec<String> = outline::targets(file).iter().map(target_name).collect();
        CommandError::message(format!("there is no stage `{}`", target.unwrap_or_default()))
            .hint(format!("the stages are {}", names.join(", ")))
    })?;
    if as_json { outline_json(&input.file, &outline) } else { outline_text(&outline) }
}

fn outline_json(file: &SourceFile, outline: &Outline<'_>) -> Result<(), CommandError> {
    let arg = |arg: &outline::OutlineArg<'_>| {
        json!({
            "name": arg.name,
            "value": arg.default,
            "description": arg.description,
            "location": location(file, arg.span),
        })
    };
    let mount = |mount: &OutlineMount| json!({ "name": mount.id, "required": mount.required, "location": location(file, mount.span) });
    let mut value = target_json(file, &outline.target);
    if let Some(object) = value.as_object_mut() {
        object.insert("args".to_owned(), outline.args.iter().map(arg).collect());
        object.insert("secrets".to_owned(), outline.secrets.iter().map(mount).collect());
        object.insert("ssh".to_owned(), outline.ssh.iter().map(mount).collect());
        object.insert("sources".to_owned(), json!([{ "filename": file.name() }]));
    }
    json(&value)
}

fn outline_text(outline: &Outline<'_>) -> Result<(), CommandError> {
    let description = outline.target.description.map(|text| format!(": {text}")).unwrap_or_default();
    line(format!("target {}{description}", target_name(&outline.target)))?;
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    if !outline.args.is_empty() {
        let rows: Vec<_> = outline
            .args
            .iter()
            .map(|arg| vec![arg.name.to_owned(), text(arg.default), text(arg.description)])
            .collect();
        line("")?;
        table(&["BUILD ARG", "VALUE", "DESCRIPTION"], &rows)?;
    }
    for (head, list) in [("SECRET", &outline.secrets), ("SSH", &outline.ssh)] {
        if !list.is_empty() {
            let required = |mount: &OutlineMount| if mount.required { "yes" } else { "" }.to_owned();
            let rows: Vec<_> = list.iter().map(|mount| vec![mount.id.clone(), required(mount)]).collect();
            line("")?;
            table(&[head, "REQUIRED"], &rows)?;
        }
    }
    Ok(())
}
