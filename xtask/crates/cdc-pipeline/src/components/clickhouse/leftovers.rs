//! What is in ClickHouse of flows that the profile no longer has.
//!
//! A flow is known by its bronze table, whose comment only [`super::statements`] writes. On a server of the user's own
//! other environments may have flows, too: there a flow is this one's if its queue reads this environment's broker.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::names::Names;
use super::settings::ClickhouseSettings;
use super::statements::is_comment;
use super::tables::run;
use crate::clients::clickhouse::{ident, literal};
use crate::components::service;
use crate::components::target::Leftover;
use crate::environment::Environment;
use crate::error::Result;

/// A table, as the server describes it.
#[derive(Clone, Debug, Default, Deserialize)]
struct Table {
    name: String,
    engine: String,
    comment: String,
    rows: u64,
    broker: String,
    topics: String,
    group: String,
}

/// See [`crate::components::target::Target::leftovers`].
pub(super) async fn find(own: &ClickhouseSettings, env: &Environment) -> Result<Vec<Leftover>> {
    let setting = |name: &str| format!("extract(engine_full, '{name} = \\'([^\\']*)\\'')");
    let sql = format!(
        "SELECT name, engine, comment, toUInt64(ifNull(total_rows, 0)) AS rows, {} AS broker, {} AS topics, {} AS group \
         FROM system.tables WHERE database = {}",
        setting("kafka_broker_list"),
        setting("kafka_topic_list"),
        setting("kafka_group_name"),
        literal(&own.database)
    );
    let mut found: BTreeMap<String, Leftover> = BTreeMap::new();
    for server in own.each_server(env) {
        let there = server.client("default").rows(&sql).await;
        let there: Vec<Table> = there.map_err(|error| service(&error))?;
        for left in leftovers(own, env, &there) {
            match found.get_mut(&left.flow) {
                Some(other) => merge(other, left),
                None => drop(found.insert(left.flow.clone(), left)),
            }
        }
    }
    Ok(found.into_values().collect())
}

/// What one server has.
fn leftovers(own: &ClickhouseSettings, env: &Environment, there: &[Table]) -> Vec<Leftover> {
    let ours = env.inside(&env.profile.kafka.name).address();
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    let flows: BTreeSet<&String> = env
        .profile
        .flows_to(&own.name)
        .map(|(name, _)| name)
        .collect();
    for flow in &flows {
        wanted.extend(
            Names::of(own, env, flow)
                .all()
                .into_iter()
                .map(str::to_owned),
        );
    }
    let called = |name: &str| there.iter().find(|it| it.name == name);
    let bronze = there
        .iter()
        .filter(|it| it.engine == "Null" && is_comment(&it.comment));
    let known = bronze.filter_map(|it| it.name.strip_suffix("_bronze"));
    let removed = known.filter(|flow| !flows.iter().any(|it| it == flow));
    let left = removed.filter_map(|flow| {
        let names = Names::once(flow).into_iter();
        let tables: Vec<String> = names
            .filter(|name| called(name).is_some() && !wanted.contains(name))
            .collect();
        let queue = called(&format!("{flow}_queue"));
        if own.external.is_some() && queue.is_none_or(|it| it.broker != ours) {
            return None;
        }
        let queue = queue.cloned().unwrap_or_default();
        let rows = tables
            .iter()
            .filter(|it| it.starts_with(&format!("{flow}_silver")));
        Some(Leftover {
            flow: flow.to_owned(),
            rows: rows
                .filter_map(|it| called(it))
                .map(|it| it.rows)
                .max()
                .unwrap_or(0),
            topics: queue
                .topics
                .split(',')
                .filter(|it| !it.is_empty())
                .map(str::to_owned)
                .collect(),
            group: (!queue.group.is_empty()).then_some(queue.group),
            tables,
        })
    });
    left.collect()
}

/// The same flow on another server.
fn merge(into: &mut Leftover, other: Leftover) {
    into.rows = into.rows.saturating_add(other.rows);
    for table in other.tables {
        if !into.tables.contains(&table) {
            into.tables.push(table);
        }
    }
    into.group = into.group.take().or(other.group);
    if into.topics.is_empty() {
        into.topics = other.topics;
    }
}

/// See [`crate::components::target::Target::remove`].
pub(super) async fn remove(
    own: &ClickhouseSettings,
    env: &Environment,
    left: &Leftover,
) -> Result<()> {
    for server in own.each_server(env) {
        let client = server.client(&own.database);
        for table in &left.tables {
            run(
                &client,
                &format!("DROP TABLE IF EXISTS {} SYNC", ident(table)),
            )
            .await?;
        }
    }
    Ok(())
}
