//! Reading what `build` and `plan` are given: context, Dockerfile, ignore file, arguments.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use rebit_build::plan::{KEEP_GIT_DIR, NamedContext, PlanOptions};
use rebit_build::{Asked, BuildOptions, Context, ContextRoot, Fetch, Planned, Remote, context_name};
use rebit_dockerfile::ignore::Ignore;
use rebit_dockerfile::lint::{self, BaseFacts, LintOptions};
use rebit_dockerfile::remote::redacted;
use rebit_dockerfile::{Check, Diagnostic, MAX_FILE_BYTES, Parsed, SourceFile};
use rebit_image::StoredImage;
use rebit_image::provenance::{self, DigestSet, Parameters, Resource};
use rebit_layer::{ModePolicy, Tree};
use rebit_oci::Digest;
use rebit_sandbox::StopFlag;
use rebit_store::Session;

use super::bases::Bases;
use super::context::Named;
use super::{build_error, context, fixers, limit_flag};
use crate::assembly::Assembly;
use crate::diagnostics::render_diagnostic;
use crate::environment;
use crate::error::CommandError;
use crate::flags::{BuildSource, ContextModes, NetworkFlag};
use crate::network::Network;
use crate::output::say;
use crate::project::{self, Project};

/// A Dockerfile and the contexts that it is built with.
pub(crate) struct Input {
    pub(crate) file: SourceFile,
    pub(crate) parsed: Parsed,
    pub(crate) context: Context,
    /// Further contexts that are files, by name.
    pub(crate) contexts: BTreeMap<String, Context>,
    /// What the names of `--build-context` mean.
    named: BTreeMap<String, NamedContext>,
    /// Images that contexts brought along.
    pub(super) images: Vec<StoredImage>,
    /// When the newest commit of the contexts from git was made.
    time: Option<i64>,
    /// Where contexts came from that are not of this machine.
    origins: Vec<Resource>,
    /// Images that a file of recipes beside the Dockerfile has.
    pub(super) assembly: Option<Assembly>,
    /// What parser and build checks found, in the order of the text.
    pub(crate) findings: Vec<Diagnostic>,
    /// What `rebit.toml` beside the Dockerfile says.
    pub(crate) project: Project,
}

impl Input {
    /// Says what was found, unless it is a warning and nobody wants to know. An error in the file ends the command.
    pub(crate) fn say(&self, quiet: bool) -> Result<(), CommandError> {
        let styled = io::stderr().is_terminal();
        for finding in self.findings.iter().filter(|finding| finding.is_error() || !quiet) {
            say(render_diagnostic(&self.file, finding, styled));
        }
        let failed = self.findings.iter().any(Diagnostic::is_error);
        if failed { Err(CommandError::silent(crate::error::ExitKind::Failed)) } else { Ok(()) }
    }
}

/// Reads contexts and Dockerfile, and says what was found.
pub(crate) fn read(
    source: &BuildSource,
    quiet: bool,
    session: &Session,
    stop: &StopFlag,
) -> Result<Input, CommandError> {
    let input = open(source, quiet, session, stop)?;
    input.say(quiet)?;
    Ok(input)
}

