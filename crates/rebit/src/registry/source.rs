//! An image at its registry as a source.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rebit_image::ImageError;
use rebit_image::transport::{Offer, Source};
use rebit_oci::manifest::{self, ImageIndex, ImageManifest, Kind, MediaType};
use rebit_oci::{Digest, Reference};
use rebit_remote::registry::{Access, Manifest, Registry, Repository, Wanted};

use rebit_store::Session;

use super::image_error;
use crate::progress::Transfer;

/// A manifest or index of a repository, and what it leads to.
pub(crate) struct RegistrySource<'a> {
    repository: Repository,
    name: Reference,
    transfer: &'a Transfer,
    /// Has perhaps what would be fetched otherwise.
    store: Option<&'a Session>,
    top: OnceLock<Arc<Manifest>>,
    documents: Mutex<BTreeMap<Digest, Document>>,
}

/// What is fetched as a manifest and not as a blob.
enum Document {
    /// An index names it.
    Named(u64),
    /// It was got.
    Got(Arc<Manifest>),
}

impl<'a> RegistrySource<'a> {
    pub(crate) fn new(
        registry: &Registry,
        name: &Reference,
        transfer: &'a Transfer,
    ) -> Result<Self, ImageError> {
        let repository = registry.may_take(name).and_then(|()| registry.repository(name, Access::Pull));
        let repository = repository.map_err(|error| image_error(name, error))?;
        Ok(Self {
            repository,
            name: name.clone(),
            transfer,
            store: None,
            top: OnceLock::new(),
            documents: Mutex::default(),
        })
    }

    /// Does not fetch what the store can give.
    pub(crate) fn beside(mut self, store: &'a Session) -> Self {
        self.store = Some(store);
        self
    }

    fn stored(&self, digest: &Digest, size: u64) -> Result<Option<Box<dyn Read + Send + '_>>, ImageError> {
        let Some(store) = self.store else { return Ok(None) };
        if store.stat_blob(digest)?.is_none_or(|stat| stat.size != size) {
            return Ok(None);
        }
        Ok(Some(store.open_blob(digest)?.0))
    }

    /// What the name stands for: a manifest or an index.
    fn top(&self) -> Result<Arc<Manifest>, ImageError> {
        if let Some(top) = self.top.get() {
            return Ok(Arc::clone(top));
        }
        let digest = self.name.digest();
        let top = self.get(Wanted::of(&self.name, digest.as_ref()))?;
        Ok(Arc::clone(self.top.get_or_init(|| top)))
    }

    /// The digest of what the name stands for; it was got before.
    pub(crate) fn digest(&self) -> Result<Digest, ImageError> {
        match self.name.digest() {
            Some(digest) => Ok(digest),
            None => Ok(self.top()?.digest),
        }
    }

    fn documents(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, Document>> {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, wanted: Wanted<'_>) -> Result<Arc<Manifest>, ImageError> {
        let got = self.repository.manifest(wanted).map_err(|error| image_error(&self.name, error))?;
        let got = Arc::new(got);
        let named = leads_to(&got)?;
        let mut documents = self.documents();
        for (digest, size) in named {
            documents.entry(digest).or_insert(Document::Named(size));
        }
        documents.insert(got.digest, Document::Got(Arc::clone(&got)));
        Ok(got)
    }
}

/// The manifests that an index names. What of an image cannot be got is refused here, by its name.
fn leads_to(document: &Manifest) -> Result<Vec<(Digest, u64)>, ImageError> {
    let what = |kind: &str, error: &dyn std::fmt::Display| ImageError::CorruptBlob {
        digest: document.digest,
        reason: format!("it is no {kind}: {error}"),
    };
    match manifest::kind(&MediaType::from(document.media_type.as_str())) {
        Kind::ImageIndex => {
            let index: ImageIndex =
                serde_json::from_slice(&document.bytes).map_err(|error| what("image index", &error))?;
            let children = index.manifests().iter();
            let children = children.filter_map(|child| match manifest::kind(child.media_type()) {
                Kind::Manifest | Kind::ImageIndex => Some((manifest::digest(child).ok()?, child.size())),
                _ => None,
            });
            Ok(children.collect())
        }
        Kind::Manifest => {
            let image: ImageManifest =
                serde_json::from_slice(&document.bytes).map_err(|error| what("manifest", &error))?;
            let kinds = image.layers().iter().map(|layer| layer.media_type().to_string());
            let mut foreign =
                kinds.filter(|kind| kind.contains("foreign") || kind.contains("nondistributable"));
            match foreign.next() {
                Some(kind) => Err(ImageError::Unsupported {
                    what: format!("a layer of type `{kind}`, which registries do not hold,"),
                }),
                None => Ok(Vec::new()),
            }
        }
        _ => Ok(Vec::new()),
    }
}

impl Source for RegistrySource<'_> {
    fn place(&self) -> String {
        format!("docker://{}", self.name)
    }

    fn offers(&self) -> Result<Vec<Offer>, ImageError> {
        let top = self.top()?;
        Ok(vec![Offer {
            media_type: MediaType::from(top.media_type.as_str()),
            digest: top.digest,
            size: top.bytes.len() as u64,
            platform: None,
            tag: None,
            name: None,
        }])
    }

    fn stat(&self, digest: &Digest) -> Result<Option<u64>, ImageError> {
        match self.documents().get(digest) {
            Some(Document::Named(size)) => return Ok(Some(*size)),
            Some(Document::Got(document)) => return Ok(Some(document.bytes.len() as u64)),
            None => {}
        }
        self.repository.stat(digest).map_err(|error| image_error(&self.name, error))
    }

    fn open(&self, digest: &Digest, size: u64) -> Result<Box<dyn Read + Send + '_>, ImageError> {
        let got = match self.documents().get(digest) {
            Some(Document::Got(document)) => Some(Some(Arc::clone(document))),
            Some(Document::Named(_)) => Some(None),
            None => None,
        };
        let document = match got {
            Some(Some(document)) => document,
            Some(None) => self.get(Wanted::Digest(digest))?,
            None => {
                if let Some(reader) = self.stored(digest, size)? {
                    return Ok(reader);
                }
                let blob = self.repository.blob(digest, size);
                let inner = blob.map_err(|error| image_error(&self.name, error))?;
                return Ok(Box::new(Watched { inner, blob: self.transfer.begin(digest, size) }));
            }
        };
        if document.bytes.len() as u64 != size {
            let reason = format!("it has {} bytes where {size} were promised", document.bytes.len());
            return Err(ImageError::CorruptBlob { digest: *digest, reason });
        }
        Ok(Box::new(Cursor::new(document.bytes.clone())))
    }
}

/// A blob whose coming is shown.
struct Watched<'a, R> {
    inner: R,
    blob: crate::progress::Moving<'a>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match count {
            0 if !buffer.is_empty() => self.blob.end("fetched"),
            count => self.blob.moved(count as u64),
        }
        Ok(count)
    }
}
