//! Pulling and pushing through Debian's docker-registry on this machine, beside skopeo and podman: medians and ratios.
//!
//! `REBIT_BENCH_IMAGE=oci-archive:image.tar cargo bench -p rebit --bench registry`; the place is any that `rebit copy` reads.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on stops, and prints its figures"
)]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: usize = 5;
const REBIT: &str = env!("CARGO_BIN_EXE_rebit");

struct Bench {
    dir: tempfile::TempDir,
    registry: Child,
    name: String,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.registry.kill();
        let _ = self.registry.wait();
    }
}

fn main() {
    let Ok(image) = std::env::var("REBIT_BENCH_IMAGE") else {
        println!("skipped: REBIT_BENCH_IMAGE does not name an image, as `rebit copy` reads it");
        return;
    };
    if !PathBuf::from("/usr/bin/docker-registry").exists() {
        println!("skipped: needs docker-registry");
        return;
    }
    let bench = Bench::start();
    bench.rebit(&["copy", "-q", &image, &format!("docker://{}", bench.name)]);
    println!("{:<58}{:>10}{:>10}{:>8}", "", "rebit", "peer", "ratio");
    bench.pulls();
    bench.pushes();
}

impl Bench {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().to_string();
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{host}'}}\n",
            dir.path().join("registry").display()
        );
        fs::write(dir.path().join("config.yml"), config).unwrap();
        let registry = Command::new("docker-registry")
            .args(["serve", "config.yml"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let bench = Self { dir, registry, name: format!("{host}/bench/image:1") };
        while TcpStream::connect(&host).is_err() {
            std::thread::sleep(Duration::from_millis(50));
        }
        bench
    }

    fn pulls(&self) {
        let from = format!("docker://{}", self.name);
        let (ours, theirs) = pairs(
            || self.fresh("store", || self.rebit(&["pull", "-q", &self.name])),
            || self.fresh("copy", || self.skopeo(&["--src-tls-verify=false", &from, "dir:copy"])),
        );
        report("pull into an empty store (skopeo, to a directory)", ours, theirs);
        let podman = [
            "--root=peer",
            "--runroot=peer-run",
            "--storage-driver=overlay",
            "pull",
            "-q",
            "--tls-verify=false",
        ];
        let podman: Vec<&str> = podman.iter().copied().chain([self.name.as_str()]).collect();
        let (ours, theirs) = pairs(
            || self.fresh("store", || self.rebit(&["pull", "-q", "--unpack", &self.name])),
            || {
                let _ = Command::new("umount").arg(self.path("peer/overlay")).stderr(Stdio::null()).status();
                self.fresh("peer", || self.run("podman", &podman))
            },
        );
        report("pull and unpack (podman)", ours, theirs);
        let _ = Command::new("umount").arg(self.path("peer/overlay")).stderr(Stdio::null()).status();
        let (ours, theirs) = pairs(
            || self.rebit(&["pull", "-q", &self.name]),
            || self.skopeo(&["--src-tls-verify=false", &from, "dir:copy"]),
        );
        report("pull what is there (skopeo, to the same directory)", ours, theirs);
    }

    fn pushes(&self) {
        let (there, elsewhere) = (format!("docker://{}", self.name), self.name.replace("bench/", "other/"));
        let (ours, theirs) = pairs(
            || self.rebit(&["push", "-q", &self.name]),
            || self.skopeo(&["--dest-tls-verify=false", "dir:copy", &there]),
        );
        report("push what is there (skopeo, from a directory)", ours, theirs);
        let mut number = 0;
        let mut next = || {
            number += 1;
            format!("{elsewhere}-{number}")
        };
        let mut empty =
            || fs::remove_dir_all(self.path("registry/docker")).and(Ok::<_, std::io::Error>(next()));
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        for _ in 0..RUNS {
            let name = empty().unwrap();
            ours.push(self.rebit(&["push", "-q", &self.name, &name]));
            let name = format!("docker://{}", empty().unwrap());
            theirs.push(self.skopeo(&["--dest-tls-verify=false", "dir:copy", &name]));
        }
        report("push to an empty registry (skopeo, from a directory)", ours, theirs);
    }

    /// Runs something after a directory was removed.
    fn fresh(&self, directory: &str, run: impl FnOnce() -> Duration) -> Duration {
        let _ = fs::remove_dir_all(self.path(directory));
        run()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn rebit(&self, args: &[&str]) -> Duration {
        self.run(REBIT, args)
    }

    fn skopeo(&self, args: &[&str]) -> Duration {
        self.run("skopeo", &[&["--insecure-policy", "copy", "-q"], args].concat())
    }

    /// Runs a command to its end; one that fails is shown and ends the benchmark.
    fn run(&self, program: &str, args: &[&str]) -> Duration {
        let mut command = Command::new(program);
        command.args(args).env("REBIT_STORE", self.path("store")).current_dir(self.dir.path());
        let start = Instant::now();
        let output = command.stdin(Stdio::null()).output().unwrap();
        let elapsed = start.elapsed();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        elapsed
    }
}

/// Takes turns, so that both meet the same machine.
fn pairs(
    mut ours: impl FnMut() -> Duration,
    mut theirs: impl FnMut() -> Duration,
) -> (Vec<Duration>, Vec<Duration>) {
    (0..RUNS).map(|_| (ours(), theirs())).unzip()
}

fn report(what: &str, ours: Vec<Duration>, theirs: Vec<Duration>) {
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64()
    };
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "{what:<58}{:>10}{:>10}{:>8.2}",
        format!("{ours:.3} s"),
        format!("{theirs:.3} s"),
        ours / theirs
    );
}
