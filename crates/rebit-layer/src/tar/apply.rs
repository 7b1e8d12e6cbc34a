//! What each entry of an archive does to a tree.

use std::collections::BTreeSet;
use std::ops::Bound;

use rebit_oci::ObjectId;

use super::read::{ImportedLayer, ReadError};
use super::stream::Meta;
use super::write::WHITEOUT_PREFIX;
use crate::path::shown;
use crate::report::Notice;
use crate::tree::object::valid_target;
use crate::{Kind, Metadata, Node, Report, ResolveError, Tree, TreePath, xattr};

/// The name that hides everything the layers below have in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// The tree while an archive is applied to it.
pub(super) struct Apply {
    tree: Tree,
    report: Report,
    /// What the archive itself put there.
    touched: BTreeSet<TreePath>,
    whiteouts: bool,
    /// The directory of the last entry, as written and as resolved: entries of a directory come together.
    last_parent: Option<(TreePath, TreePath)>,
}

impl Apply {
    pub(super) fn new(lower: &Tree, whiteouts: bool) -> Self {
        Self {
            tree: lower.clone(),
            report: Report::new(),
            touched: BTreeSet::new(),
            whiteouts,
            last_parent: None,
        }
    }

    pub(super) fn finish(self) -> ImportedLayer {
        ImportedLayer { tree: self.tree, report: self.report }
    }

    /// Where the entry goes; `None` when it is done with, or not one to be put anywhere.
    pub(super) fn place(&mut self, meta: &Meta) -> Result<Option<TreePath>, ReadError> {
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

    pub(super) fn entry(
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
