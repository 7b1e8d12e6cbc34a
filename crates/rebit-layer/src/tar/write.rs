//! The canonical tar stream of a changeset (`docs/format/layer.md`).

use std::collections::BTreeMap;

use rebit_oci::ObjectId;

use super::header::Header;
use crate::report::Report;
use crate::{Change, Changeset, Kind, Node, TreePath, xattr};

/// What a name starts with that removes the rest of it.
pub(crate) const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// Two blocks of zeros.
pub const TRAILER: [u8; 1024] = [0; 1024];

/// Why an entry cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A tar stream cannot say this.
    #[error("`{path}` cannot be in a layer: {reason}")]
    Unsupported {
        /// The entry.
        path: TreePath,
        /// Why not.
        reason: String,
    },
}

/// One entry of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarEntry {
    /// The path as emitted, without a trailing `/`: a removal has its `.wh.` name.
    pub path: Vec<u8>,
    /// Everything before the content: the pax header if there is one, and the header.
    pub header: Vec<u8>,
    /// The content, not empty, which zero bytes follow up to a multiple of 512.
    pub body: Option<(ObjectId, u64)>,
}

impl TarEntry {
    /// How many bytes the entry takes in the stream.
    #[must_use]
    pub fn length(&self) -> u64 {
        let body = self.body.map_or(0, |(_, size)| size.saturating_add(super::header::padding(size) as u64));
        body.saturating_add(self.header.len() as u64)
    }
}

/// The entries of a changeset in the order of the stream, made one at a time.
#[derive(Debug)]
pub struct Entries<'a> {
    sorted: std::vec::IntoIter<(Vec<u8>, &'a TreePath, &'a Change)>,
    first_of_group: BTreeMap<u32, &'a TreePath>,
    epoch: Option<i64>,
    report: Report,
}

/// Lists the entries of `changeset`, each with mtime `epoch`, or with its own when there is none.
#[must_use]
pub fn entries(changeset: &Changeset, epoch: impl Into<Option<i64>>) -> Entries<'_> {
    let mut first_of_group = BTreeMap::new();
    let mut sorted: Vec<(Vec<u8>, &TreePath, &Change)> = Vec::with_capacity(changeset.len());
    for (path, change) in changeset.iter() {
        match change {
            Change::Upsert(node) => {
                if node.link() != 0 {
                    first_of_group.entry(node.link()).or_insert(path);
                }
                sorted.push((path.as_bytes().to_vec(), path, change));
            }
            Change::Remove => sorted.push((whiteout(path), path, change)),
        }
    }
    // Whiteouts have another name than the path they remove, so the order is not quite the changeset's.
    sorted.sort_unstable_by(|(a, ..), (b, ..)| a.cmp(b));
    Entries { sorted: sorted.into_iter(), first_of_group, epoch: epoch.into(), report: Report::new() }
}

/// The path of the entry that removes `path`.
fn whiteout(path: &TreePath) -> Vec<u8> {
    let mut emitted = path.parent_bytes().to_vec();
    if !emitted.is_empty() {
        emitted.push(b'/');
    }
    emitted.extend_from_slice(WHITEOUT_PREFIX);
    emitted.extend_from_slice(path.file_name().unwrap_or_default());
    emitted
}

impl Iterator for Entries<'_> {
    type Item = Result<TarEntry, WriteError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (emitted, path, change) = self.sorted.next()?;
        Some(match change {
            Change::Upsert(node) => self.upsert(emitted, path, node),
            Change::Remove => self.remove(emitted, path),
        })
    }
}

impl Entries<'_> {
    /// What the entries handed out so far do not carry.
    #[must_use]
    pub fn into_report(self) -> Report {
        self.report
    }

    fn remove(&self, emitted: Vec<u8>, path: &TreePath) -> Result<TarEntry, WriteError> {
        let refuse = |reason: &str| WriteError::Unsupported { path: path.clone(), reason: reason.into() };
        if path.is_root() {
            return Err(refuse("the root cannot be removed"));
        }
        if path.file_name().is_some_and(|name| name.starts_with(WHITEOUT_PREFIX)) {
            return Err(refuse("a name that starts with `.wh.` means a removal"));
        }
        let header = Header {
            path: &emitted,
            type_flag: b'0',
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: self.epoch.unwrap_or(0),
            link: &[],
            device: (0, 0),
            xattrs: &BTreeMap::new(),
        };
        let header =
            header.encode().map_err(|reason| WriteError::Unsupported { path: path.clone(), reason })?;
        Ok(TarEntry { path: emitted, header, body: None })
    }

    fn upsert(&mut self, emitted: Vec<u8>, path: &TreePath, node: &Node) -> Result<TarEntry, WriteError> {
        let refuse = |reason: String| WriteError::Unsupported { path: path.clone(), reason };
        if path.file_name().is_some_and(|name| name.starts_with(WHITEOUT_PREFIX)) {
            return Err(refuse("a name that starts with `.wh.` means a removal".into()));
        }
        let mut name = emitted.clone();
        if node.is_directory() {
            name.extend_from_slice(if path.is_root() { b"./" } else { b"/" });
        }
        let mut xattrs = node.metadata.xattrs.clone();
        xattr::keep_allowed(&mut xattrs, path, &mut self.report);
        let first = self.first_of_group.get(&node.link()).filter(|first| **first != path);
        let mut header = Header {
            path: &name,
            type_flag: b'0',
            mode: node.metadata.mode,
            uid: node.metadata.uid,
            gid: node.metadata.gid,
            size: 0,
            mtime: self.epoch.unwrap_or(node.metadata.mtime),
            link: &[],
            device: (0, 0),
            xattrs: &xattrs,
        };
        let none = BTreeMap::new();
        let mut body = None;
        match &node.kind {
            Kind::Directory => header.type_flag = b'5',
            Kind::File { .. } if first.is_some() => {
                header.type_flag = b'1';
                header.link = first.map(|first| first.as_bytes()).unwrap_or_default();
                header.xattrs = &none;
            }
            Kind::File { object, size, .. } => {
                header.size = *size;
                body = (*size > 0).then_some((*object, *size));
            }
            Kind::Symlink { target } => {
                header.type_flag = b'2';
                header.link = target;
            }
            Kind::CharDevice { major, minor } => {
                header.type_flag = b'3';
                header.device = (*major, *minor);
            }
            Kind::BlockDevice { major, minor } => {
                header.type_flag = b'4';
                header.device = (*major, *minor);
            }
            Kind::Fifo => header.type_flag = b'6',
        }
        let header = header.encode().map_err(refuse)?;
        Ok(TarEntry { path: emitted, header, body })
    }
}

#[cfg(test)]
mod tests;