/// Reads contexts and Dockerfile, and looks for mistakes in it.
pub(crate) fn open(
    source: &BuildSource,
    quiet: bool,
    session: &Session,
    stop: &StopFlag,
) -> Result<Input, CommandError> {
    let modes = match source.context_modes {
        ContextModes::Shared => ModePolicy::Shared,
        ContextModes::Keep => ModePolicy::Keep,
        ContextModes::Executable => ModePolicy::Executable,
    };
    let from_stdin = source.file.as_ref().is_some_and(|file| file.as_os_str() == "-");
    if source.context == "-" && from_stdin {
        return Err(CommandError::usage("standard input cannot be both the context and the Dockerfile"));
    }
    let network = Network::new(environment::ssh_agent(), stop);
    let online = source.network != NetworkFlag::None;
    let remote = Remote::new(session, online.then_some(&network as &dyn Fetch), environment::now());
    let keep_git_dir = build_args(source)?.get(KEEP_GIT_DIR).is_some_and(|value| is_true(value));
    let contexts = context::Contexts { session, remote: &remote, modes, keep_git_dir, stop };
    let opened = contexts.open(&source.context)?;
    if opened.dockerfile.is_some() && source.file.is_some() {
        let what = if source.context == "-" { "standard input" } else { "the context" };
        return Err(CommandError::usage(format!("{what} is a Dockerfile, and --file names another one")));
    }
    let root = opened.root;
    let (name, path, text) = read_dockerfile(source, &root, opened.dockerfile, session)?;
    let parsed = rebit_dockerfile::parse(&text);
    let file = SourceFile::new(name.clone(), text);
    let ignore = match &root {
        // What is wrong in the file is said before anything else.
        _ if parsed.has_errors() => no_ignore(),
        ContextRoot::Directory(directory) => read_ignore(path.as_deref(), directory)?,
        ContextRoot::Tree(tree) if opened.time.is_some() => read_ignore_of(&name, tree, session)?,
        // Whoever made an archive has left out what is not in it.
        ContextRoot::Tree(_) => no_ignore(),
    };
    let project = read_project(&name, path.as_deref(), &root, session)?;
    let findings = parsed.diagnostics.clone();
    let mut input = Input {
        file,
        parsed,
        context: Context { root, ignore, modes },
        contexts: BTreeMap::new(),
        named: BTreeMap::new(),
        images: Vec::new(),
        time: opened.time,
        origins: origin(provenance::CONTEXT.to_owned(), opened.origin).into_iter().collect(),
        assembly: None,
        findings,
        project,
    };
    if input.parsed.has_errors() {
        return Ok(input);
    }
    let beside = match (path.as_deref().and_then(Path::parent), &input.context.root) {
        (None, ContextRoot::Directory(directory)) => Some(directory.as_path()),
        (beside, _) => beside,
    };
    input.assembly =
        beside.map(|directory| Assembly::beside(directory, online, quiet, stop)).transpose()?.flatten();
    for flag in &source.build_contexts {
        input.add(&contexts, flag)?;
    }
    let found = checks(source, &input, session)?;
    input.findings.extend(found);
    input.findings.sort_by_key(|finding| finding.span);
    Ok(input)
}

/// The words by which Docker says yes.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

impl Input {
    /// Adds a context that has a name.
    fn add(&mut self, contexts: &context::Contexts<'_>, flag: &str) -> Result<(), CommandError> {
        let (name, named) = contexts.named(flag)?;
        let meaning = match named {
            Named::Files(context::Opened { root, time, origin, .. }) => {
                let ignore = match &root {
                    ContextRoot::Directory(directory) => read_ignore(None, directory)?,
                    ContextRoot::Tree(tree) if time.is_some() => read_ignore_of("", tree, contexts.session)?,
                    ContextRoot::Tree(_) => no_ignore(),
                };
                self.time = self.time.max(time);
                self.origins.extend(self::origin(context_name(&name), origin));
                self.contexts.insert(name.clone(), Context { root, ignore, modes: contexts.modes });
                NamedContext::Files
            }
            Named::Image(image) => NamedContext::Image(image),
            Named::Imported(image) => {
                let meaning = NamedContext::Image(format!("{IMPORTED}@{}", image.manifest.digest()));
                self.images.push(*image);
                meaning
            }
        };
        self.named.insert(name, meaning);
        Ok(())
    }
}

fn origin(name: String, found: Option<(String, DigestSet)>) -> Option<Resource> {
    found.map(|(uri, digest)| Resource { name: Some(name), uri: Some(uri), digest })
}

/// What the provenance of the image is to say besides the plan.
pub(crate) fn asked(
    source: &BuildSource,
    input: &Input,
    planned: &Planned,
    options: &BuildOptions,
) -> Result<Asked, CommandError> {
    let hosts = add_hosts(source)?;
    Ok(Asked {
        dockerfile: Digest::of(input.file.text().as_bytes()),
        parameters: Parameters {
            annotations: options.annotations.clone(),
            build_args: planned.used_build_args.clone(),
            compression: options.compression.name().to_owned(),
            fixers: planned
                .graph
                .fixers
                .iter()
                .map(|fixer| format!("{} {}", fixer.name, fixer.version))
                .collect(),
            hosts: hosts.iter().map(|(name, address)| format!("{name}={address}")).collect(),
            labels: labels(source),
            modes: source.context_modes.name().to_owned(),
            platform: planned.graph.platform.to_string(),
            target: source.target.clone(),
        },
        origins: input.origins.clone(),
    })
}

/// What an image that a context brought along is called in the plan.
const IMPORTED: &str = "localhost/oci-layout";

