//! `index.json`: read, extended, sealed (`docs/format/image.md`, "index.json").

use rebit_oci::manifest::{self, MediaType};
use rebit_oci::{Digest, json};
use serde_json::{Map, Value};

use super::{Document, ImageDocuments, ImageNames, Offer};
use crate::Platform;

/// The annotation with the digest of everything else in `index.json`.
pub(crate) const SEAL: &str = "dev.rebit.index.digest";
/// The annotation with the tag, by which skopeo and umoci find an image.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation with the full name, by which containerd and Docker name an image.
const IMAGE_NAME: &str = "io.containerd.image.name";
/// The whole of `oci-layout`.
pub(crate) const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// Most descriptors at the top of a layout.
const MAX_MANIFESTS: usize = 10_000;

/// An `index.json`, with all its fields, known or not.
#[derive(Debug, Clone)]
pub(crate) struct LayoutIndex {
    fields: Map<String, Value>,
}

/// Whether an index is what its seal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seal {
    /// It has none: another program wrote it.
    Absent,
    /// It holds.
    Holds,
    /// It does not hold, for this reason.
    Broken(String),
}

impl LayoutIndex {
    pub(crate) fn new() -> Self {
        let mut fields = Map::new();
        fields.insert("schemaVersion".to_owned(), 2.into());
        fields.insert("mediaType".to_owned(), manifest::OCI_INDEX.into());
        fields.insert("manifests".to_owned(), Value::Array(Vec::new()));
        Self { fields }
    }

    /// Reads an index; the error says what is wrong.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let Value::Object(fields) = value else { return Err("it is not an object".to_owned()) };
        if fields.get("schemaVersion").and_then(Value::as_u64) != Some(2) {
            return Err("its schema version is not 2".to_owned());
        }
        let index = Self { fields };
        index.offers()?;
        Ok(index)
    }

    fn manifests(&self) -> &[Value] {
        self.fields.get("manifests").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// What the index offers, in its order, a manifest with several names several times.
    pub(crate) fn offers(&self) -> Result<Vec<Offer>, String> {
        if !self.fields.get("manifests").is_some_and(Value::is_array) {
            return Err("it has no list of manifests".to_owned());
        }
        let manifests = self.manifests();
        if manifests.len() > MAX_MANIFESTS {
            return Err(format!("it has more than {MAX_MANIFESTS} manifests"));
        }
        manifests.iter().map(offer).collect()
    }

    /// Adds an image under its names. A name that another image has here becomes this one's.
    pub(crate) fn put(&mut self, image: &ImageDocuments, names: &ImageNames) {
        self.put_described(image.manifest.digest(), &described(image), names);
    }

    /// Adds an index with all below it, as [`put`](Self::put) does an image.
    pub(crate) fn put_index(&mut self, top: &Document, names: &ImageNames) {
        self.put_described(top.digest, &fields(&top.media_type, &top.digest, top.bytes.len() as u64), names);
    }

    fn put_described(&mut self, digest: Digest, fields: &Map<String, Value>, names: &ImageNames) {
        let mut added: Vec<Value> = Vec::new();
        let mut taken: Vec<String> = Vec::new();
        let mut push = |tag: Option<String>, full: Option<String>| {
            added.push(named(fields.clone(), tag.as_deref(), full.as_deref()));
            taken.extend(tag);
        };
        let mut tags: Vec<String> = Vec::new();
        for (number, reference) in names.references.iter().enumerate() {
            let own = reference.tag().map(str::to_owned);
            let tag = match (number, &names.tag) {
                (0, Some(tag)) => tag.clone(),
                // One tag stands for one descriptor: the second image of that tag goes by its full name.
                _ => own.filter(|tag| !tags.contains(tag)).unwrap_or_else(|| reference.to_string()),
            };
            tags.push(tag.clone());
            push(Some(tag), Some(reference.to_string()));
        }
        if names.references.is_empty() {
            push(names.tag.clone(), None);
        }
        let digest = digest.to_string();
        let mut manifests: Vec<Value> = self.manifests().to_vec();
        manifests.retain(|old| match annotation(old, REF_NAME) {
            Some(name) => !taken.iter().any(|tag| tag == name),
            None => old.get("digest").and_then(Value::as_str) != Some(&digest),
        });
        manifests.extend(added);
        self.fields.insert("manifests".to_owned(), Value::Array(manifests));
    }

    /// The bytes of the index, canonical, with its seal.
    pub(crate) fn sealed(mut self) -> Result<Vec<u8>, serde_json::Error> {
        let mut annotations = match self.fields.remove("annotations") {
            Some(Value::Object(annotations)) => annotations,
            _ => Map::new(),
        };
        annotations.remove(SEAL);
        let digest = Digest::of(&unsealed(&self.fields, &annotations)?);
        annotations.insert(SEAL.to_owned(), digest.to_string().into());
        self.fields.insert("annotations".to_owned(), Value::Object(annotations));
        json::to_canonical(&self.fields)
    }
}

