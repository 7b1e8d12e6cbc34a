//! The root file system: an overlay or a bound directory, attached somewhere in the private mount namespace.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount,
    move_mount, open_tree, unmount,
};
use rustix::process::{chdir, fchdir, pivot_root};

use crate::report::{Context, Failure};
use crate::stubs::{self, Kind};
use crate::{RootFs, Step, sys};

/// Most bytes that mount(2) reads as options; it cuts what is longer.
const MAX_OPTION_STRING: usize = 4096;

/// A directory of one run inside the caller's work directory, removed by the runner when the run is over.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the first free `run-N` with the layer of mount stubs, overlayfs' own work directory and the place to mount.
    ///
    /// All are on the file system of the upper directory: with the stubs elsewhere, files would not have the device number of their directory.
    pub(crate) fn create(work: &Path, needed: &[(&Path, Kind)]) -> Result<Scratch, Failure> {
        let mut number = 0_u32;
        let path = loop {
            let path = work.join(format!("run-{number}"));
            match fs::create_dir(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 10_000 => number += 1,
                other => other.at(Step::OpenRoot, &path)?,
            }
        };
        let scratch = Scratch { path };
        let made = scratch.populate(needed);
        if made.is_err() {
            scratch.remove()?;
        }
        made.map(|()| scratch)
    }

    fn populate(&self, needed: &[(&Path, Kind)]) -> Result<(), Failure> {
        for path in [self.stubs(), self.overlay_work()] {
            fs::create_dir(&path).at(Step::OpenRoot, &path)?;
        }
        stubs::populate_layer(&self.stubs(), needed)
    }

    fn stubs(&self) -> PathBuf {
        self.path.join("stubs")
    }

    fn overlay_work(&self) -> PathBuf {
        self.path.join("work")
    }

    fn mount_point(&self) -> PathBuf {
        // The overlay keeps its own hold of the stubs, so that it can cover them.
        self.stubs()
    }

    /// Removes it; the overlay must be gone.
    pub(crate) fn remove(&self) -> Result<(), Failure> {
        fs::remove_dir_all(&self.path).at(Step::Cleanup, &self.path)
    }
}

/// Mounts the root file system in the current mount namespace and returns its root.
pub(crate) fn mount_root(
    root: &RootFs,
    scratch: Option<&Scratch>,
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Failure> {
    match (root, scratch) {
        (RootFs::Overlay { lowers, data, upper, .. }, Some(scratch)) => {
            let stubs = scratch.stubs();
            // With `userxattr` the kernel follows redirects into data layers only from the lowest other layer: it must be the caller's.
            let stubs = Some(stubs.as_path()).filter(|_| data.is_empty());
            let lowers: Vec<&Path> = lowers.iter().map(PathBuf::as_path).chain(stubs).collect();
            let layers = Layers { lowers, data, upper, work: &scratch.overlay_work() };
            let mounted = mount_overlay(&layers, &scratch.mount_point())?;
            sys::mount_setattr(mounted.as_fd(), false, attributes).step(Step::Overlay)?;
            Ok(mounted)
        }
        (RootFs::Overlay { work, .. }, None) => Err(Failure::new(Step::OpenRoot, Errno::INVAL).path(work)),
        (RootFs::Directory { path, .. }, _) => {
            let tree = open_tree(
                CWD,
                path,
                OpenTreeFlags::OPEN_TREE_CLONE
                    | OpenTreeFlags::OPEN_TREE_CLOEXEC
                    | OpenTreeFlags::AT_RECURSIVE,
            )
            .at(Step::BindRoot, path)?;
            if !attributes.is_empty() {
                sys::mount_setattr(tree.as_fd(), true, attributes).at(Step::BindRoot, path)?;
            }
            move_mount(&tree, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
                .at(Step::BindRoot, path)?;
            Ok(tree)
        }
    }
}

/// The directories of an overlay.
pub(crate) struct Layers<'a> {
    pub(crate) lowers: Vec<&'a Path>,
    pub(crate) data: &'a [PathBuf],
    pub(crate) upper: &'a Path,
    pub(crate) work: &'a Path,
}

fn open_directory(path: &Path) -> Result<OwnedFd, Failure> {
    open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).at(Step::OpenRoot, path)
}

