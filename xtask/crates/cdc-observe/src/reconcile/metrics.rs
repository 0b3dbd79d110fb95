//! A report as metrics, in Prometheus' text format, and where a Pushgateway takes them. Pure.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;

use super::report::{Report, Status, TableReport};

/// The job that the metrics belong to.
pub const JOB: &str = "cdc_reconcile";

/// A status as a number: from 2 on something is wrong.
pub fn code(status: Status) -> u8 {
    match status {
        Status::Pass => 0,
        Status::NoData => 1,
        Status::Fail => 2,
        Status::Error => 3,
        Status::Interrupted => 4,
    }
}

/// Whether a run of this status was a success.
pub fn is_success(status: Status) -> bool {
    matches!(status, Status::Pass | Status::NoData)
}

/// Where a Pushgateway takes the metrics of a profile, below its own address. A name that a path cannot hold as it
/// is stands there in base64.
pub fn path(profile: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
    // `.` and `..` would be taken out of the path.
    let is_dots = profile.chars().all(|c| c == '.');
    match profile.chars().all(is_plain) && !is_dots {
        true => format!("/metrics/job/{JOB}/profile/{profile}"),
        false => {
            // An empty text is a lone `=` there.
            let text = match profile {
                "" => "=".to_owned(),
                text => URL_SAFE.encode(text),
            };
            format!("/metrics/job/{JOB}/profile@base64/{text}")
        }
    }
}

/// A metric of a table: its name, its help, and its value where it has one.
type OfTable = (&'static str, &'static str, fn(&TableReport) -> Option<f64>);
/// The same of a run.
type OfRun = (&'static str, &'static str, fn(&Report) -> Option<f64>);

const OF_TABLE: [OfTable; 8] = [
    (
        "status",
        "Result of a table: 0 same, 1 no rows, 2 differs, 3 could not be compared, 4 interrupted.",
        |it| Some(f64::from(code(it.status))),
    ),
    (
        "source_rows",
        "Rows at the source, where they were counted.",
        |it| counted(it, it.source_count),
    ),
    (
        "target_rows",
        "Rows at the target, where they were counted.",
        |it| counted(it, it.target_count),
    ),
    ("missing_rows", "Rows that the target lacks.", |it| {
        counted(it, it.missing_rows)
    }),
    ("extra_rows", "Rows that only the target has.", |it| {
        counted(it, it.extra_rows)
    }),
    ("changed_rows", "Rows whose values differ.", |it| {
        counted(it, it.changed_rows)
    }),
    (
        "not_settled_rows",
        "Rows that kept changing: no difference is proven.",
        |it| counted(it, it.not_settled),
    ),
    (
        "duration_seconds",
        "How long the table's comparison took.",
        |it| Some(seconds(it.took_ms)),
    ),
];

const OF_RUN: [OfRun; 4] = [
    (
        "run_status",
        "Result of a run, that of the worst table: 0 same, 1 no rows, 2 differs, 3 could not be compared, 4 interrupted.",
        |it| Some(f64::from(code(it.status()))),
    ),
    ("run_duration_seconds", "How long the run took.", |it| {
        Some(seconds(it.took_ms))
    }),
    (
        "last_run_timestamp_seconds",
        "When the last run began.",
        |it| Some(seconds(it.at)),
    ),
    (
        "last_success_timestamp_seconds",
        "When the last run began that found nothing wrong.",
        |it| is_success(it.status()).then(|| seconds(it.at)),
    ),
];

/// None where nothing was counted: a zero would be no count.
fn counted(table: &TableReport, rows: u64) -> Option<f64> {
    let is_counted = match table.status {
        Status::Pass | Status::NoData | Status::Fail => true,
        Status::Error | Status::Interrupted => table.not_settled > 0,
    };
    #[expect(clippy::cast_precision_loss, reason = "Prometheus' values are doubles")]
    is_counted.then_some(rows as f64)
}

fn seconds(ms: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "Prometheus' values are doubles")]
    let ms = ms as f64;
    ms / 1000.0
}

/// The metrics of a run. The time of the last success is there after a success only.
pub fn text(report: &Report) -> String {
    let profile = escaped(&report.profile);
    let mut text = String::new();
    for (name, help, value) in OF_TABLE {
        let samples = report.tables.iter().filter_map(|table| {
            let labels = format!("profile=\"{profile}\",table=\"{}\"", escaped(&table.table));
            Some((labels, value(table)?))
        });
        family(&mut text, name, help, samples);
    }
    for (name, help, value) in OF_RUN {
        let sample = value(report).map(|it| (format!("profile=\"{profile}\""), it));
        family(&mut text, name, help, sample.into_iter());
    }
    text
}

