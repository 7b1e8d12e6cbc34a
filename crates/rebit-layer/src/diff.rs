//! The changeset between two trees.

use std::collections::{BTreeMap, BTreeSet};

use crate::changeset::{Change, Changeset};
use crate::{Metadata, Node, Tree, TreePath};

/// Whether modification times count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Two nodes that differ only in mtime are the same: what a layer does, as it sets every mtime.
    IgnoreMtime,
    /// Every field counts.
    Exact,
}

impl Compare {
    /// Whether the metadata of two nodes is the same.
    #[must_use]
    pub fn metadata(self, a: &Metadata, b: &Metadata) -> bool {
        a.same_but_mtime(b) && (self == Self::IgnoreMtime || a.mtime == b.mtime)
    }
}

/// Computes what makes `lower` into `upper`.
///
/// A name that is gone is removed, once, at the topmost path that went. A directory that became something
/// else (or back) is one entry; what was below it needs no removal. A file whose hard links changed is
/// emitted with all the names it has in `upper` (`docs/format/layer.md`, L-10 to L-13). Ancestors are not
/// added: [`Changeset::with_ancestors`] does that.
#[must_use]
pub fn diff(lower: &Tree, upper: &Tree, compare: Compare) -> Changeset {
    let mut changes = Changeset::new();
    for (path, _) in lower.iter() {
        if !upper.contains(path) && upper.is_directory_at(path.parent_bytes()) {
            changes.insert(path.clone(), Change::Remove);
        }
    }
    let same = |path: &TreePath, node: &Node| {
        lower.get(path).is_some_and(|old| {
            old.kind.same_but_link(&node.kind) && compare.metadata(&old.metadata, &node.metadata)
        })
    };
    let groups = Groups::of(upper);
    let relinked = relinked(lower, &groups, upper, &same);
    for (path, node) in upper.iter() {
        let group = groups.of_path.get(path).copied();
        let changed = match group {
            Some(number) => relinked.groups.contains(&number),
            None => relinked.singles.contains(path) || !same(path, node),
        };
        if changed {
            let mut node = node.clone();
            // Groups are listed by first member, so their place is a canonical number.
            node.set_link(group.map_or(0, |number| u32::try_from(number + 1).unwrap_or(u32::MAX)));
            changes.insert(path.clone(), Change::Upsert(node));
        }
    }
    changes
}

/// The hard-link groups of a tree, by number and by path.
struct Groups {
    members: Vec<Vec<TreePath>>,
    of_path: BTreeMap<TreePath, usize>,
}

impl Groups {
    fn of(tree: &Tree) -> Self {
        let members = tree.link_groups();
        let paths = members.iter().enumerate();
        let of_path =
            paths.flat_map(|(number, group)| group.iter().map(move |path| (path.clone(), number))).collect();
        Self { members, of_path }
    }
}

#[derive(Default)]
struct Relinked {
    groups: BTreeSet<usize>,
    singles: BTreeSet<TreePath>,
}

/// Finds the groups of `upper` that cannot be left as `lower` has them, and the single files that `lower`
/// still links to another file that stays.
fn relinked(
    lower: &Tree,
    groups: &Groups,
    upper: &Tree,
    same: &dyn Fn(&TreePath, &Node) -> bool,
) -> Relinked {
    let old = Groups::of(lower);
    let mut relinked = Relinked::default();
    // One file of the lower tree can stay one file of the upper tree: the one with the first name.
    let mut claimed: BTreeSet<usize> = BTreeSet::new();
    let candidates: BTreeSet<&TreePath> = old
        .of_path
        .keys()
        .filter(|path| upper.contains(path))
        .chain(groups.members.iter().filter_map(|members| members.first()))
        .collect();
    for path in candidates {
        match groups.of_path.get(path) {
            Some(number) => {
                let members = groups.members.get(*number).map(Vec::as_slice).unwrap_or_default();
                if members.first() != Some(path) {
                    continue;
                }
                let source = old.of_path.get(path).copied();
                let stays = source.is_some()
                    && members.iter().all(|member| {
                        old.of_path.get(member).copied() == source
                            && upper.get(member).is_some_and(|node| same(member, node))
                    });
                if !source.is_some_and(|source| stays && claimed.insert(source)) {
                    relinked.groups.insert(*number);
                }
            }
            None => {
                let unchanged = upper.get(path).is_some_and(|node| same(path, node));
                let source = old.of_path.get(path);
                if unchanged && source.is_some_and(|source| !claimed.insert(*source)) {
                    relinked.singles.insert(path.clone());
                }
            }
        }
    }
    relinked
}

#[cfg(test)]
mod tests;
