//! The one way by which blobs go from a source to a sink.

use std::collections::BTreeMap;
use std::io::Read;

use rebit_oci::digest::VerifyReader;
use rebit_oci::{Digest, manifest};

use super::{Everything, ImageDocuments, ImageNames, Sink, Source};
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

/// Copies an image index with everything below it, as [`copy`] does an image: documents byte for byte, blobs verified.
///
/// # Errors
/// As [`copy`], and [`ImageError::Unsupported`] where the sink can hold no index.
pub fn copy_index(
    source: &dyn Source,
    all: &Everything,
    names: &ImageNames,
    sink: &mut dyn Sink,
) -> Result<u64, ImageError> {
    let documents: BTreeMap<Digest, &[u8]> =
        all.below.iter().chain([&all.top]).map(|document| (document.digest, &*document.bytes)).collect();
    let mut blobs = all.blobs.clone();
    blobs.extend(documents.iter().map(|(digest, bytes)| (*digest, bytes.len() as u64)));
    let mut total = 0_u64;
    for (digest, size) in blobs {
        let reader: Box<dyn Read + Send + '_> = match documents.get(&digest) {
            Some(bytes) => Box::new(*bytes),
            None => source.open(&digest, size)?,
        };
        sink.put_blob(&digest, size, &mut VerifyReader::new(reader, digest, size))?;
        total = total.saturating_add(size);
    }
    sink.put_index(&all.top, names)?;
    Ok(total)
}
