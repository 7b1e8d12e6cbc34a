//! Layer blobs that are kept as recipes (`docs/format/recipe.md`).
//!
//! An import keeps every layer twice: as files and as the blob. That is quick to take in and to send out, and takes the
//! space twice. What is not used for a while is worth less than its space, so a collection lets [`compact`] replace the blob
//! by the way in which it is made again from the files. A blob that is wanted again is made once and kept at hand
//! ([`keep_at_hand`]) for as long as it is used.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::time::SystemTime;

use rebit_layer::codec::decode;
use rebit_layer::recipe::{self, Encoder, Framing, Recipe, Split, Splitter, guess::HEAD};
use rebit_layer::{ReadOptions, Tree, read_layer_split};
use rebit_oci::digest::{Hasher, HashingReader};
use rebit_oci::encode::Preimage;
use rebit_oci::object::{ObjectSink, ObjectSource};
use rebit_oci::{CacheKey, Digest, ObjectId, TreeId};
use rebit_store::{BlobForm, Session, StoreError};
use serde::Serialize;

use crate::import::DECODE;
use crate::record::ImageRecord;
use crate::store_image::read_record;
use crate::{ImageError, LayerBlob, StoredImage};

/// Bytes compared at a time.
const PIECE: usize = 256 << 10;

/// What [`compact`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Layers that are kept as recipes from now on.
    pub recipes: u64,
    /// Bytes of their blobs.
    pub bytes: u64,
    /// Layers whose blobs no known encoder makes; they are kept.
    pub kept: u64,
}

/// Lets the images of the store keep recipes in place of layer blobs.
///
/// Only blobs are replaced that were imported, built or exported before `unused_since`; `None` is all. A recipe takes the
/// place of a blob after it was followed, from what is durable in the store, and gave exactly that blob. The blobs themselves go
/// with the next collection. Running it again, or at the same time as anything else, is safe.
///
/// # Errors
/// What the store says, and [`ImageError::CorruptBlob`] and the like when a blob is damaged. What was replaced by then is
/// replaced.
pub fn compact(session: &Session, unused_since: Option<SystemTime>) -> Result<Compacted, ImageError> {
    let mut done = Compacted::default();
    let mut known: BTreeMap<Digest, Option<ObjectId>> = BTreeMap::new();
    for found in session.store().refs()? {
        if unused_since.is_some_and(|since| found.updated >= since) || !session.contains(&found.root)? {
            continue;
        }
        let Some(mut record) = read_record(session.store(), &found.root)? else { continue };
        for number in 0..record.layers.len() {
            let layer = &record.layers[number];
            let recent = match (unused_since, session.record_used(&at_hand(&layer.digest))?) {
                (Some(since), Some(used)) => used >= since,
                _ => false,
            };
            if recent {
                continue;
            }
            let recipe = match known.get(&layer.digest) {
                Some(recipe) => *recipe,
                None => {
                    let recipe = replace(session, &record, number, &mut done)?;
                    // Another image may have the layer unpacked.
                    if recipe.is_some() || record.trees.is_some() {
                        known.insert(layer.digest, recipe);
                    }
                    recipe
                }
            };
            if let Some(recipe) = recipe {
                record.layers[number].object = recipe;
            }
        }
        let bytes = record.encode().map_err(|error| ImageError::CorruptEntry {
            entry: found.name.clone(),
            place: "the store".to_owned(),
            reason: error.to_string(),
        })?;
        let root = session.put(&bytes, &record.edges())?;
        if root != found.root {
            // A ref that is another image's by now is left alone.
            session.replace_root(&found.name, &found.root, &root)?;
        }
    }
    if unused_since.is_none() {
        for digest in known.into_iter().filter_map(|(digest, recipe)| recipe.map(|_| digest)) {
            let key = at_hand(&digest);
            if let Some(used) = session.record_used(&key)? {
                session.put_record(&key, &[], &[], used)?;
            }
        }
    }
    Ok(done)
}

/// The recipe for a layer, made if need be; `None` when there is none.
fn replace(
    session: &Session,
    record: &ImageRecord,
    number: usize,
    done: &mut Compacted,
) -> Result<Option<ObjectId>, ImageError> {
    let layer = &record.layers[number];
    if let Some(recipe) = session.recipe_of(&layer.digest)? {
        return Ok(Some(recipe));
    }
    // A recipe takes the contents of a tree: a layer that is not unpacked is kept as it came, and only so.
    let Some(trees) = &record.trees else { return Ok(None) };
    let trees = (number.checked_sub(1).and_then(|below| trees.get(below)), trees.get(number));
    let recipe = make(session, layer, trees)?;
    match recipe {
        Some(_) => {
            done.recipes += 1;
            done.bytes += layer.size;
        }
        None => done.kept += 1,
    }
    Ok(recipe)
}

