//! Points in time, as records and logs store them and as users write them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time, in nanoseconds since 1970; written as in RFC 3339, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

impl Time {
    /// The time of the host's clock.
    pub fn now() -> Time {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time(since.as_nanos().try_into().unwrap_or(u64::MAX))
    }

    /// How long ago this was.
    pub fn ago(self) -> Duration {
        Duration::from_nanos(Time::now().0.saturating_sub(self.0))
    }

    fn system(self) -> SystemTime {
        // The largest value is in the year 2554, which the format can represent.
        UNIX_EPOCH + Duration::from_nanos(self.0)
    }

    /// Parses the time of `--since` and `--until`: RFC 3339 (the end may be left out), seconds since 1970, or
    /// a duration before now such as `10m` or `1h30m`.
    ///
    /// # Errors
    /// Returns a sentence where it is none of these.
    pub fn parse(text: &str) -> Result<Time, String> {
        if let Ok(seconds) = text.parse::<f64>()
            && (0.0..1e10).contains(&seconds)
        {
            return Ok(Time((seconds * 1e9) as u64));
        }
        if let Ok(before) = humantime::parse_duration(text) {
            let before = u64::try_from(before.as_nanos()).unwrap_or(u64::MAX);
            return Ok(Time(Time::now().0.saturating_sub(before)));
        }
        let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_string() };
        let time = humantime::parse_rfc3339_weak(&whole).ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        let time = time.and_then(|t| u64::try_from(t.as_nanos()).ok()).map(Time);
        time.ok_or_else(|| {
            format!("'{text}' is not a time: write 2026-11-25T12:00:00Z, seconds since 1970, or 10m for ten minutes ago")
        })
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        humantime::format_rfc3339_nanos(self.system()).fmt(f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Time, D::Error> {
        let text = String::deserialize(d)?;
        let time = humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)?;
        let since = time.duration_since(UNIX_EPOCH).map_err(serde::de::Error::custom)?;
        Ok(Time(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Parses a duration as users write it: `30s`, `1m30s`, or a number of seconds.
///
/// # Errors
/// Returns a sentence where it is not a duration.
pub fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    humantime::parse_duration(text)
        .map_err(|e| format!("'{text}' is not a duration ({e}): write 30s or 1m30s"))
}

/// A duration in words, in its largest unit.
pub fn words(length: Duration) -> String {
    let seconds = length.as_secs();
    let (n, unit) = match seconds {
        0 => return "less than a second".into(),
        1..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{n} {unit}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_users_write_them() {
        assert_eq!(Time::parse("1.5").unwrap(), Time(1_500_000_000));
        assert_eq!(Time::parse("1970-01-01T00:01:00Z").unwrap(), Time(60_000_000_000));
        assert_eq!(Time::parse("1970-01-02").unwrap(), Time(86_400_000_000_000));
        let ago = Time::parse("1h30m").unwrap().ago().as_secs();
        assert!((5400..5410).contains(&ago), "{ago}");
        assert!(Time::parse("yesterday").unwrap_err().contains("yesterday"));
        assert_eq!(Time(u64::MAX).to_string().get(..4), Some("2554"));
    }

    #[test]
    fn times_come_back_from_json() {
        let now = Time::now();
        let text = serde_json::to_string(&now).unwrap();
        assert_eq!(serde_json::from_str::<Time>(&text).unwrap(), now);
    }

    #[test]
    fn lengths_of_time() {
        assert_eq!(duration("10").unwrap(), Duration::from_secs(10));
        assert_eq!(duration("1m 30s").unwrap(), Duration::from_secs(90));
        assert!(duration("soon").is_err());
        assert_eq!(words(Duration::from_secs(61)), "1 minute");
        assert_eq!(words(Duration::from_secs(7200)), "2 hours");
    }
}
