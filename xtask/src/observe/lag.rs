//! How far each part of a flow is behind: from the source's log to the newest row at the target.
//!
//! What cannot be had is none, never zero: a part that hangs must not make the others look idle.
//!
//! Services are asked at the same time, and each over as few connections as it can be: through an API
//! server opening one takes as long as ten questions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::Serialize;

use super::connectors::view;
use super::slots;
use super::status::{self, PATIENCE};
use crate::components::position;
use crate::environment::Environment;
use crate::platform::Platform;
use crate::profile::schema::{Connector, Source};
use crate::units::Size;
use crate::wait;

/// How far apart the two looks are that give a rate.
const BETWEEN: Duration = Duration::from_millis(150);

/// One flow.
#[derive(Clone, Debug, Serialize)]
pub struct FlowLag {
    /// Flow.
    pub flow: String,
    /// Its connector.
    pub connector: String,
    /// `RUNNING` and the like; none where Connect does not answer.
    pub state: Option<String>,
    /// What PostgreSQL keeps for the connector.
    pub wal: Option<Wal>,
    /// What MongoDB keeps for the connector.
    pub oplog: Option<Oplog>,
    /// The place that the connector has committed.
    pub committed: Option<position::Position>,
    /// Topic.
    pub topic: String,
    /// Messages in the topic.
    pub messages: Option<i64>,
    /// Changes that the target has not read.
    pub unread: Option<i64>,
    /// How old the newest row at the target is, in milliseconds.
    pub newest_ms: Option<u64>,
    /// Messages that were no change.
    pub errors: Option<u64>,
}

/// PostgreSQL's log as a slot sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Wal {
    /// Where PostgreSQL writes now.
    pub position: String,
    /// The oldest place that is kept for the slot.
    pub restart_lsn: Option<String>,
    /// Up to where the connector has confirmed.
    pub confirmed_flush_lsn: Option<String>,
    /// Bytes that are kept for the slot.
    pub retained: Option<u64>,
    /// Bytes that the connector has not confirmed.
    pub unconfirmed: Option<u64>,
    /// By how much `retained` grows, in bytes a second; negative while it shrinks.
    pub growth: Option<f64>,
    /// Room on PostgreSQL's volume, in bytes. On clusters it is what the profile asked for, less
    /// what the databases and the log take.
    pub free: Option<u64>,
    /// Seconds until that is full, if it goes on like this; none while nothing grows.
    pub full_in: Option<u64>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub status: Option<String>,
}

/// MongoDB's oplog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Oplog {
    /// Milliseconds since the epoch of its oldest entry.
    pub oldest: u64,
    /// Milliseconds since the epoch of its newest entry.
    pub newest: u64,
    /// Seconds of the oplog that lie before the connector's position: when they are used up, its place
    /// is lost. None where the place tells no time.
    pub window_left: Option<u64>,
}

/// All flows. Each source and the broker are asked once.
pub async fn gather(env: &Arc<Environment>) -> Vec<FlowLag> {
    let sources = async {
        let seen = env.profile.connectors.iter();
        let seen = seen.map(|(name, connector)| async move {
            (name.as_str(), source_lag(env, connector).await)
        });
        join_all(seen).await
    };
    let (sources, told, flows) = tokio::join!(sources, told(env), status::flows(env));
    flows
        .into_iter()
        .map(|row| {
            let source = sources.iter().find(|(name, _)| *name == row.connector);
            let source = source.map(|(_, source)| source.clone()).unwrap_or_default();
            let committed = told.committed.get(&row.connector).cloned();
            let mut rows = told.rows.iter().flatten();
            let connector = rows.find(|seen| seen.name == row.connector);
            FlowLag {
                flow: row.name,
                connector: row.connector,
                state: connector.map(|seen| match seen.cause {
                    Some(_) => "FAILED".into(),
                    None => seen.state.clone(),
                }),
                wal: source.wal,
                oplog: source.oplog.map(|oplog| oplog.before(committed.as_ref())),
                committed,
                topic: row.topic,
                messages: row.messages,
                unread: row.lag,
                newest_ms: row.newest_ms,
                errors: row.errors,
            }
        })
        .collect()
}

#[derive(Clone, Default)]
struct SourceLag {
    wal: Option<Wal>,
    oplog: Option<Oplog>,
}

async fn source_lag(env: &Environment, connector: &Connector) -> SourceLag {
    let source = async {
        match (connector.source, connector.slot.as_deref()) {
            (Source::Postgres, Some(slot)) => (wal(env, slot).await, None),
            (Source::Postgres, None) => (None, None),
            (Source::Mongodb, _) => (None, oplog(env).await),
        }
    };
    let seen = tokio::time::timeout(PATIENCE, source).await;
    let (wal, oplog) = seen.unwrap_or_default();
    SourceLag { wal, oplog }
}

