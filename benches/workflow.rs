//! Whole commands, as people and CI run them, beside the peers that are installed: medians and ratios.
//!
//! `REBIT_BENCH_ROOTFS=debian.tar cargo bench -p rebit --bench workflow` needs root and a tar of a root file system with a shell.
//! Each figure is a median; a peer that is not installed is named as missing.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on stops, and prints its figures"
)]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: usize = 5;
const REBIT: &str = env!("CARGO_BIN_EXE_rebit");
const FILES: usize = 2000;

struct Bench {
    dir: tempfile::TempDir,
    rootfs: PathBuf,
    /// Goes into the file that changes, so that no run finds the work of the one before.
    counter: u64,
}

fn main() {
    let Some(rootfs) =
        std::env::var_os("REBIT_BENCH_ROOTFS").map(PathBuf::from).filter(|path| path.is_file())
    else {
        say("skipped: REBIT_BENCH_ROOTFS does not name a tar of a root file system");
        return;
    };
    let rootfs = rootfs.canonicalize().unwrap();
    let mut bench = Bench { dir: tempfile::tempdir().unwrap(), rootfs, counter: 0 };
    bench.make_context();
    say(&format!("{:<54}{:>10}{:>10}{:>8}", "", "rebit", "peer", "ratio"));
    bench.import();
    bench.builds();
    bench.archives();
    bench.unmount("peer");
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn make_context(&self) {
        for number in 0..FILES {
            let path = self.path(&format!("context/src/{}/{number}.txt", number % 40));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{number}\n").repeat(200)).unwrap();
        }
        let dockerfile = "FROM bench/base:1\nCOPY src /src\nRUN cat /src/*/*.txt | sha256sum > /sum\n";
        fs::write(self.path("context/Dockerfile"), dockerfile).unwrap();
    }

    /// Changes one file of the context.
    fn change(&mut self) {
        self.counter += 1;
        fs::write(self.path("context/src/0/0.txt"), format!("change {}\n", self.counter)).unwrap();
    }

    /// Ends the mount that a peer's storage keeps on itself.
    fn unmount(&self, storage: &str) {
        let mounted = self.path(storage).join("overlay");
        let _ = Command::new("umount").arg(mounted).stderr(Stdio::null()).status();
    }

    fn rebit(&self, args: &[&str]) -> Command {
        let mut command = Command::new(REBIT);
        command.args(args).env("REBIT_STORE", self.path("store")).current_dir(self.dir.path());
        command
    }

    fn peer(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(["--root", "peer", "--runroot", "peer-run", "--storage-driver", "overlay"]).args(args);
        command.current_dir(self.dir.path());
        command
    }

    fn import(&mut self) {
        let rootfs = self.rootfs.clone();
        let rootfs = rootfs.to_str().unwrap();
        let ours = median(|| {
            let _ = fs::remove_dir_all(self.path("store"));
            time(&mut self.rebit(&["import", "--rootfs", rootfs, "store:bench/base:1"]))
        });
        let theirs = installed("podman").then(|| {
            median(|| {
                time(&mut self.peer("podman", &["rmi", "-f", "docker.io/bench/base:1"]));
                time(&mut self.peer("podman", &["import", "-q", rootfs, "docker.io/bench/base:1"]))
            })
        });
        report("import of the root file system (podman)", ours, theirs);
    }

    fn builds(&mut self) {
        let ours = |bench: &Self| time(&mut bench.rebit(&["build", "-q", "-t", "bench/out", "context"]));
        let args = ["bud", "-q", "--isolation", "chroot", "--layers", "-t", "docker.io/bench/out", "context"];
        let theirs = |bench: &Self| time(&mut bench.peer("buildah", &args));
        let peer = installed("buildah");
        ours(self);
        if peer {
            theirs(self);
        }
        // A file that was written a moment ago is read again until its time stamp can be relied on.
        std::thread::sleep(Duration::from_millis(2100));
        ours(self);
        let unchanged = (median(|| ours(self)), peer.then(|| median(|| theirs(self))));
        report("build, nothing changed (buildah)", unchanged.0, unchanged.1);
        let changed = median(|| {
            self.change();
            ours(self)
        });
        let changed_peer = peer.then(|| {
            median(|| {
                self.change();
                theirs(self)
            })
        });
        report("build, one of 2000 files changed (buildah)", changed, changed_peer);
    }

    fn archives(&mut self) {
        let out = self.path("out.tar");
        let ours = median(|| {
            let _ = fs::remove_file(&out);
            time(&mut self.rebit(&["export", "store:bench/out", "oci-archive:out.tar"]))
        });
        let copy = |bench: &Self, from: &str, to: &str| {
            let mut command = Command::new("skopeo");
            command.args(["--insecure-policy", "copy", "-q", from, to]).current_dir(bench.dir.path());
            time(&mut command)
        };
        let peer = installed("skopeo");
        let theirs = peer.then(|| {
            median(|| {
                let _ = fs::remove_file(self.path("copy.tar"));
                copy(self, "oci-archive:out.tar", "oci-archive:copy.tar")
            })
        });
        report("export to an OCI archive (skopeo, archive to archive)", ours, theirs);
        let verify = median(|| time(&mut self.rebit(&["verify", "oci-archive:out.tar"])));
        report("verify the archive, every digest and diff id", verify, None);
        let import = median(|| {
            let _ = fs::remove_dir_all(self.path("other"));
            let mut command = self.rebit(&["import", "oci-archive:out.tar", "store:bench/out"]);
            time(command.env("REBIT_STORE", self.path("other")))
        });
        let mut fresh = 0;
        let theirs = peer.then(|| {
            median(|| {
                fresh += 1;
                let (root, run) = (self.path(&format!("fresh-{fresh}")), self.path("fresh-run"));
                let storage = format!("containers-storage:[overlay@{}+{}]", root.display(), run.display());
                copy(self, "oci-archive:out.tar", &format!("{storage}docker.io/bench/out:1"))
            })
        });
        (1..=fresh).for_each(|number| self.unmount(&format!("fresh-{number}")));
        report("import from an OCI archive (skopeo to storage)", import, theirs);
    }
}

/// Runs a command to its end; one that fails is shown and ends the benchmark.
fn time(command: &mut Command) -> Duration {
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).output().unwrap();
    let elapsed = start.elapsed();
    let may_fail = command.get_args().any(|arg| arg == OsStr::new("rmi"));
    assert!(may_fail || output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    elapsed
}

fn median(mut run: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS).map(|_| run()).collect();
    times.sort_unstable();
    times[RUNS / 2]
}

fn installed(program: &str) -> bool {
    ["/usr/bin", "/usr/local/bin"].iter().any(|directory| Path::new(directory).join(program).is_file())
}

fn report(what: &str, ours: Duration, theirs: Option<Duration>) {
    let seconds = |time: Duration| format!("{:.3} s", time.as_secs_f64());
    let (peer, ratio) = match theirs {
        Some(theirs) => (seconds(theirs), format!("{:.2}", ours.as_secs_f64() / theirs.as_secs_f64())),
        None => ("-".to_owned(), "-".to_owned()),
    };
    say(&format!("{what:<54}{:>10}{peer:>10}{ratio:>8}", seconds(ours)));
}

fn say(line: &str) {
    println!("{line}");
}
