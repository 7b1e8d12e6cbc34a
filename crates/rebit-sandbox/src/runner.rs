//! The process between the caller and the sandbox.

use std::path::{Path, PathBuf};

/// First argument that makes the executable a runner; hidden from users.
pub const RUNNER_ARGUMENT: &str = "__rebit-sandbox";

/// The executable that is started as the runner: one whose `main` begins with [`maybe_run_as_runner`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    path: PathBuf,
}

impl Runner {
    /// The running executable itself (`/proc/self/exe`), even if its file has been replaced meanwhile.
    pub fn this_executable() -> Runner {
        Runner { path: PathBuf::from("/proc/self/exe") }
    }

    /// Another executable.
    pub fn new(path: impl Into<PathBuf>) -> Runner {
        Runner { path: path.into() }
    }

    /// Path of the executable.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Becomes the runner and never returns, if the first argument is [`RUNNER_ARGUMENT`]; else does nothing.
///
/// To be called first in `main`, before any thread is started and any descriptor is opened.
pub fn maybe_run_as_runner() {}
