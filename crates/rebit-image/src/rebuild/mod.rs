//! What an image and one that was built again from its sources have in common.
//!
//! - [`compare`]: the verdict, layer by layer and in all, and what differs.
//! - `origin`: which step made a file, followed through copies between stages.
//! - `moved`: what two provenances say differs in the inputs, and which steps gave something else.

mod moved;
mod origin;
#[cfg(test)]
mod tests;

use rebit_layer::TreePath;
use rebit_oci::Digest;
use rebit_store::Session;
use serde::Serialize;

use crate::diff::tree::{self, TreeSide};
use crate::diff::{self, FileChange, FileState, Finding, Ignored, Side, Subject};
use crate::{ImageError, LayerBlob, Provenance, StoredImage, history, recognise};

pub use moved::Moved;
use origin::Origins;
pub use origin::StepName;

/// How much of two images, or of two layers, is the same. The less, the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every byte: one digest.
    Identical,
    /// The same tar streams and the same config, compressed by another encoder.
    IdenticalTar,
    /// The same files; other metadata: config, history, annotations, times, how the tar is written.
    IdenticalTree,
    /// Other files.
    Different,
}

/// A layer in both images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerVerdict {
    /// Counted from 1, lowest first.
    pub number: usize,
    /// How much of it is the same.
    pub verdict: Verdict,
    /// The instruction that made it.
    pub created_by: String,
    /// The blob of the image that was given; none when it has no such layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given: Option<Digest>,
    /// The blob that the sources give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rebuilt: Option<Digest>,
    /// Where only the encoder is another one: what made the given blob; none when no known encoder did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// Where only metadata are others: which, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<String>,
}

/// A path that differs, and what made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileVerdict {
    /// How it differs; the first is the image that was given.
    #[serde(flatten)]
    pub change: FileChange,
    /// The step that put it where it is, then those that it was copied from; the last one made it.
    pub steps: Vec<StepName>,
}

/// What an image and its rebuild have in common. Its JSON form is stable: fields are added, not changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rebuild {
    /// How much is the same.
    pub verdict: Verdict,
    /// The manifest that was given.
    pub given: Digest,
    /// The manifest that the sources give.
    pub rebuilt: Digest,
    /// The layers.
    pub layers: Vec<LayerVerdict>,
    /// Fields of manifest and config that differ.
    pub documents: Vec<Finding>,
    /// Files that differ in more than their time.
    pub files: Vec<FileVerdict>,
    /// How many further files do.
    pub more_files: u64,
    /// What the provenances say differs, where the given image has one.
    pub moved: Vec<Moved>,
}

/// Most files of which it is said what made them.
const MAX_TRACED: usize = 200;

/// Compares the image that was given with the one that its sources give. Both are in the store of `session`.
///
/// `made` says how the second was made, `known` how the first was, where that is known.
///
/// # Errors
/// [`ImageError`] when a blob, a tree or a file cannot be read.
pub fn compare(
    session: &Session,
    given: &StoredImage,
    rebuilt: &StoredImage,
    made: &Provenance,
    known: Option<&Provenance>,
) -> Result<Rebuild, ImageError> {
    let side = |place, image| Side { place, objects: session, subject: Subject::Image(image) };
    let report = diff::compare(&side("given", given), &side("rebuilt", rebuilt), false)?;
    let layers = layers(session, given, rebuilt)?;
    let times_only = |file: &FileChange| {
        file.state == FileState::Changed
            && file.findings.iter().all(|finding| finding.ignorable == Some(Ignored::FileTime))
    };
    let differ: Vec<FileChange> = report.files.into_iter().filter(|file| !times_only(file)).collect();
    let same_files = differ.is_empty() && report.more_files == 0;
    let verdict = if given.digest() == rebuilt.digest() {
        Verdict::Identical
    } else if !same_files {
        Verdict::Different
    } else if given.config.digest() == rebuilt.config.digest() && same_annotations(given, rebuilt) {
        Verdict::IdenticalTar
    } else {
        Verdict::IdenticalTree
    };
    let in_rebuilt = Origins::new(session, rebuilt, Some(made));
    let in_given = Origins::new(session, given, known);
    let mut files = Vec::new();
    for (number, change) in differ.into_iter().enumerate() {
        let origins = if change.state == FileState::Removed { &in_given } else { &in_rebuilt };
        let path = TreePath::parse(change.path.trim_start_matches('/')).ok();
        let steps = match path.filter(|_| number < MAX_TRACED) {
            Some(path) => origins.of(&path)?,
            None => Vec::new(),
        };
        files.push(FileVerdict { change, steps });
    }
    Ok(Rebuild {
        verdict,
        given: given.digest(),
        rebuilt: rebuilt.digest(),
        layers,
        documents: report.documents,
        files,
        more_files: report.more_files,
        moved: known.map(|known| moved::moved(known, made)).unwrap_or_default(),
    })
}

