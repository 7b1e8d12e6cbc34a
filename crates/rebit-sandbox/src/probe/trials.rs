//! The trials behind a [`Probe`], made by the single-threaded runner, those that change the process in a child of it.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    Access, CWD, Mode, OFlags, ResolveFlags, XattrFlags, access, ftruncate, getxattr, mkdirat, open, openat,
    openat2, setxattr,
};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags, MoveMountFlags, mount_change, move_mount};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitOptions, fchdir, getegid, geteuid, getuid, waitpid};
use rustix::system::uname;
use rustix::thread::UnshareFlags;

use super::{Driver, Finding, Probe};
use crate::mounts::new_mount;
use crate::report::Failure;
use crate::rootfs::{Layers, Unmounted, configure_overlay, open_directory};
use crate::userns::{find_program, subordinate_ranges};
use crate::{Privilege, current_privilege, sys};

/// A detail for a yes, a reason for a no.
type Trial = Result<String, String>;

fn finding(trial: Trial) -> Finding {
    let available = trial.is_ok();
    Finding { available, detail: trial.unwrap_or_else(|reason| reason) }
}

fn because(action: &'static str) -> impl Fn(Errno) -> String {
    move |errno| format!("{action}: {}", std::io::Error::from(errno))
}

/// Tries everything; nothing only if not even `/proc/self` can be read.
pub(super) fn all() -> Option<Probe> {
    let privilege = current_privilege().ok()?;
    let uid = getuid();
    let is_root = geteuid().is_root();
    let overlay =
        if is_root { in_child(|| overlay(&[])) } else { Err("needs root or a user namespace".to_owned()) };
    let overlay = finding(overlay);
    let in_namespace = finding(in_child(|| enter_namespace().and_then(|()| overlay_here(&[]))));
    let data_only = finding(in_child(data_only));
    let usable = if is_root { overlay.available } else { in_namespace.available };
    let driver = match (usable, data_only.available) {
        (true, true) => Driver::DataOnlyOverlay,
        (true, false) => Driver::Overlay,
        (false, _) => Driver::Checkout,
    };
    Some(Probe {
        kernel: uname().release().to_string_lossy().into_owned(),
        euid: geteuid().as_raw(),
        privilege,
        user_namespaces: finding(in_child(|| {
            sys::unshare(UnshareFlags::NEWUSER).map_err(because("create")).map(|()| String::new())
        })),
        newuidmap: finding(newuidmap()),
        subuids: subordinate_ranges("/etc/subuid", uid).unwrap_or_default(),
        subgids: subordinate_ranges("/etc/subgid", uid).unwrap_or_default(),
        overlay,
        overlay_in_user_namespace: in_namespace,
        overlay_lowerdir_append: finding(in_child(lowerdir_append)),
        overlay_data_only: data_only,
        erofs: finding(listed_filesystem("erofs").map(|_| "mounted by root only".to_owned())),
        fuse: finding(fuse()),
        seccomp: finding(
            sys::seccomp_action_available(libc::SECCOMP_RET_ERRNO)
                .map_err(because("ask"))
                .map(|()| String::new()),
        ),
        landlock: finding(sys::landlock_abi().map_err(because("ask")).map(|abi| format!("ABI {abi}"))),
        cgroups: finding(cgroups()),
        openat2: finding(has_openat2()),
        fresh_proc: finding(in_child(fresh_proc)),
        nested: matches!(privilege, Privilege::UserNamespace { .. }) || in_inner_namespace(),
        driver,
    })
}

/// Runs a trial in a child process, so that nothing it changes stays.
fn in_child(trial: impl FnOnce() -> Trial) -> Trial {
    let (receive, send) = pipe_with(PipeFlags::CLOEXEC).map_err(because("create a pipe"))?;
    let child = match sys::fork().map_err(because("fork"))? {
        sys::Fork::Parent(child) => child,
        sys::Fork::Child => {
            let (code, text) = match trial() {
                Ok(detail) => (0, detail),
                Err(reason) => (1, reason),
            };
            let sent = rustix::io::write(&send, text.as_bytes());
            sys::exit_now(if sent.is_ok() { code } else { 1 })
        }
    };
    drop(send);
    let mut text = String::new();
    let read = fs::File::from(receive).read_to_string(&mut text);
    let status = waitpid(Some(child), WaitOptions::empty()).map_err(because("wait"))?;
    read.map_err(|error| format!("read the result: {error}"))?;
    match status.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(text),
        _ => Err(text),
    }
}

/// Enters a user namespace in which only the caller is mapped.
fn enter_namespace() -> Result<(), String> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    sys::unshare(UnshareFlags::NEWUSER).map_err(because("create a user namespace"))?;
    let write =
        |file: &str, text: String| fs::write(file, text).map_err(|error| format!("write {file}: {error}"));
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))
}

/// Becomes able to mount: as root it is, else in a user namespace.
fn become_mounter() -> Result<(), String> {
    if geteuid().is_root() { Ok(()) } else { enter_namespace() }
}

