//! Executes a [`Graph`]: each step is looked up by its key, and run or computed only when nothing is known of it.

mod base;
mod notes;
mod report;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rebit_image::{LayerBlob, StoredImage};
use rebit_layer::{Compare, Metadata, Tree, apply, diff};
use rebit_oci::config::{History, ImageConfig};
use rebit_oci::encode::Preimage;
use rebit_oci::manifest::Compression;
use rebit_oci::{Digest, TreeId};
use rebit_sandbox::{Runner, SandboxError, StopFlag};
use rebit_store::{Session, WorkLock};

use crate::commit::{self, Built};
use crate::context::{Context, size_of};
use crate::debug::Failures;
use crate::error::{BuildError, StepProblem};
use crate::explain::{self, StepReport};
use crate::fix::FixedFile;
use crate::graph::{CopyOp, CopySource, Graph, Op, RunMountKind, RunNetwork, RunOp, StagePlan, Step};
use crate::key;
use crate::op::mounts::{self, Secrets};
use crate::op::run::{HostNetwork, RunEnvironment, describe, is_stop, run};
use crate::op::{check_names, copy, directory};
use crate::progress::{Event, Progress, StepId};
use crate::provenance::{Asked, Notes};
use crate::record::{self, StepRecord};
use crate::remote::Remote;
use crate::schedule;
use crate::snapshot::{Checkouts, SnapshotterKind};
use crate::trees::Trees;
use crate::trial::Trial;
use crate::user;

/// What a build needs besides its plan.
#[derive(Clone)]
pub struct BuildInputs<'a> {
    /// Where everything is kept.
    pub session: &'a Session,
    /// The images that the plan names, by manifest digest.
    pub images: &'a dyn Images,
    /// The build context.
    pub context: &'a Context,
    /// Further contexts by name.
    pub contexts: &'a BTreeMap<String, Context>,
    /// Where sources that come over the network are had from.
    pub remote: &'a Remote<'a>,
    /// What runs processes.
    pub runner: &'a Runner,
    /// Who listens.
    pub progress: &'a dyn Progress,
    /// Set when the build is to stop.
    pub stop: &'a StopFlag,
    /// What processes see of the host's network.
    pub host: &'a HostNetwork,
    /// What steps may use that is no part of anything kept.
    pub secrets: &'a Secrets,
    /// What is built, in words that stay the same from build to build: what changed is said of builds of one scope.
    pub scope: &'a str,
    /// How.
    pub options: BuildOptions,
    /// What the provenance is to say besides the plan; `None` for a build without one.
    pub asked: Option<&'a Asked>,
    /// Set for a build that nothing is to be known of afterwards.
    pub trial: Option<Trial<'a>>,
}

impl std::fmt::Debug for BuildInputs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuildInputs")
            .field("context", &self.context)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Stages whose steps are executed whatever is known of them.
#[derive(Debug, Clone, Default)]
pub enum NoCache {
    /// No stage.
    #[default]
    Nothing,
    /// Every stage.
    All,
    /// The stages with these names or numbers.
    Stages(Vec<String>),
}

impl NoCache {
    fn covers(&self, stage: &StagePlan) -> bool {
        let is = |word: &String| {
            stage.name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(word))
                || stage.index.to_string() == *word
        };
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Stages(words) => words.iter().any(is),
        }
    }
}

/// How a build is done.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// How layers are compressed.
    pub compression: Compression,
    /// Of which stages what is known of steps is left aside.
    pub no_cache: NoCache,
    /// Annotations of the image's manifest.
    pub annotations: BTreeMap<String, String>,
    /// The present time: when records were last used. It never reaches an image.
    pub now: SystemTime,
    /// How many stages are built at the same time.
    pub jobs: usize,
    /// How the layers below a step are kept for mounting.
    pub snapshotter: SnapshotterKind,
}

/// Images by manifest digest.
pub trait Images: Sync {
    /// The image, when it is at hand.
    fn image(&self, manifest: &Digest) -> Option<StoredImage>;
}

/// Builds the target of a plan and stores it; names are the caller's to give.
///
/// # Errors
/// [`BuildError`]; what was done before it stays known to the store.
pub fn execute(graph: &Graph, inputs: &BuildInputs<'_>) -> Result<Built, BuildError> {
    solve(graph, inputs, &|stage, state, notes, trees| {
        commit::commit(graph, stage, state, notes, trees, inputs)
    })
}

