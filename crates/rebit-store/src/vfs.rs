//! The file operations that durability depends on, behind a seam.
//!
//! Packs and the journal of refs go through a [`Vfs`]; tests put one there that fails or loses power at the
//! n-th operation. Directories (checkouts, scratch) are caches or private, and do not.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

#[cfg(any(test, feature = "testing"))]
pub mod faulty;

/// An open file. Methods take `&self`: positions are explicit, so a file is shared between threads.
pub trait VfsFile: Send + Sync + Debug {
    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the file is too short.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The operating system's.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// The length in bytes.
    ///
    /// # Errors
    /// The operating system's.
    fn length(&self) -> io::Result<u64>;
    /// Cuts or extends the file.
    ///
    /// # Errors
    /// The operating system's.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Makes the content durable (`fdatasync`).
    ///
    /// # Errors
    /// The operating system's.
    fn sync(&self) -> io::Result<()>;
}

/// The file system, as far as durability is concerned.
pub trait Vfs: Send + Sync + Debug {
    /// Creates a file that must not exist.
    ///
    /// # Errors
    /// The operating system's.
    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>>;
    /// Opens a file that must exist, for writing as well when `write`.
    ///
    /// # Errors
    /// The operating system's.
    fn open(&self, path: &Path, write: bool) -> io::Result<Box<dyn VfsFile>>;
    /// Renames a file over another.
    ///
    /// # Errors
    /// The operating system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// The operating system's.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// The operating system's.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory with their lengths, sorted.
    ///
    /// # Errors
    /// The operating system's.
    fn list(&self, path: &Path) -> io::Result<Vec<(String, u64)>>;
    /// Called before an index transaction commits; an error makes it roll back.
    ///
    /// # Errors
    /// Only those of a test.
    fn before_commit(&self) -> io::Result<()> {
        Ok(())
    }
    /// Called after an index transaction committed; `durable` when it reached the disk.
    fn after_commit(&self, _durable: bool) {}
}

/// The real file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealVfs;

impl VfsFile for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Vfs for RealVfs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o644).open(path)?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path, write: bool) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(write).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let length = match entry.metadata() {
                Ok(metadata) => metadata.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if let Ok(name) = entry.file_name().into_string() {
                entries.push((name, length));
            }
        }
        entries.sort();
        Ok(entries)
    }
}
