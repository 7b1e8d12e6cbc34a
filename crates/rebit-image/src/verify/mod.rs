//! Every digest of an image computed again.

mod archive;
mod check;
mod docker;
mod hash;
mod layout;

use std::sync::Arc;

use rebit_layer::Tree;
use rebit_oci::{DiffId, Digest};
use rebit_store::Session;
use serde::Serialize;

use crate::transport::files::{Directory, Files};
use crate::transport::{Source, StoreSource};
use crate::{ImageError, Place, Platform, find_text};
use check::Check;

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The blob it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob: Option<Digest>,
    /// The archive entry or file it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// What is wrong, in words.
    pub problem: String,
}

/// An image that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedImage {
    /// The names it goes by at its place.
    pub names: Vec<String>,
    /// The digest of the manifest.
    pub digest: Digest,
    /// The digest of the config.
    pub config_digest: Digest,
    /// What it runs on.
    pub platform: Platform,
    /// The layers, lowest first: blob and tar stream.
    pub layers: Vec<(Digest, DiffId)>,
}

/// What was checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// The images of the place.
    pub images: Vec<VerifiedImage>,
    /// How many blobs were read.
    pub blobs: u64,
    /// How many bytes of blobs were read.
    pub bytes: u64,
    /// Whole blobs that no image names.
    pub orphans: Vec<Digest>,
    /// Files and entries of other programs that no digest covers, so that nothing can be said of them.
    pub unchecked: Vec<String>,
}

/// Why a verification did not hold.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Something is damaged or inconsistent.
    #[error("{} of `{place}` {}", count(findings.len(), *more), if findings.len() == 1 && !*more { "does not hold" } else { "do not hold" })]
    Findings {
        /// What was checked.
        place: String,
        /// What was found, at most [`MAX_FINDINGS`].
        findings: Vec<Finding>,
        /// Whether there was more.
        more: bool,
    },
    /// Everything is whole, but it is not the image that was expected.
    #[error("`{place}` does not hold image {expected}")]
    NotExpected {
        /// What was checked.
        place: String,
        /// The digest asked for.
        expected: Digest,
        /// The images there are.
        found: Vec<Digest>,
    },
    /// It could not be checked.
    #[error("cannot verify the image")]
    Image {
        /// The cause.
        #[from]
        source: ImageError,
    },
}

/// Most findings that are collected.
pub const MAX_FINDINGS: usize = 100;

fn count(findings: usize, more: bool) -> String {
    match (findings, more) {
        (1, false) => "one check".to_owned(),
        (findings, false) => format!("{findings} checks"),
        (findings, true) => format!("more than {findings} checks"),
    }
}

/// Checks what is at `place`, all of it, and that the image `expected` is there.
///
/// Every digest, size and diff id is computed again; manifests, configs and layers must agree; of an archive
/// no byte may be changed unnoticed (`docs/format/image.md`, "Verification"). `session` is needed for an image of
/// the store only. `expected` may be the digest of a manifest or of an image index.
///
/// # Errors
/// [`VerifyError`]; all findings are collected before it is returned.
pub fn verify(
    session: Option<&Session>,
    place: &Place,
    expected: Option<Digest>,
) -> Result<VerifyReport, VerifyError> {
    let mut check = Check::default();
    match place {
        Place::Store { name } => store(session, name, &mut check)?,
        Place::Registry { .. } => return Err(crate::export::not_here(place).into()),
        Place::Oci { path, tag } => {
            let files: Arc<dyn Files> = Arc::new(Directory::open(path)?);
            layout::check(&files, tag.as_deref(), &mut check)?;
        }
        Place::OciArchive { path, tag } => {
            if let Some(files) = archive::check(path, &mut check)? {
                layout::check(&files, tag.as_deref(), &mut check)?;
            }
        }
        Place::DockerArchive { path, name } => {
            if let Some(files) = archive::check(path, &mut check)? {
                docker::check(&files, name.as_ref(), &mut check)?;
            }
        }
    }
    check.finish(&place.to_string(), expected)
}

/// Checks what a source offers, with all images of an index, and that `expected` is there. Every byte of it is read.
///
/// What does not come, for a reason of the place and not of the bytes, is no finding but an error.
///
/// # Errors
/// [`VerifyError`].
pub fn verify_source(source: &dyn Source, expected: Option<Digest>) -> Result<VerifyReport, VerifyError> {
    let mut check = Check::strict();
    if let Some(offers) = check.opened(source.offers())? {
        for offer in offers {
            check.offer(source, &offer)?;
        }
    }
    check.finish(&source.place(), expected)
}

/// An image of the store: its blobs, and that its trees can be loaded.
fn store(session: Option<&Session>, name: &str, check: &mut Check) -> Result<(), VerifyError> {
    let Some(session) = session else {
        return Err(ImageError::Unsupported {
            what: "verifying an image of the store without one".to_owned(),
        }
        .into());
    };
    let missing = || ImageError::NotFound { what: format!("image `{name}`"), place: "the store".to_owned() };
    let found = check.opened(find_text(session, name).and_then(|found| found.ok_or_else(missing)))?;
    let Some(image) = found else { return Ok(()) };
    let source = StoreSource::new(session, &image);
    for offer in source.offers()? {
        check.offer(&source, &offer)?;
    }
    for tree in image.trees.iter().flatten() {
        check.note(Tree::load(tree, session).map_err(ImageError::from))?;
    }
    for layer in &image.layers {
        let stat = session.stat_blob(&layer.digest).map_err(ImageError::from)?;
        if stat.is_none_or(|stat| stat.size != layer.size) {
            check.add(Some(layer.digest), None, "the record of the image does not fit its blob".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
