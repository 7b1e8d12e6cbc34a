//! `/dev`: the same few nodes everywhere, and no way to use another one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Dev, FileType, Mode, OFlags, makedev, mkdirat, mknodat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::Step;
use crate::mounts::{attach, copy_tree, new_mount};
use crate::report::{Context, Failure};

/// Name, major and minor number, from the kernel's `devices.txt`.
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// One mount per device node, attached nowhere yet.
///
/// `/dev` is `nodev` as a whole, so that a node made there later cannot be opened; each node that may be used is a mount of its own.
pub(crate) struct Nodes(Vec<(&'static str, OwnedFd)>);

/// Makes the nodes in `scratch`, a memory file system; takes the host's where the kernel does not allow it (in a user namespace).
pub(crate) fn prepare_nodes(scratch: BorrowedFd<'_>) -> Result<Nodes, Failure> {
    let mut nodes = Vec::with_capacity(NODES.len());
    for (name, major, minor) in NODES {
        let device: Dev = makedev(major, minor);
        let tree = match mknodat(scratch, name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), device)
        {
            Ok(()) => copy_tree(scratch, name, false),
            Err(Errno::PERM) => copy_tree(CWD, Path::new("/dev").join(name), false),
            Err(errno) => Err(errno),
        };
        nodes.push((name, tree.at(Step::Dev, Path::new("/dev").join(name))?));
    }
    Ok(Nodes(nodes))
}

impl Nodes {
    /// A further mount of the null device, with which a file is masked.
    pub(crate) fn copy_null(&self) -> Result<OwnedFd, Errno> {
        let (_, null) = self.0.iter().find(|(name, _)| *name == "null").ok_or(Errno::NOENT)?;
        copy_tree(null.as_fd(), "", false)
    }
}

/// Mounts `/dev` on `target` with everything below it.
pub(crate) fn mount_dev(
    target: BorrowedFd<'_>,
    nodes: &Nodes,
    nodev: MountAttrFlags,
    shm_size: u64,
) -> Result<(), Failure> {
    let nosuid = MountAttrFlags::MOUNT_ATTR_NOSUID;
    let options = [("mode", "755"), ("size", "65536k")];
    let dev = new_mount("tmpfs", &options, nosuid | nodev).at(Step::Dev, "/dev")?;
    attach(dev.as_fd(), target).at(Step::Dev, "/dev")?;
    for (name, tree) in &nodes.0 {
        let place = make_file(dev.as_fd(), name).at(Step::Dev, name)?;
        attach(tree.as_fd(), place.as_fd()).at(Step::Dev, name)?;
    }
    for (name, link) in LINKS {
        symlinkat(link, &dev, name).at(Step::Dev, name)?;
    }
    let noexec = MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let pts = new_pts(nosuid | noexec).at(Step::Dev, "/dev/pts")?;
    attach_in_new_directory(dev.as_fd(), "pts", pts.as_fd())?;
    let size = shm_size.to_string();
    let shm = new_mount("tmpfs", &[("mode", "1777"), ("size", &size)], nosuid | noexec | nodev);
    attach_in_new_directory(dev.as_fd(), "shm", shm.at(Step::Dev, "/dev/shm")?.as_fd())?;
    match new_mount("mqueue", &[], nosuid | noexec | nodev) {
        Ok(queues) => attach_in_new_directory(dev.as_fd(), "mqueue", queues.as_fd()),
        // A kernel without POSIX message queues.
        Err(Errno::NODEV) => Ok(()),
        Err(errno) => Err(Failure::new(Step::Dev, errno).path(Path::new("/dev/mqueue"))),
    }
}

/// A private set of pseudo terminals; their group is `tty` (5) where that group is mapped.
fn new_pts(attributes: MountAttrFlags) -> Result<OwnedFd, Errno> {
    let options = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    let with_flag = |options: &[(&str, &str)]| {
        let context = rustix::mount::fsopen("devpts", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (name, value) in options {
            if value.is_empty() {
                rustix::mount::fsconfig_set_flag(&context, *name)?;
            } else {
                rustix::mount::fsconfig_set_string(&context, *name, *value)?;
            }
        }
        rustix::mount::fsconfig_create(&context)?;
        rustix::mount::fsmount(&context, rustix::mount::FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    match with_flag(&options) {
        Err(Errno::INVAL) => with_flag(&options[..3]),
        other => other,
    }
}

fn make_file(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::from_raw_mode(0o666))
}

fn attach_in_new_directory(dev: BorrowedFd<'_>, name: &str, mount: BorrowedFd<'_>) -> Result<(), Failure> {
    let make = || {
        mkdirat(dev, name, Mode::from_raw_mode(0o755))?;
        let place = openat(dev, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        attach(mount, place.as_fd())
    };
    make().at(Step::Dev, Path::new("/dev").join(name))
}
