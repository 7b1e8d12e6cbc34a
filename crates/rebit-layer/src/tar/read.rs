//! Reading a layer, or any other tar archive, onto a tree.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rebit_oci::ObjectId;
use rebit_oci::object::{ObjectError, ObjectSink};

use super::stream::{Meta, Stream};
use super::write::WHITEOUT_PREFIX;
use crate::path::shown;
use crate::report::Notice;
use crate::tree::object::valid_target;
use crate::{Kind, Metadata, Node, PathError, Report, ResolveError, Tree, TreePath, xattr};

/// The name that hides everything the layers below have in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What an archive may cost at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most entries.
    pub entries: u64,
    /// Largest file in bytes.
    pub file_size: u64,
    /// Most bytes of all files together.
    pub total_size: u64,
    /// Largest extension header (pax records, GNU long names) in bytes.
    pub extension_size: u64,
}

impl Default for Limits {
    /// 4 M entries, 1 TiB for a file and for all, 1 MiB for an extension header.
    fn default() -> Self {
        Self { entries: 4 << 20, file_size: 1 << 40, total_size: 1 << 40, extension_size: 1 << 20 }
    }
}

/// How an archive is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOptions {
    /// Whether `.wh.` names remove (a layer) or are names like any other (an archive).
    pub whiteouts: bool,
    /// Limits.
    pub limits: Limits,
}

impl ReadOptions {
    /// An image layer: whiteouts count; default limits.
    #[must_use]
    pub fn layer() -> Self {
        Self { whiteouts: true, limits: Limits::default() }
    }

    /// Any archive: names are taken literally; default limits.
    #[must_use]
    pub fn archive() -> Self {
        Self { whiteouts: false, limits: Limits::default() }
    }
}

/// An archive that was read.
#[derive(Debug, Clone)]
pub struct ImportedLayer {
    /// The lower tree with the archive applied.
    pub tree: Tree,
    /// What was ignored or dropped.
    pub report: Report,
}

