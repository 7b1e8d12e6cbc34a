//! Images of the store: found, put, listed, named and unnamed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use rebit_layer::Tree;
use rebit_oci::config::ImageConfig;
use rebit_oci::document::MAX_DOCUMENT;
use rebit_oci::encode::Preimage;
use rebit_oci::manifest::{self, ImageManifest};
use rebit_oci::object::{ObjectSink, ObjectSource};
use rebit_oci::{CacheKey, Digest, ObjectId, Raw, Reference, TreeId};
use rebit_store::{Ref, Session, Store};
use serde::Serialize;

use crate::record::{ImageRecord, MAX_LAYERS, MAX_RECORD, RecordError, Stored};
use crate::{ImageError, LayerBlob, NewImage, Platform, StoredImage};

/// The fewest digits by which an image may be named.
const MIN_DIGITS: usize = 4;

/// Finds an image by its exact name.
///
/// A name with a digest finds the image of that repository with this manifest, under whatever tag. What is
/// found stays in the store for the session.
///
/// # Errors
/// [`ImageError::Store`] and the like when the store is damaged; a name that is not there is `None`.
pub fn find(session: &Session, name: &Reference) -> Result<Option<StoredImage>, ImageError> {
    if let Some(found) = session.store().get_ref(&name.to_string())?
        && name.digest().is_none_or(|digest| digest == found.digest)
    {
        return load(session, &found).map(Some);
    }
    let Some(digest) = name.digest() else { return Ok(None) };
    let refs = session.store().refs()?;
    let found = refs.iter().find(|r| r.digest == digest && same_repository(&r.name, name));
    found.map(|found| load(session, found)).transpose()
}

fn same_repository(text: &str, name: &Reference) -> bool {
    text.parse::<Reference>()
        .is_ok_and(|other| (other.registry(), other.repository()) == (name.registry(), name.repository()))
}

/// Finds an image by what a user wrote: a name, or the start of the digest of its manifest or config, with
/// or without `sha256:`.
///
/// An exact name comes before a digest; digits must be at least four and fit one image only.
///
/// # Errors
/// [`ImageError::Ambiguous`] when the digits fit several images.
pub fn find_text(session: &Session, text: &str) -> Result<Option<StoredImage>, ImageError> {
    if let Ok(name) = text.parse::<Reference>()
        && let Some(image) = find(session, &name)?
    {
        return Ok(Some(image));
    }
    match refs_by_digits(session.store(), text)?.first() {
        Some(found) => load(session, found).map(Some),
        None => Ok(None),
    }
}

/// Finds an image by the digest of its manifest, under whatever name.
///
/// # Errors
/// [`ImageError::Store`] and the like when the store is damaged.
pub fn find_digest(session: &Session, digest: &Digest) -> Result<Option<StoredImage>, ImageError> {
    let refs = session.store().refs()?;
    refs.iter().find(|found| found.digest == *digest).map(|found| load(session, found)).transpose()
}

/// The image with this manifest whose record is `root`, which needs no name.
///
/// # Errors
/// When the store fails, or what it has at `root` is not this image.
pub fn open(session: &Session, digest: &Digest, root: ObjectId) -> Result<StoredImage, ImageError> {
    load(session, &Ref { name: digest.to_string(), digest: *digest, root, updated: SystemTime::UNIX_EPOCH })
}

/// The full names of the image with this manifest.
///
/// # Errors
/// When the store fails.
pub fn names_of(store: &Store, digest: &Digest) -> Result<Vec<String>, ImageError> {
    Ok(store.refs()?.into_iter().filter(|found| found.digest == *digest).map(|found| found.name).collect())
}

/// The repositories in which the images of the store have these blobs as layers, by blob.
///
/// # Errors
/// When the store fails.
pub fn holders(
    store: &Store,
    blobs: &BTreeSet<Digest>,
) -> Result<BTreeMap<Digest, BTreeSet<Reference>>, ImageError> {
    let mut holders: BTreeMap<Digest, BTreeSet<Reference>> = BTreeMap::new();
    for found in store.refs()? {
        let Ok(name) = found.name.parse::<Reference>() else { continue };
        let Some(record) = read_record(store, &found.root)? else { continue };
        for layer in record.layers.iter().filter(|layer| blobs.contains(&layer.digest)) {
            holders.entry(layer.digest).or_default().insert(name.clone());
        }
    }
    Ok(holders)
}

