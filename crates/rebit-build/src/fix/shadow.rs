//! Small files of /etc.

use super::{File, Fixed, Unfit};

const DAY: i64 = 86_400;

/// Sets the third field of shadow(5), the day of the last change, to the epoch's day. Lines that were there before the step, and
/// fields that mean something else (empty: no ageing; 0: change at the next login) stay.
pub(super) fn dates(file: &File<'_>) -> Result<Fixed, Unfit> {
    let day = file.epoch.div_euclid(DAY).max(1).to_string();
    let before = (file.before)().unwrap_or_default();
    let before: Vec<&[u8]> = before.split(|byte| *byte == b'\n').collect();
    let lines: Vec<Vec<u8>> = file
        .bytes
        .split(|byte| *byte == b'\n')
        .map(|line| if before.contains(&line) { line.to_vec() } else { with_day(line, day.as_bytes()) })
        .collect();
    Ok(Fixed::Replace(lines.join(&b'\n')))
}

fn with_day(line: &[u8], day: &[u8]) -> Vec<u8> {
    let mut fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    if let Some(field) = fields.get_mut(2)
        && !field.is_empty()
        && *field != b"0"
        && field.iter().all(u8::is_ascii_digit)
    {
        *field = day;
    }
    fields.join(&b':')
}

/// Empties machine-id(5), which a starting system fills; the copy of dbus is taken back.
pub(super) fn machine_id(file: &File<'_>) -> Result<Fixed, Unfit> {
    Ok(if file.path == b"etc/machine-id" { Fixed::Replace(Vec::new()) } else { Fixed::TakeBack })
}
