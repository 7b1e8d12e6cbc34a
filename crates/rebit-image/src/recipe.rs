//! Layer blobs that are kept as recipes.

use std::io::{self, Read};

use rebit_layer::recipe::Recipe;
use rebit_oci::ObjectId;
use rebit_oci::digest::Hasher;
use rebit_oci::object::ObjectSink;
use rebit_store::Session;

use crate::ImageError;

/// Bytes compared at a time.
const PIECE: usize = 256 << 10;

/// Keeps a blob as a recipe, if following the recipe gives the blob.
///
/// What the recipe needs is made durable first, and the trial reads it back from the store. It is compared with the `original`, so that a wrong recipe is soon known to be one. `None`: it did not give the blob.
///
/// # Errors
/// What the store or the original says.
pub(crate) fn keep(
    session: &Session,
    recipe: Recipe,
    original: &mut dyn Read,
) -> Result<Option<ObjectId>, ImageError> {
    let Ok(bytes) = recipe.encode() else { return Ok(None) };
    let (digest, size) = (recipe.digest, recipe.size);
    let object = session.put(&bytes, &recipe.edges())?;
    session.commit()?;
    let mut hasher = Hasher::new();
    let same = same(&mut recipe.blob(session), original, &mut hasher);
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
