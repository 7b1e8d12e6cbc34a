//! A step that failed, kept with what it left, so that one can look around in it.
//!
//! The upper directory of the step stays as a checkout and the rest as a record of the build's scope. Both are kept until the
//! next failure of the same scope, a build of it that executes steps and succeeds, or garbage collection.

use std::time::{SystemTime, UNIX_EPOCH};

use rebit_layer::{Metadata, Tree};
use rebit_oci::encode::Preimage;
use rebit_oci::{CacheKey, TreeId};
use rebit_sandbox::{Exit, Output, RootFs, Runner, Stdin, StopFlag};
use rebit_store::{Session, StoreError};
use serde::{Deserialize, Serialize};

use crate::error::StepProblem;
use crate::fix::Fixers;
use crate::graph::{Graph, RunMountKind, RunOp};
use crate::op::mounts::{self, Parts, Secrets};
use crate::op::run::{HostNetwork, RunEnvironment, run_spec};
use crate::progress::{Silent, StepId};
use crate::record;
use crate::snapshot::{Active, Checkouts, Snapshotter, SnapshotterKind, files_of};
use crate::trees::Trees;
use crate::user;

/// A `RUN` that failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FailedStep {
    /// The stage.
    pub stage: String,
    /// The instruction.
    pub step: String,
    /// How it ended, in words.
    pub ended: String,
    /// What was run.
    pub op: RunOp,
    epoch: i64,
    /// The tree after each layer below.
    chain: Vec<TreeId>,
    /// What each mount showed, where that is a tree; whether it is a directory.
    parts: Vec<Option<(TreeId, bool)>>,
    /// The checkout that holds what the step left.
    checkout: String,
}

/// Where failures of a build are kept.
#[derive(Clone, Copy)]
pub(crate) struct Failures<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) scope: &'a str,
    pub(crate) now: SystemTime,
}

/// The key of the last failure of a scope; without a scope, of all of them.
fn key(scope: Option<&str>) -> CacheKey {
    let mut preimage = Preimage::new("failed step", 1);
    preimage.add_list("scope", scope.into_iter().collect::<Vec<_>>().into_iter());
    preimage.key()
}

/// Keeps what a failed step left, unless the build keeps nothing.
pub(crate) fn keep(
    op: &RunOp,
    id: StepId,
    chain: &[TreeId],
    active: Active,
    exit: Exit,
    parts: Parts<'_>,
    environment: &RunEnvironment<'_>,
) -> Result<(), StepProblem> {
    let Some(Failures { graph, scope, now }) = environment.failures.copied() else { return Ok(()) };
    let session = environment.session;
    let mut kept = Vec::new();
    for (number, mount) in op.mounts.iter().enumerate() {
        kept.push(match &mount.kind {
            RunMountKind::Bind { from, source, .. }
            | RunMountKind::Cache { from: Some((from, source)), .. } => {
                let (part, directory) = parts(number, from, source)?;
                Some((environment.trees.store(part)?.0, directory))
            }
            _ => None,
        });
    }
    // Each failure has a name of its own: the same step may leave something else next time.
    let moment = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let checkout = format!("failed {moment} {scope}");
    let stage = graph.stages.get(id.stage);
    let failed = FailedStep {
        stage: stage.map_or_else(String::new, crate::graph::StagePlan::display_name),
        step: stage.and_then(|stage| stage.steps.get(id.step)).map_or_else(String::new, |s| s.text.clone()),
        ended: StepProblem::Failed { exit }.to_string(),
        op: op.clone(),
        epoch: environment.epoch,
        chain: chain.to_vec(),
        parts: kept,
        checkout,
    };
    forget(session, scope, now)?;
    session.publish_checkout(&failed.checkout, active.into_left()?)?;
    let trees = failed.chain.iter().chain(failed.parts.iter().flatten().map(|(tree, _)| tree));
    let edges: Vec<_> = trees.map(TreeId::object).collect();
    let payload = record::encode(&failed);
    for key in [key(Some(scope)), key(None)] {
        session.put_record(&key, &payload, &edges, now)?;
    }
    Ok(())
}

/// Forgets the last failure of a scope, if there is one.
pub(crate) fn forget(session: &Session, scope: &str, now: SystemTime) -> Result<(), StoreError> {
    if let Some(failed) = last_failure(session, Some(scope), now)? {
        session.remove_checkout(&failed.checkout)?;
        session.put_record(&key(Some(scope)), b"", &[], now)?;
    }
    Ok(())
}

