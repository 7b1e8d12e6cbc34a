//! The caller's side of a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use crate::runner::Runner;
use crate::{RunSpec, SandboxError};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// It was killed by this signal.
    Signal(i32),
}

impl Exit {
    /// Whether the command exited with code 0.
    pub fn is_success(self) -> bool {
        self == Exit::Code(0)
    }
}

/// Which stream a chunk of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A flag that stops runs; clones share it, and once set it stays set.
///
/// It is a plain atomic, so that a signal handler may set it. A run notices within about 50 ms.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that is not set.
    pub fn new() -> StopFlag {
        StopFlag::default()
    }

    /// Sets the flag.
    pub fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the flag is set.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl From<Arc<AtomicBool>> for StopFlag {
    fn from(flag: Arc<AtomicBool>) -> StopFlag {
        StopFlag(flag)
    }
}

/// Runs the process to its end, handing its output to `output` as it comes.
///
/// Chunks are at most 64 KiB and keep their order within a stream; with [`crate::Output::Inherit`] there are none. May be called from several
/// threads at once. When it returns, everything that was started is dead and reaped and nothing is mounted.
///
/// # Errors
///
/// [`SandboxError::Setup`] or [`SandboxError::Exec`] when the command did not start, [`SandboxError::Stopped`] when `stop` was set.
pub fn run(
    spec: &RunSpec,
    runner: &Runner,
    output: &mut dyn FnMut(Stream, &[u8]),
    stop: &StopFlag,
) -> Result<Exit, SandboxError> {
    spec.validate()?;
    if stop.is_stopped() {
        return Err(SandboxError::Stopped);
    }
    let _ = (runner, output);
    Err(SandboxError::InvalidSpec { reason: "the runner is not there yet".to_owned() })
}
