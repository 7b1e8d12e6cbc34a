//! Durations as Go writes them, used by `HEALTHCHECK`.

use std::time::Duration;

use thiserror::Error;

/// A duration that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DurationError {
    /// Not of the form `1h30m`, `500ms`, `1.5s`, `0`.
    #[error("not a duration (such as `30s`, `1m30s`, `500ms`)")]
    Syntax,
    /// Below zero.
    #[error("a duration cannot be negative")]
    Negative,
    /// More than 2^63 - 1 nanoseconds, some 292 years.
    #[error("duration is too long")]
    TooLong,
}

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000), // U+00B5
    ("μs", 1_000), // U+03BC
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration as Go's `time.ParseDuration` does: decimal numbers, each with a unit, largest first by custom only.
///
/// # Errors
/// [`DurationError`]; negative durations are refused, which Go would take.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(DurationError::Syntax);
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (nanos, after) = part(rest)?;
        total += nanos;
        rest = after;
        if total > i64::MAX as u128 {
            return Err(DurationError::TooLong);
        }
    }
    match u64::try_from(total) {
        Ok(nanos) if !negative || nanos == 0 => Ok(Duration::from_nanos(nanos)),
        Ok(_) => Err(DurationError::Negative),
        Err(_) => Err(DurationError::TooLong),
    }
}

/// One number with its unit, in nanoseconds, and what follows.
fn part(text: &str) -> Result<(u128, &str), DurationError> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(DurationError::Syntax);
    }
    let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    let unit = UNITS.iter().find(|(unit, _)| *unit == name).ok_or(DurationError::Syntax)?.1;
    let whole = if whole.is_empty() { Ok(0) } else { whole.parse::<u64>() };
    let whole = whole.map_err(|_| DurationError::TooLong)?;
    // More digits than this cannot change a nanosecond.
    let fraction: String = fraction.chars().take(18).collect();
    let scale = 10u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let fraction = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().unwrap_or(0) };
    Ok((u128::from(whole) * u128::from(unit) + fraction * u128::from(unit) / scale, rest))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_go() {
        let ok: &[(&str, u64)] = &[
            ("0", 0),
            ("5s", 5_000_000_000),
            ("30s", 30_000_000_000),
            ("1478s", 1_478_000_000_000),
            ("+5s", 5_000_000_000),
            ("-0", 0),
            ("5.0s", 5_000_000_000),
            ("5.6s", 5_600_000_000),
            ("5.s", 5_000_000_000),
            (".5s", 500_000_000),
            ("100.00100s", 100_001_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("12µs", 12_000),
            ("12μs", 12_000),
            ("13ms", 13_000_000),
            ("3h30m", 12_600_000_000_000),
            ("10.5s4m", 250_500_000_000),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("9223372036854775807ns", 9_223_372_036_854_775_807),
        ];
        for (text, nanos) in ok {
            assert_eq!(parse(text), Ok(Duration::from_nanos(*nanos)), "{text}");
        }
        let bad = [
            ("", DurationError::Syntax),
            ("3", DurationError::Syntax),
            ("-", DurationError::Syntax),
            ("s", DurationError::Syntax),
            (".", DurationError::Syntax),
            (".s", DurationError::Syntax),
            ("1d", DurationError::Syntax),
            ("5 s", DurationError::Syntax),
            ("-5s", DurationError::Negative),
            ("9223372036854775808ns", DurationError::TooLong),
            ("99999999999999999999h", DurationError::TooLong),
            ("3000000h", DurationError::TooLong),
        ];
        for (text, error) in bad {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[-+.0-9nuµmsh]{0,40}") {
            let _ = parse(&text);
        }
    }
}
