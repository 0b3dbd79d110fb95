//! What a comparison says, in the terms of its reports.

use serde::Serialize;
use serde_json::{Value, json};

use super::compare::Kind;
use super::pairs::NotCompared;
use super::repair::Repair;
use crate::clock;
use crate::report::text::one_line;

/// The result of all tables, or of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// They have the same rows.
    Pass,
    /// They differ.
    Fail,
    /// There is nothing to compare.
    NoData,
    /// It could not be compared.
    Error,
    /// The user ended it before.
    Interrupted,
}

/// How much differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Severity {
    /// Below 0.1 % of the rows.
    Low,
    /// Below 1 %.
    Medium,
    /// Below 10 %.
    High,
    /// More.
    Critical,
}

impl Severity {
    /// That of so many rows that differ.
    fn of(rows: u64, all: u64) -> Self {
        // Of one that has no rows, any row is too many.
        let per_mille = u128::from(rows) * 1000;
        let all = u128::from(all);
        match per_mille {
            it if it < all => Severity::Low,
            it if it < all * 10 => Severity::Medium,
            it if it < all * 100 => Severity::High,
            _ => Severity::Critical,
        }
    }
}

/// A row that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its key's values, for people.
    pub key: Vec<String>,
    /// What is wrong with it.
    pub kind: Kind,
    /// Its cells, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<Cell>,
}

/// A column of a row on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// The column, as the source calls it.
    pub column: String,
    /// The source's value; none is NULL, or no row.
    pub source: Option<String>,
    /// The target's value.
    pub target: Option<String>,
    /// Whether they differ.
    pub differs: bool,
}

/// One pair of tables.
#[derive(Clone, Debug, Serialize)]
pub struct TableReport {
    /// The flow, or the source's table.
    pub table: String,
    /// The source's table, `component:table`.
    pub source: String,
    /// The target's table.
    pub target: String,
    /// The result.
    pub status: Status,
    /// Rows at the source.
    pub source_count: u64,
    /// Rows at the target.
    pub target_count: u64,
    /// Rows that the target does not have.
    pub missing_rows: u64,
    /// Rows that only the target has.
    pub extra_rows: u64,
    /// Rows whose values differ.
    pub changed_rows: u64,
    /// Rows that kept changing until the time was over: no difference is proven.
    pub not_settled: u64,
    /// Whether values were compared, or rows counted alone.
    pub values: bool,
    /// Whether a fence tells changes that are on their way from differences.
    pub fenced: bool,
    /// Columns of the key, as the source calls them.
    pub key: Vec<String>,
    /// The first rows that differ.
    pub differences: Vec<Difference>,
    /// Columns that are not compared.
    pub not_compared: Vec<NotCompared>,
    /// Messages that the target holds back, which may be rows that are missing; none where that is not known.
    pub held_back: Option<u64>,
    /// What would repair it, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<Repair>,
    /// Why it could not be compared.
    pub error: Option<Value>,
    /// Milliseconds.
    pub took_ms: u64,
    /// The connector that reads the source's table, where a flow joins them.
    #[serde(skip)]
    pub connector: Option<String>,
}

impl TableReport {
    /// A table of which nothing but its result is known.
    pub fn of(name: &str, status: Status) -> Self {
        TableReport {
            table: name.to_owned(),
            source: String::new(),
            target: String::new(),
            status,
            source_count: 0,
            target_count: 0,
            missing_rows: 0,
            extra_rows: 0,
            changed_rows: 0,
            not_settled: 0,
            values: false,
            fenced: false,
            key: Vec::new(),
            differences: Vec::new(),
            not_compared: Vec::new(),
            held_back: None,
            repair: None,
            error: None,
            took_ms: 0,
            connector: None,
        }
    }

    /// Rows that differ.
    pub fn differing(&self) -> u64 {
        self.missing_rows + self.extra_rows + self.changed_rows
    }

    /// How many of its rows differ, in words.
    pub fn differing_in_words(&self) -> String {
        let kinds = [
            (self.missing_rows, "missing at the target"),
            (self.extra_rows, "at the target only"),
            (self.changed_rows, "with other values"),
        ];
        let kinds = kinds.into_iter().filter(|(rows, _)| *rows > 0);
        let kinds: Vec<String> = kinds.map(|(rows, what)| format!("{rows} {what}")).collect();
        format!("of {} rows {}", self.source_count, kinds.join(", "))
    }