/// Why an archive was not read. `entry` is the entry's name, lossy and cut to 200 bytes.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stream ends in the middle of something.
    #[error("the archive ends in the middle of `{entry}`")]
    Truncated {
        /// The entry, empty before the first name was seen.
        entry: String,
    },
    /// A header or extension is not valid.
    #[error("entry `{entry}` is malformed: {reason}")]
    Malformed {
        /// The entry, or the one before it.
        entry: String,
        /// What is wrong.
        reason: String,
    },
    /// The entry uses a feature that is not read.
    #[error("entry `{entry}` is not supported: {feature}")]
    Unsupported {
        /// The entry.
        entry: String,
        /// The feature.
        feature: String,
    },
    /// The name or a link target is not a path inside the root.
    #[error("entry `{entry}` has a name or target that is not valid")]
    Path {
        /// The entry.
        entry: String,
        /// What is wrong.
        source: PathError,
    },
    /// The directory of the entry does not resolve.
    #[error("entry `{entry}` has no place in the tree")]
    Resolve {
        /// The entry.
        entry: String,
        /// What is wrong.
        source: ResolveError,
    },
    /// A hard link names something that is not there or is not a file.
    #[error("entry `{entry}` is a hard link to `{target}`, which is not a file of the tree")]
    LinkTarget {
        /// The entry.
        entry: String,
        /// What it links to.
        target: String,
    },
    /// There is more than the limits allow.
    #[error("entry `{entry}`: {what} above the limit of {limit}")]
    Limit {
        /// The entry.
        entry: String,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The stream could not be read.
    #[error("cannot read the archive at entry `{entry}`")]
    Io {
        /// The entry, or the one before it.
        entry: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A content could not be kept.
    #[error("cannot keep the content of entry `{entry}`")]
    Object {
        /// The entry.
        entry: String,
        /// The cause.
        source: ObjectError,
    },
}

/// Files up to this size are kept by worker threads while the archive is read on.
const SMALL: u64 = 1 << 20;
/// Bytes of small files that may wait for the workers.
const WAITING: u64 = 16 << 20;

/// Applies the archive that `reader` yields, decompressed, to `lower`.
///
/// The archive may be ustar, GNU or pax; long names, large numbers, hard links, sparse files and
/// `SCHILY.xattr` records are understood. An entry replaces what its path holds, except that a directory
/// over a directory only changes its metadata; a later entry wins over an earlier one. The directory of an entry is resolved inside
/// the root, symbolic links followed, and made when it is missing. With [`ReadOptions::whiteouts`], `.wh.NAME` hides what
/// `lower` has there and `.wh..wh..opq` what it has in the directory; neither touches what the archive itself
/// brought. A hard link shares the file with its target, whatever its own header says. The stream is read to its end.
///
/// # Errors
/// [`ReadError`] naming the entry.
pub fn read_layer(
    reader: &mut dyn Read,
    lower: &Tree,
    sink: &dyn ObjectSink,
    options: &ReadOptions,
) -> Result<ImportedLayer, ReadError> {
    let failed: Mutex<Option<(String, ObjectError)>> = Mutex::new(None);
    let waiting = AtomicU64::new(0);
    let mut apply = Apply {
        tree: lower.clone(),
        report: Report::new(),
        touched: BTreeSet::new(),
        whiteouts: options.whiteouts,
        last_parent: None,
    };
    rayon::in_place_scope(|scope| {
        let mut stream = Stream::new(reader, options.limits);
        let mut total = 0_u64;
        while let Some(meta) = stream.next()? {
            total = total.saturating_add(if is_file(meta.type_flag) { meta.size } else { 0 });
            if total > options.limits.total_size {
                return Err(stream.limit("bytes of all files", options.limits.total_size));
            }
            let Some(path) = apply.place(&meta)? else { continue };
            let content = if !is_file(meta.type_flag) {
                None
            } else if meta.size > SMALL {
                Some(large(&mut stream, &meta, sink)?)
            } else {
                let content = small(&mut stream, &meta)?;
                let object = ObjectId::of(&content);
                let size = content.len() as u64;
                let entry = stream.name();
                let (failed, waiting) = (&failed, &waiting);
                let keep = move || {
                    if let Err(error) = sink.put(&content, &[]) {
                        lock(failed).get_or_insert((entry, error));
                    }
                };
                // When the workers are behind, this thread does the work instead of waiting for them.
                if waiting.load(Ordering::Relaxed) + size > WAITING {
                    keep();
                } else {
                    waiting.fetch_add(size, Ordering::Relaxed);
                    scope.spawn(move |_| {
                        keep();
                        waiting.fetch_sub(size, Ordering::Relaxed);
                    });
                }
                Some((object, size))
            };
            if let Some((entry, source)) = lock(&failed).take() {
                return Err(ReadError::Object { entry, source });
            }
            apply.entry(path, meta, content)?;
        }
        Ok(())
    })?;
    if let Some((entry, source)) = lock(&failed).take() {
        return Err(ReadError::Object { entry, source });
    }
    Ok(ImportedLayer { tree: apply.tree, report: apply.report })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_file(type_flag: u8) -> bool {
    matches!(type_flag, b'0' | 0 | b'7')
}

fn small(stream: &mut Stream<'_>, meta: &Meta) -> Result<Vec<u8>, ReadError> {
    let mut content = Vec::with_capacity(usize::try_from(meta.size).unwrap_or(0));
    let read = stream.body(meta).read_to_end(&mut content);
    read.map_err(|source| body_error(stream.name(), source))?;
    Ok(content)
}

fn large(stream: &mut Stream<'_>, meta: &Meta, sink: &dyn ObjectSink) -> Result<(ObjectId, u64), ReadError> {
    let mut body = Remembering { inner: stream.body(meta), error: None };
    let kept = sink.put_reader(&mut body);
    let error = body.error.take();
    let entry = stream.name();
    // What the archive did wrong says more than what the sink made of it.
    match (error, kept) {
        (Some(source), _) => Err(body_error(entry, source)),
        (None, Ok(kept)) if kept.1 == meta.size => Ok(kept),
        (None, Ok(_)) => Err(ReadError::Truncated { entry }),
        (None, Err(source)) => Err(ReadError::Object { entry, source }),
    }
}

fn body_error(entry: String, source: io::Error) -> ReadError {
    if source.kind() == io::ErrorKind::UnexpectedEof && source.get_ref().is_none() {
        ReadError::Truncated { entry }
    } else {
        ReadError::Io { entry, source }
    }
}

/// Keeps the error of a reader that somebody else reads from.
struct Remembering<R> {
    inner: R,
    error: Option<io::Error>,
}

impl<R: Read> Read for Remembering<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.error = Some(error);
            }
            kind.into()
        })
    }
}

