//! Wall-clock time as numbers and text.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
        .unwrap_or_default()
}

/// `2026-11-21 06:54:15 UTC`, for people.
pub fn utc(ms: u64) -> String {
    let seconds = ms / 1000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// Days since the epoch to year, month and day (Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    (year, month, doy - (153 * mp + 2) / 5 + 1)
}

/// Reads a date or time, `2026-11-21`, `2026-11-21T06:54[:15[.250]]`, with `Z` or an offset like
/// `+01:00` behind it, else UTC, as milliseconds since the epoch. Years from 1970 to 9999.
pub fn parse(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let mut part = |length: usize| {
        let part = parts.next().filter(|part| part.len() == length)?;
        digits(part)
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    let fits = year >= 1970 && (1..=12).contains(&month) && day >= 1;
    if parts.next().is_some() || !fits {
        return None;
    }
    let days = days(year, month, day);
    // The 31st of a month that has 30 days is a day of the next one.
    let back = civil(u64::try_from(days).ok()?);
    if (i64::try_from(back.1).ok()?, i64::try_from(back.2).ok()?) != (month, day) {
        return None;
    }
    let ms = match time {
        Some(time) => time_of_day(time)?,
        None => 0,
    };
    Some(days * 86_400_000 + ms)
}

/// Milliseconds since midnight in UTC.
fn time_of_day(text: &str) -> Option<i64> {
    let (time, offset) = match text.find(['Z', '+', '-']) {
        None => (text, 0),
        Some(at) => match text.split_at(at) {
            (time, "Z") => (time, 0),
            (time, offset) => {
                let (hours, minutes) = offset[1..].split_once(':')?;
                let minutes = digits(hours)? * 60 + digits(minutes)?;
                let sign = if offset.starts_with('-') { -1 } else { 1 };
                (time, sign * minutes * 60_000)
            }
        },
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = time.split(':');
    let hours = digits(parts.next()?)?;
    let minutes = digits(parts.next()?)?;
    let seconds = parts.next().map_or(Some(0), digits)?;
    if parts.next().is_some() || hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    let fraction = format!("{fraction:0<3}");
    let ms = digits(fraction.get(..3)?)?;
    digits(&fraction[3..]).or(fraction.len().eq(&3).then_some(0))?;
    Some(((hours * 60 + minutes) * 60 + seconds) * 1000 + ms - offset)
}

/// A short number without a sign.
fn digits(text: &str) -> Option<i64> {
    let all = !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok())?
}

/// Year, month and day to days since the epoch (Howard Hinnant's `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let y = year - i64::from(month <= 2);
    let era = y / 400;
    let yoe = y - era * 400;
    let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
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
