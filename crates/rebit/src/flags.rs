//! Every command and flag: one definition each, from which parser, help and completion come.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use rebit_build::SnapshotterKind;

mod cache;
mod check;
mod compare;
mod distro;
mod means;
mod registry;

pub(crate) use cache::{Cache, CacheCommand};
pub(crate) use check::Check;
pub(crate) use compare::{Accept, Diff, Document, History, Inspect, Verify};
pub(crate) use distro::{Image, ImageBuild, ImageCommand, Lock};
pub(crate) use means::BuildMeans;
pub(crate) use registry::{Copy, Login, Logout, ProvenanceFlag, Pull, PullFlag, Push, Referrers, Tags};

/// Builds container images to the same bits every time, on any machine, and proves it.
#[derive(Debug, Parser)]
#[command(
    name = "rebit",
    version,
    max_term_width = 100,
    propagate_version = true,
    arg_required_else_help = true
)]
pub(crate) struct Flags {
    /// Where images, layers and the build cache are kept.
    #[arg(long, global = true, env = "REBIT_STORE", value_name = "DIR", hide_env_values = true)]
    pub(crate) store: Option<PathBuf>,
    /// The most bytes that the store may take, e.g. 20G; a write beyond it fails.
    #[arg(long, global = true, env = "REBIT_STORE_LIMIT", value_name = "SIZE", value_parser = parse_size, hide_env_values = true)]
    pub(crate) store_limit: Option<u64>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build an image from a Dockerfile.
    Build(Box<Build>),
    /// Show what a build would do, without doing it.
    Plan(Plan),
    /// Say why the steps of the last build were executed or known.
    Why(Why),
    /// Build twice under different conditions, and name what differs and why.
    Check(Box<Check>),
    /// List what `build --fix` and `check --fix` know.
    Fixers(FixersFlags),
    /// Open a shell in what a failed RUN step left.
    Debug(Debug),
    /// Assemble images from Debian packages, without a registry.
    Image(Image),
    /// Pin the packages that images are assembled from.
    Lock(Lock),
    /// Bring an image, or a root file system, into the store.
    Import(Import),
    /// Write an image to an OCI layout or an archive.
    Export(Export),
    /// Take an image from a registry into the store.
    Pull(Pull),
    /// Send an image of the store to a registry.
    Push(Push),
    /// Copy an image from one place to another; every byte is verified.
    Copy(Copy),
    /// Keep a user name and password for a registry, as Docker does.
    Login(Login),
    /// Forget the user name and password for a registry.
    Logout(Logout),
    /// List the tags of a repository at its registry.
    Tags(Tags),
    /// List what refers to an image at its registry: provenances, signatures, inventories.
    Referrers(Referrers),
    /// List the images of the store.
    Images(Images),
    /// Show an image's manifest, config and layers.
    Inspect(Inspect),
    /// Show how an image was made.
    History(History),
    /// Give an image another name.
    Tag(Tag),
    /// Remove names of images; `rebit gc` frees what they held.
    Rm(Rm),
    /// Run a program in an image.
    Run(Run),
    /// Recompute every digest of an image; or build it again from its sources and say what is the same.
    Verify(Box<Verify>),
    /// Say why two images are not the same; ends with 0 when they are, 1 when not, 2 in trouble.
    Diff(Diff),
    /// Show, remove or carry what RUN --mount=type=cache keeps.
    Cache(Cache),
    /// Remove what no image and no recent build needs.
    Gc(Gc),
    /// Check every byte of the store.
    Fsck(Fsck),
    /// Show what the store holds and takes.
    Du(Du),
    /// Show what this machine allows.
    Info(Info),
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Build {
    #[command(flatten)]
    pub(crate) source: BuildSource,
    #[command(flatten)]
    pub(crate) means: BuildMeans,
    /// Name the image; may be given more than once.
    #[arg(short, long = "tag", value_name = "NAME[:TAG]")]
    pub(crate) tags: Vec<String>,
    /// Where the image goes besides the store: type=oci|docker|local|store, dest=PATH; type=registry[,name=NAME].
    #[arg(short, long, value_name = "type=TYPE[,dest=PATH]")]
    pub(crate) output: Vec<String>,
    /// Send the image to the registries that its names say.
    #[arg(long)]
    pub(crate) push: bool,
    /// Put the image's provenance beside it at the registries that it is sent to; the image stays the same.
    #[arg(long, value_enum, value_name = "WHETHER", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) provenance: Option<ProvenanceFlag>,
    /// Check the Dockerfile and build nothing; a finding makes the exit code 1.
    #[arg(long, conflicts_with = "call")]
    pub(crate) check: bool,
    /// Answer a question about the Dockerfile instead: check, outline (what a stage takes) or targets (the stages).
    #[arg(long, value_name = "build|check|outline|targets[,format=json]", value_parser = parse_call, default_value = "build", hide_default_value = true)]
    pub(crate) call: Call,
    /// Do not use what is known of earlier builds.
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Do not use what is known of earlier builds for these stages.
    #[arg(long, value_name = "STAGE,…")]
    pub(crate) no_cache_filter: Vec<String>,
    /// How root file systems are put together: of EROFS images where the host mounts them, or of directories. It shows in no digest.
    #[arg(long, env = "REBIT_SNAPSHOTTER", value_name = "auto|overlayfs|erofs", value_parser = parse_snapshotter, default_value = "auto", hide_default_value = true, hide_env_values = true)]
    pub(crate) snapshotter: SnapshotterKind,
    /// Print the digest only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Write the image's digest to a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) iidfile: Option<PathBuf>,
    /// Write what was built to a file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,
}

/// What `build`, `plan`, `check` and `verify --rebuild` have in common: the input.
#[derive(Debug, Clone, Args)]
pub(crate) struct BuildSource {
    /// What COPY and ADD read from: a directory, a tar archive, a git repository (URL[#REF[:DIR]]), the URL of an archive or Dockerfile, or - for one on standard input.
    #[arg(value_name = "CONTEXT")]
    pub(crate) context: String,
    /// The Dockerfile [default: CONTEXT/Dockerfile].
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Name a further context for FROM, COPY --from and RUN --mount; PLACE is a directory, a git repository, the URL of an archive, docker-image://IMAGE, store:IMAGE or oci-layout://DIR[:TAG].
    #[arg(long = "build-context", value_name = "NAME=PLACE")]
    pub(crate) build_contexts: Vec<String>,
    /// The stage to build [default: the last].
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,
    /// Set a build argument; without a value it is taken from the environment.
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    pub(crate) build_args: Vec<String>,
    /// Add a label to the image.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub(crate) labels: Vec<String>,
    /// The platform of the image [default: this machine's].
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// The network of RUN steps: `none` cuts them off, and the build takes nothing from the network that is not in the store.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) network: NetworkFlag,
    /// Add a line to /etc/hosts of RUN steps.
    #[arg(long = "add-host", value_name = "NAME:ADDRESS")]
    pub(crate) add_hosts: Vec<String>,
    /// Allow what a Dockerfile must not do unasked: security.insecure is RUN without confinement.
    #[arg(long, value_name = "PERMISSION")]
    pub(crate) allow: Vec<String>,
    /// The size of /dev/shm in RUN steps, e.g. 128m [default: 64m].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) shm_size: Option<u64>,
    /// Limit a resource of RUN steps, e.g. nofile=1024:2048.
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]")]
    pub(crate) ulimits: Vec<String>,
    /// When base images are taken from their registries [default: when the store lacks them].
    #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_value_t, default_missing_value = "always", hide_default_value = true)]
    pub(crate) pull: PullFlag,
    /// How the modes of context files are taken.
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub(crate) context_modes: ContextModes,
    /// Fix what RUN steps are known to leave behind, besides what rebit.toml says; `none` leaves that aside, and `rebit fixers` says more.
    #[arg(long = "fix", value_name = "FIXER,…", value_delimiter = ',', value_parser = fixer_names(), hide_possible_values = true)]
    pub(crate) fix: Vec<String>,
    /// The epoch, in place of that of the environment.
    #[arg(skip)]
    pub(crate) epoch: Option<i64>,
}

