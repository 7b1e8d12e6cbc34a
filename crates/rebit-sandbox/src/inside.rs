//! What PID 1 does before it becomes the command.

use std::ffi::{CString, OsStr, OsString};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{FileType, Gid, Mode, Uid, fchown, fstat};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::process::{Rlimit, chdir, fchdir, set_parent_process_death_signal, setrlimit, setsid, umask};
use rustix::system::{setdomainname, sethostname};
use rustix::thread::UnshareFlags;
use seccompiler::sock_filter;

use crate::mounts::{attach, new_mount};
use crate::report::{Context, Failure, Message};
use crate::rootfs::{self, Scratch};
use crate::stubs::{self, Kind, Made};
use crate::{
    Network, Output, Resource, RootFs, RunSpec, Security, Stdin, Step, capabilities, devices, kernelfs,
    mounts, sys,
};

/// Where a program without `/` is looked for when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Sets everything up and becomes the command; on failure writes to `messages` and exits.
pub(crate) fn become_command(
    spec: &RunSpec,
    scratch: Option<&Scratch>,
    filter: &[sock_filter],
    messages: OwnedFd,
) -> ! {
    let mut messages = std::fs::File::from(messages);
    let last = match prepare(spec, scratch, filter, &mut messages) {
        Ok(()) => {
            let errno = execute(spec);
            Message::ExecFailed {
                program: spec.args.first().cloned().unwrap_or_default(),
                errno: errno.raw_os_error(),
            }
        }
        Err(failure) => Message::Failed(failure),
    };
    let sent = send(&mut messages, &last);
    sys::exit_now(if sent.is_ok() { 0 } else { 1 })
}

fn send(messages: &mut std::fs::File, message: &Message) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(message).map_err(|_| Errno::INVAL).step(Step::Process)?;
    line.push(b'\n');
    messages.write_all(&line).step(Step::Process)
}

fn prepare(
    spec: &RunSpec,
    scratch: Option<&Scratch>,
    filter: &[sock_filter],
    messages: &mut std::fs::File,
) -> Result<(), Failure> {
    die_with_runner()?;
    umask(Mode::empty());
    enter_namespaces(spec)?;
    let made = assemble(spec, scratch)?;
    send(messages, &Message::Made(made))?;
    set_limits(spec)?;
    sys::disable_aslr().step(Step::Personality)?;
    own_output(spec);
    if spec.stdin == Stdin::Null {
        setsid().step(Step::Process)?;
    }
    chdir(&spec.cwd).at(Step::WorkingDirectory, &spec.cwd)?;
    // The filter goes first: without `no_new_privs`, which would break `sudo`, installing one needs a capability that is dropped next.
    if spec.security == Security::Sandbox {
        sys::install_seccomp(filter).step(Step::Seccomp)?;
    }
    capabilities::change_user(spec)?;
    die_with_runner()?;
    umask(Mode::from_raw_mode(spec.umask));
    sys::reset_signals();
    sys::close_on_exec_from(3).step(Step::Process)
}

/// Asks for a signal when the runner dies; a change of credentials takes it back, so this is done twice.
fn die_with_runner() -> Result<(), Failure> {
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).step(Step::Process)
}

fn enter_namespaces(spec: &RunSpec) -> Result<(), Failure> {
    let mut namespaces = UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
    namespaces.set(UnshareFlags::NEWNET, spec.network == Network::None);
    sys::unshare(namespaces).step(Step::Namespaces)?;
    match sys::unshare(UnshareFlags::NEWCGROUP) {
        // A kernel without cgroup namespaces: only /proc/self/cgroup looks different.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(errno) => return Err(Failure::new(Step::Namespaces, errno).detail("cgroup")),
    }
    // Nothing that is mounted from now on is seen by the host, and the other way round.
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .at(Step::Namespaces, "/")?;
    sethostname(spec.hostname.as_bytes()).step(Step::HostName)?;
    setdomainname(b"(none)").step(Step::HostName)?;
    if spec.network == Network::None {
        sys::bring_up_loopback().step(Step::Network)?;
    }
    Ok(())
}

/// Puts the root file system together and makes it the root.
fn assemble(spec: &RunSpec, scratch: Option<&Scratch>) -> Result<Vec<Made>, Failure> {
    let confined = spec.security == Security::Sandbox;
    let nodev = if confined { MountAttrFlags::MOUNT_ATTR_NODEV } else { MountAttrFlags::empty() };
    let mut made = Vec::new();
    let root = rootfs::mount_root(&spec.root, scratch, nodev)?;
    let root_fd = root.as_fd();
    let dev = stubs::open_target(root_fd, Path::new("/dev"), Kind::Directory, &mut made)?;
    let (nodes, prepared) = with_memory_scratch(dev.as_fd(), |memory| {
        let nodes = devices::prepare_nodes(memory)?;
        let prepared = spec.mounts.iter().enumerate();
        let prepared = prepared.map(|(number, mount)| mounts::prepare(mount, number, memory, nodev));
        Ok((nodes, prepared.collect::<Result<Vec<_>, Failure>>()?))
    })?;
    devices::mount_dev(dev.as_fd(), &nodes, nodev, spec.shm_size)?;
    let proc = stubs::open_target(root_fd, Path::new("/proc"), Kind::Directory, &mut made)?;
    kernelfs::mount_proc(proc.as_fd())?;
    let sys_target = stubs::open_target(root_fd, Path::new("/sys"), Kind::Directory, &mut made)?;
    kernelfs::mount_sys(sys_target.as_fd(), confined)?;
    if confined {
        kernelfs::mask(root_fd, &nodes)?;
    }
    for mount in &prepared {
        mount.attach_in(root_fd, &mut made)?;
    }
    if let RootFs::Directory { readonly: true, path } = &spec.root {
        sys::mount_setattr(root_fd, false, MountAttrFlags::MOUNT_ATTR_RDONLY).at(Step::BindRoot, path)?;
    }
    rootfs::pivot(root_fd)?;
    Ok(made)
}

