//! Root file systems for steps that run a process.
//!
//! A step's root is an overlay: one directory for each layer below it, and an empty one on top that receives what the step
//! changes. The [`Snapshotter`] says where the lower directories are. There is one driver, [`Checkouts`]: each difference of
//! two trees is written once into a directory of the store's loose tier, and stays there until it is evicted.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rebit_layer::{
    Change, Changeset, CheckoutOptions, Compare, Node, Tree, TreePath, Whiteouts, checkout, diff, xattr,
};
use rebit_oci::TreeId;
use rebit_store::{Checkout, ScratchDir, Session};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::error::StepProblem;
use crate::key;
use crate::record;
use crate::trees::Trees;

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

/// Lower directories, topmost first; they stay as long as this value lives.
pub(crate) struct View {
    pub(crate) lowers: Vec<PathBuf>,
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
    /// The directories that make up the last tree of `chain`; each tree of the chain is a layer on the one before it.
    fn view(&self, chain: &[TreeId]) -> Result<View, StepProblem>;

    /// An empty upper directory over `tree`.
    fn prepare(&self, tree: &Tree) -> Result<Active, StepProblem>;

    /// Turns what a step changed into the layer from `lower` to `upper`, so that nothing has to be written again.
    fn commit(&self, active: Active, lower: TreeId, upper: TreeId, tree: &Tree) -> Result<(), StepProblem>;
}

/// The driver that keeps a directory for each layer.
pub(crate) struct Checkouts<'a> {
    /// Where contents are.
    session: &'a Session,
    /// Where directories are kept.
    directories: &'a Session,
    trees: &'a Trees<'a>,
    /// The identity of the tree that holds nothing.
    empty: TreeId,
    now: SystemTime,
}

impl<'a> Checkouts<'a> {
    pub(crate) fn new(
        session: &'a Session,
        directories: &'a Session,
        trees: &'a Trees<'a>,
        empty: TreeId,
        now: SystemTime,
    ) -> Self {
        Self { session, directories, trees, empty, now }
    }

    /// The directories that make `upper` out of `lower`, lowest first: one, or the one of a tree that is nearly `upper` and what
    /// it lacks. A large directory of which one file changed is not written again.
    fn layer(&self, lower: TreeId, upper: TreeId) -> Result<Vec<Checkout>, StepProblem> {
        if let Some(checkout) = self.directories.checkout(&key::checkout(lower, upper))? {
            return Ok(vec![checkout]);
        }
        let tree = self.trees.load(&upper)?;
        let changes = diff(&*self.trees.load(&lower)?, &tree, Compare::Exact);
        if changes.len() < SMALL {
            return Ok(vec![self.write(lower, upper, &tree, changes)?]);
        }
        let key = key::checkouts_of(lower).key();
        let known = self.directories.get_record(&key, self.now)?;
        let mut recent: Vec<TreeId> = known.and_then(|bytes| record::decode(&bytes)).unwrap_or_default();
        for near in recent.iter().filter(|near| **near != upper) {
            let Some(checkout) = self.directories.checkout(&key::checkout(lower, *near))? else { continue };
            // A tree that is gone from the store has left its checkout behind.
            let Ok(near_tree) = self.trees.load(near) else { continue };
            let lacking = diff(&near_tree, &tree, Compare::Exact);
            if cost(&lacking) * NEAR <= cost(&changes) {
                return Ok(vec![checkout, self.write(*near, upper, &tree, lacking)?]);
            }
        }
        let written = self.write(lower, upper, &tree, changes)?;
        recent.retain(|known| *known != upper);
        recent.insert(0, upper);
        recent.truncate(RECENT);
        self.directories.put_record(&key, &record::encode(&recent), &[], self.now)?;
        Ok(vec![written])
    }

    /// Writes what makes `upper` out of `lower` into a directory, unless another build was faster.
    fn write(
        &self,
        lower: TreeId,
        upper: TreeId,
        tree: &Tree,
        changes: Changeset,
    ) -> Result<Checkout, StepProblem> {
        let key = key::checkout(lower, upper);
        if let Some(checkout) = self.directories.checkout(&key)? {
            return Ok(checkout);
        }
        let scratch = self.directories.scratch_dir("checkout")?;
        let files = scratch.path().join(FILES);
        create_dir(&files)?;
        let changes = changes.with_ancestors(tree);
        let options = CheckoutOptions {
            whiteouts: Whiteouts::Overlay,
            allow_missing_devices: true,
            allow_other_owner: false,
        };
        self.directories.check_space(changes.size())?;
        checkout(&changes, &files, self.session, &options)?;
        // The top layer's own directory is the root that a process sees.
        set_root(&files, tree)?;
        Ok(self.directories.publish_checkout(&key, scratch)?)
    }
}

