//! `/proc` and `/sys`, and what of them is hidden or read-only.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::devices::Nodes;
use crate::mounts::{attach, copy_tree, new_mount};
use crate::report::{Context, Failure};
use crate::{Step, sys};

/// Hidden, as by OCI runtimes: they show or change the host. A directory becomes empty, a file the null device.
const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    // Empty with a new sysfs; hidden so that it is empty as well with the host's.
    "/sys/fs/cgroup",
];

/// Read-only, as by OCI runtimes.
const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn restricted() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

/// Mounts a `/proc` of the current PID namespace on `target`.
pub(crate) fn mount_proc(target: BorrowedFd<'_>) -> Result<(), Failure> {
    let proc = new_mount("proc", &[], restricted()).at(Step::Proc, "/proc").map_err(|failure| {
        if failure.errno == Errno::PERM.raw_os_error() {
            failure.detail("parts of the outer /proc are masked, so a nested one is refused; run the outer container with an unmasked /proc")
        } else {
            failure
        }
    })?;
    attach(proc.as_fd(), target).at(Step::Proc, "/proc")
}

/// Mounts `/sys` on `target`: a new one where the kernel allows it, else the host's; the directory stays empty when both are refused.
///
/// A user namespace may mount sysfs only for a network namespace of its own.
pub(crate) fn mount_sys(target: BorrowedFd<'_>, readonly: bool) -> Result<(), Failure> {
    let mut attributes = restricted();
    attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, readonly);
    let tree = match new_mount("sysfs", &[], attributes) {
        Err(Errno::PERM) => copy_host_sys(attributes),
        other => other,
    };
    match tree {
        Ok(tree) => attach(tree.as_fd(), target).at(Step::Sys, "/sys"),
        Err(Errno::PERM | Errno::INVAL | Errno::NODEV | Errno::NOENT | Errno::ACCESS) => Ok(()),
        Err(errno) => Err(Failure::new(Step::Sys, errno).path(Path::new("/sys"))),
    }
}

fn copy_host_sys(attributes: MountAttrFlags) -> Result<OwnedFd, Errno> {
    let tree = copy_tree(CWD, "/sys", true)?;
    sys::mount_setattr(tree.as_fd(), true, attributes)?;
    Ok(tree)
}

/// Hides and protects the paths that the process must not see or write; those that this kernel does not have are left out.
pub(crate) fn mask(root: BorrowedFd<'_>, nodes: &Nodes) -> Result<(), Failure> {
    for path in READONLY {
        if let Some(place) = open_existing(root, path)? {
            let protect = || {
                let tree = copy_tree(place.as_fd(), "", true)?;
                sys::mount_setattr(tree.as_fd(), true, restricted() | MountAttrFlags::MOUNT_ATTR_RDONLY)?;
                attach(tree.as_fd(), place.as_fd())
            };
            protect().at(Step::MaskPath, path)?;
        }
    }
    for path in MASKED {
        if let Some(place) = open_existing(root, path)? {
            hide(place.as_fd(), nodes).at(Step::MaskPath, path)?;
        }
    }
    Ok(())
}

fn hide(place: BorrowedFd<'_>, nodes: &Nodes) -> Result<(), Errno> {
    let cover = if FileType::from_raw_mode(fstat(place)?.st_mode) == FileType::Directory {
        let attributes = restricted() | MountAttrFlags::MOUNT_ATTR_RDONLY;
        new_mount("tmpfs", &[("mode", "755"), ("size", "4k")], attributes)?
    } else {
        nodes.copy_null()?
    };
    attach(cover.as_fd(), place)
}

fn open_existing(root: BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>, Failure> {
    let flags = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    match openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), flags) {
        Ok(fd) => Ok(Some(fd)),
        // Not there, or (with an image that has symlinks at /proc or /sys) not the kernel's own.
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::ACCESS) => Ok(None),
        Err(errno) => Err(Failure::new(Step::MaskPath, errno).path(Path::new(path))),
    }
}
