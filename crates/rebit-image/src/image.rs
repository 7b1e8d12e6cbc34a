//! An image that the store holds.

use rebit_oci::config::ImageConfig;
use rebit_oci::manifest::{ImageManifest, MediaType};
use rebit_oci::{DiffId, Digest, ObjectId, Raw, TreeId};

use crate::{ImageError, Platform};

/// A layer as a blob of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerBlob {
    /// Digest of the uncompressed tar stream.
    pub diff_id: DiffId,
    /// Digest of the blob.
    pub digest: Digest,
    /// Length of the blob in bytes.
    pub size: u64,
    /// What the manifest calls it.
    pub media_type: MediaType,
    /// The object that keeps the blob.
    pub object: ObjectId,
}

/// An image of the store, with everything needed to use it as a base or to send it away.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredImage {
    /// The manifest, as it was published.
    pub manifest: Raw<ImageManifest>,
    /// The config, as it was published.
    pub config: Raw<ImageConfig>,
    /// The layers, lowest first.
    pub layers: Vec<LayerBlob>,
    /// The tree after each layer; `None` while the layers are not [unpacked](crate::unpack).
    pub(crate) trees: Option<Vec<TreeId>>,
    /// The document that says how the image was made, where that is known ([`provenance`](crate::provenance())).
    pub provenance: Option<ObjectId>,
    /// The image record: the object from which all of the above is reached.
    pub root: ObjectId,
}

/// An image that is to be stored. Its layers, and its trees if it has them, are in the store already.
#[derive(Debug)]
pub struct NewImage<'a> {
    /// The manifest.
    pub manifest: Raw<ImageManifest>,
    /// The config.
    pub config: Raw<ImageConfig>,
    /// The layers, lowest first.
    pub layers: &'a [LayerBlob],
    /// The tree after each layer; `None` while the layers are not unpacked.
    pub trees: Option<&'a [TreeId]>,
    /// How it was made. Where this is not known, what is known of the image under the same name stays.
    pub provenance: Option<&'a [u8]>,
}

impl StoredImage {
    /// The digest by which the image is known: its manifest's.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.manifest.digest()
    }

    /// Whether the trees of its layers are known. Those of an image that was only [fetched](crate::fetch) are not, until
    /// it is [unpacked](crate::unpack).
    #[must_use]
    pub fn is_unpacked(&self) -> bool {
        self.trees.is_some()
    }

    /// The tree after each layer, lowest first.
    ///
    /// # Errors
    /// [`ImageError::Packed`] when the layers are not unpacked.
    pub fn trees(&self) -> Result<&[TreeId], ImageError> {
        self.trees.as_deref().ok_or_else(|| ImageError::Packed { digest: self.digest() })
    }

    /// The root file system; `None` for an image without layers.
    ///
    /// # Errors
    /// As [`trees`](Self::trees).
    pub fn tree(&self) -> Result<Option<TreeId>, ImageError> {
        Ok(self.trees()?.last().copied())
    }

    /// What the image runs on.
    #[must_use]
    pub fn platform(&self) -> Platform {
        Platform::of_config(self.config.value())
    }

    /// Bytes of all layer blobs.
    #[must_use]
    pub fn layers_size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add)
    }

    /// Bytes of all blobs: manifest, config and layers, one that is there twice counted twice.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.layers_size().saturating_add(self.manifest.size()).saturating_add(self.config.size())
    }
}
