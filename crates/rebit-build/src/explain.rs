//! Why a step was not known: its preimage beside the one that it had when it was last executed at the same place.
//!
//! The preimage of every executed step is kept as a record of its own, under the scope that the caller gives (what is built, in
//! words), the stage and the place in it. Long values are kept as their digest. Nothing secret is in a preimage.

use std::collections::{BTreeMap, BTreeSet};

use rebit_oci::encode::Preimage;
use rebit_oci::{CacheKey, ObjectId};
use serde::{Deserialize, Serialize};

use crate::fix::FixedFile;
use crate::record;

/// Longer values are kept as a digest.
const MAX_VALUE: usize = 200;
/// Most fields that are kept of one step; further ones are compared as a whole.
const MAX_FIELDS: usize = 20_000;
/// Digits that are kept of a digest: it is compared with one other.
const DIGITS: usize = 16;
/// Largest record, before compression.
const MAX_RECORD: usize = 32 << 20;
/// Most reasons that are given for one step.
const MAX_REASONS: usize = 8;

/// The preimage of a step as it is kept (`docs/format/record.md`, R-11).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptPreimage {
    fields: Vec<(String, String)>,
}

/// The key under which the preimage of a step is kept.
pub(crate) fn place(scope: &str, stage: &str, step: usize) -> CacheKey {
    let mut preimage = Preimage::new("step place", 2);
    preimage.add("scope", scope);
    preimage.add("stage", stage);
    preimage.add("step", step.to_string());
    preimage.key()
}

/// The key under which the report of a scope's last build is kept.
pub(crate) fn report_key(scope: &str) -> CacheKey {
    let mut preimage = Preimage::new("build report", 1);
    preimage.add("scope", scope);
    preimage.key()
}

impl KeptPreimage {
    /// Shortens a preimage.
    pub(crate) fn of(preimage: &Preimage) -> Self {
        let mut fields = Vec::new();
        let mut rest = Vec::new();
        for (number, (name, value)) in preimage.fields().enumerate() {
            if number < MAX_FIELDS {
                fields.push((name.to_owned(), shorten(value)));
            } else {
                rest.extend_from_slice(value);
                rest.push(0);
            }
        }
        if !rest.is_empty() {
            fields.push(("everything after".to_owned(), shorten(&rest)));
        }
        Self { fields }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let bytes = record::encode(self);
        // What is not compressed decodes to nothing: then the next build has nothing to compare with.
        zstd::bulk::compress(&bytes, 3).unwrap_or_default()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        record::decode(&zstd::bulk::decompress(bytes, MAX_RECORD).ok()?)
    }

    /// Names what differs from `before`, the most telling first.
    pub(crate) fn differences(&self, before: &Self) -> Vec<String> {
        let (old, new) = (Indexed::of(before), Indexed::of(self));
        let mut reasons = Vec::new();
        for name in old.fields.keys().chain(new.fields.keys()).collect::<BTreeSet<_>>() {
            let (was, is) = (old.fields.get(name), new.fields.get(name));
            if was != is {
                reasons.push(describe(name, was, is));
            }
        }
        for path in old.paths.keys().chain(new.paths.keys()).collect::<BTreeSet<_>>() {
            reasons.extend(describe_path(path, old.paths.get(path), new.paths.get(path)));
        }
        let more = reasons.len().saturating_sub(MAX_REASONS);
        reasons.truncate(MAX_REASONS);
        if more > 0 {
            reasons.push(format!("and {more} more"));
        }
        reasons
    }
}

fn shorten(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) if value.len() <= MAX_VALUE && !text.chars().any(char::is_control) => text.to_owned(),
        _ => format!("#{:.DIGITS$}", ObjectId::of(value).to_string()),
    }
}

/// Fields by name, those of files by path.
#[derive(Default)]
struct Indexed {
    fields: BTreeMap<String, Vec<String>>,
    paths: BTreeMap<String, BTreeMap<String, String>>,
}

impl Indexed {
    fn of(kept: &KeptPreimage) -> Self {
        let mut indexed = Self::default();
        let mut path: Option<String> = None;
        for (name, value) in &kept.fields {
            match (name.as_str(), &path) {
                // The path of a copied node begins what is said of it; a copy's own `path` fields come before any name.
                ("path", _) if indexed.fields.contains_key("name") => {
                    indexed.paths.entry(value.clone()).or_default();
                    path = Some(value.clone());
                }
                ("name", _) => {
                    path = None;
                    indexed.fields.entry(name.clone()).or_default().push(value.clone());
                }
                (_, Some(path)) => {
                    indexed.paths.entry(path.clone()).or_default().insert(name.clone(), value.clone());
                }
                (_, None) => indexed.fields.entry(name.clone()).or_default().push(value.clone()),
            }
        }
        indexed
    }
}

