//! Where two contents differ, and what the difference looks like.

use std::io::Read;

use rebit_oci::ObjectId;
use rebit_oci::object::ObjectSource;
use serde::Serialize;

use crate::error::{CommandError, printable};
use crate::output::cut;

/// How much of each content is held, for a look at what differs.
const HELD: usize = 1 << 20;
/// The longest piece of text that is shown.
const SHOWN: usize = 60;

/// Where and how two contents differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contents {
    /// The first byte that differs.
    pub(super) start: u64,
    /// One after the last byte that differs; the end of the longer one when the lengths differ.
    pub(super) end: u64,
    pub(super) looks: Looks,
    /// The first lines that differ, when both contents are text.
    pub(super) lines: Option<(String, String)>,
}

/// What a difference looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Looks {
    /// Times.
    Time,
    /// The same lines in another order.
    Order,
    /// Random bytes, words or names.
    Random,
    /// A number.
    Number,
    /// A path.
    Path,
    /// None of these.
    Unknown,
}

/// Compares the contents of two objects, which differ.
pub(super) fn compare(
    objects: &dyn ObjectSource,
    first: &ObjectId,
    second: &ObjectId,
) -> Result<Contents, CommandError> {
    let (mut a, mut b) = (objects.open(first)?, objects.open(second)?);
    let mut chunk = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut held = (Vec::new(), Vec::new());
    let (mut at, mut range) = (0_u64, None::<(u64, u64)>);
    loop {
        let (m, n) = (fill(&mut *a, &mut chunk.0)?, fill(&mut *b, &mut chunk.1)?);
        let (x, y) = (chunk.0.get(..m).unwrap_or_default(), chunk.1.get(..n).unwrap_or_default());
        let differs = |place: &usize| x.get(*place) != y.get(*place);
        if let Some(first) = (0..m.max(n)).find(differs) {
            let last = (0..m.max(n)).rev().find(differs).unwrap_or(first);
            let start = range.map_or(at + first as u64, |(start, _)| start);
            range = Some((start, at + last as u64 + 1));
        }
        for (held, piece) in [(&mut held.0, x), (&mut held.1, y)] {
            let room = HELD.saturating_sub(held.len()).min(piece.len());
            held.extend_from_slice(piece.get(..room).unwrap_or_default());
        }
        at += m.max(n) as u64;
        if m == 0 && n == 0 {
            break;
        }
    }
    let (start, end) = range.unwrap_or((0, 0));
    let (looks, lines) = look(&held.0, &held.1, usize::try_from(start).unwrap_or(usize::MAX));
    Ok(Contents { start, end, looks, lines })
}

/// Fills a buffer as far as the reader goes.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> Result<usize, CommandError> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(CommandError::message(format!("cannot read a file of the build: {error}")));
            }
        }
    }
    Ok(length)
}

/// What the difference of two contents looks like, and the first lines that differ if both are text.
fn look(a: &[u8], b: &[u8], start: usize) -> (Looks, Option<(String, String)>) {
    let (Ok(x), Ok(y)) = (std::str::from_utf8(a), std::str::from_utf8(b)) else {
        return (look_at_bytes(a, b, start), None);
    };
    if x.contains('\0') || y.contains('\0') {
        return (look_at_bytes(a, b, start), None);
    }
    let sorted = |text: &str| {
        let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        words.sort();
        words
    };
    let line = |text: &str, other: &str| {
        let mut pairs = text.lines().zip(other.lines().map(Some).chain(std::iter::repeat(None)));
        pairs
            .find(|(line, other)| Some(*line) != *other)
            .map_or_else(String::new, |(line, _)| line.to_owned())
    };
    let (first, second) = (line(x, y), line(y, x));
    let looks = if sorted(x) == sorted(y) { Looks::Order } else { look_at_lines(&first, &second) };
    let shown = |text: &str| cut(&printable(text), SHOWN);
    (looks, Some((shown(&first), shown(&second))))
}

