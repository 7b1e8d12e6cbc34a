//! How two contents differ: by format, by line, or by byte.

use std::io::{self, Read};

use super::archive;
use super::lines::{self, Hunk};
use super::{Budget, Cause, Finding, cause};

/// Most lines of a unified diff, and most ranges of bytes, that a finding shows.
const MAX_DETAIL: usize = 40;
/// Most ranges of bytes, hunks, and lines of a hunk whose cause is looked for.
const MAX_RANGES: usize = 200;
/// Most bytes of text, both sides together, whose cause is looked for.
const MAX_EXPLAINED: usize = 256 << 10;
/// Most bytes in which printable strings are looked for.
const MAX_STRINGS: usize = 4 << 20;

/// Says how two contents of a file differ, and what that looks like it comes from.
///
/// `path` is where the file is: its name helps to tell formats, and places inside of it begin with it. Archives and
/// compressed files are looked into, recursively, within [`Budget::default`]. The same bytes give no finding,
/// different ones at least one. Nothing but the arguments is looked at.
#[must_use]
pub fn explain(path: &str, a: &[u8], b: &[u8]) -> Vec<Finding> {
    let mut findings = Vec::new();
    explain_into(path, a, b, &mut Budget::default(), &mut findings);
    findings
}

/// [`explain`] within a budget, for what an archive holds.
pub(super) fn explain_into(path: &str, a: &[u8], b: &[u8], budget: &mut Budget, out: &mut Vec<Finding>) {
    if a == b {
        return;
    }
    if budget.depth > 0
        && let (Some(x), Some(y)) = (archive::open(path, a), archive::open(path, b))
        && x.kind == y.kind
    {
        let before = out.len();
        budget.depth -= 1;
        archive::compare(path, &x, &y, budget, out);
        budget.depth += 1;
        if out.len() > before {
            return;
        }
    }
    out.push(plain(path, a, b));
}

/// Compares what is not an archive.
fn plain(path: &str, a: &[u8], b: &[u8]) -> Finding {
    // What a linker computes of all the rest.
    if path.ends_with("!.note.gnu.build-id") || path.ends_with("!.gnu_debuglink") {
        return Finding::new(path, "bytes").because([Cause::BuildId]);
    }
    if lines::is_text(a) && lines::is_text(b) { text(path, a, b) } else { binary(path, a, b) }
}

fn text(path: &str, a: &[u8], b: &[u8]) -> Finding {
    let (x, y) = (lines::split(a), lines::split(b));
    let hunks = lines::hunks(&x, &y);
    let mut finding = Finding::new(path, "text");
    finding.detail = lines::unified(&x, &y, &hunks, MAX_DETAIL);
    if same_lines(&x, &y) {
        return finding.because([Cause::Order]);
    }
    finding.because(of_hunks(&x, &y, &hunks))
}

/// Whether two texts have the same lines, in whatever order; a last line without its end is a line like others.
fn same_lines(a: &[&[u8]], b: &[&[u8]]) -> bool {
    fn sorted<'l>(lines: &[&'l [u8]]) -> Vec<&'l [u8]> {
        let mut lines: Vec<&[u8]> = lines.iter().map(|line| line.trim_ascii_end()).collect();
        lines.sort_unstable();
        lines
    }
    a.len() == b.len() && sorted(a) == sorted(b)
}

/// The causes of the hunks that have one. A hunk of as many lines on both sides is compared line by line.
fn of_hunks(a: &[&[u8]], b: &[&[u8]], hunks: &[Hunk]) -> Vec<Cause> {
    let (mut causes, mut left) = (Vec::new(), MAX_EXPLAINED);
    for hunk in hunks.iter().take(MAX_RANGES) {
        let x = a.get(hunk.a.clone()).unwrap_or_default();
        let y = b.get(hunk.b.clone()).unwrap_or_default();
        let bytes: usize = x.iter().chain(y).map(|line| line.len()).sum();
        let Some(rest) = left.checked_sub(bytes) else { continue };
        left = rest;
        if same_lines(x, y) {
            causes.push(Cause::Order);
        } else if x.len() == y.len() {
            let pairs = x.iter().zip(y).take(MAX_RANGES);
            causes.extend(pairs.flat_map(|(x, y)| cause::of_text(x, y)));
        } else {
            causes.extend(cause::of_text(&x.concat(), &y.concat()));
        }
    }
    causes
}

