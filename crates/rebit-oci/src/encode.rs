//! The encoding that cache keys and other identities are hashes of.
//!
//! A [`Preimage`] is a sequence of named fields. It is written down, so that a hash never depends on
//! `std::hash::Hash` or on a serialiser's defaults (`docs/format/record.md`, R-1 to R-3):
//!
//! 1. It starts with the domain and the version: both as a field.
//! 2. A field is its name, then its value, each as a 64-bit little-endian length and the bytes.
//! 3. A list is a field with the count in decimal digits, then one field of the same name per item.
//!
//! The fields are kept, so that two preimages can be compared by name: that is how a cache miss is
//! explained.

use std::fmt;

use crate::CacheKey;

/// A sequence of named byte strings under a domain and a version.
#[derive(Clone, PartialEq, Eq)]
pub struct Preimage {
    fields: Vec<(String, Vec<u8>)>,
}

impl Preimage {
    /// Starts a preimage in `domain` (what kind of thing is hashed) at `version` of its definition.
    #[must_use]
    pub fn new(domain: &str, version: u32) -> Self {
        let mut preimage = Self { fields: Vec::new() };
        preimage.add("domain", domain);
        preimage.add("version", version.to_string());
        preimage
    }

    /// Appends a field.
    pub fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
    }

    /// Appends a list, in the order given.
    pub fn add_list<T: AsRef<[u8]>>(&mut self, name: &str, values: impl ExactSizeIterator<Item = T>) {
        self.add(name, values.len().to_string());
        for value in values {
            self.add(name, value);
        }
    }

    /// The fields in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The bytes that are hashed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, value) in &self.fields {
            for part in [name.as_bytes(), value] {
                bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
                bytes.extend_from_slice(part);
            }
        }
        bytes
    }

    /// The BLAKE3 of the fields from `start` on, encoded: the identity of a part.
    #[must_use]
    pub fn part(&self, start: usize) -> CacheKey {
        let mut hasher = blake3::Hasher::new();
        for (name, value) in self.fields.iter().skip(start) {
            for part in [name.as_bytes(), value] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
        CacheKey(*hasher.finalize().as_bytes())
    }

    /// The key: the BLAKE3 of [`encode`](Self::encode).
    #[must_use]
    pub fn key(&self) -> CacheKey {
        CacheKey(*blake3::hash(&self.encode()).as_bytes())
    }
}

impl fmt::Debug for Preimage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.fields.iter().map(|(name, value)| (name, value.escape_ascii().to_string())))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_cannot_run_into_each_other() {
        let make = |fields: &[(&str, &str)]| {
            let mut preimage = Preimage::new("test", 1);
            for (name, value) in fields {
                preimage.add(name, value);
            }
            preimage.key()
        };
        assert_ne!(make(&[("a", "bc")]), make(&[("ab", "c")]));
        assert_ne!(make(&[("a", "b"), ("c", "d")]), make(&[("a", "bcd")]));
        assert_ne!(make(&[]), make(&[("", "")]));
        assert_eq!(make(&[("a", "b")]), make(&[("a", "b")]));
    }

    /// R-3.
    #[test]
    fn an_empty_list_differs_from_none_and_from_one_empty_item() {
        let list = |items: &[&str]| {
            let mut preimage = Preimage::new("test", 1);
            preimage.add_list("l", items.iter());
            preimage.key()
        };
        assert_ne!(list(&[]), list(&[""]));
        assert_ne!(list(&[]), Preimage::new("test", 1).key());
    }

    /// R-1, R-2.
    #[test]
    fn the_encoding_is_frozen() {
        let mut preimage = Preimage::new("test", 1);
        preimage.add("name", b"value");
        assert_eq!(
            preimage.encode().escape_ascii().to_string(),
            r"\x06\x00\x00\x00\x00\x00\x00\x00domain\x04\x00\x00\x00\x00\x00\x00\x00test\x07\x00\x00\x00\x00\x00\x00\x00version\x01\x00\x00\x00\x00\x00\x00\x001\x04\x00\x00\x00\x00\x00\x00\x00name\x05\x00\x00\x00\x00\x00\x00\x00value"
        );
    }
}