    /// A row of it that differs, in a line.
    pub fn named(&self, difference: &Difference) -> String {
        let kind = match difference.kind {
            Kind::Missing => "missing",
            Kind::Extra => "extra  ",
            Kind::Changed => "changed",
        };
        let key = self.key.iter().zip(&difference.key);
        let key: Vec<String> = key
            .map(|(name, value)| format!("{name}={}", one_line(value)))
            .collect();
        format!("{kind} {}", key.join(", "))
    }

    /// Why nothing can be said of its rows, if that is so.
    pub fn why_not_compared(&self) -> Option<String> {
        match self.status {
            Status::Pass | Status::Fail | Status::NoData => None,
            Status::Interrupted => Some("interrupted".to_owned()),
            Status::Error => {
                let message = self.error.as_ref().and_then(|it| it["message"].as_str());
                Some(message.unwrap_or("it could not be compared").to_owned())
            }
        }
    }

    /// How much of it differs.
    pub fn severity(&self) -> Severity {
        Severity::of(self.differing(), self.source_count)
    }

    fn discrepancies(&self, timestamp: &str) -> Vec<Value> {
        let issue = |kind: &str, rows: u64, details: Value| {
            json!({
                "table": self.table,
                "issue_type": kind,
                "severity": Severity::of(rows, self.source_count),
                "details": details,
                "timestamp": timestamp,
            })
        };
        let counts = (self.missing_rows + self.extra_rows > 0).then(|| {
            issue(
                "ROW_COUNT_MISMATCH",
                self.missing_rows + self.extra_rows,
                json!({
                    "source_count": self.source_count,
                    "target_count": self.target_count,
                    "missing_rows": self.missing_rows,
                    "extra_rows": self.extra_rows,
                }),
            )
        });
        let values = (self.changed_rows > 0).then(|| {
            issue(
                "CHECKSUM_MISMATCH",
                self.changed_rows,
                json!({ "changed_rows": self.changed_rows }),
            )
        });
        counts.into_iter().chain(values).collect()
    }
}

