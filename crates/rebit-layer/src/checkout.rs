//! A changeset written to disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use rebit_oci::ObjectId;
use rebit_oci::object::{ObjectError, ObjectSource};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod,
    fchown, fsetxattr, futimens, linkat, makedev, mkdirat, mknodat, openat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::disk::{self, Root};
use crate::report::Notice;
use crate::{Change, Changeset, DiskError, Kind, Metadata, Node, Report, TreePath};

/// How removals are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whiteouts {
    /// As overlayfs reads them: a character device 0:0. For a directory that becomes a lower one.
    Overlay,
    /// By removing what is there. For a plain directory.
    Plain,
}

/// How a changeset is written to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckoutOptions {
    /// How removals are written.
    pub whiteouts: Whiteouts,
    /// Whether device nodes that may not be made are left out and counted, rather than an error.
    pub allow_missing_devices: bool,
    /// Whether owners that may not be set are left and counted, rather than an error: unpacking as an
    /// ordinary user.
    pub allow_other_owner: bool,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckoutReport {
    /// What could not be written as the changeset says.
    pub report: Report,
    /// How many entries were written.
    pub entries: u64,
    /// How many bytes of file content were written.
    pub bytes: u64,
}

/// Writes `changeset` into the existing directory `target`.
///
/// Every directory on the way to an entry must be there or be an entry itself
/// ([`Changeset::with_ancestors`]). Modes, owners, attributes and mtimes
/// become those of the nodes, whatever the umask; directories get theirs last. An entry for the root sets
/// the metadata of `target` itself. What is in the way of an entry is removed. Symbolic links in `target`
/// are never followed. Files are written in parallel on rayon's pool.
///
/// # Errors
/// [`DiskError`] naming the path; what was written before an error stays.
pub fn checkout(
    changeset: &Changeset,
    target: &Path,
    objects: &dyn ObjectSource,
    options: &CheckoutOptions,
) -> Result<CheckoutReport, DiskError> {
    let work = Work { root: Root::open(target)?, objects, options, report: Mutex::new(Report::new()) };
    let mut result = CheckoutReport { entries: changeset.len() as u64, ..CheckoutReport::default() };
    let mut directories: Vec<(&TreePath, &Metadata)> = Vec::new();
    let mut files: Vec<(&TreePath, &Node)> = Vec::new();
    let mut first_of_group: BTreeMap<u32, &TreePath> = BTreeMap::new();
    let mut links: Vec<(&TreePath, &TreePath)> = Vec::new();
    for (path, change) in changeset.iter() {
        match change {
            Change::Remove => work.remove(path)?,
            Change::Upsert(node) => match &node.kind {
                Kind::Directory => {
                    work.make_directory(path)?;
                    directories.push((path, &node.metadata));
                }
                Kind::File { link, size, .. } => match first_of_group.get(link).filter(|_| *link != 0) {
                    Some(first) => links.push((first, path)),
                    None => {
                        first_of_group.insert(*link, path);
                        result.bytes = result.bytes.saturating_add(*size);
                        files.push((path, node));
                    }
                },
                _ => work.make_other(path, node)?,
            },
        }
    }
    files.par_iter().try_for_each(|(path, node)| work.make_file(path, node))?;
    for (first, path) in links {
        work.make_link(first, path)?;
    }
    // Deepest first: writing into a directory changes its mtime, and its mode may forbid writing.
    for (path, metadata) in directories.into_iter().rev() {
        work.finish_directory(path, metadata)?;
    }
    result.report = work.report.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(result)
}

struct Work<'a> {
    root: Root,
    objects: &'a dyn ObjectSource,
    options: &'a CheckoutOptions,
    report: Mutex<Report>,
}

/// Content up to this size is read in one piece.
const SMALL: u64 = 1 << 20;

fn name_of(path: &TreePath) -> &[u8] {
    path.file_name().unwrap_or(b".")
}

