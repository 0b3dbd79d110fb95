//! Lines of the components' logs: how grave each is, when it was written, and which are wanted.
//!
//! Pure: text in, answers out. Lines are outside input; none of them is refused, and what is not
//! understood belongs to the line above, as a stack trace does.

mod head;
pub mod since;

use std::fmt;

use clap::ValueEnum;

pub use head::{Head, head};
pub use jiff::tz::TimeZone;

/// How grave a line is. Words that components have between these count as the next graver one that
/// is here: PostgreSQL's `LOG` and `NOTICE` are information.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Level {
    /// Everything.
    Trace,
    /// For who looks for a fault of the component itself.
    Debug,
    /// What the component does.
    Info,
    /// What may become a fault.
    Warn,
    /// What is one, and what ended the component.
    Error,
}

impl Level {
    /// The level that a component's own word means.
    pub(crate) fn of(word: &str) -> Option<Self> {
        // `DEBUG1` to `DEBUG5`, and mongod's `D1` to `D5`.
        let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
        Some(match word.to_ascii_uppercase().as_str() {
            "TRACE" | "TEST" => Level::Trace,
            "DEBUG" | "D" => Level::Debug,
            "INFO" | "INFORMATION" | "LOG" | "NOTICE" | "I" => Level::Info,
            "WARN" | "WARNING" | "W" => Level::Warn,
            "ERROR" | "FATAL" | "PANIC" | "CRITICAL" | "SEVERE" | "E" | "F" => Level::Error,
            _ => return None,
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        })
    }
}

/// Which lines are wanted. It is asked for each line of one log, in its order.
#[derive(Clone, Debug)]
pub struct Filter {
    level: Level,
    since: Option<u64>,
    zone: TimeZone,
    /// Of the last line that had a head: the following ones without belong to it.
    grave: Level,
    late: bool,
}

impl Filter {
    /// Lines of at least this level, written at this time (in milliseconds since the epoch) or
    /// later. `zone` is that of times that name none.
    pub fn new(level: Level, since: Option<u64>, zone: TimeZone) -> Self {
        Filter {
            level,
            since,
            zone,
            // Before the first line that says how grave it is, a log tells how its writer begins;
            // when that was cannot be known, and nothing is held back that may be wanted.
            grave: Level::Info,
            late: true,
        }
    }

    /// Whether the line is wanted.
    pub fn wants(&mut self, line: &str) -> bool {
        if let Some(head) = head(line) {
            self.grave = head.level.unwrap_or(self.grave);
            if let (Some(since), Some(time)) = (self.since, head.time) {
                self.late = time.ms(&self.zone).is_none_or(|time| time >= since);
            }
        }
        self.late && (self.level == Level::Trace || self.grave >= self.level)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONNECT: &str = "\
[2026-11-21 06:54:15,123] INFO Started (org.apache.kafka.connect.Worker:1)
[2026-11-21 06:54:16,123] ERROR Task threw an uncaught exception (org.apache:2)
org.apache.kafka.connect.errors.ConnectException: no
\tat org.apache.kafka.connect.Worker.run(Worker.java:1)
Caused by: java.io.IOException: gone

[2026-11-21 06:54:17,123] INFO Stopped (org.apache:3)
[2026-11-21 06:54:18,123] WARN Slow (org.apache:4)";

    const POSTGRES: &str = "\
2026-11-21 06:54:15.400 UTC [7323] LOG:  starting PostgreSQL 17.6
2026-11-21 06:54:16.400 UTC [7335] ERROR:  relation \"x\" does not exist at character 15
2026-11-21 06:54:16.400 UTC [7335] STATEMENT:  SELECT 1
\tFROM x
2026-11-21 06:54:17.400 UTC [7323] LOG:  checkpoint starting: time";

    fn kept(log: &str, level: Level, since: Option<&str>) -> Vec<String> {
        let since = since.map(|text| since::parse(text, 0).expect("a time"));
        let mut filter = Filter::new(level, since, TimeZone::UTC);
        let wanted = log.lines().filter(|line| filter.wants(line));
        wanted.map(str::to_owned).collect()
    }

    #[test]
    fn a_stack_trace_belongs_to_its_line() {
        let lines: Vec<&str> = CONNECT.lines().collect();
        assert_eq!(kept(CONNECT, Level::Error, None), lines[1..6]);
        let warned = kept(CONNECT, Level::Warn, None);
        assert_eq!((warned.len(), warned[5].as_str()), (6, lines[7]));
        assert_eq!(kept(CONNECT, Level::Info, None), lines);
    }

    #[test]
    fn what_explains_an_error_of_postgresql_belongs_to_it() {
        let lines: Vec<&str> = POSTGRES.lines().collect();
        assert_eq!(kept(POSTGRES, Level::Warn, None), lines[1..4]);
    }

    #[test]
    fn since_a_moment() {
        let lines: Vec<&str> = CONNECT.lines().collect();
        let since = Some("2026-11-21T06:54:16Z");
        assert_eq!(kept(CONNECT, Level::Trace, since), lines[1..]);
        assert_eq!(
            kept(CONNECT, Level::Error, Some("2026-11-21T07:54:17+01:00")),
            Vec::<String>::new()
        );
        // What names no time is not held back.
        assert_eq!(
            kept("ready http://127.0.0.1:8123", Level::Trace, since).len(),
            1
        );
    }

    proptest! {
        #[test]
        fn the_lowest_level_wants_every_line(
            lines in proptest::collection::vec(any_line(), 0..20),
        ) {
            let mut filter = Filter::new(Level::Trace, None, TimeZone::UTC);
            prop_assert!(lines.iter().all(|line| filter.wants(line)));
        }

        #[test]
        fn a_graver_level_wants_no_more(lines in proptest::collection::vec(any_line(), 0..20)) {
            let wanted = |level| {
                let mut filter = Filter::new(level, None, TimeZone::UTC);
                lines.iter().map(|line| filter.wants(line)).collect::<Vec<_>>()
            };
            let levels = Level::value_variants();
            for pair in levels.windows(2) {
                let (low, high) = (wanted(pair[0]), wanted(pair[1]));
                prop_assert!(low.iter().zip(high).all(|(low, high)| *low || !high));
            }
        }
    }

    fn any_line() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{0,60}",
            "\\[?20[0-9]{2}-[0-9]{2}-[0-9]{2}[ T][0-9:]{8}[,.]?[0-9]{0,6}\\]? (INFO|WARN|ERROR|LOG:|é) .{0,9}",
            "20[0-9]{2}\\.[0-9]{2}\\.[0-9]{2} [0-9:]{8}\\.[0-9]{6} \\[ 1 \\] <(Warning|Error|Trace)> .{0,9}",
            "\\{\"t\":\\{\"\\$date\":\"20[0-9]{2}-.{0,9}\"\\},\"s\":\"[IWEFD]1?\".{0,4}\\}",
        ]
    }
}
