//! Wildcards of `COPY` and `ADD` sources: the rules of Go's `filepath.Match` on Unix, over bytes.
//!
//! `*` is any sequence of bytes but `/`, `?` one character but `/`, `[a-z]` a class (`[^a-z]` its complement), `\x` the character `x`.
//! The pattern has to match the whole name. A class needs at least one range, and `-`, `]` stand for themselves only behind `\`.
//! Characters are those of UTF-8; a byte that is not part of one counts as one character.

use thiserror::Error;

/// A pattern that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

/// Whether `pattern` has any wildcard, that is, differs from a plain name.
pub fn has_wildcard(pattern: &[u8]) -> bool {
    pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
}

/// Checks the syntax of a pattern.
///
/// # Errors
/// [`BadPattern`] for an unclosed or empty class, a misplaced `-` or `]`, or `\` at the end.
pub fn validate(pattern: &[u8]) -> Result<(), BadPattern> {
    let mut rest = pattern;
    while !rest.is_empty() {
        rest = item(rest, None).map(|(_, rest)| rest)?;
    }
    Ok(())
}

/// Whether `name` as a whole matches `pattern`. Time is at most proportional to the product of their lengths.
///
/// # Errors
/// [`BadPattern`] as for [`validate`], whatever the name.
pub fn matches(pattern: &[u8], name: &[u8]) -> Result<bool, BadPattern> {
    validate(pattern)?;
    let (mut p, mut n) = (pattern, name);
    // Where to go on when the present attempt fails: the pattern after the last `*`, the name it was tried at.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some((b'*', after)) = p.split_first() {
            p = after;
            retry = Some((p, n));
            continue;
        }
        if p.is_empty() && n.is_empty() {
            return Ok(true);
        }
        if !p.is_empty() {
            let (len, after) = item(p, Some(n))?;
            if let Some(rest) = len.and_then(|len| n.get(len..)) {
                (p, n) = (after, rest);
                continue;
            }
        }
        let Some((after_star, from)) = retry else { return Ok(false) };
        match from.split_first() {
            Some((byte, rest)) if *byte != b'/' => {
                (p, n) = (after_star, rest);
                retry = Some((after_star, rest));
            }
            _ => return Ok(false),
        }
    }
}

/// Reads one item of the pattern; if `name` begins with it, also how many bytes of the name it takes.
fn item<'p>(pattern: &'p [u8], name: Option<&[u8]>) -> Result<(Option<usize>, &'p [u8]), BadPattern> {
    let head = name.and_then(first_char);
    let Some((first, rest)) = pattern.split_first() else { return Ok((None, pattern)) };
    match first {
        b'*' => Ok((Some(0), rest)),
        b'?' => Ok((head.filter(|(c, _)| *c != u32::from(b'/')).map(|(_, len)| len), rest)),
        b'[' => {
            let (inside, rest) = class(rest, head.map(|(c, _)| c))?;
            Ok((head.filter(|_| inside).map(|(_, len)| len), rest))
        }
        _ => {
            let literal = if *first == b'\\' { rest } else { pattern };
            let Some((byte, rest)) = literal.split_first() else { return Err(BadPattern) };
            Ok((name.and_then(|name| name.first()).filter(|b| *b == byte).map(|_| 1), rest))
        }
    }
}

/// Reads a class after its `[`. A class never matches `/`... by accident only: Go lets it, so it does.
fn class(pattern: &[u8], c: Option<u32>) -> Result<(bool, &[u8]), BadPattern> {
    let (negated, mut rest) = match pattern.split_first() {
        Some((b'^', rest)) => (true, rest),
        _ => (false, pattern),
    };
    let (mut inside, mut ranges) = (false, 0usize);
    loop {
        if let (Some((b']', after)), true) = (rest.split_first(), ranges > 0) {
            return Ok((inside != negated, after));
        }
        let (low, after) = class_char(rest)?;
        rest = after;
        let mut high = low;
        if let Some((b'-', after)) = rest.split_first() {
            (high, rest) = class_char(after)?;
        }
        inside |= c.is_some_and(|c| low <= c && c <= high);
        ranges += 1;
    }
}

/// Reads one end of a range; there must be something after it.
fn class_char(pattern: &[u8]) -> Result<(u32, &[u8]), BadPattern> {
    let text = match pattern.split_first() {
        None | Some((b'-' | b']', _)) => return Err(BadPattern),
        Some((b'\\', rest)) => rest,
        Some(_) => pattern,
    };
    let (c, len) = first_char(text).ok_or(BadPattern)?;
    match text.get(len..) {
        // Bytes outside UTF-8 cannot be named in a class.
        Some(rest) if !rest.is_empty() && c < INVALID => Ok((c, rest)),
        _ => Err(BadPattern),
    }
}

