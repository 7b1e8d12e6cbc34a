//! A changeset as an EROFS image that holds names and metadata, the contents being in files beside it.
//!
//! EROFS is the kernel's read-only file system (`Documentation/filesystems/erofs.rst`, `fs/erofs/erofs_fs.h`). A file of
//! such an image is one extent of a *data file*: the image says which one and where ([`Place`]), and whoever mounts it names the data
//! files in order (`device=`). So the image of a tree that is nearly another's costs its metadata, about a hundred bytes for
//! an entry, and contents are written once, end to end, instead of one file each.
//!
//! The form used: blocks of 4096 bytes, uncompressed, extended inodes with whole seconds, inline attributes, the end of a directory or
//! symbolic link beside its inode where it fits, directories sorted by name. An image is for mounting here and now; its bytes are not part
//! of any format of ours.

mod directory;
mod format;

use std::collections::BTreeMap;

use rebit_oci::ObjectId;

use crate::{Change, Changeset, Kind, Metadata, Node, TreePath};
use directory::Directory;
use format::{BLOCK, Content, Inode, Superblock, xattrs};

/// Bytes of a block: where a content begins is a multiple of it.
pub const BLOCK_SIZE: u64 = BLOCK as u64;

/// Most data files of one image: their table has to fit into the first block.
pub const MAX_DATA_FILES: usize = 16;

/// Where a content lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which data file, counted from 0.
    pub file: u16,
    /// Its first block there.
    pub block: u32,
}

/// Why a changeset cannot be an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErofsError {
    /// There are more data files than fit.
    #[error("{count} data files are more than the {MAX_DATA_FILES} that an EROFS image takes")]
    DataFiles {
        /// How many there are.
        count: usize,
    },
    /// The image would be larger than its block numbers reach.
    #[error("the EROFS image would be too large")]
    TooLarge,
    /// A content is in none of the data files.
    #[error("the content of `{path}` is in no data file")]
    NoPlace {
        /// The file.
        path: TreePath,
    },
    /// A directory of an entry is not in the changeset.
    #[error("the directory of `{path}` is missing")]
    NoDirectory {
        /// The entry.
        path: TreePath,
    },
    /// An extended attribute is of a kind that EROFS does not know, or there are too many.
    #[error("the extended attributes of `{path}` do not fit into an EROFS image")]
    Xattrs {
        /// The entry.
        path: TreePath,
    },
}

/// Makes the image of `changeset`, whose root has the metadata `root`.
///
/// Every directory on the way to an entry has to be an entry ([`Changeset::with_ancestors`]). A removal becomes what overlayfs takes
/// for one, a character device 0:0. `data_files` are the lengths of the data files in blocks; `place` says where a
/// content lies, empty ones aside.
///
/// # Errors
/// [`ErofsError`]: nothing that a plain directory could not hold instead.
pub fn image(
    changeset: &Changeset,
    root: &Metadata,
    data_files: &[u32],
    place: impl Fn(&ObjectId) -> Option<Place>,
) -> Result<Vec<u8>, ErofsError> {
    if data_files.len() > MAX_DATA_FILES {
        return Err(ErofsError::DataFiles { count: data_files.len() });
    }
    let mut table = Table::new(root)?;
    for (path, change) in changeset.iter().filter(|(path, _)| !path.is_root()) {
        table.add(path, change, &place)?;
    }
    table.count_links();
    let blocks_of_metadata = table.assign()?;
    table.write(blocks_of_metadata, data_files)
}

/// Every inode, and the directories that name them.
struct Table<'a> {
    inodes: Vec<Inode<'a>>,
    /// By path; the number is that of their inode.
    directories: BTreeMap<&'a [u8], (usize, Directory<'a>)>,
    /// The inode of each hard-link group.
    groups: BTreeMap<u32, usize>,
}

impl<'a> Table<'a> {
    fn new(root: &'a Metadata) -> Result<Self, ErofsError> {
        let attributes = xattrs(root).ok_or(ErofsError::Xattrs { path: TreePath::root() })?;
        let inode = Inode::new(format::DIRECTORY, root, attributes, Content::Directory(&[]));
        Ok(Self {
            inodes: vec![inode],
            directories: BTreeMap::from([(&[][..], (0, Directory::new(0, 0)))]),
            groups: BTreeMap::new(),
        })
    }

