//! The first words of a line, in the formats that the components write.
//!
//! - Kafka and Connect (log4j), here and in Strimzi's images: `[2026-11-21 06:54:15,123] WARN ...`,
//!   `2026-11-21T06:54:15,123 WARN  [main] ...`
//! - PostgreSQL: `2026-11-21 06:54:15.400 UTC [7323] WARNING:  ...`
//! - ClickHouse: `2026.11.21 06:54:15.400000 [ 12 ] {query} <Warning> Name: ...`
//! - mongod and CloudNativePG: a JSON object.
//!
//! A JVM and the embedded engine's front also say a few things without any head.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::Level;
use crate::clock;

/// A time as it is written, not yet on anybody's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Milliseconds since the epoch.
    Known(u64),
    /// On the writer's wall clock.
    Wall(DateTime),
}

impl Time {
    /// Milliseconds since the epoch, where wall clocks show this zone's time; none for a time that
    /// does not exist there.
    pub fn ms(self, zone: &TimeZone) -> Option<u64> {
        let wall = match self {
            Time::Known(ms) => return Some(ms),
            Time::Wall(wall) => wall,
        };
        let time = wall.to_zoned(zone.clone()).ok()?.timestamp();
        u64::try_from(time.as_millisecond()).ok()
    }
}

/// What a line says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// How grave it is; none if it is as grave as the line above.
    pub level: Option<Level>,
    /// When it was written.
    pub time: Option<Time>,
}

/// How far a severity may be from the line's beginning.
const NEAR: usize = 12;

/// What PostgreSQL writes below a message, each on a line with a head of its own.
const BELOW: [&str; 7] = [
    "DETAIL:",
    "HINT:",
    "QUERY:",
    "CONTEXT:",
    "LOCATION:",
    "BACKTRACE:",
    "STATEMENT:",
];

/// Lines without a time that are the beginning of something nevertheless.
const BARE: [(&str, Level); 8] = [
    ("Exception in thread ", Level::Error),
    ("Terminating due to ", Level::Error),
    ("Error occurred during initialization of VM", Level::Error),
    ("OpenJDK 64-Bit Server VM warning: ", Level::Warn),
    // The embedded engine's front (`manifests/clickhouse/host/server.py`).
    ("error in a connection: ", Level::Error),
    ("cannot start: ", Level::Error),
    ("a query did not end", Level::Warn),
    ("ready http", Level::Info),
];

/// The head of a line; none if the line belongs to the one above.
pub fn head(line: &str) -> Option<Head> {
    if line.starts_with('{') {
        return json(line);
    }
    let Some((time, rest)) = time(line) else {
        let (_, level) = BARE.iter().find(|(begin, _)| line.starts_with(begin))?;
        return Some(Head {
            level: Some(*level),
            time: None,
        });
    };
    Some(Head {
        level: level(rest),
        time,
    })
}

/// The first severity among the words after the time.
fn level(rest: &str) -> Option<Level> {
    for word in rest.split_whitespace().take(NEAR) {
        if BELOW.contains(&word) {
            return None;
        }
        let bracketed = word
            .strip_prefix('<')
            .and_then(|word| word.strip_suffix('>'));
        let written = bracketed.or(word.strip_suffix(':')).unwrap_or(word);
        // A single letter, or a word of the message itself, is no severity.
        let loud = bracketed.is_some() || !written.chars().any(|c| c.is_ascii_lowercase());
        if let Some(level) = Level::of(written).filter(|_| loud && written.len() > 2) {
            return Some(level);
        }
    }
    None
}

/// The time at the line's beginning, if there is such a time, and what follows it.
fn time(line: &str) -> Option<(Option<Time>, &str)> {
    let text = line.strip_prefix('[').unwrap_or(line);
    // `2026-11-21 06:54:15`
    let bytes = text.as_bytes().get(..19)?;
    let shape = bytes.iter().enumerate().all(|(at, byte)| match at {
        4 | 7 => matches!(byte, b'-' | b'.'),
        10 => matches!(byte, b' ' | b'T'),
        13 | 16 => *byte == b':',
        _ => byte.is_ascii_digit(),
    });
    if !shape {
        return None;
    }
    // All of these bytes are ASCII.
    let (written, mut rest) = text.split_at_checked(19)?;
    let mut wall = written.replace('.', "-");
    if let Some(fraction) = rest.strip_prefix([',', '.']) {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            wall.push('.');
            wall.push_str(fraction.get(..digits.min(3))?);
        }
        rest = fraction.get(digits..)?;
    }
    let zoned = rest.starts_with('Z') || rest.starts_with(" UTC ") || rest.starts_with(" GMT ");
    let wall = wall.parse().ok().map(Time::Wall);
    let time = match zoned {
        true => wall
            .and_then(|time| time.ms(&TimeZone::UTC))
            .map(Time::Known),
        false => wall,
    };
    Some((time, rest.trim_start_matches([']', 'Z'])))
}

