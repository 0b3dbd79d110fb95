//! What connectors do, gathered for people and programs.

use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use serde_json::Value;

use super::settled;
use crate::clients::connect::{Connect, Listed, Offsets};
use crate::clients::mongodb::token;
use crate::clock;
use crate::environment::Environment;
use crate::error::Result;
use crate::plan::Progress;
use crate::readiness::connect::root_cause;

/// How long a place is waited for by who only looks.
const GLANCE: Duration = Duration::from_secs(2);

/// One connector.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Name.
    pub name: String,
    /// `source` or `sink`.
    pub kind: String,
    /// Plugin class.
    pub class: String,
    /// The connector's own state.
    pub state: String,
    /// Its tasks.
    pub tasks: Vec<Task>,
    /// Root cause of the first failure.
    pub cause: Option<String>,
    /// The worker that has the connector.
    pub worker: String,
}

/// One task.
#[derive(Debug, Serialize)]
pub struct Task {
    /// Number.
    pub id: u32,
    /// State.
    pub state: String,
    /// The worker that runs it.
    pub worker: String,
    /// Root cause of its failure.
    pub cause: Option<String>,
    /// Stack trace of its failure.
    pub trace: Option<String>,
}

/// One connector with its place.
#[derive(Debug, Serialize)]
pub struct Detail {
    /// What it does.
    #[serde(flatten)]
    pub row: Row,
    /// What it has committed.
    pub offsets: Offsets,
    /// Its place in the source, as far as the offsets tell it.
    pub position: Option<Position>,
    /// Why its offsets are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

impl Detail {
    fn of(row: Row, offsets: Offsets) -> Self {
        Detail {
            position: offsets.offsets.iter().find_map(|one| position(&one.offset)),
            offsets,
            row,
            unknown: None,
        }
    }
}

/// A place in a source's log, and when what is there happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// PostgreSQL's LSN, MongoDB's time of the oplog, or the connector's words.
    pub place: String,
    /// Milliseconds since the epoch of the last event; none where the offset does not say.
    pub at: Option<u64>,
    /// Whether the snapshot is still being read.
    pub snapshot: bool,
}

impl Row {
    fn of(name: String, listed: Listed) -> Self {
        let cause = |trace: Option<&String>| trace.map(|trace| root_cause(trace).to_owned());
        let status = listed.status;
        let entries = std::iter::once(&status.connector).chain(&status.tasks);
        let failed = entries
            .filter(|entry| entry.state == "FAILED")
            .find_map(|entry| cause(entry.trace.as_ref()));
        let class = listed.info.config.get("connector.class");
        Row {
            name,
            kind: listed.info.kind,
            class: class.cloned().unwrap_or_default(),
            state: status.connector.state,
            cause: failed,
            worker: status.connector.worker_id,
            tasks: status
                .tasks
                .into_iter()
                .map(|task| Task {
                    id: task.id.unwrap_or_default(),
                    cause: cause(task.trace.as_ref()),
                    state: task.state,
                    worker: task.worker_id,
                    trace: task.trace,
                })
                .collect(),
        }
    }

    /// Whether it does its work.
    pub fn is_running(&self) -> bool {
        self.state == "RUNNING"
            && !self.tasks.is_empty()
            && self.tasks.iter().all(|task| task.state == "RUNNING")
    }
}

impl Row {
    /// Whether somebody has it paused or stopped, and nothing of it failed.
    pub fn is_resting(&self) -> bool {
        let paused = matches!(self.state.as_str(), "PAUSED" | "STOPPED");
        paused && self.tasks.iter().all(|task| task.state != "FAILED")
    }
}

/// All connectors, by name.
///
/// # Errors
/// Connect does not answer.
pub async fn list(env: &Environment) -> Result<Vec<Row>> {
    list_by(&env.connect_client()).await
}

/// As [`list`], over the connections that a client has already.
///
/// # Errors
/// Connect does not answer.
pub async fn list_by(client: &Connect) -> Result<Vec<Row>> {
    let listed = settled(&Progress::silent(), || client.all()).await?;
    let mut rows: Vec<Row> = listed
        .into_iter()
        .map(|(name, listed)| Row::of(name, listed))
        .collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rows)
}

