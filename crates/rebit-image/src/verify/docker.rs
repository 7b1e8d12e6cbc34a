//! A Docker archive.

use std::sync::Arc;

use rebit_oci::{Digest, Reference};

use super::check::{Check, chain};
use super::layout;
use crate::ImageError;
use crate::transport::files::Files;
use crate::transport::{DockerArchiveSource, SavedImage, Source, saved_images};

/// Checks a Docker archive: its image layout when it has one, and every image of its `manifest.json`.
pub(super) fn check(
    files: &Arc<dyn Files>,
    name: Option<&Reference>,
    check: &mut Check,
) -> Result<(), ImageError> {
    let has_layout = files.stat("index.json")?.is_some();
    if has_layout {
        layout::check(files, None, check)?;
    }
    let Some(saved) = check.opened(saved_images(&**files))? else { return Ok(()) };
    match DockerArchiveSource::over(Arc::clone(files), name) {
        Ok(source) => {
            for offer in source.offers()? {
                check.offer(&source, &offer)?;
            }
        }
        // A name that is not there is no damage.
        Err(error @ ImageError::NotFound { .. }) if name.is_some() => return Err(error),
        Err(error @ (ImageError::CorruptEntry { .. } | ImageError::Io { .. })) => {
            check.note::<()>(Err(error))?;
        }
        Err(error) => {
            let problem = format!("what it names cannot be used: {}", chain(&error));
            check.add(None, Some("manifest.json"), problem);
        }
    }
    for image in &saved {
        config_name(files, image, check)?;
    }
    if !has_layout {
        for file in files.names()? {
            let used = |image: &SavedImage| {
                image.config == file || image.layers.iter().flatten().any(|l| *l == file)
            };
            if file != "manifest.json" && !saved.iter().any(used) {
                check.unchecked(&file);
            }
        }
    }
    Ok(())
}

/// A config goes by its digest.
fn config_name(files: &Arc<dyn Files>, image: &SavedImage, check: &mut Check) -> Result<(), ImageError> {
    let stem = image.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
    let Ok(stated) = format!("sha256:{stem}").parse::<Digest>() else { return Ok(()) };
    let limit = rebit_oci::document::MAX_DOCUMENT;
    let bytes = check.note(crate::transport::files::read_small(&**files, &image.config, limit))?;
    if let Some(Some(bytes)) = bytes
        && Digest::of(&bytes) != stated
    {
        check.add(Some(stated), Some(&image.config), format!("its bytes have digest {}", Digest::of(&bytes)));
    }
    Ok(())
}
