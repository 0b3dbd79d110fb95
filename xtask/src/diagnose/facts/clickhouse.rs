//! The target.

use std::sync::Arc;

use futures_util::future::join_all;
use serde::Deserialize;

use super::{Clickhouse, Consumer, Flow, Known, limited};
use crate::clients::clickhouse::{ClickhouseError, ident, literal};
use crate::clock;
use crate::components::clickhouse::settings::ClickhouseSettings;
use crate::components::clickhouse::{Names, end};
use crate::environment::Environment;
use crate::wait::Limit;

/// What is at a flow's end.
pub(super) struct Row {
    errors: u64,
    newest_error: Option<String>,
    newest_ms: Option<u64>,
}

impl Row {
    /// Writes it into the flow's facts.
    pub(super) fn fill(self, flow: &mut Flow) {
        flow.errors = Some(self.errors);
        flow.newest_error = self.newest_error;
        flow.newest_ms = self.newest_ms;
    }
}

/// Asks the servers, and for each flow what is at its end; none where that is not known.
pub(super) async fn gather(
    env: &Arc<Environment>,
    limit: &Limit,
) -> (Known<Clickhouse>, Vec<Option<Row>>) {
    let flows = env.profile.flows.keys();
    // Without one nothing is missing there.
    let Some(own) = env.profile.first::<ClickhouseSettings>() else {
        return (
            Known::Seen(Clickhouse::default()),
            flows.map(|_| None).collect(),
        );
    };
    let rows = join_all(flows.map(async |flow| {
        let row = limit.within(row(own, env, flow)).await;
        row.ok().flatten()
    }));
    tokio::join!(limited(limit, server(own, env)), rows)
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
        let flows = env
            .profile
            .flows
            .keys()
            .map(|flow| Names::of(own, env, flow));
        let wanted: Vec<Names> = flows.collect();
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
    let target = end(own, env, &client, flow).await?;
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
        newest_error,
        newest_ms: (target.newest > 0).then(|| clock::now_ms().saturating_sub(target.newest)),
    })
}