/// Remembers which image was taken of an index, for as long as that image is there.
///
/// # Errors
/// When the store fails.
pub fn remember_choice(
    session: &Session,
    index: &Digest,
    platform: &Platform,
    image: &StoredImage,
    now: SystemTime,
) -> Result<(), ImageError> {
    let value = image.digest().to_string();
    Ok(session.put_record(&choice_key(index, platform), value.as_bytes(), &[image.root], now)?)
}

/// Finds an image by its exact name, where the digest in it may also be that of the index that the image was taken from.
///
/// # Errors
/// As [`find`].
pub fn find_for(
    session: &Session,
    name: &Reference,
    platform: &Platform,
    now: SystemTime,
) -> Result<Option<StoredImage>, ImageError> {
    if let Some(found) = find(session, name)? {
        return Ok(Some(found));
    }
    let Some(index) = name.digest() else { return Ok(None) };
    let chosen = session.get_record(&choice_key(&index, platform), now)?;
    let chosen = chosen.and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<Digest>().ok());
    let Some(chosen) = chosen else { return Ok(None) };
    let refs = session.store().refs()?;
    let found = refs.iter().find(|found| found.digest == chosen && same_repository(&found.name, name));
    found.map(|found| load(session, found)).transpose()
}

fn choice_key(index: &Digest, platform: &Platform) -> CacheKey {
    let mut preimage = Preimage::new("image of an index", 1);
    preimage.add("index", index.to_string());
    preimage.add("platform", platform.to_string());
    preimage.key()
}

/// The refs of the one image whose manifest or config digest starts with `text`.
fn refs_by_digits(store: &Store, text: &str) -> Result<Vec<Ref>, ImageError> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let hexadecimal = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !hexadecimal || !(MIN_DIGITS..=64).contains(&digits.len()) {
        return Ok(Vec::new());
    }
    let mut found: BTreeMap<Digest, Vec<Ref>> = BTreeMap::new();
    for candidate in store.refs()? {
        let fits = candidate.digest.hex().starts_with(digits)
            || read_record(store, &candidate.root)?
                .is_some_and(|record| record.config.digest.hex().starts_with(digits));
        if fits {
            found.entry(candidate.digest).or_default().push(candidate);
        }
    }
    if found.len() > 1 {
        return Err(ImageError::Ambiguous {
            name: text.to_owned(),
            place: "the store".to_owned(),
            candidates: found.keys().take(20).map(ToString::to_string).collect(),
        });
    }
    Ok(found.into_values().next().unwrap_or_default())
}

/// The record at `root`; `None` when that is some other kind of object.
pub(crate) fn read_record(store: &Store, root: &ObjectId) -> Result<Option<ImageRecord>, ImageError> {
    let length = store.object_length(root)?;
    if length.is_none_or(|length| length > MAX_RECORD) {
        return Ok(None);
    }
    Ok(ImageRecord::decode(&store.read(root)?).ok())
}

fn load(session: &Session, found: &Ref) -> Result<StoredImage, ImageError> {
    let missing = || ImageError::NotFound {
        what: format!("a part of image `{}`", found.name),
        place: "the store".to_owned(),
    };
    if !session.contains(&found.root)? {
        return Err(missing());
    }
    let corrupt = |reason: String| ImageError::CorruptEntry {
        entry: found.name.clone(),
        place: "the store".to_owned(),
        reason,
    };
    if session.store().object_length(&found.root)?.is_some_and(|length| length > MAX_RECORD) {
        return Err(corrupt("its root is too large for an image record".to_owned()));
    }
    let record =
        ImageRecord::decode(&session.read(&found.root)?).map_err(|error| corrupt(error.to_string()))?;
    if record.manifest.digest != found.digest {
        return Err(corrupt(format!("its record is of manifest {}", record.manifest.digest)));
    }
    let manifest = Raw::parse("manifest", session.read_blob(&record.manifest.digest, MAX_DOCUMENT)?)?;
    let config = Raw::parse("config", session.read_blob(&record.config.digest, MAX_DOCUMENT)?)?;
    Ok(StoredImage {
        manifest,
        config,
        layers: record.layers,
        trees: record.trees,
        provenance: record.provenance,
        root: found.root,
    })
}

