//! What the processes of a run tell each other: JSON lines over pipes.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::stubs::Made;
use crate::{Exit, SandboxError, Step};

/// The form of [`SandboxError::Setup`] that crosses a pipe.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    #[serde(with = "crate::path_bytes::optional")]
    pub(crate) path: Option<PathBuf>,
    pub(crate) detail: String,
    pub(crate) errno: i32,
}

impl Failure {
    pub(crate) fn new(step: Step, errno: Errno) -> Failure {
        Failure { step, path: None, detail: String::new(), errno: errno.raw_os_error() }
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Failure {
        self.detail = detail.into();
        self
    }

    pub(crate) fn path(mut self, path: &Path) -> Failure {
        self.path = Some(path.to_owned());
        self
    }
}

/// What PID 1 tells the runner, one JSON value a line, until exec closes the pipe.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// Mount points made in place, to be removed after the run.
    Made(Vec<Made>),
    /// The end: the command did not start.
    Failed(Failure),
    /// The end: everything was ready, but the program could not be executed.
    ExecFailed { program: OsString, errno: i32 },
}

/// What the runner tells the caller, once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    Exited(Exit),
    Failed(Failure),
    ExecFailed { program: OsString, errno: i32 },
    Stopped,
}

impl Report {
    pub(crate) fn into_result(self) -> Result<Exit, SandboxError> {
        match self {
            Report::Exited(exit) => Ok(exit),
            Report::Failed(Failure { step, path, detail, errno }) => {
                Err(SandboxError::Setup { step, path, detail, source: io::Error::from_raw_os_error(errno) })
            }
            Report::ExecFailed { program, errno } => {
                Err(SandboxError::Exec { program, source: io::Error::from_raw_os_error(errno) })
            }
            Report::Stopped => Err(SandboxError::Stopped),
        }
    }
}

/// Says which step and path an error belongs to.
pub(crate) trait Context<T> {
    fn step(self, step: Step) -> Result<T, Failure>;
    fn at(self, step: Step, path: impl AsRef<Path>) -> Result<T, Failure>;
}

impl<T> Context<T> for Result<T, Errno> {
    fn step(self, step: Step) -> Result<T, Failure> {
        self.map_err(|errno| Failure::new(step, errno))
    }

    fn at(self, step: Step, path: impl AsRef<Path>) -> Result<T, Failure> {
        self.map_err(|errno| Failure::new(step, errno).path(path.as_ref()))
    }
}

impl<T> Context<T> for io::Result<T> {
    fn step(self, step: Step) -> Result<T, Failure> {
        self.map_err(|error| errno_of(&error)).step(step)
    }

    fn at(self, step: Step, path: impl AsRef<Path>) -> Result<T, Failure> {
        self.map_err(|error| errno_of(&error)).at(step, path)
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
