//! The tree that a `RUN` left: a lower tree and an overlayfs upper directory.
//!
//! Only the upper directory is read. Its markers are understood here and appear nowhere else: whiteouts
//! (a character device 0:0, or an empty file with `overlay.whiteout`) and opaque directories
//! (`overlay.opaque`), under `user.` as rootless mounts write them or under `trusted.`.
//! `redirect_dir` and `metacopy` have to be off.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use rayon::prelude::*;
use rebit_oci::ObjectId;
use rebit_oci::object::ObjectSink;
use rustix::fs::Statx;

use crate::disk::{self, Listing, Root, Seen};
use crate::report::Notice;
use crate::tree::{MAX_DEPTH, MAX_ENTRIES};
use crate::{DiskError, FileStat, Kind, Metadata, Node, Report, Tree, TreePath, xattr};

/// Reads the merged tree of `lower` and the overlayfs upper directory `upper`.
///
/// A node that differs from the lower tree's in more than its mtime gets mtime `epoch`; the others stay as
/// `lower` has them, also when the file system copied them up. Hard links are found by device and inode.
/// Files are read in parallel on rayon's pool. The metadata of `upper` itself is that of the merged root,
/// as the kernel shows it: make the directory with the root's mode and owner. Sockets are skipped and
/// dropped attributes are counted in `report`. Owners are taken as this process sees them.
///
/// # Errors
/// [`DiskError`] naming the path; [`DiskError::Unsupported`] for a redirect or a metadata-only copy.
pub fn upper_tree(
    lower: &Tree,
    upper: &Path,
    sink: &dyn ObjectSink,
    epoch: i64,
    report: &mut Report,
) -> Result<Tree, DiskError> {
    let root = Root::open(upper)?;
    let mut visit = Visit { root: &root, lower, tree: lower.clone(), files: Vec::new(), epoch, report };
    let top = TreePath::root();
    let fd = root.directory(&top)?;
    let stat = disk::stat_open(&fd).map_err(|error| DiskError::io("look at", &top, error))?;
    let (xattrs, markers) = visit.xattrs(&fd, b".", &top)?;
    if markers.opaque {
        visit.tree.remove(&top);
    }
    visit.put(&top, metadata(&stat, epoch, xattrs), Kind::Directory)?;
    visit.directory(&top)?;
    let Visit { mut tree, files, .. } = visit;

    let objects: Vec<ObjectId> = files
        .par_iter()
        .map(|file| disk::keep_file(&root, &file.path, &file.stat, sink))
        .collect::<Result<_, DiskError>>()?;
    // Names of one file: at least two in the upper directory, as a copy-up has a new inode.
    let mut groups: BTreeMap<(u64, u64), Vec<(TreePath, Node)>> = BTreeMap::new();
    for (file, object) in files.into_iter().zip(objects) {
        let node = Node::file(file.metadata, object, file.stat.size);
        if file.links > 1 {
            groups.entry((file.stat.dev, file.stat.ino)).or_default().push((file.path, node));
        } else {
            put_file(&mut tree, lower, file.path, node)?;
        }
    }
    for group in groups.into_values() {
        put_group(&mut tree, lower, group)?;
    }
    Ok(tree)
}

fn put_file(tree: &mut Tree, lower: &Tree, path: TreePath, node: Node) -> Result<(), DiskError> {
    let node = lower.get(&path).filter(|old| same(old, &node)).cloned().unwrap_or(node);
    insert(tree, path, node)
}

fn put_group(tree: &mut Tree, lower: &Tree, group: Vec<(TreePath, Node)>) -> Result<(), DiskError> {
    if let [(path, node)] = &group[..] {
        return put_file(tree, lower, path.clone(), node.clone());
    }
    let link_below = |(path, node): &(TreePath, Node)| {
        lower.get(path).filter(|old| same(old, node) && old.link() != 0).map(Node::link)
    };
    let first = group.first().and_then(link_below);
    let kept = first.is_some() && group.iter().all(|member| link_below(member) == first);
    let link = tree.fresh_link();
    for (path, mut node) in group {
        if kept {
            put_file(tree, lower, path, node)?;
        } else {
            node.set_link(link);
            insert(tree, path, node)?;
        }
    }
    Ok(())
}

fn same(old: &Node, new: &Node) -> bool {
    old.kind.same_but_link(&new.kind) && old.metadata.same_but_mtime(&new.metadata)
}

fn insert(tree: &mut Tree, path: TreePath, node: Node) -> Result<(), DiskError> {
    let at = path.clone();
    tree.insert(path, node, &Metadata::default()).map_err(|source| DiskError::Insert { path: at, source })
}

type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