/// Executes the steps of a plan, and makes no image of them: what a [`Trial`] is for.
///
/// # Errors
/// As [`execute`].
pub fn execute_steps(graph: &Graph, inputs: &BuildInputs<'_>) -> Result<(), BuildError> {
    solve(graph, inputs, &|_, _, _, _| Ok(()))
}

/// What is made of the target stage: the plan of the stage, its state, and what was noted of all steps.
type Finish<'a, T> = &'a dyn Fn(&StagePlan, StageState, &Notes, &Trees<'_>) -> Result<T, BuildError>;

fn solve<T>(graph: &Graph, inputs: &BuildInputs<'_>, finish: Finish<'_, T>) -> Result<T, BuildError> {
    let directories = inputs.trial.map_or(inputs.session, |trial| trial.directories);
    let trees = Trees::new(inputs.session);
    let (empty, _) =
        trees.store(Tree::with_root(Metadata::directory(graph.epoch))).map_err(|source| match source {
            rebit_layer::StoreError::Object { source } => BuildError::Object(source),
            _ => unreachable!("a tree of one directory is within every limit"),
        })?;
    let BuildOptions { now, snapshotter, .. } = inputs.options;
    let snapshotter =
        Checkouts::new(inputs.session, directories, &trees, empty, now, snapshotter, inputs.runner);
    let failures = Failures { graph, scope: inputs.scope, now: inputs.options.now };
    let solver = Solver {
        graph,
        inputs,
        trees: &trees,
        environment: RunEnvironment {
            session: inputs.session,
            directories,
            trees: &trees,
            snapshotter: &snapshotter,
            runner: inputs.runner,
            progress: inputs.progress,
            stop: inputs.stop,
            host: inputs.host,
            secrets: inputs.secrets,
            epoch: graph.epoch,
            fixers: &graph.fixers,
            now: inputs.options.now,
            failures: inputs.trial.is_none().then_some(&failures),
        },
        empty,
        read: Mutex::default(),
        reports: Mutex::default(),
        remotes: Mutex::default(),
        notes: Mutex::default(),
        fixed: Mutex::default(),
        done: Mutex::default(),
    };
    schedule::run::<BuildError>(&graph.needs(), inputs.options.jobs, &|place| {
        let Some(stage) = graph.stages.get(place) else { unreachable!("there is one item for each stage") };
        let state = solver.stage(place, stage)?;
        lock(&solver.done).insert(stage.index, state);
        Ok(())
    })?;
    solver.keep_report()?;
    let target = graph.target().and_then(|stage| Some((stage, lock(&solver.done).remove(&stage.index)?)));
    let Some((stage, state)) = target else { unreachable!("a plan has at least one stage") };
    let notes = std::mem::take(&mut *lock(&solver.notes));
    finish(stage, state, &notes, &trees)
}

/// What became of the steps of the last build of `scope` that executed any; `None` when there was none.
///
/// # Errors
/// When the store fails.
pub fn last_report(
    session: &Session,
    scope: &str,
    now: SystemTime,
) -> Result<Option<Vec<StepReport>>, rebit_store::StoreError> {
    let bytes = session.get_record(&explain::report_key(scope), now)?;
    Ok(bytes.and_then(|bytes| record::decode(&bytes)))
}

/// Where a layer of a stage comes from.
#[derive(Debug, Clone)]
pub(crate) enum LayerSource {
    /// From a base image, as it was published.
    Published(LayerBlob),
    /// From a step of this build.
    Made { lower: TreeId, upper: TreeId },
}

/// A stage as far as it is built.
#[derive(Debug, Clone)]
pub(crate) struct StageState {
    /// The config document it started from.
    pub(crate) base: ImageConfig,
    pub(crate) layers: Vec<LayerSource>,
    /// The tree after each layer.
    pub(crate) chain: Vec<TreeId>,
    pub(crate) tree: TreeId,
    pub(crate) history: Vec<History>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Solver<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) inputs: &'a BuildInputs<'a>,
    trees: &'a Trees<'a>,
    environment: RunEnvironment<'a>,
    empty: TreeId,
    /// Contexts that were read, by name; the build context has none.
    read: Mutex<BTreeMap<Option<String>, Arc<Tree>>>,
    reports: Mutex<BTreeMap<StepId, StepReport>>,
    /// What steps took from the network.
    pub(crate) remotes: Mutex<BTreeMap<StepId, Vec<String>>>,
    /// What the provenance will say.
    pub(crate) notes: Mutex<Notes>,
    /// What fixers did to what steps left.
    fixed: Mutex<BTreeMap<StepId, Vec<FixedFile>>>,
    /// Stages by their number in the file.
    done: Mutex<BTreeMap<usize, StageState>>,
}