fn describe(name: &str, was: Option<&Vec<String>>, is: Option<&Vec<String>>) -> String {
    match name {
        "lower tree" => return "the file system that the steps before it leave is another one".to_owned(),
        "mounted tree" => return "a mounted tree changed".to_owned(),
        "source tree" => return "the tree that is copied from changed".to_owned(),
        "domain" | "version" => return "steps of this kind are keyed in another way now".to_owned(),
        _ => {}
    }
    let empty = Vec::new();
    let (was, is) = (was.unwrap_or(&empty), is.unwrap_or(&empty));
    let quote = |values: Vec<&String>| values.iter().map(|v| format!("`{v}`")).collect::<Vec<_>>().join(", ");
    // The first value of a list is how many there are.
    let gone: Vec<&String> = was.iter().filter(|value| !is.contains(value)).collect();
    let come: Vec<&String> = is.iter().filter(|value| !was.contains(value)).collect();
    match (gone.is_empty(), come.is_empty()) {
        (false, false) => format!("{name} changed from {} to {}", quote(gone), quote(come)),
        (false, true) => format!("{name} lost {}", quote(gone)),
        (true, false) => format!("{name} gained {}", quote(come)),
        (true, true) => format!("the order of {name} changed"),
    }
}

fn describe_path(
    path: &str,
    was: Option<&BTreeMap<String, String>>,
    is: Option<&BTreeMap<String, String>>,
) -> Option<String> {
    let shown = if path.is_empty() { "the source itself".to_owned() } else { format!("`{path}`") };
    match (was, is) {
        (None, Some(_)) => Some(format!("{shown} is new")),
        (Some(_), None) => Some(format!("{shown} is gone")),
        (Some(was), Some(is)) if was != is => {
            let names = was.keys().chain(is.keys()).collect::<BTreeSet<_>>();
            let changed: Vec<&str> = names
                .into_iter()
                .filter(|name| was.get(*name) != is.get(*name))
                .map(|name| match name.as_str() {
                    "metadata" => "mode or owner",
                    "xattr name" | "xattr value" => "extended attributes",
                    name => name,
                })
                .collect();
            // A new content has a new size, which the kind says.
            let content = changed.contains(&"content");
            let shown_change = if content { "content".to_owned() } else { changed.join(", ") };
            Some(format!("{shown_change} of {shown} changed"))
        }
        _ => None,
    }
}

/// What became of a step in a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// The stage.
    pub stage: String,
    /// The instruction.
    pub step: String,
    /// Whether its result was known.
    pub cached: bool,
    /// Why not; empty when it was.
    pub reasons: Vec<String>,
    /// What it took from the network, each with the checksum or commit that it was.
    #[serde(default)]
    pub remotes: Vec<String>,
    /// What fixers did to files that it left, when it was executed.
    #[serde(default)]
    pub fixed: Vec<FixedFile>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(fields: &[(&str, &str)]) -> KeptPreimage {
        let mut preimage = Preimage::new("test", 1);
        fields.iter().for_each(|(name, value)| preimage.add(name, value));
        KeptPreimage::of(&preimage)
    }

    ///
    #[test]
    fn differences_are_named() {
        let check = |before: &[(&str, &str)], after: &[(&str, &str)], expected: &[&str]| {
            assert_eq!(kept(after).differences(&kept(before)), expected);
        };
        check(&[("a", "1")], &[("a", "1")], &[]);
        check(&[("user", "x")], &[("user", "y")], &["user changed from `x` to `y`"]);
        check(&[], &[("environment", "A=1")], &["environment gained `A=1`"]);
        check(
            &[("lower tree", "1")],
            &[("lower tree", "2")],
            &["the file system that the steps before it leave is another one"],
        );
        let file = |content: &'static str, path: &'static str| {
            [
                ("sources", "1"),
                ("name", "d"),
                ("path", path),
                ("metadata", "644 0 0"),
                ("kind", "file"),
                ("content", content),
            ]
        };
        check(&file("1", "x"), &file("2", "x"), &["content of `x` changed"]);
        check(&file("1", "x"), &file("1", "y"), &["`x` is gone", "`y` is new"]);
        let many: Vec<(&str, &str)> =
            ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(|n| (n, n)).to_vec();
        assert_eq!(kept(&many).differences(&kept(&[])).last().unwrap(), "and 2 more");
    }

    #[test]
    fn long_and_binary_values_are_kept_as_digests() {
        let long = "x".repeat(MAX_VALUE + 1);
        let digest = ObjectId::of(long.as_bytes()).to_string();
        assert_eq!(kept(&[("a", &long)]).fields[2].1, format!("#{}", &digest[..DIGITS]));
        assert!(kept(&[("a", "\n")]).fields[2].1.starts_with('#'));
        let kept = kept(&[("a", "b")]);
        assert_eq!(KeptPreimage::decode(&kept.encode()), Some(kept));
        assert_eq!(KeptPreimage::decode(b""), None);
        assert_eq!(KeptPreimage::decode(b"{}"), None);
    }
}
