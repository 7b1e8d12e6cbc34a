//! A file that takes space so that there is some when the disk is full: a collection frees it first.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::StoreError;

pub(crate) const FILE: &str = "reserve";
pub(crate) const LENGTH: usize = 1 << 20;

/// Makes the reserve unless it is there. A disk that has no room for it is not an error.
pub(crate) fn fill(root: &Path) -> Result<(), StoreError> {
    let path = root.join(FILE);
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() == LENGTH as u64) {
        return Ok(());
    }
    let write = || -> io::Result<()> {
        // Zeros might be stored as a hole by a file system that compresses.
        let mut noise = vec![0; LENGTH];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let mut file = File::create(&path)?;
        file.write_all(&noise)?;
        file.sync_all()
    };
    match write() {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => free(root),
        Err(source) => Err(StoreError::io("write", &path, source)),
        Ok(()) => Ok(()),
    }
}

/// Gives the reserve's space back.
pub(crate) fn free(root: &Path) -> Result<(), StoreError> {
    let path = root.join(FILE);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", &path, error)),
        _ => Ok(()),
    }
}