/// The tree while an archive is applied to it.
struct Apply {
    tree: Tree,
    report: Report,
    /// What the archive itself put there.
    touched: BTreeSet<TreePath>,
    whiteouts: bool,
    /// The directory of the last entry, as written and as resolved: entries of a directory come together.
    last_parent: Option<(TreePath, TreePath)>,
}

impl Apply {
    /// Where the entry goes; `None` when it is done with, or not one to be put anywhere.
    fn place(&mut self, meta: &Meta) -> Result<Option<TreePath>, ReadError> {
        let entry = || shown(&meta.path);
        if let Some(path) = self.whiteout(meta)? {
            return Ok(path);
        }
        let named =
            TreePath::normalise(&meta.path).map_err(|source| ReadError::Path { entry: entry(), source })?;
        if !matches!(meta.type_flag, 0 | b'0'..=b'7') {
            self.report.add(Notice::EntryType(meta.type_flag), &named);
            return Ok(None);
        }
        if named.is_root() {
            if meta.type_flag != b'5' {
                return Err(ReadError::Malformed {
                    entry: entry(),
                    reason: "the root is not a directory".into(),
                });
            }
            return Ok(Some(named));
        }
        self.resolved(&named, &meta.path).map(Some)
    }

    /// `path` with its directory resolved inside the root.
    fn resolved(&mut self, path: &TreePath, name: &[u8]) -> Result<TreePath, ReadError> {
        let parent = path.parent().unwrap_or_else(TreePath::root);
        let resolved = match &self.last_parent {
            Some((written, resolved)) if *written == parent => resolved.clone(),
            _ => {
                let error = |source| ReadError::Resolve { entry: shown(name), source };
                let resolved = self.tree.resolve(&parent, true).map_err(error)?;
                if self.tree.get(&resolved).is_some_and(|node| !node.is_directory()) {
                    let path = shown(name);
                    return Err(error(ResolveError::NotDirectory { at: resolved, path }));
                }
                self.last_parent = Some((parent, resolved.clone()));
                resolved
            }
        };
        let last = path.file_name().unwrap_or_default();
        resolved.join(last).map_err(|source| ReadError::Path { entry: shown(name), source })
    }

    /// Does what a whiteout says. `None` when the entry is none, `Some(None)` when it is done with.
    fn whiteout(&mut self, meta: &Meta) -> Result<Option<Option<TreePath>>, ReadError> {
        if !self.whiteouts {
            return Ok(None);
        }
        let end = meta.path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        let trimmed = meta.path.get(..end).unwrap_or_default();
        let start = trimmed.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let (parent, name) = trimmed.split_at_checked(start).unwrap_or((&[], trimmed));
        let Some(hidden) = name.strip_prefix(WHITEOUT_PREFIX) else { return Ok(None) };
        let path_error = |source| ReadError::Path { entry: shown(&meta.path), source };
        let parent = TreePath::normalise(parent).map_err(path_error)?;
        if name == OPAQUE {
            // Resolved as the directory of an entry in it would be.
            let inside = self.resolved(&parent.join(b"x").map_err(path_error)?, &meta.path)?;
            self.hide(&inside.parent().unwrap_or(parent), false);
        } else if hidden.starts_with(WHITEOUT_PREFIX) {
            self.report.add(Notice::ReservedName, &parent.join(name).map_err(path_error)?);
        } else {
            let path = parent.join(hidden).map_err(path_error)?;
            let path = self.resolved(&path, &meta.path)?;
            self.hide(&path, true);
        }
        Ok(Some(None))
    }

    /// Removes what is at and below `path`, but not what the archive itself brought.
    fn hide(&mut self, path: &TreePath, itself: bool) {
        self.last_parent = None;
        let brought = self.touched.contains(path) || touched_below(&self.touched, path).next().is_some();
        if itself && !brought {
            self.tree.remove(path);
            return;
        }
        let below: Vec<TreePath> = self.tree.below(path).map(|(path, _)| path.clone()).collect();
        // Nothing stays below what goes: a path that the archive brought keeps its ancestors.
        let keep: BTreeSet<TreePath> = below
            .iter()
            .filter(|path| self.touched.contains(*path))
            .flat_map(|path| std::iter::once(path.clone()).chain(path.ancestors()))
            .collect();
        for path in below.iter().filter(|path| !keep.contains(*path)) {
            self.tree.remove(path);
        }
    }