/// The names that `--fix` takes.
fn fixer_names() -> clap::builder::PossibleValuesParser {
    let words = [("all", "every fixer that this version has"), ("none", "not what rebit.toml says")];
    let fixers = rebit_build::fix::FIXERS.iter().map(|fixer| (fixer.name, fixer.summary));
    let value = |(name, help)| clap::builder::PossibleValue::new(name).help(help);
    clap::builder::PossibleValuesParser::new(fixers.chain(words).map(value))
}

#[derive(Debug, Args)]
pub(crate) struct FixersFlags {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) source: BuildSource,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Why {
    #[command(flatten)]
    pub(crate) source: BuildSource,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Debug {
    /// The context of the build [default: that of the build that failed last].
    #[arg(value_name = "CONTEXT")]
    pub(crate) context: Option<String>,
    /// The Dockerfile of the build [default: CONTEXT/Dockerfile].
    #[arg(short, long, value_name = "FILE", requires = "context")]
    pub(crate) file: Option<PathBuf>,
    /// Let the step's mounts use a secret, as in `rebit build`.
    #[arg(long = "secret", value_name = "id=NAME[,src=FILE]")]
    pub(crate) secrets: Vec<String>,
    /// Let the step's mounts use an SSH agent, as in `rebit build`.
    #[arg(long = "ssh", value_name = "default|NAME=SOCKET")]
    pub(crate) agents: Vec<String>,
    /// What to run instead of the step's shell.
    #[arg(value_name = "PROGRAM", last = true)]
    pub(crate) program: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The image: oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, docker://NAME; with --rootfs a tar of a root file system (- is standard input).
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    /// The name in the store: store:NAME[:TAG].
    #[arg(value_name = "DESTINATION")]
    pub(crate) destination: String,
    /// SOURCE is a tar of a root file system, plain or compressed.
    #[arg(long)]
    pub(crate) rootfs: bool,
    /// The platform to take out of an image index, or of the root file system [default: this machine's].
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// How the layer of a root file system is compressed.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) compression: CompressionFlag,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The image: store:NAME.
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    /// Where it goes: oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME:TAG], docker://NAME.
    #[arg(value_name = "DESTINATION")]
    pub(crate) destination: String,
}

#[derive(Debug, Args)]
pub(crate) struct Images {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print full digests.
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Print digests only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// The image.
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The further names.
    #[arg(value_name = "NAME[:TAG]", required = true)]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// The names to remove; the start of a digest removes all names of that image.
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The image.
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Arguments: they take the place of the image's CMD.
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<String>,
    /// Run this program instead of the image's ENTRYPOINT.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Set an environment variable.
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Run as another user.
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Run in another directory.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// The network that the program sees.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) network: NetworkFlag,
}

#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// Keep build results, and images without a name, that were used within this time, e.g. 36h or 7d.
    #[arg(long, alias = "keep", value_name = "TIME", value_parser = parse_time, default_value = "7d")]
    pub(crate) keep_newer: std::time::Duration,
    /// Keep what the last N builds used, and the last N images without a name, however old.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_last: u32,
    /// Remove more, the least recently used first, until the store takes at most this, e.g. 20G.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) max_size: Option<u64>,
    /// Remove unpacked root file systems too; they are written anew when a step needs them.
    #[arg(long)]
    pub(crate) checkouts: bool,
    /// Keep layers as recipes that were not imported, built or exported within this time [default: any time]: their blobs go, and are
    /// made anew from the files when they are wanted. What stays is written anew, compressed harder.
    #[arg(long, value_name = "TIME", value_parser = parse_time, num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    pub(crate) recipes: Option<std::time::Duration>,
    /// Say what would be removed, and remove nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Fsck {
    /// Throw the index away and make it anew from the packs, then check.
    #[arg(long)]
    pub(crate) rebuild_index: bool,
    /// Forget damaged objects and build results, so that what is built or imported anew takes their place; make a damaged index anew.
    #[arg(long)]
    pub(crate) repair: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Du {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Info {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompressionFlag {
    #[default]
    Gzip,
    Zstd,
    None,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressFlag {
    /// Live on a terminal, plain elsewhere.
    #[default]
    Auto,
    /// One line for each event.
    Plain,
    /// Live.
    Tty,
    /// One JSON object for each event.
    Rawjson,
    /// Nothing.
    Quiet,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkFlag {
    /// The host's network.
    #[default]
    Default,
    /// The host's network.
    Host,
    /// Loopback only.
    None,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ContextModes {
    /// As on disk, without write permission of group and others.
    #[default]
    Shared,
    /// As on disk.
    Keep,
    /// 0755 for directories and executable files, 0644 for others.
    Executable,
}

impl ContextModes {
    /// The word of the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Keep => "keep",
            Self::Executable => "executable",
        }
    }
}

/// What `--call` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) question: Question,
    /// The answer is for a program.
    pub(crate) json: bool,
}

impl Call {
    /// `--check`.
    pub(crate) const CHECK: Self = Self { question: Question::Check, json: false };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// None: build.
    Build,
    /// What is wrong with the file?
    Check,
    /// What does a stage take?
    Outline,
    /// Which stages are there?
    Targets,
}

fn parse_snapshotter(text: &str) -> Result<SnapshotterKind, String> {
    text.parse().map_err(|()| format!("`{text}` is not auto, overlayfs or erofs"))
}

fn parse_call(text: &str) -> Result<Call, String> {
    let mut fields = text.split(',');
    let question = match fields.next().unwrap_or_default() {
        "build" => Question::Build,
        "check" | "lint" => Question::Check,
        "outline" => Question::Outline,
        "targets" => Question::Targets,
        other => return Err(format!("`{other}` is not build, check, outline or targets")),
    };
    let mut call = Call { question, json: false };
    for field in fields {
        match field {
            "format=json" => call.json = true,
            "format=text" => call.json = false,
            other => return Err(format!("`{other}` is not format=json or format=text")),
        }
    }
    Ok(call)
}

/// Bytes, with an optional K, M, G or T (powers of 1024).
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 =
        match text[digits.len()..].to_ascii_uppercase().trim_end_matches("IB").trim_end_matches('B') {
            "" => 1,
            "K" => 1 << 10,
            "M" => 1 << 20,
            "G" => 1 << 30,
            "T" => 1 << 40,
            other => return Err(format!("`{other}` is not a unit; K, M, G and T are")),
        };
    let number: u64 = digits.parse().map_err(|_| format!("`{digits}` is not a number"))?;
    number.checked_mul(factor).ok_or_else(|| "it is too large".to_owned())
}

/// Seconds, with s, m, h or d.
pub(crate) fn parse_time(text: &str) -> Result<std::time::Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        other => return Err(format!("`{other}` is not a unit; s, m, h and d are")),
    };
    let number: u64 = digits.parse().map_err(|_| format!("`{digits}` is not a number"))?;
    let seconds = number.checked_mul(factor).ok_or_else(|| "it is too large".to_owned())?;
    Ok(std::time::Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Flags::command().debug_assert();
    }

    #[test]
    fn calls_have_a_question_and_a_format() {
        assert_eq!(parse_call("check,format=json"), Ok(Call { question: Question::Check, json: true }));
        assert_eq!(parse_call("targets"), Ok(Call { question: Question::Targets, json: false }));
        assert!(parse_call("none").is_err() && parse_call("check,format=xml").is_err());
    }

    #[test]
    fn sizes_and_times_have_units() {
        assert_eq!(parse_size("20G"), Ok(20 << 30));
        assert_eq!(parse_size("1kib"), Ok(1 << 10));
        assert_eq!(parse_size("7"), Ok(7));
        assert!(parse_size("x").is_err() && parse_size("1X").is_err() && parse_size("99999999999T").is_err());
        assert_eq!(parse_time("36h"), Ok(std::time::Duration::from_secs(129_600)));
        assert_eq!(parse_time("0"), Ok(std::time::Duration::ZERO));
        assert!(parse_time("1w").is_err() && parse_time("d").is_err());
    }
}
