//! Archives of caches: what `RUN --mount=type=cache` keeps, carried from one store to another.
//!
//! An archive is a tar (`docs/format/cache-archive.md`), compressed with zstd or not. It is a function of what the caches hold,
//! times in seconds included. Of a cache that is brought in, all that was there is replaced.

use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rebit_layer::codec::{self, decode, decode::DecodeLimits};
use rebit_layer::tar::read::{ReadError, ReadOptions};
use rebit_layer::tree::{GraftError, InsertError};
use rebit_layer::{
    Changeset, CheckoutOptions, Conflict, DiskError, EncodeError, Kind, Metadata, Node, PathError, Report,
    Tree, TreePath, Whiteouts, checkout, read_layer, upper_tree, write_tar,
};
use rebit_oci::ObjectId;
use rebit_oci::manifest::Compression;
use rebit_oci::object::{ObjectError, ObjectSource as _};
use rebit_store::{Session, Store, StoreError};
use serde::{Deserialize, Serialize};

mod files;

use files::{Files, Naming, Spool};

/// The file of an archive that says what is in it.
const LIST: &str = "caches.json";
const FORMAT: &str = "rebit-caches";
/// Most bytes of that file.
const MAX_LIST: u64 = 4 << 20;
/// How much is compressed at once.
const FRAME: usize = 4 << 20;

/// What an archive says is in it.
#[derive(Debug, Serialize, Deserialize)]
struct List {
    format: String,
    version: u32,
    caches: Vec<Listed>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    name: String,
    /// The cache's directories in the archive: `N/0`, `N/1`, where N is the place in the list.
    directories: u32,
}

