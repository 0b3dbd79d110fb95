//! Where a reader begins, as people write it.

use crate::clock;
use crate::error::{Code, Error, Result};
use crate::units::Span;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With the first message that is kept.
    Beginning,
    /// With what arrives from now on.
    End,
    /// With the last messages, so many of all partitions together.
    Last(u64),
    /// With the first message that is not older, in milliseconds since the epoch.
    Time(i64),
}

impl From {
    /// Reads `beginning`, `end`, a number, a time or a span that lies before `now_ms`.
    ///
    /// # Errors
    /// It is none of them.
    pub fn parse(text: &str, now_ms: u64) -> Result<Self> {
        match text {
            "beginning" | "start" | "earliest" => return Ok(From::Beginning),
            "end" | "latest" => return Ok(From::End),
            _ => {}
        }
        if let Ok(count) = text.parse::<u64>() {
            return Ok(match count {
                0 => From::End,
                count => From::Last(count),
            });
        }
        if let Ok(span) = text.parse::<Span>() {
            let at = now_ms.saturating_sub(span.ms());
            return Ok(From::Time(i64::try_from(at).unwrap_or(i64::MAX)));
        }
        match clock::parse(text) {
            Some(time) => Ok(From::Time(time)),
            None => Err(Error::new(
                Code::Usage,
                format!("`--from {text}` is not a position in a topic"),
            )
            .hint(
                "beginning, end, a number of last messages, a time (2026-11-21T08:00 or \
                 2026-11-21T08:00:00+01:00) or how long ago (90s, 15m, 2h, 1d)",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_where() {
        let now = 1_795_330_455_000;
        for (text, from) in [
            ("beginning", From::Beginning),
            ("end", From::End),
            ("0", From::End),
            ("25", From::Last(25)),
            ("90s", From::Time(1_795_330_365_000)),
            ("15m", From::Time(1_795_329_555_000)),
            ("1d", From::Time(1_795_244_055_000)),
            ("2026-11-22", From::Time(1_795_305_600_000)),
            ("2026-11-22T06:54", From::Time(1_795_330_440_000)),
            ("2026-11-22 06:54:15", From::Time(1_795_330_455_000)),
            ("2026-11-22T06:54:15.250Z", From::Time(1_795_330_455_250)),
            ("2026-11-22T07:54:15+01:00", From::Time(1_795_330_455_000)),
        ] {
            assert_eq!(From::parse(text, now).unwrap(), from, "{text}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "",
            "x",
            "-5",
            "5x",
            "2026-13-01",
            "2026-11-22T25:00",
            "1.5h",
            "999999999999999999999",
        ] {
            let error = From::parse(text, 0).unwrap_err();
            assert_eq!(error.code, Code::Usage, "{text}");
        }
    }

    #[test]
    fn a_span_longer_than_time_itself_begins_at_the_epoch() {
        assert_eq!(From::parse("1d", 5).unwrap(), From::Time(0));
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in ".{0,30}") {
            let _ = From::parse(&text, 1_795_330_455_000);
        }
    }
}
