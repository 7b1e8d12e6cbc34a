//! From a difference to what it comes from: a table of patterns.
//!
//! A rule says what a text of one cause looks like. Two texts differ because of it when they are the same
//! once everything that looks like it is masked in both.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::Cause;

/// What a cause looks like in text, in the order in which rules are tried: the special before the general.
const RULES: &[(Cause, &str)] = &[
    // 2026-11-24, 2026-11-24T13:15:28.123Z, 2026/11/24 13:15:28 +0100
    (
        Cause::Time,
        r"(?-u)\b(?:19|20)\d\d[-/.](?:0[1-9]|1[0-2])[-/.](?:0[1-9]|[12]\d|3[01])(?:[T _]?\d\d:?\d\d(?::?\d\d(?:[.,]\d+)?)?)?(?: ?(?:Z\b|UTC|GMT|[+-]\d\d:?\d\d))?",
    ),
    // Tue Nov 24 13:15:28 UTC 2026, Nov 24 2026, 24 Nov 2026 13:15, Tue, 24 Nov 2026 13:15:28 +0000
    (
        Cause::Time,
        r"(?-u)\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6},? +)?(?:(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\.? +\d{1,2}|\d{1,2}[ -](?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}),?(?:[ -]+(?:19|20)\d\d)?(?: +\d\d:\d\d(?::\d\d)?)?(?: +(?:[A-Z]{3,4}\b|[+-]\d{4}))?(?: +(?:19|20)\d\d\b)?",
    ),
    // 13:15:28
    (Cause::Time, r"(?-u)\b[0-2]\d:[0-5]\d:[0-6]\d(?:[.,]\d+)?\b"),
    // 20261124, 20261124131528
    (
        Cause::Time,
        r"(?-u)\b(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:T?[0-2]\d[0-5]\d(?:[0-6]\d)?)?Z?\b",
    ),
    // Seconds, milliseconds, micro- or nanoseconds since 1970, from 2001 to 2033; with a fraction.
    (Cause::Time, r"(?-u)\b1\d{9}(?:\d{3}|\d{6}|\d{9})?(?:\.\d+)?\b"),
    // root:*:20781:0: days since 1970 in /etc/shadow
    (Cause::Time, r"(?-u):[12]\d{4}:"),
    // took 1.52s, in 34 ms
    (Cause::Time, r"(?-u)\b\d+(?:\.\d+)? ?(?:ns|us|ms|s|sec|secs|seconds|minutes)\b"),
    (Cause::Process, r"(?i-u)\b(?:pid|ppid|process(?: id)?)\b[^\w\n]{0,4}\d+"),
    (Cause::Process, r"(?-u)/proc/\d+\b"),
    // sshd[123]:
    (Cause::Process, r"(?-u)\b[\w.-]+\[\d{1,7}\]:"),
    (Cause::Random, r"(?i-u)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
    // Digests and other long hexadecimal numbers.
    (
        Cause::Random,
        r"(?i-u)\b(?:[0-9a-f]{128}|[0-9a-f]{96}|[0-9a-f]{64}|[0-9a-f]{56}|[0-9a-f]{40}|[0-9a-f]{32})\b",
    ),
    (Cause::Random, r"(?-u)\b0x[0-9a-f]{6,16}\b"),
    // mktemp and its relatives
    (Cause::Random, r"(?-u)\btmp[._-]?[A-Za-z0-9_]{6,12}\b"),
    (Cause::Random, r"(?-u)/tmp/[A-Za-z0-9._-]+"),
    // Base64 and other random-looking words: 43 or more characters.
    (Cause::Random, r"(?-u)\b[A-Za-z0-9+/_-]{43,}={0,2}"),
    (
        Cause::Host,
        r"(?i-u)\b(?:host(?:name)?|node(?:name)?|machine|build[ _-]?host|user(?:name)?|built[ _-]?by|packager|builder)\b[\x22']?\s*[:=]\s*[\x22']?[\w.@-]+",
    ),
    // somebody@somewhere
    (Cause::Host, r"(?-u)\b[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+"),
    // The host name of a container: the start of its id.
    (Cause::Host, r"(?-u)\b[0-9a-f]{12}\b"),
    // en_US.UTF-8, C.UTF-8, LC_ALL=C
    (
        Cause::Locale,
        r"(?-u)\b(?:[a-z]{2,3}_[A-Z]{2}(?:\.[A-Za-z0-9-]+)?(?:@[a-z]+)?|C\.(?:UTF-8|utf8))(?:\b|$)",
    ),
    (
        Cause::Locale,
        r"(?-u)\b(?:LC_[A-Z]+|LANG|LANGUAGE|charset|encoding)\b[\x22']?\s*[:=]\s*[\x22']?[\w.@-]*",
    ),
    (Cause::Locale, r"(?-u)\bANSI_X3\.4-1968\b|\bUTF-8\b|\bUS-ASCII\b"),
    // 1,234.5 and 1.234,5
    (Cause::Locale, r"(?-u)\b\d+(?:[.,]\d{3})*[.,]\d+\b"),
    // /build/one/file
    (Cause::Path, r"(?-u)(?:/[A-Za-z0-9_.+@~%-]+){2,}/?"),
];

/// The table, compiled. A pattern that does not compile would be left out; a test shows that none is.
static COMPILED: LazyLock<Vec<(Cause, Regex)>> = LazyLock::new(|| {
    RULES.iter().filter_map(|(cause, pattern)| Some((*cause, Regex::new(pattern).ok()?))).collect()
});

/// Longest text that is looked at, in bytes.
const MAX_TEXT: usize = 16 << 10;

/// What the difference of two pieces of text comes from; empty when no rule explains all of it.
///
/// One cause is preferred; if it takes several, these are the ones that it takes.
#[must_use]
pub fn of_text(a: &[u8], b: &[u8]) -> Vec<Cause> {
    if a == b || a.len() > MAX_TEXT || b.len() > MAX_TEXT {
        return Vec::new();
    }
    let mut all: Vec<Cause> = Vec::new();
    for (cause, _) in RULES {
        if !all.contains(cause) {
            all.push(*cause);
        }
    }
    let explained = |causes: &[Cause]| masked(a, causes) == masked(b, causes);
    if let Some(one) = all.iter().find(|cause| explained(&[**cause])) {
        return vec![*one];
    }
    if !explained(&all) {
        return Vec::new();
    }
    // What can be left out is.
    let mut needed = all.clone();
    for cause in all.iter().rev() {
        let without: Vec<Cause> = needed.iter().copied().filter(|other| other != cause).collect();
        if explained(&without) {
            needed = without;
        }
    }
    needed.sort_unstable();
    needed
}

fn masked(text: &[u8], causes: &[Cause]) -> Vec<u8> {
    let mut text = text.to_vec();
    for (cause, pattern) in COMPILED.iter().filter(|(cause, _)| causes.contains(cause)) {
        // Control characters stand for what was there, so that no rule finds anything in them.
        let mask = [1, 2 + *cause as u8, 1];
        text = pattern.replace_all(&text, regex::bytes::NoExpand(&mask)).into_owned();
    }
    text
}

/// Whether two numbers could both be times of a build, in seconds since 1970: 2001 to 2039, or one of the
/// times that stand for none (0, and 1980-01-01, the first that a zip archive can hold).
fn both_times(a: u32, b: u32) -> bool {
    let fixed = |time: u32| matches!(time, 0 | 315_532_800);
    let recent = |time: u32| (1_000_000_000..2_200_000_000).contains(&time);
    match (recent(a), recent(b)) {
        // Twenty years: random numbers are hardly ever so near to each other.
        (true, true) => a.abs_diff(b) < 630_000_000,
        (true, false) => fixed(b),
        (false, true) => fixed(a),
        (false, false) => false,
    }
}

/// What a range of bytes that differs between two binary files of the same length comes from.
///
/// Numbers of four bytes (or eight, of which the upper half is the same) that hold the range are tried as
/// times in both byte orders; printable text around it as [`of_text`] does.
#[must_use]
pub fn of_bytes(a: &[u8], b: &[u8], start: usize, end: usize) -> Vec<Cause> {
    if end.saturating_sub(start) <= 4 {
        for at in end.saturating_sub(4)..=start {
            let (Some(Ok(x)), Some(Ok(y))) = (number(a, at), number(b, at)) else { continue };
            let orders = [u32::from_le_bytes as fn([u8; 4]) -> u32, u32::from_be_bytes];
            if orders.iter().any(|order| both_times(order(x), order(y))) {
                return vec![Cause::Time];
            }
        }
    }
    let (x, y) = (printable_around(a, start, end), printable_around(b, start, end));
    match (x, y) {
        (Some(x), Some(y)) => of_text(x, y),
        _ => Vec::new(),
    }
}

fn number(bytes: &[u8], at: usize) -> Option<Result<[u8; 4], std::array::TryFromSliceError>> {
    bytes.get(at..at.checked_add(4)?).map(<[u8; 4]>::try_from)
}

/// The printable text that holds a range, at most 256 bytes to each side; `None` when the range is not text.
fn printable_around(bytes: &[u8], start: usize, end: usize) -> Option<&[u8]> {
    let text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    if !bytes.get(start..end)?.iter().all(text) {
        return None;
    }
    let before =
        bytes.get(start.saturating_sub(256)..start)?.iter().rev().take_while(|byte| text(byte)).count();
    let after = bytes.get(end..)?.iter().take(256).take_while(|byte| text(byte)).count();
    let found = bytes.get(start - before..end + after)?;
    (found.len() >= 4).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_compiles() {
        for (_, pattern) in RULES {
            assert!(Regex::new(pattern).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn texts_are_explained() {
        use Cause::{Host, Locale, Path, Process, Random, Time};
        let check = |a: &str, b: &str, expected: &[Cause]| {
            assert_eq!(of_text(a.as_bytes(), b.as_bytes()), expected, "{a} | {b}");
        };
        check("same", "same", &[]);
        check("one", "two", &[]);
        check("built 2026-11-24T13:15:28Z ok", "built 1980-01-01T00:00:00+01:00 ok", &[Time]);
        check("built 2026-11-24 ok", "built 2026-11-25 ok", &[Time]);
        check("Tue Nov 24 13:15:28 UTC 2026", "Wed Nov 25 03:05:08 UTC 2026", &[Time]);
        check("24 Nov 2026 13:15", "3 Jan 2027 01:02", &[Time]);
        check("at 13:15:28", "at 13:15:29", &[Time]);
        check("v20261124", "v20261125", &[]);
        check("v 20261124", "v 20261125", &[Time]);
        check("t=1764000000", "t=1764000001", &[Time]);
        check("t=1764000000123", "t=1764000001456", &[Time]);
        check("mtime 1764000000.25", "mtime 1764000001.5", &[Time]);
        check("web:!:20781::::::", "web:!:20782::::::", &[Time]);
        check("done in 1.52s", "done in 12 s", &[Time]);
        check("pid=12", "pid=4711", &[Process]);
        check("/proc/12/fd", "/proc/4711/fd", &[Process]);
        check("sshd[12]: x", "sshd[4711]: x", &[Process]);
        check(
            "id 123e4567-e89b-12d3-a456-426614174000",
            "id 123e4567-e89b-12d3-a456-426614174fff",
            &[Random],
        );
        check("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210", &[Random]);
        check("open tmp.Ab12Cd34", "open tmp.Zx98Yv76", &[Random]);
        check("at 0x7f001234a0", "at 0x7f9912fff0", &[Random]);
        check("hostname: one", "hostname: two.example", &[Host]);
        check("by me@one", "by you@two", &[Host]);
        check("on 0123456789ab now", "on ba9876543210 now", &[Host]);
        check("de_DE.UTF-8", "C.UTF-8", &[Locale]);
        check("LANG=de", "LANG=en", &[Locale]);
        check("1,5 MB", "1.5 MB", &[Locale]);
        check("-I/build/one/include -O2", "-I/home/x/two/include -O2", &[Path]);
        check("2026-11-24 /build/one/x", "2026-11-25 /srv/two/x", &[Time, Path]);
        check("2026-11-24 /build/one/x but", "2026-11-25 /srv/two/x and", &[]);
    }

    #[test]
    fn numbers_are_explained() {
        let check = |a: &[u8], b: &[u8], start, end, expected: &[Cause]| {
            assert_eq!(of_bytes(a, b, start, end), expected, "{a:?} {b:?}");
        };
        let times = (1_764_000_000_u32, 1_764_000_077_u32);
        let framed = |bytes: [u8; 4]| [&[0, 0], &bytes[..], &[0, 0]].concat();
        check(&framed(times.0.to_le_bytes()), &framed(times.1.to_le_bytes()), 2, 3, &[Cause::Time]);
        check(&framed(times.0.to_be_bytes()), &framed(times.1.to_be_bytes()), 5, 6, &[Cause::Time]);
        check(&framed([0; 4]), &framed(times.1.to_le_bytes()), 2, 6, &[Cause::Time]);
        check(&framed([1, 2, 3, 4]), &framed([9, 2, 3, 4]), 2, 3, &[]);
        check(b"\0\0built Nov 24 2026\0", b"\0\0built Nov 25 2026\0", 13, 14, &[Cause::Time]);
        // Ranges that are not there.
        check(b"", b"", 0, 4, &[]);
        check(b"abc", b"abd", 2, 900, &[]);
    }
}