/// Stores an image whose layers and trees are in the store already, and names it.
///
/// The names are set last, so that a name never stands for an image that is not whole. Without a name the
/// image is kept only as long as the session lives.
///
/// # Errors
/// [`ImageError::Inconsistent`] when manifest, config, layers and trees do not fit together;
/// [`ImageError::Store`] when the store fails, or a layer or tree is not there.
pub fn put_image(
    session: &Session,
    image: NewImage<'_>,
    names: &[Reference],
    now: SystemTime,
) -> Result<StoredImage, ImageError> {
    let NewImage { manifest, config, layers, trees, provenance } = image;
    check(&manifest, &config, layers, trees)?;
    let trees = trees.map(<[TreeId]>::to_vec);
    let provenance = match provenance {
        Some(document) => Some(session.put(document, &[])?),
        None => known_provenance(session, &manifest.digest(), names)?,
    };
    let (config_digest, config_object) = session.put_blob(config.bytes(), &[])?;
    let (manifest_digest, manifest_object) = session.put_blob(manifest.bytes(), &[])?;
    let record = ImageRecord {
        manifest: Stored { digest: manifest_digest, object: manifest_object },
        config: Stored { digest: config_digest, object: config_object },
        layers: layers.to_vec(),
        trees,
        provenance,
    };
    let root = put_record(session, &record)?;
    if names.is_empty() {
        session.commit()?;
    }
    for name in names {
        session.set_ref(&name.to_string(), &manifest.digest(), &root, now)?;
    }
    let ImageRecord { layers, trees, .. } = record;
    Ok(StoredImage { manifest, config, layers, trees, provenance, root })
}

fn put_record(session: &Session, record: &ImageRecord) -> Result<ObjectId, ImageError> {
    let bytes = record.encode().map_err(|error| ImageError::Inconsistent {
        manifest: record.manifest.digest,
        reason: format!("its record cannot be written: {error}"),
    })?;
    Ok(session.put(&bytes, &record.edges())?)
}

/// Keeps the trees of an image's layers with it, under all its names.
pub(crate) fn put_trees(
    session: &Session,
    image: StoredImage,
    trees: Vec<TreeId>,
) -> Result<StoredImage, ImageError> {
    check(&image.manifest, &image.config, &image.layers, Some(&trees))?;
    let corrupt = |error: RecordError| ImageError::CorruptEntry {
        entry: image.digest().to_string(),
        place: "the store".to_owned(),
        reason: error.to_string(),
    };
    let packed = ImageRecord::decode(&session.read(&image.root)?).map_err(corrupt)?;
    let record = ImageRecord { trees: Some(trees), ..packed };
    let root = put_record(session, &record)?;
    session.commit()?;
    for found in session.store().refs()?.iter().filter(|found| found.root == image.root) {
        // A name that is another image's by now is left alone.
        session.replace_root(&found.name, &image.root, &root)?;
    }
    Ok(StoredImage { trees: record.trees, root, ..image })
}

/// What is known of how an image was made that goes by one of `names`: it does not get lost when the image is brought in again.
fn known_provenance(
    session: &Session,
    manifest: &Digest,
    names: &[Reference],
) -> Result<Option<ObjectId>, ImageError> {
    for name in names {
        let found = session.store().get_ref(&name.to_string())?.filter(|found| found.digest == *manifest);
        if let Some(found) = found
            && session.contains(&found.root)?
            && let Some(known) =
                read_record(session.store(), &found.root)?.and_then(|record| record.provenance)
            && session.contains(&known)?
        {
            return Ok(Some(known));
        }
    }
    Ok(None)
}

/// Checks that the four views of an image agree.
fn check(
    manifest: &Raw<ImageManifest>,
    config: &Raw<ImageConfig>,
    layers: &[LayerBlob],
    trees: Option<&[TreeId]>,
) -> Result<(), ImageError> {
    let fail = |reason: String| Err(ImageError::Inconsistent { manifest: manifest.digest(), reason });
    if layers.len() > MAX_LAYERS {
        return Err(ImageError::Limit { what: "the number of layers".to_owned(), limit: MAX_LAYERS as u64 });
    }
    if manifest::digest(manifest.value().config())? != config.digest() {
        return fail(format!("its config is not {}", config.digest()));
    }
    let trees = trees.map_or(layers.len(), <[TreeId]>::len);
    let counts = [manifest.value().layers().len(), config.value().rootfs.diff_ids.len(), layers.len(), trees];
    if counts.iter().any(|count| *count != counts[0]) {
        let [in_manifest, in_config, blobs, trees] = counts;
        return fail(format!(
            "the manifest has {in_manifest} layers, the config {in_config}, given are {blobs} blobs and {trees} trees"
        ));
    }
    for (number, layer) in layers.iter().enumerate() {
        let described = manifest.value().layers().get(number);
        let digest = described.map(manifest::digest).transpose()?;
        if digest != Some(layer.digest) || described.map(|d| d.size()) != Some(layer.size) {
            return fail(format!("layer {} is not blob {} in the manifest", number + 1, layer.digest));
        }
        if config.value().rootfs.diff_ids.get(number) != Some(&layer.diff_id) {
            return fail(format!(
                "layer {} does not have diff id {} in the config",
                number + 1,
                layer.diff_id
            ));
        }
    }
    Ok(())
}