/// The bytes that a seal is the digest of.
fn unsealed(
    fields: &Map<String, Value>,
    annotations: &Map<String, Value>,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut fields = fields.clone();
    fields.remove("annotations");
    if !annotations.is_empty() {
        fields.insert("annotations".to_owned(), Value::Object(annotations.clone()));
    }
    json::to_canonical(&fields)
}

/// Checks the seal of an `index.json`.
pub(crate) fn seal(bytes: &[u8]) -> Seal {
    let Ok(Value::Object(fields)) = serde_json::from_slice(bytes) else {
        return Seal::Broken("it is not a JSON object".to_owned());
    };
    // The seal is looked for under every name: a damaged name must not make the index look unsealed.
    for (member, value) in &fields {
        let Value::Object(annotations) = value else { continue };
        for (name, value) in annotations {
            let Some(stated) = value.as_str().and_then(|text| text.parse::<Digest>().ok()) else {
                if (member.as_str(), name.as_str()) == ("annotations", SEAL) {
                    return Seal::Broken(format!("its annotation `{SEAL}` is not a digest"));
                }
                continue;
            };
            let mut others = annotations.clone();
            others.remove(name);
            let mut rest = fields.clone();
            rest.remove(member);
            let found = unsealed(&rest, &others).map(|bytes| Digest::of(&bytes)).ok();
            match (found == Some(stated), (member.as_str(), name.as_str()) == ("annotations", SEAL)) {
                (true, false) => {
                    return Seal::Broken(format!("the name of its annotation `{SEAL}` is damaged"));
                }
                (false, true) => {
                    let found = found.map(|found| found.to_string()).unwrap_or_default();
                    return Seal::Broken(format!("its content has digest {found} where it says {stated}"));
                }
                (true, true) if json::to_canonical(&fields).ok().as_deref() == Some(bytes) => {
                    return Seal::Holds;
                }
                (true, true) => return Seal::Broken("it is not written canonically".to_owned()),
                (false, false) => {}
            }
        }
    }
    Seal::Absent
}

fn annotation<'a>(descriptor: &'a Value, name: &str) -> Option<&'a str> {
    descriptor.get("annotations")?.get(name)?.as_str()
}

fn offer(value: &Value) -> Result<Offer, String> {
    let descriptor: manifest::Descriptor = serde_json::from_value(value.clone())
        .map_err(|error| format!("a descriptor is malformed: {error}"))?;
    let digest = manifest::digest(&descriptor).map_err(|error| error.to_string())?;
    Ok(Offer {
        media_type: descriptor.media_type().clone(),
        digest,
        size: descriptor.size(),
        platform: descriptor.platform().as_ref().map(Platform::of_descriptor),
        tag: annotation(value, REF_NAME).map(str::to_owned),
        name: annotation(value, IMAGE_NAME).map(str::to_owned),
    })
}

fn fields(media_type: &MediaType, digest: &Digest, size: u64) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("mediaType".to_owned(), media_type.to_string().into());
    fields.insert("digest".to_owned(), digest.to_string().into());
    fields.insert("size".to_owned(), size.into());
    fields
}

fn described(image: &ImageDocuments) -> Map<String, Value> {
    let media_type = image.manifest.value().media_type().clone().unwrap_or(MediaType::ImageManifest);
    let mut fields = fields(&media_type, &image.manifest.digest(), image.manifest.size());
    let wanted = Platform::of_config(image.config.value());
    let mut platform = Map::new();
    platform.insert("architecture".to_owned(), wanted.architecture.into());
    platform.insert("os".to_owned(), wanted.os.into());
    if let Some(variant) = wanted.variant {
        platform.insert("variant".to_owned(), variant.into());
    }
    fields.insert("platform".to_owned(), Value::Object(platform));
    fields
}

