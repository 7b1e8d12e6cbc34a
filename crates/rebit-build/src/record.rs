//! What is remembered of a step and of a layer (`docs/format/record.md`).

use rebit_oci::json;
use rebit_oci::{DiffId, Digest, ObjectId, TreeId};
use serde::{Deserialize, Serialize};

use crate::fix::FixedFile;

/// What a step gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepRecord {
    /// The tree after the step.
    pub(crate) tree: TreeId,
    /// Whether the process could reach the network: its result may depend on more than its key.
    pub(crate) network: bool,
    /// What fixers did to files that the step left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) fixed: Vec<FixedFile>,
}

/// What a pair of trees gave as a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub(crate) diff_id: DiffId,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// The object that keeps the blob.
    pub(crate) object: ObjectId,
}

/// Writes a record.
pub(crate) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    json::to_canonical(record).unwrap_or_else(|_| unreachable!("records hold text and numbers only"))
}

/// Reads a record; one that this version does not understand is none.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fix::Deed;

    /// R-7, R-8, R-9.
    #[test]
    fn records_round_trip_and_garbage_is_none() {
        let mut record = StepRecord { tree: TreeId([7; 32]), network: true, fixed: Vec::new() };
        let text = format!(r#"{{"network":true,"tree":"{}"}}"#, "07".repeat(32));
        assert_eq!(encode(&record), text.as_bytes());
        assert_eq!(decode(&encode(&record)), Some(record.clone()));
        record.fixed.push(FixedFile { fixer: "pyc".into(), did: Deed::Rewritten, path: "/a.pyc".into() });
        let text = text.replace('{', r#"{"fixed":[{"did":"rewritten","fixer":"pyc","path":"/a.pyc"}],"#);
        assert_eq!(encode(&record), text.as_bytes());
        assert_eq!(decode(&encode(&record)), Some(record));
        let (digest, object) = (Digest::of(b""), ObjectId([1; 32]));
        let layer = LayerRecord { diff_id: DiffId(digest), digest, size: 5, object };
        let text = format!(r#"{{"diff_id":"{digest}","digest":"{digest}","object":"{object}","size":5}}"#);
        assert_eq!(encode(&layer), text.as_bytes());
        assert_eq!(decode(&encode(&layer)), Some(layer));
        assert_eq!(decode::<StepRecord>(b"{}"), None);
        assert_eq!(decode::<LayerRecord>(b"\xff"), None);
    }
}
