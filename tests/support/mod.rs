//! A private world for each test: its own home, store, temporary directory and environment.

pub(crate) mod archive;
pub(crate) mod debian;
pub(crate) mod registry;
pub(crate) mod repository;
#[expect(dead_code, reason = "the tests of the HTTP client use more of it")]
pub(crate) mod server;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The program under test.
pub(crate) const REBIT: &str = env!("CARGO_BIN_EXE_rebit");

/// A directory in which the program runs with nothing of the caller's environment.
pub(crate) struct World {
    pub(crate) dir: TempDir,
}

/// What a command said, and how it ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("rebit-e2e-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file with its parents.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A command of the program with this world's store.
    pub(crate) fn command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(REBIT);
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.dir.path())
            .env("REBIT_STORE", self.path("store"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ended {
        ended(&mut self.command(args))
    }

    /// Runs a command that has to succeed, and returns its standard output.
    pub(crate) fn ok(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
        ended.stdout
    }

    /// Makes `busybox` in the store.
    pub(crate) fn with_busybox(self) -> Self {
        let tar = busybox_tar(&self);
        self.ok([OsStr::new("import"), OsStr::new("--rootfs"), tar.as_os_str(), OsStr::new("store:busybox")]);
        self
    }

    /// The store holds nothing that is damaged. Called after whatever changed it.
    pub(crate) fn fsck(&self) {
        self.ok(["fsck"]);
    }
}

/// Runs any command to its end.
pub(crate) fn ended(command: &mut Command) -> Ended {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
}

/// Whether a program is installed; says so when it is not.
pub(crate) fn has(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|directory| directory.join(program).is_file()))
        || Path::new("/usr/sbin").join(program).is_file();
    if !found {
        skip(&format!("needs {program}"));
    }
    found
}

/// Whether this is root; says so when it is not.
pub(crate) fn is_root() -> bool {
    // The owner of our own process directory is who we are.
    let root =
        fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0);
    if !root {
        skip("needs root");
    }
    root
}

/// Says that a test does nothing here. Not by `eprintln!`: the test runner hides what that prints in a test that passes.
pub(crate) fn skip(reason: &str) {
    let line = format!("skipped: {reason}\n");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
}

/// A root file system of busybox and links to it, as a tar.
fn busybox_tar(world: &World) -> PathBuf {
    let root = world.path("busybox");
    for directory in ["bin", "etc", "tmp", "root"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    let applets = "[ sh cat cp chmod chown echo env expr false grep head hostname id ln ls mkdir mkfifo mv printenv printf pwd rm sed sha256sum sleep sort stat tar touch tr true umask uname wc";
    for applet in applets.split(' ') {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/tmp:/bin/sh\n")
        .unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nweb:x:34:\n").unwrap();
    for (path, mode) in
        [("", 0o755), ("bin", 0o755), ("bin/busybox", 0o755), ("etc", 0o755), ("etc/passwd", 0o644)]
    {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    for (path, mode) in [("etc/group", 0o644), ("root", 0o700), ("tmp", 0o1777)] {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let tar = world.path("busybox.tar");
    let mut command = Command::new("tar");
    command.args(["--owner=0", "--group=0", "--numeric-owner", "--sort=name", "-cf"]);
    let made = ended(command.arg(&tar).arg("-C").arg(&root).arg("."));
    assert_eq!(made.code, 0, "{}", made.stderr);
    tar
}

/// Whether a busybox without shared libraries is installed; says so when it is not.
pub(crate) fn has_busybox() -> bool {
    let found = Path::new("/bin/busybox").is_file();
    if !found {
        skip("needs /bin/busybox (busybox-static)");
    }
    found
}

/// What a build needs here: root and busybox.
pub(crate) fn can_build() -> bool {
    is_root() && has_busybox()
}

/// Mounts below `directory`, which have to be none.
pub(crate) fn assert_nothing_mounted(directory: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let below = mounts.lines().find(|line| line.contains(&*directory.to_string_lossy()));
    assert_eq!(below, None, "something is still mounted");
}