/// What Connect tells.
#[derive(Default)]
struct Told {
    /// The connectors, if it answers.
    rows: Option<Vec<view::Row>>,
    /// The place that each has committed.
    committed: BTreeMap<String, position::Position>,
}

/// Asks Connect, one question after the other over the same connection.
async fn told(env: &Environment) -> Told {
    let client = env.connect_client();
    let mut told = Told::default();
    let ask = async {
        told.rows = view::list_by(&client).await.ok();
        for name in env.profile.connectors.keys() {
            if let Ok(Some(found)) = client.offsets(name).await
                && let Some(position) = found
                    .offsets
                    .iter()
                    .find_map(|one| position::position(&one.offset))
            {
                told.committed.insert(name.clone(), position);
            }
        }
    };
    // What came in time counts.
    let _late = tokio::time::timeout(PATIENCE, ask).await;
    told
}

async fn wal(env: &Environment, slot: &str) -> Option<Wal> {
    let session = env.postgres_session().await.ok()?;
    let begin = Instant::now();
    let before = slots::find_in(env, &session, slot).await.ok()??;
    let room = async {
        let row = session.query(
            "SELECT pg_current_wal_lsn(), \
             (SELECT sum(pg_database_size(oid)) FROM pg_database)::bigint \
             + coalesce((SELECT sum(size) FROM pg_ls_waldir()), 0)::bigint",
        );
        let row = row.await.ok()?.into_iter().next()?;
        let mut cells = row.into_iter();
        let position = cells.next().flatten()?;
        let used: Option<u64> = cells.next().flatten().and_then(|text| text.parse().ok());
        Some((position, used))
    };
    let (room, ()) = tokio::join!(room, wait::pause(BETWEEN));
    let (position, used) = room?;
    let now = slots::find_in(env, &session, slot).await.ok()??;
    let growth = now
        .retained
        .zip(before.retained)
        .map(|(now, before)| rate(before, now, begin.elapsed()));
    let free = free(env, used);
    Some(Wal {
        position,
        restart_lsn: now.restart_lsn,
        confirmed_flush_lsn: now.confirmed_flush_lsn,
        retained: now.retained,
        unconfirmed: now.unconfirmed,
        growth,
        free,
        full_in: free
            .zip(growth)
            .and_then(|(free, growth)| full_in(free, growth)),
        status: now.wal_status,
    })
}

impl Oplog {
    /// As it lies before the place that the connector has committed.
    fn before(self, committed: Option<&position::Position>) -> Self {
        let at = committed.and_then(|position| position.at);
        Oplog {
            window_left: at.map(|at| at.saturating_sub(self.oldest) / 1000),
            ..self
        }
    }
}

fn rate(before: u64, now: u64, between: Duration) -> f64 {
    (now as f64 - before as f64) / between.as_secs_f64().max(0.001)
}

/// Seconds until `free` bytes are used up.
fn full_in(free: u64, growth: f64) -> Option<u64> {
    // Slower than this is noise: a disk of a gigabyte would last for years.
    const LEAST: f64 = 16.0;
    (growth > LEAST).then(|| (free as f64 / growth) as u64)
}

/// Room where PostgreSQL keeps its log.
fn free(env: &Environment, used: Option<u64>) -> Option<u64> {
    if env.is_external("postgres") {
        return None;
    }
    match env.platform {
        #[cfg(unix)]
        Platform::Host => {
            let seen = rustix::fs::statvfs(env.dirs.data("postgres")).ok()?;
            Some(seen.f_bavail * seen.f_frsize)
        }
        #[cfg(not(unix))]
        Platform::Host => None,
        Platform::Kind | Platform::Kubernetes => left(&env.profile.postgres.storage, used?),
    }
}

/// What is left of a volume that the profile asked for.
fn left(storage: &str, used: u64) -> Option<u64> {
    Some(Size::quantity(storage)?.0.saturating_sub(used))
}

async fn oplog(env: &Environment) -> Option<Oplog> {
    let (oldest, newest) = env.mongodb_client().ok()?.oplog_window().await.ok()??;
    Some(Oplog {
        oldest: oldest * 1000,
        newest: newest * 1000,
        window_left: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_as_large_as_its_quantity_says() {
        const GIB: u64 = 1 << 30;
        for (storage, left_of_it) in [
            ("5Gi", Some(4 * GIB)),
            ("512Mi", Some(0)),
            ("5G", Some(5_000_000_000 - GIB)),
            ("5gb", None),
        ] {
            assert_eq!(left(storage, GIB), left_of_it, "{storage}");
        }
    }

    #[test]
    fn a_disk_is_full_only_if_something_grows() {
        assert_eq!(full_in(1000, 0.0), None);
        assert_eq!(full_in(1000, -50.0), None);
        assert_eq!(full_in(1_000_000, 100.0), Some(10_000));
        assert!((rate(100, 300, Duration::from_secs(2)) - 100.0).abs() < 0.01);
        assert!(rate(300, 100, Duration::from_secs(1)) < 0.0);
    }
}
