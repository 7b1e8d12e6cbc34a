//! How an image came to be: its config's history beside its layers.

use rebit_oci::Digest;
use rebit_oci::config::{History, ImageConfig};
use serde::Serialize;

use crate::StoredImage;

/// One line of `rebit history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryRow {
    /// When, in RFC 3339, as the config says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction; empty when the config does not say.
    pub created_by: String,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Bytes of the layer blob; 0 when there is none.
    pub size: u64,
    /// The layer blob.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<Digest>,
    /// Whether the step made no layer.
    pub empty: bool,
}

/// The history of an image, oldest first.
///
/// Layers that no history line stands for follow at the end, so that every layer has a row.
#[must_use]
pub fn history(image: &StoredImage) -> Vec<HistoryRow> {
    let layers: Vec<_> = image.layers.iter().map(|layer| (layer.digest, layer.size)).collect();
    rows(image.config.value(), &layers)
}

pub(crate) fn rows(config: &ImageConfig, layers: &[(Digest, u64)]) -> Vec<HistoryRow> {
    let mut layers = layers.iter();
    let row = |line: &History, layer: Option<&(Digest, u64)>| HistoryRow {
        created: line.created.clone(),
        created_by: line.created_by.clone().unwrap_or_default(),
        comment: line.comment.clone().filter(|comment| !comment.is_empty()),
        size: layer.map_or(0, |(_, size)| *size),
        layer: layer.map(|(digest, _)| *digest),
        empty: line.empty_layer,
    };
    let mut rows = Vec::new();
    for line in &config.history {
        let layer = if line.empty_layer { None } else { layers.next() };
        rows.push(row(line, layer));
    }
    rows.extend(layers.map(|layer| row(&History::default(), Some(layer))));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_layers_are_matched() {
        let mut config = ImageConfig::scratch("amd64", "linux");
        let line = |text: &str, empty_layer| History {
            created_by: Some(text.to_owned()),
            empty_layer,
            ..History::default()
        };
        config.history = vec![line("a", false), line("b", true), line("c", false)];
        let digests = [Digest::of(b"1"), Digest::of(b"2"), Digest::of(b"3")];
        let layers: Vec<_> = digests.iter().zip([10, 20, 30]).map(|(d, s)| (*d, s)).collect();
        let seen: Vec<_> =
            rows(&config, &layers).into_iter().map(|r| (r.created_by, r.size, r.layer, r.empty)).collect();
        let expected = [
            ("a".to_owned(), 10, Some(digests[0]), false),
            ("b".to_owned(), 0, None, true),
            ("c".to_owned(), 20, Some(digests[1]), false),
            (String::new(), 30, Some(digests[2]), false),
        ];
        assert_eq!(seen, expected);
        assert_eq!(rows(&config, &[])[0].layer, None);
    }
}
