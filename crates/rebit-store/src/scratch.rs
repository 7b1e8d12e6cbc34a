//! Scratch directories: private to a session, gone with it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use crate::{Session, StoreError};

pub(crate) const SCRATCH: &str = "scratch";
pub(crate) const CHECKOUTS: &str = "loose/checkouts";

/// A private directory under the store, removed with all it holds when dropped.
///
/// Its mode is 0700. When the process dies, a collection removes it.
#[derive(Debug)]
pub struct ScratchDir {
    path: PathBuf,
    owned: bool,
}

impl ScratchDir {
    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the directory now, and says so when that fails.
    ///
    /// # Errors
    /// [`StoreError::Io`], for example when files in it belong to another user.
    pub fn remove(mut self) -> Result<(), StoreError> {
        self.owned = false;
        remove_tree(&self.path)
    }

    /// Lets go of the directory without removing it.
    pub(crate) fn release(mut self) -> PathBuf {
        self.owned = false;
        std::mem::take(&mut self.path)
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        if self.owned {
            // What cannot be removed now is left to a collection, which reports it.
            let _left = remove_tree(&self.path);
        }
    }
}

impl Session {
    /// A new private directory under the store; `label` says in its name what it is for.
    ///
    /// # Errors
    /// [`StoreError::InvalidName`] when `label` has other characters than letters, digits, `-` and `_`, or more
    /// than 64; [`StoreError::Io`].
    pub fn scratch_dir(&self, label: &str) -> Result<ScratchDir, StoreError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if label.is_empty() || label.len() > 64 || !label.bytes().all(plain) {
            let name = label.chars().take(100).collect();
            let reason = "it must be 1 to 64 letters, digits, `-` and `_`";
            return Err(StoreError::InvalidName { name, reason });
        }
        let parent = self.shared.inner.root.join(SCRATCH).join(self.shared.lease.id.directory_name());
        private_directory(&parent, true)?;
        let path = parent.join(format!("{label}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        private_directory(&path, false)?;
        Ok(ScratchDir { path, owned: true })
    }
}

fn private_directory(path: &Path, recursive: bool) -> Result<(), StoreError> {
    let made = fs::DirBuilder::new().mode(0o700).recursive(recursive).create(path);
    made.map_err(|source| StoreError::io("create the directory", path, source))
}

/// The names in a directory, sorted; none when it is missing.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>, StoreError> {
    let list = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    };
    match list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|source| StoreError::io("list", directory, source)),
    }
}

/// The bytes that a tree occupies; each inode counts once. What vanishes meanwhile, or may not be looked into,
/// counts as nothing.
pub(crate) fn tree_bytes(path: &Path) -> Result<u64, StoreError> {
    let mut bytes = 0;
    let mut linked = std::collections::HashSet::new();
    let mut stack = vec![path.to_owned()];
    while let Some(path) = stack.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.nlink() < 2 || metadata.is_dir() || linked.insert((metadata.dev(), metadata.ino())) {
            bytes += metadata.blocks() * 512;
        }
        if metadata.is_dir() {
            let Ok(entries) = fs::read_dir(&path) else { continue };
            stack.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        }
    }
    Ok(bytes)
}

/// Removes a tree, whatever the modes of its directories. A missing one is removed already.
pub(crate) fn remove_tree(path: &Path) -> Result<(), StoreError> {
    let remove = || match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        other => other,
    };
    match remove() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// Gives the owner all rights on every directory of a tree. Links are not followed.
fn open_up(path: &Path) -> io::Result<()> {
    let directory = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::open(path, directory | OFlags::PATH, Mode::empty())?;
    let mut stack = vec![readable(handle)?];
    while let Some(handle) = stack.pop() {
        let mut children = Vec::new();
        for entry in Dir::read_from(&handle)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let is_directory = match entry.file_type() {
                FileType::Directory => true,
                FileType::Unknown => {
                    let stat = rustix::fs::statat(&handle, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
                }
                _ => false,
            };
            if is_directory {
                let child = rustix::fs::openat(&handle, name, directory | OFlags::PATH, Mode::empty())?;
                children.push(readable(child)?);
            }
        }
        stack.extend(children);
    }
    Ok(())
}

/// A handle that can be listed, of a directory that may forbid it to its own owner.
fn readable(handle: OwnedFd) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    // A handle by path cannot change a mode itself, its name in /proc can.
    let name = format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd());
    rustix::fs::chmod(&name, Mode::RWXU)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(&handle, ".", flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    // S-71
    #[test]
    fn trees_with_closed_directories_are_removed_and_links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let outside = root.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o755)).unwrap();
        let tree = root.path().join("tree");
        fs::create_dir_all(tree.join("work/work/deep")).unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("work/link")).unwrap();
        for closed in ["work/work/deep", "work/work", "work"] {
            fs::set_permissions(tree.join(closed), fs::Permissions::from_mode(0o000)).unwrap();
        }
        open_up(&tree).unwrap();
        assert_eq!(fs::metadata(tree.join("work/work/deep")).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(&outside).unwrap().mode() & 0o777, 0o755);
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && outside.join("kept").exists());
        remove_tree(&tree).unwrap();
    }
}