fn look_at_lines(a: &str, b: &str) -> Looks {
    let masked = |text: &str| -> String {
        let mut masked = String::new();
        for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
            let name = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            let rest = word.get(name.len()..).unwrap_or_default();
            let number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
            masked.push_str(if number || is_calendar(name) { "#" } else { name });
            masked.push_str(rest);
        }
        masked
    };
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_ascii_alphanumeric())
            .map(str::to_owned)
            .filter(|word| !word.is_empty())
            .collect()
    };
    if masked(a) == masked(b) {
        let time = |text: &str| {
            let words = words(text);
            let year = |word: &String| word.len() == 4 && (word.starts_with("19") || word.starts_with("20"));
            let stamp = |word: &String| {
                word.starts_with('1') && word.len() >= 10 || word.starts_with("20") && word.len() >= 8
            };
            text.matches(':').count() >= 2
                || words.iter().any(|word| year(word) || stamp(word) || is_calendar(word))
        };
        return if time(a) && time(b) { Looks::Time } else { Looks::Number };
    }
    let differing: Vec<(String, String)> =
        words(a).into_iter().zip(words(b)).filter(|(x, y)| x != y).collect();
    let random =
        |word: &str| word.len() >= 6 && (word.bytes().any(|byte| byte.is_ascii_digit()) || word.len() >= 20);
    if !differing.is_empty() && differing.iter().any(|(x, y)| random(x) || random(y)) {
        Looks::Random
    } else if a.contains('/') && b.contains('/') {
        Looks::Path
    } else {
        Looks::Unknown
    }
}

fn is_calendar(word: &str) -> bool {
    const NAMES: [&str; 19] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Mon", "Tue",
        "Wed", "Thu", "Fri", "Sat", "Sun",
    ];
    NAMES.contains(&word)
}

/// A number of four bytes that both times could have is a time; many bytes that differ nearly everywhere are random.
fn look_at_bytes(a: &[u8], b: &[u8], start: usize) -> Looks {
    let near = |at: usize| {
        let number = |bytes: &[u8]| -> Option<[u8; 4]> { bytes.get(at..at.checked_add(4)?)?.try_into().ok() };
        let (Some(x), Some(y)) = (number(a), number(b)) else { return false };
        let both = |x: u32, y: u32| {
            let recent = |time: u32| (1_000_000_000..2_200_000_000).contains(&time);
            recent(x) && recent(y) && x != y && x.abs_diff(y) < 86_400
        };
        both(u32::from_le_bytes(x), u32::from_le_bytes(y))
            || both(u32::from_be_bytes(x), u32::from_be_bytes(y))
    };
    if (start.saturating_sub(3)..=start).any(near) {
        return Looks::Time;
    }
    let tail = |bytes: &[u8]| bytes.get(start..).unwrap_or_default().to_vec();
    let (x, y) = (tail(a), tail(b));
    let pairs = x.iter().zip(&y).take(4096);
    let (all, equal) = pairs.fold((0, 0), |(all, equal), (x, y)| (all + 1, equal + usize::from(x == y)));
    if all >= 4 && equal * 8 <= all { Looks::Random } else { Looks::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_look_like_what_they_are() {
        let check = |a: &[u8], b: &[u8], expected: Looks| {
            let start = a.iter().zip(b).position(|(x, y)| x != y).unwrap_or(a.len().min(b.len()));
            assert_eq!(look(a, b, start).0, expected, "{}", String::from_utf8_lossy(a));
        };
        check(b"Tue Nov 24 13:15:28 UTC 2026\n", b"Wed Nov 25 03:15:30 UTC 2026\n", Looks::Time);
        check(b"1764000000\n", b"1764000002\n", Looks::Time);
        check(b"at 20261124\n", b"at 20261125\n", Looks::Time);
        check(b"8\n", b"1\n", Looks::Number);
        check(b"b\na\nc\n", b"a\nb\nc\n", Looks::Order);
        check(b"a b c\n", b"c b a\n", Looks::Order);
        check(b"id 3f2504e0-4f89-11d3\n", b"id 9a7b330a-a736-21f3\n", Looks::Random);
        check(b"/build/a/x\n", b"/build/b/x\n", Looks::Path);
        check(b"one\n", b"two\n", Looks::Unknown);
        check(b"\0\0\x80\xa9\x24\x69", b"\0\0\x82\xa9\x24\x69", Looks::Time);
        check(b"\xff\x01\x92\x77\x55\x10", b"\xfe\x99\x01\x13\x44\x21", Looks::Random);
    }
}
