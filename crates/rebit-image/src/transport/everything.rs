//! All of an image index: the images for every platform, and what else it names.

use std::collections::{BTreeMap, BTreeSet};

use rebit_oci::manifest::{self, Descriptor, ImageIndex, ImageManifest, Kind, MediaType};
use rebit_oci::{Digest, Raw};

use super::resolve::{MAX_CHILDREN, MAX_DEPTH, ambiguous, read_blob, too_deep, too_many};
use super::{Offer, Source};
use crate::ImageError;

/// Most manifests and indexes in all.
const MAX_DOCUMENTS: usize = 4096;
/// Most bytes of them, which are held in memory.
const MAX_BYTES: u64 = 64 << 20;

/// A manifest or index, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What names it, or it itself, calls it.
    pub media_type: MediaType,
    /// Its digest.
    pub digest: Digest,
    /// It.
    pub bytes: Vec<u8>,
}

/// What an index leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Everything {
    /// What the place offers.
    pub top: Document,
    /// The other manifests and indexes, each once and before those that name it.
    pub below: Vec<Document>,
    /// Configs and layers with their lengths.
    pub blobs: BTreeMap<Digest, u64>,
}

/// The one manifest or index that a place offers.
fn offered(source: &dyn Source) -> Result<Offer, ImageError> {
    let offers = source.offers()?;
    let distinct: BTreeSet<Digest> = offers.iter().map(|offer| offer.digest).collect();
    match (offers.first(), distinct.len()) {
        (Some(first), 1) => Ok(first.clone()),
        (None, _) => Err(ImageError::NotFound { what: "an image".to_owned(), place: source.place() }),
        _ => Err(ambiguous(source, &offers)),
    }
}

/// Reads the one manifest or index that a place offers, and nothing below it.
///
/// # Errors
/// [`ImageError::NotFound`], and [`ImageError::Ambiguous`] when the place offers several.
pub fn top(source: &dyn Source) -> Result<Document, ImageError> {
    let Offer { media_type, digest, size, .. } = offered(source)?;
    Ok(Document { media_type, digest, bytes: read_blob(source, &digest, size)? })
}

/// Reads the one manifest or index that a place offers, and all manifests below it. Nothing is chosen and nothing left out.
///
/// # Errors
/// [`ImageError::NotFound`] when something is not there, [`ImageError::Ambiguous`] when the place offers several,
/// [`ImageError::Unsupported`] for what is neither manifest nor index, and [`ImageError::Limit`].
pub fn everything(source: &dyn Source) -> Result<Everything, ImageError> {
    let Offer { media_type, digest, size, .. } = offered(source)?;
    let mut walk =
        Walk { source, seen: BTreeSet::new(), bytes: 0, found: Vec::new(), blobs: BTreeMap::new() };
    walk.document(&media_type, digest, size, 0)?;
    match walk.found.pop() {
        Some(top) => Ok(Everything { top, below: walk.found, blobs: walk.blobs }),
        None => unreachable!("a document that was walked is among those found"),
    }
}

struct Walk<'a> {
    source: &'a dyn Source,
    seen: BTreeSet<Digest>,
    bytes: u64,
    found: Vec<Document>,
    blobs: BTreeMap<Digest, u64>,
}

