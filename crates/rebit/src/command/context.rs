//! Where a build context comes from: a directory, an archive, standard input, a URL, a git repository, or a name given by
//! `--build-context`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rebit_build::{ContextRoot, Remote, RemoteError, read_archive};
use rebit_dockerfile::MAX_FILE_BYTES;
use rebit_dockerfile::remote::{GitSource, RemoteSource, redacted};
use rebit_image::provenance::{self, DigestSet};
use rebit_image::transport::{LayoutSource, Offer, Source};
use rebit_image::{ImageError, ImportOptions, Platform, StoredImage};
use rebit_layer::codec::decode::Format;
use rebit_layer::{Kind, ModePolicy, Tree};
use rebit_oci::Digest;
use rebit_oci::object::ObjectSource as _;
use rebit_sandbox::StopFlag;
use rebit_store::Session;

use crate::environment;
use crate::error::{CommandError, ExitKind, hint_of};
use crate::output::say;

/// How contexts are had.
pub(crate) struct Contexts<'a> {
    pub(crate) session: &'a Session,
    pub(crate) remote: &'a Remote<'a>,
    pub(crate) modes: ModePolicy,
    /// Whether `.git` of a repository is kept.
    pub(crate) keep_git_dir: bool,
    pub(crate) stop: &'a StopFlag,
}

/// A context, open.
pub(crate) struct Opened {
    pub(crate) root: ContextRoot,
    /// A Dockerfile that came without a context; the context is empty then.
    pub(crate) dockerfile: Option<String>,
    /// Of a context from git: when the commit was made.
    pub(crate) time: Option<i64>,
    /// Where it came from, when that is not this machine: address and digest.
    pub(crate) origin: Option<(String, DigestSet)>,
}

impl Opened {
    fn root(root: ContextRoot) -> Self {
        Self { root, dockerfile: None, time: None, origin: None }
    }

    fn dockerfile(text: String) -> Self {
        let root = ContextRoot::Tree(Arc::new(Tree::new()));
        Self { root, dockerfile: Some(text), time: None, origin: None }
    }
}