impl Solver<'_> {
    fn stage(&self, place: usize, stage: &StagePlan) -> Result<StageState, BuildError> {
        let mut state = self.base(stage)?;
        self.note_base(place, state.tree);
        for (number, step) in stage.steps.iter().enumerate() {
            if self.inputs.stop.is_stopped() {
                return Err(BuildError::Interrupted);
            }
            let id = StepId { stage: place, step: number };
            let after = self.overseen(id, stage, step, &state).and_then(|after| {
                self.note_result(id, state.tree, after)?;
                Ok(after)
            });
            let after = after.map_err(|problem| match problem {
                problem if is_stop(&problem) || self.inputs.stop.is_stopped() => BuildError::Interrupted,
                problem => BuildError::Step { step: step.text.clone(), span: step.span, problem },
            })?;
            self.add_layer(&mut state, after, step.created_by.clone());
        }
        Ok(state)
    }

    /// What a step gives; in a trial, what the overseer says it gives.
    fn overseen(
        &self,
        id: StepId,
        stage: &StagePlan,
        step: &Step,
        state: &StageState,
    ) -> Result<TreeId, StepProblem> {
        let Some(trial) = self.inputs.trial else { return self.step(id, stage, step, state) };
        match trial.overseer.instead(id) {
            Some(tree) => Ok(tree),
            None => Ok(trial.overseer.after(id, self.step(id, stage, step, state)?)),
        }
    }

    fn step(
        &self,
        id: StepId,
        stage: &StagePlan,
        step: &Step,
        state: &StageState,
    ) -> Result<TreeId, StepProblem> {
        let lower = state.tree;
        match &step.op {
            Op::Config => Ok(lower),
            Op::MakeDirectory { path, user } => {
                let key = key::directory(path, user, lower, self.graph.epoch);
                self.cached_or(id, &[key], false, || {
                    let before = self.trees.load(&lower)?;
                    let user = user::exec_user(user, &before, self.inputs.session)?;
                    let after =
                        directory::make_directory(&before, path, (user.uid, user.gid), self.graph.epoch)?;
                    self.settle(lower, &before, &after)
                })
            }
            Op::Run(op) => {
                let hosts: Vec<String> = self
                    .inputs
                    .host
                    .add_hosts
                    .iter()
                    .map(|(name, address)| format!("{name}={address}"))
                    .collect();
                let sources = self.mounted_trees(op)?;
                self.note_trees(id, op.sources().zip(sources.iter().copied()));
                let (epoch, fixers) = (self.graph.epoch, &self.graph.fixers);
                let key = key::run(op, lower, epoch, &stage.platform, &hosts, &sources, fixers);
                let network = op.network == RunNetwork::Host;
                self.cached_or(id, &[key], network, || {
                    let part = |_, from: &CopySource, source: &str| {
                        let tree = match from {
                            CopySource::Context => self.context_of(None)?,
                            CopySource::Named(name) => self.context_of(Some(name))?,
                            from => self.trees.load(&self.source_tree(from)?)?,
                        };
                        mounts::part(&tree, source, &self.place_name(from), self.graph.epoch)
                    };
                    let left = run(op, id, lower, &state.chain, &part, &self.environment)?;
                    lock(&self.fixed).insert(id, left.fixed);
                    Ok(left.tree)
                })
            }
            Op::Copy(op) => self.copy(id, op, lower),
        }
    }

    fn copy(&self, id: StepId, op: &CopyOp, lower: TreeId) -> Result<TreeId, StepProblem> {
        let epoch = self.graph.epoch;
        let source = match &op.from {
            CopySource::Context | CopySource::Named(_) => None,
            from => Some(self.source_tree(from)?),
        };
        self.note_trees(id, source.iter().map(|tree| (&op.from, *tree)));
        let definition = key::copy_definition(op, lower, source, epoch);
        // The context has no identity before it was read, and reading it is what finds out what changed.
        if source.is_some()
            && let Some(tree) = self.lookup(id, &definition)?
        {
            self.inputs.progress.event(Event::Cached { id });
            self.note_report(id, true, &[]);
            return Ok(tree);
        }
        let tree = match source {
            Some(tree) => self.trees.load(&tree)?,
            None => self.context_tree(op)?,
        };
        let fetched = self.fetch(id, op)?;
        let place = self.place_name(&op.from);
        let selection = copy::select(op, &tree, &fetched, self.inputs.session, epoch, &place)?;
        let mut content = key::copy_content(op, lower, epoch);
        let start = content.fields().count();
        selection.describe(&mut content);
        if source.is_none() {
            self.note_selection(id, op, &content, start);
        }
        let mut keys = vec![content];
        keys.extend(source.map(|_| definition));
        self.cached_or(id, &keys, false, || {
            let before = self.trees.load(&lower)?;
            let after = copy::place(op, &selection, &before, self.inputs.session, epoch)?;
            self.settle(lower, &before, &after)
        })
    }

    fn place_name(&self, from: &CopySource) -> String {
        match from {
            CopySource::Context => "the build context".to_owned(),
            CopySource::Named(name) => format!("the context `{name}`"),
            CopySource::Image { reference, .. } => format!("image `{reference}`"),
            CopySource::Stage(number) => {
                let stage = self.graph.stages.iter().find(|stage| stage.index == *number);
                format!("stage `{}`", stage.map_or_else(|| number.to_string(), StagePlan::display_name))
            }
        }
    }

    fn source_tree(&self, from: &CopySource) -> Result<TreeId, StepProblem> {
        match from {
            CopySource::Stage(number) => match lock(&self.done).get(number) {
                Some(state) => Ok(state.tree),
                None => unreachable!("a plan lists a stage after what it copies from"),
            },
            CopySource::Image { manifest, .. } => {
                let image = self.inputs.images.image(manifest);
                let image = image.ok_or(StepProblem::ImageMissing { manifest: *manifest })?;
                Ok(image.tree()?.unwrap_or(self.empty))
            }
            CopySource::Context | CopySource::Named(_) => {
                unreachable!("a context has no tree before it is read")
            }
        }
    }

    /// The identity of each tree that mounts read. Of the context it is the part that is mounted, as the context has none before it is
    /// read and a change elsewhere in it does not matter.
    fn mounted_trees(&self, op: &RunOp) -> Result<Vec<TreeId>, StepProblem> {
        let mut trees = Vec::new();
        for mount in &op.mounts {
            let (from, path) = match &mount.kind {
                RunMountKind::Bind { from, source, .. }
                | RunMountKind::Cache { from: Some((from, source)), .. } => (from, source),
                _ => continue,
            };
            trees.push(match from {
                CopySource::Context | CopySource::Named(_) => {
                    let name = if let CopySource::Named(name) = from { Some(name.as_str()) } else { None };
                    let context = self.context_of(name)?;
                    let (part, _) = mounts::part(&context, path, &self.place_name(from), self.graph.epoch)?;
                    self.trees.store(part)?.0
                }
                from => self.source_tree(from)?,
            });
        }
        Ok(trees)
    }

    fn context_tree(&self, op: &CopyOp) -> Result<Arc<Tree>, StepProblem> {
        match &op.from {
            _ if !op.has_paths() => Ok(Arc::new(Tree::new())),
            CopySource::Named(name) => self.context_of(Some(name)),
            _ => self.context_of(None),
        }
    }

    /// A context by name, read when it is first asked for.
    fn context_of(&self, name: Option<&str>) -> Result<Arc<Tree>, StepProblem> {
        let key = name.map(str::to_owned);
        // Held while the context is read: whoever else needs it waits rather than reads it again.
        let mut read = lock(&self.read);
        if let Some(tree) = read.get(&key) {
            return Ok(Arc::clone(tree));
        }
        let inputs = self.inputs;
        let context = match name {
            None => inputs.context,
            Some(name) => inputs
                .contexts
                .get(name)
                .ok_or_else(|| StepProblem::NotGiven { what: "context", id: name.to_owned() })?,
        };
        let walked = context
            .read(inputs.session, self.graph.epoch, inputs.options.now)
            .map_err(|source| StepProblem::Context { source: Box::new(source) })?;
        let (entries, bytes) = size_of(&walked.tree);
        inputs.progress.event(Event::ContextRead { entries, bytes, files_read: walked.files_read });
        describe(&walked.report)
            .into_iter()
            .for_each(|text| inputs.progress.event(Event::ContextNotice { text }));
        let tree = Arc::new(walked.tree);
        if let Some(trial) = inputs.trial {
            trial.overseer.context(name, tree.store(inputs.session)?);
        }
        read.insert(key, Arc::clone(&tree));
        Ok(tree)
    }

    /// Keeps of `after` only what differs from `before` in more than its time, and stores it.
    fn settle(&self, lower: TreeId, before: &Tree, after: &Tree) -> Result<TreeId, StepProblem> {
        let changes = diff(before, after, Compare::IgnoreMtime);
        if changes.is_empty() {
            return Ok(lower);
        }
        check_names(&changes)?;
        let tree = apply(before, &changes).map_err(|source| StepProblem::Apply { source })?;
        Ok(self.trees.store(tree)?.0)
    }

    fn lookup(&self, id: StepId, key: &Preimage) -> Result<Option<TreeId>, StepProblem> {
        let left_aside = |stage: &StagePlan| self.inputs.options.no_cache.covers(stage);
        if self.inputs.trial.is_some() || self.stage_of(id).is_some_and(left_aside) {
            return Ok(None);
        }
        let bytes = self.inputs.session.get_record(&key.key(), self.inputs.options.now)?;
        Ok(bytes.and_then(|bytes| record::decode::<StepRecord>(&bytes)).map(|record| record.tree))
    }

    fn stage_of(&self, id: StepId) -> Option<&StagePlan> {
        self.graph.stages.get(id.stage)
    }

    /// What is known under `key`, else the lock to find it out. While another build is at work on it this waits, and then knows.
    fn lookup_or_lock(
        &self,
        id: StepId,
        key: &Preimage,
    ) -> Result<(Option<TreeId>, Option<WorkLock>), StepProblem> {
        let number = key.key();
        loop {
            if let Some(known) = self.lookup(id, key)? {
                return Ok((Some(known), None));
            }
            if let Some(lock) = self.inputs.session.try_work_lock(&number)? {
                // Whoever had it may have ended between the look and the lock.
                return Ok((self.lookup(id, key)?, Some(lock)));
            }
            if self.inputs.stop.is_stopped() {
                return Err(SandboxError::Stopped.into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What is known under the first of `keys`, else what `compute` gives, which is then known under all of them.
    fn cached_or(
        &self,
        id: StepId,
        keys: &[Preimage],
        network: bool,
        compute: impl FnOnce() -> Result<TreeId, StepProblem>,
    ) -> Result<TreeId, StepProblem> {
        let (known, _at_work) = match keys.first() {
            Some(key) => self.lookup_or_lock(id, key)?,
            None => (None, None),
        };
        let missing = if known.is_some() { &keys[1..] } else { keys };
        let reasons = match (&known, keys.first()) {
            (None, Some(key)) => self.explain(id, key)?,
            _ => Vec::new(),
        };
        self.note_report(id, known.is_some(), &reasons);
        let tree = match known {
            Some(tree) => {
                self.inputs.progress.event(Event::Cached { id });
                tree
            }
            None => {
                self.inputs.progress.event(Event::Started { id, reasons: &reasons });
                let tree = compute()?;
                self.inputs.progress.event(Event::Finished { id });
                tree
            }
        };
        if self.inputs.trial.is_some() {
            return Ok(tree);
        }
        let fixed = lock(&self.fixed).get(&id).cloned().unwrap_or_default();
        let payload = record::encode(&StepRecord { tree, network, fixed });
        for key in missing {
            self.inputs.session.put_record(
                &key.key(),
                &payload,
                &[tree.object()],
                self.inputs.options.now,
            )?;
        }
        Ok(tree)
    }
}