fn binary(path: &str, a: &[u8], b: &[u8]) -> Finding {
    let mut ranges = Ranges::default();
    ranges.add(a, b);
    ranges.end();
    let mut finding = described(path, &ranges, a.len() as u64, b.len() as u64);
    if a.len() != b.len() {
        let (x, y) = (strings(a), strings(b));
        let hunks = lines::hunks(&x, &y);
        finding.detail.extend(lines::unified(&x, &y, &hunks, MAX_DETAIL));
        return finding.because(of_hunks(&x, &y, &hunks));
    }
    let causes: Vec<Cause> = ranges
        .ranges
        .iter()
        .flat_map(|&(start, end)| {
            let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
            cause::of_bytes(a, b, at(start), at(end))
        })
        .collect();
    finding.because(causes)
}

/// The printable strings of six and more characters.
fn strings(bytes: &[u8]) -> Vec<&[u8]> {
    let start = bytes.get(..MAX_STRINGS).unwrap_or(bytes);
    let runs = start.split(|byte| !matches!(byte, b' '..=b'~' | b'\t'));
    runs.filter(|run| run.len() >= 6).take(100_000).collect()
}

/// Where two streams differ.
#[derive(Debug, Default)]
struct Ranges {
    /// Start and end of the first ranges; two that are closer than four bytes are one.
    ranges: Vec<(u64, u64)>,
    open: Option<(u64, u64)>,
    count: u64,
    bytes: u64,
    offset: u64,
}

impl Ranges {
    /// Compares the next bytes of both; what one has more is not counted.
    fn add(&mut self, a: &[u8], b: &[u8]) {
        let length = a.len().min(b.len());
        if a.get(..length) != b.get(..length) {
            let differing = a.iter().zip(b).enumerate().filter(|(_, (x, y))| x != y);
            for (at, _) in differing {
                self.differs(self.offset + at as u64);
            }
        }
        self.offset += length as u64;
    }

    fn differs(&mut self, at: u64) {
        self.bytes += 1;
        match &mut self.open {
            Some((_, end)) if at < *end + 4 => *end = at + 1,
            _ => {
                self.end();
                self.open = Some((at, at + 1));
                self.count += 1;
            }
        }
    }

    fn end(&mut self) {
        if let Some(range) = self.open.take()
            && self.ranges.len() < MAX_RANGES
        {
            self.ranges.push(range);
        }
    }
}

fn described(path: &str, ranges: &Ranges, a: u64, b: u64) -> Finding {
    let mut finding = Finding::new(path, "bytes");
    let common = a.min(b);
    if a != b {
        finding.detail.push(format!("{a} and {b} bytes"));
    }
    match ranges.ranges.first() {
        None => finding.detail.push(format!("the first {common} bytes are the same")),
        Some((first, _)) => finding.detail.push(format!(
            "{} of {common} bytes in {} ranges, the first at {first} (0x{first:x})",
            ranges.bytes, ranges.count
        )),
    }
    for (start, end) in ranges.ranges.iter().skip(1).take(4) {
        finding.detail.push(format!("{} bytes at {start} (0x{start:x})", end - start));
    }
    finding
}

/// Compares two contents that are too large for memory, as streams: where they differ and in how many bytes.
///
/// Nothing is said of causes; `None` when they are the same.
///
/// # Errors
/// Those of the readers.
pub fn explain_streams(path: &str, a: &mut dyn Read, b: &mut dyn Read) -> io::Result<Option<Finding>> {
    let (mut ranges, mut total) = (Ranges::default(), (0_u64, 0_u64));
    let (mut x, mut y) = (vec![0; 256 << 10], vec![0; 256 << 10]);
    loop {
        let read = (fill(a, &mut x)?, fill(b, &mut y)?);
        total = (total.0 + read.0 as u64, total.1 + read.1 as u64);
        ranges.add(x.get(..read.0).unwrap_or_default(), y.get(..read.1).unwrap_or_default());
        if read == (0, 0) {
            break;
        }
    }
    ranges.end();
    let same = ranges.count == 0 && total.0 == total.1;
    Ok((!same).then(|| described(path, &ranges, total.0, total.1)))
}

fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests;
