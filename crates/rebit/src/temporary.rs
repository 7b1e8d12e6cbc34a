//! Directories outside the store that go with the command, or with the next one when it was killed.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::CommandError;
use crate::output;

/// What the names of all of them begin with.
const PREFIX: &str = "rebit-temporary-";

/// A directory for this user alone; removed when dropped. It is locked for as long as it is in use.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: PathBuf,
    _lock: File,
}

impl Temporary {
    /// A new one below `parent`; those that killed commands left there are removed first.
    pub(crate) fn new(parent: &Path) -> Result<Self, CommandError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        sweep(parent);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("{PREFIX}{}-{number}", std::process::id()));
            let failed = |error: io::Error| {
                CommandError::message(format!("cannot make the directory `{}`: {error}", path.display()))
            };
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(failed(error)),
            }
            // Another command may have swept it away before it was locked.
            let locked = File::open(&path).and_then(|lock| {
                lock.lock()?;
                let (here, held) = (fs::symlink_metadata(&path)?, lock.metadata()?);
                Ok((lock, (here.dev(), here.ino()) == (held.dev(), held.ino())))
            });
            match locked {
                Ok((lock, true)) => return Ok(Self { path, _lock: lock }),
                Ok((_, false)) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            output::say(format!("warning: cannot remove `{}`: {error}", self.path.display()));
        }
    }
}

/// Removes what nobody holds any more. What does not go is left for the next time: it is none of this command's business.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            let _ = remove_if_left(&entry.path());
        }
    }
}

fn remove_if_left(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    // The parent may be everybody's: another user's directory, or a link to somewhere, is not ours to remove.
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    match File::open(path)?.try_lock() {
        Ok(()) => fs::remove_dir_all(path),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_command_left_goes_with_the_next_one() {
        let parent = tempfile::tempdir().unwrap();
        let left = parent.path().join(format!("{PREFIX}1-0"));
        fs::create_dir_all(left.join("store/below")).unwrap();
        let other = parent.path().join("another-program");
        fs::create_dir(&other).unwrap();
        let elsewhere = parent.path().join("target");
        fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, parent.path().join(format!("{PREFIX}2-0"))).unwrap();
        let held = Temporary::new(parent.path()).unwrap();
        assert!(!left.exists() && other.exists() && elsewhere.exists());
        let second = Temporary::new(parent.path()).unwrap();
        assert!(held.path().is_dir() && second.path().is_dir() && held.path() != second.path());
        let path = held.path().to_owned();
        drop(held);
        assert!(!path.exists() && second.path().is_dir());
    }
}