impl Contexts<'_> {
    /// Opens the context.
    pub(crate) fn open(&self, text: &str) -> Result<Opened, CommandError> {
        if text == "-" {
            let mut start = Vec::new();
            let read = io::stdin().lock().take(512).read_to_end(&mut start);
            read.map_err(|error| unreadable("-", &error))?;
            return self.archive_or_dockerfile(start, io::stdin(), "standard input");
        }
        if let Some(opened) = self.open_remote(text)? {
            return Ok(opened);
        }
        let path = PathBuf::from(text);
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() => Ok(Opened::root(ContextRoot::Directory(path))),
            Ok(_) => {
                let file = File::open(&path).map_err(|error| unreadable(text, &error))?;
                let hint = "a context is a directory or a tar archive; `-f FILE` names the Dockerfile";
                Ok(Opened::root(self.archive(file).map_err(|error| error.hint(hint))?))
            }
            Err(error) => Err(unreadable(text, &error)),
        }
    }

    fn open_remote(&self, text: &str) -> Result<Option<Opened>, CommandError> {
        if let Some(rest) = text.strip_prefix("oci-layout:") {
            let what = format!("`oci-layout:{rest}` is an image, and a build context is files");
            return Err(CommandError::message(what).hint("--build-context gives it a name for FROM"));
        }
        // A directory that is there is meant before a repository without a scheme.
        let source = if Path::new(text).exists() {
            RemoteSource::parse(text)
        } else {
            RemoteSource::parse_context(text)
        };
        let source = source.map_err(|error| CommandError::new(&error).with_exit(ExitKind::Usage))?;
        match source {
            None => Ok(None),
            Some(RemoteSource::Git(git)) => self.git(&git).map(Some),
            Some(RemoteSource::Url(url)) => self.url(&url).map(Some),
        }
    }

    fn git(&self, source: &GitSource) -> Result<Opened, CommandError> {
        let keep = source.keep_git_dir.unwrap_or(self.keep_git_dir);
        let found = self
            .remote
            .git(source, source.submodules.unwrap_or(true), keep, &|text| say(text))
            .map_err(|error| self.failure(&error))?;
        let tree = found.subtree(source).map_err(|problem| CommandError::new(&problem))?;
        say(format!("context: commit {} of {source}", found.commit));
        let commit = DigestSet::from([("gitCommit".to_owned(), found.commit)]);
        Ok(Opened {
            root: ContextRoot::Tree(Arc::new(tree)),
            dockerfile: None,
            time: Some(found.time),
            origin: Some((source.to_string(), commit)),
        })
    }

    /// What a URL leads to is an archive when it begins like one, else a Dockerfile.
    fn url(&self, url: &str) -> Result<Opened, CommandError> {
        let file = self.remote.url(url, None, &|text| say(text)).map_err(|error| self.failure(&error))?;
        let shown = redacted(url);
        say(format!("context: {shown} ({})", file.digest));
        let mut content = self.session.open(&file.object)?;
        let mut start = Vec::new();
        let read = content.by_ref().take(512).read_to_end(&mut start);
        read.map_err(|error| unreadable(&shown, &error))?;
        let opened = self.archive_or_dockerfile(start, content, &shown)?;
        Ok(Opened { origin: Some((shown, provenance::sha256(&file.digest))), ..opened })
    }

    fn failure(&self, error: &RemoteError) -> CommandError {
        let text = CommandError::new(error);
        if self.stop.is_stopped() {
            return text.with_exit(ExitKind::Interrupted);
        }
        match hint_of(error) {
            Some(hint) => text.hint(hint),
            None => text,
        }
    }

    fn archive(&self, reader: impl Read + Send) -> Result<ContextRoot, CommandError> {
        let tree = read_archive(reader, self.session, self.modes);
        Ok(ContextRoot::Tree(Arc::new(tree.map_err(|error| CommandError::new(&error))?)))
    }

    /// What comes is an archive when it begins like one, else a Dockerfile.
    fn archive_or_dockerfile(
        &self,
        mut start: Vec<u8>,
        rest: impl Read + Send,
        shown: &str,
    ) -> Result<Opened, CommandError> {
        if Format::sniff(&start) != Format::Plain || start.contains(&0) {
            return Ok(Opened::root(self.archive(io::Cursor::new(start).chain(rest))?));
        }
        let limit = MAX_FILE_BYTES as u64 + 1;
        rest.take(limit).read_to_end(&mut start).map_err(|error| unreadable(shown, &error))?;
        Ok(Opened::dockerfile(self::text(start, shown)?))
    }

    /// Reads `NAME=PLACE`, where the place is a directory, a git repository, the URL of an archive, `docker-image://IMAGE`,
    /// `store:IMAGE` or `oci-layout://DIR[:TAG|@DIGEST]`.
    pub(crate) fn named(&self, flag: &str) -> Result<(String, Named), CommandError> {
        let Some((name, value)) = flag.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(CommandError::usage(format!("`--build-context {flag}` is not NAME=PLACE")));
        };
        for scheme in ["docker-image://", "store:"] {
            if let Some(image) = value.strip_prefix(scheme) {
                super::store_name(image)?;
                return Ok((name.to_owned(), Named::Image(image.to_owned())));
            }
        }
        if let Some(place) = value.strip_prefix("oci-layout:") {
            let place = place.strip_prefix("//").unwrap_or(place);
            return Ok((name.to_owned(), Named::Imported(Box::new(self.layout(place)?))));
        }
        let opened = match self.open_remote(value)? {
            Some(opened) => opened,
            None => {
                let directory = PathBuf::from(value);
                match fs::metadata(&directory) {
                    Ok(found) if found.is_dir() => Opened::root(ContextRoot::Directory(directory)),
                    Ok(_) => {
                        let text = format!("the context `{value}` is not a directory");
                        return Err(CommandError::message(text));
                    }
                    Err(error) => return Err(unreadable(value, &error)),
                }
            }
        };
        if opened.dockerfile.is_some() {
            let text = format!("the context `{}` is neither an archive nor a repository", redacted(value));
            return Err(CommandError::message(text));
        }
        Ok((name.to_owned(), Named::Files(opened)))
    }

    /// Takes the image of a layout into the store, for as long as the build goes on.
    fn layout(&self, place: &str) -> Result<StoredImage, CommandError> {
        let (path, digest) = match place.split_once('@') {
            Some((path, digest)) => (path, Some(digest.parse::<Digest>()?)),
            None => (place, None),
        };
        let (path, tag) = match path.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (path, None),
        };
        let source = LayoutSource::open(Path::new(path), tag)?;
        let platform = environment::native_platform();
        let platform =
            Platform { os: platform.os, architecture: platform.architecture, variant: platform.variant };
        let options = ImportOptions::new(platform, environment::now());
        let image = match digest {
            Some(digest) => rebit_image::import(self.session, &Pinned { source, digest }, &[], &options)?,
            None => rebit_image::import(self.session, &source, &[], &options)?,
        };
        Ok(image)
    }
}

/// A layout of which one manifest or index is meant.
struct Pinned {
    source: LayoutSource,
    digest: Digest,
}

impl Source for Pinned {
    fn place(&self) -> String {
        self.source.place()
    }

    fn offers(&self) -> Result<Vec<Offer>, ImageError> {
        let mut offers = self.source.offers()?;
        offers.retain(|offer| offer.digest == self.digest);
        if offers.is_empty() {
            return Err(ImageError::NotFound { what: format!("image {}", self.digest), place: self.place() });
        }
        Ok(offers)
    }

    fn stat(&self, digest: &Digest) -> Result<Option<u64>, ImageError> {
        self.source.stat(digest)
    }

    fn open(&self, digest: &Digest, size: u64) -> Result<Box<dyn Read + Send + '_>, ImageError> {
        Source::open(&self.source, digest, size)
    }
}

fn unreadable(text: &str, error: &io::Error) -> CommandError {
    CommandError::message(format!("cannot read the context `{text}`: {error}"))
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
        |reason: &str| CommandError::message(format!("cannot read {shown} in the context: {reason}"));
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
    /// Files.
    Files(Opened),
    /// An image of the store.
    Image(String),
    /// An image that was brought along.
    Imported(Box<StoredImage>),
}
