//! Mount points: found inside the root, or made and later removed.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags, mkdirat, open, openat, openat2, readlinkat,
    statat, statx, unlinkat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::report::{Context, Failure};
use crate::{Mount, RunSpec, Step};

/// Most symlinks followed on the way to a mount point, as in the kernel.
const MAX_SYMLINKS: usize = 40;

/// What a mount point has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Directory,
    File,
}

/// A mount point that was made in place; the path is relative to the root and free of symlinks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    #[serde(with = "crate::path_bytes")]
    path: PathBuf,
    kind: Kind,
}

/// The mount points that a run needs, in the order of mounting.
pub(crate) fn needed(spec: &RunSpec) -> Result<Vec<(&Path, Kind)>, Failure> {
    let mut needed: Vec<(&Path, Kind)> =
        ["/dev", "/proc", "/sys"].iter().map(|path| (Path::new(path), Kind::Directory)).collect();
    for mount in &spec.mounts {
        let kind = match mount {
            Mount::Bind { source, .. } if !fs::metadata(source).at(Step::Mount, source)?.is_dir() => {
                Kind::File
            }
            Mount::Layers { file: Some(_), .. } | Mount::File { .. } => Kind::File,
            Mount::Bind { .. } | Mount::Layers { .. } | Mount::Tmpfs { .. } => Kind::Directory,
        };
        needed.push((mount.target(), kind));
    }
    Ok(needed)
}

/// Makes the layer of mount stubs: a fresh directory that holds nothing but the given mount points and their parents.
///
/// A path with `..` is left out: where it leads is known only with the whole root at hand.
pub(crate) fn populate_layer(layer: &Path, needed: &[(&Path, Kind)]) -> Result<(), Failure> {
    for (target, kind) in needed {
        if target.components().any(|component| component == Component::ParentDir) {
            continue;
        }
        let stub = layer.join(target.strip_prefix("/").unwrap_or(target));
        let parent = stub.parent().filter(|_| *kind == Kind::File).unwrap_or(&stub);
        let made = fs::create_dir_all(parent).and_then(|()| match kind {
            Kind::File if !stub.exists() => fs::File::create(&stub).map(drop),
            _ => Ok(()),
        });
        made.at(Step::MountPoint, target)?;
    }
    Ok(())
}

/// Opens a mount point inside the root, following symlinks as if the root were `/`; makes it where it is missing.
pub(crate) fn open_target(
    root: BorrowedFd<'_>,
    target: &Path,
    kind: Kind,
    made: &mut Vec<Made>,
) -> Result<OwnedFd, Failure> {
    walk(root, target, kind, made).at(Step::MountPoint, target)
}

/// Opens a path that is free of symlinks, without following any.
pub(crate) fn open_beneath(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(root, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), flags)
}

fn push_components(queue: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => queue.push_front(name.to_owned()),
            Component::ParentDir => queue.push_front(OsString::from("..")),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
}

/// Walks to the target name by name, makes what is missing, and notes it in `made` if it is on the root's own mount.
///
/// Symlinks and `..` are resolved here, not by openat2(2): that would not say where a missing target would be, and gives up
/// on `..` while anything is renamed or mounted anywhere on the host.
fn walk(root: BorrowedFd<'_>, target: &Path, kind: Kind, made: &mut Vec<Made>) -> Result<OwnedFd, Errno> {
    let mut queue = VecDeque::new();
    push_components(&mut queue, target);
    let mut resolved = PathBuf::new();
    let mut symlinks = 0;
    while let Some(name) = queue.pop_front() {
        if name == ".." {
            resolved.pop();
            continue;
        }
        let path = resolved.join(&name);
        match open_beneath(root, &path) {
            Ok(fd) if is_symlink(&fd)? => {
                symlinks += 1;
                if symlinks > MAX_SYMLINKS {
                    return Err(Errno::LOOP);
                }
                let link = PathBuf::from(OsString::from_vec(readlinkat(&fd, "", Vec::new())?.into_bytes()));
                if link.is_absolute() {
                    resolved.clear();
                }
                push_components(&mut queue, &link);
            }
            Ok(_) => resolved = path,
            Err(Errno::NOENT) => {
                let kind = if queue.is_empty() { kind } else { Kind::Directory };
                let parent = open_beneath(root, &resolved)?;
                make_one(parent.as_fd(), &name, kind)?;
                if mount_id(root)? == mount_id(parent.as_fd())? {
                    made.push(Made { path: path.clone(), kind });
                }
                resolved = path;
            }
            Err(errno) => return Err(errno),
        }
    }
    open_beneath(root, &resolved)
}

fn make_one(parent: BorrowedFd<'_>, name: &OsStr, kind: Kind) -> Result<(), Errno> {
    match kind {
        Kind::Directory => mkdirat(parent, name, Mode::from_raw_mode(0o755)),
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    }
}

fn is_symlink(fd: &OwnedFd) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == FileType::Symlink)
}

fn mount_id(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    Ok(statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?.stx_mnt_id)
}

/// Removes mount points that were made in place, below `base` (the root, or the upper directory of an overlay).
///
/// Whatever the run filled, replaced or removed stays as the run left it.
pub(crate) fn remove(base: &Path, made: &[Made]) -> Result<(), Failure> {
    if made.is_empty() {
        return Ok(());
    }
    let root = open(base, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .at(Step::Cleanup, base)?;
    for stub in made.iter().rev() {
        match remove_one(root.as_fd(), stub) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(Failure::new(Step::Cleanup, errno).path(&stub.path)),
        }
    }
    Ok(())
}

fn remove_one(root: BorrowedFd<'_>, stub: &Made) -> Result<(), Errno> {
    let (Some(parent), Some(name)) = (stub.path.parent(), stub.path.file_name()) else { return Ok(()) };
    let parent = open_beneath(root, parent)?;
    match stub.kind {
        Kind::Directory => unlinkat(&parent, name, AtFlags::REMOVEDIR),
        Kind::File => {
            let stat = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size == 0 {
                unlinkat(&parent, name, AtFlags::empty())?;
            }
            Ok(())
        }
    }
}
