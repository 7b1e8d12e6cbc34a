//! What `rebit inspect --json` prints.

use rebit_oci::config::ImageConfig;
use rebit_oci::{DiffId, Digest, ObjectId, TreeId};
use rebit_store::Session;
use serde::Serialize;

use crate::{HistoryRow, ImageError, LayerForm, Platform, StoredImage, history, layer_form};

/// A layer in [`Inspect`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InspectLayer {
    /// The blob.
    pub digest: Digest,
    /// Its uncompressed tar stream.
    pub diff_id: DiffId,
    /// Bytes of the blob.
    pub size: u64,
    /// What the manifest calls it.
    pub media_type: String,
    /// The tree after this layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree: Option<TreeId>,
    /// How the blob can be given out.
    pub stored: LayerForm,
}

/// Everything that is known of an image without reading its layers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspect {
    /// The names it was asked for by, in full.
    pub names: Vec<String>,
    /// The digest of the manifest.
    pub digest: Digest,
    /// What the manifest calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The digest of the config: Docker's image id.
    pub config_digest: Digest,
    /// What it runs on.
    pub platform: Platform,
    /// When it was made, in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Bytes of all blobs.
    pub size: u64,
    /// The record that keeps the image in the store.
    pub record: ObjectId,
    /// The layers, lowest first.
    pub layers: Vec<InspectLayer>,
    /// How it was made, oldest first.
    pub history: Vec<HistoryRow>,
    /// The config.
    pub config: ImageConfig,
}

/// Describes an image. `names` are those it is known by.
///
/// # Errors
/// What the store says.
pub fn inspect(session: &Session, image: &StoredImage, names: &[String]) -> Result<Inspect, ImageError> {
    let mut layers = Vec::new();
    for (number, layer) in image.layers.iter().enumerate() {
        layers.push(InspectLayer {
            digest: layer.digest,
            diff_id: layer.diff_id,
            size: layer.size,
            media_type: layer.media_type.to_string(),
            tree: image.trees.as_ref().and_then(|trees| trees.get(number)).copied(),
            stored: layer_form(session, layer)?,
        });
    }
    Ok(Inspect {
        names: names.to_vec(),
        digest: image.digest(),
        media_type: image.manifest.value().media_type().as_ref().map(ToString::to_string),
        config_digest: image.config.digest(),
        platform: image.platform(),
        created: image.config.value().created.clone(),
        size: image.size(),
        record: image.root,
        layers,
        history: history(image),
        config: image.config.value().clone(),
    })
}
