//! Rootless operation: the program moves itself into a user namespace in which it is root.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, getgid, getpid, getuid, waitpid};
use rustix::thread::{UnshareFlags, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde::{Deserialize, Serialize};

use crate::{SandboxError, sys};

/// Where the programs that write id maps are looked for: a fixed list, since they act with more rights than the caller has.
const PROGRAM_DIRECTORIES: [&str; 5] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin"];

/// What this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Privilege {
    /// uid 0 of the initial user namespace (or one that maps every id onto itself).
    Root,
    /// uid 0 of another user namespace.
    UserNamespace {
        /// Number of mapped user ids; 1 means that only the caller's own id is there: `chown` to others fails.
        mapped_ids: u64,
    },
    /// Any other uid.
    Unprivileged,
}

/// A range of ids that a user may map, from `/etc/subuid` or `/etc/subgid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubordinateRange {
    /// First id outside.
    pub start: u64,
    /// Number of ids.
    pub count: u64,
}

/// Tells what this process is, from its effective uid and `/proc/self/uid_map`.
pub fn current_privilege() -> Result<Privilege, SandboxError> {
    let map = fs::read_to_string("/proc/self/uid_map").map_err(failed("read /proc/self/uid_map"))?;
    Ok(privilege_of(rustix::process::geteuid().as_raw(), &map))
}

/// Makes the program root of a new user namespace, unless its effective uid is 0 already.
///
/// Maps 0 to the caller and 1.. to the caller's ranges of `/etc/subuid` and `/etc/subgid` by `newuidmap` and `newgidmap`. When there are no ranges, or
/// these programs are missing or refuse, only 0 is mapped. Then executes `/proc/self/exe` again in place, with the same arguments and environment: on
/// success this function does not return in the process that called it; it returns in the second incarnation, with
/// [`Privilege::UserNamespace`], whose `mapped_ids` of 1 tells the caller to warn. There is no waiting process: signals and exit status need no forwarding.
///
/// # Errors
///
/// [`SandboxError::UserNamespace`] when threads are running already or the kernel refuses the namespace.
pub fn enter_user_namespace() -> Result<Privilege, SandboxError> {
    let privilege = current_privilege()?;
    if privilege != Privilege::Unprivileged {
        return Ok(privilege);
    }
    let threads = fs::read_dir("/proc/self/task").map_err(failed("count threads"))?.count();
    if threads != 1 {
        let source = io::Error::other(format!("{threads} threads are running, but only one may"));
        return Err(SandboxError::UserNamespace { action: "leave the old one", source });
    }
    let (uid, gid) = (getuid(), getgid());
    let ranges = (subordinate_ranges("/etc/subuid", uid)?, subordinate_ranges("/etc/subgid", uid)?);
    let programs = find_program("newuidmap").zip(find_program("newgidmap"));
    let mapped = match (&ranges, programs) {
        ((uids, gids), Some(programs)) if !uids.is_empty() && !gids.is_empty() => {
            let uid_map = map_arguments(uid.as_raw(), uids);
            let gid_map = map_arguments(gid.as_raw(), gids);
            unshare_with_helper(|pid| write_maps(pid, &programs, &uid_map, &gid_map))?
        }
        _ => {
            sys::unshare(UnshareFlags::NEWUSER).map_err(refused("create it"))?;
            false
        }
    };
    if !mapped {
        map_one(uid, gid)?;
    }
    become_root(mapped)?;
    let mut args = std::env::args_os();
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    Err(SandboxError::UserNamespace {
        action: "execute this program again",
        source: command.args(args).exec(),
    })
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> SandboxError {
    move |source| SandboxError::UserNamespace { action, source }
}

fn refused(action: &'static str) -> impl Fn(Errno) -> SandboxError {
    move |errno| SandboxError::UserNamespace { action, source: errno.into() }
}

fn privilege_of(euid: u32, uid_map: &str) -> Privilege {
    if euid != 0 {
        return Privilege::Unprivileged;
    }
    let mut mapped_ids = 0_u64;
    for line in uid_map.lines() {
        let fields: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        match fields.as_slice() {
            // The whole range onto itself: the initial namespace, or one that is as good.
            [0, 0, 4_294_967_295] => return Privilege::Root,
            [_, _, count] => mapped_ids = mapped_ids.saturating_add(*count),
            _ => {}
        }
    }
    Privilege::UserNamespace { mapped_ids }
}

/// Ranges of a user in `/etc/subuid` or `/etc/subgid`; none when the file is missing.
pub(crate) fn subordinate_ranges(file: &str, uid: Uid) -> Result<Vec<SubordinateRange>, SandboxError> {
    let read = |path: &str| match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    };
    let passwd = read("/etc/passwd").map_err(failed("read /etc/passwd"))?;
    let text = read(file).map_err(failed("read the subordinate ids"))?;
    Ok(ranges_of(&text, uid.as_raw(), user_name(&passwd, uid.as_raw())))
}

fn user_name(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

/// Lines are `user:start:count`, the user by name or by number, as in subuid(5); others are left out.
fn ranges_of(text: &str, uid: u32, name: Option<&str>) -> Vec<SubordinateRange> {
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let user = fields.next()?;
        if user.parse() != Ok(uid) && Some(user) != name {
            return None;
        }
        let (start, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (count > 0).then_some(SubordinateRange { start, count })
    };
    text.lines().filter_map(range).collect()
}

pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    PROGRAM_DIRECTORIES.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.is_file())
}

