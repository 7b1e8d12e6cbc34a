//! The plan of a build as a value: stages, steps and what each of them does, with every variable replaced.
//!
//! A [`Graph`] depends on the Dockerfile, the options and the configs of the base images, and on nothing else. It can be
//! printed ([`Graph`] is serialisable) and is what the executor consumes.

use rebit_dockerfile::Span;
use rebit_dockerfile::remote::{GitSource, redacted};
use rebit_oci::Digest;
use rebit_oci::config::{ImageConfig, RunConfig};
use rebit_sandbox::ResourceLimit;
use serde::{Deserialize, Serialize};

use crate::fix::Fixers;
pub use crate::platform::BuildPlatform;

/// The stages that a target needs, in an order in which they can be built.
#[derive(Debug, Clone, Serialize)]
pub struct Graph {
    /// The stages; the last one is the target.
    pub stages: Vec<StagePlan>,
    /// The platform that is built for.
    pub platform: BuildPlatform,
    /// Seconds since 1970 that every time in the image is set to.
    pub epoch: i64,
    /// What is made of files that `RUN` steps leave.
    #[serde(skip_serializing_if = "Fixers::is_empty")]
    pub fixers: Fixers,
}

impl Graph {
    /// The stage that becomes the image.
    #[must_use]
    pub fn target(&self) -> Option<&StagePlan> {
        self.stages.last()
    }

    /// For each stage the places of those that it needs.
    #[must_use]
    pub fn needs(&self) -> Vec<Vec<usize>> {
        let place = |index: usize| self.stages.iter().position(|stage| stage.index == index);
        let needs = |stage: &StagePlan| {
            let base = if let Base::Stage(index) = stage.base { Some(index) } else { None };
            let sources = stage.steps.iter().flat_map(|step| step.op.sources());
            let stages = sources
                .filter_map(|source| if let CopySource::Stage(index) = source { Some(*index) } else { None });
            base.into_iter().chain(stages).filter_map(place).collect()
        };
        self.stages.iter().map(needs).collect()
    }

    /// Whether any step reads the build context.
    #[must_use]
    pub fn reads_context(&self) -> bool {
        let reads = |step: &Step| match &step.op {
            Op::Copy(copy) => copy.from == CopySource::Context && copy.has_paths(),
            Op::Run(run) => run.sources().any(|source| *source == CopySource::Context),
            _ => false,
        };
        self.stages.iter().any(|stage| stage.steps.iter().any(reads))
    }
}

/// One `FROM` block.
#[derive(Debug, Clone, Serialize)]
pub struct StagePlan {
    /// Its number in the file, from 0.
    pub index: usize,
    /// The name after `AS`.
    pub name: Option<String>,
    /// What it starts from.
    pub base: Base,
    /// The platform of its files: the `FROM` line's, else the build's.
    pub platform: BuildPlatform,
    /// The `FROM` line.
    #[serde(skip)]
    pub span: Span,
    /// The steps in order, those of the base's `ONBUILD` first.
    pub steps: Vec<Step>,
    /// The execution parameters that the stage ends with.
    pub config: RunConfig,
    /// The author, when a `MAINTAINER` names one.
    pub author: Option<String>,
    /// The variables that a stage which starts from this one sees, `ARG`s included.
    #[serde(skip)]
    pub(crate) variables: Vec<(String, String)>,
    /// The `ARG`s among them, for the history.
    #[serde(skip)]
    pub(crate) declared: Vec<(String, String)>,
}

impl StagePlan {
    /// The name that people see: the one after `AS`, else `stage-N`.
    #[must_use]
    pub fn display_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("stage-{}", self.index))
    }
}

/// What a stage starts from.
#[derive(Debug, Clone, Serialize)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An image.
    Image {
        /// The name in the file, completed.
        reference: String,
        /// The digest of its manifest: what the build depends on.
        manifest: Digest,
        /// Its config.
        #[serde(skip)]
        config: Box<ImageConfig>,
    },
    /// An earlier stage, by its number in the file.
    Stage(usize),
    /// The files of a context, by the name it was given (`--build-context`).
    Context(String),
}