/// Runs the build checks, with what the store knows of base images.
fn checks(source: &BuildSource, input: &Input, session: &Session) -> Result<Vec<Diagnostic>, CommandError> {
    let build_args = build_args(source)?;
    let check = build_args.get(lint::BUILD_ARG).map(|text| Check::parse(text)).transpose();
    let check = check.map_err(|option| {
        CommandError::usage(format!("{}: invalid check option `{option}`", lint::BUILD_ARG))
            .hint("options are `skip=RULE,…`, `error=true` and `experimental=RULE,…`")
    })?;
    let base = |name: &str| {
        let name = match input.named.get(name) {
            Some(NamedContext::Image(image)) => image,
            Some(NamedContext::Files) => return None,
            None => name,
        };
        // An image that cannot be read is the build's to report.
        let image = rebit_image::find(session, &name.parse().ok()?).ok()??;
        let config = &image.config.value().config;
        let pair = |line: &String| {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            (name.to_owned(), value.to_owned())
        };
        Some(BaseFacts {
            variables: config.env.iter().map(pair).collect(),
            has_shell: config.shell.as_ref().is_some_and(|shell| !shell.is_empty()),
        })
    };
    let options = LintOptions {
        check: check.as_ref(),
        build_args: &build_args,
        ignore: Some(&input.context.ignore),
        base: &base,
    };
    Ok(lint::lint(input.file.text(), &input.parsed.file, &options))
}

/// The build arguments given; one without a value is taken from the environment.
fn build_args(source: &BuildSource) -> Result<BTreeMap<String, String>, CommandError> {
    let pair = |arg: &String| {
        Ok(match arg.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => environment::variable(arg)?.map(|value| (arg.clone(), value)),
        })
    };
    source.build_args.iter().filter_map(|arg| pair(arg).transpose()).collect()
}

/// The Dockerfile's name for messages, its path if it has one, and its text.
fn read_dockerfile(
    source: &BuildSource,
    root: &ContextRoot,
    piped: Option<String>,
    session: &Session,
) -> Result<(String, Option<PathBuf>, String), CommandError> {
    if let Some(text) = piped {
        return Ok(("-".to_owned(), None, text));
    }
    let limit = MAX_FILE_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    let path = match (&source.file, root) {
        (Some(path), _) if path.as_os_str() == "-" => None,
        (Some(path), ContextRoot::Directory(_)) => Some(path.clone()),
        (None, ContextRoot::Directory(directory)) => Some(directory.join("Dockerfile")),
        (file, ContextRoot::Tree(tree)) => {
            let name = file.clone().unwrap_or_else(|| PathBuf::from("Dockerfile"));
            let text = context::file_of(tree, &name, session, limit)?;
            return Ok((name.display().to_string(), None, text));
        }
    };
    let read = match &path {
        None => io::stdin().lock().take(limit).read_to_end(&mut bytes),
        Some(path) => fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)),
    };
    let shown =
        path.as_ref().map_or_else(|| "standard input".to_owned(), |path| format!("`{}`", path.display()));
    if let Err(error) = read {
        let missing = error.kind() == io::ErrorKind::NotFound && source.file.is_none();
        let error = CommandError::message(format!("cannot read the Dockerfile {shown}: {error}"));
        return Err(if missing { error.hint("`-f FILE` names one that is elsewhere") } else { error });
    }
    let text = context::text(bytes, &shown)?;
    let name = path.as_ref().map_or_else(|| "-".to_owned(), |path| path.display().to_string());
    Ok((name, path, text))
}

/// `rebit.toml` beside the Dockerfile: on disk, or in the tree of a context that is none. One that is piped in has nothing beside it.
fn read_project(
    name: &str,
    path: Option<&Path>,
    root: &ContextRoot,
    session: &Session,
) -> Result<Project, CommandError> {
    let text = match (path, root) {
        (Some(path), _) => {
            let path = path.with_file_name(project::FILE);
            let read = fs::File::open(&path).and_then(|file| {
                let mut bytes = Vec::new();
                file.take(project::LIMIT + 1).read_to_end(&mut bytes).map(|_| bytes)
            });
            match read {
                Ok(bytes) if bytes.len() as u64 > project::LIMIT => {
                    let limit = project::LIMIT;
                    return Err(CommandError::message(format!(
                        "`{}` is larger than {limit} bytes",
                        path.display()
                    )));
                }
                Ok(bytes) => {
                    (path.display().to_string(), context::text(bytes, &format!("`{}`", path.display()))?)
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Project::default()),
                Err(error) => {
                    return Err(CommandError::message(format!("cannot read `{}`: {error}", path.display())));
                }
            }
        }
        (None, ContextRoot::Tree(tree)) if name != "-" => {
            let beside = Path::new(name).with_file_name(project::FILE);
            let shown = beside.display().to_string();
            if !tree.resolve(&shown, true).is_ok_and(|path| tree.contains(&path)) {
                return Ok(Project::default());
            }
            (shown, context::file_of(tree, &beside, session, project::LIMIT)?)
        }
        (None, _) => return Ok(Project::default()),
    };
    let (shown, text) = text;
    Project::parse(&text).map_err(|error| CommandError::message(format!("cannot read `{shown}`: {error}")))
}

