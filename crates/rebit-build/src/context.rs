//! Build contexts: a directory less what `.dockerignore` leaves out, or an archive, as a tree.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rebit_dockerfile::ignore::Ignore;
use rebit_layer::codec::decode::{self, DecodeLimits};
use rebit_layer::tar::read::ReadOptions;
use rebit_layer::{
    Conflict, FileStat, Kind, Metadata, ModePolicy, Node, Report, StatCache, Tree, TreePath, Verdict,
    WalkOptions, Walked, read_layer, walk_directory,
};
use rebit_oci::ObjectId;
use rebit_store::{Session, StatKey};

use crate::error::BuildError;
use crate::op::copy::prune;

/// A build context that is read when a step needs it.
#[derive(Debug)]
pub struct Context {
    /// Where its files are.
    pub root: ContextRoot,
    /// What is left out.
    pub ignore: Ignore,
    /// How modes are taken.
    pub modes: ModePolicy,
}

/// Where the files of a context are.
#[derive(Debug, Clone)]
pub enum ContextRoot {
    /// In a directory.
    Directory(PathBuf),
    /// In the store: the context was an archive or came from git, or there is none.
    Tree(Arc<Tree>),
}

/// Reads an archive as a context: owners, attributes and hard links are not taken, modes as of a directory's files.
///
/// # Errors
/// [`BuildError::Archive`].
pub fn read_archive(
    reader: impl Read + Send,
    session: &Session,
    modes: ModePolicy,
) -> Result<Tree, BuildError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| BuildError::Archive { source };
    let mut plain = decode::open(reader, DecodeLimits::default()).map_err(|error| failed(error.into()))?;
    let read = read_layer(&mut plain, &Tree::new(), session, &ReadOptions::archive());
    let source = read.map_err(|error| failed(error.into()))?.tree;
    let mut tree = Tree::with_root(Metadata::directory(0));
    let neutral = |_: &TreePath, node: &mut Node| {
        let mode = match node.kind {
            Kind::Symlink { .. } => 0o777,
            _ => modes.apply(node.metadata.mode, node.is_directory()),
        };
        node.metadata = Metadata::new(mode, 0);
        node.set_link(0);
        true
    };
    tree.graft(
        &source,
        &TreePath::root(),
        &TreePath::root(),
        &Metadata::directory(0),
        Conflict::Replace,
        neutral,
    )
    .map_err(|error| failed(error.into()))?;
    tree.update_metadata(&TreePath::root(), |metadata| metadata.mode = 0o755);
    Ok(tree)
}

impl Context {
    /// Reads the context. Files that the stat cache knows are not opened.
    pub(crate) fn read(&self, session: &Session, epoch: i64, now: SystemTime) -> Result<Walked, BuildError> {
        let directory = match &self.root {
            ContextRoot::Directory(directory) => directory,
            ContextRoot::Tree(tree) => {
                let mut tree = if self.ignore.is_empty() {
                    Tree::clone(tree)
                } else {
                    let kept = |path: &str| !self.ignore.matches(path);
                    let pruned = prune(tree, &TreePath::root(), kept);
                    pruned.map_err(|problem| BuildError::Archive { source: problem.into() })?.0
                };
                tree.set_mtimes(epoch);
                return Ok(Walked { tree, report: Report::new(), files_read: 0 });
            }
        };
        let filter = |path: &TreePath, directory: bool| self.verdict(path, directory);
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let options =
            WalkOptions { modes: self.modes, epoch, now: i64::try_from(seconds).unwrap_or(i64::MAX) };
        let cache = SessionStatCache { session, now };
        let mut walked = walk_directory(directory, session, &filter, &cache, &options)
            .map_err(|source| BuildError::Context { source })?;
        // The mode of the directory itself is an accident of where the context lies.
        walked.tree.update_metadata(&TreePath::root(), |metadata| metadata.mode = 0o755);
        Ok(walked)
    }

    fn verdict(&self, path: &TreePath, directory: bool) -> Verdict {
        let text = String::from_utf8_lossy(path.as_bytes());
        if !self.ignore.matches(&text) {
            Verdict::Include
        } else if directory && self.ignore.may_include_below(&text) {
            Verdict::Descend
        } else {
            Verdict::Exclude
        }
    }
}

/// The store's stat cache, as the walk asks for it. A failing cache is an empty one.
struct SessionStatCache<'a> {
    session: &'a Session,
    now: SystemTime,
}

fn key(file: &FileStat) -> StatKey {
    StatKey {
        dev: file.dev,
        ino: file.ino,
        size: file.size,
        mtime_ns: file.mtime_ns,
        ctime_ns: file.ctime_ns,
    }
}

impl StatCache for SessionStatCache<'_> {
    fn get_many(&self, files: &[FileStat]) -> Vec<Option<ObjectId>> {
        let keys: Vec<StatKey> = files.iter().map(key).collect();
        let known = self.session.stat_cache_get_many(&keys);
        known.ok().filter(|known| known.len() == files.len()).unwrap_or_else(|| vec![None; files.len()])
    }

    fn put_many(&self, files: &[(FileStat, ObjectId)]) {
        if files.is_empty() {
            return;
        }
        let entries: Vec<(StatKey, ObjectId)> =
            files.iter().map(|(file, object)| (key(file), *object)).collect();
        // A cache that cannot be written costs time, not correctness; the store reports its own troubles where it matters.
        let _ = self.session.stat_cache_put(&entries, self.now);
    }
}

/// What a context holds, for the progress display.
pub(crate) fn size_of(tree: &Tree) -> (u64, u64) {
    (tree.len() as u64 - 1, tree.size())
}
