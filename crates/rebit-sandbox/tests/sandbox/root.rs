//! Small root file systems, made from a static busybox.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rebit_sandbox::{Exit, RootFs, RunSpec, Runner, SandboxError, StopFlag, Stream, run};
use tempfile::TempDir;

const APPLETS: [&str; 36] = [
    "sh", "ls", "cat", "id", "env", "echo", "hostname", "true", "false", "mkdir", "rm", "mknod", "sleep",
    "stat", "chown", "touch", "ip", "ifconfig", "mount", "umount", "readlink", "chmod", "ln", "grep", "head",
    "ps", "seq", "dd", "test", "sort", "wc", "unshare", "tty", "mv", "find", "awk",
];

pub(crate) fn busybox() -> Option<PathBuf> {
    let path = PathBuf::from("/bin/busybox");
    let bytes = fs::read(&path).ok()?;
    // A dynamic executable names its loader.
    let dynamic =
        bytes.windows(b"/lib64/ld-linux".len()).take(4096).any(|window| window == b"/lib64/ld-linux");
    (!dynamic).then_some(path)
}

/// A lower, an upper and a work directory; removed when dropped.
pub(crate) struct World {
    pub(crate) directory: TempDir,
}

impl World {
    /// `bin` with busybox, `etc`, and nothing else: no mount points.
    pub(crate) fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        for name in ["lower/bin", "lower/etc", "upper", "work"] {
            fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        let bin = directory.path().join("lower/bin");
        fs::copy(busybox().unwrap(), bin.join("busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        fs::write(directory.path().join("lower/etc/issue"), "lower\n").unwrap();
        World { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn lower(&self) -> PathBuf {
        self.path("lower")
    }

    pub(crate) fn upper(&self) -> PathBuf {
        self.path("upper")
    }

    pub(crate) fn overlay(&self) -> RootFs {
        RootFs::Overlay {
            lowers: vec![self.lower().into()],
            data: Vec::new(),
            upper: self.upper(),
            work: self.path("work"),
        }
    }

    /// A shell command on the overlay, with nothing in the environment but `PATH` and a marker.
    pub(crate) fn spec(&self, script: &str) -> RunSpec {
        let mut spec = RunSpec::new(self.overlay(), ["/bin/sh", "-c", script]);
        spec.env = vec![("PATH".into(), "/bin".into()), ("WORLD".into(), self.directory.path().into())];
        spec
    }

    /// What the environment of its processes contains.
    pub(crate) fn marker(&self) -> String {
        format!("WORLD={}", self.directory.path().display())
    }
}

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn try_run(spec: &RunSpec) -> Result<Outcome, SandboxError> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut collect = |stream, bytes: &[u8]| match stream {
        Stream::Stdout => stdout.extend_from_slice(bytes),
        Stream::Stderr => stderr.extend_from_slice(bytes),
    };
    let exit = run(spec, &Runner::this_executable(), &mut collect, &StopFlag::new())?;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ok(Outcome { exit, stdout: text(stdout), stderr: text(stderr) })
}

/// Runs to success and returns standard output.
pub(crate) fn output(spec: &RunSpec) -> String {
    let outcome =
        try_run(spec).unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
    assert_eq!(outcome.exit, Exit::Code(0), "{outcome:?}");
    outcome.stdout
}

/// Runs a shell command on a fresh overlay and returns standard output.
pub(crate) fn shell(script: &str) -> String {
    output(&World::new().spec(script))
}

pub(crate) fn args<const N: usize>(args: [&str; N]) -> Vec<OsString> {
    args.iter().map(OsString::from).collect()
}

pub(crate) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
