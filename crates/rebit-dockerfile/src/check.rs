//! Build checks: what builds but is probably not meant. Names and meanings are BuildKit's.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic};
use crate::instruction::{Command, Dockerfile, Instruction, Stage};
use crate::parse::Diagnostics;
use crate::span::{Span, Spanned};

/// Runs all checks.
pub(crate) fn run(file: &Dockerfile, diagnostics: &mut Diagnostics) {
    stage_names(file, diagnostics);
    instruction_casing(file, diagnostics);
    for stage in &file.stages {
        from_casing(stage, diagnostics);
        repeated(stage, diagnostics);
        instructions(stage, diagnostics);
    }
}

fn stage_names(file: &Dockerfile, diagnostics: &mut Diagnostics) {
    let mut seen: BTreeMap<String, Span> = BTreeMap::new();
    for name in file.stages.iter().filter_map(|stage| stage.from.value.name.as_ref()) {
        let lower = name.value.to_lowercase();
        if lower != name.value {
            let message = format!("stage name `{}` should be lower case", name.value);
            diagnostics.push(Diagnostic::new(Code::StageNameCasing, name.span, message));
        }
        if lower == "scratch" || lower == "context" {
            let message = format!("stage name `{lower}` is reserved");
            diagnostics.push(Diagnostic::new(Code::ReservedStageName, name.span, message));
        }
        if let Some(first) = seen.get(&lower) {
            let message = format!("two stages are named `{lower}`");
            let diagnostic = Diagnostic::new(Code::DuplicateStageName, name.span, message);
            diagnostics.push(diagnostic.with_label(*first, "first named here"));
        }
        seen.entry(lower).or_insert(name.span);
    }
}

/// All instruction names should be in one case: that of most of them.
fn instruction_casing(file: &Dockerfile, diagnostics: &mut Diagnostics) {
    let global = file.global_args.iter().map(|node| &node.keyword);
    let stages = file.stages.iter().flat_map(|stage| {
        std::iter::once(&stage.from.keyword).chain(stage.instructions.iter().map(|node| &node.keyword))
    });
    let keywords: Vec<&Spanned<String>> = global.chain(stages).collect();
    let is_lower = |word: &Spanned<String>| !word.value.contains(|c: char| c.is_ascii_uppercase());
    let is_upper = |word: &Spanned<String>| !word.value.contains(|c: char| c.is_ascii_lowercase());
    let lower = keywords.iter().filter(|word| is_lower(word)).count();
    let wants_lower = lower * 2 > keywords.len();
    for word in keywords {
        let (fits, case) = if wants_lower { (is_lower(word), "lower") } else { (is_upper(word), "upper") };
        if !fits {
            let message = format!("instruction `{}` should be {case} case, as the others are", word.value);
            diagnostics.push(Diagnostic::new(Code::InstructionCasing, word.span, message));
        }
    }
}

/// `FROM … AS` or `from … as`, not mixed.
fn from_casing(stage: &Stage, diagnostics: &mut Diagnostics) {
    if stage.from.value.name.is_none() {
        return;
    }
    let Some(word) = stage.from.text.split_whitespace().rev().nth(1) else { return };
    let keyword = &stage.from.keyword;
    let same = |of: fn(&str) -> String| of(word) == word && of(&keyword.value) == keyword.value;
    if !same(|text| text.to_lowercase()) && !same(|text| text.to_uppercase()) {
        let message = format!("`{}` and `{word}` differ in case", keyword.value);
        diagnostics.push(Diagnostic::new(Code::FromAsCasing, stage.from.span, message));
    }
}

/// Of some instructions only the last one in a stage counts.
fn repeated(stage: &Stage, diagnostics: &mut Diagnostics) {
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    for node in &stage.instructions {
        let name = node.value.name();
        if !matches!(name, "CMD" | "ENTRYPOINT" | "HEALTHCHECK") {
            continue;
        }
        if let Some(before) = seen.insert(name, node.keyword.span) {
            let message = format!("only the last {name} of a stage counts");
            let diagnostic = Diagnostic::new(Code::RepeatedInstruction, before, message);
            diagnostics.push(diagnostic.with_label(node.keyword.span, "overrides it"));
        }
    }
}

fn instructions(stage: &Stage, diagnostics: &mut Diagnostics) {
    let mut own_shell = false;
    for node in &stage.instructions {
        match &node.value {
            Instruction::Shell(_) => own_shell = true,
            Instruction::Maintainer(_) => {
                let diagnostic = Diagnostic::new(
                    Code::MaintainerDeprecated,
                    node.keyword.span,
                    "MAINTAINER is deprecated",
                );
                diagnostics.push(diagnostic.with_help("use `LABEL org.opencontainers.image.authors=…`"));
            }
            Instruction::Cmd(cmd) if !own_shell => shell_form(&cmd.command, "CMD", node.span, diagnostics),
            Instruction::Entrypoint(entry) if !own_shell => {
                shell_form(&entry.command, "ENTRYPOINT", node.span, diagnostics);
            }
            Instruction::Env(env) if env.legacy => legacy("ENV", node.span, diagnostics),
            Instruction::Label(label) if label.legacy => legacy("LABEL", node.span, diagnostics),
            Instruction::Expose(expose) => {
                for port in expose.ports.iter().filter(|port| has_upper_protocol(&port.value)) {
                    let message = format!("the protocol of `{}` should be lower case", port.value);
                    diagnostics.push(Diagnostic::new(Code::ExposeProtoCasing, port.span, message));
                }
            }
            _ => {}
        }
    }
}

fn has_upper_protocol(port: &str) -> bool {
    port.split_once('/').is_some_and(|(_, protocol)| {
        !protocol.contains('$') && protocol.contains(|c: char| c.is_ascii_uppercase())
    })
}

fn shell_form(command: &Command, name: &str, span: Span, diagnostics: &mut Diagnostics) {
    if matches!(command, Command::Shell(_)) {
        let message = format!("{name} in shell form: the program does not get signals");
        let diagnostic = Diagnostic::new(Code::JsonArgsRecommended, span, message);
        diagnostics.push(
            diagnostic.with_help(format!("write it as a JSON array: `{name} [\"program\", \"argument\"]`")),
        );
    }
}

fn legacy(name: &str, span: Span, diagnostics: &mut Diagnostics) {
    let diagnostic = Diagnostic::new(Code::LegacyKeyValue, span, format!("{name} without `=`"));
    diagnostics.push(diagnostic.with_help(format!("write `{name} key=value`")));
}
