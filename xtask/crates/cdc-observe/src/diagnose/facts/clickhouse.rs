//! ClickHouse: its tables, its Kafka consumers, its disk, and what is at the flows' ends.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Gather, Row, ServerFacts};
use crate::clients::clickhouse::{ClickhouseError, ident, literal};
use crate::clock;
use crate::components::clickhouse::settings::ClickhouseSettings;
use crate::components::clickhouse::{Names, end};
use crate::components::target::Target;
use crate::environment::Environment;

/// A server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Clickhouse {
    /// Its clock, in milliseconds since the epoch.
    pub clock_ms: u64,
    /// Tables and views of the profile that are not there.
    pub missing: Vec<String>,
    /// What its Kafka consumers said last.
    pub consumers: Vec<Consumer>,
    /// Free and total bytes where it keeps its data.
    pub room: Option<(u64, u64)>,
}

/// A Kafka consumer of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    /// Its table.
    pub table: String,
    /// Its newest exception.
    pub error: String,
    /// Seconds since then.
    pub age: u64,
}

impl ServerFacts for Clickhouse {
    fn clock_ms(&self) -> Option<u64> {
        (self.clock_ms > 0).then_some(self.clock_ms)
    }
}

#[async_trait]
impl Gather for Clickhouse {
    type Own = ClickhouseSettings;

    async fn ask(env: &Arc<Environment>, own: &ClickhouseSettings) -> Result<Self, String> {
        server(own, env).await.map_err(|error| error.to_string())
    }

    async fn row(env: &Environment, own: &ClickhouseSettings, flow: &str) -> Option<Row> {
        row(own, env, flow).await
    }
}

#[derive(Deserialize)]
struct Answer {
    clock: u64,
    tables: Vec<String>,
    free: u64,
    total: u64,
}

async fn server(
    own: &ClickhouseSettings,
    env: &Environment,
) -> Result<Clickhouse, ClickhouseError> {
    let client = own.client(env);
    let database = literal(&own.database);
    let sql = format!(
        "SELECT toUInt64(toUnixTimestamp64Milli(now64(3))) AS clock, \
                (SELECT groupArray(name) FROM system.tables WHERE database = {database}) AS tables, \
                (SELECT toUInt64(min(free_space)) FROM system.disks) AS free, \
                (SELECT toUInt64(min(total_space)) FROM system.disks) AS total"
    );
    // The newest exception of each consumer; those before it are history.
    let consumers = format!(
        "SELECT table, exceptions.text[-1] AS error, \
                toUInt64(greatest(0, dateDiff('second', exceptions.time[-1], now()))) AS age \
         FROM system.kafka_consumers WHERE database = {database} AND notEmpty(exceptions.text)"
    );
    let (answer, consumers) = tokio::join!(
        client.rows::<Answer>(&sql),
        client.rows::<Consumer>(&consumers)
    );
    let mut seen = Clickhouse {
        consumers: consumers?,
        ..Clickhouse::default()
    };
    if let Some(answer) = answer?.into_iter().next() {
        seen.clock_ms = answer.clock;
        seen.room = (answer.total > 0).then_some((answer.free, answer.total));
        let flows = env.profile.flows_to(&own.name);
        let wanted: Vec<Names> = flows.map(|(flow, _)| Names::of(own, env, flow)).collect();
        let missing = wanted.iter().flat_map(Names::all);
        let missing = missing.filter(|name| !answer.tables.iter().any(|it| it == name));
        seen.missing = missing.map(str::to_owned).collect();
    }
    Ok(seen)
}

#[derive(Deserialize)]
struct Poison {
    at: String,
}

async fn row(own: &ClickhouseSettings, env: &Environment, flow: &str) -> Option<Row> {
    let client = own.client(env);
    let given = env.profile.flows.get(flow)?;
    let (target, drift) = tokio::join!(end(own, env, &client, flow), own.drift(env, flow, given));
    let target = target?;
    let newest_error = match target.errors {
        0 => None,
        _ => {
            let sql = format!(
                "SELECT format('{{}} partition {{}} offset {{}}: {{}}', _topic, toString(_partition), \
                 toString(_offset), reason) AS at FROM {} ORDER BY seen_at DESC LIMIT 1",
                ident(&Names::of(own, env, flow).errors)
            );
            let rows: Vec<Poison> = client.rows(&sql).await.ok()?;
            rows.into_iter().next().map(|row| row.at)
        }
    };
    Some(Row {
        errors: target.errors,
        waiting: target.waiting,
        drift: drift.ok(),
        newest_error,
        newest_ms: (target.newest > 0).then(|| clock::now_ms().saturating_sub(target.newest)),
    })
}
