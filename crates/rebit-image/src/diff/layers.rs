//! How the layers of two images differ.

use super::{Cause, Finding, Ignored};
use crate::{LayerBlob, StoredImage};

/// Compares two images layer by layer, from the lowest.
///
/// A layer says how files are packed: what they are is compared by the trees, so that all of this is left aside by a
/// semantic comparison. `same` says of each layer whether the trees after it are the same.
#[must_use]
pub fn compare(a: &StoredImage, b: &StoredImage, same: &[bool]) -> Vec<Finding> {
    let count = a.layers.len().max(b.layers.len());
    let mut out = Vec::new();
    for at in 0..count {
        let place = format!("layer {}", at + 1);
        let after = |at: usize| same.get(at).copied().unwrap_or(false);
        let same_files = after(at) && at.checked_sub(1).is_none_or(after);
        match (a.layers.get(at), b.layers.get(at)) {
            (Some(x), Some(y)) => out.extend(layer(&place, x, y, same_files)),
            (Some(x), None) => out.push(alone(&place, "only in the first", x)),
            (None, Some(y)) => out.push(alone(&place, "only in the second", y)),
            (None, None) => {}
        }
    }
    out
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
