//! The difference of two texts, line by line, as a short unified diff.

/// A run of lines that differ: from where to where in the first text and in the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hunk {
    pub(super) a: std::ops::Range<usize>,
    pub(super) b: std::ops::Range<usize>,
}

/// Most lines that the shortest way is searched for; texts that differ in more are one hunk.
const MAX_EDITS: usize = 400;
/// Lines of context around a hunk.
const CONTEXT: usize = 2;

/// Most lines of what is compared as text.
const MAX_LINES: usize = 500_000;

/// Whether bytes are text: they begin with UTF-8 without control characters, and do not have too many lines.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    let start = bytes.get(..64 << 10).unwrap_or(bytes);
    let control = |byte: &&u8| matches!(byte, 0..=8 | 14..=26 | 28..=31 | 127);
    let valid = match std::str::from_utf8(start) {
        Ok(_) => true,
        // A character that the sample cuts, not bytes that never are UTF-8.
        Err(error) => error.error_len().is_none(),
    };
    valid
        && start.iter().filter(control).count() == 0
        && bytes.iter().filter(|byte| **byte == b'\n').count() < MAX_LINES
}

/// The lines of a text, their ends included.
pub(super) fn split(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

/// The runs of lines in which two texts differ.
pub(super) fn hunks(a: &[&[u8]], b: &[&[u8]]) -> Vec<Hunk> {
    let prefix = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let rest = |lines: &[&[u8]]| lines.len() - prefix;
    let most = rest(a).min(rest(b));
    let suffix = a.iter().rev().zip(b.iter().rev()).take(most).take_while(|(x, y)| x == y).count();
    let middle = |lines: &[&[u8]]| prefix..lines.len() - suffix;
    let (in_a, in_b) = (middle(a), middle(b));
    if in_a.is_empty() && in_b.is_empty() {
        return Vec::new();
    }
    let whole = Hunk { a: in_a.clone(), b: in_b.clone() };
    if in_a.is_empty() || in_b.is_empty() {
        return vec![whole];
    }
    let (Some(left), Some(right)) = (a.get(in_a), b.get(in_b)) else { return vec![whole] };
    match shortest(left, right) {
        Some(kept) => between(&kept, left.len(), right.len(), prefix),
        None => vec![whole],
    }
}

/// Pairs of lines that stay, by the greedy algorithm of Myers (1986); `None` when it takes too many edits.
fn shortest(a: &[&[u8]], b: &[&[u8]]) -> Option<Vec<(usize, usize)>> {
    let size = MAX_EDITS.min(a.len() + b.len());
    let middle = size as isize + 1;
    let at = |diagonal: isize| usize::try_from(diagonal + middle).unwrap_or(0);
    let mut furthest = vec![0_usize; 2 * size + 3];
    let mut trace: Vec<Vec<usize>> = Vec::new();
    for edits in 0..=size as isize {
        trace.push(furthest.clone());
        for diagonal in (-edits..=edits).step_by(2) {
            let mut x = step(&furthest, edits, diagonal, &at).0;
            let mut y = usize::try_from(x as isize - diagonal).ok();
            while let Some(row) = y
                && let (Some(left), Some(right)) = (a.get(x), b.get(row))
                && left == right
            {
                (x, y) = (x + 1, Some(row + 1));
            }
            if let Some(slot) = furthest.get_mut(at(diagonal)) {
                *slot = x;
            }
            if x >= a.len() && y.is_some_and(|y| y >= b.len()) {
                return Some(back(&trace, a.len(), b.len(), &at));
            }
        }
    }
    None
}

/// Where a diagonal begins after one more edit, and from which diagonal that came.
fn step(furthest: &[usize], edits: isize, diagonal: isize, at: &dyn Fn(isize) -> usize) -> (usize, isize) {
    let of = |diagonal: isize| furthest.get(at(diagonal)).copied().unwrap_or(0);
    if diagonal == -edits || (diagonal != edits && of(diagonal - 1) < of(diagonal + 1)) {
        (of(diagonal + 1), diagonal + 1)
    } else {
        (of(diagonal - 1) + usize::from(edits > 0), diagonal - 1)
    }
}

fn back(trace: &[Vec<usize>], a: usize, b: usize, at: &dyn Fn(isize) -> usize) -> Vec<(usize, usize)> {
    let (mut x, mut y) = (a as isize, b as isize);
    let mut kept = Vec::new();
    for (edits, furthest) in trace.iter().enumerate().rev() {
        let (_, from) = step(furthest, edits as isize, x - y, at);
        let (px, py) = if edits == 0 {
            (0, 0)
        } else {
            let px = furthest.get(at(from)).copied().unwrap_or(0) as isize;
            (px, px - from)
        };
        while x > px && y > py {
            (x, y) = (x - 1, y - 1);
            if let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) {
                kept.push((x, y));
            }
        }
        (x, y) = (px, py);
    }
    kept.reverse();
    kept
}

