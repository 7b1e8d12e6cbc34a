//! Layers that are EROFS images.
//!
//! An image checkout is a directory of three kinds of files: the image of names and metadata, data files that hold contents end to end,
//! and the list of which content is where. The image of a tree that is nearly another's links to that one's data files and writes what they lack, so
//! a large context of which one file changed costs its metadata and that file. Nothing is created for each entry, so writing
//! and evicting a layer is quick whatever the file system below is like, and directories are listed in order of name.

use std::fs;
use std::path::{Path, PathBuf};

use rebit_layer::erofs::{self, MAX_DATA_FILES};
use rebit_layer::{Change, Changeset, Kind, Metadata, Tree};
use rebit_oci::ObjectId;
use rebit_sandbox::{Lower, Runner};
use rebit_store::{Checkout, ScratchDir, Session};

use super::data::{self, DataIndex};
use super::failed;
use crate::error::StepProblem;

const IMAGE: &str = "layer.erofs";
const INDEX: &str = "objects";
/// How much of the contents a near image must have, as a part of what is needed.
const NEAR: u64 = 4;

fn data_file(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("{number}.data"))
}

/// The layer that a checkout is.
pub(super) fn lower(checkout: &Checkout) -> Option<Lower> {
    let index = read_index(checkout)?;
    let data = (0..index.files.len()).map(|number| data_file(checkout.path(), number)).collect();
    Some(Lower::Image { path: checkout.path().join(IMAGE), data })
}

fn read_index(checkout: &Checkout) -> Option<DataIndex> {
    DataIndex::decode(&fs::read(checkout.path().join(INDEX)).ok()?)
}

/// Whether the host mounts images that lie in the store; the reason when not.
pub(super) fn trial(directories: &Session, runner: &Runner) -> Result<(), String> {
    let scratch = directories.scratch_dir("image-trial").map_err(|error| error.to_string())?;
    let image = erofs::image(&Changeset::new(), &Metadata::default(), &[], |_| None);
    let image = image.map_err(|error| error.to_string())?;
    rebit_sandbox::try_image(runner, scratch.path(), &image)
}

fn contents(changes: &Changeset) -> impl Iterator<Item = (ObjectId, u64)> + '_ {
    changes.iter().filter_map(|(_, change)| match change {
        Change::Upsert(node) => match &node.kind {
            Kind::File { object, size, .. } => Some((*object, *size)),
            _ => None,
        },
        Change::Remove => None,
    })
}

/// The contents of a near image, when using them is worth it for `changes`: few are lacking, and not too many are of no use.
pub(super) fn usable(near: &Checkout, changes: &Changeset) -> Option<DataIndex> {
    let index = read_index(near)?;
    let lacking = contents(changes).filter(|(object, _)| !index.places.contains_key(object));
    let lacking: u64 = lacking.map(|(_, size)| size).sum();
    let useful = lacking.saturating_mul(NEAR) <= changes.size()
        && index.bytes() <= changes.size().saturating_mul(2)
        && index.files.len() < MAX_DATA_FILES;
    useful.then_some(index)
}

/// Writes the image of `changes` into a scratch directory; `None` when it cannot be one, as a directory can.
pub(super) fn write(
    changes: &Changeset,
    tree: &Tree,
    near: Option<(&Checkout, DataIndex)>,
    session: &Session,
    directories: &Session,
) -> Result<Option<ScratchDir>, StepProblem> {
    let scratch = directories.scratch_dir("image")?;
    let (from, mut index) = near.map_or((None, DataIndex::default()), |(near, index)| (Some(near), index));
    for number in 0..index.files.len() {
        let (Some(from), to) = (from, data_file(scratch.path(), number)) else { continue };
        fs::hard_link(data_file(from.path(), number), &to).map_err(|source| failed(&to, source))?;
    }
    let new = data_file(scratch.path(), index.files.len());
    let Some(added) = index.add(contents(changes)) else { return Ok(None) };
    directories.check_space(added.iter().map(|content| content.size).sum())?;
    let Ok(image) =
        erofs::image(changes, tree.root(), &index.files, |object| index.places.get(object).copied())
    else {
        return Ok(None);
    };
    if !added.is_empty() {
        data::write(&new, &added, session)?;
    }
    for (name, bytes) in [(IMAGE, image), (INDEX, index.encode())] {
        let path = scratch.path().join(name);
        fs::write(&path, bytes).map_err(|source| failed(&path, source))?;
    }
    Ok(Some(scratch))
}
