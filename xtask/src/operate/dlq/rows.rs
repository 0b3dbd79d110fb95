//! What ClickHouse's flows could not read. They are no sink connectors: their unreadable messages are
//! rows of a table of the flow's own, and the newest change of a key is read again by itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::filter::Filter;
use super::{Entry, Failure, Place};
use crate::clients::clickhouse::{ClickhouseError, ident};
use crate::clients::kafka::Record;
use crate::components::clickhouse::Names;
use crate::environment::Environment;

/// The unreadable messages of a flow.
#[derive(Clone, Debug, Serialize)]
pub struct Errors {
    /// Flow.
    pub flow: String,
    /// Table.
    pub table: String,
    /// How many by reason; none where the table does not answer.
    pub reasons: Option<BTreeMap<String, u64>>,
    /// When the oldest was seen, in milliseconds since the epoch.
    pub oldest_ms: Option<u64>,
    /// When the newest was seen.
    pub newest_ms: Option<u64>,
    /// Why the table does not answer.
    pub unanswered: Option<String>,
}

#[derive(Deserialize)]
struct Counted {
    reason: String,
    count: u64,
    oldest: u64,
    newest: u64,
}

/// Counts the unreadable messages of every flow. A table that does not answer says so in its row:
/// the queues of sinks are worth showing without it.
pub async fn errors(env: &Environment) -> Vec<Errors> {
    let flows = env.profile.flows.keys();
    futures_util::future::join_all(flows.map(|flow| of_flow(env, flow))).await
}

async fn of_flow(env: &Environment, flow: &str) -> Errors {
    let table = Names::of(env, flow).errors;
    let sql = format!(
        "SELECT reason, toUInt32(count()) AS count, \
         toUnixTimestamp64Milli(min(seen_at)) AS oldest, toUnixTimestamp64Milli(max(seen_at)) AS newest \
         FROM {} FINAL GROUP BY reason",
        ident(&table)
    );
    let mut errors = Errors {
        flow: flow.to_owned(),
        table,
        reasons: None,
        oldest_ms: None,
        newest_ms: None,
        unanswered: None,
    };
    match crate::components::clickhouse::client(env)
        .rows::<Counted>(&sql)
        .await
    {
        Ok(rows) => {
            errors.oldest_ms = rows.iter().map(|row| row.oldest).min();
            errors.newest_ms = rows.iter().map(|row| row.newest).max();
            errors.reasons = Some(
                rows.into_iter()
                    .map(|row| (row.reason, row.count))
                    .collect(),
            );
        }
        Err(error) => errors.unanswered = Some(error.to_string()),
    }
    errors
}

#[derive(Deserialize)]
struct Rejected {
    topic: String,
    partition: i32,
    offset: i64,
    reason: String,
    key: String,
    raw: String,
    seen: i64,
}

/// The newest unreadable messages of a flow that are meant, the newest last, in the shape of a queue's
/// records: the reason stands for the exception.
///
/// # Errors
/// ClickHouse does not answer or has no such table.
pub async fn rejected(
    env: &Environment,
    flow: &str,
    filter: &Filter,
    most: usize,
) -> Result<Vec<Entry>, ClickhouseError> {
    let table = Names::of(env, flow).errors;
    let sql = format!(
        "SELECT _topic AS topic, toInt32(_partition) AS partition, toInt64(_offset) AS offset, reason, key, raw, \
         toUnixTimestamp64Milli(seen_at) AS seen \
         FROM {} FINAL ORDER BY seen_at DESC, _partition, _offset DESC LIMIT {}",
        ident(&table),
        super::scan::LOOKED_AT,
    );
    let rows: Vec<Rejected> = crate::components::clickhouse::client(env)
        .rows(&sql)
        .await?;
    let entries = rows.into_iter().enumerate().map(|(index, row)| {
        let origin = Place {
            topic: row.topic,
            partition: row.partition,
            offset: row.offset,
        };
        Entry {
            at: Place {
                topic: table.clone(),
                partition: 0,
                offset: i64::try_from(index).unwrap_or(i64::MAX),
            },
            failure: Failure {
                origin: Some(origin),
                exception: Some(row.reason),
                ..Failure::default()
            },
            record: Record {
                timestamp: row.seen,
                ..Record::new(Some(row.key.into()), Some(row.raw.into()))
            },
        }
    });
    let mut found: Vec<Entry> = entries
        .filter(|entry| filter.wants(&entry.at, &entry.failure, &entry.record))
        .take(most)
        .collect();
    found.reverse();
    Ok(found)
}
