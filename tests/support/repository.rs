//! Git repositories that are made for a test, and served on 127.0.0.1.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Runs git below `directory` with an identity and clock of its own.
pub(crate) fn git(directory: &Path, args: &[&str]) -> String {
    git_at(directory, 1_000_000_000, args)
}

/// Runs git, what it commits being of `time`.
pub(crate) fn git_at(directory: &Path, time: i64, args: &[&str]) -> String {
    let date = format!("@{time} +0000");
    let mut command = Command::new("git");
    command.current_dir(directory).args(["-c", "protocol.file.allow=always"]).args(args);
    for (name, value) in [
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_AUTHOR_NAME", "a"),
        ("GIT_AUTHOR_EMAIL", "a@b"),
        ("GIT_AUTHOR_DATE", &date),
        ("GIT_COMMITTER_NAME", "a"),
        ("GIT_COMMITTER_EMAIL", "a@b"),
        ("GIT_COMMITTER_DATE", &date),
        ("HOME", "/nonexistent"),
    ] {
        command.env(name, value);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Makes the repository `name` below `base`.
pub(crate) fn init(base: &Path, name: &str) -> PathBuf {
    let path = base.join(name);
    fs::create_dir_all(&path).unwrap();
    git(&path, &["init", "-q", "-b", "main"]);
    path
}

/// Writes files and commits everything.
pub(crate) fn commit(repository: &Path, time: i64, files: &[(&str, &str)]) -> String {
    for (name, content) in files {
        let path = repository.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    git(repository, &["add", "-A"]);
    git_at(repository, time, &["commit", "-q", "-m", "message\n\nparent of nothing"]);
    // What a server that knows nothing of git needs to be one.
    git(repository, &["update-server-info"]);
    git(repository, &["rev-parse", "HEAD"])
}

/// `git daemon`; it ends when it is dropped.
pub(crate) struct Daemon {
    child: Child,
    port: u16,
}

impl Daemon {
    /// Serves every repository below `base`.
    pub(crate) fn new(base: &Path) -> Self {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        // Not by way of `git`, which would be what ends when the test ends it.
        let programs = Command::new("git").arg("--exec-path").output().unwrap().stdout;
        let programs = PathBuf::from(String::from_utf8(programs).unwrap().trim());
        let mut command = Command::new(programs.join("git-daemon"));
        command.args(["--listen=127.0.0.1", "--export-all", "--reuseaddr"]);
        command.arg(format!("--port={port}")).arg(format!("--base-path={}", base.display()));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut daemon = Self { child, port };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(daemon.child.try_wait().unwrap().is_none(), "git daemon ended");
            std::thread::yield_now();
        }
        daemon
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("git://127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}