/// Looks for a recipe for a blob of the store, and puts it if it holds.
fn make(
    session: &Session,
    layer: &LayerBlob,
    (lower, upper): (Option<&TreeId>, Option<&TreeId>),
) -> Result<Option<ObjectId>, ImageError> {
    let blob = |error| ImageError::blob(layer.digest, error);
    let mut head = Vec::new();
    let (reader, _) = session.open_blob(&layer.digest)?;
    reader.take(HEAD as u64).read_to_end(&mut head).map_err(blob)?;
    let encoders = recipe::candidates(&head);
    if encoders.is_empty() {
        return Ok(None);
    }
    let framing = Framing::default();
    let Some(tar) = split(session, layer, lower, &framing)? else { return Ok(None) };
    for encoder in encoders {
        let Some(parts) = framing.parts(encoder) else { continue };
        let recipe = Recipe {
            digest: layer.digest,
            size: layer.size,
            diff_id: layer.diff_id,
            parts,
            tar: tar.clone(),
        };
        if let Some(object) = prove(session, recipe, upper)? {
            return Ok(Some(object));
        }
    }
    Ok(None)
}

/// Takes the tar stream of a layer apart; `None` when it has too many pieces.
fn split(
    session: &Session,
    layer: &LayerBlob,
    lower: Option<&TreeId>,
    framing: &Framing,
) -> Result<Option<Split>, ImageError> {
    let blob = |error| ImageError::blob(layer.digest, error);
    let lower = lower.map_or_else(|| Ok(Tree::new()), |id| Tree::load(id, session))?;
    let (mut reader, _) = session.open_blob(&layer.digest)?;
    let decoder = decode::open_framed(&mut reader, DECODE, Some(framing.clone())).map_err(blob)?;
    let mut plain = HashingReader::new(decoder);
    let mut splitter = Splitter::new(&mut plain, session);
    // What cannot be read as an archive any more stays in the scaffold as it is.
    let _any = read_layer_split(&mut splitter, &lower, session, &ReadOptions::layer());
    let split = splitter.finish().map_err(blob)?;
    let (found, _) = plain.finish().map_err(blob)?;
    if found != layer.diff_id.0 {
        return Ok(None);
    }
    Ok(split)
}

/// Keeps a recipe if following it gives the blob.
///
/// What the recipe needs is made durable first, and the trial reads it back from the store. It is compared with the blob piece
/// by piece, so that a wrong recipe is soon known to be one.
fn prove(session: &Session, recipe: Recipe, upper: Option<&TreeId>) -> Result<Option<ObjectId>, ImageError> {
    let Ok(bytes) = recipe.encode() else { return Ok(None) };
    let (digest, size) = (recipe.digest, recipe.size);
    let mut edges = recipe.edges();
    if let Some(tree) = upper {
        edges = recipe::cover(&edges, tree, session)?;
    }
    let object = session.put(&bytes, &edges)?;
    session.commit()?;
    let (mut original, _) = session.open_blob(&digest)?;
    let mut hasher = Hasher::new();
    let same = same(&mut recipe.blob(session), &mut original, &mut hasher);
    let same = same.map_err(|error| ImageError::blob(digest, error))?;
    if !same || hasher.length() != size || hasher.finish() != digest {
        return Ok(None);
    }
    session.put_recipe(&digest, size, &object)?;
    Ok(Some(object))
}

/// Whether two streams are the same; hashes the first one.
fn same(made: &mut dyn Read, original: &mut dyn Read, hasher: &mut Hasher) -> io::Result<bool> {
    let (mut left, mut right) = (Vec::with_capacity(PIECE), Vec::with_capacity(PIECE));
    loop {
        left.clear();
        right.clear();
        (&mut *made).take(PIECE as u64).read_to_end(&mut left)?;
        (&mut *original).take(PIECE as u64).read_to_end(&mut right)?;
        if left != right {
            return Ok(false);
        }
        if left.is_empty() {
            return Ok(true);
        }
        hasher.update(&left);
    }
}

/// The record that keeps a blob, beside its recipe or without one, while it is used.
fn at_hand(digest: &Digest) -> CacheKey {
    let mut preimage = Preimage::new("layer blob at hand", 1);
    preimage.add("blob", digest.to_string());
    preimage.key()
}

