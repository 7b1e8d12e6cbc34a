//! What steps do: to trees alone, or by running a process.

pub(crate) mod agent;
pub(crate) mod copy;
pub(crate) mod directory;
pub(crate) mod mounts;
pub(crate) mod run;

use rebit_layer::{Change, Changeset};

use crate::error::StepProblem;

/// Refuses names that a layer cannot hold, so that the step that made them is the one that fails.
pub(crate) fn check_names(changes: &Changeset) -> Result<(), StepProblem> {
    let reserved = |name: &[u8]| name.starts_with(b".wh.");
    let mut made = changes.iter().filter(|(_, change)| matches!(change, Change::Upsert(_)));
    match made.find(|(path, _)| path.file_name().is_some_and(reserved)) {
        Some((path, _)) => Err(StepProblem::ReservedName { path: path.to_string() }),
        None => Ok(()),
    }
}
