//! Errors of plans and builds, shown at their place in the Dockerfile.

use std::error::Error;
use std::io::{self, IsTerminal};

use rebit_build::plan::{BasesError, PlanError, PlanProblem};
use rebit_build::{BuildError, Context, ContextRoot, StepProblem};
use rebit_distro::templates;
use rebit_dockerfile::{Dockerfile, SourceFile, Span, closest};
use rebit_oci::Reference;
use rebit_sandbox::SandboxError;

use crate::diagnostics::render_error;
use crate::error::{CommandError, ExitKind, hint_of, printable};

/// What execve(2) says of a file that this machine cannot execute.
const ENOEXEC: i32 = 8;

/// Shows why a file cannot be planned.
pub(crate) fn plan_error(file: &SourceFile, parsed: &Dockerfile, error: &PlanError) -> CommandError {
    let hint = match &error.problem {
        PlanProblem::Base { reference, source } => base_hint(parsed, reference, source),
        PlanProblem::UnknownTarget { stages, .. } if !stages.is_empty() => {
            Some(format!("the stages are {}", stages.join(", ")))
        }
        PlanProblem::NotAllowed => Some("--allow security.insecure allows it".to_owned()),
        PlanProblem::Unsupported { .. } => Some("the build stops here rather than leave it out".to_owned()),
        _ => None,
    };
    let title = printable(&error.to_string());
    at_place(file, error.span, &title, &causes(&error.problem, &title), hint.as_deref())
}

/// What to do about a base image that is not to be had.
fn base_hint(parsed: &Dockerfile, reference: &Reference, error: &BasesError) -> Option<String> {
    let name = &reference.familiar();
    let stages = parsed.stages.iter().filter_map(|stage| stage.name.as_deref());
    let stage = || {
        closest(name.trim_end_matches(":latest"), stages).map(|s| format!("did you mean the stage `{s}`?"))
    };
    let recipe = || {
        let suite = templates::SUITES.first()?;
        templates::find(reference, suite)?;
        Some(format!(
            "with `rebit image recipes {name} >> rebit.toml` beside the Dockerfile it is assembled from Debian packages"
        ))
    };
    let import = || {
        Some(format!(
            "`rebit pull {name}` takes it from its registry, `rebit import SOURCE store:{name}` from elsewhere"
        ))
    };
    match error {
        BasesError::NotFound => stage().or_else(recipe).or_else(import),
        BasesError::Unavailable { source } => {
            stage().or_else(|| hint_of(&**source).map(String::from)).or_else(recipe).or_else(import)
        }
        BasesError::Unasked { source } => hint_of(&**source).map(String::from),
        _ => None,
    }
}

/// Shows why a build failed.
pub(crate) fn build_error(file: &SourceFile, context: &Context, error: &BuildError) -> CommandError {
    show(file, context, error, true)
}

/// Shows why a build failed that keeps nothing.
pub(crate) fn trial_error(file: &SourceFile, context: &Context, error: &BuildError) -> CommandError {
    show(file, context, error, false)
}

fn show(file: &SourceFile, context: &Context, error: &BuildError, kept: bool) -> CommandError {
    match error {
        BuildError::Interrupted => CommandError::new(error).with_exit(ExitKind::Interrupted),
        BuildError::Step { span, problem, .. } => {
            let hint = hint_of(problem).map(String::from).or_else(|| step_hint(context, problem, kept));
            let title = printable(&problem.to_string());
            at_place(file, *span, &title, &causes(problem, &title), hint.as_deref())
        }
        _ => {
            let text = CommandError::new(error);
            match hint_of(error) {
                Some(hint) => text.hint(hint),
                None => text,
            }
        }
    }
}

fn step_hint(context: &Context, problem: &StepProblem, kept: bool) -> Option<String> {
    match problem {
        StepProblem::Sandbox(SandboxError::Exec { source, .. }) if source.raw_os_error() == Some(ENOEXEC) => {
            let hint = "it may be for another kind of processor; an emulator such as qemu-user-static lets this machine execute it";
            Some(hint.to_owned())
        }
        StepProblem::Failed { .. } if kept => Some("`rebit debug` opens a shell in what it left".to_owned()),
        StepProblem::Failed { .. } => {
            Some("after `rebit build`, `rebit debug` opens a shell in what it left".to_owned())
        }
        StepProblem::SourceMissing { path, place } if place == "the build context" => {
            source_hint(context, path.trim_start_matches('/').trim_start_matches("./"))
        }
        StepProblem::NotGiven { what: "secret", id } => {
            Some(format!("give it with `--secret id={id},src=FILE` or `--secret id={id},env=VARIABLE`"))
        }
        _ => None,
    }
}

/// Why a source is not there: it is left out, or it has another name.
fn source_hint(context: &Context, path: &str) -> Option<String> {
    let ContextRoot::Directory(directory) = &context.root else { return None };
    if context.ignore.matches(path) && directory.join(path).exists() {
        return Some("the file is there, but .dockerignore leaves it out".to_owned());
    }
    let path = path.trim_end_matches('/');
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let entries = std::fs::read_dir(directory.join(parent)).ok()?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    let close = closest(name, names.iter().map(String::as_str))?;
    let close = if parent.is_empty() { close.to_owned() } else { format!("{parent}/{close}") };
    (!context.ignore.matches(&close)).then(|| format!("did you mean `{}`?", printable(&close)))
}

fn at_place(
    file: &SourceFile,
    span: Span,
    title: &str,
    causes: &[String],
    hint: Option<&str>,
) -> CommandError {
    let styled = io::stderr().is_terminal();
    CommandError { exit: ExitKind::Failed, text: render_error(file, span, title, causes, hint, styled) }
}

/// The causes of an error, each that says something new.
fn causes(error: &dyn Error, title: &str) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(error) = next {
        let text = printable(&error.to_string());
        if !title.ends_with(&text) && causes.last().is_none_or(|last| !last.ends_with(&text)) {
            causes.push(text);
        }
        next = error.source();
    }
    causes
}
