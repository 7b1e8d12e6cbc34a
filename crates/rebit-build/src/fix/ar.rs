//! Static libraries: the headers of ar(5).

use super::{File, Fixed, Unfit};

const MAGIC: &[u8] = b"!<arch>\n";
const THIN: &[u8] = b"!<thin>\n";
const HEADER: usize = 60;

/// Sets times and owners to 0 and modes to 0644, as `ar D` does.
pub(super) fn archive(file: &File<'_>) -> Result<Fixed, Unfit> {
    if file.bytes.starts_with(THIN) {
        return Err(Unfit("it is a thin archive"));
    }
    if !file.bytes.starts_with(MAGIC) {
        return Ok(Fixed::Keep);
    }
    let mut bytes = file.bytes.to_vec();
    let mut at = MAGIC.len();
    while at < bytes.len() {
        let broken = Unfit("it is a broken archive");
        let header = bytes.get_mut(at..at + HEADER).ok_or(broken)?;
        if header.get(58..) != Some(b"`\n") {
            return Err(broken);
        }
        let size = header.get(48..58).and_then(|field| std::str::from_utf8(field).ok());
        let size: usize = size.and_then(|text| text.trim_end().parse().ok()).ok_or(broken)?;
        // The table of symbols has no mode to speak of; the table of long names has no field but its size.
        let mode: &[u8] = if header.starts_with(b"/ ") { b"0" } else { b"644" };
        for (place, value) in [(16..28, b"0".as_slice()), (28..34, b"0"), (34..40, b"0"), (40..48, mode)] {
            set(header.get_mut(place), value);
        }
        at = at.checked_add(HEADER + size + size % 2).ok_or(broken)?;
    }
    Ok(Fixed::Replace(bytes))
}

/// Writes `value` into a field; one that is blank has nothing to say and stays so.
fn set(field: Option<&mut [u8]>, value: &[u8]) {
    let Some(field) = field.filter(|field| field.iter().any(|byte| *byte != b' ')) else { return };
    field.fill(b' ');
    if let Some(start) = field.get_mut(..value.len()) {
        start.copy_from_slice(value);
    }
}
