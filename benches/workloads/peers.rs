//! Builders: ours, and those that are installed. Each gives an archive in the end, as ours does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::measure::{Figures, run, size_of};
use crate::rebit;

/// Something that builds images.
pub(crate) trait Builder {
    fn name(&self) -> &'static str;
    /// The commands that build the context and write an archive.
    fn build(&self, context: &Path) -> Vec<Command>;
    /// Bytes that it keeps, without unpacked root file systems where they can be told apart.
    fn stored(&self) -> u64;
}

/// Every builder of this machine, ours first, with the base image in place.
pub(crate) fn installed(workload: &str, dir: &Path, rootfs: &Path) -> Vec<Box<dyn Builder>> {
    let mut builders: Vec<Box<dyn Builder>> = vec![Box::new(Rebit::new(dir, rootfs))];
    match Docker::new(dir, rootfs) {
        Some(docker) => builders.push(Box::new(docker)),
        None => println!("missing: dockerd and docker"),
    }
    match has("buildah") {
        true => builders.push(Box::new(Buildah::new(dir, rootfs))),
        false => println!("missing: buildah"),
    }
    // It runs nothing, so it can be compared only where nothing is run.
    match has("umoci") {
        true if workload == "W2b" => builders.push(Box::new(Umoci::new(dir))),
        true => {}
        false => println!("missing: umoci"),
    }
    builders
}

/// A build in a store that has the base and the image of the build before, which was given to it as an archive, and no record of any
/// step.
pub(crate) fn beside(dir: &Path, context: &Path, rootfs: &Path) -> Figures {
    let fresh = Rebit { dir: dir.to_owned(), store: "fresh" };
    fresh.import_base(rootfs);
    run(&mut rebit(dir, fresh.store, &["import", "oci-archive:rebit.tar", "store:bench/before"]));
    let before = fresh.stored();
    let mut figures = run(&mut fresh.build(context).remove(0));
    figures.growth = fresh.stored().saturating_sub(before);
    figures
}

pub(crate) fn has(program: &str) -> bool {
    ["/usr/bin", "/usr/sbin", "/usr/local/bin"].iter().any(|dir| Path::new(dir).join(program).is_file())
}

struct Rebit {
    dir: PathBuf,
    store: &'static str,
}

impl Rebit {
    fn new(dir: &Path, rootfs: &Path) -> Self {
        let new = Self { dir: dir.to_owned(), store: "store" };
        new.import_base(rootfs);
        new
    }

    fn import_base(&self, rootfs: &Path) {
        let args = ["import", "--rootfs", rootfs.to_str().unwrap(), "store:bench/base:1"];
        run(&mut rebit(&self.dir, self.store, &args));
    }
}

impl Builder for Rebit {
    fn name(&self) -> &'static str {
        "rebit"
    }

    fn build(&self, context: &Path) -> Vec<Command> {
        let args =
            ["build", "-q", "-t", "bench/out", "-o", "type=oci,dest=rebit.tar", context.to_str().unwrap()];
        vec![rebit(&self.dir, self.store, &args)]
    }

    fn stored(&self) -> u64 {
        size_of(&self.dir.join(self.store), &["loose", "scratch"])
    }
}

/// Debian's client has BuildKit built in; others want a plug-in for it.
const DOCKER: &str = "/usr/bin/docker";

/// Docker with BuildKit: `build`, then `save`.
struct Docker {
    dir: PathBuf,
    socket: String,
    daemon: std::cell::RefCell<Child>,
}

impl Docker {
    fn new(dir: &Path, rootfs: &Path) -> Option<Self> {
        if !has("dockerd") || !Path::new(DOCKER).is_file() {
            return None;
        }
        let socket = format!("unix://{}/docker.sock", dir.display());
        let mut command = Command::new("dockerd");
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "-H", &socket]);
        for (flag, name) in
            [("--data-root", "docker"), ("--exec-root", "docker-run"), ("--pidfile", "docker.pid")]
        {
            command.arg(flag).arg(dir.join(name));
        }
        let daemon = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let docker = Self { dir: dir.to_owned(), socket, daemon: daemon.into() };
        let start = Instant::now();
        while !docker.command(&["version"]).output().is_ok_and(|output| output.status.success()) {
            if start.elapsed() > Duration::from_secs(30) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        run(&mut docker.command(&["import", rootfs.to_str().unwrap(), "bench/base:1"]));
        Some(docker)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(DOCKER);
        command.args(["-H", &self.socket]).args(args).env("DOCKER_BUILDKIT", "1").current_dir(&self.dir);
        command.env_remove("DOCKER_HOST");
        command
    }
}

