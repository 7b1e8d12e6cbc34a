//! How the layers of two images differ.

use rebit_oci::TreeId;

use super::{Cause, Finding, Ignored};
use crate::{LayerBlob, StoredImage};

/// Compares two images layer by layer, from the lowest.
///
/// A layer says how files are packed: what they are is compared by the trees, so that all of this is left aside by a
/// semantic comparison.
#[must_use]
pub fn compare(a: &StoredImage, b: &StoredImage) -> Vec<Finding> {
    let count = a.layers.len().max(b.layers.len());
    let mut out = Vec::new();
    for at in 0..count {
        let place = format!("layer {}", at + 1);
        let same_files = trees(a, at) == trees(b, at);
        match (a.layers.get(at), b.layers.get(at)) {
            (Some(x), Some(y)) => out.extend(layer(&place, x, y, same_files)),
            (Some(x), None) => out.push(alone(&place, "only in the first", x)),
            (None, Some(y)) => out.push(alone(&place, "only in the second", y)),
            (None, None) => {}
        }
    }
    out
}

/// The first layer after which the files of two images differ, counted from 0.
#[must_use]
pub fn first_difference(a: &StoredImage, b: &StoredImage) -> Option<usize> {
    (0..a.trees.len().max(b.trees.len())).find(|at| a.trees.get(*at) != b.trees.get(*at))
}

/// The trees before and after a layer.
fn trees(image: &StoredImage, at: usize) -> (Option<TreeId>, Option<TreeId>) {
    let before = at.checked_sub(1).and_then(|before| image.trees.get(before));
    (before.copied(), image.trees.get(at).copied())
}

fn alone(place: &str, what: &str, layer: &LayerBlob) -> Finding {
    let mut finding = Finding::new(place, what).ignorable(Ignored::LayerSplit);
    finding.detail.push(layer.diff_id.to_string());
    finding
}

fn layer(place: &str, a: &LayerBlob, b: &LayerBlob, same_files: bool) -> Option<Finding> {
    if a.diff_id != b.diff_id {
        let what = if same_files { "same files, another tar" } else { "another tar" };
        let finding = Finding::new(place, what).values(&a.diff_id.to_string(), &b.diff_id.to_string());
        return Some(finding.ignorable(Ignored::LayerSplit));
    }
    let said = |layer: &LayerBlob| format!("{} ({} bytes)", layer.media_type, layer.size);
    if a.digest != b.digest {
        let finding = Finding::new(place, "same tar, other compression").values(&said(a), &said(b));
        return Some(finding.because([Cause::Compression]).ignorable(Ignored::Compression));
    }
    let differ = a.media_type != b.media_type;
    differ.then(|| {
        let finding = Finding::new(place, "same blob, other media type").values(&said(a), &said(b));
        finding.ignorable(Ignored::Compression)
    })
}
