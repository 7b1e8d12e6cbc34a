//! `COPY` and `ADD`.

use rebit_dockerfile::instruction::{Add, Copy, Files, Source};
use rebit_dockerfile::mode::ChmodMode;
use rebit_dockerfile::{Instruction, Node, Spanned};

use super::stage::StageState;
use super::{PlanError, PlanProblem, Planner, metadata, unsupported};
use crate::graph::{CopyOp, CopySource, Op, SourcePath};

pub(super) fn plan_copy(
    planner: &Planner<'_>,
    state: &mut StageState,
    node: &Node<Instruction>,
    copy: &Copy,
) -> Result<(), PlanError> {
    if copy.parents {
        return Err(unsupported(node.span, "COPY --parents"));
    }
    let from = match &copy.from {
        Some(name) => copy_source(planner, state, name)?,
        None => CopySource::Context,
    };
    plan_files(planner, state, node, &copy.files, from, false)
}

pub(super) fn plan_add(
    planner: &Planner<'_>,
    state: &mut StageState,
    node: &Node<Instruction>,
    add: &Add,
) -> Result<(), PlanError> {
    if let Some(checksum) = &add.checksum {
        return Err(unsupported(checksum.span, "ADD --checksum"));
    }
    if add.keep_git_dir.is_some() {
        return Err(unsupported(node.span, "ADD --keep-git-dir"));
    }
    plan_files(planner, state, node, &add.files, CopySource::Context, add.unpack.unwrap_or(true))
}

/// A stage by name or number, else an image.
fn copy_source(
    planner: &Planner<'_>,
    state: &StageState,
    name: &Spanned<String>,
) -> Result<CopySource, PlanError> {
    let fail = |problem| PlanError { span: name.span, problem };
    let text = &name.value;
    if let Some(stage) = planner.earlier_stage(text, state.index) {
        return Ok(CopySource::Stage(stage));
    }
    if let Ok(number) = text.parse::<usize>() {
        return if number < state.index {
            Ok(CopySource::Stage(number))
        } else {
            Err(fail(PlanProblem::NotEarlier { name: text.clone() }))
        };
    }
    if planner
        .file
        .stages
        .iter()
        .any(|stage| stage.name.as_deref().is_some_and(|n| n.eq_ignore_ascii_case(text)))
    {
        return Err(fail(PlanProblem::NotEarlier { name: text.clone() }));
    }
    let (reference, manifest, _) = planner.image(text).map_err(fail)?;
    Ok(CopySource::Image { reference: reference.to_string(), manifest })
}

fn plan_files(
    planner: &Planner<'_>,
    state: &mut StageState,
    node: &Node<Instruction>,
    files: &Files,
    from: CopySource,
    unpack: bool,
) -> Result<(), PlanError> {
    let name = super::name_of(node);
    if files.link == Some(true) {
        return Err(unsupported(node.span, format!("{name} --link")));
    }
    if let Some(exclude) = files.excludes.first() {
        return Err(unsupported(exclude.span, format!("{name} --exclude")));
    }
    let mut sources = Vec::new();
    for source in &files.sources {
        sources.push(plan_source(planner, state, name, source)?);
    }
    let dest = planner.expand(&state.scope, &files.dest.value, files.dest.span)?;
    let dest = destination(state, &dest);
    if sources.len() > 1 && !dest.ends_with('/') {
        let problem = PlanProblem::DestinationNotDirectory { dest };
        return Err(PlanError { span: files.dest.span, problem });
    }
    let expand = |word: &Option<Spanned<String>>| match word {
        Some(word) => planner.expand(&state.scope, &word.value, word.span).map(Some),
        None => Ok(None),
    };
    let (chown, chmod) = (expand(&files.chown)?, expand(&files.chmod)?);
    if let (Some(value), Some(word)) = (&chmod, &files.chmod)
        && ChmodMode::parse(value).is_err()
    {
        let problem = PlanProblem::Invalid { value: value.clone(), expected: "a mode for --chmod" };
        return Err(PlanError { span: word.span, problem });
    }
    let op = CopyOp { from, sources, dest, chown, chmod, unpack };
    let created_by = node.text.clone();
    state.step(node, created_by, Op::Copy(op));
    Ok(())
}

fn plan_source(
    planner: &Planner<'_>,
    state: &StageState,
    instruction: &str,
    source: &Source,
) -> Result<SourcePath, PlanError> {
    match source {
        Source::Path(word) => {
            let path = planner.expand(&state.scope, &word.value, word.span)?;
            if instruction == "ADD" && is_remote(&path) {
                return Err(unsupported(word.span, format!("ADD of the remote source `{path}`")));
            }
            Ok(SourcePath::Path(path))
        }
        Source::Heredoc(heredoc) => {
            let mut content = heredoc.content();
            if heredoc.expand {
                content = state.scope.expand_heredoc(&content).map_err(|source| PlanError {
                    span: heredoc.body_span,
                    problem: PlanProblem::Expand { word: heredoc.name.clone(), source },
                })?;
            }
            Ok(SourcePath::Inline { name: heredoc.name.clone(), content })
        }
    }
}

fn is_remote(path: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@"].iter().any(|scheme| path.starts_with(scheme))
}

/// Makes a destination absolute; the slash at its end says that it is a directory.
fn destination(state: &StageState, dest: &str) -> String {
    let directory =
        dest.ends_with('/') || dest.ends_with("/.") || matches!(dest, "." | "..") || dest.ends_with("/..");
    let mut path = metadata::absolute(state.config.working_dir.as_deref().unwrap_or("/"), dest);
    if directory && !path.ends_with('/') {
        path.push('/');
    }
    path
}
