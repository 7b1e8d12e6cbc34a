//! What `docker save` writes, read as a source.
//!
//! Such an archive has a config and layers but, in its older form, no manifest. One is made then: an OCI
//! manifest over the config's bytes and the layers as they are in the archive (`docs/format/image.md`,
//! "Docker archives"). An archive with an image layout beside its `manifest.json` keeps its own manifests.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use rebit_layer::codec::decode::Format;
use rebit_oci::config::ImageConfig;
use rebit_oci::digest::{HashingReader, VerifyReader};
use rebit_oci::document::MAX_DOCUMENT;
use rebit_oci::manifest::{self, Compression, Descriptor, ImageManifest, Kind, MediaType};
use rebit_oci::{Digest, Raw, Reference};
use serde::Deserialize;

use super::files::{Archive, Files, read_small};
use super::layout_source::{LayoutSource, blob_name, check_size};
use super::{Offer, Source, read_blob};
use crate::record::MAX_LAYERS;
use crate::{ImageError, Platform};

/// Most images of an archive.
const MAX_IMAGES: usize = 1000;

/// An entry of `manifest.json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SavedImage {
    pub(crate) config: String,
    #[serde(default)]
    pub(crate) repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) layers: Option<Vec<String>>,
}

/// Where a blob's bytes are.
#[derive(Debug, Clone)]
enum Blob {
    File { name: String, size: u64 },
    Bytes(Arc<[u8]>),
}

/// A Docker archive, read where it is.
#[derive(Debug)]
pub struct DockerArchiveSource {
    files: Arc<dyn Files>,
    blobs: BTreeMap<Digest, Blob>,
    offers: Vec<Offer>,
}

impl DockerArchiveSource {
    /// Opens an archive. With `name`, only the image of that name is offered.
    ///
    /// Layers of an image without a manifest are read once here, for their digests.
    ///
    /// # Errors
    /// [`ImageError::NotFound`] when there is no `manifest.json` or no image of that name,
    /// [`ImageError::CorruptEntry`], [`ImageError::Limit`].
    pub fn open(path: &Path, name: Option<&Reference>) -> Result<Self, ImageError> {
        Self::over(Arc::new(Archive::open(path)?), name)
    }

    pub(crate) fn over(files: Arc<dyn Files>, name: Option<&Reference>) -> Result<Self, ImageError> {
        let saved = saved_images(&*files)?;
        let mut source = Self { files, blobs: BTreeMap::new(), offers: Vec::new() };
        let published = source.published_manifests();
        let mut hashed = BTreeMap::new();
        for image in saved {
            let tags = image.repo_tags.clone().unwrap_or_default();
            if let Some(wanted) = name
                && !tags.iter().any(|tag| tag.parse::<Reference>().is_ok_and(|tag| tag == *wanted))
            {
                continue;
            }
            source.add(&image, &tags, &published, &mut hashed)?;
        }
        if source.offers.is_empty() {
            let what = name.map_or("an image".to_owned(), |name| format!("image `{name}`"));
            return Err(ImageError::NotFound { what, place: source.files.place() });
        }
        Ok(source)
    }

    /// The manifests of the image layout in the archive, if there is one and as far as they can be read.
    fn published_manifests(&self) -> Vec<Raw<ImageManifest>> {
        let layout = LayoutSource::over(Arc::clone(&self.files), None);
        let mut manifests = Vec::new();
        let mut waiting: Vec<(MediaType, Digest, u64, usize)> = layout
            .offers()
            .unwrap_or_default()
            .into_iter()
            .map(|offer| (offer.media_type, offer.digest, offer.size, 0))
            .collect();
        while let Some((media_type, digest, size, depth)) = waiting.pop() {
            if manifests.len() >= MAX_IMAGES || depth > super::MAX_DEPTH {
                break;
            }
            // What is not there, or not whole, is not used: the manifest is made anew then.
            let Ok(bytes) = read_blob(&layout, &digest, size) else { continue };
            match manifest::kind(&media_type) {
                Kind::Manifest => manifests.extend(Raw::parse("manifest", bytes)),
                Kind::ImageIndex => {
                    let Ok(index) = Raw::<manifest::ImageIndex>::parse("image index", bytes) else {
                        continue;
                    };
                    for child in index.value().manifests().iter().take(MAX_IMAGES) {
                        if let Ok(digest) = manifest::digest(child) {
                            waiting.push((child.media_type().clone(), digest, child.size(), depth + 1));
                        }
                    }
                }
                _ => {}
            }
        }
        manifests
    }

    fn add(
        &mut self,
        image: &SavedImage,
        tags: &[String],
        published: &[Raw<ImageManifest>],
        hashed: &mut BTreeMap<String, Descriptor>,
    ) -> Result<(), ImageError> {
        let bytes = read_small(&*self.files, &image.config, MAX_DOCUMENT)?
            .ok_or_else(|| missing(&*self.files, &image.config))?;
        let config = Raw::<ImageConfig>::parse("config", bytes)?;
        let manifest = match self.take_published(&config, published)? {
            Some(manifest) => manifest,
            None => {
                let mut layers = Vec::new();
                for name in image.layers.iter().flatten() {
                    layers.push(self.layer(name, hashed)?);
                }
                let described = manifest::descriptor(MediaType::ImageConfig, config.digest(), config.size());
                manifest::write_manifest(described, layers)?
            }
        };
        let names = if tags.is_empty() { vec![None] } else { tags.iter().cloned().map(Some).collect() };
        for name in names {
            self.offers.push(Offer {
                media_type: manifest.value().media_type().clone().unwrap_or(MediaType::ImageManifest),
                digest: manifest.digest(),
                size: manifest.size(),
                platform: Some(Platform::of_config(config.value())),
                tag: None,
                name,
            });
        }
        self.blobs.insert(config.digest(), Blob::Bytes(config.into_bytes().into()));
        self.blobs.insert(manifest.digest(), Blob::Bytes(manifest.into_bytes().into()));
        Ok(())
    }

