//! The cases. Each makes its own root file system.

use rebit_sandbox::{Privilege, current_privilege};

mod confinement;
mod files;
mod lifecycle;
mod process;

/// Name and body of a test.
pub(crate) type Case = (&'static str, fn());

/// All cases, in the order in which they run.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    [process::CASES, files::CASES, confinement::CASES, lifecycle::CASES].into_iter().flatten()
}

fn mapped_ids() -> u64 {
    match current_privilege().unwrap() {
        Privilege::UserNamespace { mapped_ids } => mapped_ids,
        _ => u64::MAX,
    }
}

fn is_real_root() -> bool {
    current_privilege().unwrap() == Privilege::Root
}
