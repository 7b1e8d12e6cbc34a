//! The system calls that `rustix` does not have or marks unsafe. All `unsafe` code of the workspace is in this file.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::process::Pid;
use rustix::thread::UnshareFlags;
use seccompiler::sock_filter;

fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result < 0 {
        Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))
    } else {
        Ok(result)
    }
}

/// Moves the calling thread into new namespaces.
#[expect(unsafe_code, reason = "unshare can break other threads' assumptions about shared state")]
pub(crate) fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: only namespace flags are passed by this crate, never CLONE_FILES, CLONE_FS or CLONE_VM.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Which side of a fork this is.
pub(crate) enum Fork {
    Child,
    Parent(Pid),
}

/// Duplicates the process, which must have a single thread.
#[expect(unsafe_code, reason = "fork leaves only the calling thread in the child")]
pub(crate) fn fork() -> Result<Fork, Errno> {
    // SAFETY: the callers are the runner and the start of the program, which have one thread, so no lock can be held.
    let pid = check(libc::c_long::from(unsafe { libc::fork() }))?;
    Ok(match i32::try_from(pid).ok().and_then(Pid::from_raw) {
        Some(pid) => Fork::Parent(pid),
        None => Fork::Child,
    })
}

/// Ends the process without running anything of the parent's (buffers, exit handlers).
#[expect(unsafe_code, reason = "_exit is unsafe in libc")]
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// mount_setattr(2): sets attributes on the mount of `fd`, and with `recursive` on all mounts below it.
#[expect(unsafe_code, reason = "raw system call")]
pub(crate) fn mount_setattr(fd: BorrowedFd<'_>, recursive: bool, set: MountAttrFlags) -> Result<(), Errno> {
    let attr = MountAttr { attr_set: u64::from(set.bits()), attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a NUL-terminated constant, `attr` lives across the call and its size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// Sets the flags `IFF_UP` of the loopback interface of the current network namespace.
#[expect(unsafe_code, reason = "interface ioctls have no safe wrapper here")]
pub(crate) fn bring_up_loopback() -> Result<(), Errno> {
    // SAFETY: plain socket creation; the descriptor is owned right away.
    let socket = unsafe {
        let fd =
            check(libc::c_long::from(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)))?;
        OwnedFd::from_raw_fd(fd as RawFd)
    };
    // SAFETY: ifreq is plain data for which all zeroes is a value; the ioctls read and write only that struct.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        check(libc::c_long::from(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCGIFFLAGS as _,
            &raw mut request,
        )))?;
        request.ifr_ifru.ifru_flags |= (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        check(libc::c_long::from(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )))?;
    }
    Ok(())
}

/// Gives every signal its default action and empties the signal mask.
#[expect(unsafe_code, reason = "signal dispositions have no safe wrapper")]
pub(crate) fn reset_signals() {
    /// All zeroes: default action, no flags, empty mask. At least as large as the kernel's structure on any architecture.
    const DEFAULT_ACTION: [u64; 8] = [0; 8];
    const SIGNALS: libc::c_int = 64;
    // SAFETY: the kernel reads an action of zeroes and no handler runs. The raw call reaches the two signals that the C library
    // keeps for itself, too; those that cannot be changed are refused by the kernel, which is fine.
    unsafe {
        for signal in 1..=SIGNALS {
            let none = std::ptr::null_mut::<u8>();
            libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT_ACTION.as_ptr(), none, size_of::<u64>());
        }
        let mut empty: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut empty);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, std::ptr::null_mut());
    }
}

/// Ignores the signals that a terminal sends: the runner must outlive the command to report its end.
#[expect(unsafe_code, reason = "signal dispositions have no safe wrapper")]
pub(crate) fn ignore_terminal_signals() {
    // SAFETY: SIG_IGN is installed, no handler runs.
    unsafe {
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGPIPE, libc::SIGTTOU, libc::SIGTTIN]
        {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
}

/// Installs a seccomp filter without `no_new_privs`; needs `CAP_SYS_ADMIN` in the current user namespace.
#[expect(unsafe_code, reason = "raw system call")]
pub(crate) fn install_seccomp(filter: &[sock_filter]) -> Result<(), Errno> {
    let length = u16::try_from(filter.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut().cast() };
    // SAFETY: seccompiler's sock_filter has the layout of the kernel's; the kernel copies the program before the call returns.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) })
        .map(drop)
}

/// Asks the kernel whether it knows a seccomp action; fails without seccomp filters.
#[expect(unsafe_code, reason = "raw system call")]
pub(crate) fn seccomp_action_available(action: u32) -> Result<(), Errno> {
    // SAFETY: the kernel reads four bytes.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) })
        .map(drop)
}

/// ABI version of Landlock.
#[expect(unsafe_code, reason = "raw system call")]
pub(crate) fn landlock_abi() -> Result<i64, Errno> {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with this flag the kernel reads no memory.
    check(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    })
}

/// Turns address space randomisation off for what is executed next.
#[expect(unsafe_code, reason = "personality has no safe wrapper")]
pub(crate) fn disable_aslr() -> Result<(), Errno> {
    // SAFETY: changes only flags of the calling process.
    check(libc::c_long::from(unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) }))
        .map(drop)
}

/// Marks all descriptors from `first` on to be closed by exec.
#[expect(unsafe_code, reason = "raw system call")]
pub(crate) fn close_on_exec_from(first: RawFd) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: no descriptor is closed now, so no owner is left with a stale one.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Replaces the process image; returns only on failure.
#[expect(unsafe_code, reason = "execve takes raw pointer arrays")]
pub(crate) fn execve(program: &CString, args: &[CString], env: &[CString]) -> Errno {
    let pointers = |strings: &[CString]| {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both arrays end with a null pointer and point to strings that outlive the call.
    let result = unsafe { libc::execve(program.as_ptr(), args.as_ptr(), env.as_ptr()) };
    check(libc::c_long::from(result)).err().unwrap_or(Errno::IO)
}

/// Lets the spawned process keep these descriptors, under the same numbers.
///
/// The close-on-exec flag is cleared in the child only, so that no other child of a threaded program inherits them.
#[expect(unsafe_code, reason = "pre_exec runs between fork and exec")]
pub(crate) fn keep_descriptors(command: &mut Command, descriptors: Vec<RawFd>) {
    // SAFETY: the closure calls only fcntl, which is async-signal-safe, and does not allocate.
    unsafe {
        command.pre_exec(move || {
            for fd in &descriptors {
                if libc::fcntl(*fd, libc::F_SETFD, 0) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
}

/// Takes ownership of a descriptor that was inherited, and marks it close-on-exec; refuses 0, 1, 2 and closed ones.
#[expect(unsafe_code, reason = "a number becomes an owned descriptor")]
pub(crate) fn take_inherited(fd: RawFd) -> Result<OwnedFd, Errno> {
    if fd <= 2 {
        return Err(Errno::BADF);
    }
    // SAFETY: fcntl fails on a closed descriptor; an open one was inherited by this process for this purpose and nobody else
    // owns it, because this is the first thing that the program does.
    unsafe {
        check(libc::c_long::from(libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC)))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}