/// Triples `inside outside count`: 0 is the caller, the ranges follow without a gap.
fn map_arguments(own: u32, ranges: &[SubordinateRange]) -> Vec<String> {
    let mut arguments = vec!["0".to_owned(), own.to_string(), "1".to_owned()];
    let mut inside = 1_u64;
    for range in ranges {
        arguments.extend([inside.to_string(), range.start.to_string(), range.count.to_string()]);
        inside = inside.saturating_add(range.count);
    }
    arguments
}

/// Enters a new user namespace while a helper process, which stays outside, runs `write` with this process's id.
///
/// Returns whether the helper succeeded.
fn unshare_with_helper(write: impl FnOnce(Pid) -> bool) -> Result<bool, SandboxError> {
    let (wait_end, go_end) = pipe_with(PipeFlags::CLOEXEC).map_err(refused("create a pipe"))?;
    let pid = getpid();
    let helper = match sys::fork().map_err(refused("start a helper"))? {
        sys::Fork::Parent(helper) => helper,
        sys::Fork::Child => {
            drop(go_end);
            let go = rustix::io::read(&wait_end, &mut [0_u8; 1]) == Ok(1);
            sys::exit_now(if go && write(pid) { 0 } else { 1 })
        }
    };
    let unshared = sys::unshare(UnshareFlags::NEWUSER);
    if unshared.is_ok() {
        rustix::io::write(&go_end, b"!").map_err(refused("tell the helper"))?;
    }
    drop(go_end);
    let status = loop {
        match waitpid(Some(helper), WaitOptions::empty()) {
            Err(Errno::INTR) => {}
            other => break other.map_err(refused("wait for the helper"))?,
        }
    };
    unshared.map_err(refused("create it"))?;
    Ok(status.is_some_and(|(_, status)| status.exit_status() == Some(0)))
}

fn write_maps(pid: Pid, programs: &(PathBuf, PathBuf), uid_map: &[String], gid_map: &[String]) -> bool {
    let run = |program: &Path, map: &[String]| {
        let mut command = Command::new(program);
        command.arg(pid.as_raw_nonzero().to_string()).args(map).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    // The groups first: when they are refused, the users are not mapped and the caller can still map itself.
    run(&programs.1, gid_map) && run(&programs.0, uid_map)
}

/// Maps 0 to the caller's own ids, which needs no helper; the kernel then forbids setgroups(2).
fn map_one(uid: Uid, gid: Gid) -> Result<(), SandboxError> {
    let write = |file: &str, line: String| match fs::write(file, line) {
        // The helper got as far as the groups: its map is there and is as good.
        Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) && has_map(file) => Ok(()),
        other => other,
    };
    if !has_map("/proc/self/gid_map") {
        fs::write("/proc/self/setgroups", "deny").map_err(failed("write /proc/self/setgroups"))?;
    }
    write("/proc/self/gid_map", format!("0 {} 1", gid.as_raw()))
        .map_err(failed("write /proc/self/gid_map"))?;
    write("/proc/self/uid_map", format!("0 {} 1", uid.as_raw())).map_err(failed("write /proc/self/uid_map"))
}

fn has_map(file: &str) -> bool {
    fs::read(file).is_ok_and(|map| !map.is_empty())
}

fn become_root(own_groups: bool) -> Result<(), SandboxError> {
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).map_err(refused("become group 0"))?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).map_err(refused("become user 0"))?;
    if own_groups {
        set_thread_groups(&[]).map_err(refused("leave the old groups"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privilege_from_map() {
        let check = |euid, map, expected| assert_eq!(privilege_of(euid, map), expected, "{euid} {map:?}");
        check(0, "         0          0 4294967295\n", Privilege::Root);
        check(1000, "         0          0 4294967295\n", Privilege::Unprivileged);
        check(0, "0 1000 1\n", Privilege::UserNamespace { mapped_ids: 1 });
        check(0, "0 1000 1\n1 100000 65536\n", Privilege::UserNamespace { mapped_ids: 65537 });
        check(0, "", Privilege::UserNamespace { mapped_ids: 0 });
    }

    #[test]
    fn subordinate_files() {
        let text = "anna:100000:65536\nben:165536:65536\n1000:300000:10\nbroken\nanna:x:1\nanna:1:0\n";
        let check = |uid, name, expected: &[(u64, u64)]| {
            let found: Vec<_> =
                ranges_of(text, uid, name).iter().map(|range| (range.start, range.count)).collect();
            assert_eq!(found, expected, "{uid} {name:?}");
        };
        check(1000, Some("anna"), &[(100_000, 65_536), (300_000, 10)]);
        check(1001, Some("ben"), &[(165_536, 65_536)]);
        check(1000, None, &[(300_000, 10)]);
        check(7, None, &[]);
        assert_eq!(user_name("root:x:0:0::/:/bin/sh\nanna:x:1000:1000::/:/bin/sh\n", 1000), Some("anna"));
    }

    #[test]
    fn map_is_gapless() {
        let ranges =
            [SubordinateRange { start: 100_000, count: 10 }, SubordinateRange { start: 500_000, count: 5 }];
        assert_eq!(map_arguments(1000, &ranges).join(" "), "0 1000 1 1 100000 10 11 500000 5");
    }
}
