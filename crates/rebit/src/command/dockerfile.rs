//! Reading what `build` and `plan` are given: context, Dockerfile, ignore file, arguments.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use rebit_build::graph::BuildPlatform;
use rebit_build::plan::{Bases, BasesError, PlanOptions};
use rebit_build::{Context, Images, Planned};
use rebit_dockerfile::ignore::Ignore;
use rebit_dockerfile::{MAX_FILE_BYTES, Parsed, SourceFile};
use rebit_image::StoredImage;
use rebit_layer::ModePolicy;
use rebit_oci::config::ImageConfig;
use rebit_oci::{Digest, Reference};
use rebit_store::Session;

use super::build_error;
use crate::diagnostics::render_diagnostic;
use crate::environment;
use crate::error::CommandError;
use crate::flags::{BuildSource, ContextModes, NetworkFlag};
use crate::output::say;

/// A Dockerfile and the context that it is built with.
pub(crate) struct Input {
    pub(crate) file: SourceFile,
    pub(crate) parsed: Parsed,
    pub(crate) context: Context,
}

/// Reads context and Dockerfile, and says what the parser found.
pub(crate) fn read(source: &BuildSource, quiet: bool) -> Result<Input, CommandError> {
    let directory = context_directory(&source.context)?;
    let (path, text) = read_dockerfile(source, &directory)?;
    let name = path.as_ref().map_or_else(|| "-".to_owned(), |path| path.display().to_string());
    let parsed = rebit_dockerfile::parse(&text);
    let file = SourceFile::new(name, text);
    let styled = io::stderr().is_terminal();
    for diagnostic in parsed.diagnostics.iter().filter(|diagnostic| diagnostic.is_error() || !quiet) {
        say(render_diagnostic(&file, diagnostic, styled));
    }
    if parsed.has_errors() {
        return Err(CommandError::silent(crate::error::ExitKind::Failed));
    }
    let modes = match source.context_modes {
        ContextModes::Shared => ModePolicy::Shared,
        ContextModes::Keep => ModePolicy::Keep,
        ContextModes::Executable => ModePolicy::Executable,
    };
    let ignore = read_ignore(path.as_deref(), &directory)?;
    Ok(Input { file, parsed, context: Context { directory, ignore, modes } })
}

fn context_directory(text: &str) -> Result<PathBuf, CommandError> {
    let remote =
        ["http://", "https://", "git://", "ssh://", "git@"].iter().any(|scheme| text.starts_with(scheme));
    if text == "-" || remote {
        return Err(CommandError::message(format!("a context from `{text}` is not supported"))
            .hint("give a directory; -f - reads the Dockerfile from standard input"));
    }
    let directory = PathBuf::from(text);
    match fs::metadata(&directory) {
        Ok(metadata) if metadata.is_dir() => Ok(directory),
        Ok(_) => Err(CommandError::message(format!("the context `{text}` is not a directory"))),
        Err(error) => Err(CommandError::message(format!("cannot read the context `{text}`: {error}"))),
    }
}

fn read_dockerfile(
    source: &BuildSource,
    directory: &Path,
) -> Result<(Option<PathBuf>, String), CommandError> {
    let limit = MAX_FILE_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    let path = match &source.file {
        Some(path) if path.as_os_str() == "-" => None,
        Some(path) => Some(path.clone()),
        None => Some(directory.join("Dockerfile")),
    };
    let read = match &path {
        None => io::stdin().lock().take(limit).read_to_end(&mut bytes),
        Some(path) => fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)),
    };
    let shown =
        path.as_ref().map_or_else(|| "standard input".to_owned(), |path| format!("`{}`", path.display()));
    if let Err(error) = read {
        return Err(CommandError::message(format!("cannot read the Dockerfile {shown}: {error}")));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| CommandError::message(format!("the Dockerfile {shown} is not UTF-8 text")))?;
    Ok((path, text))
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
    Ignore::parse("").map_err(|error| CommandError::message(error.to_string()))
}

/// Plans the build of `input`.
pub(crate) fn plan(
    source: &BuildSource,
    input: &Input,
    bases: &StoreBases<'_>,
) -> Result<Planned, CommandError> {
    let options = plan_options(source)?;
    let planned = rebit_build::plan(&input.parsed.file, &options, bases)
        .map_err(|error| build_error::plan_error(&input.file, &error))?;
    for name in &planned.unused_build_args {
        say(format!("warning: no ARG of a needed stage takes the build argument `{name}`"));
    }
    Ok(planned)
}

fn plan_options(source: &BuildSource) -> Result<PlanOptions, CommandError> {
    let build_platform = environment::native_platform();
    let platform = match &source.platform {
        Some(text) => environment::parse_platform(text)?,
        None => build_platform.clone(),
    };
    if platform != build_platform {
        return Err(CommandError::message(format!(
            "building for {platform} on {build_platform} is not supported"
        )));
    }
    let mut build_args = BTreeMap::new();
    for arg in &source.build_args {
        match arg.split_once('=') {
            Some((name, value)) => {
                build_args.insert(name.to_owned(), value.to_owned());
            }
            None => {
                if let Some(value) = environment::variable(arg) {
                    build_args.insert(arg.clone(), value);
                }
            }
        }
    }
    let mut labels = BTreeMap::new();
    for label in &source.labels {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        labels.insert(name.to_owned(), value.to_owned());
    }
    Ok(PlanOptions {
        target: source.target.clone(),
        build_args,
        platform,
        build_platform,
        epoch: environment::source_date_epoch()?,
        labels,
        offline: source.network == NetworkFlag::None,
    })
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

/// Base images from the store; those that were found are kept for the build.
pub(crate) struct StoreBases<'a> {
    session: &'a Session,
    found: RefCell<BTreeMap<Digest, StoredImage>>,
}

impl<'a> StoreBases<'a> {
    pub(crate) fn new(session: &'a Session) -> Self {
        Self { session, found: RefCell::default() }
    }
}

impl Bases for StoreBases<'_> {
    fn base(
        &self,
        reference: &Reference,
        platform: &BuildPlatform,
    ) -> Result<(Digest, ImageConfig), BasesError> {
        let found = rebit_image::find(self.session, reference)
            .map_err(|source| BasesError::Unreadable { source: Box::new(source) })?;
        let image = found.ok_or(BasesError::NotFound)?;
        let config = image.config.value().clone();
        if (&config.os, &config.architecture) != (&platform.os, &platform.architecture) {
            let found = format!("{}/{}", config.os, config.architecture);
            return Err(BasesError::WrongPlatform { found, wanted: platform.to_string() });
        }
        let digest = image.manifest.digest();
        self.found.borrow_mut().insert(digest, image);
        Ok((digest, config))
    }
}

impl Images for StoreBases<'_> {
    fn image(&self, manifest: &Digest) -> Option<StoredImage> {
        self.found.borrow().get(manifest).cloned()
    }
}
