//! From a place into the store.

mod ahead;
mod fetch;
mod unpack;

use std::io::{self, Read};
use std::thread;
use std::time::SystemTime;

use rebit_layer::codec::decode::{self, DecodeLimits};
use rebit_layer::{ReadError, ReadOptions, Tree, read_layer};
use rebit_oci::config::ImageConfig;
use rebit_oci::digest::Mismatch;
use rebit_oci::encode::Preimage;
use rebit_oci::manifest::{self, Descriptor, ImageManifest, Kind};
use rebit_oci::{CacheKey, DiffId, Digest, ObjectId, Reference, TreeId};
use rebit_store::{Session, StoreError};

use crate::export::not_here;
use crate::record::MAX_LAYERS;
use crate::tee::tee;
use crate::transport::{self, DockerArchiveSource, ImageDocuments, LayoutSource, Source};
use crate::{ImageError, LayerBlob, NewImage, Place, Platform, StoredImage, find_text, put_image, tag};
use fetch::Fetched;

pub use unpack::{fetch, unpack};

/// What a layer may decompress to: 1 TiB; beyond 4 GiB, 2000 times its own size.
///
/// A file of zeros is a legitimate thing to have in a layer, and Zstandard packs 30,000 of them into a byte: only in
/// large amounts is that hostile.
pub const DECODE: DecodeLimits = DecodeLimits { output: 1 << 40, ratio: 2000, ratio_from: 4 << 30 };

/// How an image is taken in.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Which image of an index is taken.
    pub platform: Platform,
    /// Whether an image that is the only one is taken though it is for another platform.
    pub any_platform: bool,
    /// When the names are set. It never reaches the image.
    pub now: SystemTime,
    /// What a layer may decompress to.
    pub decode: DecodeLimits,
    /// What a layer may hold.
    pub layer: ReadOptions,
    /// How many blobs are fetched besides the one that is applied; none unless the source is slow.
    pub fetchers: usize,
}

impl ImportOptions {
    /// The usual limits; an image for another platform is an error.
    #[must_use]
    pub fn new(platform: Platform, now: SystemTime) -> Self {
        Self { platform, any_platform: false, now, decode: DECODE, layer: ReadOptions::layer(), fetchers: 0 }
    }
}

/// Takes an image in and names it.
///
/// Manifest, config and layer blobs are kept as they are ([`compact`](crate::compact) may replace blobs by recipes later); every layer is applied to give the tree after it.
/// A blob is read once. What the store knows already is not read again.
///
/// # Errors
/// [`ImageError`] naming the blob, layer or entry that is at fault. No name is set then.
pub fn import(
    session: &Session,
    source: &dyn Source,
    names: &[Reference],
    options: &ImportOptions,
) -> Result<StoredImage, ImageError> {
    let image = transport::select(source, &options.platform, options.any_platform)?;
    check(&image)?;
    let steps = steps(image.manifest.value(), image.config.value())?;
    // The first blob is applied while it comes.
    let fetched = Fetched::new(session, source, &steps, 1)?;
    let done = thread::scope(|scope| {
        for _ in 0..options.fetchers.min(fetched.len()) {
            scope.spawn(|| fetched.work());
        }
        let done = apply(&fetched, &steps, options);
        fetched.stop();
        done
    });
    let Stack { layers, trees, learned } = done?;
    let new = NewImage {
        manifest: image.manifest,
        config: image.config,
        layers: &layers,
        trees: Some(&trees),
        provenance: None,
    };
    let stored = put_image(session, new, names, options.now)?;
    remember(session, learned, options.now)?;
    Ok(stored)
}

/// The layers with what each has to be.
fn steps<'a>(manifest: &'a ImageManifest, config: &ImageConfig) -> Result<Vec<Layer<'a>>, ImageError> {
    let layers = manifest.layers().iter().zip(&config.rootfs.diff_ids).enumerate();
    let step = |(number, (descriptor, diff_id)): (usize, (&'a Descriptor, &DiffId))| {
        let digest = manifest::digest(descriptor)?;
        Ok(Layer { number: number + 1, digest, descriptor, diff_id: *diff_id })
    };
    layers.map(step).collect()
}

/// Keeps the trees that were not known before, for the next image that has these layers.
fn remember(
    session: &Session,
    learned: Vec<(CacheKey, Option<TreeId>)>,
    now: SystemTime,
) -> Result<(), ImageError> {
    for (key, tree) in learned {
        if let Some(tree) = tree {
            session.put_record(&key, tree.to_string().as_bytes(), &[tree.object()], now)?;
        }
    }
    Ok(())
}