/// One line of `rebit images`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageSummary {
    /// The full name.
    pub name: String,
    /// The digest of the manifest.
    pub digest: Digest,
    /// The digest of the config: Docker's image id.
    pub config_digest: Digest,
    /// What it runs on.
    pub platform: Platform,
    /// When it was made, in RFC 3339, as the config says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Bytes of all blobs: manifest, config and layers.
    pub size: u64,
    /// Bytes of all files of the root file system; `None` while the layers are not unpacked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncompressed_size: Option<u64>,
    /// How many regular files the root file system has, each name of one counted; `None` while the layers are not unpacked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// How many layers it has.
    pub layers: usize,
}

/// Lists the images that have a name, by name. Refs that do not stand for an image are left out.
///
/// # Errors
/// When the store fails or an image is damaged.
pub fn list(store: &Store) -> Result<Vec<ImageSummary>, ImageError> {
    // What names share is loaded once.
    let mut known: BTreeMap<TreeId, (u64, u64)> = BTreeMap::new();
    let mut images = Vec::new();
    for found in store.refs()? {
        let Some(record) = read_record(store, &found.root)? else { continue };
        let config =
            Raw::<ImageConfig>::parse("config", store.read_blob(&record.config.digest, MAX_DOCUMENT)?)?;
        let manifest_size = store.stat_blob(&record.manifest.digest)?.map_or(0, |stat| stat.size);
        let totals = match record.trees.as_ref().map(|trees| trees.last()) {
            None => None,
            Some(None) => Some((0, 0)),
            Some(Some(id)) => match known.get(id) {
                Some(totals) => Some(*totals),
                None => {
                    let tree = Tree::load(id, store)?;
                    let totals = (tree.size(), tree.counts().files);
                    known.insert(*id, totals);
                    Some(totals)
                }
            },
        };
        let layers = record.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add);
        images.push(ImageSummary {
            name: found.name,
            digest: found.digest,
            config_digest: record.config.digest,
            platform: Platform::of_config(config.value()),
            created: config.value().created.clone(),
            size: layers.saturating_add(manifest_size).saturating_add(config.size()),
            uncompressed_size: totals.map(|(size, _)| size),
            files: totals.map(|(_, files)| files),
            layers: record.layers.len(),
        });
    }
    images.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(images)
}

/// Gives an image of the store one more name; a name that was another image's moves.
///
/// # Errors
/// When the store fails.
pub fn tag(
    session: &Session,
    image: &StoredImage,
    name: &Reference,
    now: SystemTime,
) -> Result<(), ImageError> {
    Ok(session.set_ref(&name.to_string(), &image.digest(), &image.root, now)?)
}

/// Takes names away, and returns those that went.
///
/// `text` is a name (that one goes) or the start of a digest (all names of that image go). What no name keeps
/// any more is removed by the next collection.
///
/// # Errors
/// [`ImageError::NotFound`], and [`ImageError::Ambiguous`] when digits fit several images.
pub fn untag(store: &Store, text: &str) -> Result<Vec<String>, ImageError> {
    if let Ok(name) = text.parse::<Reference>()
        && store.delete_ref(&name.to_string())?
    {
        return Ok(vec![name.to_string()]);
    }
    let mut removed = Vec::new();
    for found in refs_by_digits(store, text)? {
        if store.delete_ref(&found.name)? {
            removed.push(found.name);
        }
    }
    if removed.is_empty() {
        return Err(ImageError::NotFound { what: format!("image `{text}`"), place: "the store".to_owned() });
    }
    Ok(removed)
}
