//! Root file systems for steps that run a process.
//!
//! A step's root is an overlay: one layer for each tree below it, and an empty directory on top that receives what the step
//! changes. The [`Snapshotter`] says where the lower layers are. The driver is [`Checkouts`]: each difference of
//! two trees is written once into the store's loose tier, and stays there until it is evicted. A large one becomes an EROFS image where
//! the host mounts those ([`image`]), else a directory; what a step left is a directory already.

mod checkouts;
mod data;
mod image;
mod upper;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rebit_layer::{Change, Changeset, Tree};
use rebit_oci::TreeId;
use rebit_sandbox::Lower;
use rebit_store::{Checkout, ScratchDir};

pub(crate) use checkouts::Checkouts;

use crate::error::StepProblem;

/// Fewer changes than this are written without looking for what is there already.
const SMALL: usize = 64;
/// How many times cheaper it has to be to complete a directory that is there.
const NEAR: u64 = 4;
/// How many directories of one lower tree are thought of.
const RECENT: usize = 3;
/// Longer chains are begun with one directory for everything below.
const MAX_LOWERS: usize = 100;
/// The directory within a checkout that holds the files.
const FILES: &str = "fs";
/// The directory within a scratch directory that overlayfs works in.
const WORK: &str = "work";

/// How the layers below a step are kept for mounting. It shows in no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SnapshotterKind {
    /// Images where the host mounts them, else directories.
    #[default]
    Auto,
    /// Directories: works everywhere, rootless too.
    Overlayfs,
    /// EROFS images for layers that have more than a few entries; it is an error where the host does not mount them.
    Erofs,
}

impl FromStr for SnapshotterKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Self::Auto),
            "overlayfs" => Ok(Self::Overlayfs),
            "erofs" => Ok(Self::Erofs),
            _ => Err(()),
        }
    }
}

/// Lower layers, topmost first; they stay as long as this value lives.
pub(crate) struct View {
    pub(crate) lowers: Vec<Lower>,
    _held: Vec<Checkout>,
}

/// What a step may change: an upper directory and overlayfs's own.
pub(crate) struct Active {
    scratch: ScratchDir,
}

impl Active {
    pub(crate) fn upper(&self) -> PathBuf {
        self.scratch.path().join(FILES)
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.scratch.path().join(WORK)
    }
}

impl Active {
    /// What the step left, without what overlayfs needed for it.
    pub(crate) fn into_left(self) -> Result<ScratchDir, StepProblem> {
        let work = self.work();
        fs::remove_dir_all(&work).map_err(|source| failed(&work, source))?;
        Ok(self.scratch)
    }
}

/// The directory within a checkout that is a layer.
pub(crate) fn files_of(checkout: &Checkout) -> PathBuf {
    checkout.path().join(FILES)
}

/// Makes root file systems out of trees.
pub(crate) trait Snapshotter {
    /// The layers that make up the last tree of `chain`; each tree of the chain is a layer on the one before it.
    fn view(&self, chain: &[TreeId]) -> Result<View, StepProblem>;

    /// An empty upper directory over `tree`.
    fn prepare(&self, tree: &Tree) -> Result<Active, StepProblem>;

    /// Turns what a step changed into the layer from `lower` to `upper`, so that nothing has to be written again.
    fn commit(&self, active: Active, lower: TreeId, upper: TreeId, tree: &Tree) -> Result<(), StepProblem>;
}

/// What it takes to write a changeset: its bytes, and as many more for each entry as are written in the time that it takes.
fn cost(changes: &Changeset) -> u64 {
    const ENTRY: u64 = 16 << 10;
    let one = |change: &Change| match change {
        Change::Upsert(node) => node.size().saturating_add(ENTRY),
        Change::Remove => ENTRY,
    };
    changes.iter().map(|(_, change)| one(change)).fold(0, u64::saturating_add)
}

fn failed(path: &Path, source: io::Error) -> StepProblem {
    StepProblem::Io { path: path.display().to_string(), source }
}

fn create_dir(path: &Path) -> Result<(), StepProblem> {
    fs::create_dir(path).map_err(|source| failed(path, source))
}
