//! What `rebit inspect --json` prints.

use rebit_oci::config::ImageConfig;
use rebit_oci::{DiffId, Digest, ObjectId, TreeId};
use rebit_store::Session;
use serde::Serialize;

use crate::transport::ImageDocuments;
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
    /// How the blob can be given out, of an image of the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<LayerForm>,
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
    /// The record that keeps the image in the store, where it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<ObjectId>,
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
            stored: Some(layer_form(session, layer)?),
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
        record: Some(image.root),
        layers,
        history: history(image),
        config: image.config.value().clone(),
    })
}

/// Describes an image that is not in the store, by its documents.
///
/// # Errors
/// When a descriptor of a layer cannot be used.
pub fn inspect_documents(image: &ImageDocuments, names: &[String]) -> Result<Inspect, ImageError> {
    let (manifest, config) = (image.manifest.value(), image.config.value());
    let mut layers = Vec::new();
    for (layer, diff_id) in manifest.layers().iter().zip(&config.rootfs.diff_ids) {
        layers.push(InspectLayer {
            digest: rebit_oci::manifest::digest(layer)?,
            diff_id: *diff_id,
            size: layer.size(),
            media_type: layer.media_type().to_string(),
            tree: None,
            stored: None,
        });
    }
    if (manifest.layers().len(), layers.len()) != (layers.len(), config.rootfs.diff_ids.len()) {
        let reason = "manifest and config have different numbers of layers".to_owned();
        return Err(ImageError::Inconsistent { manifest: image.manifest.digest(), reason });
    }
    let sizes: Vec<_> = layers.iter().map(|layer| (layer.digest, layer.size)).collect();
    let blobs: u64 = sizes.iter().map(|(_, size)| size).fold(0, |sum, size| sum.saturating_add(*size));
    Ok(Inspect {
        names: names.to_vec(),
        digest: image.manifest.digest(),
        media_type: manifest.media_type().as_ref().map(ToString::to_string),
        config_digest: image.config.digest(),
        platform: Platform::of_config(config),
        created: config.created.clone(),
        size: blobs.saturating_add(image.manifest.size()).saturating_add(image.config.size()),
        record: None,
        layers,
        history: crate::history::rows(config, &sizes),
        config: config.clone(),
    })
}
