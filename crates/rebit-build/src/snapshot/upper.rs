//! The upper directory of a step, before and after it.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rebit_layer::{Node, Tree, TreePath, xattr};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::failed;
use crate::error::StepProblem;

/// Gives a directory the metadata of a tree's root.
pub(super) fn set_root(directory: &Path, tree: &Tree) -> Result<(), StepProblem> {
    let root = tree.root();
    std::os::unix::fs::chown(directory, Some(root.uid), Some(root.gid))
        .and_then(|()| fs::set_permissions(directory, fs::Permissions::from_mode(root.mode)))
        .map_err(|source| failed(directory, source))?;
    set_mtime(directory, root.mtime)
}

/// Brings an upper directory into the state that writing the layer anew would give: the times and attributes of `tree`, and
/// nothing that it does not have. The process that wrote it has ended, and no symbolic link is followed.
pub(super) fn normalise(directory: &Path, at: &TreePath, tree: &Tree) -> Result<(), StepProblem> {
    let entries = fs::read_dir(directory).map_err(|source| failed(directory, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| failed(directory, source))?;
        let path = entry.path();
        let metadata = fs::symlink_metadata(&path).map_err(|source| failed(&path, source))?;
        if metadata.file_type().is_char_device() && metadata.rdev() == 0 {
            continue;
        }
        let name = std::os::unix::ffi::OsStringExt::into_vec(entry.file_name());
        let below = at.join(&name).map_err(|source| StepProblem::Path { source })?;
        match tree.get(&below) {
            Some(node) => {
                if metadata.is_dir() {
                    normalise(&path, &below, tree)?;
                }
                normalise_node(&path, node)?;
            }
            None if metadata.is_dir() => fs::remove_dir_all(&path).map_err(|source| failed(&path, source))?,
            None => fs::remove_file(&path).map_err(|source| failed(&path, source))?,
        }
    }
    if at.is_root() {
        set_mtime(directory, tree.root().mtime)?;
    }
    Ok(())
}

fn normalise_node(path: &Path, node: &Node) -> Result<(), StepProblem> {
    let io = |source: rustix::io::Errno| failed(path, source.into());
    let mut names = vec![0_u8; 64 << 10];
    let length = match rustix::fs::llistxattr(path, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(io(errno)),
    };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let marks_overlay = name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.");
        if !marks_overlay && !xattr::is_allowed(name) {
            match rustix::fs::lremovexattr(path, name) {
                // Attributes of the host's security modules are not the step's to have or to lose.
                Ok(()) | Err(rustix::io::Errno::PERM | rustix::io::Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(io(errno)),
            }
        }
    }
    set_mtime(path, node.metadata.mtime)
}

fn set_mtime(path: &Path, mtime: i64) -> Result<(), StepProblem> {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    utimensat(
        CWD,
        path,
        &Timestamps { last_access: time, last_modification: time },
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .map_err(|errno| failed(path, errno.into()))
}
