//! Times as the config writes them.

/// Days from 0000-03-01 to 1970-01-01.
const MARCH_DAYS: i64 = 719_468;
/// Days of 400, 100 and 4 years, and of one.
const SPANS: [(i64, i64); 4] = [(146_097, 400), (36_524, 100), (1_461, 4), (365, 1)];

/// Seconds since 1970 in RFC 3339, UTC, without fractions.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let (mut days, of_day) = (seconds.div_euclid(86_400) + MARCH_DAYS, seconds.rem_euclid(86_400));
    // Years start in March here, so that the leap day is the last one.
    let (length, years) = SPANS[0];
    let mut year = days.div_euclid(length) * years;
    days = days.rem_euclid(length);
    for ((length, years), most) in SPANS[1..].iter().zip([3, 24, 3]) {
        let count = (days / length).min(most);
        year += count * years;
        days -= count * length;
    }
    let mut month = 3;
    for length in [31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    if month > 12 {
        (year, month) = (year + 1, month - 12);
    }
    let day = days + 1;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc() {
        let check = |seconds, expected: &str| assert_eq!(rfc3339(seconds), expected);
        check(0, "1970-01-01T00:00:00Z");
        check(315_532_800, "1980-01-01T00:00:00Z");
        check(951_782_400, "2000-02-29T00:00:00Z");
        check(951_868_800, "2000-03-01T00:00:00Z");
        check(1_709_164_800, "2024-02-29T00:00:00Z");
        check(4_107_542_399, "2100-02-28T23:59:59Z");
        check(4_107_542_400, "2100-03-01T00:00:00Z");
        check(1_700_000_000, "2023-11-14T22:13:20Z");
        check(253_402_300_799, "9999-12-31T23:59:59Z");
        check(-1, "1969-12-31T23:59:59Z");
    }
}
