//! Hard-link groups: which paths are names of one file.

use std::collections::BTreeMap;

use super::Tree;
use crate::{Node, TreePath};

impl Tree {
    /// A hard-link group number that no node of this tree has; a new one at each call.
    pub fn fresh_link(&mut self) -> u32 {
        let link = self.next_link;
        self.next_link = self.next_link.saturating_add(1);
        link
    }

    /// The hard-link groups with at least two members: members in bytewise order, groups in the order of
    /// their first member.
    ///
    /// A member that differs from the first one in content, owner, mode or attributes cannot be the same
    /// file and is not listed.
    #[must_use]
    pub fn link_groups(&self) -> Vec<Vec<TreePath>> {
        let mut groups: BTreeMap<u32, (&Node, Vec<&TreePath>)> = BTreeMap::new();
        for (path, node) in self.iter().filter(|(_, node)| node.link() != 0) {
            let (first, paths) = groups.entry(node.link()).or_insert_with(|| (node, Vec::new()));
            if first.kind == node.kind && first.metadata.same_but_mtime(&node.metadata) {
                paths.push(path);
            }
        }
        let mut groups: Vec<Vec<TreePath>> = groups
            .into_values()
            .filter(|(_, paths)| paths.len() > 1)
            .map(|(_, paths)| paths.into_iter().cloned().collect())
            .collect();
        groups.sort();
        groups
    }

    /// Renumbers the groups 1, 2, … in the order of their first member; files with one name get 0.
    pub fn renumber_links(&mut self) {
        let groups = self.link_groups();
        self.nodes.values_mut().for_each(|node| node.set_link(0));
        self.next_link = 1;
        for paths in groups {
            let link = self.fresh_link();
            self.set_group(&paths, link);
        }
    }

    /// Gives every path of `paths` that is a file the group `link`.
    pub(crate) fn set_group(&mut self, paths: &[TreePath], link: u32) {
        for path in paths {
            if let Some(node) = self.nodes.get_mut(path) {
                node.set_link(link);
            }
        }
        self.next_link = self.next_link.max(link.saturating_add(1));
    }
}