impl Snapshotter for Checkouts<'_> {
    fn view(&self, chain: &[TreeId]) -> Result<View, StepProblem> {
        let first = chain.len().saturating_sub(MAX_LOWERS);
        let mut lower = self.empty;
        let mut held = Vec::new();
        for tree in chain.iter().skip(first) {
            held.extend(self.layer(lower, *tree)?);
            lower = *tree;
        }
        let lowers = held.iter().rev().map(files_of).collect();
        Ok(View { lowers, _held: held })
    }

    fn prepare(&self, tree: &Tree) -> Result<Active, StepProblem> {
        let active = Active { scratch: self.directories.scratch_dir("run")? };
        create_dir(&active.upper())?;
        create_dir(&active.work())?;
        set_root(&active.upper(), tree)?;
        Ok(active)
    }

    fn commit(&self, active: Active, lower: TreeId, upper: TreeId, tree: &Tree) -> Result<(), StepProblem> {
        normalise(&active.upper(), &TreePath::root(), tree)?;
        self.directories.publish_checkout(&key::checkout(lower, upper), active.into_left()?)?;
        Ok(())
    }
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

/// Gives a directory the metadata of a tree's root.
fn set_root(directory: &Path, tree: &Tree) -> Result<(), StepProblem> {
    let root = tree.root();
    std::os::unix::fs::chown(directory, Some(root.uid), Some(root.gid))
        .and_then(|()| fs::set_permissions(directory, fs::Permissions::from_mode(root.mode)))
        .map_err(|source| failed(directory, source))?;
    set_mtime(directory, root.mtime)
}

/// Brings an upper directory into the state that writing the layer anew would give: the times and attributes of `tree`, and
/// nothing that it does not have. The process that wrote it has ended, and no symbolic link is followed.
fn normalise(directory: &Path, at: &TreePath, tree: &Tree) -> Result<(), StepProblem> {
    let entries = fs::read_dir(directory).map_err(|source| failed(directory, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| failed(directory, source))?;
        let path = entry.path();
        let metadata = fs::symlink_metadata(&path).map_err(|source| failed(&path, source))?;
        if metadata.file_type().is_char_device() && metadata.rdev() == 0 {
            continue;
        }
        let name = std::os::unix::ffi::OsStringExt::into_vec(entry.file_name());
        let below = at.join(&name).map_err(|source| StepProblem::Path { source })?;
        match tree.get(&below) {
            Some(node) => {
                if metadata.is_dir() {
                    normalise(&path, &below, tree)?;
                }
                normalise_node(&path, node)?;
            }
            None if metadata.is_dir() => fs::remove_dir_all(&path).map_err(|source| failed(&path, source))?,
            None => fs::remove_file(&path).map_err(|source| failed(&path, source))?,
        }
    }
    if at.is_root() {
        set_mtime(directory, tree.root().mtime)?;
    }
    Ok(())
}

fn normalise_node(path: &Path, node: &Node) -> Result<(), StepProblem> {
    let io = |source: rustix::io::Errno| failed(path, source.into());
    let mut names = vec![0_u8; 64 << 10];
    let length = match rustix::fs::llistxattr(path, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(io(errno)),
    };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let marks_overlay = name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.");
        if !marks_overlay && !xattr::is_allowed(name) {
            match rustix::fs::lremovexattr(path, name) {
                // Attributes of the host's security modules are not the step's to have or to lose.
                Ok(()) | Err(rustix::io::Errno::PERM | rustix::io::Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(io(errno)),
            }
        }
    }
    set_mtime(path, node.metadata.mtime)
}

fn set_mtime(path: &Path, mtime: i64) -> Result<(), StepProblem> {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    utimensat(
        CWD,
        path,
        &Timestamps { last_access: time, last_modification: time },
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .map_err(|errno| failed(path, errno.into()))
}
