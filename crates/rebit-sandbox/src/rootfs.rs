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

use crate::image::mount_image;
use crate::report::{Context, Failure};
use crate::stubs::{self, Kind};
use crate::{Lower, RootFs, Step, sys};

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
    pub(crate) fn create(
        work: &Path,
        needed: &[(&Path, Kind)],
        lowers: &[Lower],
    ) -> Result<Scratch, Failure> {
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
        let made = scratch.populate(needed, lowers);
        if made.is_err() {
            scratch.remove()?;
        }
        made.map(|()| scratch)
    }

    fn populate(&self, needed: &[(&Path, Kind)], lowers: &[Lower]) -> Result<(), Failure> {
        let images = lowers.iter().enumerate().filter(|(_, lower)| matches!(lower, Lower::Image { .. }));
        let images = images.map(|(number, _)| self.image(number));
        for path in [self.stubs(), self.overlay_work()].into_iter().chain(images) {
            fs::create_dir(&path).at(Step::OpenRoot, &path)?;
        }
        stubs::populate_layer(&self.stubs(), needed)
    }

    /// Where the image that is the lower layer `number` is mounted.
    fn image(&self, number: usize) -> PathBuf {
        self.path.join(format!("image-{number}"))
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
            let stubs = Some(Lower::from(stubs)).filter(|_| data.is_empty());
            let directories = lowers.iter().chain(&stubs).enumerate();
            let directories = directories
                .map(|(number, lower)| open_lower(lower, || open_directory(&scratch.image(number))));
            let work = scratch.overlay_work();
            let layers = Layers {
                lowers: directories.collect::<Result<_, _>>()?,
                data,
                writable: Some((upper, &work)),
                with_images: lowers.iter().any(|lower| matches!(lower, Lower::Image { .. })),
            };
            let mounted = mount_overlay(&layers, open_directory(&scratch.mount_point())?)?;
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
    /// Open directories, topmost first.
    pub(crate) lowers: Vec<OwnedFd>,
    pub(crate) data: &'a [PathBuf],
    /// The upper directory and overlayfs' own; without them nothing can be written, and there have to be two lower ones.
    pub(crate) writable: Option<(&'a Path, &'a Path)>,
    /// Whether a lower directory is on another file system than the rest.
    pub(crate) with_images: bool,
}

impl Layers<'_> {
    fn directories(&self) -> Result<Vec<(&'static str, OwnedFd)>, Failure> {
        let Some((upper, work)) = self.writable else { return Ok(Vec::new()) };
        Ok(vec![("upperdir", open_directory(upper)?), ("workdir", open_directory(work)?)])
    }

    /// `redirect_dir` and `metacopy` would leave markers in the upper directory instead of what the step made. Without `xino`, the
    /// files of an image would have a device number that is not their directory's.
    fn options(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let xino = self.with_images.then_some(("xino", "on"));
        [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")].into_iter().chain(xino)
    }
}

/// Opens a lower layer. An image is mounted at `place` first: overlayfs takes layers from mounts that are attached.
pub(crate) fn open_lower(
    lower: &Lower,
    place: impl FnOnce() -> Result<OwnedFd, Failure>,
) -> Result<OwnedFd, Failure> {
    match lower {
        Lower::Directory { path } => open_directory(path),
        Lower::Image { path, data } => {
            let mounted = mount_image(path, data)?;
            crate::mounts::attach(mounted.as_fd(), place()?.as_fd()).at(Step::Image, path)?;
            Ok(mounted)
        }
    }
}

pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd, Failure> {
    open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).at(Step::OpenRoot, path)
}

/// Mounts an overlay; kernels before 6.7, which cannot add layers one by one, get a single option string.
pub(crate) fn mount_overlay(layers: &Layers<'_>, target: OwnedFd) -> Result<OwnedFd, Failure> {
    match configure_overlay(layers) {
        Ok(mounted) => {
            crate::mounts::attach(mounted.as_fd(), target.as_fd()).step(Step::Overlay)?;
            Ok(mounted)
        }
        Err(Unmounted::NoAppend) => {
            // What is opened by its name is the place; by the name of that descriptor, what is mounted on it.
            let name = PathBuf::from(descriptor_name(&target));
            let place = fs::read_link(&name).at(Step::Overlay, &name)?;
            mount_overlay_by_string(layers, &place)?;
            open_directory(&place)
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
        match set_descriptor(context, "lowerdir+", lower) {
            Err(failure) if position == 0 && failure.errno == Errno::INVAL.raw_os_error() => {
                return Err(Unmounted::NoAppend);
            }
            other => other.map_err(|failure| explain(failure, "lowerdir+"))?,
        }
    }
    for data in layers.data {
        let set = set_descriptor(context, "datadir+", &open_directory(data)?);
        set.map_err(|failure| explain(failure.path(data), "datadir+"))?;
    }
    for (option, directory) in layers.directories()? {
        set_descriptor(context, option, &directory).map_err(|failure| explain(failure, option))?;
    }
    for (option, value) in layers.options() {
        let set = fsconfig_set_string(context, option, value).step(Step::Overlay);
        set.map_err(|failure| explain(failure, option))?;
    }
    let set = fsconfig_set_flag(context, "userxattr").step(Step::Overlay);
    set.map_err(|failure| explain(failure, "userxattr"))?;
    if layers.writable.is_some() {
        // The upper directory is scratch until its content has been stored: no need to sync it. Refused before 5.10.
        let _ = fsconfig_set_flag(context, "volatile");
    }
    fsconfig_create(context).step(Step::Overlay).map_err(|failure| explain(failure, "create"))?;
    let mounted =
        fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).step(Step::Overlay)?;
    Ok(mounted)
}

/// Sets a directory by descriptor; where the kernel wants a string (before 6.13), by the descriptor's name in `/proc`, which needs no escapes.
fn set_descriptor(context: BorrowedFd<'_>, option: &str, directory: &OwnedFd) -> Result<(), Failure> {
    let set = match fsconfig_set_fd(context, option, directory) {
        Err(Errno::INVAL) => fsconfig_set_string(context, option, descriptor_name(directory).as_str()),
        other => other,
    };
    set.map_err(|errno| {
        let failure = Failure::new(Step::Overlay, errno);
        // Where the descriptor came from is what helps.
        match fs::read_link(descriptor_name(directory)) {
            Ok(path) => failure.path(&path),
            Err(_) => failure,
        }
    })
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
    let lowers: Vec<String> = layers.lowers.iter().map(descriptor_name).collect();
    let mut options = format!("lowerdir={}", lowers.join(":"));
    let directories = layers.directories()?;
    for (option, directory) in &directories {
        options.push_str(&format!(",{option}={}", descriptor_name(directory)));
    }
    for (option, value) in layers.options() {
        options.push_str(&format!(",{option}={value}"));
    }
    options.push_str(if directories.is_empty() { ",userxattr\0" } else { ",userxattr,volatile\0" });
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
