//! Runs one process in fresh namespaces on an overlay root file system, as root and rootless, with no daemon and
//! no other container runtime.
//!
//! # Layout
//!
//! | module | holds |
//! | --- | --- |
//! | `spec` | [`RunSpec`]: everything the process will see, as a value that can be written down |
//! | `run` | [`run`]: starts the runner, streams its output, stops it |
//! | `runner` | [`maybe_run_as_runner`]: the process between the caller and the sandbox |
//! | `inside` | what PID 1 does before it becomes the command, in order |
//! | `rootfs`, `stubs`, `mounts`, `devices`, `kernelfs` | the file system that the command sees |
//! | `capabilities`, `seccomp` | what the command may not do |
//! | `userns` | [`enter_user_namespace`]: rootless operation |
//! | `probe` | [`probe`]: what this host allows, for people |
//! | `sys` | the only module with `unsafe` code: the system calls that `rustix` does not have |
//!
//! # Life of a run
//!
//! ```text
//! caller ──fork, exec /proc/self/exe──► runner ──unshare(pid), fork──► PID 1: mounts, limits, exec ──► the command
//!    ▲ stdout, stderr: pipes                │ waits, removes stubs,        the first error is written
//!    └──────── report: one JSON value ◄─────┘ reports the exit ◄────────── to a pipe that exec closes
//! ```
//!
//! - The command itself is PID 1 of its PID namespace, as in Docker: PIDs start from 1, and when it exits the kernel
//!   kills whatever it left behind. A signal without a handler is ignored by PID 1 unless it comes from outside or from a fault.
//! - The mount namespace dies with its processes: nothing is ever unmounted by hand and nothing stays mounted.
//! - The tree is killed when the caller sets the [`StopFlag`], and when the caller dies: the runner holds one end of
//!   a pipe whose other end the caller has, and PID 1 has a parent death signal.
//! - Mount points that an image lacks are made in a throw-away layer *below* all layers of an overlay. They are visible, they
//!   change no directory's metadata, and they cannot reach the upper directory. Where this is impossible (a whiteout or a dangling
//!   symlink is in the way, there are data-only layers, or the root is a plain directory) they are made in place, and removed after the run if still
//!   empty; what remains is at most a copied-up parent directory, equal to the lower one but for its times.
//! - Symlinks on the way to a mount point are resolved inside the root: `/etc/resolv.conf -> /../../x` is `/x` of the image.
//! - The root and all writable mounts are `nodev`: `mknod` works where the capability is there, opening the node does not.
//!
//! # Rootless
//!
//! [`enter_user_namespace`] is called once, at the start of the program; from then on the process is uid 0 of a user namespace and
//! everything here takes the same path as for root. Overlays always use `userxattr`, so the upper directory looks the same as well.

mod capabilities;
mod devices;
mod error;
mod image;
mod inside;
mod kernelfs;
mod mounts;
mod path_bytes;
mod probe;
mod report;
mod rootfs;
mod run;
mod runner;
mod seccomp;
mod spec;
mod stubs;
mod sys;
mod userns;

pub use error::{SandboxError, Step};
pub use image::try_image;
pub use probe::{Driver, Finding, Probe, probe};
pub use run::{Exit, StopFlag, Stream, run};
pub use runner::{RUNNER_ARGUMENT, Runner, maybe_run_as_runner};
pub use spec::{
    DEFAULT_SHM_SIZE, Lower, Mount, Network, Output, Resource, ResourceLimit, RootFs, RunSpec, Security,
    Stdin,
};
pub use userns::{Privilege, SubordinateRange, current_privilege, enter_user_namespace};
