//! From a built stage to an image: layers are encoded, config and manifest written.

use rebit_image::provenance::MAX_PROVENANCE;
use rebit_image::{LayerBlob, NewImage, StoredImage};
use rebit_layer::encode::{EncodeOptions, LayerFormat, SegmentCache};
use rebit_layer::segment::SegmentKey;
use rebit_layer::{Compare, NoSegmentCache, diff, encode_layer};
use rebit_oci::config::{ImageConfig, RootFs};
use rebit_oci::manifest::{MediaType, descriptor, write_annotated_manifest};
use rebit_oci::object::{ObjectSink as _, ObjectSource as _};
use rebit_oci::{ObjectId, Raw, TreeId};
use rebit_store::Session;

use crate::error::BuildError;
use crate::graph::{Graph, StagePlan};
use crate::key;
use crate::op::run::describe;
use crate::progress::{Event, StepId};
use crate::provenance::{self, Notes};
use crate::record::{self, LayerRecord};
use crate::solve::{BuildInputs, LayerSource, StageState};
use crate::time::rfc3339;
use crate::trees::Trees;

/// An image that was built. It is not stored yet: that is done together with naming it.
#[derive(Debug)]
pub struct Built {
    /// Its manifest.
    pub manifest: Raw<rebit_oci::manifest::ImageManifest>,
    /// Its config.
    pub config: Raw<ImageConfig>,
    /// Its layers, lowest first.
    pub layers: Vec<LayerBlob>,
    /// The tree after each layer.
    pub trees: Vec<TreeId>,
    /// How it was made, as a document.
    pub provenance: Option<Vec<u8>>,
}

impl Built {
    /// Stores the image under `names`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn store(
        self,
        session: &Session,
        names: &[rebit_oci::Reference],
        now: std::time::SystemTime,
    ) -> Result<StoredImage, BuildError> {
        let image = NewImage {
            manifest: self.manifest,
            config: self.config,
            layers: &self.layers,
            trees: Some(&self.trees),
            provenance: self.provenance.as_deref(),
        };
        Ok(rebit_image::put_image(session, image, names, now)?)
    }
}

pub(crate) fn commit(
    graph: &Graph,
    stage: &StagePlan,
    state: StageState,
    notes: &Notes,
    trees: &Trees<'_>,
    inputs: &BuildInputs<'_>,
) -> Result<Built, BuildError> {
    debug_assert!(
        state.chain.last().is_none_or(|last| *last == state.tree),
        "the chain ends with the stage's tree"
    );
    let made = state.layers.iter().filter(|layer| matches!(layer, LayerSource::Made { .. })).count();
    let mut layers = Vec::new();
    let mut number = 0;
    for source in &state.layers {
        layers.push(match source {
            LayerSource::Published(blob) => blob.clone(),
            LayerSource::Made { lower, upper } => {
                number += 1;
                encode(*lower, *upper, (number, made), graph, trees, inputs)?
            }
        });
    }
    let config = image_config(graph, stage, &state, &layers);
    let config = Raw::write("config", config)?;
    let config_descriptor = descriptor(MediaType::ImageConfig, config.digest(), config.size());
    let layer_descriptors = layers
        .iter()
        .map(|layer| descriptor(oci_type(&layer.media_type), layer.digest, layer.size))
        .collect();
    let annotations = &inputs.options.annotations;
    let manifest = write_annotated_manifest(config_descriptor, layer_descriptors, annotations)?;
    let provenance = inputs.asked.and_then(|asked| {
        let diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
        let statement = provenance::statement(graph, notes, asked, manifest.digest(), diff_ids);
        let bytes = statement.encode().ok().filter(|bytes| bytes.len() as u64 <= MAX_PROVENANCE);
        if bytes.is_none() {
            let text = format!("the image has no provenance: it would take more than {MAX_PROVENANCE} bytes");
            inputs.progress.event(Event::ContextNotice { text });
        }
        bytes
    });
    Ok(Built { manifest, config, layers, trees: state.chain, provenance })
}