/// mongod's lines, and those of an operator that wraps its server's.
fn json(line: &str) -> Option<Head> {
    let said: Value = serde_json::from_str(line).ok()?;
    let wrapped = said.pointer("/record/error_severity");
    let word = ["s", "level", "severity"]
        .into_iter()
        .find_map(|key| said.get(key));
    let written = said.pointer("/t/$date").or(said.get("ts"));
    let head = Head {
        level: wrapped.or(word).and_then(Value::as_str).and_then(Level::of),
        time: written
            .and_then(Value::as_str)
            .and_then(clock::rfc3339)
            .map(Time::Known),
    };
    (head != Head::default()).then_some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_components_format() {
        use Level::{Debug, Error, Info, Trace, Warn};
        for (line, want) in [
            ("[2026-11-21 06:54:15,123] WARN Slow (a.B:1)", Warn),
            (
                "2026-11-21T06:54:15,123 INFO  [main] a.b.C - ERROR is a word here",
                Info,
            ),
            (
                "2026-11-21 06:54:15 ERROR [main] KafkaServer:12 - no",
                Error,
            ),
            ("2026-11-21 06:54:15,123 TRACE [x] y", Trace),
            (
                "2026-11-21 06:54:15.400 UTC [7323] LOG:  ready WARNING: no",
                Info,
            ),
            (
                "2026-11-21 06:54:15.400 CET [7323] WARNING:  there is none",
                Warn,
            ),
            (
                "2026-11-21 06:54:15.400 UTC [7] postgres@db FATAL:  the end",
                Error,
            ),
            ("2026-11-21 06:54:15.400 UTC [7323] PANIC:  the end", Error),
            ("2026-11-21 06:54:15.400 UTC [7323] DEBUG2:  x", Debug),
            (
                "2026.11.21 06:54:15.400000 [ 12 ] {} <Warning> Application: x",
                Warn,
            ),
            (
                "2026.11.21 06:54:15.400000 [ 12 ] {a-b} <Fatal> x: y",
                Error,
            ),
            (
                "2026.11.21 06:54:15.400000 [ 12 ] {} <Information> x: y",
                Info,
            ),
            (
                r#"{"t":{"$date":"2026-11-21T06:54:15.400+00:00"},"s":"W","c":"C","id":1,"msg":"x"}"#,
                Warn,
            ),
            (
                r#"{"t":{"$date":"2026-11-21T06:54:15.400+00:00"},"s":"D2","c":"C"}"#,
                Debug,
            ),
            (
                r#"{"level":"info","ts":"2026-11-21T06:54:15.4Z","record":{"error_severity":"ERROR"}}"#,
                Error,
            ),
            ("Exception in thread \"main\" java.lang.Error", Error),
            ("error in a connection: x", Error),
        ] {
            assert_eq!(head(line).and_then(|head| head.level), Some(want), "{line}");
        }
    }

    #[test]
    fn what_belongs_to_the_line_above() {
        for line in [
            "",
            "\tat a.b.C.d(C.java:1)",
            "Caused by: x",
            "java.lang.IllegalStateException: ERROR",
            "{ \"no\": \"log\" }",
            "{ no JSON",
            "2026-11-21",
            "2026-11-21 06:54:1é",
            "warning: a word",
        ] {
            assert_eq!(head(line), None, "{line}");
        }
        // It has a time of its own, and the severity of the line above.
        let below = head("2026-11-21 06:54:15.400 UTC [7] STATEMENT:  SELECT 'ERROR'");
        let below = below.expect("a head");
        assert_eq!(below.level, None);
        assert!(matches!(below.time, Some(Time::Known(_))));
    }

    #[test]
    fn times() {
        let ms = 1_795_330_455_000;
        for line in [
            "2026-11-22 06:54:15.000 UTC [7323] LOG:  x",
            r#"{"t":{"$date":"2026-11-22T07:54:15.000+01:00"},"s":"I"}"#,
        ] {
            assert_eq!(
                head(line).expect("a head").time,
                Some(Time::Known(ms)),
                "{line}"
            );
        }
        let head = head("[2026-11-22 06:54:15,12] INFO x").expect("a head");
        let wall = "2026-11-22T06:54:15.12".parse().expect("a time");
        assert_eq!(head.time, Some(Time::Wall(wall)));
    }

    #[test]
    fn a_wall_clock_without_that_time() {
        for (line, want) in [
            ("2026-02-30 00:00:00 UTC [7] LOG:  x", None),
            ("2026-13-01 00:00:00 UTC [7] LOG:  x", None),
            ("1970-01-01 00:00:01.005 UTC [7] LOG:  x", Some(1_005)),
        ] {
            let head = head(line).expect("a head");
            assert_eq!(head.time, want.map(Time::Known), "{line}");
            assert_eq!(head.level, Some(Level::Info), "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_line_is_refused(line in "\\PC{0,200}", cut in 0_usize..40) {
            head(&line);
            // Half of a right line, with any text behind it.
            let right = "[2026-11-21 06:54:15,123] WARN é";
            let end = (0..=cut.min(right.len())).rev().find(|at| right.is_char_boundary(*at));
            head(&format!("{}{line}", &right[..end.unwrap_or(0)]));
        }
    }
}