/// Above every character: stands for a byte outside UTF-8.
const INVALID: u32 = 0x11_0000;

/// The first character and its length in bytes.
fn first_char(bytes: &[u8]) -> Option<(u32, usize)> {
    let head = bytes.get(..bytes.len().min(4))?;
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => head.get(..error.valid_up_to()).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or(""),
    };
    match valid.chars().next() {
        Some(c) => Some((u32::from(c), c.len_utf8())),
        None => bytes.first().map(|_| (INVALID, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_filepath_match() {
        let cases: &[(&str, &str, Result<bool, BadPattern>)] = &[
            ("abc", "abc", Ok(true)),
            ("*", "abc", Ok(true)),
            ("*c", "abc", Ok(true)),
            ("a*", "a", Ok(true)),
            ("a*", "abc", Ok(true)),
            ("a*", "ab/c", Ok(false)),
            ("a*/b", "abc/b", Ok(true)),
            ("a*/b", "a/c/b", Ok(false)),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", Ok(true)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", Ok(true)),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", Ok(false)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", Ok(false)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Ok(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Ok(false)),
            ("ab[c]", "abc", Ok(true)),
            ("ab[b-d]", "abc", Ok(true)),
            ("ab[e-g]", "abc", Ok(false)),
            ("ab[^c]", "abc", Ok(false)),
            ("ab[^b-d]", "abc", Ok(false)),
            ("ab[^e-g]", "abc", Ok(true)),
            ("a\\*b", "a*b", Ok(true)),
            ("a\\*b", "ab", Ok(false)),
            ("a?b", "a☺b", Ok(true)),
            ("a[^a]b", "a☺b", Ok(true)),
            ("a???b", "a☺b", Ok(false)),
            ("a[^a][^a][^a]b", "a☺b", Ok(false)),
            ("[a-ζ]*", "α", Ok(true)),
            ("*[a-ζ]", "A", Ok(false)),
            ("a?b", "a/b", Ok(false)),
            ("a*b", "a/b", Ok(false)),
            ("[\\]a]", "]", Ok(true)),
            ("[\\-]", "-", Ok(true)),
            ("[x\\-]", "x", Ok(true)),
            ("[x\\-]", "-", Ok(true)),
            ("[x\\-]", "z", Ok(false)),
            ("[\\-x]", "a", Ok(false)),
            ("[]a]", "]", Err(BadPattern)),
            ("[-]", "-", Err(BadPattern)),
            ("[x-]", "x", Err(BadPattern)),
            ("[x-]", "z", Err(BadPattern)),
            ("[-x]", "x", Err(BadPattern)),
            ("\\", "a", Err(BadPattern)),
            ("[a-b-c]", "a", Err(BadPattern)),
            ("[", "a", Err(BadPattern)),
            ("[^", "a", Err(BadPattern)),
            ("[^bc", "a", Err(BadPattern)),
            ("a[", "a", Err(BadPattern)),
            ("a[", "ab", Err(BadPattern)),
            ("a[", "x", Err(BadPattern)),
            ("a/b[", "x", Err(BadPattern)),
            ("*x", "xxx", Ok(true)),
            ("", "", Ok(true)),
            ("", "a", Ok(false)),
            ("**", "ab", Ok(true)),
            ("**/b", "a/c/b", Ok(false)),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), *expected, "{pattern:?} on {name:?}");
        }
    }

    #[test]
    fn names_outside_utf8() {
        assert_eq!(matches(b"a?b", b"a\xffb"), Ok(true));
        assert_eq!(matches(b"a*", b"a\xff\xfe"), Ok(true));
        assert_eq!(matches(b"a\xff", b"a\xff"), Ok(true));
        assert_eq!(matches(b"[\xff]", b"\xff"), Err(BadPattern));
    }

    #[test]
    fn long_patterns_end_in_time() {
        let pattern = b"*a".repeat(2_000);
        assert_eq!(matches(&pattern, &b"a".repeat(4_000)), Ok(true));
        assert_eq!(matches(&[pattern, b"b".to_vec()].concat(), &b"a".repeat(4_000)), Ok(false));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(pattern: Vec<u8>, name: Vec<u8>) {
            let valid = validate(&pattern).is_ok();
            assert_eq!(matches(&pattern, &name).is_ok(), valid);
        }

        #[test]
        fn escaped_names_match_themselves(name: Vec<u8>) {
            let pattern: Vec<u8> = name.iter().flat_map(|byte| [b'\\', *byte]).collect();
            assert_eq!(matches(&pattern, &name), Ok(true));
        }
    }
}
