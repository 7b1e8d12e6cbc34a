//! A build that is a trial: it relies on nothing that is known, and leaves nothing that a later build would rely on.

use rebit_oci::TreeId;
use rebit_store::Session;

use crate::progress::StepId;

/// How a trial differs from a build.
#[derive(Clone, Copy)]
pub struct Trial<'a> {
    /// Where root file systems are written and caches of `RUN --mount=type=cache` are kept: a store of its own, which holds none to begin
    /// with. File contents and trees stay in the session of the build.
    pub directories: &'a Session,
    /// Who sees the result of every step.
    pub overseer: &'a dyn Overseer,
}

impl std::fmt::Debug for Trial<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trial").finish_non_exhaustive()
    }
}

/// Sees, and may replace, what steps give. Called from the thread that builds the stage.
pub trait Overseer: Sync {
    /// What the step is taken to give; `None` to execute it.
    fn instead(&self, id: StepId) -> Option<TreeId>;

    /// Takes what an executed step gave, and returns what the build goes on with.
    fn after(&self, id: StepId, gave: TreeId) -> TreeId;

    /// Takes a context as it was read; the build context has no name.
    fn context(&self, name: Option<&str>, tree: TreeId);
}
