//! The image record: the object that keeps an image together in the store (`docs/format/image.md`).

use rebit_oci::manifest::MediaType;
use rebit_oci::{DiffId, Digest, ObjectId, TreeId, json};
use serde::{Deserialize, Serialize};

use crate::LayerBlob;

/// The version without a provenance, which every version of this program reads.
const PLAIN: u32 = 1;
/// The version with a provenance.
const PROVEN: u32 = 2;
/// The version whose layers are not unpacked; the latest one this program writes and reads.
pub(crate) const VERSION: u32 = 3;
/// Most layers of an image.
pub(crate) const MAX_LAYERS: usize = 1024;
/// Largest record that is read.
pub(crate) const MAX_RECORD: u64 = 1 << 20;

/// A document as blob and object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stored {
    pub(crate) digest: Digest,
    pub(crate) object: ObjectId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredLayer {
    diff_id: DiffId,
    digest: Digest,
    media_type: String,
    object: ObjectId,
    size: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    rebit_image: u32,
    manifest: Stored,
    config: Stored,
    layers: Vec<StoredLayer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provenance: Option<ObjectId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trees: Option<Vec<TreeId>>,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRecord {
    pub(crate) manifest: Stored,
    pub(crate) config: Stored,
    pub(crate) layers: Vec<LayerBlob>,
    /// `None` while the layers are not unpacked.
    pub(crate) trees: Option<Vec<TreeId>>,
    /// The document that says how the image was made.
    pub(crate) provenance: Option<ObjectId>,
}

/// Why bytes are not an image record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not JSON, or not of the right shape.
    #[error("the image record is malformed")]
    Malformed {
        /// Where and why.
        source: serde_json::Error,
    },
    /// Written by a later version.
    #[error("the image record has version {version}; this program reads {VERSION}")]
    Version {
        /// What it says.
        version: u32,
    },
    /// The lists do not fit together or are too long.
    #[error(
        "the image record has {layers} layers and {trees} trees; they must be as many, and at most {MAX_LAYERS}"
    )]
    Counts {
        /// How many layers it lists.
        layers: usize,
        /// How many trees it lists.
        trees: usize,
    },
}

/// The version of a record: the lowest one that can say it, so that earlier versions of this program read the others.
fn of(is_unpacked: bool, has_provenance: bool) -> u32 {
    match (is_unpacked, has_provenance) {
        (true, false) => PLAIN,
        (true, true) => PROVEN,
        (false, _) => VERSION,
    }
}

