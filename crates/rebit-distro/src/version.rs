//! Versions of packages and their order (Debian policy 5.6.12).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Longest version that is read.
const MAX_LENGTH: usize = 256;

/// A version `[epoch:]upstream[-revision]`.
///
/// Two versions that are spelled differently may be equal: `1.0` and `1.00`.
#[derive(Debug, Clone)]
pub struct Version(String);

/// Why a text is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a version of a package: {reason}")]
pub struct ParseVersionError {
    /// The text, cut.
    pub text: String,
    /// What is wrong.
    pub reason: &'static str,
}

impl Version {
    /// The version as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Epoch, upstream version and revision. A missing epoch is 0, a missing revision compares as `0` does.
    fn parts(&self) -> (u32, &str, &str) {
        let (epoch, rest) = match self.0.split_once(':') {
            Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
            None => (0, self.0.as_str()),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch, upstream, revision)
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, ParseVersionError> {
        let wrong = |reason| ParseVersionError { text: text.chars().take(80).collect(), reason };
        if text.len() > MAX_LENGTH {
            return Err(wrong("it is too long"));
        }
        let rest = match text.split_once(':') {
            Some((epoch, rest)) => {
                let number = epoch.bytes().all(|b| b.is_ascii_digit()) && epoch.parse::<u32>().is_ok();
                if !number {
                    return Err(wrong("its epoch is not a number"));
                }
                rest
            }
            None => text,
        };
        if rest.is_empty() || rest.starts_with('-') {
            return Err(wrong("it is empty"));
        }
        if rest.ends_with('-') {
            return Err(wrong("its revision is empty"));
        }
        if !rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.+~:".contains(&b)) {
            return Err(wrong("it has characters that no version has"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let (epoch, upstream, revision) = self.parts();
        let (other_epoch, other_upstream, other_revision) = other.parts();
        epoch
            .cmp(&other_epoch)
            .then_with(|| compare(upstream.as_bytes(), other_upstream.as_bytes()))
            .then_with(|| compare(revision.as_bytes(), other_revision.as_bytes()))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

/// Letters before everything else that is no digit, the end of the part before both, and `~` before the end.
fn weight(byte: Option<u8>) -> u16 {
    match byte {
        Some(b'~') => 0,
        None => 1,
        Some(byte) if byte.is_ascii_digit() => 1,
        Some(byte) if byte.is_ascii_alphabetic() => u16::from(byte) + 1,
        Some(byte) => u16::from(byte) + 0x200,
    }
}

/// Compares by turns what is no number and what is one.
fn compare(mut a: &[u8], mut b: &[u8]) -> Ordering {
    let is_digit = |part: &[u8]| part.first().is_some_and(u8::is_ascii_digit);
    while !a.is_empty() || !b.is_empty() {
        while (!a.is_empty() && !is_digit(a)) || (!b.is_empty() && !is_digit(b)) {
            match weight(a.first().copied()).cmp(&weight(b.first().copied())) {
                Ordering::Equal => {}
                other => return other,
            }
            a = a.get(1..).unwrap_or_default();
            b = b.get(1..).unwrap_or_default();
        }
        let (number, rest) = take_number(a);
        let (other, other_rest) = take_number(b);
        match number.len().cmp(&other.len()).then_with(|| number.cmp(other)) {
            Ordering::Equal => {}
            other => return other,
        }
        (a, b) = (rest, other_rest);
    }
    Ordering::Equal
}

/// The digits at the start, without leading zeros, and what follows.
fn take_number(part: &[u8]) -> (&[u8], &[u8]) {
    let end = part.iter().position(|b| !b.is_ascii_digit()).unwrap_or(part.len());
    let (digits, rest) = part.split_at(end);
    let start = digits.iter().position(|b| *b != b'0').unwrap_or(digits.len());
    (digits.get(start..).unwrap_or_default(), rest)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn the_order_is_that_of_the_policy() {
        let ascending = [
            "0~~",
            "0~~a",
            "0~",
            "0",
            "0a",
            "0+",
            "0.1~rc1",
            "0.1",
            "0.1-0.1",
            "0.1-1",
            "0.1-1+b1",
            "0.1-1.1",
            "0.1a",
            "0.1+deb12u1",
            "0.9",
            "0.10",
            "1:0~",
            "1:0",
            "2:0-1~bpo12+1",
            "2:0-1",
        ];
        for pair in ascending.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{} < {}", pair[0], pair[1]);
            assert!(version(pair[1]) > version(pair[0]), "{} > {}", pair[1], pair[0]);
        }
        for (a, b) in [("1", "01"), ("1.0", "1.00"), ("0:1", "1"), ("1", "1-0")] {
            assert_eq!(version(a), version(b), "{a} = {b}");
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for bad in ["", ":", "a:1", "-1", "1-", "1:", "1 2", "1_2", "1/2", "99999999999:1", &"1".repeat(257)]
        {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }

    /// Texts like versions, from a fixed beginning.
    fn texts(count: usize) -> Vec<String> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |limit: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % limit
        };
        let parts = [
            "0", "1", "2", "9", "10", "00", "a", "b", "Z", "rc", "dfsg", ".", ".", "+", "~", "-", "+b",
            "~bpo", "deb12u",
        ];
        let mut one = || {
            let epoch = if next(4) == 0 { format!("{}:", next(3)) } else { String::new() };
            let rest: String = (0..=next(5)).map(|_| parts[next(parts.len() as u64) as usize]).collect();
            format!("{epoch}{}{rest}", next(3))
        };
        (0..count).map(|_| one()).collect()
    }

    #[test]
    fn dpkg_agrees() {
        if !Command::new("dpkg").arg("--version").output().is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: needs dpkg");
            return;
        }
        let texts = texts(2_500);
        let mut script = String::new();
        let mut pairs = 0;
        for pair in texts.windows(2) {
            let [Ok(a), Ok(b)] = [pair[0].parse::<Version>(), pair[1].parse::<Version>()] else { continue };
            let word = match a.cmp(&b) {
                Ordering::Less => "lt",
                Ordering::Equal => "eq",
                Ordering::Greater => "gt",
            };
            script
                .push_str(&format!("dpkg --compare-versions '{a}' {word} '{b}' || echo '{a} {word} {b}'\n"));
            pairs += 1;
        }
        assert!(pairs > 1_500, "{pairs}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &script).unwrap();
        let said = Command::new("sh").arg(file.path()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout), "", "dpkg does not say this");
    }

    proptest! {
        #[test]
        fn it_is_a_total_order(a in "[0-9a-z.+~:-]{0,8}", b in "[0-9a.~]{1,6}", c in "[0-9a.~]{1,6}") {
            let parse = |text: &str| text.parse::<Version>().ok();
            let Some(b) = parse(&b) else { return Ok(()) };
            let Some(c) = parse(&c) else { return Ok(()) };
            prop_assert_eq!(b.cmp(&c), c.cmp(&b).reverse());
            prop_assert_eq!(b.cmp(&b), Ordering::Equal);
            if let Some(a) = parse(&a) {
                if a <= b && b <= c {
                    prop_assert!(a <= c);
                }
                if a >= b && b >= c {
                    prop_assert!(a >= c);
                }
            }
        }
    }
}
