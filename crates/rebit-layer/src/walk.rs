//! A build context read from disk.

use std::path::Path;

use rayon::prelude::*;
use rebit_oci::ObjectId;
use rebit_oci::object::ObjectSink;
use rustix::fs::{FileType, Statx};

use crate::disk::{self, Listing, Root, Seen};
use crate::report::Notice;
use crate::tree::{MAX_DEPTH, MAX_ENTRIES};
use crate::{DiskError, Metadata, Node, Report, Tree, TreePath};

/// What to do with a path of the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Take it; a directory is listed.
    Include,
    /// Leave it out; a directory is not listed.
    Exclude,
    /// Leave a directory itself out but list it: something below may be taken, and brings it back. For
    /// anything else the same as [`Exclude`](Self::Exclude).
    Descend,
}

/// How the modes of context files are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ModePolicy {
    /// Write permission of group and others is removed, so that umask 002 and 022 give the same image. The
    /// default.
    #[default]
    Shared,
    /// All 12 bits as on disk.
    Keep,
    /// 0755 for directories and for files that their owner may execute, 0644 for other files.
    Executable,
}

impl ModePolicy {
    /// The mode that a file or directory of mode `mode` gets.
    #[must_use]
    pub fn apply(self, mode: u32, directory: bool) -> u32 {
        match self {
            Self::Shared => mode & 0o7755,
            Self::Keep => mode & 0o7777,
            Self::Executable if directory || mode & 0o100 != 0 => 0o755,
            Self::Executable => 0o644,
        }
    }
}

/// What identifies the content of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileStat {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Length in bytes.
    pub size: u64,
    /// mtime in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// ctime in nanoseconds since 1970.
    pub ctime_ns: i64,
}

/// Remembers the contents of files by their [`FileStat`].
pub trait StatCache: Sync {
    /// What is known of `files`, in their order. An object returned must be one that the sink holds.
    fn get_many(&self, files: &[FileStat]) -> Vec<Option<ObjectId>>;

    /// Remembers contents. Failing to is no error: it is only a cache.
    fn put_many(&self, files: &[(FileStat, ObjectId)]);
}

/// Remembers nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCache;

impl StatCache for NoCache {
    fn get_many(&self, files: &[FileStat]) -> Vec<Option<ObjectId>> {
        vec![None; files.len()]
    }

    fn put_many(&self, _files: &[(FileStat, ObjectId)]) {}
}

/// How a context is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WalkOptions {
    /// How modes are taken.
    pub modes: ModePolicy,
    /// mtime of every node, in seconds since 1970.
    pub epoch: i64,
    /// The present time in seconds since 1970: a file changed in the last two seconds is not put into the
    /// stat cache, because it may change again without its times telling. 0 puts nothing.
    pub now: i64,
}

/// A context that was read.
#[derive(Debug, Clone)]
pub struct Walked {
    /// What was taken.
    pub tree: Tree,
    /// What was left out for another reason than the filter.
    pub report: Report,
    /// How many files were read, the others being known to the stat cache.
    pub files_read: u64,
}

/// Reads the directory `directory` as a build context.
///
/// `filter` is asked about every path but the root, with whether it is a directory; what it excludes is
/// not looked at further. Files are read in parallel on rayon's pool, large ones as a stream, unless
/// `cache` knows them. Owners become 0:0, times the epoch, modes what the policy says; hard links and
/// extended attributes are not kept. Symbolic links are taken as they are, never followed; sockets are
/// skipped and reported.
///
/// # Errors
/// [`DiskError`] naming the path; [`DiskError::Changed`] when a file is written to meanwhile.
pub fn walk_directory(
    directory: &Path,
    sink: &dyn ObjectSink,
    filter: &dyn Fn(&TreePath, bool) -> Verdict,
    cache: &dyn StatCache,
    options: &WalkOptions,
) -> Result<Walked, DiskError> {
    let root = Root::open(directory)?;
    let stat = disk::stat_open(root.directory(&TreePath::root())?)
        .map_err(|error| DiskError::io("look at", &TreePath::root(), error))?;
    let mut visit = Visit { root: &root, filter, batches: Vec::new(), passed: Vec::new(), count: 0 };
    visit.directory(&TreePath::root())?;
    let looked: Vec<Vec<Looked>> =
        visit.batches.par_iter().map(|batch| look(&root, batch)).collect::<Result<_, DiskError>>()?;

    let mut tree = Tree::with_root(metadata(options, &stat, true));
    let mut report = Report::new();
    let mut files = Vec::new();
    for Looked { path, stat, seen } in looked.into_iter().flatten() {
        match seen {
            Seen::Socket => report.add(Notice::Socket, &path),
            Seen::Directory => insert(&mut tree, path, Node::directory(metadata(options, &stat, true)))?,
            Seen::File => {
                let metadata = metadata(options, &stat, false);
                files.push(Waiting { path, stat: disk::file_stat(&stat), metadata });
            }
            Seen::Other(kind) => {
                insert(&mut tree, path, Node { metadata: metadata(options, &stat, false), kind })?;
            }
        }
    }

    let stats: Vec<FileStat> = files.iter().map(|file| file.stat).collect();
    let known = cache.get_many(&stats);
    let objects: Vec<(ObjectId, bool)> = files
        .par_iter()
        .enumerate()
        .map(|(at, file)| match known.get(at).copied().flatten() {
            Some(object) => Ok((object, false)),
            None => Ok((disk::keep_file(&root, &file.path, &file.stat, sink)?, true)),
        })
        .collect::<Result<_, DiskError>>()?;

    let settled = options.now.saturating_sub(2).saturating_mul(1_000_000_000);
    let learnt: Vec<(FileStat, ObjectId)> = stats
        .iter()
        .zip(&objects)
        .filter(|(stat, (_, read))| *read && stat.mtime_ns.max(stat.ctime_ns) < settled)
        .map(|(stat, (object, _))| (*stat, *object))
        .collect();
    cache.put_many(&learnt);

    let files_read = objects.iter().filter(|(_, read)| *read).count() as u64;
    for (file, (object, _)) in files.into_iter().zip(objects) {
        insert(&mut tree, file.path, Node::file(file.metadata, object, file.stat.size))?;
    }
    Ok(Walked { tree, report, files_read })
}

