//! The bytes of an archive that no digest covers: headers, padding, the end.

use std::path::Path;
use std::sync::Arc;

use super::check::Check;
use crate::ImageError;
use crate::transport::files::{Archive, Files, open_scan};
use crate::transport::tar_scan::{BLOCK, ReadAt, Scan};

/// What findings at the end of an archive name.
const END: &str = "end of the archive";

/// Checks an archive as an archive; gives its files when they can be told.
pub(super) fn check(path: &Path, check: &mut Check) -> Result<Option<Arc<dyn Files>>, ImageError> {
    let Some((file, scan)) = check.opened(open_scan(path))? else { return Ok(None) };
    for (entry, problem) in &scan.deviations {
        let entry = if entry.is_empty() { END } else { entry };
        check.add(None, Some(entry), problem.clone());
    }
    let length = file.metadata().map_err(|error| ImageError::io("read", path, error))?.len();
    padding(&file, &scan, length, check).map_err(|error| ImageError::io("read", path, error))?;
    let files = check.note(Archive::from_scan(path, file, &scan))?;
    Ok(files.map(|files| Arc::new(files) as Arc<dyn Files>))
}

/// Everything that has to be zero.
fn padding<R: ReadAt + ?Sized>(
    bytes: &R,
    scan: &Scan,
    length: u64,
    check: &mut Check,
) -> std::io::Result<()> {
    for entry in scan.entries.iter().chain(&scan.extensions) {
        let end = entry.offset + entry.size;
        let padded = end.next_multiple_of(BLOCK);
        if padded > length {
            check.add(None, Some(&entry.name), "the archive ends in the middle of it".to_owned());
        } else if !zeros(bytes, end, padded)? {
            check.add(None, Some(&entry.name), "the padding after it is not zero".to_owned());
        }
    }
    if !zeros(bytes, scan.end, length)? {
        check.add(None, Some(END), "there is something after the end".to_owned());
    }
    Ok(())
}

fn zeros<R: ReadAt + ?Sized>(bytes: &R, from: u64, to: u64) -> std::io::Result<bool> {
    let mut buffer = [0; 16 << 10];
    let mut at = from;
    while at < to {
        let count = usize::try_from(to - at).unwrap_or(usize::MAX).min(buffer.len());
        let Some(part) = buffer.get_mut(..count) else { break };
        bytes.read_exact_at(part, at)?;
        if part.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += count as u64;
    }
    Ok(true)
}