fn named(mut fields: Map<String, Value>, tag: Option<&str>, full: Option<&str>) -> Value {
    let mut annotations = Map::new();
    if let Some(tag) = tag {
        annotations.insert(REF_NAME.to_owned(), tag.into());
    }
    if let Some(full) = full {
        annotations.insert(IMAGE_NAME.to_owned(), full.into());
    }
    if !annotations.is_empty() {
        fields.insert("annotations".to_owned(), Value::Object(annotations));
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rebit_oci::Raw;
    use rebit_oci::config::ImageConfig;

    fn image(os: &str) -> ImageDocuments {
        let config = Raw::write("config", ImageConfig::scratch("amd64", os)).unwrap();
        let described = manifest::descriptor(MediaType::ImageConfig, config.digest(), config.size());
        ImageDocuments { manifest: manifest::write_manifest(described, Vec::new()).unwrap(), config }
    }

    fn names(tag: Option<&str>, references: &[&str]) -> ImageNames {
        ImageNames {
            tag: tag.map(str::to_owned),
            references: references.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn tags(index: &LayoutIndex) -> Vec<Vec<String>> {
        index
            .offers()
            .unwrap()
            .into_iter()
            .map(|offer| offer.tag.into_iter().chain(offer.name).collect())
            .collect()
    }

    #[test]
    fn names_become_annotations() {
        // I-13, I-14, I-15
        let check = |tag, references: &[&str], expected: &[&[&str]]| {
            let mut index = LayoutIndex::new();
            index.put(&image("linux"), &names(tag, references));
            assert_eq!(tags(&index), expected);
        };
        check(None, &[], &[&[]]);
        check(Some("t"), &[], &[&["t"]]);
        check(None, &["a:1"], &[&["1", "docker.io/library/a:1"]]);
        check(
            Some("t"),
            &["a:1", "b:1"],
            &[&["t", "docker.io/library/a:1"], &["1", "docker.io/library/b:1"]],
        );
        let same_tag: &[&[&str]] =
            &[&["1", "docker.io/library/a:1"], &["docker.io/library/b:1", "docker.io/library/b:1"]];
        check(None, &["a:1", "b:1"], same_tag);
    }

    #[test]
    fn other_images_stay_and_a_name_moves() {
        // I-16
        let mut index = LayoutIndex::new();
        index.put(&image("linux"), &names(Some("a"), &[]));
        index.put(&image("plan9"), &names(Some("b"), &[]));
        index.put(&image("other"), &names(Some("a"), &[]));
        assert_eq!(tags(&index), [["b"], ["a"]]);
        assert_eq!(index.offers().unwrap()[1].digest, image("other").manifest.digest());
        index.put(&image("linux"), &names(None, &[]));
        index.put(&image("linux"), &names(None, &[]));
        assert_eq!(index.offers().unwrap().len(), 3);
    }

    #[test]
    fn a_seal_notices_every_changed_byte() {
        // I-18, I-53
        let mut index = LayoutIndex::new();
        index.put(&image("linux"), &names(None, &["a:1"]));
        let bytes = index.sealed().unwrap();
        assert_eq!(seal(&bytes), Seal::Holds);
        assert!(LayoutIndex::parse(&bytes).is_ok());
        for place in 0..bytes.len() {
            for mask in [1, 2, 0x20, 0x80] {
                let mut damaged = bytes.clone();
                damaged[place] ^= mask;
                assert!(matches!(seal(&damaged), Seal::Broken(_)), "{place} {mask}");
            }
        }
        assert_eq!(seal(br#"{"schemaVersion":2,"manifests":[]}"#), Seal::Absent);
        let resealed = LayoutIndex::parse(&bytes).unwrap().sealed().unwrap();
        assert_eq!(resealed, bytes);
    }

    #[test]
    fn what_is_not_an_index_says_why() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"schemaVersion":1,"manifests":[]}"#,
            r#"{"schemaVersion":2,"manifests":[{}]}"#,
        ] {
            assert!(LayoutIndex::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
