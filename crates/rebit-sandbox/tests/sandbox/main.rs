//! Runs real sandboxes. The executable is its own runner, so its main function is written by hand.
//!
//! The tests run in one process as root, and again inside a user namespace as an unprivileged user; what a test
//! cannot do it says in a line that begins with `skipped`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a test, though not of the usual form"
)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

use rebit_sandbox::{
    Privilege, Runner, StopFlag, current_privilege, enter_user_namespace, maybe_run_as_runner, run,
};

mod cases;
mod root;

/// First argument of the second incarnation, which runs rootless.
const ROOTLESS: &str = "rootless";

/// First argument of a caller that is going to be killed.
const CALLER: &str = "caller";

fn main() {
    maybe_run_as_runner();
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [first, spec] = args.as_slice()
        && first == CALLER
    {
        let spec = serde_json::from_slice(&fs::read(spec).unwrap()).unwrap();
        let mut print = |_, bytes: &[u8]| {
            std::io::stdout().write_all(bytes).unwrap();
            std::io::stdout().flush().unwrap();
        };
        run(&spec, &Runner::this_executable(), &mut print, &StopFlag::new()).unwrap();
        return;
    }
    if args.first().is_some_and(|arg| arg == ROOTLESS) {
        rootless(args.get(1).map(String::as_str));
        return;
    }
    if args.iter().any(|arg| arg == "--list") {
        cases::all().for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    let filter = args.iter().find(|arg| !arg.starts_with('-')).map(String::as_str);
    let privilege = current_privilege().unwrap();
    if privilege == Privilege::Unprivileged {
        let status = Command::new("/proc/self/exe").arg(ROOTLESS).args(filter).status().unwrap();
        std::process::exit(status.code().unwrap_or(1));
    }
    let mut failed = run_all(&format!("{privilege:?}"), filter);
    if privilege == Privilege::Root {
        for user in users() {
            failed |= !run_as(&user, filter);
        }
    }
    std::process::exit(i32::from(failed));
}

fn rootless(filter: Option<&str>) {
    match enter_user_namespace() {
        Ok(privilege) => {
            let failed = run_all(&format!("{privilege:?}"), filter);
            std::process::exit(i32::from(failed));
        }
        Err(error) => {
            eprintln!("skipped: needs user namespaces: {error}: {:?}", std::error::Error::source(&error))
        }
    }
}

/// Runs the cases one after the other; true when one failed.
fn run_all(title: &str, filter: Option<&str>) -> bool {
    if root::busybox().is_none() {
        eprintln!("skipped: needs a static /bin/busybox");
        return false;
    }
    let mut failed = Vec::new();
    for (name, case) in cases::all() {
        if filter.is_some_and(|filter| !name.contains(filter)) {
            continue;
        }
        let ok = catch_unwind(AssertUnwindSafe(case)).is_ok();
        println!("test {title} {name} ... {}", if ok { "ok" } else { "FAILED" });
        if !ok {
            failed.push(*name);
        }
    }
    if !failed.is_empty() {
        println!("failed as {title}: {failed:?}");
    }
    !failed.is_empty()
}

struct User {
    uid: u32,
    gid: u32,
}

/// Users to be rootless as: one without subordinate ids, and one with them if the machine has one.
fn users() -> Vec<User> {
    let mut users = vec![User { uid: 65534, gid: 65534 }];
    let subuid = fs::read_to_string("/etc/subuid").unwrap_or_default();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let with_ids = subuid.lines().filter_map(|line| line.split(':').next()).find_map(|name| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2).map(str::parse);
        match (ids.next(), ids.next()) {
            (Some(Ok(uid)), Some(Ok(gid))) if uid != 0 => Some(User { uid, gid }),
            _ => None,
        }
    });
    match with_ids {
        Some(user) => users.push(user),
        None => eprintln!("skipped: needs a user with subordinate ids: rootless tests with several ids"),
    }
    users
}

/// Runs the cases as another user, from a copy of the executable that this user can reach.
fn run_as(user: &User, filter: Option<&str>) -> bool {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let copy = directory.path().join("sandbox-test");
    fs::copy("/proc/self/exe", &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let home = directory.path().join("tmp");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(user.uid), Some(user.gid)).unwrap();
    let mut command = Command::new(&copy);
    command.arg(ROOTLESS).args(filter).env("TMPDIR", &home).current_dir("/").uid(user.uid).gid(user.gid);
    assert!(owner(&home) == user.uid);
    command.status().unwrap().success()
}

fn owner(path: &Path) -> u32 {
    fs::metadata(path).unwrap().uid()
}

/// Paths below a directory, without the directory itself, sorted.
fn tree(directory: &Path) -> Vec<PathBuf> {
    fn walk(directory: &Path, base: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            into.push(path.strip_prefix(base).unwrap().to_owned());
            if path.symlink_metadata().unwrap().is_dir() {
                walk(&path, base, into);
            }
        }
    }
    let mut all = Vec::new();
    walk(directory, directory, &mut all);
    all.sort();
    all
}
