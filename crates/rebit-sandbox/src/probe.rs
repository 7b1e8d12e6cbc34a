//! What this host allows, for people.

use serde::{Deserialize, Serialize};

use crate::{Privilege, Runner, SandboxError, SubordinateRange};

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
pub fn probe(runner: &Runner) -> Result<Probe, SandboxError> {
    let _ = runner;
    Err(SandboxError::InvalidSpec { reason: "the runner is not there yet".to_owned() })
}

pub(crate) fn print() -> Option<()> {
    None
}
