//! Blobs first, files later: an image that is passed on, copied or exported is never unpacked.

use std::thread;
use std::time::SystemTime;

use rebit_oci::{Reference, TreeId};
use rebit_store::Session;

use super::fetch::Fetched;
use super::{Applied, Layer, Stack, apply, check, remember, steps};
use crate::store_image::put_trees;
use crate::transport::{self, Source, StoreSource};
use crate::{ImageError, ImportOptions, NewImage, StoredImage, put_image};

/// Takes the blobs of an image in and names it, as [`import`](super::import) does, but leaves its layers packed.
///
/// Every blob is verified against its digest; what a layer has in it is looked at when it is [unpacked](unpack()). Blobs
/// that the store has are not read. An image whose layers are all known from earlier ones is unpacked already.
///
/// # Errors
/// As [`import`](super::import), but for what is only found in a layer.
pub fn fetch(
    session: &Session,
    source: &dyn Source,
    names: &[Reference],
    options: &ImportOptions,
) -> Result<StoredImage, ImageError> {
    let image = transport::select(source, &options.platform, options.any_platform)?;
    check(&image)?;
    let steps = steps(image.manifest.value(), image.config.value())?;
    let fetched = Fetched::new(session, source, &steps, 0)?;
    thread::scope(|scope| {
        for _ in 0..options.fetchers.min(fetched.len().saturating_sub(1)) {
            scope.spawn(|| fetched.work());
        }
        fetched.work();
    });
    let mut layers = Vec::new();
    for layer in &steps {
        let object = match fetched.claim(layer)? {
            Some(object) => object,
            None => {
                let mut reader = source.open(&layer.digest, layer.descriptor.size())?;
                layer.keep(session, &mut reader)?
            }
        };
        layers.push(layer.blob(object));
    }
    let trees = known_trees(session, &steps, options.now)?;
    let new = NewImage {
        manifest: image.manifest,
        config: image.config,
        layers: &layers,
        trees: trees.as_deref(),
        provenance: None,
    };
    put_image(session, new, names, options.now)
}

/// The tree after each layer where all of them are known from earlier images.
fn known_trees(
    session: &Session,
    steps: &[Layer<'_>],
    now: SystemTime,
) -> Result<Option<Vec<TreeId>>, ImageError> {
    let mut applied = Applied { tree: None, loaded: None };
    let mut trees = Vec::new();
    for layer in steps {
        let Some((_, tree)) = layer.known(session, &applied.key(layer), now)? else { return Ok(None) };
        applied.tree = Some(tree);
        trees.push(tree);
    }
    Ok(Some(trees))
}

/// Unpacks the layers of an image of the store, unless they are; its names keep what was learned.
///
/// # Errors
/// [`ImageError::DiffId`] and the like when a layer is not what the config says, and what the store says. The names
/// are as before then.
pub fn unpack(
    session: &Session,
    image: StoredImage,
    options: &ImportOptions,
) -> Result<StoredImage, ImageError> {
    if image.is_unpacked() {
        return Ok(image);
    }
    let Stack { trees, learned, .. } = {
        let source = StoreSource::new(session, &image);
        let steps = steps(image.manifest.value(), image.config.value())?;
        let fetched = Fetched::new(session, &source, &steps, 0)?;
        apply(&fetched, &steps, options)?
    };
    remember(session, learned, options.now)?;
    put_trees(session, image, trees)
}
