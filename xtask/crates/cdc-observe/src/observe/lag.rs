//! How far each part of a flow is behind: from the source's log to the newest row at the target.
//!
//! What cannot be had is none, never zero: a part that hangs must not make the others look idle.
//!
//! Services are asked at the same time, and each over as few connections as it can be: through an API
//! server opening one takes as long as ten questions.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use serde::Serialize;

use super::connectors::view;
use super::status::{self, PATIENCE};
use crate::clients::connect::PartitionOffset;
use crate::components::position::{Position, position};
use crate::components::source;
use crate::components::source::{Binlog, Oplog, Retention, Wal};
use crate::environment::Environment;
use crate::up::rereads::noted::{UnderWay, under_way};

/// One flow.
#[derive(Clone, Debug, Serialize)]
pub struct FlowLag {
    /// Flow.
    pub flow: String,
    /// Its connector.
    pub connector: String,
    /// `RUNNING` and the like; none where Connect does not answer.
    pub state: Option<String>,
    /// What the source keeps for the connector, of a log that is kept until it is confirmed.
    pub wal: Option<Wal>,
    /// What the source keeps, of a log whose newest part is kept.
    pub oplog: Option<Oplog>,
    /// What the source keeps, of a log in files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binlog: Option<Binlog>,
    /// The place that the connector has committed.
    pub committed: Option<Position>,
    /// How far its connector is with tables that it reads again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rereads: Option<UnderWay>,
    /// Topic.
    pub topic: String,
    /// Messages in the topic.
    pub messages: Option<i64>,
    /// Changes that the target has not read.
    pub unread: Option<i64>,
    /// How old the newest row at the target is, in milliseconds.
    pub newest_ms: Option<u64>,
    /// Rows at the target, where their age is not known.
    #[serde(skip)]
    pub rows: Option<u64>,
    /// Messages that were no change.
    pub errors: Option<u64>,
}

/// All flows. Each source and the broker are asked once.
pub async fn gather(env: &Arc<Environment>) -> Vec<FlowLag> {
    let sources = async {
        let seen = env.profile.connectors.iter();
        let seen = seen.map(|(name, connector)| async move {
            let retention = source(env, connector).retention(env, connector);
            let seen = tokio::time::timeout(PATIENCE, retention).await;
            (name.as_str(), seen.ok().flatten())
        });
        join_all(seen).await
    };
    let rereads = tokio::time::timeout(PATIENCE, under_way(env));
    let (sources, told, flows, rereads) =
        tokio::join!(sources, told(env), status::flows(env), rereads);
    let rereads = rereads.unwrap_or_default();
    flows
        .into_iter()
        .map(|row| {
            let source = sources.iter().find(|(name, _)| *name == row.connector);
            let committed = told.committed.get(&row.connector).cloned();
            let (mut wal, mut oplog, mut binlog) = (None, None, None);
            match source.and_then(|(_, retention)| retention.clone()) {
                Some(Retention::Unconfirmed(found)) => wal = Some(found),
                Some(Retention::Newest(found)) => oplog = Some(before(found, committed.as_ref())),
                Some(Retention::Files(found)) => binlog = Some(found.behind(committed.as_ref())),
                None => {}
            }
            let mut rows = told.rows.iter().flatten();
            let connector = rows.find(|seen| seen.name == row.connector);
            let under_way = rereads.get(&row.connector);
            FlowLag {
                rereads: under_way
                    .filter(|it| {
                        it.tables
                            .iter()
                            .any(|table| row.topic.ends_with(&format!(".{table}")))
                    })
                    .cloned(),
                flow: row.name,
                connector: row.connector,
                state: connector.map(|seen| match seen.cause {
                    Some(_) => "FAILED".into(),
                    None => seen.state.clone(),
                }),
                wal,
                oplog,
                binlog,
                committed,
                topic: row.topic,
                messages: row.messages,
                unread: row.lag,
                newest_ms: row.newest_ms,
                rows: row.rows,
                errors: row.errors,
            }
        })
        .collect()
}

/// What Connect tells.
#[derive(Default)]
struct Told {
    /// The connectors, if it answers.
    rows: Option<Vec<view::Row>>,
    /// The place that each has committed.
    committed: BTreeMap<String, Position>,
}

/// Asks Connect, one question after the other over the same connection.
async fn told(env: &Environment) -> Told {
    let client = env.connect_client();
    let mut told = Told::default();
    let ask = async {
        told.rows = view::list_by(&client).await.ok();
        for name in env.profile.connectors.keys() {
            let place = |one: &PartitionOffset| position(&one.offset);
            if let Ok(Some(found)) = client.offsets(name).await
                && let Some(position) = found.offsets.iter().find_map(place)
            {
                told.committed.insert(name.clone(), position);
            }
        }
    };
    // What came in time counts.
    let _late = tokio::time::timeout(PATIENCE, ask).await;
    told
}

/// What is kept of the oplog, as it lies before the place that the connector has committed.
fn before(oplog: Oplog, committed: Option<&Position>) -> Oplog {
    let at = committed.and_then(|position| position.at);
    Oplog {
        window_left: at.map(|at| at.saturating_sub(oplog.oldest) / 1000),
        ..oplog
    }
}