    /// The manifest that the archive itself has for this config, when all its layers are there.
    fn take_published(
        &mut self,
        config: &Raw<ImageConfig>,
        published: &[Raw<ImageManifest>],
    ) -> Result<Option<Raw<ImageManifest>>, ImageError> {
        for manifest in published {
            if manifest::digest(manifest.value().config()).ok() != Some(config.digest()) {
                continue;
            }
            let mut layers = Vec::new();
            for layer in manifest.value().layers() {
                let Ok(digest) = manifest::digest(layer) else { break };
                if self.files.stat(&blob_name(&digest))? == Some(layer.size()) {
                    layers.push((digest, Blob::File { name: blob_name(&digest), size: layer.size() }));
                }
            }
            if layers.len() == manifest.value().layers().len() {
                self.blobs.extend(layers);
                return Ok(Some(manifest.clone()));
            }
        }
        Ok(None)
    }

    fn layer(
        &mut self,
        name: &str,
        hashed: &mut BTreeMap<String, Descriptor>,
    ) -> Result<Descriptor, ImageError> {
        if let Some(known) = hashed.get(name) {
            return Ok(known.clone());
        }
        let corrupt = |reason: String| ImageError::CorruptEntry {
            entry: name.to_owned(),
            place: self.files.place(),
            reason,
        };
        let (mut reader, size) = self.files.open(name)?.ok_or_else(|| missing(&*self.files, name))?;
        let mut start = Vec::new();
        reader.by_ref().take(6).read_to_end(&mut start).map_err(|error| corrupt(error.to_string()))?;
        let compression = match Format::sniff(&start) {
            Format::Plain => Compression::None,
            Format::Gzip => Compression::Gzip,
            Format::Zstd => Compression::Zstd,
            other => {
                let what = format!("the {}-compressed layer `{name}`", other.name());
                return Err(ImageError::Unsupported { what });
            }
        };
        let whole = Cursor::new(start).chain(reader);
        let (digest, length) =
            HashingReader::new(whole).finish().map_err(|error| corrupt(error.to_string()))?;
        if length != size {
            return Err(corrupt("the archive ends in the middle of it".to_owned()));
        }
        let described = manifest::descriptor(compression.layer_media_type(), digest, size);
        self.blobs.insert(digest, Blob::File { name: name.to_owned(), size });
        hashed.insert(name.to_owned(), described.clone());
        Ok(described)
    }
}

fn missing(files: &dyn Files, name: &str) -> ImageError {
    ImageError::NotFound {
        what: format!("`{}`", name.chars().take(200).collect::<String>()),
        place: files.place(),
    }
}

/// Reads `manifest.json`.
pub(crate) fn saved_images(files: &dyn Files) -> Result<Vec<SavedImage>, ImageError> {
    let bytes = read_small(files, "manifest.json", MAX_DOCUMENT)?.ok_or_else(|| ImageError::NotFound {
        what: "a Docker archive (`manifest.json`)".to_owned(),
        place: files.place(),
    })?;
    let saved: Vec<SavedImage> =
        serde_json::from_slice(&bytes).map_err(|error| ImageError::CorruptEntry {
            entry: "manifest.json".to_owned(),
            place: files.place(),
            reason: error.to_string(),
        })?;
    let limit = |what: &str, limit: usize| ImageError::Limit {
        what: format!("the number of {what} in `{}`", files.place()),
        limit: limit as u64,
    };
    if saved.len() > MAX_IMAGES {
        return Err(limit("images", MAX_IMAGES));
    }
    if saved.iter().any(|image| image.layers.as_ref().is_some_and(|layers| layers.len() > MAX_LAYERS)) {
        return Err(limit("layers", MAX_LAYERS));
    }
    Ok(saved)
}

impl Source for DockerArchiveSource {
    fn place(&self) -> String {
        self.files.place()
    }

    fn offers(&self) -> Result<Vec<Offer>, ImageError> {
        Ok(self.offers.clone())
    }

    fn stat(&self, digest: &Digest) -> Result<Option<u64>, ImageError> {
        Ok(self.blobs.get(digest).map(|blob| match blob {
            Blob::File { size, .. } => *size,
            Blob::Bytes(bytes) => bytes.len() as u64,
        }))
    }

    fn open(&self, digest: &Digest, size: u64) -> Result<Box<dyn Read + Send + '_>, ImageError> {
        let not_found = || ImageError::NotFound { what: format!("blob {digest}"), place: self.files.place() };
        let (reader, found): (Box<dyn Read + Send + '_>, u64) = match self.blobs.get(digest) {
            None => return Err(not_found()),
            Some(Blob::File { name, .. }) => self.files.open(name)?.ok_or_else(not_found)?,
            Some(Blob::Bytes(bytes)) => (Box::new(Cursor::new(Arc::clone(bytes))), bytes.len() as u64),
        };
        check_size(digest, size, found)?;
        Ok(Box::new(VerifyReader::new(reader, *digest, size)))
    }
}