impl Builder for Docker {
    fn name(&self) -> &'static str {
        "docker build + save"
    }

    fn build(&self, context: &Path) -> Vec<Command> {
        let build = ["build", "-q", "--network", "host", "-t", "bench/out", context.to_str().unwrap()];
        vec![self.command(&build), self.command(&["save", "-o", "docker.tar", "bench/out"])]
    }

    fn stored(&self) -> u64 {
        size_of(&self.dir.join("docker"), &[])
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let daemon = self.daemon.get_mut();
        let _ = Command::new("kill").arg(daemon.id().to_string()).status();
        let _ = daemon.wait();
    }
}

/// buildah: `bud`, then `push` to an archive.
struct Buildah {
    dir: PathBuf,
}

impl Buildah {
    fn new(dir: &Path, rootfs: &Path) -> Self {
        let buildah = Self { dir: dir.to_owned() };
        fs::write(dir.join("base.Dockerfile"), "FROM scratch\nADD base.tar /\n").unwrap();
        let base = dir.join("base");
        fs::create_dir_all(&base).unwrap();
        fs::copy(rootfs, base.join("base.tar")).unwrap();
        run(&mut buildah.command(&[
            "bud",
            "-q",
            "-f",
            "base.Dockerfile",
            "-t",
            "docker.io/bench/base:1",
            "base",
        ]));
        buildah
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("buildah");
        command.args(["--root", "buildah", "--runroot", "buildah-run", "--storage-driver", "overlay"]);
        command.args(args).current_dir(&self.dir);
        command
    }
}

impl Builder for Buildah {
    fn name(&self) -> &'static str {
        "buildah bud + push"
    }

    fn build(&self, context: &Path) -> Vec<Command> {
        let context = context.to_str().unwrap();
        let build = ["bud", "-q", "--isolation", "chroot", "--layers", "-t", "docker.io/bench/out", context];
        let _ = fs::remove_file(self.dir.join("buildah.tar"));
        let push = ["push", "-q", "docker.io/bench/out", "oci-archive:buildah.tar"];
        vec![self.command(&build), self.command(&push)]
    }

    fn stored(&self) -> u64 {
        size_of(&self.dir.join("buildah"), &[])
    }
}

impl Drop for Buildah {
    fn drop(&mut self) {
        let _ = self.command(&["rm", "-a"]).output();
        let _ = Command::new("umount").arg(self.dir.join("buildah/overlay")).stderr(Stdio::null()).status();
    }
}

/// umoci: a bundle unpacked from an empty image, the tree copied into it, then `repack`.
struct Umoci {
    dir: PathBuf,
}

impl Umoci {
    fn new(dir: &Path) -> Self {
        for args in [
            &["init", "--layout", "umoci"][..],
            &["new", "--image", "umoci:base"],
            &["unpack", "--image", "umoci:base", "bundle"],
        ] {
            run(Command::new("umoci").args(args).current_dir(dir));
        }
        Self { dir: dir.to_owned() }
    }
}

impl Builder for Umoci {
    fn name(&self) -> &'static str {
        "cp + umoci repack"
    }

    fn build(&self, context: &Path) -> Vec<Command> {
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(context.join("tree")).arg("bundle/rootfs/");
        let mut repack = Command::new("umoci");
        repack.args(["repack", "--image", "umoci:out", "bundle"]);
        copy.current_dir(&self.dir);
        repack.current_dir(&self.dir);
        vec![copy, repack]
    }

    fn stored(&self) -> u64 {
        size_of(&self.dir.join("umoci"), &[])
    }
}
