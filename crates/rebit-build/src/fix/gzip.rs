//! The time in the header of a gzip file (RFC 1952, 2.3.1).

use super::{File, Fixed, Unfit};

/// Sets MTIME of the first member to 0, which says that there is none. Further members can only be found by unpacking; `gzip` makes one.
pub(super) fn header(file: &File<'_>) -> Result<Fixed, Unfit> {
    let mut bytes = file.bytes.to_vec();
    match (bytes.starts_with(&[0x1f, 0x8b, 8]) && bytes.len() >= 18, bytes.get_mut(4..8)) {
        (true, Some(mtime)) => mtime.fill(0),
        _ => return Ok(Fixed::Keep),
    }
    Ok(Fixed::Replace(bytes))
}
