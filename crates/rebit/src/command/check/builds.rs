//! One build of a check.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use rebit_build::graph::{Op, RunMountKind, Step};
use rebit_build::progress::StepId;
use rebit_build::{
    BuildError, BuildInputs, BuildOptions, Fetch, Graph, HostNetwork, NoCache, Overseer, Remote, Secrets,
    SnapshotterKind, Trial, execute, execute_steps,
};
use rebit_layer::Tree;
use rebit_oci::manifest::Compression;
use rebit_oci::{Digest, TreeId};
use rebit_sandbox::{Runner, StopFlag};
use rebit_store::Session;

use super::conditions::{Conditions, Ground};
use crate::command::bases::Bases;
use crate::command::dockerfile::Input;
use crate::environment;
use crate::error::CommandError;
use crate::flags::ProgressFlag;
use crate::network::Network;
use crate::progress::Reporter;

/// The tree after each step.
pub(super) type Trees = BTreeMap<StepId, TreeId>;

/// What all builds of a check have in common.
pub(super) struct Bench<'a> {
    pub(super) session: &'a Session,
    pub(super) ground: &'a Ground<'a>,
    pub(super) graph: &'a Graph,
    pub(super) bases: &'a Bases<'a>,
    pub(super) input: &'a Input,
    pub(super) runner: &'a Runner,
    pub(super) stop: &'a StopFlag,
    pub(super) host: &'a HostNetwork,
    pub(super) secrets: &'a Secrets,
    pub(super) offline: bool,
    pub(super) jobs: usize,
    pub(super) compression: Compression,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) progress: ProgressFlag,
}

/// Which steps are executed, and from what.
#[derive(Clone, Copy)]
pub(super) enum Part<'a> {
    /// All, each from what the one before left; an image is made.
    All,
    /// All, each from what it started from in another build; an image is made.
    From(&'a Trees),
    /// These, each from what it started from in another build.
    Only(&'a BTreeSet<StepId>, &'a Trees),
}

/// What a build gave.
pub(super) struct Ran {
    pub(super) trees: Trees,
    /// Contexts as they were read, by name.
    pub(super) contexts: BTreeMap<Option<String>, TreeId>,
    /// The image, when one was made.
    pub(super) digest: Option<Digest>,
}

impl Bench<'_> {
    /// Builds under `conditions`.
    pub(super) fn run(&self, conditions: &Conditions, part: Part<'_>) -> Result<Ran, Failed> {
        let place = self.ground.place(conditions)?;
        let recorder = Recorder { bench: self, part, gave: Mutex::default(), contexts: Mutex::default() };
        let reporter = Reporter::new(self.progress, self.graph);
        let now = environment::now();
        let network = Network::new(self.secrets.agents.get("default").cloned(), self.stop);
        // One for each build: what a URL or a repository gives is asked again.
        let remote = Remote::new(self.session, (!self.offline).then_some(&network as &dyn Fetch), now);
        let inputs = BuildInputs {
            session: self.session,
            images: self.bases,
            context: &self.input.context,
            contexts: &self.input.contexts,
            remote: &remote,
            runner: self.runner,
            progress: &reporter,
            stop: self.stop,
            host: self.host,
            secrets: self.secrets,
            scope: "",
            options: BuildOptions {
                compression: self.compression,
                no_cache: NoCache::All,
                annotations: self.annotations.clone(),
                now,
                jobs: if conditions.one_processor { 1 } else { self.jobs },
                // Images list directories by name, whatever they lie on.
                snapshotter: if conditions.elsewhere {
                    SnapshotterKind::Overlayfs
                } else {
                    SnapshotterKind::Auto
                },
            },
            asked: None,
            trial: Some(Trial { directories: &place.session, overseer: &recorder }),
        };
        let built = self.ground.under(conditions, || match part {
            Part::Only(..) => execute_steps(self.graph, &inputs).map(|()| None),
            Part::All | Part::From(_) => {
                execute(self.graph, &inputs).map(|built| Some(built.manifest.digest()))
            }
        })?;
        reporter.finish(built.is_err());
        let digest = built.map_err(|error| Failed::Build(Box::new(error)))?;
        Ok(Ran { trees: into_inner(recorder.gave), contexts: into_inner(recorder.contexts), digest })
    }

    /// Roughly what the directories of a build take: for each stage its last tree, twice.
    pub(super) fn room(&self, trees: &Trees) -> Result<u64, CommandError> {
        let mut room = 0_u64;
        for stage in 0..self.graph.stages.len() {
            if let Some((_, tree)) = trees.iter().rev().find(|(id, _)| id.stage == stage) {
                room = room.saturating_add(Tree::load(tree, self.session)?.size().saturating_mul(2));
            }
        }
        Ok(room)
    }

    /// The step of this number.
    pub(super) fn step(&self, id: StepId) -> Option<&Step> {
        self.graph.stages.get(id.stage)?.steps.get(id.step)
    }
}

/// Why a build of a check gave nothing.
pub(super) enum Failed {
    /// The build failed.
    Build(Box<BuildError>),
    /// It could not be begun.
    Other(CommandError),
}

impl From<CommandError> for Failed {
    fn from(error: CommandError) -> Self {
        Self::Other(error)
    }
}

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers what steps give.
struct Recorder<'a> {
    bench: &'a Bench<'a>,
    part: Part<'a>,
    gave: Mutex<Trees>,
    contexts: Mutex<BTreeMap<Option<String>, TreeId>>,
}

impl Overseer for Recorder<'_> {
    fn instead(&self, id: StepId) -> Option<TreeId> {
        let Part::Only(steps, trees) = self.part else { return None };
        // A step may rely on what an earlier one left in a cache.
        let cached = self.bench.step(id).is_some_and(|step| has_cache(&step.op));
        if steps.contains(&id) || cached { None } else { trees.get(&id).copied() }
    }

    fn after(&self, id: StepId, gave: TreeId) -> TreeId {
        self.gave.lock().unwrap_or_else(PoisonError::into_inner).insert(id, gave);
        match self.part {
            Part::All => gave,
            Part::From(trees) | Part::Only(_, trees) => trees.get(&id).copied().unwrap_or(gave),
        }
    }

    fn context(&self, name: Option<&str>, tree: TreeId) {
        let mut contexts = self.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        contexts.insert(name.map(str::to_owned), tree);
    }
}

fn has_cache(op: &Op) -> bool {
    match op {
        Op::Run(run) => run.mounts.iter().any(|mount| matches!(mount.kind, RunMountKind::Cache { .. })),
        _ => false,
    }
}
