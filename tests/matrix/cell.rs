//! One build of the matrix.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::case::{Base, Case};
use super::lab::Lab;
use crate::support::{Ended, REBIT, World, debian, ended};

/// Why a cell cannot be tried on this machine.
#[derive(Debug)]
pub(super) struct Skipped(pub(super) String);

/// A build, and what is around it.
pub(super) struct Cell<'a> {
    pub(super) lab: &'a Lab,
    pub(super) case: &'a Case,
    pub(super) world: World,
    pub(super) context: String,
    pub(super) program: PathBuf,
    store: PathBuf,
    /// A command that runs the program.
    prefix: Vec<String>,
    env: Vec<(String, String)>,
    args: Vec<String>,
    /// Whether the store is the lab's.
    shared: bool,
    /// Directories that are removed with it.
    remove: Vec<PathBuf>,
}

impl<'a> Cell<'a> {
    /// A plain build: in a store of its own, or in the lab's.
    pub(super) fn new(lab: &'a Lab, case: &'a Case, shared: bool) -> Self {
        let world = World::new();
        let context = world.path("context");
        case.context(&context);
        let mut args: Vec<String> = case.args.iter().map(|arg| (*arg).to_owned()).collect();
        if case.is_large() {
            args.push("--compression=none".to_owned());
            args.extend(secrets());
        }
        if case.base == Base::Debian {
            args.push("--build-context=faketime=/usr/lib/x86_64-linux-gnu/faketime".to_owned());
        }
        Self {
            lab,
            case,
            store: if shared { lab.world.path("store") } else { world.path("store") },
            context: context.display().to_string(),
            world,
            program: PathBuf::from(REBIT),
            prefix: Vec::new(),
            env: Vec::new(),
            args,
            shared,
            remove: Vec::new(),
        }
    }

    /// Builds in a store of its own at `store`.
    pub(super) fn own_store(&mut self, store: PathBuf) {
        self.store = store;
        self.shared = false;
    }

    /// Removes a directory when the cell is done with.
    pub(super) fn removed(&mut self, directory: &Path) {
        self.remove.push(directory.to_owned());
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.world.path(name)
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    pub(super) fn wrap(&mut self, prefix: &[&str]) {
        self.prefix.extend(prefix.iter().map(|word| (*word).to_owned()));
    }

    pub(super) fn arg(&mut self, arg: &str) {
        self.args.push(arg.to_owned());
    }

    /// A command of the program as this cell runs it.
    fn command(&self, args: &[&str]) -> Command {
        let mut words = self.prefix.iter().map(PathBuf::from).chain([self.program.clone()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).args(args).current_dir(self.world.dir.path()).env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", self.world.dir.path()).env("REBIT_STORE", &self.store).stdin(Stdio::null());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(super) fn ok(&self, args: &[&str]) -> Ended {
        let ended = ended(&mut self.command(args));
        assert_eq!(ended.code, 0, "{} {args:?}: {}", self.case.name, ended.stderr);
        ended
    }

    /// Brings the base images into a store of the cell's own.
    pub(super) fn import_bases(&self) {
        if self.shared || self.case.is_copies_only {
            return;
        }
        let images: &[&str] = match self.case.base {
            Base::Small => &["busybox"],
            Base::Debian => &["debian:bookworm"],
            Base::Tools => &["debian:bookworm", "runtime", "tools"],
        };
        for image in images {
            self.ok(&["import", &self.lab.archive(image), &format!("store:{image}")]);
        }
    }

    pub(super) fn build_command(&self, more: &[&str]) -> Command {
        let mut args = vec!["build"];
        if self.shared {
            args.push("--no-cache");
        } else {
            args.extend(["-t", "cell"]);
        }
        args.extend(more);
        args.extend(self.args.iter().map(String::as_str));
        args.push(&self.context);
        self.command(&args)
    }

    /// Imports the bases, builds, and returns the digest.
    pub(super) fn build(&self) -> Result<String, Skipped> {
        self.import_bases();
        Ok(self.build_again())
    }

    /// Builds and returns the digest.
    pub(super) fn build_again(&self) -> String {
        self.digest(&ended(&mut self.build_command(&["-q"])))
    }

    /// The digest that a command ended with.
    pub(super) fn digest(&self, ended: &Ended) -> String {
        assert_eq!(ended.code, 0, "{}: {}", self.case.name, ended.stderr);
        let last = ended.stdout.lines().last().unwrap_or_default();
        assert!(last.starts_with("sha256:"), "{}: {}", self.case.name, ended.stdout);
        last.to_owned()
    }

    /// Builds, ends the build after its first step, and builds again.
    pub(super) fn interrupted(&self, signal: &str) -> Result<String, Skipped> {
        self.import_bases();
        let mut command = self.build_command(&["--progress=plain"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let _first_done = said.any(|line| line.unwrap().contains("DONE"));
        let _gone = ended(Command::new("kill").args([signal, &child.id().to_string()]));
        said.for_each(|line| drop(line.unwrap()));
        let _status = child.wait().unwrap();
        Ok(self.build_again())
    }

    /// Why the image is not the one with the digest `plain`, as far as `rebit diff` says it.
    pub(super) fn compare(&self, plain: &str, digest: &str) -> String {
        let mut other = Cell::new(self.lab, self.case, self.shared);
        other.args.retain(|arg| !arg.contains("SHIFT"));
        if other.build().is_ok_and(|digest| digest != plain) {
            return "the plain build is not the same each time".to_owned();
        }
        let archive = |cell: &Self, image: &str, name: &str| {
            let place = format!("oci-archive:{}", self.path(name).display());
            let _written = ended(&mut cell.command(&["export", image, &place]));
            place
        };
        let places = [archive(&other, plain, "plain.tar"), archive(self, digest, "cell.tar")];
        let found = ended(&mut other.command(&["diff", &places[0], &places[1]]));
        found.stdout.lines().chain(found.stderr.lines()).take(25).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Cell<'_> {
    fn drop(&mut self) {
        for directory in &self.remove {
            let _gone = fs::remove_dir_all(directory);
        }
    }
}

/// How this machine's own tools reach their registries, where it says so.
fn secrets() -> Vec<String> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let places = [
        ("ca", debian::certificates().map(Path::to_owned).unwrap_or_default()),
        ("npmrc", home.join(".npmrc")),
        ("pip", PathBuf::from("/etc/pip.conf")),
    ];
    let there = places.iter().filter(|(_, path)| path.is_file());
    there.map(|(id, path)| format!("--secret=id={id},src={}", path.display())).collect()
}
