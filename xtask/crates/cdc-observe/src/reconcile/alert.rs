//! What is reported to people who are not looking: that source and target differ or could not be compared, and that
//! they are the same again. Pure. Counts alone: keys and values of rows stay in the reports.

use serde_json::{Value, json};

use super::formats::word;
use super::metrics::is_success;
use super::report::Report;
use crate::clock;
use crate::printed;

/// Why an alert is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// The run found differences, or could not compare.
    Wrong,
    /// The run before did, and this one did not.
    FineAgain,
}

/// Which alerts are due, as runs follow each other.
#[derive(Debug, Default)]
pub struct Alerts {
    /// Whether the last alert that was delivered said that something is wrong.
    wrong: bool,
}

impl Alerts {
    /// The alert that a run of this status calls for. One that the user ended calls for none: its report is seen.
    pub fn due(&self, report: &Report) -> Option<Alert> {
        match is_success(report.status()) {
            _ if report.interrupted => None,
            false => Some(Alert::Wrong),
            true => self.wrong.then_some(Alert::FineAgain),
        }
    }

    /// Remembers that an alert has arrived. One that has not is due again after the next run.
    pub fn delivered(&mut self, alert: Alert) {
        self.wrong = alert == Alert::Wrong;
    }
}

/// What is posted. `text` is what chat services show.
pub fn body(report: &Report, alert: Alert) -> Value {
    let recommendations: Vec<String> = report
        .recommendations()
        .iter()
        .map(|it| printed::ours(it))
        .collect();
    let reason = |error: &Value| error["message"].as_str().map(str::to_owned);
    let mut tables = Vec::new();
    let mut errors: Vec<String> = Vec::new();
    for it in &report.tables {
        if is_success(it.status) {
            continue;
        }
        let error = it.error.as_ref().and_then(reason);
        errors.extend(error.clone().filter(|it| !errors.contains(it)));
        let severity = (it.differing() > 0).then(|| it.severity());
        tables.push(json!({
            "table": it.table,
            "status": it.status,
            "severity": severity,
            "source_count": it.source_count,
            "target_count": it.target_count,
            "missing_rows": it.missing_rows,
            "extra_rows": it.extra_rows,
            "changed_rows": it.changed_rows,
            "not_settled": it.not_settled,
            "error": error,
        }));
    }
    let status = report.status();
    let mut text = format!("[{}] reconcile {}: ", report.profile, word(&status));
    if alert == Alert::FineAgain {
        text += "fine again: ";
    }
    text += &report.summary();
    for error in &errors {
        text += &format!("\n{error}");
    }
    for it in &recommendations {
        text += &format!("\nnext: {it}");
    }
    json!({
        "text": text,
        "status": status,
        "fine_again": alert == Alert::FineAgain,
        "profile": report.profile,
        "at": clock::utc(report.at),
        "summary": report.summary(),
        "tables": tables,
        "recommendations": recommendations,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::report::Status;
    use crate::reconcile::report::tests::{report, table};

    #[test]
    fn what_is_wrong_is_reported_after_each_run_and_the_end_of_it_once() {
        let run = |status| report([table("users", status)]);
        let mut alerts = Alerts::default();
        assert_eq!(alerts.due(&run(Status::Pass)), None);
        for status in [Status::Fail, Status::Error] {
            assert_eq!(alerts.due(&run(status)), Some(Alert::Wrong));
            alerts.delivered(Alert::Wrong);
        }
        let mut ended = run(Status::Fail);
        ended.interrupted = true;
        assert_eq!(alerts.due(&ended), None);
        // Until it has arrived.
        assert_eq!(alerts.due(&run(Status::Pass)), Some(Alert::FineAgain));
        assert_eq!(alerts.due(&run(Status::NoData)), Some(Alert::FineAgain));
        alerts.delivered(Alert::FineAgain);
        assert_eq!(alerts.due(&run(Status::Pass)), None);
    }

    #[test]
    fn it_names_tables_counts_and_commands() {
        let mut users = table("users", Status::Fail);
        (users.source_count, users.target_count, users.missing_rows) = (10, 8, 2);
        users.connector = Some("pg".into());
        let mut orders = table("orders", Status::Error);
        orders.error = Some(json!({ "message": "connection refused" }));
        let report = report([users, orders, table("rest", Status::Pass)]);
        let body = body(&report, Alert::Wrong);
        let text = body["text"].as_str().expect("a text");
        assert!(
            text.starts_with("[shop] reconcile FAIL: 1 of 3 tables differ"),
            "{text}"
        );
        assert!(
            text.contains("\nconnection refused\nnext: users: 2 rows are missing"),
            "{text}"
        );
        assert_eq!(body["tables"].as_array().map(Vec::len), Some(2));
        assert_eq!(body["tables"][0]["severity"], "CRITICAL");
        assert_eq!(body["tables"][1]["error"], "connection refused");
        assert_eq!(body["fine_again"], false);
    }
}
