//! When comparisons are repeated: every so often from the start, or as a cron expression says. Pure: what time it is
//! comes from outside.
//!
//! Ticks follow from the start or from the expression alone, never from the end of the run before, so they do not
//! drift. A run that lasts beyond ticks skips them: two runs never overlap.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::clock;

/// So many skipped ticks of a cron expression are counted at most.
const COUNTED: u64 = 100_000;

/// When a comparison is made.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// At the start, and then every so often. Times are milliseconds since the start.
    Every(Duration),
    /// As a cron expression says in a time zone. Times are milliseconds since the epoch.
    Cron(Box<Cron>, Zone),
}

/// The tick that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// Its time.
    pub at: u64,
    /// The ticks that went by since the last one without a run.
    pub skipped: u64,
}

impl Schedule {
    /// The first tick, at the earliest now.
    pub fn first(&self, now: u64) -> Option<u64> {
        match self {
            Schedule::Every(_) => Some(now),
            Schedule::Cron(cron, zone) => cron.after(now, zone),
        }
    }

    /// The first tick after now, where the last run was for the tick at `last`. None: there is no later one.
    pub fn next(&self, last: u64, now: u64) -> Option<Next> {
        // A clock that was set back does not bring the same tick again.
        let now = now.max(last);
        match self {
            Schedule::Every(every) => {
                let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(1);
                let skipped = (now - last) / every;
                let ahead = every.checked_mul(skipped + 1)?;
                Some(Next {
                    at: last.checked_add(ahead)?,
                    skipped,
                })
            }
            Schedule::Cron(cron, zone) => {
                let (mut at, mut skipped) = (cron.after(last, zone)?, 0);
                while at <= now && skipped < COUNTED {
                    at = cron.after(at, zone)?;
                    skipped += 1;
                }
                if at <= now {
                    at = cron.after(now, zone)?;
                }
                Some(Next { at, skipped })
            }
        }
    }
}

/// A cron expression: minute, hour, day of the month, month, day of the week, and before them seconds if there are six
/// fields.
#[derive(Clone, Debug)]
pub struct Cron {
    text: String,
    cron: croner::Cron,
}

impl FromStr for Cron {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let parser = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(&text).map_err(|error| {
            let why = error.to_string();
            let why = why.trim_end_matches('.');
            format!("{why}; expected five fields, such as \"*/30 * * * *\", or six with seconds before them")
        })?;
        let cron = Cron { text, cron };
        match cron.after(0, &Zone::utc()) {
            Some(_) => Ok(cron),
            None => Err("there is no such time".into()),
        }
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Cron {
    /// The first time after this one.
    fn after(&self, ms: u64, zone: &Zone) -> Option<u64> {
        let from = zone.at(ms)?;
        let found = self.cron.find_next_occurrence(&from, false).ok()?;
        u64::try_from(found.timestamp().as_millisecond()).ok()
    }
}

/// A time zone by its name.
#[derive(Clone, Debug)]
pub struct Zone {
    text: String,
    zone: TimeZone,
}

impl Zone {
    /// UTC, which needs no time zone database.
    pub fn utc() -> Self {
        Zone {
            text: "UTC".to_owned(),
            zone: TimeZone::UTC,
        }
    }

    fn at(&self, ms: u64) -> Option<Zoned> {
        let ms = i64::try_from(ms).ok()?;
        let time = Timestamp::from_millisecond(ms).ok()?;
        Some(time.to_zoned(self.zone.clone()))
    }

    /// A time for people.
    pub fn shown(&self, ms: u64) -> String {
        match self.at(ms) {
            Some(time) => time.strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
            None => clock::utc(ms),
        }
    }

