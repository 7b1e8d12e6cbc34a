//! Running a program in a tree that is no image yet, and taking what it leaves.

use std::time::SystemTime;

use rebit_layer::{Compare, Metadata, Report, Tree, apply, diff, upper_tree};
use rebit_oci::TreeId;
use rebit_sandbox::{Exit, Network, RootFs, RunSpec, Runner, StopFlag, Stream};
use rebit_store::Session;

use crate::error::StepProblem;
use crate::graph::RunNetwork;
use crate::op::check_names;
use crate::op::run::{HOST_NAME, HostNetwork, network_files};
use crate::snapshot::{Checkouts, Snapshotter, SnapshotterKind};
use crate::trees::Trees;

/// A program to run in a tree.
#[derive(Debug, Clone)]
pub struct TreeRun {
    /// Program and arguments.
    pub args: Vec<String>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// The time of what it leaves, in seconds since 1970.
    pub epoch: i64,
    /// The present time: when records were last used.
    pub now: SystemTime,
}

/// Runs a program as root, without a network, in the fixed world of a step; returns the tree that it leaves and what was left out of it.
///
/// # Errors
/// [`StepProblem::Failed`] when it ends with something else than 0, and what running a step can give.
pub fn run_tree(
    session: &Session,
    tree: TreeId,
    run: &TreeRun,
    runner: &Runner,
    output: &mut dyn FnMut(Stream, &[u8]),
    stop: &StopFlag,
) -> Result<(TreeId, Report), StepProblem> {
    let trees = Trees::new(session);
    let (empty, _) = trees.store(Tree::with_root(Metadata::directory(run.epoch)))?;
    let snapshotter = Checkouts::new(session, session, &trees, empty, run.now, SnapshotterKind::Auto, runner);
    let before = trees.load(&tree)?;
    let view = snapshotter.view(&[tree])?;
    let active = snapshotter.prepare(&before)?;
    let root = RootFs::Overlay {
        lowers: view.lowers.clone(),
        data: Vec::new(),
        upper: active.upper(),
        work: active.work(),
    };
    let mut spec = RunSpec::new(root, &run.args);
    HOST_NAME.clone_into(&mut spec.hostname);
    spec.env = run.env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    spec.network = Network::None;
    spec.mounts = network_files(RunNetwork::None, &HostNetwork::default());
    let exit: Exit = rebit_sandbox::run(&spec, runner, output, stop)?;
    if !exit.is_success() {
        return Err(StepProblem::Failed { exit });
    }
    let mut report = Report::new();
    let merged = upper_tree(&before, &active.upper(), session, run.epoch, &mut report)?;
    let changes = diff(&before, &merged, Compare::IgnoreMtime);
    check_names(&changes)?;
    let after = apply(&before, &changes).map_err(|source| StepProblem::Apply { source })?;
    Ok((trees.store(after)?.0, report))
}