fn between(kept: &[(usize, usize)], a: usize, b: usize, offset: usize) -> Vec<Hunk> {
    let mut hunks = Vec::new();
    let mut next = (0, 0);
    for &(x, y) in kept.iter().chain(&[(a, b)]) {
        if (x, y) != next {
            hunks.push(Hunk { a: next.0 + offset..x + offset, b: next.1 + offset..y + offset });
        }
        next = (x + 1, y + 1);
    }
    hunks
}

/// A unified diff of at most `limit` lines; what is left out is counted in the last one.
pub(super) fn unified(a: &[&[u8]], b: &[&[u8]], hunks: &[Hunk], limit: usize) -> Vec<String> {
    let mut out = Vec::new();
    let mut left_out = 0_usize;
    let mut push = |line: String| {
        if out.len() < limit { out.push(line) } else { left_out += 1 }
    };
    let some = |lines: &[&[u8]], range: std::ops::Range<usize>, sign: char, push: &mut dyn FnMut(String)| {
        for line in lines.get(range).unwrap_or_default() {
            push(format!("{sign}{}", shown(line)));
        }
    };
    let mut done = 0;
    for (number, hunk) in hunks.iter().enumerate() {
        let before = hunk.a.start.saturating_sub(CONTEXT).max(done);
        if number == 0 || before > done {
            push(format!("@@ -{} +{} @@", hunk.a.start + 1, hunk.b.start + 1));
        }
        some(a, before..hunk.a.start, ' ', &mut push);
        some(a, hunk.a.clone(), '-', &mut push);
        some(b, hunk.b.clone(), '+', &mut push);
        let next = hunks.get(number + 1).map_or(a.len(), |next| next.a.start);
        done = (hunk.a.end + CONTEXT).min(next);
        some(a, hunk.a.end..done, ' ', &mut push);
    }
    if left_out > 0 {
        out.push(format!("… and {left_out} more lines"));
    }
    out
}

/// A line as it can be shown: no end, no control character, not longer than 200 characters.
pub(super) fn shown(line: &[u8]) -> String {
    let start = line.get(..1024).unwrap_or(line);
    let text = String::from_utf8_lossy(start);
    let text = text.trim_end_matches(['\n', '\r']);
    super::finding::cut(&printable(text))
}

/// Text without control characters other than tabs.
pub(super) fn printable(text: &str) -> String {
    let escaped = |c: char| {
        if c.is_control() && c != '\t' { c.escape_default().to_string() } else { c.to_string() }
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_compared_by_line() {
        let check = |a: &str, b: &str, expected: &[&str]| {
            let (a, b) = (split(a.as_bytes()), split(b.as_bytes()));
            assert_eq!(unified(&a, &b, &hunks(&a, &b), 20), expected);
        };
        check("", "", &[]);
        check("a\nb\n", "a\nb\n", &[]);
        check("", "a\n", &["@@ -1 +1 @@", "+a"]);
        check("a\nb\nc\n", "a\nx\nc\n", &["@@ -2 +2 @@", " a", "-b", "+x", " c"]);
        check("a\nb\nc\nd\n", "b\nc\ne\nd\n", &["@@ -1 +1 @@", "-a", " b", " c", "+e", " d"]);
        check(
            "1\n2\n3\n4\n5\n6\n7\n8\n9\n",
            "x\n2\n3\n4\n5\n6\n7\n8\ny\n",
            &["@@ -1 +1 @@", "-1", "+x", " 2", " 3", "@@ -9 +9 @@", " 7", " 8", "-9", "+y"],
        );
        check("a\x1b[31m\n", "b", &["@@ -1 +1 @@", "-a\\u{1b}[31m", "+b"]);
    }

    #[test]
    fn what_is_long_is_cut() {
        let a: String = (0..50).map(|n| format!("a{n}\n")).collect();
        let (a, b) = (split(a.as_bytes()), split(b"z\n"));
        let shown = unified(&a, &b, &hunks(&a, &b), 5);
        assert_eq!(shown.len(), 6);
        assert_eq!(shown[5], "… and 47 more lines");
        // Too many edits: one hunk.
        let many: Vec<String> = (0..2000).map(|n| format!("{n}\n")).collect();
        let odd: Vec<&[u8]> = many.iter().map(String::as_bytes).step_by(2).collect();
        let even: Vec<&[u8]> = many.iter().map(String::as_bytes).skip(1).step_by(2).collect();
        assert_eq!(hunks(&odd, &even), [Hunk { a: 0..1000, b: 0..1000 }]);
    }

    #[test]
    fn text_is_told_from_bytes() {
        for (bytes, expected) in [
            (&b"plain\ttext\n"[..], true),
            ("äöü\n".as_bytes(), true),
            (b"\x00\x01", false),
            (b"\xff\xfe", false),
            (b"", true),
        ] {
            assert_eq!(is_text(bytes), expected, "{bytes:?}");
        }
    }
}