/// A manifest of ours is OCI's, so Docker's layer types become theirs; the bytes of the layer are the same.
fn oci_type(media_type: &MediaType) -> MediaType {
    match rebit_oci::manifest::kind(media_type) {
        rebit_oci::manifest::Kind::Layer(compression) => compression.layer_media_type(),
        _ => media_type.clone(),
    }
}

fn image_config(graph: &Graph, stage: &StagePlan, state: &StageState, layers: &[LayerBlob]) -> ImageConfig {
    let mut config = state.base.clone();
    config.created = Some(rfc3339(graph.epoch));
    config.config = stage.config.clone();
    config.author = stage.author.clone().or(config.author);
    config.history.clone_from(&state.history);
    config.rootfs =
        RootFs { kind: "layers".to_owned(), diff_ids: layers.iter().map(|l| l.diff_id).collect() };
    // What other builders note about themselves and their containers is not part of this image.
    config.other.retain(|name, _| matches!(name.as_str(), "os.version" | "os.features"));
    config
}

fn encode(
    lower: TreeId,
    upper: TreeId,
    (number, of): (usize, usize),
    graph: &Graph,
    trees: &Trees<'_>,
    inputs: &BuildInputs<'_>,
) -> Result<LayerBlob, BuildError> {
    let compression = inputs.options.compression;
    let session = inputs.session;
    let media_type = compression.layer_media_type();
    let key = key::layer(lower, upper, graph.epoch, compression).key();
    let known = match inputs.trial {
        Some(_) => None,
        None => session.get_record(&key, inputs.options.now)?,
    };
    if let Some(record) = known.and_then(|bytes| record::decode::<LayerRecord>(&bytes)) {
        let LayerRecord { diff_id, digest, size, object } = record;
        return Ok(LayerBlob { diff_id, digest, size, media_type, object });
    }
    inputs.progress.event(Event::Encoding { layer: number, of });
    let upper_tree = trees.load(&upper)?;
    let changes = diff(&*trees.load(&lower)?, &upper_tree, Compare::IgnoreMtime).with_ancestors(&upper_tree);
    let options = EncodeOptions { epoch: graph.epoch, compression, format: LayerFormat::V1 };
    let segments = SessionSegments(session);
    let segments: &(dyn SegmentCache + Sync) =
        if inputs.trial.is_some() { &NoSegmentCache } else { &segments };
    let encoded = encode_layer(&changes, session, session, segments, &options)?;
    for text in describe(&encoded.report) {
        inputs.progress.event(Event::Notice { id: StepId { stage: usize::MAX, step: 0 }, text });
    }
    let object = session.put_composite(&encoded.digest, encoded.size, &encoded.parts)?;
    let record = LayerRecord { diff_id: encoded.diff_id, digest: encoded.digest, size: encoded.size, object };
    if inputs.trial.is_none() {
        session.put_record(&key, &record::encode(&record), &[object], inputs.options.now)?;
    }
    Ok(LayerBlob { diff_id: encoded.diff_id, digest: encoded.digest, size: encoded.size, media_type, object })
}

/// What the states of encodings are called in the table of segments.
const STATE: &str = "state";

/// The store's table of encoded segments. A failing cache is an empty one.
#[derive(Debug)]
pub struct SessionSegments<'a>(pub &'a Session);

impl SegmentCache for SessionSegments<'_> {
    fn get(&self, key: &SegmentKey, encoder: &str) -> Option<(ObjectId, u64)> {
        self.0.segment(&key.0, encoder).ok().flatten()
    }

    fn put(&self, key: &SegmentKey, encoder: &str, part: ObjectId, size: u64) {
        // What is not remembered is computed again.
        let _ = self.0.put_segment(&key.0, encoder, &part, size);
    }

    fn state(&self, key: &SegmentKey) -> Option<Vec<u8>> {
        let (object, _) = self.0.segment(&key.0, STATE).ok().flatten()?;
        self.0.read(&object).ok().map(|bytes| bytes.to_vec())
    }

    fn put_state(&self, key: &SegmentKey, state: &[u8]) {
        if let Ok(object) = self.0.put(state, &[]) {
            let _ = self.0.put_segment(&key.0, STATE, &object, state.len() as u64);
        }
    }
}