impl Walk<'_> {
    fn document(
        &mut self,
        media_type: &MediaType,
        digest: Digest,
        size: u64,
        depth: usize,
    ) -> Result<(), ImageError> {
        if !self.seen.insert(digest) {
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(size);
        let limits = [
            ("the number of manifests below an index", self.seen.len() as u64, MAX_DOCUMENTS as u64),
            ("the size of all manifests below an index", self.bytes, MAX_BYTES),
        ];
        if let Some((what, _, limit)) = limits.into_iter().find(|(_, found, limit)| found > limit) {
            return Err(ImageError::Limit { what: what.to_owned(), limit });
        }
        let kind = manifest::kind(media_type);
        let bytes = match kind {
            Kind::Manifest | Kind::ImageIndex => read_blob(self.source, &digest, size)?,
            _ => {
                let what = format!("manifest {digest} of type `{media_type}`");
                return Err(ImageError::Unsupported { what });
            }
        };
        let bytes = if kind == Kind::Manifest {
            self.image(bytes)?
        } else {
            if depth == MAX_DEPTH {
                return Err(too_deep());
            }
            self.index(bytes, depth)?
        };
        self.found.push(Document { media_type: media_type.clone(), digest, bytes });
        Ok(())
    }

    fn index(&mut self, bytes: Vec<u8>, depth: usize) -> Result<Vec<u8>, ImageError> {
        let index = Raw::<ImageIndex>::parse("image index", bytes)?;
        let children = index.value().manifests();
        if children.len() > MAX_CHILDREN {
            return Err(too_many(&index.digest()));
        }
        for child in children {
            self.document(child.media_type(), manifest::digest(child)?, child.size(), depth + 1)?;
        }
        Ok(index.into_bytes())
    }

    fn image(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, ImageError> {
        let image = Raw::<ImageManifest>::parse("manifest", bytes)?;
        let described = std::iter::once(image.value().config()).chain(image.value().layers());
        for (digest, size) in described.map(described_blob).collect::<Result<Vec<_>, _>>()? {
            if self.blobs.insert(digest, size).is_some_and(|other| other != size) {
                let reason = format!("it gives blob {digest} another size than the manifest before it");
                return Err(ImageError::Inconsistent { manifest: image.digest(), reason });
            }
        }
        Ok(image.into_bytes())
    }
}

fn described_blob(blob: &Descriptor) -> Result<(Digest, u64), ImageError> {
    Ok((manifest::digest(blob)?, blob.size()))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rebit_oci::manifest::{OCI_INDEX, OCI_MANIFEST};

    use super::*;

    /// A place with documents; it offers the last one.
    struct Documents(Vec<(&'static str, Vec<u8>)>);

    impl Source for Documents {
        fn place(&self) -> String {
            "here".to_owned()
        }

        fn offers(&self) -> Result<Vec<Offer>, ImageError> {
            let offer = |(kind, bytes): &(&'static str, Vec<u8>)| Offer {
                media_type: MediaType::from(*kind),
                digest: Digest::of(bytes),
                size: bytes.len() as u64,
                platform: None,
                tag: None,
                name: None,
            };
            Ok(self.0.last().map(offer).into_iter().collect())
        }

        fn stat(&self, _: &Digest) -> Result<Option<u64>, ImageError> {
            Ok(None)
        }

        fn open(&self, digest: &Digest, _: u64) -> Result<Box<dyn Read + Send + '_>, ImageError> {
            match self.0.iter().find(|(_, bytes)| Digest::of(bytes) == *digest) {
                Some((_, bytes)) => Ok(Box::new(bytes.as_slice())),
                None => Err(ImageError::NotFound { what: format!("blob {digest}"), place: self.place() }),
            }
        }
    }

    fn described(kind: &str, bytes: &[u8]) -> String {
        format!(r#"{{"mediaType":"{kind}","digest":"{}","size":{}}}"#, Digest::of(bytes), bytes.len())
    }

    fn image(layer: &str) -> (&'static str, Vec<u8>) {
        let config = described("application/vnd.oci.image.config.v1+json", b"{}");
        let layer = described("application/vnd.oci.image.layer.v1.tar", layer.as_bytes());
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":[{layer}]}}"#
        );
        (OCI_MANIFEST, text.into_bytes())
    }

    fn index<'a>(children: impl IntoIterator<Item = &'a (&'static str, Vec<u8>)>) -> (&'static str, Vec<u8>) {
        let children: Vec<String> =
            children.into_iter().map(|(kind, bytes)| described(kind, bytes)).collect();
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{}]}}"#,
            children.join(",")
        );
        (OCI_INDEX, text.into_bytes())
    }

    fn failed(documents: Vec<(&'static str, Vec<u8>)>) -> String {
        everything(&Documents(documents)).unwrap_err().to_string()
    }

    #[test]
    fn children_come_before_what_names_them_and_each_once() {
        let (a, b) = (image("a"), image("b"));
        let inner = index([&b, &a]);
        let top = index([&a, &inner, &a]);
        let all = everything(&Documents(vec![a.clone(), b.clone(), inner.clone(), top.clone()])).unwrap();
        let order: Vec<&[u8]> = all.below.iter().map(|document| document.bytes.as_slice()).collect();
        assert_eq!(order, [&a.1, &b.1, &inner.1]);
        assert_eq!(all.top.bytes, top.1);
        assert_eq!(all.blobs.len(), 3, "a config and two layers");
        let one = everything(&Documents(vec![a.clone()])).unwrap();
        assert_eq!((one.below.len(), one.top.bytes), (0, a.1));
    }

    #[test]
    fn what_has_no_end_or_lacks_something_is_given_up() {
        let mut nested = vec![image("a")];
        for depth in 0..5 {
            nested.push(index([&nested[depth]]));
        }
        assert!(everything(&Documents(nested[..5].to_vec())).is_ok(), "four indexes and an image");
        assert!(failed(nested).contains("the depth of nested image indexes is above the limit of 4"));
        let images: Vec<_> = (0..1001).map(|number| image(&number.to_string())).collect();
        let wide = index(&images);
        assert!(failed(vec![wide]).contains("the number of manifests in index"));
        assert!(failed(vec![index([&image("a")])]).contains("is not in `here`"));
        assert!(failed(Vec::new()).contains("an image is not in `here`"));
        let other = ("text/plain", b"hello".to_vec());
        assert!(
            failed(vec![other.clone(), index([&other])]).contains("of type `text/plain` is not supported")
        );
        assert!(failed(vec![(OCI_INDEX, b"{".to_vec())]).contains("cannot read an image document"));
    }

    #[test]
    fn all_together_may_not_be_too_much() {
        // Five indexes of a thousand images each.
        let mut documents = Vec::new();
        let mut groups = Vec::new();
        for group in 0..5 {
            let images: Vec<_> = (0..1000).map(|number| image(&format!("{group} {number}"))).collect();
            groups.push(index(&images));
            documents.extend(images);
        }
        let top = index(&groups);
        documents.extend(groups);
        documents.push(top);
        assert!(
            failed(documents).contains("the number of manifests below an index is above the limit of 4096")
        );
    }
}