    /// Its name in the time zone database; none where the machine does not say which one its own is.
    pub fn name(&self) -> Option<&str> {
        self.zone.iana_name()
    }
}

/// `UTC`, `local` for the machine's, or a name such as `Europe/Berlin`.
impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let zone = match text {
            "UTC" => TimeZone::UTC,
            "local" => TimeZone::try_system().map_err(|error| error.to_string())?,
            name => TimeZone::get(name).map_err(|_| {
                "expected UTC, local, or a name of this machine's time zone database such as Europe/Berlin"
            })?,
        };
        Ok(Zone {
            text: text.to_owned(),
            zone,
        })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cron(text: &str) -> Cron {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn ms(text: &str) -> u64 {
        clock::rfc3339(text).expect("a time")
    }

    fn times(text: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let (cron, zone) = (cron(text), zone.parse::<Zone>().expect("a zone"));
        let mut at = ms(from);
        let next = |_| {
            at = cron.after(at, &zone).expect("a time");
            clock::utc(at)
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn expressions_have_five_fields_or_six() {
        let from = "2026-11-30T23:50:00Z";
        assert_eq!(
            times("*/30 * * * *", "UTC", from, 2),
            ["2026-12-01 00:00:00 UTC", "2026-12-01 00:30:00 UTC"]
        );
        assert_eq!(
            times("30 0 6 * * MON-FRI", "UTC", from, 1),
            ["2026-12-01 06:00:30 UTC"]
        );
        assert_eq!(times("@daily", "UTC", from, 1), ["2026-12-01 00:00:00 UTC"]);
        for bad in [
            "",
            "* * * *",
            "* * * * * * *",
            "61 * * * *",
            "0 0 30 2 *",
            "every day",
            "0 0 * * FOO",
        ] {
            assert!(bad.parse::<Cron>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_zone_changes_its_clock_and_each_day_has_one_run() {
        if "Europe/Berlin".parse::<Zone>().is_err() {
            // A machine without a time zone database knows UTC alone.
            return;
        }
        // 02:30 is not there on 29 March 2026, and twice on 25 October.
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3),
            [
                "2026-03-28 01:30:00 UTC",
                "2026-03-29 01:00:00 UTC",
                "2026-03-30 00:30:00 UTC"
            ]
        );
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25 00:30:00 UTC", "2026-10-26 01:30:00 UTC"]
        );
        assert!("Europe/Nowhere".parse::<Zone>().is_err());
        let berlin: Zone = "Europe/Berlin".parse().expect("a zone");
        assert_eq!(berlin.shown(0), "1970-01-01 01:00:00 CET");
        assert_eq!(berlin.name(), Some("Europe/Berlin"));
    }

    #[test]
    fn a_run_that_takes_longer_skips_ticks_and_says_how_many() {
        let every = Schedule::Every(Duration::from_secs(2));
        assert_eq!(every.first(0), Some(0));
        let next = |at, skipped| Some(Next { at, skipped });
        assert_eq!(every.next(0, 1_999), next(2_000, 0));
        assert_eq!(every.next(0, 2_000), next(4_000, 1));
        assert_eq!(every.next(2_000, 9_500), next(10_000, 3));
        assert_eq!(every.next(u64::MAX - 1, 0), None);
        let minutes = Schedule::Cron(Box::new(cron("*/10 * * * *")), Zone::utc());
        let (last, now) = (ms("2026-11-30T23:50:00Z"), ms("2026-12-01T00:15:00Z"));
        assert_eq!(minutes.next(last, now), next(ms("2026-12-01T00:20:00Z"), 2));
        // The clock was set back.
        assert_eq!(minutes.next(now, last), next(ms("2026-12-01T00:20:00Z"), 0));
    }

    /// Plays runs of these lengths: the tick of each, when it began and ended, and what was skipped.
    fn played(schedule: &Schedule, begin: u64, lengths: &[u64]) -> Vec<(u64, u64, u64, u64)> {
        let mut runs = Vec::new();
        let mut due = schedule.first(begin).expect("a tick");
        let mut now = begin;
        for length in lengths {
            // A machine is a little late.
            let began = now.max(due) + length % 7;
            now = began + length;
            let next = schedule.next(due, now).expect("a tick");
            runs.push((due, began, now, next.skipped));
            due = next.at;
        }
        runs
    }

    proptest! {
        #[test]
        fn ticks_do_not_drift_and_runs_do_not_overlap(
            every in 1_u64..100_000,
            lengths in proptest::collection::vec(0_u64..400_000, 1..30),
            begin in 0_u64..1_000_000,
        ) {
            let schedule = Schedule::Every(Duration::from_millis(every));
            let runs = played(&schedule, begin, &lengths);
            let mut ticks = 0;
            for (due, began, ..) in &runs {
                // On the grid of the start, whatever went before.
                prop_assert_eq!((due - begin) % every, 0);
                prop_assert!(began >= due);
            }
            for pair in runs.windows(2) {
                let ((.., ended, skipped), (due, began, ..)) = (pair[0], pair[1]);
                prop_assert!(due > ended && began > ended, "two at once");
                // As soon as there is a tick, and each tick is a run or skipped.
                prop_assert!(due - ended <= every);
                ticks += 1 + skipped;
                prop_assert_eq!((due - begin) / every, ticks);
            }
        }

        #[test]
        fn cron_ticks_are_those_of_the_expression(
            step in prop_oneof![Just(1_u64), Just(2), Just(5), Just(15), Just(30)],
            lengths in proptest::collection::vec(0_u64..4_000_000, 1..12),
            begin in 1_700_000_000_000_u64..1_900_000_000_000,
        ) {
            let schedule = Schedule::Cron(Box::new(cron(&format!("*/{step} * * * *"))), Zone::utc());
            let runs = played(&schedule, begin, &lengths);
            for (due, ..) in &runs {
                prop_assert_eq!(due % (step * 60_000), 0);
            }
            for pair in runs.windows(2) {
                let ((last, _, ended, skipped), (due, ..)) = (pair[0], pair[1]);
                prop_assert!(due > ended && due - ended <= step * 60_000);
                prop_assert_eq!((due - last) / (step * 60_000), skipped + 1);
            }
        }

        #[test]
        fn no_expression_is_too_odd(text in "[0-9*/,A-Z@# -]{0,16}") {
            let _ = text.parse::<Cron>();
        }
    }
}