    fn add(
        &mut self,
        path: &'a TreePath,
        change: &'a Change,
        place: &impl Fn(&ObjectId) -> Option<Place>,
    ) -> Result<(), ErofsError> {
        let known = match change {
            Change::Upsert(node) if node.link() != 0 => self.groups.get(&node.link()).copied(),
            _ => None,
        };
        let number = match known {
            Some(number) => number,
            None => {
                let number = self.inodes.len();
                let inode = match change {
                    Change::Upsert(node) => inode(path, node, place)?,
                    Change::Remove => Inode::whiteout(),
                };
                self.inodes.push(inode);
                if let Change::Upsert(node) = change
                    && node.link() != 0
                {
                    self.groups.insert(node.link(), number);
                }
                number
            }
        };
        let bytes = path.as_bytes();
        let split = bytes.iter().rposition(|byte| *byte == b'/');
        let (parent, name) = match split {
            Some(at) => (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..).unwrap_or_default()),
            None => (&[][..], bytes),
        };
        let missing = || ErofsError::NoDirectory { path: path.clone() };
        let kind = self.inodes.get(number).map_or(0, |inode| inode.kind);
        let (above, directory) = self.directories.get_mut(parent).ok_or_else(missing)?;
        directory.add(name, number, kind);
        let above = *above;
        if kind == format::DIRECTORY {
            self.directories.insert(bytes, (number, Directory::new(number, above)));
        }
        Ok(())
    }

    fn count_links(&mut self) {
        for (_, directory) in self.directories.values() {
            for entry in directory.entries() {
                if let Some(inode) = self.inodes.get_mut(entry.inode) {
                    inode.links += 1;
                }
            }
        }
    }

    /// Gives every inode its size and its place; returns how many blocks the inodes take.
    fn assign(&mut self) -> Result<u32, ErofsError> {
        for (number, directory) in self.directories.values() {
            if let Some(inode) = self.inodes.get_mut(*number) {
                inode.size = directory.size();
            }
        }
        // Not at 0, which some readers take for no inode at all.
        let mut at = 64;
        for inode in &mut self.inodes {
            at = inode.put(at);
        }
        let blocks = u32::try_from(at.div_ceil(BLOCK as u64)).map_err(|_| ErofsError::TooLarge)?;
        let mut next = u64::from(blocks) + 1;
        for inode in &mut self.inodes {
            next = inode.put_blocks(next).ok_or(ErofsError::TooLarge)?;
        }
        Ok(blocks)
    }

    fn write(&self, blocks_of_metadata: u32, data_files: &[u32]) -> Result<Vec<u8>, ErofsError> {
        let end = self.inodes.iter().map(Inode::blocks_end).max().unwrap_or(0);
        let blocks = u32::try_from(end.max(u64::from(blocks_of_metadata) + 1));
        let blocks = blocks.map_err(|_| ErofsError::TooLarge)?;
        let length = usize::try_from(u64::from(blocks) * BLOCK_SIZE).map_err(|_| ErofsError::TooLarge)?;
        let mut image = vec![0_u8; length];
        let root = self.inodes.first().map_or(0, Inode::nid);
        Superblock { blocks, inodes: self.inodes.len() as u64, root, data_files }.write(&mut image);
        for (number, inode) in self.inodes.iter().enumerate() {
            if inode.kind != format::DIRECTORY {
                inode.write(number, &mut image);
            }
        }
        for (number, directory) in self.directories.values() {
            let Some(inode) = self.inodes.get(*number) else { continue };
            let content = directory.content(&|inode| self.inodes.get(inode).map_or(0, Inode::nid));
            inode.with(Content::Directory(&content)).write(*number, &mut image);
        }
        Ok(image)
    }
}

fn inode<'a>(
    path: &TreePath,
    node: &'a Node,
    place: &impl Fn(&ObjectId) -> Option<Place>,
) -> Result<Inode<'a>, ErofsError> {
    let metadata = &node.metadata;
    let attributes = xattrs(metadata).ok_or_else(|| ErofsError::Xattrs { path: path.clone() })?;
    let (kind, content) = match &node.kind {
        Kind::Directory => (format::DIRECTORY, Content::Directory(&[])),
        Kind::File { size: 0, .. } => (format::REGULAR, Content::Empty),
        Kind::File { object, size, .. } => {
            let place = place(object).ok_or_else(|| ErofsError::NoPlace { path: path.clone() })?;
            (format::REGULAR, Content::Extent { place, size: *size })
        }
        Kind::Symlink { target } => (format::SYMLINK, Content::Symlink(target)),
        Kind::CharDevice { major, minor } => (format::CHARACTER, Content::Device(*major, *minor)),
        Kind::BlockDevice { major, minor } => (format::BLOCK_DEVICE, Content::Device(*major, *minor)),
        Kind::Fifo => (format::FIFO, Content::Empty),
    };
    Ok(Inode::new(kind, metadata, attributes, content))
}

#[cfg(test)]
mod tests;
