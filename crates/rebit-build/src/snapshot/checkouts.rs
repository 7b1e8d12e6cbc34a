//! The driver: differences of two trees, each a directory or an image in the store's loose tier.

use std::sync::OnceLock;
use std::time::SystemTime;

use rebit_layer::{Changeset, CheckoutOptions, Compare, Tree, TreePath, Whiteouts, checkout, diff};
use rebit_oci::{CacheKey, TreeId};
use rebit_sandbox::{Lower, Runner};
use rebit_store::{Checkout, Session};

use super::{
    Active, FILES, MAX_LOWERS, NEAR, RECENT, SMALL, Snapshotter, SnapshotterKind, View, cost, create_dir,
    files_of, image, upper,
};
use crate::error::StepProblem;
use crate::key;
use crate::record;
use crate::trees::Trees;

/// The driver that keeps a directory or an image for each layer.
pub(crate) struct Checkouts<'a> {
    /// Where contents are.
    session: &'a Session,
    /// Where directories are kept.
    directories: &'a Session,
    trees: &'a Trees<'a>,
    /// The identity of the tree that holds nothing.
    empty: TreeId,
    now: SystemTime,
    kind: SnapshotterKind,
    runner: &'a Runner,
    /// Whether images can be mounted, once somebody had to know.
    trial: OnceLock<Result<(), String>>,
}

/// A layer, held.
enum Layer {
    Directory(Checkout),
    Image(Lower, Checkout),
}

impl<'a> Checkouts<'a> {
    pub(crate) fn new(
        session: &'a Session,
        directories: &'a Session,
        trees: &'a Trees<'a>,
        empty: TreeId,
        now: SystemTime,
        kind: SnapshotterKind,
        runner: &'a Runner,
    ) -> Self {
        Self { session, directories, trees, empty, now, kind, runner, trial: OnceLock::new() }
    }

    /// Whether layers may be images.
    fn uses_images(&self) -> Result<bool, StepProblem> {
        let trial = || self.trial.get_or_init(|| image::trial(self.directories, self.runner)).as_ref();
        match (self.kind, trial) {
            (SnapshotterKind::Overlayfs, _) => Ok(false),
            (SnapshotterKind::Auto, trial) => Ok(trial().is_ok()),
            (SnapshotterKind::Erofs, trial) => match trial() {
                Ok(()) => Ok(true),
                Err(reason) => Err(StepProblem::NoImages { reason: reason.clone() }),
            },
        }
    }

    /// The layers that make `upper` out of `lower`, lowest first.
    fn layer(&self, lower: TreeId, upper: TreeId) -> Result<Vec<Layer>, StepProblem> {
        let one = |checkout| vec![Layer::Directory(checkout)];
        if let Some(checkout) = self.directories.checkout(&key::checkout(lower, upper))? {
            return Ok(one(checkout));
        }
        let tree = self.trees.load(&upper)?;
        let changes = diff(&*self.trees.load(&lower)?, &tree, Compare::Exact);
        if changes.len() < SMALL {
            return Ok(one(self.write(lower, upper, &tree, changes)?));
        }
        if self.uses_images()?
            && let Some((lower, held)) = self.image(lower, upper, &tree, &changes)?
        {
            return Ok(vec![Layer::Image(lower, held)]);
        }
        Ok(self.large(lower, upper, &tree, changes)?.into_iter().map(Layer::Directory).collect())
    }

    /// The trees whose differences to `lower` were written last.
    fn recent(&self, key: &CacheKey) -> Result<Vec<TreeId>, StepProblem> {
        let known = self.directories.get_record(key, self.now)?;
        Ok(known.and_then(|bytes| record::decode(&bytes)).unwrap_or_default())
    }

    fn remember(&self, key: &CacheKey, mut recent: Vec<TreeId>, upper: TreeId) -> Result<(), StepProblem> {
        recent.retain(|known| *known != upper);
        recent.insert(0, upper);
        recent.truncate(RECENT);
        Ok(self.directories.put_record(key, &record::encode(&recent), &[], self.now)?)
    }