/// Notes that the layer blobs of an image are used now, before they are.
///
/// A blob that is slow to make from its recipe is made and kept: as long as a build record would be.
///
/// # Errors
/// What the store says, and what a recipe that cannot be followed says.
pub fn keep_at_hand(session: &Session, image: &StoredImage, now: SystemTime) -> Result<(), ImageError> {
    for layer in &image.layers {
        let key = at_hand(&layer.digest);
        let stat = session.stat_blob(&layer.digest)?;
        let object = match stat.filter(|stat| stat.form != BlobForm::Recipe) {
            Some(stat) => stat.object,
            None if !is_slow(session, layer)? => continue,
            None => {
                let (mut reader, _) = session.open_blob(&layer.digest)?;
                let put = session.put_blob_reader(&mut reader, &[]);
                let (_, object, _) = put.map_err(|error| match error {
                    StoreError::Input { source } => ImageError::blob(layer.digest, source),
                    other => other.into(),
                })?;
                object
            }
        };
        // A record that is there and whole is noted as used by looking at it.
        if session.get_record(&key, now)?.is_none_or(|found| found != object.0) {
            session.put_record(&key, &object.0, &[object], now)?;
        }
    }
    Ok(())
}

fn is_slow(session: &Session, layer: &LayerBlob) -> Result<bool, ImageError> {
    let recipe = recipe_of(session, &layer.digest)?;
    let fast = |encoder: &Encoder| {
        matches!(encoder, Encoder::Plain | Encoder::Libdeflate | Encoder::Zstd { level: ..=3, .. })
    };
    Ok(recipe.is_some_and(|(recipe, _)| !recipe.encoders().iter().all(fast)))
}

/// The recipe of a blob, if it has one, and the object that holds it.
fn recipe_of(session: &Session, digest: &Digest) -> Result<Option<(Recipe, ObjectId)>, ImageError> {
    let Some(object) = session.recipe_of(digest)? else { return Ok(None) };
    let recipe = Recipe::decode(&session.read(&object)?);
    let recipe = recipe.map_err(|error| ImageError::blob(*digest, io::Error::other(error)))?;
    Ok(Some((recipe, object)))
}

/// Which encoder made a layer's blob; `None` when no known one gives these bytes.
///
/// It is proved: the whole blob is made again from its own tar stream, and compared. Nothing is kept.
///
/// # Errors
/// What the store says, and [`ImageError::CorruptBlob`] and the like when the blob is damaged.
pub fn recognise(session: &Session, layer: &LayerBlob) -> Result<Option<Encoder>, ImageError> {
    if let Some((recipe, _)) = recipe_of(session, &layer.digest)? {
        return Ok(recipe.encoders().first().copied());
    }
    let failed = |error| ImageError::blob(layer.digest, error);
    let mut head = Vec::new();
    let (reader, _) = session.open_blob(&layer.digest)?;
    reader.take(HEAD as u64).read_to_end(&mut head).map_err(failed)?;
    let encoders = recipe::candidates(&head);
    if encoders.is_empty() {
        return Ok(None);
    }
    let framing = Framing::default();
    let (reader, _) = session.open_blob(&layer.digest)?;
    let mut plain = decode::open_framed(reader, DECODE, Some(framing.clone())).map_err(failed)?;
    io::copy(&mut plain, &mut io::sink()).map_err(failed)?;
    for encoder in encoders {
        let Some(parts) = framing.parts(encoder) else { continue };
        let (reader, _) = session.open_blob(&layer.digest)?;
        let plain = decode::open(reader, DECODE).map_err(failed)?;
        let (mut original, _) = session.open_blob(&layer.digest)?;
        let mut made = recipe::encoded(parts, plain);
        if same(&mut made, &mut original, &mut Hasher::new()).map_err(failed)? {
            return Ok(Some(encoder));
        }
    }
    Ok(None)
}

/// How a layer's blob can be given out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerForm {
    /// Whether the bytes of the blob are in the store.
    pub blob: bool,
    /// The encoders that make it again, by name; empty when there is no recipe.
    pub recipe: Vec<String>,
    /// Bytes that are kept for it besides the files: the blob, and the recipe with what it holds of the tar stream.
    pub bytes: u64,
}

/// Says how a layer's blob can be given out.
///
/// # Errors
/// What the store says.
pub fn layer_form(session: &Session, layer: &LayerBlob) -> Result<LayerForm, ImageError> {
    let stat = session.stat_blob(&layer.digest)?;
    let blob = stat.is_some_and(|stat| stat.form != BlobForm::Recipe);
    let mut form = LayerForm { blob, recipe: Vec::new(), bytes: if blob { layer.size } else { 0 } };
    if let Some((recipe, object)) = recipe_of(session, &layer.digest)? {
        form.recipe = recipe.encoders().iter().map(ToString::to_string).collect();
        let blocks = recipe.tar.scaffold.iter().map(|block| block.0);
        for object in blocks.chain([object]) {
            form.bytes += session.object_length(&object)?.unwrap_or(0);
        }
    }
    Ok(form)
}

#[cfg(test)]
mod tests;
mod usage;

pub use usage::{RecipeUsage, recipe_usage};