fn metadata(options: &WalkOptions, stat: &Statx, directory: bool) -> Metadata {
    Metadata::new(options.modes.apply(u32::from(stat.stx_mode), directory), options.epoch)
}

fn insert(tree: &mut Tree, path: TreePath, node: Node) -> Result<(), DiskError> {
    let at = path.clone();
    tree.insert(path, node, &Metadata::default()).map_err(|source| DiskError::Insert { path: at, source })
}

/// A file whose content is still to be found out.
struct Waiting {
    path: TreePath,
    stat: FileStat,
    metadata: Metadata,
}

/// Names to be taken from one directory, each with whether it was listed as a directory.
struct Batch {
    directory: TreePath,
    names: Vec<(Vec<u8>, bool)>,
}

/// An entry with its status.
struct Looked {
    path: TreePath,
    stat: Statx,
    seen: Seen,
}

/// The second pass, which runs in parallel: the status of what is taken.
fn look(root: &Root, batch: &Batch) -> Result<Vec<Looked>, DiskError> {
    let fd = root.directory(&batch.directory)?;
    let names = batch.names.iter();
    names
        .map(|(name, listed_as_directory)| {
            let path = join(&batch.directory, name)?;
            let stat = disk::stat(&fd, name).map_err(|error| DiskError::io("look at", &path, error))?;
            let seen = disk::seen(&fd, name, &stat, &path)?;
            if matches!(seen, Seen::Directory) != *listed_as_directory {
                return Err(DiskError::Changed { path });
            }
            Ok(Looked { path, stat, seen })
        })
        .collect()
}

fn join(directory: &TreePath, name: &[u8]) -> Result<TreePath, DiskError> {
    directory.join(name).map_err(|source| DiskError::Name { directory: directory.clone(), source })
}

/// The first pass: the names, and what the filter says to them.
struct Visit<'a> {
    root: &'a Root,
    filter: &'a dyn Fn(&TreePath, bool) -> Verdict,
    batches: Vec<Batch>,
    /// Directories passed through on the way here that nothing has brought in yet, each with the one it is
    /// in.
    passed: Vec<(TreePath, Vec<u8>)>,
    count: usize,
}

impl Visit<'_> {
    fn directory(&mut self, directory: &TreePath) -> Result<(), DiskError> {
        if directory.depth() >= MAX_DEPTH {
            return Err(DiskError::Limit { what: "levels", limit: MAX_DEPTH });
        }
        let Listing { fd, entries } = self.root.list(directory)?;
        let batch = self.batches.len();
        self.batches.push(Batch { directory: directory.clone(), names: Vec::new() });
        for (name, kind) in entries {
            let path = join(directory, &name)?;
            let is_directory = match kind {
                FileType::Unknown => {
                    let stat = disk::stat(&fd, &name);
                    let stat = stat.map_err(|error| DiskError::io("look at", &path, error))?;
                    FileType::from_raw_mode(u32::from(stat.stx_mode)).is_dir()
                }
                kind => kind.is_dir(),
            };
            match (self.filter)(&path, is_directory) {
                Verdict::Exclude => {}
                Verdict::Descend if !is_directory => {}
                Verdict::Descend => {
                    self.passed.push((directory.clone(), name));
                    let depth = self.passed.len();
                    self.directory(&path)?;
                    // It is still there unless something below brought it in.
                    if self.passed.len() == depth {
                        self.passed.pop();
                    }
                }
                Verdict::Include => {
                    // A socket is not taken, so it brings nothing in.
                    if kind != FileType::Socket {
                        self.bring_in();
                    }
                    self.count += 1;
                    if self.count >= MAX_ENTRIES {
                        return Err(DiskError::Limit { what: "entries", limit: MAX_ENTRIES });
                    }
                    if let Some(batch) = self.batches.get_mut(batch) {
                        batch.names.push((name, is_directory));
                    }
                    if is_directory {
                        self.directory(&path)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn bring_in(&mut self) {
        for (directory, name) in self.passed.drain(..) {
            self.count += 1;
            self.batches.push(Batch { directory, names: vec![(name, true)] });
        }
    }
}

#[cfg(test)]
mod tests;
