//! Where a build context comes from: a directory, an archive, standard input, or a name given by `--build-context`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rebit_build::plan::NamedContext;
use rebit_build::{ContextRoot, read_archive};
use rebit_dockerfile::MAX_FILE_BYTES;
use rebit_layer::{Kind, ModePolicy, Tree};
use rebit_oci::object::ObjectSource as _;
use rebit_store::Session;

use crate::error::CommandError;

/// Opens the context. A Dockerfile on standard input (`-`) comes without a context, and is returned beside an empty one.
pub(crate) fn open(
    text: &str,
    session: &Session,
    modes: ModePolicy,
) -> Result<(ContextRoot, Option<String>), CommandError> {
    if text == "-" {
        return from_stdin(session, modes);
    }
    refuse_remote(text)?;
    let path = PathBuf::from(text);
    match fs::metadata(&path) {
        Ok(found) if found.is_dir() => Ok((ContextRoot::Directory(path), None)),
        Ok(_) => {
            let file = File::open(&path).map_err(|error| unreadable(text, &error))?;
            let hint = "a context is a directory or a tar archive; `-f FILE` names the Dockerfile";
            Ok((archive(file, session, modes).map_err(|error| error.hint(hint))?, None))
        }
        Err(error) => Err(unreadable(text, &error)),
    }
}

fn unreadable(text: &str, error: &io::Error) -> CommandError {
    CommandError::message(format!("cannot read the context `{text}`: {error}"))
}

fn refuse_remote(text: &str) -> Result<(), CommandError> {
    let remote = ["http://", "https://", "git://", "ssh://", "git@", "oci-layout:"];
    if remote.iter().any(|scheme| text.starts_with(scheme)) {
        return Err(CommandError::message(format!("a context from `{text}` is not supported"))
            .hint("a directory, an archive, `-`, and for named contexts docker-image://NAME are"));
    }
    Ok(())
}

fn archive(
    reader: impl Read + Send,
    session: &Session,
    modes: ModePolicy,
) -> Result<ContextRoot, CommandError> {
    let tree = read_archive(reader, session, modes).map_err(|error| CommandError::new(&error))?;
    Ok(ContextRoot::Tree(Arc::new(tree)))
}

/// What comes is an archive when it begins like one, else a Dockerfile.
fn from_stdin(session: &Session, modes: ModePolicy) -> Result<(ContextRoot, Option<String>), CommandError> {
    let mut start = Vec::new();
    let mut input = io::stdin().lock();
    input.by_ref().take(512).read_to_end(&mut start).map_err(|error| unreadable("-", &error))?;
    let compressed =
        rebit_layer::codec::decode::Format::sniff(&start) != rebit_layer::codec::decode::Format::Plain;
    if compressed || start.contains(&0) {
        drop(input);
        return Ok((archive(io::Cursor::new(start).chain(io::stdin()), session, modes)?, None));
    }
    let limit = MAX_FILE_BYTES as u64 + 1;
    input.take(limit).read_to_end(&mut start).map_err(|error| unreadable("-", &error))?;
    Ok((ContextRoot::Tree(Arc::new(Tree::new())), Some(self::text(start, "standard input")?)))
}

/// A file of a context that is in the store, as text.
pub(crate) fn file_of(
    tree: &Tree,
    name: &Path,
    session: &Session,
    limit: u64,
) -> Result<String, CommandError> {
    let shown = format!("`{}`", name.display());
    let failed =
        |reason: &str| CommandError::message(format!("cannot read the Dockerfile {shown}: {reason}"));
    let path = name.to_str().ok_or_else(|| failed("its name is not UTF-8"))?;
    let found = tree.resolve(path, true).map_err(|error| failed(&error.to_string()))?;
    match tree.get(&found).map(|node| &node.kind) {
        Some(Kind::File { object, size, .. }) if *size < limit => {
            text(session.read(object)?.to_vec(), &shown)
        }
        Some(Kind::File { .. }) => Err(failed("it is too large")),
        _ => Err(failed("the context has no such file")),
    }
}

/// Bytes of a Dockerfile as text.
pub(crate) fn text(bytes: Vec<u8>, shown: &str) -> Result<String, CommandError> {
    String::from_utf8(bytes)
        .map_err(|_| CommandError::message(format!("the Dockerfile {shown} is not UTF-8 text")))
}

/// What a `--build-context` names.
pub(crate) enum Named {
    Directory(PathBuf),
    Image(String),
}

impl Named {
    /// What the planner has to know of it.
    pub(crate) fn meaning(self) -> NamedContext {
        match self {
            Self::Directory(_) => NamedContext::Files,
            Self::Image(name) => NamedContext::Image(name),
        }
    }
}

/// Reads `NAME=DIRECTORY`, `NAME=docker-image://IMAGE` or `NAME=store:IMAGE`.
pub(crate) fn named(flag: &str) -> Result<(String, Named), CommandError> {
    let Some((name, value)) = flag.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        return Err(CommandError::usage(format!("`--build-context {flag}` is not NAME=PLACE")));
    };
    for scheme in ["docker-image://", "store:"] {
        if let Some(image) = value.strip_prefix(scheme) {
            super::store_name(image)?;
            return Ok((name.to_owned(), Named::Image(image.to_owned())));
        }
    }
    refuse_remote(value)?;
    let directory = PathBuf::from(value);
    match fs::metadata(&directory) {
        Ok(found) if found.is_dir() => Ok((name.to_owned(), Named::Directory(directory))),
        Ok(_) => Err(CommandError::message(format!("the context `{value}` is not a directory"))),
        Err(error) => Err(unreadable(value, &error)),
    }
}
