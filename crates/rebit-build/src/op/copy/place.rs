//! Putting the sources of a copy into a tree.

use std::collections::{BTreeMap, BTreeSet};

use rebit_dockerfile::mode::ChmodMode;
use rebit_layer::{Conflict, Kind, Metadata, Node, Tree, TreePath};
use rebit_oci::object::Objects;

use super::archive::unpack;
use super::select::{Item, Selection};
use crate::error::StepProblem;
use crate::graph::CopyOp;
use crate::user;

/// What all copies of one step get.
struct Policy {
    owner: Option<(u32, u32)>,
    mode: Option<ChmodMode>,
    epoch: i64,
    parents: Metadata,
}

impl Policy {
    fn new(op: &CopyOp, lower: &Tree, objects: &dyn Objects, epoch: i64) -> Result<Self, StepProblem> {
        let owner = match &op.chown {
            Some(spec) => Some(user::owner(spec, lower, objects)?),
            None => None,
        };
        let mode = match &op.chmod {
            Some(text) => {
                Some(ChmodMode::parse(text).map_err(|_| StepProblem::BadMode { mode: text.clone() })?)
            }
            None => None,
        };
        let mut parents = Metadata::directory(epoch);
        (parents.uid, parents.gid) = owner.unwrap_or((0, 0));
        Ok(Self { owner, mode, epoch, parents })
    }

    fn apply(&self, node: &mut Node) {
        self.apply_owner(node);
        let directory = node.is_directory();
        if let Some(mode) = &self.mode {
            node.metadata.mode = mode.apply(node.metadata.mode, directory);
        }
    }

    /// What comes out of an archive keeps its modes.
    fn apply_owner(&self, node: &mut Node) {
        node.metadata.mtime = self.epoch;
        if let Some((uid, gid)) = self.owner {
            (node.metadata.uid, node.metadata.gid) = (uid, gid);
        }
    }
}

/// Copies a selection into `lower`.
pub(crate) fn place(
    op: &CopyOp,
    selection: &Selection,
    lower: &Tree,
    objects: &dyn Objects,
    epoch: i64,
) -> Result<Tree, StepProblem> {
    if !op.link {
        return place_into(op, selection, lower, objects, epoch);
    }
    // A linked copy is a layer that was made on nothing: what it holds is there in the end, whatever was there before. So no
    // symbolic link leads elsewhere, directories on the way are new, and what has another kind is replaced.
    let nothing = Tree::with_root(Metadata::directory(epoch));
    let upper = place_into(op, selection, &nothing, objects, epoch)?;
    let mut tree = lower.clone();
    let root = TreePath::root();
    tree.graft(&upper, &root, &root, &Metadata::directory(epoch), Conflict::Replace, |path, _| {
        !path.is_root()
    })
    .map_err(|source| StepProblem::Graft { source })?;
    Ok(tree)
}

fn place_into(
    op: &CopyOp,
    selection: &Selection,
    lower: &Tree,
    objects: &dyn Objects,
    epoch: i64,
) -> Result<Tree, StepProblem> {
    let policy = Policy::new(op, lower, objects, epoch)?;
    let mut tree = lower.clone();
    let count = selection.items.len();
    let directory = op.dest.ends_with('/') || op.parents;
    if count > 1 && !directory && !tree.is_directory(&resolve(&tree, op.dest.as_bytes())?) {
        return Err(StepProblem::ManySources { count, dest: op.dest.clone() });
    }
    for item in &selection.items {
        let Some(node) = item.tree.get(&item.path) else { continue };
        if node.is_directory() {
            let target = resolve(&tree, op.dest.as_bytes())?;
            make_directory(&mut tree, &target, &policy)?;
            graft(&mut tree, item, &target, &policy)?;
            continue;
        }
        if item.unpack.unwrap_or(op.unpack)
            && let Kind::File { object, .. } = &node.kind
            && let Some(archive) = unpack(object, objects, epoch)?
        {
            let target = resolve(&tree, op.dest.as_bytes())?;
            make_directory(&mut tree, &target, &policy)?;
            graft_archive(&mut tree, &archive, &target, &policy)?;
            continue;
        }
        let target = file_target(&tree, &op.dest, &item.name)?;
        graft(&mut tree, item, &target, &policy)?;
    }
    Ok(tree)
}

fn resolve(tree: &Tree, path: &[u8]) -> Result<TreePath, StepProblem> {
    tree.resolve(path, true).map_err(|source| StepProblem::Resolve { source })
}

/// Where a file goes: into the destination when that is a directory, else to its name.
fn file_target(tree: &Tree, dest: &str, name: &[u8]) -> Result<TreePath, StepProblem> {
    let target = resolve(tree, dest.as_bytes())?;
    if !dest.ends_with('/') && !tree.is_directory(&target) {
        return Ok(target);
    }
    let mut path = target.as_bytes().to_vec();
    path.push(b'/');
    path.extend_from_slice(name);
    resolve(tree, &path)
}

/// Makes the directory that things are put into, unless it is there.
fn make_directory(tree: &mut Tree, target: &TreePath, policy: &Policy) -> Result<(), StepProblem> {
    check_parents(tree, target)?;
    match tree.get(target) {
        Some(node) if node.is_directory() => Ok(()),
        Some(_) => Err(StepProblem::NotDirectory { path: target.to_string() }),
        None => tree
            .insert(target.clone(), Node::directory(policy.parents.clone()), &policy.parents)
            .map_err(|source| StepProblem::Insert { source }),
    }
}

fn check_parents(tree: &Tree, target: &TreePath) -> Result<(), StepProblem> {
    let blocks = |parent: &TreePath| tree.get(parent).is_some_and(|node| !node.is_directory());
    match target.ancestors().find(blocks) {
        Some(blocked) => Err(StepProblem::NotDirectory { path: blocked.to_string() }),
        None => Ok(()),
    }
}

fn graft(tree: &mut Tree, item: &Item, target: &TreePath, policy: &Policy) -> Result<(), StepProblem> {
    check_parents(tree, target)?;
    let keeps_target = tree.is_directory(target);
    let there = passages_there(tree, &item.passages, target)?;
    tree.graft(&item.tree, &item.path, target, &policy.parents, Conflict::Refuse, |path, node| {
        match there.get(path) {
            Some(before) => {
                let mode = node.metadata.mode;
                node.metadata = Metadata { mode, ..before.clone() };
            }
            None => policy.apply(node),
        }
        !(keeps_target && path == target && node.is_directory())
    })
    .map_err(|source| StepProblem::Graft { source })
}

/// The directories on the way to what is copied that the destination has: they get the mode of the source, and nothing else.
fn passages_there(
    tree: &Tree,
    passages: &BTreeSet<TreePath>,
    target: &TreePath,
) -> Result<BTreeMap<TreePath, Metadata>, StepProblem> {
    let mut there = BTreeMap::new();
    for passage in passages {
        let path = target.append(passage).map_err(|source| StepProblem::Path { source })?;
        if let Some(node) = tree.get(&path).filter(|node| node.is_directory()) {
            there.insert(path, node.metadata.clone());
        }
    }
    Ok(there)
}

/// Unpacking replaces what is in the way, and leaves the directory that is unpacked into as it is.
fn graft_archive(
    tree: &mut Tree,
    archive: &Tree,
    target: &TreePath,
    policy: &Policy,
) -> Result<(), StepProblem> {
    let root = TreePath::root();
    tree.graft(archive, &root, target, &policy.parents, Conflict::Replace, |path, node| {
        policy.apply_owner(node);
        path != target
    })
    .map_err(|source| StepProblem::Graft { source })
}