/// One instruction, ready to be executed.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// The instruction as people read it.
    pub text: String,
    /// What the image's history says.
    pub created_by: String,
    /// Where it stands in the file; the `FROM` line for an `ONBUILD` trigger of the base.
    #[serde(skip)]
    pub span: Span,
    /// What is done.
    pub op: Op,
}

/// What a step does.
#[derive(Debug, Clone, Serialize)]
pub enum Op {
    /// Runs a process.
    Run(RunOp),
    /// Copies between trees.
    Copy(CopyOp),
    /// Makes a directory with its parents, where it does not exist.
    MakeDirectory {
        /// Absolute, cleaned.
        path: String,
        /// `user[:group]` that what is made belongs to; empty is root.
        user: String,
    },
    /// Changes the config only.
    Config,
}

impl Op {
    /// The trees that the step reads besides the one below it.
    pub fn sources(&self) -> impl Iterator<Item = &CopySource> {
        let copy = match self {
            Self::Copy(copy) => Some(&copy.from),
            _ => None,
        };
        let run = match self {
            Self::Run(run) => Some(run.sources()),
            _ => None,
        };
        copy.into_iter().chain(run.into_iter().flatten())
    }
}

/// A process in a stage's root file system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunOp {
    /// Program and arguments.
    pub args: Vec<String>,
    /// A script that is put at this path for the time of the run: a lone heredoc with `#!`.
    pub script: Option<Script>,
    /// The environment, in order.
    pub env: Vec<(String, String)>,
    /// Variables that reach the process but are no part of its identity: the proxy family.
    pub proxy_env: Vec<(String, String)>,
    /// Absolute.
    pub working_dir: String,
    /// `user[:group]` as in the config; empty is root.
    pub user: String,
    /// What network it sees.
    pub network: RunNetwork,
    /// Whether it has every capability of the caller and no filter (`--security=insecure`).
    pub insecure: bool,
    /// Bytes of `/dev/shm` and resource limits, where the caller sets them.
    pub limits: RunLimits,
    /// What else it sees, in order.
    pub mounts: Vec<RunMount>,
}

/// How much of the machine's resources a process may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLimits {
    /// Most bytes of `/dev/shm`.
    pub shm_size: Option<u64>,
    /// Limits of setrlimit(2); those not named are the caller's.
    pub ulimits: Vec<ResourceLimit>,
}

/// `RUN --mount`: something that a process sees and that never becomes part of the image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunMount {
    /// Where; absolute. `None` for a secret that is a variable only, and for an agent at its usual place.
    pub target: Option<String>,
    /// What.
    pub kind: RunMountKind,
}

/// What a mount gives.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum RunMountKind {
    /// Files of a tree; writes are thrown away.
    Bind {
        /// The tree.
        from: CopySource,
        /// The path in it.
        source: String,
        /// Whether it can be written to.
        writable: bool,
    },
    /// A directory that stays from build to build.
    Cache {
        /// Its name.
        id: String,
        /// What a new one starts with: a path in a tree.
        from: Option<(CopySource, String)>,
        /// Who may use it at the same time.
        sharing: Sharing,
        /// Whether it can only be read.
        read_only: bool,
        /// Mode, user and group of a new one.
        owner: MountOwner,
    },
    /// Memory.
    Tmpfs {
        /// Most bytes.
        size: Option<u64>,
    },
    /// A secret; its content is no part of anything that is kept.
    Secret {
        /// Its name.
        id: String,
        /// The variable that holds it.
        env: Option<String>,
        /// Whether the step fails without it.
        required: bool,
        /// Mode, user and group of the file.
        owner: MountOwner,
    },
    /// The socket of an SSH agent.
    Ssh {
        /// Its name.
        id: String,
        /// Whether the step fails without it.
        required: bool,
        /// Mode, user and group of the socket.
        owner: MountOwner,
    },
}

/// Who may use a cache at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// Everyone.
    Shared,
    /// Each its own.
    Private,
    /// One after the other.
    Locked,
}

impl std::fmt::Display for Sharing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Shared => "shared",
            Self::Private => "private",
            Self::Locked => "locked",
        })
    }
}

/// Mode, user and group of what a mount makes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct MountOwner {
    /// Permission bits.
    pub mode: u32,
    /// Numeric user.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
}

