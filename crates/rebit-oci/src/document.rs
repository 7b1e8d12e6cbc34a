//! A parsed document and the bytes it came from.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Digest, json};

/// The largest manifest, image index or config that is read: 8 MiB (registries take 4 MiB).
pub const MAX_DOCUMENT: u64 = 8 << 20;

/// A JSON document together with its exact bytes: its digest is of those, never of a re-serialisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw<T> {
    bytes: Vec<u8>,
    digest: Digest,
    value: T,
}

/// Why bytes are not the document they should be.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Larger than [`MAX_DOCUMENT`].
    #[error("{kind} of {size} bytes is larger than the limit of {MAX_DOCUMENT} bytes")]
    TooLarge {
        /// What it should be: "manifest", "image index", "config".
        kind: &'static str,
        /// Its length.
        size: u64,
    },
    /// Not JSON, or not of the right shape.
    #[error("{kind} {digest} is malformed")]
    Malformed {
        /// What it should be.
        kind: &'static str,
        /// The digest of the bytes.
        digest: Digest,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A value that cannot be written as JSON.
    #[error("{kind} cannot be written as JSON")]
    Unwritable {
        /// What was written.
        kind: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

impl<T> Raw<T> {
    /// The bytes as they were read or written.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest of the bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The length of the bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// What the bytes say.
    #[must_use]
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Gives the bytes away.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl<T: DeserializeOwned> Raw<T> {
    /// Reads a document. `kind` names it in errors.
    ///
    /// # Errors
    /// [`DocumentError::TooLarge`] and [`DocumentError::Malformed`].
    pub fn parse(kind: &'static str, bytes: Vec<u8>) -> Result<Self, DocumentError> {
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(DocumentError::TooLarge { kind, size: bytes.len() as u64 });
        }
        let digest = Digest::of(&bytes);
        let value = serde_json::from_slice(&bytes).map_err(|source| DocumentError::Malformed {
            kind,
            digest,
            source,
        })?;
        Ok(Self { bytes, digest, value })
    }
}

impl<T: Serialize> Raw<T> {
    /// Writes `value` canonically. `kind` names it in errors.
    ///
    /// # Errors
    /// [`DocumentError::Unwritable`].
    pub fn write(kind: &'static str, value: T) -> Result<Self, DocumentError> {
        let bytes =
            json::to_canonical(&value).map_err(|source| DocumentError::Unwritable { kind, source })?;
        Ok(Self { digest: Digest::of(&bytes), bytes, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn the_digest_is_of_the_bytes_that_were_given() {
        let text = br#"{ "b": 1, "a": 2 }"#.to_vec();
        let raw = Raw::<Value>::parse("config", text.clone()).unwrap();
        assert_eq!(raw.digest(), Digest::of(&text));
        assert_eq!(raw.bytes(), text);
        assert_eq!(Raw::write("config", raw.value().clone()).unwrap().bytes(), br#"{"a":2,"b":1}"#);
    }

    #[test]
    fn damaged_and_oversized_documents_are_refused() {
        assert!(matches!(Raw::<Value>::parse("config", b"{".to_vec()), Err(DocumentError::Malformed { .. })));
        let large = vec![b' '; MAX_DOCUMENT as usize + 1];
        assert!(matches!(Raw::<Value>::parse("config", large), Err(DocumentError::TooLarge { .. })));
    }
}
