//! Times as RFC 3339 writes them, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// A time to the second: `2000-02-29T00:00:00Z`. Times before 1970 are 1970's beginning.
pub fn seconds(time: SystemTime) -> String {
    text(time, "")
}

/// A time to the nanosecond: `2000-02-29T00:00:00.000000005Z`.
pub fn nanoseconds(time: SystemTime) -> String {
    let nanos = time.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    text(time, &format!(".{nanos:09}"))
}

/// The calendar repeats every 400 years of 146,097 days; its years are counted from March, so that the leap day is the
/// last one.
fn text(time: SystemTime, fraction: &str) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_have_dates() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_000_000_000, "2001-09-09T01:46:40Z"),
            (1_764_063_999, "2025-11-25T09:46:39Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(seconds(UNIX_EPOCH + Duration::new(at, 7)), text);
        }
        let time = UNIX_EPOCH + Duration::new(951_782_399, 5);
        assert_eq!(nanoseconds(time), "2000-02-28T23:59:59.000000005Z");
        assert_eq!(seconds(UNIX_EPOCH - Duration::from_secs(9)), "1970-01-01T00:00:00Z");
    }
}