/// Why caches were not written to an archive or not read from one.
#[derive(Debug, thiserror::Error)]
pub enum CacheArchiveError {
    /// The store cannot do it.
    #[error("cannot use the caches of the store")]
    Store(#[from] StoreError),
    /// A directory of a cache cannot be read or written.
    #[error("cannot use the directory of cache `{cache}`")]
    Directory {
        /// The cache.
        cache: String,
        /// The cause.
        source: DiskError,
    },
    /// The archive cannot be written.
    #[error("cannot write the archive")]
    Encode(#[from] EncodeError),
    /// The archive cannot be written.
    #[error("cannot write the archive")]
    Output(#[source] io::Error),
    /// The archive cannot be read.
    #[error("cannot read the archive")]
    Input(#[source] io::Error),
    /// The archive is not a valid tar, or takes more than the limits allow.
    #[error("cannot read the archive")]
    Read(#[from] ReadError),
    /// The archive is no archive of caches, or does not hold what it says.
    #[error("the archive is not one of caches: {reason}")]
    NotCaches {
        /// What is wrong.
        reason: String,
    },
    /// A newer program wrote the archive.
    #[error("version {version} of the archive's format is not supported")]
    Version {
        /// The version.
        version: u32,
    },
    /// An entry that a cache cannot hold.
    #[error("cache `{cache}` cannot hold `{path}`: it is a device")]
    Device {
        /// The cache.
        cache: String,
        /// The entry.
        path: TreePath,
    },
    /// A path is too long.
    #[error("a path of the archive is not valid")]
    Path(#[from] PathError),
    /// The archive's tree cannot be made.
    #[error("cannot put the archive together")]
    Insert(#[from] InsertError),
    /// The archive's tree cannot be taken apart.
    #[error("cannot take the archive apart")]
    Graft(#[from] GraftError),
    /// The archive's list cannot be read.
    #[error("cannot read the archive's list")]
    Object(#[from] ObjectError),
}

/// What was carried.
#[derive(Debug, Default)]
pub struct Carried {
    /// The caches in the archive and the bytes of their files.
    pub caches: Vec<(String, u64)>,
    /// Those left out because a build uses them.
    pub in_use: Vec<String>,
    /// What of their files could not be carried.
    pub report: Report,
}

/// Writes caches to an archive: those of these names, or all.
///
/// The caches are held meanwhile: builds that need them wait or get a private one.
///
/// # Errors
/// [`CacheArchiveError`]; what was written before an error is no archive.
pub fn export_caches(
    store: &Store,
    names: &[String],
    compression: Compression,
    out: &mut dyn Write,
) -> Result<Carried, CacheArchiveError> {
    let mut carried = Carried::default();
    let mut list = List { format: FORMAT.to_owned(), version: 1, caches: Vec::new() };
    let (mut tree, mut files, mut held) = (Tree::new(), Files::default(), Vec::new());
    for name in names {
        let Some(cache) = store.hold_cache(name)? else {
            carried.in_use.push(name.clone());
            continue;
        };
        let mut bytes = 0;
        let number = list.caches.len();
        let directories = cache.directories();
        for (directory, (_, path)) in directories.iter().enumerate() {
            let content = read_directory(name, path, &mut carried.report)?;
            for (file, node) in content.iter() {
                if let Kind::File { object, size, .. } = &node.kind {
                    files.paths.insert(*object, on_disk(path, file));
                    bytes += size;
                }
            }
            let to = TreePath::parse(format!("{number}/{directory}"))?;
            let keep = |_: &TreePath, _: &mut Node| true;
            let parents = Metadata::directory(0);
            tree.graft(&content, &TreePath::root(), &to, &parents, Conflict::Refuse, keep)?;
        }
        let directories = u32::try_from(directories.len()).unwrap_or(u32::MAX);
        list.caches.push(Listed { name: name.clone(), directories });
        carried.caches.push((name.clone(), bytes));
        held.push(cache);
    }
    let text = serde_json::to_vec_pretty(&list).map_err(|error| CacheArchiveError::Output(error.into()))?;
    let (object, size) = (ObjectId::of(&text), text.len() as u64);
    files.small.insert(object, text.into());
    let node = Node::file(Metadata::new(0o644, 0), object, size);
    tree.insert(TreePath::parse(LIST)?, node, &Metadata::directory(0))?;
    let mut frames = Frames { compression, plain: Vec::new(), out };
    let report = write_tar(&Changeset::full(&tree), &files, None, &mut frames)?;
    frames.end().map_err(CacheArchiveError::Output)?;
    carried.report.merge(report);
    Ok(carried)
}

/// A directory of a cache as it is, times included.
fn read_directory(cache: &str, path: &Path, report: &mut Report) -> Result<Tree, CacheArchiveError> {
    let failed = |source| CacheArchiveError::Directory { cache: cache.to_owned(), source };
    let mut tree = upper_tree(&Tree::new(), path, &Naming, 0, report).map_err(failed)?;
    let paths: Vec<TreePath> = tree.iter().map(|(path, _)| path.clone()).collect();
    for entry in paths {
        // Nobody else uses the cache: what the walk found is still there.
        let found = std::fs::symlink_metadata(on_disk(path, &entry));
        let mtime = found.map_err(CacheArchiveError::Input)?.mtime();
        tree.update_metadata(&entry, |metadata| metadata.mtime = mtime);
    }
    Ok(tree)
}

fn on_disk(directory: &Path, path: &TreePath) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    if path.is_root() {
        return directory.to_owned();
    }
    directory.join(std::ffi::OsStr::from_bytes(path.as_bytes()))
}

/// A writer that compresses one frame after the other, each on its own.
struct Frames<'a> {
    compression: Compression,
    plain: Vec<u8>,
    out: &'a mut dyn Write,
}

impl Frames<'_> {
    fn end(mut self) -> io::Result<()> {
        self.frame()?;
        self.out.flush()
    }

    fn frame(&mut self) -> io::Result<()> {
        if !self.plain.is_empty() {
            self.out.write_all(&codec::encode_segment(self.compression, &self.plain)?)?;
            self.plain.clear();
        }
        Ok(())
    }
}

impl Write for Frames<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(FRAME - self.plain.len());
        self.plain.extend_from_slice(&bytes[..count]);
        if self.plain.len() == FRAME {
            self.frame()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Brings the caches of an archive in. What a cache of the same name held is replaced; one in use is left as it is.
///
/// The archive is read whole, and every name and link resolved inside it, before anything is written for builds to see.
///
/// # Errors
/// [`CacheArchiveError`]; the caches before the one that failed are in.
pub fn import_caches(
    session: &Session,
    reader: impl Read + Send,
    now: SystemTime,
) -> Result<Carried, CacheArchiveError> {
    let scratch = session.scratch_dir("archive")?;
    let spool = Spool::new(scratch.path());
    let mut plain = decode::open(reader, DecodeLimits::default()).map_err(CacheArchiveError::Input)?;
    let read = read_layer(&mut plain, &Tree::new(), &spool, &ReadOptions::archive())?;
    let mut carried = Carried { report: read.report, ..Carried::default() };
    let list = read_list(&read.tree, &spool)?;
    for (number, listed) in list.caches.iter().enumerate() {
        let mut trees = Vec::new();
        for directory in 0..listed.directories {
            trees.push(part(&read.tree, &listed.name, &format!("{number}/{directory}"))?);
        }
        let Some(held) = session.take_cache(&listed.name, now)? else {
            carried.in_use.push(listed.name.clone());
            continue;
        };
        session.check_space(trees.iter().map(Tree::size).sum())?;
        let mut made = Vec::new();
        for tree in &trees {
            let directory = session.scratch_dir("cache")?;
            let failed = |source| CacheArchiveError::Directory { cache: listed.name.clone(), source };
            let target = directory.path().join("fs");
            std::fs::create_dir(&target).map_err(CacheArchiveError::Output)?;
            let options = CheckoutOptions {
                whiteouts: Whiteouts::Plain,
                allow_missing_devices: false,
                allow_other_owner: true,
            };
            let written = checkout(&Changeset::full(tree), &target, &spool, &options).map_err(failed)?;
            carried.report.merge(written.report);
            made.push(directory);
        }
        held.replace(made)?;
        carried.caches.push((listed.name.clone(), trees.iter().map(Tree::size).sum()));
    }
    Ok(carried)
}

fn read_list(tree: &Tree, spool: &Spool<'_>) -> Result<List, CacheArchiveError> {
    let wrong = |reason: String| CacheArchiveError::NotCaches { reason };
    let node = tree.get(&TreePath::parse(LIST)?);
    let Some(Kind::File { object, size, .. }) = node.map(|node| &node.kind) else {
        return Err(wrong(format!("it has no `{LIST}`")));
    };
    if *size > MAX_LIST {
        return Err(wrong(format!("its `{LIST}` is larger than {MAX_LIST} bytes")));
    }
    let list: List = serde_json::from_slice(&spool.read(object)?)
        .map_err(|error| wrong(format!("its `{LIST}` is not valid: {error}")))?;
    if list.format != FORMAT {
        return Err(wrong(format!("its format is `{}`", list.format)));
    }
    if list.version != 1 {
        return Err(CacheArchiveError::Version { version: list.version });
    }
    Ok(list)
}

/// The directory `from` of the archive as a tree of its own.
fn part(archive: &Tree, cache: &str, from: &str) -> Result<Tree, CacheArchiveError> {
    let path = TreePath::parse(from)?;
    if !archive.is_directory(&path) {
        return Err(CacheArchiveError::NotCaches { reason: format!("it has no directory `{from}`") });
    }
    let mut tree = Tree::new();
    let keep = |_: &TreePath, _: &mut Node| true;
    tree.graft(archive, &path, &TreePath::root(), &Metadata::directory(0), Conflict::Refuse, keep)?;
    let device =
        tree.iter().find(|(_, node)| matches!(node.kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. }));
    match device {
        Some((path, _)) => Err(CacheArchiveError::Device { cache: cache.to_owned(), path: path.clone() }),
        None => Ok(tree),
    }
}

#[cfg(test)]
mod tests;
