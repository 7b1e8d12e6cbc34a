//! `RUN`: a process on the tree below, and the tree that it leaves.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rebit_layer::{
    CheckoutOptions, Compare, Node, Notice, Report, Tree, Whiteouts, apply, checkout, diff, upper_tree,
};
use rebit_oci::TreeId;
use rebit_sandbox::{
    DEFAULT_SHM_SIZE, Mount, Network, RootFs, RunSpec, Runner, SandboxError, Security, StopFlag,
};
use rebit_store::Session;

use super::check_names;
use super::directory::make_directory;
use super::mounts::{self, Parts, Secrets};
use crate::debug::{self, Failures};
use crate::error::StepProblem;
use crate::fix::{self, FixedFile, Fixers};
use crate::graph::{RunNetwork, RunOp};
use crate::progress::{Event, Progress, StepId};
use crate::snapshot::{Active, Snapshotter};
use crate::trees::Trees;
use crate::user::{self, ExecUser};

/// The name of the machine that every process sees.
pub(crate) const HOST_NAME: &str = "rebit";

/// What a process sees of the host's network.
#[derive(Debug, Clone, Default)]
pub struct HostNetwork {
    /// The content of `/etc/resolv.conf`, for steps that have a network.
    pub resolv_conf: Option<Vec<u8>>,
    /// Further lines of `/etc/hosts`: name and address.
    pub add_hosts: Vec<(String, String)>,
}

/// Everything that running a process needs besides the step.
pub(crate) struct RunEnvironment<'a> {
    pub(crate) session: &'a Session,
    /// Where root file systems and caches are: the same, unless the build is a trial.
    pub(crate) directories: &'a Session,
    pub(crate) trees: &'a Trees<'a>,
    pub(crate) snapshotter: &'a (dyn Snapshotter + Sync),
    pub(crate) runner: &'a Runner,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) stop: &'a StopFlag,
    pub(crate) host: &'a HostNetwork,
    pub(crate) secrets: &'a Secrets,
    pub(crate) epoch: i64,
    pub(crate) fixers: &'a Fixers,
    /// The present time, for ages only.
    pub(crate) now: SystemTime,
    /// Keeps a step that failed.
    pub(crate) failures: Option<&'a Failures<'a>>,
}

/// What a step left.
pub(crate) struct Left {
    pub(crate) tree: TreeId,
    /// What fixers did to it.
    pub(crate) fixed: Vec<FixedFile>,
}

/// Runs the step and returns what it left.
pub(crate) fn run(
    op: &RunOp,
    id: StepId,
    lower: TreeId,
    chain: &[TreeId],
    parts: Parts<'_>,
    environment: &RunEnvironment<'_>,
) -> Result<Left, StepProblem> {
    let before = environment.trees.load(&lower)?;
    let user = user::exec_user(&op.user, &before, environment.session)?;
    environment.progress.event(Event::Unpacking { id });
    let view = environment.snapshotter.view(chain)?;
    let active = environment.snapshotter.prepare(&before)?;
    make_working_directory(&active, &before, op, environment.epoch)?;
    let root = RootFs::Overlay {
        lowers: view.lowers.clone(),
        data: Vec::new(),
        upper: active.upper(),
        work: active.work(),
    };
    let mut spec = run_spec(op, &user, root, environment);
    let prepared = mounts::prepare(&op.mounts, parts, environment)?;
    prepared.apply(&mut spec);
    let mut output = |stream, bytes: &[u8]| environment.progress.event(Event::Output { id, stream, bytes });
    let exit = rebit_sandbox::run(&spec, environment.runner, &mut output, environment.stop)?;
    drop(prepared);
    if !exit.is_success() {
        // How the step ended is what there is to say, also where the disk has no room to keep it.
        if let Err(problem) = debug::keep(op, id, chain, active, exit, parts, environment) {
            let text = format!("what the step left is not kept: {problem}");
            environment.progress.event(Event::Notice { id, text });
        }
        return Err(StepProblem::Failed { exit });
    }
    let (after, tree, fixed) = read_back(&active, &before, id, environment)?;
    if after != lower {
        environment.snapshotter.commit(active, lower, after, &tree)?;
    }
    Ok(Left { tree: after, fixed })
}

/// OCI runtimes make the working directory when the image has none, and so it becomes part of the layer.
fn make_working_directory(active: &Active, before: &Tree, op: &RunOp, epoch: i64) -> Result<(), StepProblem> {
    let after = make_directory(before, &op.working_dir, (0, 0), epoch)?;
    for (path, node) in after.iter() {
        if before.contains(path) {
            continue;
        }
        // The parents of a new directory that exist below are shown by overlayfs only through a copy of theirs.
        for ancestor in path.ancestors().collect::<Vec<_>>().into_iter().rev().chain([path.clone()]) {
            let (Some(node), false) = (after.get(&ancestor), ancestor.is_root()) else { continue };
            make_one(active, &ancestor, node)?;
        }
        debug_assert!(node.is_directory(), "only directories are made here");
    }
    Ok(())
}

fn make_one(active: &Active, path: &rebit_layer::TreePath, node: &Node) -> Result<(), StepProblem> {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::PermissionsExt as _;
    let target = active.upper().join(std::ffi::OsStr::from_bytes(path.as_bytes()));
    let result = match std::fs::create_dir(&target) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => Err(error),
        Ok(()) => std::os::unix::fs::chown(&target, Some(node.metadata.uid), Some(node.metadata.gid))
            .and_then(|()| {
                std::fs::set_permissions(&target, std::fs::Permissions::from_mode(node.metadata.mode))
            }),
    };
    result.map_err(|source| StepProblem::Io { path: target.display().to_string(), source })
}

