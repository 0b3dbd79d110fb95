//! What the target's flows could not read. They are no sink connectors: their unreadable messages are
//! rows of a table of the flow's own, and the newest change of a key is read again by itself.

use std::collections::BTreeMap;

use serde::Serialize;

use super::filter::Filter;
use super::{Entry, Failure, Place};
use crate::clients::kafka::Record;
use crate::components::target;
use crate::environment::Environment;
use crate::error::Result;
use crate::profile::schema::Flow;
use crate::up::canary;

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

/// Counts the unreadable messages of every flow. A table that does not answer says so in its row:
/// the queues of sinks are worth showing without it.
pub async fn errors(env: &Environment) -> Vec<Errors> {
    // What a sink writes has its queue.
    let flows = env.profile.flows.iter();
    let flows = flows.filter(|(_, flow)| flow.to.is_none());
    futures_util::future::join_all(flows.map(|(name, flow)| of_flow(env, name, flow))).await
}

async fn of_flow(env: &Environment, name: &str, flow: &Flow) -> Errors {
    let target = target(env, flow).map(|target| target.table(env, name, flow));
    let mut errors = Errors {
        flow: name.to_owned(),
        table: target
            .as_ref()
            .map_or_else(|_| String::new(), |it| it.rejects().to_owned()),
        reasons: None,
        oldest_ms: None,
        newest_ms: None,
        unanswered: None,
    };
    let reasons = async { target?.reasons().await };
    match reasons.await {
        Ok(rows) => {
            errors.oldest_ms = rows.iter().map(|row| row.oldest).min();
            errors.newest_ms = rows.iter().map(|row| row.newest).max();
            errors.reasons = Some(
                rows.into_iter()
                    .map(|row| (row.reason, row.count))
                    .collect(),
            );
        }
        Err(error) => errors.unanswered = Some(error.message),
    }
    errors
}

/// The newest unreadable messages of a flow that are meant, the newest last, in the shape of a queue's
/// records: the reason stands for the exception.
///
/// # Errors
/// The profile has no such flow, or the target does not answer or has no such table.
pub async fn rejected(
    env: &Environment,
    name: &str,
    filter: &Filter,
    most: usize,
) -> Result<Vec<Entry>> {
    let flow = canary::flow(env, name)?;
    let target = target(env, flow)?.table(env, name, flow);
    let rows = target.rejected(super::scan::LOOKED_AT).await?;
    let entries = rows.into_iter().enumerate().map(|(index, row)| {
        let origin = Place {
            topic: row.topic,
            partition: row.partition,
            offset: row.offset,
        };
        Entry {
            at: Place {
                topic: target.rejects().to_owned(),
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
