//! Where two contents differ, and what the difference looks like.

use std::io::Read;

use rebit_image::diff::{Cause, Finding, MAX_CONTENT, explain};
use rebit_oci::ObjectId;
use rebit_oci::object::ObjectSource;

use crate::error::{CommandError, printable};
use crate::output::cut;

/// The longest piece of text that is shown.
const SHOWN: usize = 60;

/// Where and how two contents differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contents {
    /// The first byte that differs.
    pub(super) start: u64,
    /// One after the last byte that differs; the end of the longer one when the lengths differ.
    pub(super) end: u64,
    /// What differs inside, by format; empty for contents that are too large to be looked into.
    pub(super) findings: Vec<Finding>,
    /// The first lines that differ, when both contents are text.
    pub(super) lines: Option<(String, String)>,
}

impl Contents {
    /// The same without anything of what is in the files.
    pub(super) fn without_text(mut self) -> Self {
        self.lines = None;
        for finding in &mut self.findings {
            (finding.a, finding.b) = (None, None);
            finding.detail.clear();
        }
        self
    }

    /// What the differences look like they come from, the special before the general; empty when nothing fits.
    pub(super) fn causes(&self) -> Vec<Cause> {
        let mut causes: Vec<Cause> =
            self.findings.iter().flat_map(|finding| finding.causes.clone()).collect();
        causes.sort_unstable();
        causes.dedup();
        causes
    }
}

/// Compares the contents of two objects, which differ.
pub(super) fn compare(
    objects: &dyn ObjectSource,
    path: &str,
    first: &ObjectId,
    second: &ObjectId,
) -> Result<Contents, CommandError> {
    let (mut a, mut b) = (objects.open(first)?, objects.open(second)?);
    let mut chunk = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut held = (Vec::new(), Vec::new());
    let limit = usize::try_from(MAX_CONTENT).unwrap_or(usize::MAX);
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
            let room = limit.saturating_sub(held.len()).min(piece.len());
            held.extend_from_slice(piece.get(..room).unwrap_or_default());
        }
        at += m.max(n) as u64;
        if m == 0 && n == 0 {
            break;
        }
    }
    let (start, end) = range.unwrap_or((0, 0));
    let whole = at <= MAX_CONTENT;
    let findings = if whole { explain(path, &held.0, &held.1) } else { Vec::new() };
    let lines = first_lines(&held.0, &held.1).filter(|_| whole);
    Ok(Contents { start, end, findings, lines })
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

/// The first lines that differ, if both contents are text.
fn first_lines(a: &[u8], b: &[u8]) -> Option<(String, String)> {
    let (a, b) = (std::str::from_utf8(a).ok()?, std::str::from_utf8(b).ok()?);
    if a.contains('\0') || b.contains('\0') {
        return None;
    }
    let line = |text: &str, other: &str| {
        let mut pairs = text.lines().zip(other.lines().map(Some).chain(std::iter::repeat(None)));
        let found = pairs.find(|(line, other)| Some(*line) != *other);
        cut(&printable(found.map_or("", |(line, _)| line)), SHOWN)
    };
    Some((line(a, b), line(b, a)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rebit_oci::object::{MemoryObjects, ObjectSink as _};

    #[test]
    fn the_range_goes_from_the_first_byte_to_the_last() {
        let check = |a: &[u8], b: &[u8], expected: (u64, u64), lines: Option<(&str, &str)>| {
            let store = MemoryObjects::default();
            let (first, second) = (store.put(a, &[]).unwrap(), store.put(b, &[]).unwrap());
            let found = compare(&store, "/x", &first, &second).unwrap();
            assert_eq!((found.start, found.end), expected);
            assert_eq!(found.lines, lines.map(|(a, b)| (a.to_owned(), b.to_owned())));
            assert!(!found.findings.is_empty());
        };
        check(b"a\nbxd\n", b"a\nbyd\n", (3, 4), Some(("bxd", "byd")));
        check(b"abc", b"abcde", (3, 5), Some(("abc", "abcde")));
        check(b"1\n2\n", b"1\n", (2, 4), Some(("2", "")));
        check(b"\xff\0\x01", b"\xff\0\x02", (2, 3), None);
        let (mut a, mut b) = (vec![0_u8; 200_000], vec![0_u8; 200_000]);
        (a[70_000], b[150_000]) = (1, 1);
        check(&a, &b, (70_000, 150_001), None);
    }
}