/// What comes of the layers.
#[derive(Default)]
struct Stack {
    layers: Vec<LayerBlob>,
    trees: Vec<TreeId>,
    /// Trees that were not known before, by the keys of their records.
    learned: Vec<(CacheKey, Option<TreeId>)>,
}

/// Applies the layers in order.
fn apply(fetched: &Fetched<'_>, steps: &[Layer<'_>], options: &ImportOptions) -> Result<Stack, ImageError> {
    let session = fetched.session;
    let mut applied = Applied { tree: None, loaded: Some(Tree::new()) };
    let mut stack = Stack::default();
    for layer in steps {
        let key = applied.key(layer);
        let object = match layer.known(session, &key, options.now)? {
            Some((object, tree)) => {
                applied = Applied { tree: Some(tree), loaded: None };
                object
            }
            None => {
                let object = layer.apply(fetched, &mut applied, options)?;
                stack.learned.push((key, applied.tree));
                object
            }
        };
        stack.trees.extend(applied.tree);
        stack.layers.push(layer.blob(object));
    }
    Ok(stack)
}

/// [`import`] from a place; an image of the store is found there and given the names.
///
/// # Errors
/// As [`import`].
pub fn import_place(
    session: &Session,
    place: &Place,
    names: &[Reference],
    options: &ImportOptions,
) -> Result<StoredImage, ImageError> {
    match place {
        Place::Store { name } => {
            let image = find_text(session, name)?.ok_or_else(|| ImageError::NotFound {
                what: format!("image `{name}`"),
                place: "the store".to_owned(),
            })?;
            for name in names {
                tag(session, &image, name, options.now)?;
            }
            Ok(image)
        }
        Place::Registry { .. } => Err(not_here(place)),
        Place::Oci { path, tag } => {
            import(session, &LayoutSource::open(path, tag.as_deref())?, names, options)
        }
        Place::OciArchive { path, tag } => {
            import(session, &LayoutSource::open_archive(path, tag.as_deref())?, names, options)
        }
        Place::DockerArchive { path, name } => {
            import(session, &DockerArchiveSource::open(path, name.as_ref())?, names, options)
        }
    }
}

/// What can be checked before a layer is read.
fn check(image: &ImageDocuments) -> Result<(), ImageError> {
    let fail = |reason: String| Err(ImageError::Inconsistent { manifest: image.manifest.digest(), reason });
    let (layers, config) = (image.manifest.value().layers(), image.config.value());
    if layers.len() > MAX_LAYERS {
        return Err(ImageError::Limit { what: "the number of layers".to_owned(), limit: MAX_LAYERS as u64 });
    }
    if layers.len() != config.rootfs.diff_ids.len() {
        let (in_manifest, in_config) = (layers.len(), config.rootfs.diff_ids.len());
        return fail(format!("the manifest has {in_manifest} layers and the config {in_config}"));
    }
    for layer in layers {
        if !matches!(manifest::kind(layer.media_type()), Kind::Layer(_)) {
            return Err(ImageError::Unsupported {
                what: format!("a layer of type `{}`", layer.media_type()),
            });
        }
    }
    Ok(())
}

/// The tree of the layers so far; loaded only when a layer is applied to it.
struct Applied {
    tree: Option<TreeId>,
    loaded: Option<Tree>,
}

impl Applied {
    /// What the record of this layer on top of this tree goes by.
    fn key(&self, layer: &Layer<'_>) -> CacheKey {
        let mut preimage = Preimage::new("imported layer", 1);
        preimage.add("lower", self.tree.map(|tree| tree.to_string()).unwrap_or_default());
        preimage.add("blob", layer.digest.to_string());
        preimage.add("diff id", layer.diff_id.to_string());
        preimage.key()
    }

    fn load(&mut self, session: &Session) -> Result<Tree, ImageError> {
        match (self.loaded.take(), self.tree) {
            (Some(tree), _) => Ok(tree),
            (None, Some(id)) => Ok(Tree::load(&id, session)?),
            (None, None) => Ok(Tree::new()),
        }
    }
}

struct Layer<'a> {
    number: usize,
    digest: Digest,
    descriptor: &'a Descriptor,
    diff_id: DiffId,
}

