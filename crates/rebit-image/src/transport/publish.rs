//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ImageError;

/// What the names of unfinished files start with.
pub(crate) const PREFIX: &str = ".rebit-";
/// What they end with.
pub(crate) const SUFFIX: &str = ".tmp";

/// A file under a temporary name; removed when dropped before [`Temporary::publish`].
#[derive(Debug)]
pub(crate) struct Temporary {
    path: PathBuf,
    file: Option<File>,
}

impl Temporary {
    /// Makes an empty file in `directory`.
    pub(crate) fn create(directory: &Path) -> Result<Self, ImageError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = directory.join(format!("{PREFIX}{}-{number}{SUFFIX}", std::process::id()));
            match File::options().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Self { path, file: Some(file) }),
                // Left behind by a process of the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(ImageError::io("create", &path, error)),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file, to be written to.
    pub(crate) fn file(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Makes the content durable and gives the file its name, in place of what had it. The directory is not
    /// synced yet: see [`sync_directory`].
    pub(crate) fn publish(mut self, target: &Path) -> Result<(), ImageError> {
        let synced = self.file().and_then(File::sync_all);
        synced.map_err(|error| ImageError::io("write", &self.path, error))?;
        fs::rename(&self.path, target).map_err(|error| ImageError::io("replace", target, error))?;
        self.file = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Nothing can be done about a file that does not go; its name says what it is.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes new names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), ImageError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|error| ImageError::io("sync", path, error))
}

/// The directory that a file is in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