fn family(text: &mut String, name: &str, help: &str, samples: impl Iterator<Item = (String, f64)>) {
    let mut samples = samples.peekable();
    if samples.peek().is_none() {
        return;
    }
    // Writing to a text cannot fail.
    let _ = writeln!(text, "# HELP cdc_reconcile_{name} {help}");
    let _ = writeln!(text, "# TYPE cdc_reconcile_{name} gauge");
    for (labels, value) in samples {
        let _ = writeln!(text, "cdc_reconcile_{name}{{{labels}}} {value}");
    }
}

/// A label's value.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::report::tests::{report, table};

    #[test]
    fn what_is_wrong_is_in_the_metrics_and_what_is_not_known_is_not() {
        let mut users = table("users", Status::Fail);
        (users.source_count, users.target_count) = (1_000_000_000, 999_999_998);
        (users.missing_rows, users.took_ms) = (2, 1_250);
        let odd = table("a\"b\\c\nd", Status::Error);
        let mut report = report([users, odd]);
        (report.at, report.took_ms) = (1_795_330_455_250, 2_000);
        assert_eq!(
            text(&report),
            r#"# HELP cdc_reconcile_status Result of a table: 0 same, 1 no rows, 2 differs, 3 could not be compared, 4 interrupted.
# TYPE cdc_reconcile_status gauge
cdc_reconcile_status{profile="shop",table="users"} 2
cdc_reconcile_status{profile="shop",table="a\"b\\c\nd"} 3
# HELP cdc_reconcile_source_rows Rows at the source, where they were counted.
# TYPE cdc_reconcile_source_rows gauge
cdc_reconcile_source_rows{profile="shop",table="users"} 1000000000
# HELP cdc_reconcile_target_rows Rows at the target, where they were counted.
# TYPE cdc_reconcile_target_rows gauge
cdc_reconcile_target_rows{profile="shop",table="users"} 999999998
# HELP cdc_reconcile_missing_rows Rows that the target lacks.
# TYPE cdc_reconcile_missing_rows gauge
cdc_reconcile_missing_rows{profile="shop",table="users"} 2
# HELP cdc_reconcile_extra_rows Rows that only the target has.
# TYPE cdc_reconcile_extra_rows gauge
cdc_reconcile_extra_rows{profile="shop",table="users"} 0
# HELP cdc_reconcile_changed_rows Rows whose values differ.
# TYPE cdc_reconcile_changed_rows gauge
cdc_reconcile_changed_rows{profile="shop",table="users"} 0
# HELP cdc_reconcile_not_settled_rows Rows that kept changing: no difference is proven.
# TYPE cdc_reconcile_not_settled_rows gauge
cdc_reconcile_not_settled_rows{profile="shop",table="users"} 0
# HELP cdc_reconcile_duration_seconds How long the table's comparison took.
# TYPE cdc_reconcile_duration_seconds gauge
cdc_reconcile_duration_seconds{profile="shop",table="users"} 1.25
cdc_reconcile_duration_seconds{profile="shop",table="a\"b\\c\nd"} 0
# HELP cdc_reconcile_run_status Result of a run, that of the worst table: 0 same, 1 no rows, 2 differs, 3 could not be compared, 4 interrupted.
# TYPE cdc_reconcile_run_status gauge
cdc_reconcile_run_status{profile="shop"} 2
# HELP cdc_reconcile_run_duration_seconds How long the run took.
# TYPE cdc_reconcile_run_duration_seconds gauge
cdc_reconcile_run_duration_seconds{profile="shop"} 2
# HELP cdc_reconcile_last_run_timestamp_seconds When the last run began.
# TYPE cdc_reconcile_last_run_timestamp_seconds gauge
cdc_reconcile_last_run_timestamp_seconds{profile="shop"} 1795330455.25
"#
        );
    }

    #[test]
    fn a_success_has_its_time() {
        let mut report = report([table("users", Status::Pass)]);
        report.at = 1_000;
        let text = text(&report);
        assert!(
            text.ends_with("cdc_reconcile_last_success_timestamp_seconds{profile=\"shop\"} 1\n"),
            "{text}"
        );
    }

    #[test]
    fn profiles_stand_in_the_path() {
        assert_eq!(
            path("shop-1.x"),
            "/metrics/job/cdc_reconcile/profile/shop-1.x"
        );
        assert_eq!(
            path("a/b"),
            "/metrics/job/cdc_reconcile/profile@base64/YS9i"
        );
        assert_eq!(path(""), "/metrics/job/cdc_reconcile/profile@base64/=");
        assert_eq!(path(".."), "/metrics/job/cdc_reconcile/profile@base64/Li4=");
        assert_eq!(path("ü"), "/metrics/job/cdc_reconcile/profile@base64/w7w=");
    }
}