    /// The image that makes `upper` out of `lower`, written where it is not there; `None` when there cannot be one.
    fn image(
        &self,
        lower: TreeId,
        upper: TreeId,
        tree: &Tree,
        changes: &Changeset,
    ) -> Result<Option<(Lower, Checkout)>, StepProblem> {
        let name = key::image(lower, upper);
        if let Some(checkout) = self.directories.checkout(&name)?
            && let Some(lower) = image::lower(&checkout)
        {
            return Ok(Some((lower, checkout)));
        }
        let changes = changes.clone().with_ancestors(tree);
        let key = key::images_of(lower).key();
        let recent = self.recent(&key)?;
        let mut near = None;
        for tree in recent.iter().filter(|near| **near != upper) {
            let Some(checkout) = self.directories.checkout(&key::image(lower, *tree))? else { continue };
            if let Some(index) = image::usable(&checkout, &changes) {
                near = Some((checkout, index));
                break;
            }
        }
        let near = near.as_ref().map(|(checkout, index)| (checkout, index.clone()));
        let Some(written) = image::write(&changes, tree, near, self.session, self.directories)? else {
            return Ok(None);
        };
        let checkout = self.directories.publish_checkout(&name, written)?;
        self.remember(&key, recent, upper)?;
        Ok(image::lower(&checkout).map(|lower| (lower, checkout)))
    }

    /// The directories of a layer of many entries: one, or the one of a tree that is nearly `upper` and what
    /// it lacks. A large directory of which one file changed is not written again.
    fn large(
        &self,
        lower: TreeId,
        upper: TreeId,
        tree: &Tree,
        changes: Changeset,
    ) -> Result<Vec<Checkout>, StepProblem> {
        let key = key::checkouts_of(lower).key();
        let recent = self.recent(&key)?;
        for near in recent.iter().filter(|near| **near != upper) {
            let Some(checkout) = self.directories.checkout(&key::checkout(lower, *near))? else { continue };
            // A tree that is gone from the store has left its checkout behind.
            let Ok(near_tree) = self.trees.load(near) else { continue };
            let lacking = diff(&near_tree, tree, Compare::Exact);
            if cost(&lacking) * NEAR <= cost(&changes) {
                return Ok(vec![checkout, self.write(*near, upper, tree, lacking)?]);
            }
        }
        let written = self.write(lower, upper, tree, changes)?;
        self.remember(&key, recent, upper)?;
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
        upper::set_root(&files, tree)?;
        Ok(self.directories.publish_checkout(&key, scratch)?)
    }
}

impl Snapshotter for Checkouts<'_> {
    fn view(&self, chain: &[TreeId]) -> Result<View, StepProblem> {
        let first = chain.len().saturating_sub(MAX_LOWERS);
        let mut lower = self.empty;
        let (mut lowers, mut held) = (Vec::new(), Vec::new());
        for tree in chain.iter().skip(first) {
            for layer in self.layer(lower, *tree)? {
                let (layer, checkout) = match layer {
                    Layer::Directory(checkout) => (Lower::from(files_of(&checkout)), checkout),
                    Layer::Image(layer, checkout) => (layer, checkout),
                };
                lowers.push(layer);
                held.push(checkout);
            }
            lower = *tree;
        }
        lowers.reverse();
        Ok(View { lowers, _held: held })
    }

    fn prepare(&self, tree: &Tree) -> Result<Active, StepProblem> {
        let active = Active { scratch: self.directories.scratch_dir("run")? };
        create_dir(&active.upper())?;
        create_dir(&active.work())?;
        upper::set_root(&active.upper(), tree)?;
        Ok(active)
    }

    fn commit(&self, active: Active, lower: TreeId, after: TreeId, tree: &Tree) -> Result<(), StepProblem> {
        upper::normalise(&active.upper(), &TreePath::root(), tree)?;
        self.directories.publish_checkout(&key::checkout(lower, after), active.into_left()?)?;
        Ok(())
    }
}
