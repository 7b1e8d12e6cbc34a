//! Commits of git repositories, by the `git` of the machine.
//!
//! [`Git::resolve`] finds the commit that a name stands for now; [`Git::checkout`] writes the files of a commit into a directory. git
//! runs without the configuration of machine and user, without hooks and helpers, asks nobody anything, and talks `http`, `https`,
//! `ssh` and `git` only: not `file`, so that no repository, by its submodules, reaches files of this machine.
//!
//! With `.git` kept, what is in it depends on the commit, the name it was found by and the repository's address, and not on how the
//! server packs or what else it sent: one commit without history, loose objects that are written here without compression, an index
//! that knows nothing of any file on a disk, and no logs, hooks or traces of the fetch.

mod checkout;
mod command;
mod error;
mod keep;
mod resolve;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;

pub use checkout::{CheckedOut, Checkout};
pub use error::GitError;
pub use resolve::Resolved;

use crate::{Proxies, Stop};

/// What running git depends on.
#[derive(Clone)]
pub struct GitOptions {
    /// git itself, a path or a name that is looked up in `path`.
    pub program: PathBuf,
    /// Where git and ssh look for programs.
    pub path: OsString,
    /// The proxies.
    pub proxies: Proxies,
    /// A file with certificates of authorities; git's own choice when missing.
    pub authorities_file: Option<PathBuf>,
    /// A directory with certificates of authorities.
    pub authorities_directory: Option<PathBuf>,
    /// The socket of an SSH agent: the only place that keys come from.
    pub ssh_agent: Option<PathBuf>,
    /// The file that says which SSH hosts are known.
    pub known_hosts: Option<PathBuf>,
    /// Asked while git runs.
    pub stop: Stop,
}

impl std::fmt::Debug for GitOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GitOptions")
            .field("program", &self.program)
            .field("proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}

/// Runs git.
#[derive(Debug, Clone)]
pub struct Git {
    options: GitOptions,
}

impl Git {
    /// Nothing is run yet.
    #[must_use]
    pub fn new(options: GitOptions) -> Self {
        Self { options }
    }
}
