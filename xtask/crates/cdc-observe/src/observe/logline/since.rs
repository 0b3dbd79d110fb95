//! Moments: what `--since` means.

use crate::clock;
use crate::error::{Code, Error, Result};
use crate::units::Span;

/// The moment, in milliseconds since the epoch, that `30s`, `10m`, `2h`, `1d` (before `now`), a sum of
/// such (`1h30m`), or a time as in RFC 3339 means.
///
/// # Errors
/// It is none of these.
pub fn parse(text: &str, now: u64) -> Result<u64> {
    if let Ok(ago) = text.parse::<Span>() {
        return Ok(now.saturating_sub(ago.ms()));
    }
    clock::rfc3339(text).ok_or_else(|| {
        let what = format!("`{text}` is neither a length of time nor a moment");
        Error::new(Code::Usage, what)
            .hint("for example --since 30s, 10m, 2h, 1d, or 2026-11-21T06:54:15Z")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_and_moments() {
        let now = 1_795_330_455_000;
        for (text, want) in [
            ("30s", now - 30_000),
            ("10m", now - 600_000),
            ("2h", now - 7_200_000),
            ("1d", now - 86_400_000),
            ("1h30m", now - 5_400_000),
            ("999999999d", 0),
            ("2026-11-22T06:54:15Z", now),
            ("2026-11-22T07:54:15.000+01:00", now),
        ] {
            assert_eq!(parse(text, now).expect(text), want, "{text}");
        }
        for text in [
            "",
            "10",
            "m",
            "10x",
            "-1s",
            "1é",
            "2026-11-22",
            "99999999999999999999s",
        ] {
            let error = parse(text, now).expect_err(text);
            assert_eq!(error.code, Code::Usage, "{text}");
            assert!(error.hint.is_some());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_much(text in "\\PC{0,30}", now in 0_u64..2_000_000_000_000) {
            let _ = parse(&text, now);
        }
    }
}