/// What every run of `op` has in common.
pub(crate) fn run_spec(
    op: &RunOp,
    user: &ExecUser,
    root: RootFs,
    environment: &RunEnvironment<'_>,
) -> RunSpec {
    let mut spec = RunSpec::new(root, &op.args);
    HOST_NAME.clone_into(&mut spec.hostname);
    spec.cwd = PathBuf::from(&op.working_dir);
    (spec.uid, spec.gid) = (user.uid, user.gid);
    spec.groups.clone_from(&user.groups);
    let mut set = |name: &str, value: &str| {
        if !spec.env.iter().any(|(known, _)| known == name) {
            spec.env.push((name.into(), value.into()));
        }
    };
    op.env.iter().chain(&op.proxy_env).for_each(|(name, value)| set(name, value));
    set("HOME", &user.home);
    set("SOURCE_DATE_EPOCH", &environment.epoch.to_string());
    spec.mounts = network_files(op.network, environment.host);
    spec.network = match op.network {
        RunNetwork::Host => Network::Host,
        RunNetwork::None => Network::None,
    };
    spec.limits.clone_from(&op.limits.ulimits);
    spec.shm_size = op.limits.shm_size.unwrap_or(DEFAULT_SHM_SIZE);
    spec.security = if op.insecure { Security::Insecure } else { Security::Sandbox };
    if let Some(script) = &op.script {
        spec.mounts.push(file(&script.path, script.content.clone().into_bytes(), 0o755));
    }
    spec
}

/// `/etc/hosts` and `/etc/resolv.conf`, which exist only while a process runs.
pub fn network_files(network: RunNetwork, host: &HostNetwork) -> Vec<Mount> {
    let mut hosts = format!("127.0.0.1\tlocalhost {HOST_NAME}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (name, address) in &host.add_hosts {
        hosts.push_str(&format!("{address}\t{name}\n"));
    }
    let mut mounts = vec![file("/etc/hosts", hosts.into_bytes(), 0o644)];
    if let (RunNetwork::Host, Some(resolv_conf)) = (network, &host.resolv_conf) {
        mounts.push(file("/etc/resolv.conf", resolv_conf.clone(), 0o644));
    }
    mounts
}

fn file(target: &str, contents: Vec<u8>, mode: u32) -> Mount {
    Mount::File { target: PathBuf::from(target), contents, mode, uid: 0, gid: 0, readonly: false }
}

/// The tree that the process left: the one below with the changes of the upper directory, and what fixers made of them.
fn read_back(
    active: &Active,
    before: &Tree,
    id: StepId,
    environment: &RunEnvironment<'_>,
) -> Result<(TreeId, Arc<Tree>, Vec<FixedFile>), StepProblem> {
    let mut report = Report::new();
    let merged = upper_tree(before, &active.upper(), environment.session, environment.epoch, &mut report)?;
    for text in describe(&report) {
        environment.progress.event(Event::Notice { id, text });
    }
    // Only what differs counts: a file that was merely touched stays the file below.
    let changes = diff(before, &merged, Compare::IgnoreMtime);
    check_names(&changes)?;
    let applied = |changes: &_| apply(before, changes).map_err(|source| StepProblem::Apply { source });
    let left = applied(&changes)?;
    let fixers = environment.fixers;
    if fixers.is_empty() {
        let (after, tree) = environment.trees.store(left)?;
        return Ok((after, tree, Vec::new()));
    }
    let fixed = fix::apply_to_step(fixers, &changes, before, environment.session, environment.epoch)?;
    for text in fixed.notices {
        environment.progress.event(Event::Notice { id, text });
    }
    for (fixer, did, files) in fix::summary(&fixed.files) {
        environment.progress.event(Event::Fixed { id, fixer: &fixer, did, files });
    }
    // What a fixer made the same as it was below is no change any more.
    let settled = diff(before, &applied(&fixed.changes)?, Compare::IgnoreMtime);
    let (after, tree) = environment.trees.store(applied(&settled)?)?;
    // The directory that the process wrote becomes that of the layer.
    let mend = diff(&left, &tree, Compare::Exact).with_ancestors(&tree);
    let options = CheckoutOptions {
        whiteouts: Whiteouts::Plain,
        allow_missing_devices: false,
        allow_other_owner: false,
    };
    checkout(&mend, &active.upper(), environment.session, &options)?;
    Ok((after, tree, fixed.files))
}

/// What was left out of a tree, in words, one line for each kind.
pub fn describe(report: &Report) -> Vec<String> {
    let line = |(notice, tally): (&Notice, &rebit_layer::Tally)| {
        let what = match notice {
            Notice::Socket => "a socket was skipped".to_owned(),
            Notice::Xattr(name) => {
                format!("the extended attribute {} was dropped", String::from_utf8_lossy(name))
            }
            Notice::EntryType(kind) => format!("a tar entry of type {kind:#04x} was ignored"),
            Notice::ReservedName => "a name reserved for whiteouts was ignored".to_owned(),
            Notice::Device => "a device node could not be made".to_owned(),
            Notice::Owner => "an owner could not be set".to_owned(),
            Notice::XattrNotSet(name) => {
                format!("the extended attribute {} could not be set", String::from_utf8_lossy(name))
            }
        };
        match tally.count {
            1 => format!("{what}: {}", tally.first),
            count => format!("{what}: {} and {} more", tally.first, count - 1),
        }
    };
    report.notices.iter().map(line).collect()
}

/// Whether an error means that the caller asked to stop.
pub(crate) fn is_stop(problem: &StepProblem) -> bool {
    matches!(problem, StepProblem::Sandbox(SandboxError::Stopped))
}