/// Makes a mount namespace with an empty memory file system as working directory, with the directories of an overlay.
fn enter_scratch() -> Result<(), String> {
    sys::unshare(UnshareFlags::NEWNS).map_err(because("create a mount namespace"))?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(because("make mounts private"))?;
    let memory = new_mount("tmpfs", &[], MountAttrFlags::empty()).map_err(because("mount tmpfs"))?;
    move_mount(&memory, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(because("attach tmpfs"))?;
    fchdir(&memory).map_err(because("enter tmpfs"))?;
    for name in ["lower", "data", "upper", "work"] {
        mkdirat(CWD, name, Mode::from_raw_mode(0o755)).map_err(because("make a directory"))?;
    }
    Ok(())
}

fn overlay(data: &[PathBuf]) -> Trial {
    become_mounter()?;
    overlay_here(data)
}

fn overlay_here(data: &[PathBuf]) -> Trial {
    enter_scratch()?;
    mount_overlay(data).map(|_| String::new())
}

fn mount_overlay(data: &[PathBuf]) -> Result<std::os::fd::OwnedFd, String> {
    let words = |failure: Failure| {
        format!("{}: {}", failure.detail, std::io::Error::from_raw_os_error(failure.errno))
    };
    let lower = open_directory(Path::new("lower")).map_err(words)?;
    let writable = Some((Path::new("upper"), Path::new("work")));
    let layers = Layers { lowers: vec![lower], data, writable, with_images: false };
    configure_overlay(&layers).map_err(|unmounted| match unmounted {
        Unmounted::NoAppend => "the kernel does not know `lowerdir+`".to_owned(),
        Unmounted::Failed(failure) => words(failure),
    })
}

fn lowerdir_append() -> Trial {
    become_mounter()?;
    enter_scratch()?;
    let context = rustix::mount::fsopen("overlay", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(because("open overlay"))?;
    let directory = open("lower", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(because("open"))?;
    if rustix::mount::fsconfig_set_fd(&context, "lowerdir+", &directory).is_ok() {
        return Ok("by descriptor".to_owned());
    }
    rustix::mount::fsconfig_set_string(&context, "lowerdir+", "lower").map_err(because("set"))?;
    Ok("by path".to_owned())
}

/// Reads a file whose metadata is in one layer and whose content is in a data-only layer.
fn data_only() -> Trial {
    const CONTENT: &[u8] = b"content";
    become_mounter()?;
    enter_scratch()?;
    let make = |path: &str| {
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
        openat(CWD, path, flags, Mode::from_raw_mode(0o644)).map_err(because("make a file"))
    };
    rustix::io::write(make("data/object")?, CONTENT).map_err(because("write a file"))?;
    ftruncate(make("lower/file")?, CONTENT.len() as u64).map_err(because("make a sparse file"))?;
    for (name, value) in [("user.overlay.metacopy", &b""[..]), ("user.overlay.redirect", b"/object")] {
        setxattr("lower/file", name, value, XattrFlags::empty())
            .map_err(because("set an extended attribute"))?;
    }
    let mounted = mount_overlay(&[PathBuf::from("data")])?;
    let file = openat(mounted.as_fd(), "file", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let mut bytes = Vec::new();
    let file = file.map_err(because("open through the overlay"))?;
    fs::File::from(file)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("read through the overlay: {error}"))?;
    if bytes == CONTENT {
        Ok(String::new())
    } else {
        Err("the content of the data layer does not show".to_owned())
    }
}

fn fresh_proc() -> Trial {
    become_mounter()?;
    sys::unshare(UnshareFlags::NEWPID | UnshareFlags::NEWNS).map_err(because("create namespaces"))?;
    in_child(|| {
        new_mount("proc", &[], MountAttrFlags::empty()).map_err(because("mount")).map(|_| String::new())
    })
}

fn newuidmap() -> Trial {
    for name in ["newuidmap", "newgidmap"] {
        let path = find_program(name).ok_or_else(|| format!("`{name}` is not installed"))?;
        let mode =
            fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?.permissions().mode();
        let has_capability = getxattr(&path, "security.capability", &mut [0_u8; 64]).is_ok();
        if mode & 0o4000 == 0 && !has_capability {
            return Err(format!("`{}` is neither set-uid nor has capabilities", path.display()));
        }
    }
    Ok(String::new())
}

fn listed_filesystem(name: &str) -> Trial {
    let list = fs::read_to_string("/proc/filesystems")
        .map_err(|error| format!("read /proc/filesystems: {error}"))?;
    let listed = list.lines().any(|line| line.split_whitespace().last() == Some(name));
    if listed {
        Ok(String::new())
    } else {
        Err("not in the kernel, or a module that is not loaded".to_owned())
    }
}

fn fuse() -> Trial {
    listed_filesystem("fuse")?;
    open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(because("open /dev/fuse"))?;
    Ok(String::new())
}

fn cgroups() -> Trial {
    let pure = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let hybrid = Path::new("/sys/fs/cgroup/unified").exists();
    let (root, version) = match (pure, hybrid) {
        (true, _) => ("/sys/fs/cgroup", "version 2"),
        (false, true) => ("/sys/fs/cgroup/unified", "versions 1 and 2 together"),
        (false, false) if Path::new("/sys/fs/cgroup").exists() => {
            return Err("version 1, or not mounted".to_owned());
        }
        (false, false) => return Err("not mounted".to_owned()),
    };
    let own = fs::read_to_string("/proc/self/cgroup")
        .map_err(|error| format!("{version}; read the own one: {error}"))?;
    let own = own
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .ok_or(format!("{version}; not in one of version 2"))?;
    access(Path::new(root).join(own), Access::WRITE_OK)
        .map_err(|_| format!("{version}; not writable for this user"))?;
    Ok(version.to_owned())
}

fn has_openat2() -> Trial {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    openat2(CWD, ".", flags, Mode::empty(), ResolveFlags::BENEATH)
        .map_err(because("open"))
        .map(|_| String::new())
}

/// Whether the current user namespace is not the initial one, for a user other than root as well.
fn in_inner_namespace() -> bool {
    fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_whitespace().ne(["0", "0", "4294967295"]))
}
