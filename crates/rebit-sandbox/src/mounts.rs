//! Making mounts by descriptor, and the mounts of a spec.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, fchmod, fchown, fstat, futimens, mkdirat,
    openat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::report::{Context, Failure};
use crate::rootfs::{Layers, mount_overlay, open_lower};
use crate::stubs::{self, Kind, Made};
use crate::{Lower, Mount, Step, sys};

/// Mounts a new file system, attached nowhere yet.
pub(crate) fn new_mount(
    filesystem: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    let context = fsopen(filesystem, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        fsconfig_set_string(&context, *name, *value)?;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Copies the mount at a path, attached nowhere yet; an empty path copies what `directory` itself names.
pub(crate) fn copy_tree(
    directory: BorrowedFd<'_>,
    path: impl AsRef<Path>,
    recursive: bool,
) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_EMPTY_PATH, path.as_ref().as_os_str().is_empty());
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    open_tree(directory, path.as_ref(), flags)
}

/// Attaches a mount on what `target` names.
pub(crate) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags)
}

/// A mount of the spec, opened while the host's paths and the scratch file system are still there.
pub(crate) struct Prepared<'a> {
    target: &'a Path,
    kind: Kind,
    tree: OwnedFd,
}

/// Opens or makes the mount; files are written into `scratch`, a memory file system.
pub(crate) fn prepare<'a>(
    mount: &'a Mount,
    number: usize,
    scratch: BorrowedFd<'_>,
    nodev: MountAttrFlags,
) -> Result<Prepared<'a>, Failure> {
    let target = mount.target();
    match mount {
        Mount::Bind { source, readonly, .. } => {
            let tree = copy_tree(CWD, source, true).at(Step::Mount, source)?;
            let stat = fstat(&tree).at(Step::Mount, source)?;
            let file_type = FileType::from_raw_mode(stat.st_mode);
            // A device that the caller hands in is meant to be used.
            let is_device = matches!(file_type, FileType::CharacterDevice | FileType::BlockDevice);
            let mut attributes = if is_device { MountAttrFlags::empty() } else { nodev };
            attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, *readonly);
            if !attributes.is_empty() {
                sys::mount_setattr(tree.as_fd(), true, attributes).at(Step::Mount, source)?;
            }
            let kind = if file_type == FileType::Directory { Kind::Directory } else { Kind::File };
            Ok(Prepared { target, kind, tree })
        }
        Mount::Layers { lowers, file, .. } => {
            let name = format!("layers-{number}");
            let layers = show_layers(lowers, scratch, &name)?;
            let shown = match file {
                Some(file) => stubs::open_beneath(layers.as_fd(), file).at(Step::Mount, file)?,
                None => layers,
            };
            let tree = copy_tree(shown.as_fd(), "", false).at(Step::Mount, target)?;
            let attributes = nodev | MountAttrFlags::MOUNT_ATTR_RDONLY;
            sys::mount_setattr(tree.as_fd(), false, attributes).at(Step::Mount, target)?;
            let kind = if file.is_some() { Kind::File } else { Kind::Directory };
            Ok(Prepared { target, kind, tree })
        }
        Mount::Tmpfs { size, mode, .. } => {
            let mode = format!("{mode:o}");
            let size = size.map(|size| size.to_string());
            let mut options = vec![("mode", mode.as_str())];
            options.extend(size.as_ref().map(|size| ("size", size.as_str())));
            let attributes = nodev | MountAttrFlags::MOUNT_ATTR_NOSUID;
            let tree = new_mount("tmpfs", &options, attributes).at(Step::Mount, target)?;
            Ok(Prepared { target, kind: Kind::Directory, tree })
        }
        Mount::File { contents, mode, uid, gid, readonly, .. } => {
            let name = format!("file-{number}");
            let owner = (Uid::from_raw(*uid), Gid::from_raw(*gid));
            write_file(scratch, &name, contents, Mode::from_raw_mode(*mode), owner)
                .at(Step::Mount, target)?;
            let tree = copy_tree(scratch, &name, false).at(Step::Mount, target)?;
            let mut attributes = nodev | MountAttrFlags::MOUNT_ATTR_NOSUID;
            attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, *readonly);
            sys::mount_setattr(tree.as_fd(), false, attributes).at(Step::Mount, target)?;
            Ok(Prepared { target, kind: Kind::File, tree })
        }
    }
}

/// Makes layers one directory that is attached somewhere: one layer is itself, several are an overlay without an upper one.
fn show_layers(lowers: &[Lower], scratch: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Failure> {
    let place = |name: &str| {
        mkdirat(scratch, name, Mode::RWXU).step(Step::Mount)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(scratch, name, flags, Mode::empty()).step(Step::Mount)
    };
    let mut open = Vec::new();
    for (number, lower) in lowers.iter().enumerate() {
        open.push(open_lower(lower, || place(&format!("{name}-{number}")))?);
    }
    if open.len() == 1 {
        return Ok(open.remove(0));
    }
    let with_images = lowers.iter().any(|lower| matches!(lower, Lower::Image { .. }));
    let layers = Layers { lowers: open, data: &[], writable: None, with_images };
    mount_overlay(&layers, place(name)?)
}

fn write_file(
    directory: BorrowedFd<'_>,
    name: &str,
    contents: &[u8],
    mode: Mode,
    (uid, gid): (Uid, Gid),
) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(directory, name, flags, Mode::from_raw_mode(0o600))?;
    let mut rest = contents;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    fchown(&file, Some(uid), Some(gid))?;
    // When it was made differs from run to run, and a process that looks would depend on it.
    let start = Timespec { tv_sec: 0, tv_nsec: 0 };
    futimens(&file, &Timestamps { last_access: start, last_modification: start })?;
    fchmod(&file, mode)
}

impl Prepared<'_> {
    /// Attaches the mount at its place inside the root.
    pub(crate) fn attach_in(&self, root: BorrowedFd<'_>, made: &mut Vec<Made>) -> Result<(), Failure> {
        let target = stubs::open_target(root, self.target, self.kind, made)?;
        attach(self.tree.as_fd(), target.as_fd()).at(Step::Mount, self.target)
    }
}