impl ImageRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct Version {
            rebit_image: u32,
        }
        let malformed = |source| RecordError::Malformed { source };
        // The version first: a later one may have other fields.
        let Version { rebit_image: version } = serde_json::from_slice(bytes).map_err(malformed)?;
        if !(PLAIN..=VERSION).contains(&version) {
            return Err(RecordError::Version { version });
        }
        let document: Document = serde_json::from_slice(bytes).map_err(malformed)?;
        if version != of(document.trees.is_some(), document.provenance.is_some()) {
            return Err(RecordError::Version { version });
        }
        let layers = document.layers.len();
        let trees = document.trees.as_ref().map_or(layers, Vec::len);
        if layers != trees || layers > MAX_LAYERS {
            return Err(RecordError::Counts { layers, trees });
        }
        let layers = document.layers.into_iter().map(|layer| LayerBlob {
            diff_id: layer.diff_id,
            digest: layer.digest,
            size: layer.size,
            media_type: MediaType::from(layer.media_type.as_str()),
            object: layer.object,
        });
        Ok(Self {
            manifest: document.manifest,
            config: document.config,
            layers: layers.collect(),
            trees: document.trees,
            provenance: document.provenance,
        })
    }

    /// Writes the record: canonical JSON.
    ///
    /// # Errors
    /// None for values of this type; `serde_json`'s signature has one.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let layers = self.layers.iter().map(|layer| StoredLayer {
            diff_id: layer.diff_id,
            digest: layer.digest,
            media_type: layer.media_type.to_string(),
            object: layer.object,
            size: layer.size,
        });
        json::to_canonical(&Document {
            rebit_image: of(self.trees.is_some(), self.provenance.is_some()),
            manifest: self.manifest.clone(),
            config: self.config.clone(),
            layers: layers.collect(),
            trees: self.trees.clone(),
            provenance: self.provenance,
        })
    }

    /// Everything the record keeps alive, without repetition.
    #[must_use]
    pub fn edges(&self) -> Vec<ObjectId> {
        let mut edges = vec![self.manifest.object, self.config.object];
        edges.extend(self.layers.iter().map(|layer| layer.object));
        edges.extend(self.trees.iter().flatten().map(TreeId::object));
        edges.extend(self.provenance);
        edges.sort_unstable();
        edges.dedup();
        edges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> ImageRecord {
        let stored = |text: &[u8]| Stored { digest: Digest::of(text), object: ObjectId::of(text) };
        ImageRecord {
            manifest: stored(b"m"),
            config: stored(b"c"),
            layers: vec![LayerBlob {
                diff_id: DiffId(Digest::of(b"tar")),
                digest: Digest::of(b"gz"),
                size: 7,
                media_type: MediaType::ImageLayerGzip,
                object: ObjectId::of(b"gz"),
            }],
            trees: Some(vec![TreeId([1; 32])]),
            provenance: None,
        }
    }

    /// I-44.
    #[test]
    fn a_record_with_a_provenance_is_of_version_2() {
        let record = ImageRecord { provenance: Some(ObjectId::of(b"p")), ..record() };
        let text = String::from_utf8(record.encode().unwrap()).unwrap();
        assert!(text.contains(r#""rebit_image":2"#), "{text}");
        assert_eq!(ImageRecord::decode(text.as_bytes()).unwrap(), record);
        assert_eq!(record.edges().len(), 5);
        let wrong = text.replace(r#""rebit_image":2"#, r#""rebit_image":1"#);
        assert!(matches!(ImageRecord::decode(wrong.as_bytes()), Err(RecordError::Version { version: 1 })));
    }

    /// I-45.
    #[test]
    fn a_record_without_trees_is_of_version_3() {
        for provenance in [None, Some(ObjectId::of(b"p"))] {
            let record = ImageRecord { trees: None, provenance, ..record() };
            let text = String::from_utf8(record.encode().unwrap()).unwrap();
            assert!(text.contains(r#""rebit_image":3"#) && !text.contains("trees"), "{text}");
            assert_eq!(ImageRecord::decode(text.as_bytes()).unwrap(), record);
            assert_eq!(record.edges().len(), 3 + usize::from(provenance.is_some()));
        }
        let text = String::from_utf8(record().encode().unwrap()).unwrap();
        let wrong = text.replace(r#""rebit_image":1"#, r#""rebit_image":3"#);
        assert!(matches!(ImageRecord::decode(wrong.as_bytes()), Err(RecordError::Version { version: 3 })));
    }

    #[test]
    fn a_record_reads_back_and_has_one_text() {
        // I-41, I-42
        let bytes = record().encode().unwrap();
        assert_eq!(ImageRecord::decode(&bytes).unwrap(), record());
        assert!(bytes.starts_with(br#"{"config":{"digest":"sha256:"#));
        assert_eq!(record().edges().len(), 4);
    }

    #[test]
    fn what_is_not_a_record_is_refused() {
        let text = String::from_utf8(record().encode().unwrap()).unwrap();
        let decode = |text: &str| ImageRecord::decode(text.as_bytes()).unwrap_err();
        assert!(matches!(decode("{"), RecordError::Malformed { .. }));
        assert!(matches!(decode(&text.replace("\"trees\"", "\"treez\"")), RecordError::Malformed { .. }));
        let later = r#"{"rebit_image":4,"new":true}"#;
        assert!(matches!(decode(later), RecordError::Version { version: 4 }));
        let tree = format!("\"{}\"", TreeId([1; 32]));
        assert!(matches!(decode(&text.replace(&tree, "")), RecordError::Counts { layers: 1, trees: 0 }));
    }
}