/// Lends a memory file system, mounted on `place` meanwhile: mounts can be copied only from one that is attached.
fn with_memory_scratch<T>(
    place: BorrowedFd<'_>,
    body: impl FnOnce(BorrowedFd<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let memory =
        new_mount("tmpfs", &[("mode", "700")], MountAttrFlags::MOUNT_ATTR_NOSUID).step(Step::Mount)?;
    attach(memory.as_fd(), place).step(Step::Mount)?;
    let result = body(memory.as_fd())?;
    fchdir(&memory).step(Step::Mount)?;
    unmount(".", UnmountFlags::DETACH).step(Step::Mount)?;
    Ok(result)
}

fn set_limits(spec: &RunSpec) -> Result<(), Failure> {
    for limit in &spec.limits {
        let resource = match limit.resource {
            Resource::AddressSpace => rustix::process::Resource::As,
            Resource::Core => rustix::process::Resource::Core,
            Resource::Cpu => rustix::process::Resource::Cpu,
            Resource::Data => rustix::process::Resource::Data,
            Resource::FileSize => rustix::process::Resource::Fsize,
            Resource::Locks => rustix::process::Resource::Locks,
            Resource::LockedMemory => rustix::process::Resource::Memlock,
            Resource::MessageQueues => rustix::process::Resource::Msgqueue,
            Resource::Nice => rustix::process::Resource::Nice,
            Resource::OpenFiles => rustix::process::Resource::Nofile,
            Resource::Processes => rustix::process::Resource::Nproc,
            Resource::ResidentMemory => rustix::process::Resource::Rss,
            Resource::RealtimePriority => rustix::process::Resource::Rtprio,
            Resource::RealtimeTime => rustix::process::Resource::Rttime,
            Resource::PendingSignals => rustix::process::Resource::Sigpending,
            Resource::Stack => rustix::process::Resource::Stack,
        };
        let set = setrlimit(resource, Rlimit { current: limit.soft, maximum: limit.hard }).step(Step::Limit);
        set.map_err(|failure| failure.detail(limit.resource.name()))?;
    }
    Ok(())
}

/// Gives captured output to the user of the spec, so that it can open `/dev/stdout`.
fn own_output(spec: &RunSpec) {
    if spec.output != Output::Capture || spec.uid == 0 {
        return;
    }
    let (uid, gid) = (Uid::from_raw(spec.uid), Gid::from_raw(spec.gid));
    let (stdout, stderr) = (rustix::stdio::stdout(), rustix::stdio::stderr());
    for stream in [stdout, stderr] {
        let is_pipe = fstat(stream).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
        if is_pipe {
            // Writing to the inherited descriptor works in any case, so a refusal is no reason to give up.
            let _ = fchown(stream, Some(uid), Some(gid));
        }
    }
}

/// Executes the program; returns only on failure.
fn execute(spec: &RunSpec) -> Errno {
    let Ok((args, env)) = strings_of(spec) else { return Errno::INVAL };
    let Some(program) = spec.args.first() else { return Errno::NOENT };
    if program.as_bytes().contains(&b'/') {
        return CString::new(program.as_bytes()).map_or(Errno::INVAL, |path| sys::execve(&path, &args, &env));
    }
    let path = spec.env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    let mut result = Errno::NOENT;
    for directory in path.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes().split(|byte| *byte == b':') {
        let directory = if directory.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(directory) };
        let candidate = Path::new(directory).join(program);
        let Ok(candidate) = CString::new(candidate.as_os_str().as_bytes()) else { return Errno::INVAL };
        match sys::execve(&candidate, &args, &env) {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => result = Errno::ACCESS,
            errno => return errno,
        }
    }
    result
}

type Strings = Vec<CString>;

fn strings_of(spec: &RunSpec) -> Result<(Strings, Strings), std::ffi::NulError> {
    let args = spec.args.iter().map(|arg| CString::new(arg.as_bytes())).collect::<Result<_, _>>()?;
    let variable = |(name, value): &(OsString, OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
    };
    let env = spec.env.iter().map(variable).collect::<Result<_, _>>()?;
    Ok((args, env))
}
