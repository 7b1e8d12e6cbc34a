//! What steps do: to trees alone, or by running a process.

pub(crate) mod copy;
pub(crate) mod directory;
pub(crate) mod run;