impl Layer<'_> {
    fn blob(&self, object: ObjectId) -> LayerBlob {
        LayerBlob {
            diff_id: self.diff_id,
            digest: self.digest,
            size: self.descriptor.size(),
            media_type: self.descriptor.media_type().clone(),
            object,
        }
    }

    /// The blob's object and the tree, when both are in the store from an earlier import.
    fn known(
        &self,
        session: &Session,
        key: &CacheKey,
        now: SystemTime,
    ) -> Result<Option<(ObjectId, TreeId)>, ImageError> {
        let Some(object) = self.stored(session)? else { return Ok(None) };
        let record = session.get_record(key, now)?;
        let tree = record.and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<TreeId>().ok());
        Ok(tree.map(|tree| (object, tree)))
    }

    fn stored(&self, session: &Session) -> Result<Option<ObjectId>, ImageError> {
        let stat = session.stat_blob(&self.digest)?;
        Ok(stat.filter(|stat| stat.size == self.descriptor.size()).map(|stat| stat.object))
    }

    /// Applies the layer; keeps its blob unless the store has it.
    fn apply(
        &self,
        fetched: &Fetched<'_>,
        applied: &mut Applied,
        options: &ImportOptions,
    ) -> Result<ObjectId, ImageError> {
        let session = fetched.session;
        let lower = applied.load(session)?;
        let (tree, object) = match fetched.claim(self)? {
            Some(object) => {
                let (mut reader, _) = session.open_blob(&self.digest)?;
                let tree = self.read(&mut reader, &lower, session, options);
                let rest = io::copy(&mut reader, &mut io::sink());
                rest.map_err(|error| ImageError::blob(self.digest, error))?;
                (tree?, object)
            }
            None => self.take(session, fetched.source, &lower, options)?,
        };
        applied.tree = Some(tree.store(session)?);
        applied.loaded = Some(tree);
        Ok(object)
    }

    /// Reads the blob from the source once: one thread keeps it, this one applies it.
    fn take(
        &self,
        session: &Session,
        source: &dyn Source,
        lower: &Tree,
        options: &ImportOptions,
    ) -> Result<(Tree, ObjectId), ImageError> {
        let reader = source.open(&self.digest, self.descriptor.size())?;
        let (mut first, second) = tee(reader);
        let (tree, rest, kept) = thread::scope(|scope| {
            let keeper = scope.spawn(move || self.keep(session, &mut { second }));
            let tree = self.read(&mut first, lower, session, options);
            // Whatever became of the tar stream: only a blob that was read to its end is known to be whole.
            let rest = first.drain();
            drop(first);
            (tree, rest, keeper.join())
        });
        rest.map_err(|error| ImageError::blob(self.digest, error))?;
        let object = kept.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((tree?, object))
    }

    fn keep(&self, session: &Session, blob: &mut dyn Read) -> Result<ObjectId, ImageError> {
        match session.put_blob_reader(blob, &[]) {
            Ok((digest, object, _)) if digest == self.digest => Ok(object),
            Ok((found, ..)) => {
                let reason = format!("its bytes have digest {found}");
                Err(ImageError::CorruptBlob { digest: self.digest, reason })
            }
            Err(StoreError::Input { source }) => Err(ImageError::blob(self.digest, source)),
            Err(source) => Err(source.into()),
        }
    }

    /// Decompresses, checks the diff id, and applies.
    fn read(
        &self,
        reader: &mut (dyn Read + Send),
        lower: &Tree,
        session: &Session,
        options: &ImportOptions,
    ) -> Result<Tree, ImageError> {
        let decoder = decode::open(reader, options.decode);
        let decoder = decoder.map_err(|error| ImageError::blob(self.digest, error))?;
        let (layer, digest) =
            ahead::ahead(decoder, |mut plain| read_layer(&mut plain, lower, session, &options.layer));
        let layer = layer.map_err(|error| self.error(error))?;
        let found = digest.map_err(|error| ImageError::blob(self.digest, error))?;
        if found != self.diff_id.0 {
            let (number, digest, expected) = (self.number, self.digest, self.diff_id.0);
            return Err(ImageError::DiffId { number, digest, expected, found });
        }
        Ok(layer.tree)
    }

    fn error(&self, error: ReadError) -> ImageError {
        match error {
            ReadError::Io { source, .. } if source.get_ref().is_some_and(|inner| inner.is::<Mismatch>()) => {
                ImageError::blob(self.digest, source)
            }
            source => ImageError::Layer { number: self.number, digest: self.digest, source },
        }
    }
}

#[cfg(test)]
mod tests;
