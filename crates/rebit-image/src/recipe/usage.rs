//! How many layers are kept as recipes, and what that saves.

use std::collections::BTreeMap;

use rebit_oci::Digest;
use rebit_store::Session;

use super::{LayerForm, layer_form};
use crate::ImageError;
use crate::store_image::read_record;

/// What layers are kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecipeUsage {
    /// How many layers there are.
    pub layers: u64,
    /// How many of them are kept as recipes only.
    pub recipes: u64,
    /// Bytes of the blobs that these give.
    pub blob_bytes: u64,
    /// Bytes of these recipes, with what they hold of the tar streams, before the store compresses them.
    pub recipe_bytes: u64,
}

impl RecipeUsage {
    /// Bytes of blobs that need not be kept.
    #[must_use]
    pub fn saved(&self) -> u64 {
        self.blob_bytes.saturating_sub(self.recipe_bytes)
    }

    fn add(&mut self, size: u64, form: &LayerForm) {
        self.layers += 1;
        if !form.blob && !form.recipe.is_empty() {
            self.recipes += 1;
            self.blob_bytes += size;
            self.recipe_bytes += form.bytes;
        }
    }
}

/// What the layers of all images are kept as, each layer counted once, and those of each image by its name.
///
/// # Errors
/// What the store says.
pub fn recipe_usage(session: &Session) -> Result<(RecipeUsage, BTreeMap<String, RecipeUsage>), ImageError> {
    let mut all = RecipeUsage::default();
    let mut images = BTreeMap::new();
    let mut known: BTreeMap<Digest, LayerForm> = BTreeMap::new();
    for found in session.store().refs()? {
        let Some(record) = read_record(session.store(), &found.root)? else { continue };
        let mut usage = RecipeUsage::default();
        for layer in &record.layers {
            let form = match known.get(&layer.digest) {
                Some(form) => form.clone(),
                None => {
                    let form = layer_form(session, layer)?;
                    all.add(layer.size, &form);
                    known.insert(layer.digest, form.clone());
                    form
                }
            };
            usage.add(layer.size, &form);
        }
        images.insert(found.name, usage);
    }
    Ok((all, images))
}
