//! `RUN --mount`.

use rebit_dockerfile::Spanned;
use rebit_dockerfile::mount::{Mount, MountKind, MountOwner as Written, MountSpec, Sharing};

use super::stage::StageState;
use super::{PlanError, PlanProblem, Planner, files, metadata, unsupported};
use crate::graph::{self, CopySource, MountOwner, RunMount, RunMountKind};

pub(super) fn plan_mount(
    planner: &Planner<'_>,
    state: &StageState,
    spec: &MountSpec,
) -> Result<RunMount, PlanError> {
    let fail = |problem| PlanError { span: spec.span, problem };
    let expand = |word: &str| state.scope.expand(planner.escape, word);
    let Mount { target, kind } = spec.resolve(expand).map_err(|error| fail(error.into()))?;
    let working_dir = state.config.working_dir.as_deref().unwrap_or("/");
    let place = |target: &Option<String>| metadata::absolute(working_dir, target.as_deref().unwrap_or("."));
    let source_of = |from: Option<String>| match from {
        Some(name) => files::copy_source(planner, state, &Spanned::new(name, spec.span)),
        None => Ok(CopySource::Context),
    };
    let inside = |source: Option<String>| metadata::absolute("/", source.as_deref().unwrap_or("/"));
    let mut shown = Some(place(&target));
    let kind = match kind {
        MountKind::Bind { from, source, writable } => {
            RunMountKind::Bind { from: source_of(from)?, source: inside(source), writable }
        }
        MountKind::Cache { id, from, source, sharing, read_only, owner } => {
            let from = match from {
                Some(from) => Some((source_of(Some(from))?, inside(source))),
                None if source.is_some() => Some((CopySource::Context, inside(source))),
                None => None,
            };
            let sharing = match sharing {
                Sharing::Shared => graph::Sharing::Shared,
                Sharing::Private => graph::Sharing::Private,
                Sharing::Locked => graph::Sharing::Locked,
            };
            let id = id.unwrap_or_else(|| place(&target));
            RunMountKind::Cache { id, from, sharing, read_only, owner: owner_of(owner, 0o755) }
        }
        MountKind::Tmpfs { read_only: true, .. } => {
            return Err(unsupported(spec.span, "RUN --mount=type=tmpfs with `readonly`"));
        }
        MountKind::Tmpfs { size, .. } => RunMountKind::Tmpfs { size },
        MountKind::Secret { id, env, required, owner } => {
            // A secret is a file, unless it is asked for as a variable only.
            shown = match (&target, &env) {
                (Some(target), _) => Some(metadata::absolute(working_dir, target)),
                (None, Some(_)) => None,
                (None, None) => Some(format!("/run/secrets/{id}")),
            };
            RunMountKind::Secret { id, env, required, owner: owner_of(owner, 0o400) }
        }
        MountKind::Ssh { id, required, owner } => {
            shown = target.map(|target| metadata::absolute(working_dir, &target));
            RunMountKind::Ssh { id, required, owner: owner_of(owner, 0o600) }
        }
    };
    if shown.as_deref() == Some("/") {
        let expected = "a place for a mount: it would cover the whole root";
        return Err(fail(PlanProblem::Invalid { value: "/".to_owned(), expected }));
    }
    Ok(RunMount { target: shown, kind })
}

fn owner_of(owner: Written, mode: u32) -> MountOwner {
    MountOwner { mode: owner.mode.unwrap_or(mode), uid: owner.uid.unwrap_or(0), gid: owner.gid.unwrap_or(0) }
}
