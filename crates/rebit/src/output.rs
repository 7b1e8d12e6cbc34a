//! What goes to standard output: tables, JSON, sizes. Talk goes to standard error.

use std::io::{self, Write};
use std::time::SystemTime;

use serde::Serialize;

use crate::error::CommandError;

/// Prints a line of data.
pub(crate) fn line(text: impl AsRef<str>) -> Result<(), CommandError> {
    bytes(format!("{}\n", text.as_ref()).as_bytes())
}

/// Prints bytes of data as they are.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // The reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(CommandError::message(format!("cannot write to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Prints a value as JSON, indented.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<(), CommandError> {
    line(serde_json::to_string_pretty(value)?)
}

/// Says something that is not data.
#[expect(clippy::print_stderr, reason = "this is the place where talk is printed")]
pub(crate) fn say(text: impl AsRef<str>) {
    eprintln!("{}", text.as_ref());
}

/// Prints rows under a head, columns aligned.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> Result<(), CommandError> {
    bytes(format_table(head, rows).as_bytes())
}

fn format_table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|cell| cell.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("   ").trim_end());
        text.push('\n');
    }
    text
}

/// Bytes as people read them: powers of 1000, three digits.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {unit}")
}

/// How many of something: `1 file`, `2 files`.
pub(crate) fn count(number: u64, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

/// How long ago a time is, in the largest unit of which there is more than one.
pub(crate) fn ago(time: SystemTime, now: SystemTime) -> String {
    let seconds = now.duration_since(time).map_or(0, |age| age.as_secs());
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// Cuts a text to `width` characters.
pub(crate) fn cut(text: &str, width: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= width {
        return line;
    }
    line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        let check = |bytes, expected: &str| assert_eq!(size(bytes), expected);
        check(0, "0 B");
        check(999, "999 B");
        check(1000, "1.00 kB");
        check(9_994, "9.99 kB");
        check(123_456, "123 kB");
        check(999_600, "1.00 MB");
        check(2_040_000, "2.04 MB");
        check(u64::MAX, "18447 PB");
    }

    #[test]
    fn ages_have_one_unit() {
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        let check = |age, expected: &str| {
            assert_eq!(ago(now - std::time::Duration::from_secs(age), now), expected);
        };
        check(0, "0 s ago");
        check(119, "119 s ago");
        check(7_199, "119 min ago");
        check(172_799, "47 h ago");
        check(172_800, "2 days ago");
        assert_eq!(ago(now + std::time::Duration::from_secs(5), now), "0 s ago");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = vec![vec!["a".into(), "bb".into()], vec!["ccc".into(), String::new()]];
        assert_eq!(format_table(&["X", "Y"], &rows), "X     Y\na     bb\nccc\n");
    }

    #[test]
    fn long_lines_are_cut() {
        assert_eq!(cut("a  b\nc", 10), "a b c");
        assert_eq!(cut("abcdef", 4), "abc…");
    }
}
