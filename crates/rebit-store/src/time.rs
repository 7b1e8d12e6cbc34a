//! Times as the index keeps them: whole seconds since 1970.

use std::time::{Duration, SystemTime};

/// Seconds since 1970, rounded down.
pub(crate) fn seconds(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => {
            let before = before.duration();
            let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            -whole - i64::from(before.subsec_nanos() > 0)
        }
    }
}

/// The reverse; `None` when the system cannot express it.
pub(crate) fn from_seconds(seconds: i64) -> Option<SystemTime> {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_round_trip() {
        for value in [0, 1, -1, 315_532_800, -10_000_000_000] {
            assert_eq!(from_seconds(value).map(seconds), Some(value));
        }
        assert_eq!(seconds(SystemTime::UNIX_EPOCH - Duration::from_millis(1)), -1);
    }
}
