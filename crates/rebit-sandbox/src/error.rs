//! What can go wrong, in one enum.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Failure to run a process; a process that ran and failed is not an error but an [`crate::Exit`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The spec contradicts itself or the kernel's limits; nothing was started.
    #[error("invalid run spec: {reason}")]
    InvalidSpec {
        /// What is wrong.
        reason: String,
    },
    /// The runner could not be started.
    #[error("cannot start the runner `{}`", path.display())]
    Spawn {
        /// Executable of the runner.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Talking to the runner failed.
    #[error("cannot {action}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The sandbox could not be set up; the command did not start.
    #[error("cannot set up the sandbox: {step}{}{}", in_backticks(path.as_ref()), in_parentheses(detail))]
    Setup {
        /// What was attempted.
        step: Step,
        /// The path concerned.
        path: Option<PathBuf>,
        /// Option, device, or words of the kernel; may be empty.
        detail: String,
        /// Why.
        source: io::Error,
    },
    /// The program could not be executed inside the sandbox; not found is [`io::ErrorKind::NotFound`].
    #[error("cannot execute `{}`", program.display())]
    Exec {
        /// The program as given.
        program: OsString,
        /// Why.
        source: io::Error,
    },
    /// The stop flag was set; everything that ran has been killed.
    #[error("stopped")]
    Stopped,
    /// The runner ended without a report.
    #[error("the runner ended without a report: {status}")]
    RunnerDied {
        /// Its wait status.
        status: std::process::ExitStatus,
    },
    /// A user namespace could not be entered.
    #[error("cannot enter a user namespace: {action}")]
    UserNamespace {
        /// What was attempted.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
}

fn in_backticks(path: Option<&PathBuf>) -> String {
    path.map(|path| format!(" `{}`", path.display())).unwrap_or_default()
}

fn in_parentheses(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}

/// A step of setting up the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Step {
    /// Creating the process and its namespaces.
    Namespaces,
    /// Host and domain name.
    HostName,
    /// The loopback interface.
    Network,
    /// Opening a directory of the root file system.
    OpenRoot,
    /// Mounting the overlay.
    Overlay,
    /// Mounting an image that is a layer.
    Image,
    /// Binding a root directory.
    BindRoot,
    /// Making a mount point.
    MountPoint,
    /// `/proc`.
    Proc,
    /// `/sys`.
    Sys,
    /// `/dev`.
    Dev,
    /// A mount of the spec.
    Mount,
    /// Masking a path, or making it read-only.
    MaskPath,
    /// Making the new root the root.
    PivotRoot,
    /// A resource limit.
    Limit,
    /// The execution domain (address space layout).
    Personality,
    /// Session, signals, standard streams, descriptors.
    Process,
    /// The seccomp filter.
    Seccomp,
    /// Capabilities.
    Capabilities,
    /// User and groups.
    User,
    /// The working directory.
    WorkingDirectory,
    /// Removing what the runner made, after the run.
    Cleanup,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Namespaces => "create namespaces",
            Step::HostName => "set the host name",
            Step::Network => "bring up the loopback interface",
            Step::OpenRoot => "open directory",
            Step::Overlay => "mount the overlay",
            Step::Image => "mount the image of a layer",
            Step::BindRoot => "bind the root directory",
            Step::MountPoint => "make mount point",
            Step::Proc => "mount /proc",
            Step::Sys => "mount /sys",
            Step::Dev => "populate /dev",
            Step::Mount => "mount",
            Step::MaskPath => "mask path",
            Step::PivotRoot => "change the root",
            Step::Limit => "set resource limit",
            Step::Personality => "set the execution domain",
            Step::Process => "prepare the process",
            Step::Seccomp => "install the seccomp filter",
            Step::Capabilities => "drop capabilities",
            Step::User => "change user",
            Step::WorkingDirectory => "enter working directory",
            Step::Cleanup => "clean up",
        })
    }
}