impl RunOp {
    /// The trees that mounts read.
    pub fn sources(&self) -> impl Iterator<Item = &CopySource> {
        self.mounts.iter().filter_map(|mount| match &mount.kind {
            RunMountKind::Bind { from, .. } | RunMountKind::Cache { from: Some((from, _)), .. } => Some(from),
            _ => None,
        })
    }
}

/// A file that exists only while a step runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Script {
    /// Where.
    pub path: String,
    /// What.
    pub content: String,
}

/// What network a step sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunNetwork {
    /// The host's.
    Host,
    /// Loopback only.
    None,
}

/// Files copied from one tree to another.
#[derive(Debug, Clone, Serialize)]
pub struct CopyOp {
    /// Where the sources are.
    pub from: CopySource,
    /// The sources in order.
    pub sources: Vec<SourcePath>,
    /// The destination, absolute; ends in `/` when it must be a directory.
    pub dest: String,
    /// `user[:group]` that the copies belong to.
    pub chown: Option<String>,
    /// The mode that the copies get.
    pub chmod: Option<String>,
    /// Whether archives among the sources are unpacked (`ADD`).
    pub unpack: bool,
    /// Patterns of what is left out, relative to each source (`--exclude`).
    pub excludes: Vec<String>,
    /// Whether the directories of the sources are kept below the destination (`--parents`).
    pub parents: bool,
    /// Whether the copy does not look at what is there before it (`--link`).
    pub link: bool,
}

impl CopyOp {
    /// Whether there is a source other than a heredoc.
    #[must_use]
    pub fn has_paths(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, SourcePath::Path(_)))
    }

    /// The sources that come over the network, as people read them.
    pub fn remotes(&self) -> impl Iterator<Item = String> {
        self.sources.iter().filter_map(|source| match source {
            SourcePath::Url(url) => Some(url.to_string()),
            SourcePath::Git(git) => Some(git.to_string()),
            SourcePath::Path(_) | SourcePath::Inline { .. } => None,
        })
    }
}

/// One source of a copy.
#[derive(Debug, Clone, Serialize)]
pub enum SourcePath {
    /// A path or wildcard below the root of the source.
    Path(String),
    /// A file that the Dockerfile itself contains.
    Inline {
        /// Its name.
        name: String,
        /// Its content.
        content: String,
    },
    /// A file that a URL leads to (`ADD`).
    Url(UrlSource),
    /// Files of a git repository (`ADD`).
    Git(GitFiles),
}

/// A file that a URL leads to.
#[derive(Debug, Clone, Serialize)]
pub struct UrlSource {
    /// The URL; shown without credentials.
    #[serde(serialize_with = "without_credentials")]
    pub url: String,
    /// What it has to be.
    pub checksum: Option<Digest>,
    /// The name that it has in a directory.
    pub name: String,
    /// Whether it is unpacked when it is an archive.
    pub unpack: bool,
}

impl std::fmt::Display for UrlSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&redacted(&self.url))?;
        self.checksum.as_ref().map_or(Ok(()), |checksum| write!(f, " ({checksum})"))
    }
}

/// Files of a git repository.
#[derive(Debug, Clone, Serialize)]
pub struct GitFiles {
    /// The repository and what is wanted of it; shown without credentials.
    #[serde(serialize_with = "in_words")]
    pub source: GitSource,
    /// The commit that it has to be, or its first digits.
    pub checksum: Option<String>,
    /// Whether submodules are taken.
    pub submodules: bool,
    /// Whether `.git` is kept.
    pub keep_git_dir: bool,
}

impl std::fmt::Display for GitFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.source)?;
        self.checksum.as_ref().map_or(Ok(()), |checksum| write!(f, " (commit {checksum})"))
    }
}

fn without_credentials<S: serde::Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&redacted(url))
}

fn in_words<S: serde::Serializer>(source: &GitSource, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(source)
}

/// The tree that a copy reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CopySource {
    /// The build context.
    Context,
    /// Another context, by the name it was given (`--build-context`).
    Named(String),
    /// An earlier stage, by its number in the file.
    Stage(usize),
    /// Another image.
    Image {
        /// The name in the file, completed.
        reference: String,
        /// The digest of its manifest.
        manifest: Digest,
    },
}