fn metadata(stat: &Statx, epoch: i64, xattrs: Xattrs) -> Metadata {
    Metadata {
        mode: u32::from(stat.stx_mode) & crate::node::MODE_MASK,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        mtime: epoch,
        xattrs,
    }
}

/// What overlayfs says about an entry to itself.
#[derive(Default)]
struct Markers {
    opaque: bool,
    whiteout: bool,
}

/// A file whose content is still to be found out.
struct Waiting {
    path: TreePath,
    stat: FileStat,
    links: u32,
    metadata: Metadata,
}

struct Visit<'a> {
    root: &'a Root,
    lower: &'a Tree,
    tree: Tree,
    files: Vec<Waiting>,
    epoch: i64,
    report: &'a mut Report,
}

impl Visit<'_> {
    fn directory(&mut self, directory: &TreePath) -> Result<(), DiskError> {
        if directory.depth() >= MAX_DEPTH {
            return Err(DiskError::Limit { what: "levels", limit: MAX_DEPTH });
        }
        let Listing { fd, entries } = self.root.list(directory)?;
        for (name, _) in entries {
            let path = directory
                .join(&name)
                .map_err(|source| DiskError::Name { directory: directory.clone(), source })?;
            if self.tree.len() + self.files.len() >= MAX_ENTRIES {
                return Err(DiskError::Limit { what: "entries", limit: MAX_ENTRIES });
            }
            self.entry(&fd, &name, path)?;
        }
        Ok(())
    }

    fn entry(&mut self, fd: &OwnedFd, name: &[u8], path: TreePath) -> Result<(), DiskError> {
        let stat = disk::stat(fd, name).map_err(|error| DiskError::io("look at", &path, error))?;
        let seen = disk::seen(fd, name, &stat, &path)?;
        match seen {
            Seen::Socket => {
                // It hides what the lower tree has there all the same.
                self.tree.remove(&path);
                self.report.add(Notice::Socket, &path);
                return Ok(());
            }
            Seen::Other(Kind::CharDevice { major: 0, minor: 0 }) => {
                self.tree.remove(&path);
                return Ok(());
            }
            _ => {}
        }
        let (xattrs, markers) = self.xattrs(fd, name, &path)?;
        let metadata = metadata(&stat, self.epoch, xattrs);
        match seen {
            Seen::File if markers.whiteout && stat.stx_size == 0 => {
                self.tree.remove(&path);
                Ok(())
            }
            Seen::Directory => {
                if markers.opaque {
                    self.tree.remove(&path);
                }
                self.put(&path, metadata, Kind::Directory)?;
                self.directory(&path)
            }
            Seen::File => {
                let (stat, links) = (disk::file_stat(&stat), stat.stx_nlink);
                self.files.push(Waiting { path, stat, links, metadata });
                Ok(())
            }
            Seen::Other(kind) => self.put(&path, metadata, kind),
            Seen::Socket => Ok(()),
        }
    }

    /// Puts what is not a file, as the lower tree has it if that is the same.
    fn put(&mut self, path: &TreePath, metadata: Metadata, kind: Kind) -> Result<(), DiskError> {
        let mut node = Node { metadata, kind };
        if matches!(node.kind, Kind::Symlink { .. }) {
            node.metadata.mode = 0o777;
        }
        let node = self.lower.get(path).filter(|old| same(old, &node)).cloned().unwrap_or(node);
        insert(&mut self.tree, path.clone(), node)
    }

    fn xattrs(&mut self, fd: &OwnedFd, name: &[u8], path: &TreePath) -> Result<(Xattrs, Markers), DiskError> {
        let mut xattrs =
            disk::xattrs(fd, name).map_err(|error| DiskError::io("read the attributes of", path, error))?;
        let mut markers = Markers::default();
        let mut unsupported = None;
        xattrs.retain(|name, value| {
            let overlay =
                name.strip_prefix(b"user.overlay.").or_else(|| name.strip_prefix(b"trusted.overlay."));
            match overlay {
                Some(b"opaque") => markers.opaque |= value == b"y",
                Some(b"whiteout") => markers.whiteout = true,
                Some(b"redirect" | b"metacopy") => {
                    unsupported = Some(String::from_utf8_lossy(name).into_owned());
                }
                _ => {}
            }
            overlay.is_none()
        });
        if let Some(name) = unsupported {
            let reason = format!("the overlay was mounted with a feature that is not read (`{name}`)");
            return Err(DiskError::Unsupported { path: path.clone(), reason });
        }
        xattr::keep_allowed(&mut xattrs, path, self.report);
        Ok((xattrs, markers))
    }
}

#[cfg(test)]
mod tests;