/// The step that failed last in a build of `scope`; without a scope, in any build of the store.
///
/// # Errors
/// When the store fails.
pub fn last_failure(
    session: &Session,
    scope: Option<&str>,
    now: SystemTime,
) -> Result<Option<FailedStep>, StoreError> {
    let payload = session.get_record(&key(scope), now)?;
    Ok(payload.and_then(|bytes| record::decode(&bytes)))
}

/// The program that a shell in a failed step is, unless the caller names another: the one that was to run the command.
#[must_use]
pub fn shell(op: &RunOp) -> Vec<String> {
    match op.args.as_slice() {
        [shell, flag, ..] if flag.starts_with('-') && shell.ends_with("sh") => vec![shell.clone()],
        _ => vec!["/bin/sh".to_owned()],
    }
}

/// What to run in a failed step, and what it may use.
#[derive(Debug)]
pub struct DebugRequest<'a> {
    /// Program and arguments.
    pub args: Vec<String>,
    /// What the step's mounts may use; they are not kept.
    pub secrets: &'a Secrets,
    /// What processes see of the host's network.
    pub host: &'a HostNetwork,
}

/// Runs a program in what a failed step left, with the caller's standard streams. What it changes is thrown away.
///
/// # Errors
/// [`StepProblem::NothingKept`] when what the step left is gone, and what running a step can give.
pub fn debug(
    session: &Session,
    failed: &FailedStep,
    request: &DebugRequest<'_>,
    runner: &Runner,
    stop: &StopFlag,
    now: SystemTime,
) -> Result<Exit, StepProblem> {
    let trees = Trees::new(session);
    let (empty, _) = trees.store(Tree::with_root(Metadata::directory(failed.epoch)))?;
    let snapshotter = Checkouts::new(session, session, &trees, empty, now, SnapshotterKind::Auto, runner);
    let environment = RunEnvironment {
        session,
        directories: session,
        trees: &trees,
        snapshotter: &snapshotter,
        runner,
        progress: &Silent,
        stop,
        host: request.host,
        secrets: request.secrets,
        epoch: failed.epoch,
        // What is left here is kept nowhere.
        fixers: &Fixers::default(),
        now,
        failures: None,
    };
    let below = trees.load(&failed.chain.last().copied().unwrap_or(empty))?;
    let user = user::exec_user(&failed.op.user, &below, session)?;
    let left = session.checkout(&failed.checkout)?.ok_or(StepProblem::NothingKept)?;
    let view = snapshotter.view(&failed.chain)?;
    let active = snapshotter.prepare(&below)?;
    let lowers = std::iter::once(files_of(&left).into()).chain(view.lowers.iter().cloned()).collect();
    let root = RootFs::Overlay { lowers, data: Vec::new(), upper: active.upper(), work: active.work() };
    let mut spec = run_spec(&failed.op, &user, root, &environment);
    let part = |number: usize, _: &_, _: &str| {
        let (tree, directory) =
            failed.parts.get(number).copied().flatten().ok_or(StepProblem::NothingKept)?;
        Ok(((*trees.load(&tree)?).clone(), directory))
    };
    let prepared = mounts::prepare(&failed.op.mounts, &part, &environment)?;
    prepared.apply(&mut spec);
    spec.args = request.args.iter().map(Into::into).collect();
    (spec.stdin, spec.output) = (Stdin::Inherit, Output::Inherit);
    Ok(rebit_sandbox::run(&spec, runner, &mut |_, _| {}, stop)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{RunLimits, RunNetwork};

    #[test]
    fn the_shell_is_the_steps_own() {
        let check = |args: &[&str], expected: &str| {
            let op = RunOp {
                args: args.iter().map(|arg| (*arg).to_owned()).collect(),
                script: None,
                env: Vec::new(),
                proxy_env: Vec::new(),
                working_dir: "/".into(),
                user: String::new(),
                network: RunNetwork::None,
                insecure: false,
                limits: RunLimits::default(),
                mounts: Vec::new(),
            };
            assert_eq!(shell(&op), [expected]);
        };
        check(&["/bin/sh", "-c", "false"], "/bin/sh");
        check(&["/bin/bash", "-ec", "false"], "/bin/bash");
        check(&["/usr/bin/make", "all"], "/bin/sh");
        check(&["tool", "-c", "x"], "/bin/sh");
    }
}