/// Mounts an overlay; kernels before 6.7, which cannot add layers one by one, get a single option string.
fn mount_overlay(layers: &Layers<'_>, target: &Path) -> Result<OwnedFd, Failure> {
    match configure_overlay(layers) {
        Ok(mounted) => {
            move_mount(&mounted, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
                .at(Step::Overlay, target)?;
            Ok(mounted)
        }
        Err(Unmounted::NoAppend) => {
            mount_overlay_by_string(layers, target)?;
            open_directory(target)
        }
        Err(Unmounted::Failed(failure)) => Err(failure),
    }
}

/// Why there is no overlay.
pub(crate) enum Unmounted {
    /// The kernel does not know `lowerdir+`.
    NoAppend,
    Failed(Failure),
}

impl From<Failure> for Unmounted {
    fn from(failure: Failure) -> Unmounted {
        Unmounted::Failed(failure)
    }
}

/// Makes an overlay, attached nowhere yet.
pub(crate) fn configure_overlay(layers: &Layers<'_>) -> Result<OwnedFd, Unmounted> {
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).step(Step::Overlay)?;
    let context = overlay.as_fd();
    let explain = |failure: Failure, option: &str| failure.detail(explanation(context, option));
    for (position, lower) in layers.lowers.iter().enumerate() {
        match set_directory(context, "lowerdir+", lower) {
            Err(failure) if position == 0 && failure.errno == Errno::INVAL.raw_os_error() => {
                return Err(Unmounted::NoAppend);
            }
            other => other.map_err(|failure| explain(failure, "lowerdir+"))?,
        }
    }
    for data in layers.data {
        set_directory(context, "datadir+", data).map_err(|failure| explain(failure, "datadir+"))?;
    }
    for (option, path) in [("upperdir", layers.upper), ("workdir", layers.work)] {
        set_directory(context, option, path).map_err(|failure| explain(failure, option))?;
    }
    // `redirect_dir` and `metacopy` would leave markers in the upper directory instead of what the step made.
    for (option, value) in [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")] {
        let set = fsconfig_set_string(context, option, value).step(Step::Overlay);
        set.map_err(|failure| explain(failure, option))?;
    }
    let set = fsconfig_set_flag(context, "userxattr").step(Step::Overlay);
    set.map_err(|failure| explain(failure, "userxattr"))?;
    // The upper directory is scratch until its content has been stored: no need to sync it. Refused before 5.10.
    let _ = fsconfig_set_flag(context, "volatile");
    fsconfig_create(context).step(Step::Overlay).map_err(|failure| explain(failure, "create"))?;
    let mounted =
        fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).step(Step::Overlay)?;
    Ok(mounted)
}

/// Sets a directory by descriptor; where the kernel wants a string (before 6.13), by the descriptor's name in `/proc`, which needs no escapes.
fn set_directory(context: BorrowedFd<'_>, option: &str, path: &Path) -> Result<(), Failure> {
    let directory = open_directory(path)?;
    match fsconfig_set_fd(context, option, &directory) {
        Err(Errno::INVAL) => {
            let name = descriptor_name(&directory);
            fsconfig_set_string(context, option, name.as_str()).at(Step::Overlay, path)
        }
        other => other.at(Step::Overlay, path),
    }
}

fn descriptor_name(directory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", directory.as_raw_fd())
}

/// The option, and what the kernel wrote about it into the context's log.
fn explanation(context: BorrowedFd<'_>, option: &str) -> String {
    let mut text = option.to_owned();
    let mut message = [0_u8; 1024];
    while let Ok(length) = rustix::io::read(context, &mut message) {
        let line = String::from_utf8_lossy(message.get(..length).unwrap_or_default());
        text.push_str("; ");
        text.push_str(line.trim_start_matches("e ").trim_end());
    }
    text
}

fn mount_overlay_by_string(layers: &Layers<'_>, target: &Path) -> Result<(), Failure> {
    if let Some(data) = layers.data.first() {
        return Err(Failure::new(Step::Overlay, Errno::OPNOTSUPP).path(data).detail("datadir+"));
    }
    let open = |path: &&Path| open_directory(path);
    let lowers = layers.lowers.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let (upper, work) = (open_directory(layers.upper)?, open_directory(layers.work)?);
    let lowers: Vec<String> = lowers.iter().map(descriptor_name).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={},redirect_dir=nofollow,metacopy=off,index=off,userxattr,volatile\0",
        lowers.join(":"),
        descriptor_name(&upper),
        descriptor_name(&work),
    );
    if options.len() > MAX_OPTION_STRING {
        let detail = format!("{} layers need `lowerdir+`, Linux 6.7", lowers.len());
        return Err(Failure::new(Step::Overlay, Errno::TOOBIG).detail(detail));
    }
    let options = std::ffi::CStr::from_bytes_with_nul(options.as_bytes())
        .map_err(|_| Errno::INVAL)
        .step(Step::Overlay)?;
    mount("overlay", target, "overlay", MountFlags::empty(), options)
        .step(Step::Overlay)
        .map_err(|failure| failure.detail(format!("one option string of {} bytes", options.to_bytes().len())))
}

/// Makes the mounted root the root of the process and drops the old one.
pub(crate) fn pivot(root: BorrowedFd<'_>) -> Result<(), Failure> {
    fchdir(root).step(Step::PivotRoot)?;
    pivot_root(".", ".").step(Step::PivotRoot)?;
    // The old root is mounted on top of the new one now.
    unmount(".", UnmountFlags::DETACH).step(Step::PivotRoot)?;
    chdir("/").step(Step::PivotRoot)
}
