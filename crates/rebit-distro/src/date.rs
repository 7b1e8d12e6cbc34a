//! Times as Release files write them (RFC 5322, in UTC).

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads `Sat, 09 May 2026 10:00:00 UTC` as seconds since 1970; the day of the week may be missing.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let text = text.split_once(", ").map_or(text, |(_, rest)| rest);
    let words: Vec<&str> = text.split_whitespace().collect();
    let [day, month, year, time, zone] = words.as_slice() else { return None };
    if !matches!(*zone, "UTC" | "GMT" | "+0000" | "Z") {
        return None;
    }
    let number = |text: &str, range: std::ops::RangeInclusive<i64>| {
        let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten().filter(|n| range.contains(n))
    };
    let month = i64::try_from(MONTHS.iter().position(|name| name == month)?).ok()? + 1;
    let (day, year) = (number(day, 1..=31)?, number(year, 1970..=9999)?);
    let parts: Vec<&str> = time.split(':').collect();
    let [hour, minute, second] = parts.as_slice() else { return None };
    let of_day = number(hour, 0..=23)? * 3600 + number(minute, 0..=59)? * 60 + number(second, 0..=60)?;
    // Years that begin in March have the leap day last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + of_day)
}

/// Writes seconds since 1970 as `20260509T100000Z`.
#[must_use]
pub fn compact(time: i64) -> String {
    let (days, of_day) = (time.div_euclid(86_400) + 719_468, time.rem_euclid(86_400));
    // Four hundred years have 146 097 days; years begin in March here too.
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let (shifted, year) = ((5 * of_year + 2) / 153, era * 400 + year);
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let (month, year) = if shifted < 10 { (shifted + 3, year) } else { (shifted - 9, year + 1) };
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written() {
        for (text, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 UTC", "19700101T000000Z"),
            ("29 Feb 2000 23:59:59 GMT", "20000229T235959Z"),
            ("Sat,  1 Mar 2025  1:02:03 +0000", "20250301T010203Z"),
            ("31 Dec 2026 12:00:00 UTC", "20261231T120000Z"),
        ] {
            assert_eq!(compact(parse(text).unwrap()), expected);
        }
        // Every day of four hundred years is its own.
        for day in 0..146_097_i64 {
            let text = compact(day * 86_400);
            let (date, month) = (&text[6..8], text[4..6].parse::<usize>().unwrap());
            let back = format!("{date} {} {} 00:00:00 UTC", MONTHS[month - 1], &text[..4]);
            assert_eq!(parse(&back), Some(day * 86_400), "{text}");
        }
    }

    #[test]
    fn times_are_read() {
        for (text, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 UTC", Some(0)),
            ("Sat, 09 May 2026 10:00:00 UTC", Some(1_778_320_800)),
            ("29 Feb 2000 23:59:59 GMT", Some(951_868_799)),
            ("Sat,  1 Mar 2025  1:02:03 +0000", Some(1_740_790_923)),
            ("Sat, 09 May 2026 10:00:00 CET", None),
            ("Sat, 09 Mai 2026 10:00:00 UTC", None),
            ("Sat, 09 May 2026 10:00 UTC", None),
            ("Sat, 32 May 2026 10:00:00 UTC", None),
            ("Sat, 09 May +026 10:00:00 UTC", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
