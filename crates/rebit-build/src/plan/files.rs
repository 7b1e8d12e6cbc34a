//! `COPY` and `ADD`.

use rebit_dockerfile::ignore::Ignore;
use rebit_dockerfile::instruction::{Add, Copy, Files, Source};
use rebit_dockerfile::mode::ChmodMode;
use rebit_dockerfile::{Instruction, Node, Spanned};

use super::remote::{self, RemoteFlags};
use super::stage::StageState;
use super::{NamedContext, PlanError, PlanProblem, Planner, metadata};
use crate::graph::{CopyOp, CopySource, Op, SourcePath};

pub(super) fn plan_copy(
    planner: &Planner<'_>,
    state: &mut StageState,
    node: &Node<Instruction>,
    copy: &Copy,
) -> Result<(), PlanError> {
    let from = match &copy.from {
        Some(name) => copy_source(planner, state, name)?,
        None => CopySource::Context,
    };
    let how = How { unpack: false, parents: copy.parents, remote: None };
    plan_files(planner, state, node, &copy.files, from, how)
}

pub(super) fn plan_add(
    planner: &Planner<'_>,
    state: &mut StageState,
    node: &Node<Instruction>,
    add: &Add,
) -> Result<(), PlanError> {
    let remote = remote::flags(planner, state, add)?;
    let how = How { unpack: add.unpack.unwrap_or(true), parents: false, remote: Some(remote) };
    plan_files(planner, state, node, &add.files, CopySource::Context, how)
}

/// What the instructions do not have in common.
struct How {
    unpack: bool,
    parents: bool,
    /// How sources that come over the network are taken; `None` when they are not.
    remote: Option<RemoteFlags>,
}

/// A stage by name or number, else an image.
pub(super) fn copy_source(
    planner: &Planner<'_>,
    state: &StageState,
    name: &Spanned<String>,
) -> Result<CopySource, PlanError> {
    let fail = |problem| PlanError { span: name.span, problem };
    let text = &name.value;
    match planner.options.contexts.get(text) {
        Some(NamedContext::Files) => return Ok(CopySource::Named(text.clone())),
        Some(NamedContext::Image(image)) => {
            let (reference, manifest, _) = planner.image(image, &planner.options.platform).map_err(fail)?;
            return Ok(CopySource::Image { reference: reference.to_string(), manifest });
        }
        None => {}
    }
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
    let (reference, manifest, _) = planner.image(text, &planner.options.platform).map_err(fail)?;
    Ok(CopySource::Image { reference: reference.to_string(), manifest })
}

fn plan_files(
    planner: &Planner<'_>,
    state: &mut StageState,
    node: &Node<Instruction>,
    files: &Files,
    from: CopySource,
    how: How,
) -> Result<(), PlanError> {
    let excludes = excludes(files)?;
    let dest = planner.expand(&state.scope, &files.dest.value, files.dest.span)?;
    let dest = destination(state, &dest);
    let mut sources = Vec::new();
    for source in &files.sources {
        sources.push(plan_source(planner, state, how.remote.as_ref(), &dest, source)?);
    }
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
    // As in BuildKit, a copy that sets modes is no linked one.
    let link = files.link == Some(true) && chmod.as_ref().is_none_or(String::is_empty);
    if let (true, Some(owner), Some(word)) = (link, &chown, &files.chown)
        && !owner.split(':').all(|id| id.is_empty() || id.parse::<u32>().is_ok())
    {
        // A linked copy is made on nothing, where no name is known.
        let expected = "an owner for --link, which takes numbers only";
        let problem = PlanProblem::Invalid { value: owner.clone(), expected };
        return Err(PlanError { span: word.span, problem });
    }
    let How { unpack, parents, .. } = how;
    let op = CopyOp { from, sources, dest, chown, chmod, unpack, excludes, parents, link };
    let created_by = node.text.clone();
    state.step(node, created_by, Op::Copy(op));
    Ok(())
}

/// The patterns of `--exclude`, which hold no variables.
fn excludes(files: &Files) -> Result<Vec<String>, PlanError> {
    let check = |word: &Spanned<String>| match Ignore::from_patterns([word.value.as_str()]) {
        Ok(_) => Ok(word.value.clone()),
        Err(_) => {
            let problem =
                PlanProblem::Invalid { value: word.value.clone(), expected: "a pattern for --exclude" };
            Err(PlanError { span: word.span, problem })
        }
    };
    files.excludes.iter().map(check).collect()
}

fn plan_source(
    planner: &Planner<'_>,
    state: &StageState,
    remote: Option<&RemoteFlags>,
    dest: &str,
    source: &Source,
) -> Result<SourcePath, PlanError> {
    match source {
        Source::Path(word) => {
            let path = planner.expand(&state.scope, &word.value, word.span)?;
            let found = remote::plan_remote(&path, remote, dest);
            let found = found.map_err(|problem| PlanError { span: word.span, problem })?;
            Ok(found.unwrap_or(SourcePath::Path(path)))
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