fn no_ignore() -> Ignore {
    Ignore::parse("").unwrap_or_else(|_| unreachable!("an empty file has no pattern"))
}

/// `<Dockerfile>.dockerignore` beside the Dockerfile, else `.dockerignore` in the context.
fn read_ignore(dockerfile: Option<&Path>, directory: &Path) -> Result<Ignore, CommandError> {
    let own = dockerfile.map(|path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    for path in own.into_iter().chain([directory.join(".dockerignore")]) {
        match fs::read_to_string(&path) {
            Ok(text) => {
                return Ignore::parse(&text)
                    .map_err(|error| CommandError::message(format!("`{}`: {error}", path.display())));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(CommandError::message(format!("cannot read `{}`: {error}", path.display())));
            }
        }
    }
    Ok(no_ignore())
}

/// As [`read_ignore`], of a context from git. `dockerfile` is the path of the Dockerfile in it.
fn read_ignore_of(dockerfile: &str, tree: &Tree, session: &Session) -> Result<Ignore, CommandError> {
    let own = format!("{dockerfile}.dockerignore");
    for name in [own.as_str(), ".dockerignore"] {
        let found = tree.resolve(name, true).is_ok_and(|path| tree.contains(&path));
        if found {
            let text = context::file_of(tree, Path::new(name), session, MAX_FILE_BYTES as u64 + 1)?;
            return Ignore::parse(&text).map_err(|error| CommandError::message(format!("`{name}`: {error}")));
        }
    }
    Ok(no_ignore())
}

/// What tells this build from others, for `rebit why`: the context's path and the Dockerfile's.
pub(crate) fn scope(context: &str, file: Option<&Path>) -> String {
    let full = |path: &Path| match fs::canonicalize(path) {
        Ok(full) => full.display().to_string(),
        Err(_) => redacted(&path.display().to_string()),
    };
    let file = file.map_or_else(|| "Dockerfile".to_owned(), full);
    format!("{}\n{file}", full(Path::new(context)))
}

/// Plans the build of `input`.
pub(crate) fn plan(source: &BuildSource, input: &Input, bases: &Bases<'_>) -> Result<Planned, CommandError> {
    let options = plan_options(source, input)?;
    let planned = rebit_build::plan(&input.parsed.file, &options, bases)
        .map_err(|error| build_error::plan_error(&input.file, &input.parsed.file, &error))?;
    for name in planned.unused_build_args.iter().filter(|name| *name != lint::BUILD_ARG) {
        say(format!("warning: no ARG of a needed stage takes the build argument `{name}`"));
    }
    Ok(planned)
}

fn plan_options(source: &BuildSource, input: &Input) -> Result<PlanOptions, CommandError> {
    let build_platform = environment::native_platform();
    let platform = match &source.platform {
        Some(text) => environment::parse_platform(text)?,
        None => build_platform.clone(),
    };
    let mut build_args = build_args(source)?;
    if let (Some(text), Some(time)) = (build_args.get_mut("SOURCE_DATE_EPOCH"), input.time)
        && text == "context"
    {
        *text = time.to_string();
    }
    Ok(PlanOptions {
        target: source.target.clone(),
        build_args,
        platform,
        build_platform,
        epoch: match source.epoch {
            Some(epoch) => Some(epoch),
            None => environment::source_date_epoch(input.time)?,
        },
        context_epoch: input.time,
        labels: labels(source),
        contexts: input.named.clone(),
        offline: source.network == NetworkFlag::None,
        allow_insecure: limit_flag::allow_insecure(source)?,
        limits: limit_flag::limits(source)?,
        fixers: fixers::chosen(&source.fix, &input.project.build.fix)?,
    })
}

fn labels(source: &BuildSource) -> BTreeMap<String, String> {
    let pair = |label: &String| {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        (name.to_owned(), value.to_owned())
    };
    source.labels.iter().map(pair).collect()
}

/// Reads `NAME:ADDRESS` or `NAME=ADDRESS`.
pub(crate) fn add_hosts(source: &BuildSource) -> Result<Vec<(String, String)>, CommandError> {
    let parse = |text: &String| {
        let (name, address) = text.split_once('=').or_else(|| text.split_once(':'))?;
        let address = address.trim_start_matches('[').trim_end_matches(']');
        address.parse::<std::net::IpAddr>().ok()?;
        Some((name.to_owned(), address.to_owned()))
    };
    let checked = |text| {
        parse(text)
            .ok_or_else(|| CommandError::usage(format!("`{text}` is not NAME:ADDRESS (of an IP address)")))
    };
    source.add_hosts.iter().map(checked).collect()
}