    fn entry(
        &mut self,
        path: TreePath,
        meta: Meta,
        content: Option<(ObjectId, u64)>,
    ) -> Result<(), ReadError> {
        let entry = shown(&meta.path);
        let kind = match meta.type_flag {
            b'1' => return self.hard_link(path, &meta),
            b'2' => {
                if !valid_target(&meta.link) {
                    let reason = "the target of the symbolic link is not valid".into();
                    return Err(ReadError::Malformed { entry, reason });
                }
                Kind::Symlink { target: meta.link }
            }
            b'3' => Kind::CharDevice { major: meta.device.0, minor: meta.device.1 },
            b'4' => Kind::BlockDevice { major: meta.device.0, minor: meta.device.1 },
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            // Before POSIX a directory was a file whose name ends in a slash.
            0 | b'0' if meta.path.ends_with(b"/") => Kind::Directory,
            _ => match content {
                Some((object, size)) => Kind::File { object, size, link: 0 },
                None => return Err(ReadError::Truncated { entry }),
            },
        };
        let mut xattrs = meta.xattrs;
        xattr::keep_allowed(&mut xattrs, &path, &mut self.report);
        let bytes: usize = xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        if xattrs.len() > xattr::MAX_COUNT || bytes > xattr::MAX_BYTES {
            return Err(ReadError::Limit {
                entry,
                what: "bytes of extended attributes",
                limit: xattr::MAX_BYTES as u64,
            });
        }
        let metadata = Metadata { mode: meta.mode, uid: meta.uid, gid: meta.gid, mtime: meta.mtime, xattrs };
        self.put(path, Node { metadata, kind }, entry)
    }

    fn put(&mut self, path: TreePath, node: Node, entry: String) -> Result<(), ReadError> {
        if !node.is_directory() {
            // It may take the place of a directory or a link that the last parent went through.
            if self.tree.get(&path).is_some_and(|old| old.is_directory()) {
                self.last_parent = None;
                let gone: Vec<TreePath> = touched_below(&self.touched, &path).cloned().collect();
                gone.iter().for_each(|path| {
                    self.touched.remove(path);
                });
            }
        }
        if matches!(node.kind, Kind::Symlink { .. })
            || self.tree.get(&path).is_some_and(|old| matches!(old.kind, Kind::Symlink { .. }))
        {
            self.last_parent = None;
        }
        let parents = Metadata::default();
        self.touched.insert(path.clone());
        self.tree
            .insert(path, node, &parents)
            .map_err(|_| ReadError::Malformed { entry, reason: "the root is not a directory".into() })
    }

    fn hard_link(&mut self, path: TreePath, meta: &Meta) -> Result<(), ReadError> {
        let entry = shown(&meta.path);
        let missing = || ReadError::LinkTarget { entry: shown(&meta.path), target: shown(&meta.link) };
        let target = TreePath::normalise(&meta.link)
            .map_err(|source| ReadError::Path { entry: entry.clone(), source })?;
        let target = self.resolved(&target, &meta.link)?;
        if target == path {
            // A link to itself is what some writers make of a name listed twice.
            return if self.tree.contains(&path) { Ok(()) } else { Err(missing()) };
        }
        let mut node =
            self.tree.get(&target).filter(|node| !node.is_directory()).cloned().ok_or_else(missing)?;
        if target.is_below(&path) {
            return Err(missing());
        }
        if matches!(node.kind, Kind::File { link: 0, .. }) {
            let link = self.tree.fresh_link();
            node.set_link(link);
            self.tree.set_group(std::slice::from_ref(&target), link);
        }
        self.put(path, node, entry)
    }
}

/// The paths of `touched` that are strictly below `path`.
fn touched_below<'a>(
    touched: &'a BTreeSet<TreePath>,
    path: &TreePath,
) -> impl Iterator<Item = &'a TreePath> + use<'a> {
    let path = path.clone();
    let start = if path.is_root() { Vec::new() } else { [path.as_bytes(), b"/"].concat() };
    let range = (Bound::Excluded(&start[..]), Bound::Unbounded);
    touched.range::<[u8], _>(range).take_while(move |other| other.is_below(&path))
}

#[cfg(test)]
mod tests;
