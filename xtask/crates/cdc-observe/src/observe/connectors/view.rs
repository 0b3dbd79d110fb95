//! What connectors do, gathered for people and programs.
//!
//! Offsets are waited for 2 s: a group that does not settle withholds them, while states are
//! reported all the time.

use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;

use crate::clients::connect::{Connect, Listed, Offsets};
use crate::components::connect::settled;
use crate::components::position::{Position, position};
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
    /// Its position in the source, as far as the offsets tell it.
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
