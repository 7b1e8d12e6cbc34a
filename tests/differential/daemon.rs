//! A docker daemon of our own, with its data below one directory and without a network of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{self, Ended};

/// Ends when it is dropped.
pub(crate) struct Daemon {
    child: Child,
    directory: PathBuf,
}

impl Daemon {
    /// Starts it below `directory`; says why when that is not possible here.
    pub(crate) fn start(directory: &Path) -> Option<Self> {
        if !["dockerd", "docker"].iter().all(|program| support::has(program)) {
            return None;
        }
        fs::create_dir_all(directory.join("client")).unwrap();
        let log = fs::File::create(directory.join("log")).unwrap();
        let mut command = Command::new("dockerd");
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false"]);
        for (flag, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            command.arg(flag).arg(directory.join(name));
        }
        command.arg("-H").arg(socket(directory)).stdin(Stdio::null());
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut daemon = Self { child, directory: directory.to_owned() };
        while daemon.child.try_wait().unwrap().is_none() {
            if daemon.run(["version"]).code == 0 {
                return Some(daemon);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = fs::read_to_string(directory.join("log")).unwrap();
        support::skip(&format!("dockerd does not start: {}", log.lines().last().unwrap_or_default()));
        None
    }

    pub(crate) fn run<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Ended {
        // The client of the distribution's package fits its daemon; another one may be earlier in the path.
        let packaged = Path::new("/usr/bin/docker");
        let mut command = Command::new(if packaged.is_file() { packaged } else { Path::new("docker") });
        command.arg("-H").arg(socket(&self.directory)).args(args);
        command.env("DOCKER_BUILDKIT", "1").env("DOCKER_CONFIG", self.directory.join("client"));
        support::ended(command.stdin(Stdio::null()))
    }
}

fn socket(directory: &Path) -> String {
    format!("unix://{}", directory.join("socket").display())
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let ended = Command::new("kill").arg(self.child.id().to_string()).status();
        if ended.is_ok_and(|status| status.success()) {
            let _ = self.child.wait();
        }
        // It leaves its data directory mounted on itself, and sometimes what a failed step had mounted below that.
        let mut command = Command::new("umount");
        command.args(["--quiet", "--recursive"]).arg(self.directory.join("data"));
        let _ = command.status();
    }
}
