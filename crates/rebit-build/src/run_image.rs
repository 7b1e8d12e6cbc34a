//! Running a program in an image: a step whose changes are thrown away.

use std::path::PathBuf;
use std::time::SystemTime;

use rebit_image::StoredImage;
use rebit_layer::{Metadata, Tree};
use rebit_sandbox::{Exit, Network, Output, RootFs, RunSpec, Runner, Stdin, StopFlag};
use rebit_store::Session;

use crate::error::StepProblem;
use crate::graph::RunNetwork;
use crate::op::run::{HOST_NAME, HostNetwork, network_files};
use crate::snapshot::{Checkouts, Snapshotter, SnapshotterKind};
use crate::trees::Trees;
use crate::user;

/// What to run, on top of what the image says.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The present time: when records were last used.
    pub now: SystemTime,
    /// In place of the image's entry point.
    pub entrypoint: Option<Vec<String>>,
    /// In place of the image's command.
    pub arguments: Vec<String>,
    /// Further environment variables.
    pub env: Vec<(String, String)>,
    /// In place of the image's user.
    pub user: Option<String>,
    /// In place of the image's working directory.
    pub working_dir: Option<String>,
}

/// Runs a program in `image` with the caller's standard streams.
///
/// # Errors
/// [`StepProblem::NothingToRun`] when neither image nor request names a program, and what running a step can give.
pub fn run_image(
    session: &Session,
    image: &StoredImage,
    request: &RunRequest,
    network: RunNetwork,
    host: &HostNetwork,
    runner: &Runner,
    stop: &StopFlag,
) -> Result<Exit, StepProblem> {
    let config = &image.config.value().config;
    let mut args = match &request.entrypoint {
        Some(entrypoint) => entrypoint.clone(),
        None => config.entrypoint.clone().unwrap_or_default(),
    };
    if request.arguments.is_empty() && request.entrypoint.is_none() {
        args.extend(config.cmd.clone().unwrap_or_default());
    } else {
        args.extend(request.arguments.iter().cloned());
    }
    if args.is_empty() {
        return Err(StepProblem::NothingToRun);
    }
    let trees = Trees::new(session);
    let (empty, _) = trees.store(Tree::with_root(Metadata::default()))?;
    let snapshotter =
        Checkouts::new(session, session, &trees, empty, request.now, SnapshotterKind::Auto, runner);
    let tree = trees.load(&image.tree()?.unwrap_or(empty))?;
    let user = user::exec_user(
        request.user.as_ref().or(config.user.as_ref()).map_or("", |user| user),
        &tree,
        session,
    )?;
    let view = snapshotter.view(image.trees()?)?;
    let active = snapshotter.prepare(&tree)?;
    let root = RootFs::Overlay {
        lowers: view.lowers.clone(),
        data: Vec::new(),
        upper: active.upper(),
        work: active.work(),
    };
    let mut spec = RunSpec::new(root, args);
    HOST_NAME.clone_into(&mut spec.hostname);
    let working_dir =
        request.working_dir.as_ref().or(config.working_dir.as_ref()).filter(|dir| !dir.is_empty());
    spec.cwd = PathBuf::from(working_dir.map_or("/", |dir| dir));
    (spec.uid, spec.gid, spec.groups) = (user.uid, user.gid, user.groups);
    let mut env = config.clone();
    if env.env("PATH").is_none() {
        env.set_env("PATH", crate::plan::DEFAULT_PATH);
    }
    request.env.iter().for_each(|(name, value)| env.set_env(name, value));
    if env.env("HOME").is_none() {
        env.set_env("HOME", &user.home);
    }
    let pair = |line: &String| {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        (name.into(), value.into())
    };
    spec.env = env.env.iter().map(pair).collect();
    spec.mounts = network_files(network, host);
    spec.network = if network == RunNetwork::Host { Network::Host } else { Network::None };
    (spec.stdin, spec.output) = (Stdin::Inherit, Output::Inherit);
    Ok(rebit_sandbox::run(&spec, runner, &mut |_, _| {}, stop)?)
}