impl Work<'_> {
    fn note(&self, notice: Notice, path: &TreePath) {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).add(notice, path);
    }

    /// Does `make`, and once more after removing what is in the way.
    fn replacing(
        &self,
        path: &TreePath,
        action: &'static str,
        mut make: impl FnMut(&OwnedFd, &[u8]) -> Result<(), Errno>,
    ) -> Result<(), DiskError> {
        let parent = self.root.parent(path)?;
        let name = name_of(path);
        let result = match make(&parent, name) {
            Err(Errno::EXIST) => {
                remove_all(&parent, name).map_err(|error| DiskError::io("remove", path, error))?;
                make(&parent, name)
            }
            result => result,
        };
        result.map_err(|error| DiskError::io(action, path, error))
    }

    fn remove(&self, path: &TreePath) -> Result<(), DiskError> {
        match self.options.whiteouts {
            Whiteouts::Overlay => self.replacing(path, "make a whiteout at", |parent, name| {
                mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), makedev(0, 0))
            }),
            Whiteouts::Plain => {
                let parent = self.root.parent(path)?;
                remove_all(&parent, name_of(path)).map_err(|error| DiskError::io("remove", path, error))
            }
        }
    }

    fn make_directory(&self, path: &TreePath) -> Result<(), DiskError> {
        let open = |path: &TreePath| self.root.open_at(path, OFlags::DIRECTORY | OFlags::NOFOLLOW);
        if !path.is_root() {
            let parent = self.root.parent(path)?;
            match mkdirat(&parent, name_of(path), Mode::RWXU) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(DiskError::io("make the directory", path, error)),
            }
        }
        match open(path) {
            // It may be one that cannot be written into, until it gets its own mode at the end.
            Ok(fd) => match fchmod(&fd, Mode::RWXU) {
                Ok(()) | Err(Errno::PERM) => Ok(()),
                Err(error) => Err(DiskError::io("open", path, error)),
            },
            Err(Errno::NOTDIR | Errno::LOOP) => {
                self.replacing(path, "make the directory", |parent, name| mkdirat(parent, name, Mode::RWXU))
            }
            Err(error) => Err(DiskError::io("open", path, error)),
        }
    }

    fn make_file(&self, path: &TreePath, node: &Node) -> Result<(), DiskError> {
        let Kind::File { object, size, .. } = &node.kind else { return Ok(()) };
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW;
        let fd = match self.root.open_at(path, flags) {
            Err(Errno::EXIST) => {
                let parent = self.root.parent(path)?;
                remove_all(&parent, name_of(path)).map_err(|error| DiskError::io("remove", path, error))?;
                self.root.open_at(path, flags)
            }
            result => result,
        };
        let mut file = File::from(fd.map_err(|error| DiskError::io("create", path, error))?);
        self.write_content(&mut file, path, object, *size)?;
        let metadata = &node.metadata;
        self.owner(path, fchown(&file, uid(metadata), gid(metadata)))?;
        // After the owner: changing that clears set-id bits and capabilities.
        fchmod(&file, Mode::from_raw_mode(metadata.mode))
            .map_err(|error| DiskError::io("set the mode of", path, error))?;
        for (key, value) in &metadata.xattrs {
            self.xattr(path, key, fsetxattr(&file, &key[..], value, XattrFlags::empty()))?;
        }
        futimens(&file, &times(metadata.mtime)).map_err(|error| DiskError::io("set the time of", path, error))
    }

    fn write_content(
        &self,
        file: &mut File,
        path: &TreePath,
        object: &ObjectId,
        size: u64,
    ) -> Result<(), DiskError> {
        let written = if size == 0 {
            0
        } else if size <= SMALL {
            let content = self.objects.read(object).map_err(|source| DiskError::object(path, source))?;
            file.write_all(&content).map_err(|error| DiskError::io("write", path, error))?;
            content.len() as u64
        } else {
            let mut reader = self.objects.open(object).map_err(|source| DiskError::object(path, source))?;
            io::copy(&mut reader, file).map_err(|error| DiskError::io("write", path, error))?
        };
        if written == size {
            return Ok(());
        }
        let reason = format!("it has {written} bytes where the tree says {size}");
        Err(DiskError::object(path, ObjectError::Corrupt { object: *object, reason }))
    }

    fn make_link(&self, first: &TreePath, path: &TreePath) -> Result<(), DiskError> {
        let source = self.root.parent(first)?;
        self.replacing(path, "make the hard link", |parent, name| {
            linkat(&source, name_of(first), parent, name, AtFlags::empty())
        })
    }

    fn make_other(&self, path: &TreePath, node: &Node) -> Result<(), DiskError> {
        let device = |kind, major: &u32, minor: &u32| {
            let made = self.replacing(path, "make the device", |parent, name| {
                mknodat(parent, name, kind, Mode::RUSR | Mode::WUSR, makedev(*major, *minor))
            });
            match made {
                Err(DiskError::Io { ref source, .. })
                    if self.options.allow_missing_devices
                        && source.kind() == io::ErrorKind::PermissionDenied =>
                {
                    self.note(Notice::Device, path);
                    Ok(false)
                }
                result => result.map(|()| true),
            }
        };
        let made = match &node.kind {
            Kind::Symlink { target } => self
                .replacing(path, "make the symbolic link", |parent, name| {
                    symlinkat(&target[..], parent, name)
                })
                .map(|()| true)?,
            Kind::CharDevice { major, minor } => device(FileType::CharacterDevice, major, minor)?,
            Kind::BlockDevice { major, minor } => device(FileType::BlockDevice, major, minor)?,
            Kind::Fifo => self
                .replacing(path, "make the pipe", |parent, name| {
                    mknodat(parent, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
                })
                .map(|()| true)?,
            Kind::Directory | Kind::File { .. } => false,
        };
        if made { self.finish_other(path, node) } else { Ok(()) }
    }

    fn finish_other(&self, path: &TreePath, node: &Node) -> Result<(), DiskError> {
        let (parent, name, metadata) = (self.root.parent(path)?, name_of(path), &node.metadata);
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        self.owner(path, chownat(&parent, name, uid(metadata), gid(metadata), nofollow))?;
        if !matches!(node.kind, Kind::Symlink { .. }) {
            chmodat(&parent, name, Mode::from_raw_mode(metadata.mode), AtFlags::empty())
                .map_err(|error| DiskError::io("set the mode of", path, error))?;
        }
        for (key, value) in &metadata.xattrs {
            self.xattr(path, key, disk::set_xattr(&parent, name, key, value))?;
        }
        utimensat(&parent, name, &times(metadata.mtime), nofollow)
            .map_err(|error| DiskError::io("set the time of", path, error))
    }

    fn finish_directory(&self, path: &TreePath, metadata: &Metadata) -> Result<(), DiskError> {
        let fd = self.root.directory(path)?;
        self.owner(path, fchown(&fd, uid(metadata), gid(metadata)))?;
        for (key, value) in &metadata.xattrs {
            self.xattr(path, key, fsetxattr(&fd, &key[..], value, XattrFlags::empty()))?;
        }
        fchmod(&fd, Mode::from_raw_mode(metadata.mode))
            .map_err(|error| DiskError::io("set the mode of", path, error))?;
        futimens(&fd, &times(metadata.mtime)).map_err(|error| DiskError::io("set the time of", path, error))
    }

    fn owner(&self, path: &TreePath, result: Result<(), Errno>) -> Result<(), DiskError> {
        match result {
            // EINVAL: the user namespace has no such id.
            Err(Errno::PERM | Errno::INVAL) if self.options.allow_other_owner => {
                self.note(Notice::Owner, path);
                Ok(())
            }
            result => result.map_err(|error| DiskError::io("set the owner of", path, error)),
        }
    }

    fn xattr(&self, path: &TreePath, key: &[u8], result: Result<(), Errno>) -> Result<(), DiskError> {
        match result {
            Err(Errno::PERM | Errno::NOTSUP) if self.options.allow_other_owner => {
                self.note(Notice::XattrNotSet(key.to_vec()), path);
                Ok(())
            }
            result => result.map_err(|error| DiskError::io("set the attributes of", path, error)),
        }
    }
}

fn uid(metadata: &Metadata) -> Option<Uid> {
    Some(Uid::from_raw(metadata.uid))
}

fn gid(metadata: &Metadata) -> Option<Gid> {
    Some(Gid::from_raw(metadata.gid))
}

fn times(mtime: i64) -> Timestamps {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

/// Removes `name` from a directory, with everything below it; nothing there is fine.
fn remove_all(parent: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(Errno::NOENT) => return Ok(()),
        result => return result,
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(parent, name, flags, Mode::empty())?;
    // Without success the removals below say what is wrong.
    let _ = fchmod(&directory, Mode::RWXU);
    for (name, _) in disk::entries(&directory)? {
        remove_all(&directory, &name)?;
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

#[cfg(test)]
mod tests;
