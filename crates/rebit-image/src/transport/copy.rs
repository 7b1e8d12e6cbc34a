//! The one way by which blobs go from a source to a sink.

use std::collections::BTreeMap;
use std::io::Read;

use rebit_oci::digest::VerifyReader;
use rebit_oci::manifest;

use super::{ImageDocuments, ImageNames, Sink, Source};
use crate::ImageError;

/// Copies an image: its blobs, each once and in order of digest, then its documents. Returns the bytes of all
/// blobs.
///
/// Every blob is verified on the way, whatever the source promises. The sink is not finished.
///
/// # Errors
/// [`ImageError::CorruptBlob`] and the like; what the sink has taken by then it forgets when it is dropped.
pub fn copy(
    source: &dyn Source,
    image: &ImageDocuments,
    names: &ImageNames,
    sink: &mut dyn Sink,
) -> Result<u64, ImageError> {
    let mut blobs = BTreeMap::new();
    for layer in image.manifest.value().layers() {
        let (digest, size) = (manifest::digest(layer)?, layer.size());
        if blobs.insert(digest, size).is_some_and(|other| other != size) {
            let reason = format!("it gives blob {digest} two sizes");
            return Err(ImageError::Inconsistent { manifest: image.manifest.digest(), reason });
        }
    }
    blobs.insert(image.config.digest(), image.config.size());
    blobs.insert(image.manifest.digest(), image.manifest.size());
    let mut total = 0_u64;
    for (digest, size) in blobs {
        let reader: Box<dyn Read + Send + '_> = if digest == image.manifest.digest() {
            Box::new(image.manifest.bytes())
        } else if digest == image.config.digest() {
            Box::new(image.config.bytes())
        } else {
            source.open(&digest, size)?
        };
        sink.put_blob(&digest, size, &mut VerifyReader::new(reader, digest, size))?;
        total = total.saturating_add(size);
    }
    sink.put_image(image, names)?;
    Ok(total)
}