/// These connectors with their places.
///
/// # Errors
/// Connect does not answer.
pub async fn details(env: &Environment, names: &[String]) -> Result<Vec<Detail>> {
    let client = &env.connect_client();
    let details = rows(env, names).await?.map(|row| async move {
        let offsets = offsets(client, &row.name).await?;
        Ok(Detail::of(row, offsets))
    });
    join_all(details).await.into_iter().collect()
}

/// These connectors with the places that Connect tells soon: states it has at hand, but places only
/// while its workers agree on who does what.
///
/// # Errors
/// Connect does not answer.
pub async fn glance(env: &Environment, names: &[String]) -> Result<Vec<Detail>> {
    let client = &env.connect_client();
    let details = rows(env, names).await?.map(|row| async move {
        match tokio::time::timeout(GLANCE, offsets(client, &row.name)).await {
            Ok(offsets) => Ok(Detail::of(row, offsets?)),
            Err(_) => Ok(Detail {
                unknown: Some(format!("Connect gives no answer within {GLANCE:?}")),
                ..Detail::of(row, Offsets::default())
            }),
        }
    });
    join_all(details).await.into_iter().collect()
}

async fn rows(env: &Environment, names: &[String]) -> Result<impl Iterator<Item = Row>> {
    let rows = list(env).await?.into_iter();
    Ok(rows.filter(|row| names.contains(&row.name)))
}

async fn offsets(client: &Connect, name: &str) -> Result<Offsets> {
    let offsets = settled(&Progress::silent(), || client.offsets(name)).await?;
    Ok(offsets.unwrap_or_default())
}

/// Reads the place out of an offset as Debezium's connectors write them.
pub fn position(offset: &Value) -> Option<Position> {
    let number = |key: &str| offset.get(key).and_then(Value::as_u64);
    let snapshot = match offset.get("snapshot").or_else(|| offset.get("initsync")) {
        Some(Value::Bool(on)) => *on,
        Some(Value::String(text)) => !text.eq_ignore_ascii_case("false"),
        _ => false,
    };
    if let Some(lsn) = number("lsn") {
        return Some(Position {
            place: lsn_text(lsn),
            at: number("ts_usec").map(|micros| micros / 1000),
            snapshot,
        });
    }
    // MongoDB: seconds and a count within the second, or after a heartbeat a resume token alone.
    let seconds = offset.get("sec").and_then(Value::as_i64)?;
    let by_token = || token::time(offset.get("resume_token")?.as_str()?);
    let seconds = u64::try_from(seconds).ok().or_else(by_token);
    let at = seconds.map(|seconds| seconds * 1000);
    Some(Position {
        place: match at {
            Some(at) => format!("{} #{}", clock::utc(at), number("ord").unwrap_or(0)),
            None => "resume token".into(),
        },
        at,
        snapshot,
    })
}

/// An LSN as PostgreSQL writes it.
pub fn lsn_text(lsn: u64) -> String {
    format!("{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_of_both_sources() {
        let found = position(&json!({
            "lsn": 25_000_000_123_u64, "ts_usec": 1_700_000_000_123_456_u64, "snapshot": "INITIAL",
        }));
        let found = found.expect("a position");
        assert_eq!(found.place, "5/D21DBA7B");
        assert_eq!(found.at, Some(1_700_000_000_123));
        assert!(found.snapshot);
        let found = position(&json!({ "sec": 1_700_000_000, "ord": 3, "initsync": false }));
        let found = found.expect("a position");
        assert_eq!(found.place, "2023-11-14 22:13:20 UTC #3");
        assert!(!found.snapshot);
        let found = position(&json!({ "sec": -1, "ord": -1, "resume_token": "x" }));
        assert_eq!(
            found.map(|found| found.place).as_deref(),
            Some("resume token")
        );
        let token = "IwAAAAJfZGF0YQATAAAAODI2QjBDOEM3NDAwMDAwMDEwAAA=";
        let found = position(&json!({ "sec": -1, "ord": -1, "resume_token": token }));
        assert_eq!(found.and_then(|found| found.at), Some(0x6B0C_8C74 * 1000));
        assert_eq!(position(&json!({ "kafka_offset": 5 })), None);
    }
}