fn same_annotations(a: &StoredImage, b: &StoredImage) -> bool {
    let of = |image: &StoredImage| image.manifest.value().annotations().clone().unwrap_or_default();
    of(a) == of(b)
}

fn layers(
    session: &Session,
    given: &StoredImage,
    rebuilt: &StoredImage,
) -> Result<Vec<LayerVerdict>, ImageError> {
    let count = given.layers.len().max(rebuilt.layers.len());
    let instructions = |image| history(image).into_iter().filter(|row| !row.empty).map(|row| row.created_by);
    let (of_given, of_rebuilt) =
        (instructions(given).collect::<Vec<_>>(), instructions(rebuilt).collect::<Vec<_>>());
    let (given_trees, rebuilt_trees) = (given.trees()?, rebuilt.trees()?);
    let mut layers = Vec::new();
    let mut same_below = true;
    for at in 0..count {
        let (x, y) = (given.layers.get(at), rebuilt.layers.get(at));
        let difference = match (given_trees.get(at), rebuilt_trees.get(at)) {
            (Some(a), Some(b)) => difference(session, *a, *b)?,
            _ => Difference::Files,
        };
        let mut layer = LayerVerdict {
            number: at + 1,
            verdict: Verdict::Different,
            created_by: of_rebuilt.get(at).or(of_given.get(at)).cloned().unwrap_or_default(),
            given: x.map(|layer| layer.digest),
            rebuilt: y.map(|layer| layer.digest),
            encoder: None,
            metadata: Vec::new(),
        };
        if let (Some(x), Some(y)) = (x, y) {
            judge(session, &mut layer, (x, y), &difference, same_below)?;
        }
        same_below = !matches!(difference, Difference::Files);
        layers.push(layer);
    }
    Ok(layers)
}

fn judge(
    session: &Session,
    layer: &mut LayerVerdict,
    (given, rebuilt): (&LayerBlob, &LayerBlob),
    difference: &Difference,
    same_below: bool,
) -> Result<(), ImageError> {
    layer.verdict = if given.digest == rebuilt.digest {
        Verdict::Identical
    } else if given.diff_id == rebuilt.diff_id {
        layer.encoder = recognise(session, given)?.map(rebit_layer::recipe::Encoder::describe);
        Verdict::IdenticalTar
    } else if same_below && !matches!(difference, Difference::Files) {
        if let Difference::Times(count) = difference {
            let files = if *count == 1 { "entry" } else { "entries" };
            layer.metadata.push(format!("the times of {count} {files}"));
        } else {
            layer
                .metadata
                .push("how the tar is written: order, form of headers, what it lists again".to_owned());
        }
        Verdict::IdenticalTree
    } else {
        Verdict::Different
    };
    Ok(())
}

/// How the trees after a layer differ.
enum Difference {
    Nothing,
    /// In the times of so many entries.
    Times(usize),
    Files,
}

fn difference(
    session: &Session,
    a: rebit_oci::TreeId,
    b: rebit_oci::TreeId,
) -> Result<Difference, ImageError> {
    let (a, b) = (TreeSide { objects: session, tree: a }, TreeSide { objects: session, tree: b });
    if tree::same(&a, &b)? {
        return Ok(Difference::Nothing);
    }
    let found = tree::changes(&a, &b, false)?;
    if !found.changes.is_empty() || !found.links.is_empty() {
        return Ok(Difference::Files);
    }
    Ok(Difference::Times(tree::changes(&a, &b, true)?.changes.len()))
}
