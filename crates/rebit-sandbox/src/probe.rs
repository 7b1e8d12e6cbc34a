//! What this host allows, for people.

use std::io::Write;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::runner::PROBE;
use crate::{Privilege, RUNNER_ARGUMENT, Runner, SandboxError, SubordinateRange};

mod trials;

/// A yes or no, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Whether it works here.
    pub available: bool,
    /// The reason for a no; a version or other detail for a yes; may be empty.
    pub detail: String,
}

/// How root file systems are best put together here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Driver {
    /// Overlays whose file contents come from data-only layers: nothing is unpacked.
    DataOnlyOverlay,
    /// Overlays over unpacked directories.
    Overlay,
    /// Plain directories.
    Checkout,
}

/// What this host allows; every finding was tried, not derived from a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// Effective uid.
    pub euid: u32,
    /// What this process is.
    pub privilege: Privilege,
    /// Creating a user namespace.
    pub user_namespaces: Finding,
    /// `newuidmap` and `newgidmap` on the search path, set-uid or with capabilities.
    pub newuidmap: Finding,
    /// Ranges of `/etc/subuid` for this user.
    pub subuids: Vec<SubordinateRange>,
    /// Ranges of `/etc/subgid` for this user.
    pub subgids: Vec<SubordinateRange>,
    /// Overlay with an upper directory, as this process is.
    pub overlay: Finding,
    /// Overlay inside a user namespace.
    pub overlay_in_user_namespace: Finding,
    /// Adding lower directories one by one (`lowerdir+`).
    pub overlay_lowerdir_append: Finding,
    /// Data-only lower layers with `userxattr`.
    pub overlay_data_only: Finding,
    /// EROFS in the kernel.
    pub erofs: Finding,
    /// FUSE in the kernel and `/dev/fuse` to open.
    pub fuse: Finding,
    /// Seccomp filters.
    pub seccomp: Finding,
    /// Landlock, with its ABI version.
    pub landlock: Finding,
    /// Control groups: version, and whether this process may make one.
    pub cgroups: Finding,
    /// openat2(2).
    pub openat2: Finding,
    /// Mounting a new `/proc` in a new PID namespace.
    pub fresh_proc: Finding,
    /// Whether this process already is in a user namespace.
    pub nested: bool,
    /// How root file systems are best put together here.
    pub driver: Driver,
}

/// Finds out what this host allows, by trying it in a short-lived runner process.
///
/// The file systems are tried on a memory file system; whether the place where layers are kept can be an upper directory shows in use.
pub fn probe(runner: &Runner) -> Result<Probe, SandboxError> {
    let output = Command::new(runner.path())
        .args([RUNNER_ARGUMENT, PROBE])
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|source| SandboxError::Spawn { path: runner.path().to_owned(), source })?;
    serde_json::from_slice(&output.stdout).map_err(|_| SandboxError::RunnerDied { status: output.status })
}

/// The runner's side: tries everything and writes the result to standard output.
pub(crate) fn print() -> Option<()> {
    let probe = trials::all()?;
    let text = serde_json::to_vec(&probe).ok()?;
    std::io::stdout().write_all(&text).ok()
}
