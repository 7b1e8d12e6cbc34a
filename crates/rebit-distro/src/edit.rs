//! Changing a tree file by file, as a process whose root it is would.

use rebit_layer::{Kind, Metadata, Node, Tree, TreePath};
use rebit_oci::object::{ObjectSink as _, ObjectSource as _};
use rebit_store::Session;

use crate::DistroError;
use crate::error::InTree as _;

/// Largest file that is read to be changed.
const MAX_FILE: u64 = 64 << 20;

/// A tree that is being changed.
pub(crate) struct Editor<'a> {
    pub(crate) tree: Tree,
    pub(crate) session: &'a Session,
    pub(crate) epoch: i64,
    /// Whose changes these are, for messages.
    pub(crate) of: &'a str,
}

impl Editor<'_> {
    /// Where a path leads, symbolic links followed inside the tree.
    pub(crate) fn resolve(&self, path: &str) -> Result<TreePath, DistroError> {
        self.tree.resolve(path, true).at(path, self.of)
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.tree.resolve(path, false).is_ok_and(|path| self.tree.contains(&path))
    }

    /// The content of a file; `None` when there is none.
    pub(crate) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, DistroError> {
        let path = self.resolve(path)?;
        match self.tree.get(&path).map(|node| &node.kind) {
            Some(Kind::File { object, size, .. }) if *size <= MAX_FILE => {
                Ok(Some(self.session.read(object)?.to_vec()))
            }
            _ => Ok(None),
        }
    }

    /// The text of a file, or nothing.
    pub(crate) fn text(&self, path: &str) -> Result<String, DistroError> {
        Ok(String::from_utf8_lossy(&self.read(path)?.unwrap_or_default()).into_owned())
    }

    /// Writes a file. One that is there keeps its owner and mode.
    pub(crate) fn write(&mut self, path: &str, content: &[u8]) -> Result<(), DistroError> {
        let resolved = self.resolve(path)?;
        let known = self.tree.get(&resolved).filter(|node| matches!(node.kind, Kind::File { .. }));
        let metadata = known.map_or_else(|| Metadata::new(0o644, self.epoch), |node| node.metadata.clone());
        self.put_file(path, content, metadata)
    }

    pub(crate) fn put_file(
        &mut self,
        path: &str,
        content: &[u8],
        metadata: Metadata,
    ) -> Result<(), DistroError> {
        let resolved = self.resolve(path)?;
        let object = self.session.put(content, &[])?;
        self.insert(resolved, Node::file(metadata, object, content.len() as u64))
    }

    /// Makes a symbolic link, in place of what is there.
    pub(crate) fn link(&mut self, path: &str, target: &str) -> Result<(), DistroError> {
        let resolved = self.tree.resolve(path, false).at(path, self.of)?;
        self.insert(resolved, Node::symlink(Metadata::new(0o777, self.epoch), target.as_bytes()))
    }

    /// Makes a directory, or changes the metadata of one.
    pub(crate) fn directory(&mut self, path: &str, metadata: Metadata) -> Result<(), DistroError> {
        let resolved = self.resolve(path)?;
        self.insert(resolved, Node::directory(metadata))
    }

    fn insert(&mut self, path: TreePath, node: Node) -> Result<(), DistroError> {
        let parents = Metadata::directory(self.epoch);
        self.tree.insert(path.clone(), node, &parents).at(path, self.of)
    }

    /// Removes what is at a path; symbolic links on the way are followed, one at the end is removed.
    pub(crate) fn remove(&mut self, path: &str) -> Result<bool, DistroError> {
        let path = self.tree.resolve(path, false).at(path, self.of)?;
        Ok(self.tree.remove(&path) > 0)
    }

    /// Removes what is in a directory, except the names that are kept; returns how much it was.
    pub(crate) fn empty(&mut self, path: &str, keep: impl Fn(&[u8]) -> bool) -> Result<usize, DistroError> {
        let directory = self.resolve(path)?;
        let children: Vec<TreePath> = self.tree.children(&directory).map(|(path, _)| path.clone()).collect();
        let mut count = 0;
        for child in children.iter().filter(|child| !keep(child.file_name().unwrap_or_default())) {
            count += self.tree.remove(child);
        }
        Ok(count)
    }

    /// The names in a directory, sorted.
    pub(crate) fn names(&self, path: &str) -> Result<Vec<String>, DistroError> {
        let directory = self.resolve(path)?;
        let names = self
            .tree
            .children(&directory)
            .filter_map(|(path, _)| Some(String::from_utf8_lossy(path.file_name()?).into_owned()));
        Ok(names.collect())
    }
}