/// All tables.
#[derive(Clone, Debug)]
pub struct Report {
    /// The environment.
    pub profile: String,
    /// When it was begun, in milliseconds since the epoch.
    pub at: u64,
    /// Its tables.
    pub tables: Vec<TableReport>,
    /// Those that were not begun before the user ended it.
    pub not_begun: Vec<String>,
    /// Whether the user ended it.
    pub interrupted: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl Report {
    /// The report of a run that could not even begin: each of its tables has the reason.
    pub fn failed(profile: &str, at: u64, tables: &[String], error: &Value) -> Self {
        let table = |name: &String| TableReport {
            error: Some(error.clone()),
            ..TableReport::of(name, Status::Error)
        };
        Report {
            profile: profile.to_owned(),
            at,
            tables: tables.iter().map(table).collect(),
            not_begun: Vec::new(),
            interrupted: false,
            took_ms: clock::now_ms().saturating_sub(at),
        }
    }

    /// The result of all of them: that of the worst.
    pub fn status(&self) -> Status {
        let has = |status: Status| self.tables.iter().any(|it| it.status == status);
        match () {
            () if has(Status::Fail) => Status::Fail,
            () if self.interrupted => Status::Interrupted,
            () if has(Status::Error) => Status::Error,
            () if has(Status::Pass) => Status::Pass,
            () => Status::NoData,
        }
    }

    fn of(&self, status: Status) -> usize {
        self.tables.iter().filter(|it| it.status == status).count()
    }

    /// A sentence that says it all.
    pub fn summary(&self) -> String {
        let all = self.tables.len() + self.not_begun.len();
        let tables = |count: usize| match count {
            1 => "1 table".to_owned(),
            count => format!("{count} tables"),
        };
        let mut parts = Vec::new();
        let (differ, error) = (self.of(Status::Fail), self.of(Status::Error));
        let same = self.of(Status::Pass);
        if differ > 0 {
            parts.push(format!("{differ} of {} differ", tables(all)));
        }
        if same > 0 {
            parts.push(match same == all {
                true if all == 1 => "the table is the same on both sides".into(),
                true => format!("all {all} tables are the same on both sides"),
                false => format!("{same} of {} the same on both sides", tables(all)),
            });
        }
        if error > 0 {
            parts.push(format!("{} could not be compared", tables(error)));
        }
        let empty = self.of(Status::NoData);
        if empty > 0 {
            parts.push(format!("{} without rows", tables(empty)));
        }
        let unsettled: u64 = self.tables.iter().map(|it| it.not_settled).sum();
        if unsettled > 0 {
            parts.push(format!("{unsettled} rows kept changing"));
        }
        if self.interrupted {
            let left = self.not_begun.len() + self.of(Status::Interrupted);
            parts.push(format!(
                "interrupted: {} not compared to the end",
                tables(left)
            ));
        }
        parts.join("; ")
    }

    /// What to do, with the commands for it.
    pub fn recommendations(&self) -> Vec<String> {
        let mut all = Vec::new();
        for table in &self.tables {
            let name = &table.table;
            let is_flow = table.connector.is_some();
            if table.differing() > 0 {
                if is_flow && table.missing_rows > 0 {
                    all.push(format!(
                        "{name}: {} rows are missing at the target; what is behind: cargo xtask diagnose, cargo xtask lag",
                        table.missing_rows
                    ));
                }
                if let Some(held) = table
                    .held_back
                    .filter(|it| *it > 0 && table.missing_rows > 0)
                {
                    all.push(format!(
                        "{name}: {held} messages are held back in its errors, and their rows are missing: cargo xtask dlq list"
                    ));
                }
                if table.values && table.differences.iter().all(|it| it.cells.is_empty()) {
                    all.push(format!(
                        "{name}: the cells that differ, side by side: cargo xtask reconcile {} --rows 10",
                        self.subject(table)
                    ));
                }
                if is_flow && table.values && table.repair.is_none() {
                    all.push(format!(
                        "{name}: sends these rows again: cargo xtask reconcile {} --repair",
                        self.subject(table)
                    ));
                }
            }
            if table.not_settled > 0 {
                all.push(format!(
                    "{name}: {} rows kept changing; wait longer for them: cargo xtask reconcile {} --settle 300",
                    table.not_settled,
                    self.subject(table)
                ));
            }
        }
        all
    }

    fn subject(&self, table: &TableReport) -> String {
        match table.connector {
            Some(_) => table.table.clone(),
            None => format!(
                "--source {} --target {} --key {}",
                table.source,
                table.target,
                table.key.join(",")
            ),
        }
    }

    /// As JSON, whose first keys are those of the reference's reports.
    pub fn to_json(&self) -> Value {
        let timestamp = clock::utc(self.at);
        let sum = |of: fn(&TableReport) -> u64| self.tables.iter().map(of).sum::<u64>();
        let discrepancies: Vec<Value> = self
            .tables
            .iter()
            .flat_map(|it| it.discrepancies(&timestamp))
            .collect();
        json!({
            "status": self.status(),
            "total_tables": self.tables.len() + self.not_begun.len(),
            "tables_matched": self.of(Status::Pass),
            "tables_mismatched": self.of(Status::Fail),
            "tables_not_compared": self.of(Status::Error) + self.of(Status::Interrupted) + self.not_begun.len(),
            "source_total_rows": sum(|it| it.source_count),
            "target_total_rows": sum(|it| it.target_count),
            "timestamp": timestamp,
            "summary": self.summary(),
            "discrepancies": discrepancies,
            "recommendations": self.recommendations(),
            "profile": self.profile,
            "tables": self.tables,
            "not_begun": self.not_begun,
            "interrupted": self.interrupted,
            "took_ms": self.took_ms,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A table for tests.
    pub(in crate::reconcile) fn table(name: &str, status: Status) -> TableReport {
        TableReport::of(name, status)
    }

    /// A report for tests.
    pub(in crate::reconcile) fn report(tables: impl Into<Vec<TableReport>>) -> Report {
        Report {
            profile: "shop".into(),
            at: 0,
            tables: tables.into(),
            not_begun: Vec::new(),
            interrupted: false,
            took_ms: 0,
        }
    }

    #[test]
    fn severities_follow_the_share_of_rows() {
        assert_eq!(Severity::of(0, 10), Severity::Low);
        assert_eq!(Severity::of(9, 10_000), Severity::Low);
        assert_eq!(Severity::of(10, 10_000), Severity::Medium);
        assert_eq!(Severity::of(99, 10_000), Severity::Medium);
        assert_eq!(Severity::of(100, 10_000), Severity::High);
        assert_eq!(Severity::of(999, 10_000), Severity::High);
        assert_eq!(Severity::of(1_000, 10_000), Severity::Critical);
        assert_eq!(Severity::of(1, 0), Severity::Critical);
        assert_eq!(Severity::of(u64::MAX, u64::MAX), Severity::Critical);
    }
}
