//! Wall-clock time as numbers and text.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Milliseconds since the epoch.
pub fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default()
}

/// `2026-11-21 06:54:15 UTC`, for people.
pub fn utc(ms: u64) -> String {
    let time = i64::try_from(ms).map(Timestamp::from_millisecond);
    match time {
        Ok(Ok(time)) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Ok(Err(_)) | Err(_) => format!("{ms} ms after 1970"),
    }
}

/// Reads a date or time, `2026-11-21`, `2026-11-21T06:54[:15[.250]]`, with `Z` or an offset like
/// `+01:00` behind it, else UTC, as milliseconds since the epoch. Years from 1970 to 9999.
pub fn parse(text: &str) -> Option<i64> {
    // A civil time's zone, `[Europe/Berlin]`, would be ignored.
    if text.contains('[') {
        return None;
    }
    let in_utc = |time: DateTime| time.to_zoned(TimeZone::UTC);
    let time = text
        .parse::<Timestamp>()
        .or_else(|_| text.parse().and_then(in_utc).map(|time| time.timestamp()));
    let ms = time.ok()?.as_millisecond();
    (ms >= 0).then_some(ms)
}

/// Reads a time that names its zone, as milliseconds since the epoch.
pub fn rfc3339(text: &str) -> Option<u64> {
    let time: Timestamp = text.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}

/// A length of time in the one unit that reads best: `850 ms`, `12.4 s`, `3 min`, `2 h`, `5 d`.
pub fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(1_709_210_096_789), "2024-02-29 12:34:56 UTC");
        assert_eq!(utc(1_795_330_455_000), "2026-11-22 06:54:15 UTC");
    }

    #[test]
    fn what_is_written_is_read_again() {
        for ms in [0, 1_709_210_096_000, 1_795_330_455_000, 951_782_400_000] {
            let text = utc(ms);
            let text = text.trim_end_matches(" UTC");
            assert_eq!(parse(text), i64::try_from(ms).ok(), "{text}");
        }
        for text in [
            "2023-02-29",
            "2026-04-31",
            "2026-1-1",
            "1969-12-31",
            "2026-01-01T",
            "2026-01-01T1",
            "2026-01-01T01:00+1",
            "2026-01-01T01:00[Europe/Berlin]",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn spans() {
        assert_eq!(span(850), "850 ms");
        assert_eq!(span(12_449), "12.4 s");
        assert_eq!(span(200_000), "3 min");
        assert_eq!(span(10_000_000), "2 h");
    }
}
