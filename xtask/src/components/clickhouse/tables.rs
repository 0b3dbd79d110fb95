//! The target's tables: bronze, silver and errors of each flow.
//!
//! On one server silver is a table. Where there are several, each has a queue, and whichever of them
//! consumes a message writes it to the shard of its key: silver is a Distributed table over the
//! servers' own tables, which the replicas of a shard share. So all changes of a key are in one
//! shard whoever consumed them, and every server answers for all.
//!
//! Changes are ordered by (end of the last commit before the transaction, LSN). Known gap: the
//! events of the very first transaction after a snapshot hold no such commit. If that transaction
//! began before the snapshot's position and changed a row that the snapshot read, the snapshot's
//! row wins.
//!
//! A queue feeds a Null table, to which the silver view and the error view are attached. The
//! queue's one view is created last, so that no message is seen by only one of the two.

use serde_json::{Value, json};

use super::changes::{expression, key_is_missing};
use super::settings::{CLUSTER, ClickhouseSettings};
use crate::clients::clickhouse::{Clickhouse, ident, literal};
use crate::components::{flow_source, service};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Progress};
use crate::platform::host::artifacts::lockfile;
use crate::profile::schema::{Flow, Keep};
use crate::readiness::Status;

/// The names of a flow's tables and views.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Kafka engine table.
    pub queue: String,
    /// View from the queue to bronze.
    pub feed: String,
    /// Null table that judges each message.
    pub bronze: String,
    /// View from bronze to silver.
    pub view: String,
    /// Where rows are read.
    pub silver: String,
    /// Where they are: silver itself, or a server's own share of it.
    pub silver_rows: String,
    /// View from bronze to errors.
    pub errors_view: String,
    /// Where messages that are no change are read.
    pub errors: String,
    /// Where they are, as with silver.
    pub errors_rows: String,
}

impl Names {
    /// The names for a flow of an environment.
    pub fn of(own: &ClickhouseSettings, env: &Environment, flow: &str) -> Self {
        let rows = match own.are_several(env) {
            true => "_local",
            false => "",
        };
        Names {
            queue: format!("{flow}_queue"),
            feed: format!("mv_{flow}_queue"),
            bronze: format!("{flow}_bronze"),
            view: format!("mv_{flow}"),
            silver: format!("{flow}_silver"),
            silver_rows: format!("{flow}_silver{rows}"),
            errors_view: format!("mv_{flow}_errors"),
            errors: format!("{flow}_errors"),
            errors_rows: format!("{flow}_errors{rows}"),
        }
    }

    /// What holds no rows, in the order in which it may be dropped.
    fn rebuilt(&self) -> Vec<&str> {
        let mut all = vec![
            self.feed.as_str(),
            &self.queue,
            &self.view,
            &self.errors_view,
            &self.bronze,
        ];
        if self.silver != self.silver_rows {
            all.extend([self.silver.as_str(), &self.errors]);
        }
        all
    }

    /// All of them.
    pub fn all(&self) -> Vec<&str> {
        let mut all = self.rebuilt();
        all.extend([self.silver_rows.as_str(), &self.errors_rows]);
        all
    }
}

/// The statements that make a flow's tables on a server: the same on each.
///
/// # Errors
/// The template is wrong.
pub fn statements(
    own: &ClickhouseSettings,
    env: &Environment,
    name: &str,
    flow: &Flow,
) -> Result<Vec<String>> {
    let text = env.templates.text(
        "clickhouse/sql/flow.sql.hbs",
        &flow_context(own, env, name, flow, "")?,
    )?;
    // What the statements do, without themselves: a change here is a change of the pipeline.
    let digest = &lockfile::digest(&text)[..12];
    let text = env.templates.text(
        "clickhouse/sql/flow.sql.hbs",
        &flow_context(own, env, name, flow, digest)?,
    )?;
    Ok(text
        .split("\n;\n")
        .map(|statement| statement.trim().to_owned())
        .filter(|statement| !statement.is_empty())
        .collect())
}

fn flow_context(
    own: &ClickhouseSettings,
    env: &Environment,
    name: &str,
    flow: &Flow,
    digest: &str,
) -> Result<Value> {
    let source_of = flow_source(env, flow).ok_or_else(|| {
        Error::new(
            Code::ProfileInvalid,
            format!("flow `{name}` has no connector"),
        )
    })?;
    let changes = source_of.changes();
    let names = Names::of(own, env, name);
    let columns: Vec<Value> = flow
        .columns
        .iter()
        .map(|(column, kind)| {
            json!({
                "name": ident(column),
                "type": kind,
                "expression": expression(changes.values, column, kind),
            })
        })
        .collect();
    let keys: Vec<Value> = flow
        .key
        .iter()
        .map(|key| {
            let kind = flow.columns.get(key).map_or("String", String::as_str);
            json!({ "name": key, "missing": key_is_missing(changes.values, key, kind) })
        })
        .collect();
    let order: Vec<String> = flow.key.iter().map(|key| ident(key)).collect();
    Ok(json!({
        "queue": ident(&names.queue),
        "feed": ident(&names.feed),
        "bronze": ident(&names.bronze),
        "view": ident(&names.view),
        "silver": ident(&names.silver),
        "silver_rows": ident(&names.silver_rows),
        "errors_view": ident(&names.errors_view),
        "errors": ident(&names.errors),
        "errors_rows": ident(&names.errors_rows),
        "engine": {
            "latest": engine(own, env, "_position, is_deleted"),
            "every": engine(own, env, ""),
        },
        "shared": shared(own, env, &names, &order.join(", ")),
        "latest": flow.keep == Keep::Latest,
        "columns": columns,
        "keys": keys,
        "order": order.join(", "),
        "image": changes.image,
        "position": changes.position,
        "broker": env.inside(&env.profile.kafka.name).address(),
        "topic": env.profile.topic(flow),
        "topics": format!("{},{}", env.profile.topic(flow), env.profile.heartbeat_topic(flow)),
        "group": flow.group,
        "digest": digest,
    }))
}

/// The statements that make one table of all servers' rows; none where there is one server. They are
/// no part of the template: nothing would render a slip in them on `host`.
fn shared(own: &ClickhouseSettings, env: &Environment, names: &Names, key: &str) -> String {
    if !own.are_several(env) {
        return String::new();
    }
    let table = |all: &str, rows: &str, key: &str| {
        format!(
            "CREATE TABLE IF NOT EXISTS {} AS {}\n\
             ENGINE = Distributed({}, {}, {}, cityHash64({key}))\n;\n",
            ident(all),
            ident(rows),
            literal(CLUSTER),
            literal(&own.database),
            literal(rows),
        )
    };
    format!(
        "-- A key's changes are in one shard, whichever server consumed them: there FINAL sees all of them.\n{}{}",
        table(&names.silver, &names.silver_rows, key),
        table(
            &names.errors,
            &names.errors_rows,
            "_topic, _partition, _offset"
        ),
    )
}

/// The engine of a table with rows. Replicas find each other by a path in Keeper; the operator
/// gives each server the macros.
fn engine(own: &ClickhouseSettings, env: &Environment, parameters: &str) -> String {
    const PLACE: &str = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'";
    match (own.are_replicated(env), parameters) {
        (true, "") => format!("ReplicatedReplacingMergeTree({PLACE})"),
        (true, parameters) => format!("ReplicatedReplacingMergeTree({PLACE}, {parameters})"),
        (false, "") => "ReplacingMergeTree".into(),
        (false, parameters) => format!("ReplacingMergeTree({parameters})"),
    }
}

/// Has the consumers of this group leave it: their queues go, with the views that read them.
/// [`create`] brings both back, and nothing is lost meanwhile: the group keeps its place.
///
/// # Errors
/// A server refuses.
pub(super) async fn leave_group(
    own: &ClickhouseSettings,
    env: &Environment,
    group: &str,
) -> Result<()> {
    let flows = env.profile.flows_to(&own.name);
    for (name, _) in flows.filter(|(_, flow)| flow.group == group) {
        let names = Names::of(own, env, name);
        for server in own.each_server(env) {
            let client = server.client(&own.database);
            for table in [&names.feed, &names.queue] {
                run(
                    &client,
                    &format!("DROP TABLE IF EXISTS {} SYNC", ident(table)),
                )
                .await?;
            }
        }
    }
    Ok(())
}

/// Has every flow's tables as the profile wants them, on every server. Queues and views are rebuilt
/// where they differ, which loses nothing: the consumer group keeps its place. Rows are never
/// touched.
///
/// # Errors
/// A server refuses, or a silver table has other columns or another engine than the profile.
pub(super) async fn create(
    own: &ClickhouseSettings,
    env: &Environment,
    progress: &Progress,
) -> Result<Outcome> {
    let database = &own.database;
    let servers = own.each_server(env);
    let mut existing = Vec::with_capacity(servers.len());
    for server in &servers {
        let create = format!("CREATE DATABASE IF NOT EXISTS {}", ident(database));
        run(&server.client("default"), &create).await?;
        let tables = tables(&server.client(database), database).await;
        existing.push(tables.map_err(|error| service(&error))?);
    }
    let mut changed = Vec::new();
    for (name, flow) in env.profile.flows_to(&own.name) {
        let names = Names::of(own, env, name);
        let statements = statements(own, env, name, flow)?;
        let mut wrong = Vec::new();
        for (server, existing) in servers.iter().zip(&existing) {
            if is_as_wanted(&names, &statements, existing) {
                continue;
            }
            check_engines(own, env, &names, existing)?;
            let client = server.client(database);
            if has(existing, &names.silver_rows) {
                check_silver(&client, database, &names.silver_rows, flow).await?;
            }
            wrong.push(client);
        }
        if wrong.is_empty() {
            continue;
        }
        progress.observe(format!("making the tables of flow {name}"));
        for client in &wrong {
            for table in names.rebuilt() {
                run(
                    client,
                    &format!("DROP TABLE IF EXISTS {} SYNC", ident(table)),
                )
                .await?;
            }
        }
        // Statement by statement: no server consumes before all of them can take its rows.
        for statement in &statements {
            for client in &wrong {
                run(client, statement).await?;
            }
        }
        changed.push(name.as_str());
    }
    Ok(if changed.is_empty() {
        Outcome::Unchanged(format!(
            "tables of {} flows are there",
            env.profile.flows_to(&own.name).count()
        ))
    } else {
        Outcome::Changed(format!("made the tables of {}", changed.join(", ")))
    })
}

#[derive(serde::Deserialize)]
struct Existing {
    name: String,
    comment: String,
    engine: String,
}

async fn tables(
    client: &Clickhouse,
    database: &str,
) -> Result<Vec<Existing>, crate::clients::clickhouse::ClickhouseError> {
    client
        .rows(&format!(
            "SELECT name, comment, engine FROM system.tables WHERE database = {}",
            literal(database)
        ))
        .await
}

fn has(existing: &[Existing], table: &str) -> bool {
    existing.iter().any(|existing| existing.name == table)
}

/// Whether a server has all of a flow's tables, made by these statements.
fn is_as_wanted(names: &Names, statements: &[String], existing: &[Existing]) -> bool {
    let complete = names.all().iter().all(|table| has(existing, table));
    complete
        && existing.iter().any(|existing| {
            existing.name == names.bronze
                && statements.iter().any(|statement| {
                    statement.ends_with(&format!("COMMENT {}", literal(&existing.comment)))
                })
        })
}

/// A table with rows keeps its engine: what they would become is the user's decision.
fn check_engines(
    own: &ClickhouseSettings,
    env: &Environment,
    names: &Names,
    existing: &[Existing],
) -> Result<()> {
    let engine_of = |table: &str| {
        let found = existing.iter().find(|existing| existing.name == table);
        found.map(|existing| existing.engine.as_str())
    };
    let rows = match own.are_replicated(env) {
        true => "ReplicatedReplacingMergeTree",
        false => "ReplacingMergeTree",
    };
    let mut wanted = vec![(&names.silver_rows, rows), (&names.errors_rows, rows)];
    if own.are_several(env) {
        wanted.extend([
            (&names.silver, "Distributed"),
            (&names.errors, "Distributed"),
        ]);
    }
    for (table, engine) in wanted {
        if let Some(found) = engine_of(table).filter(|found| *found != engine) {
            return Err(Error::new(
                Code::Drift,
                format!("{table} is a {found} table, and the profile wants {engine}"),
            )
            .hint(
                "its rows stay as they are: set clickhouse.shards and clickhouse.replicas as before, \
                 or move the table aside in ClickHouse and rerun",
            ));
        }
    }
    Ok(())
}

async fn run(client: &Clickhouse, sql: &str) -> Result<()> {
    client
        .text(sql)
        .await
        .map(drop)
        .map_err(|error| service(&error).detail(sql.lines().next().unwrap_or_default().to_owned()))
}

#[derive(serde::Deserialize)]
struct Column {
    name: String,
    r#type: String,
}

/// Silver holds data: a difference is the user's decision.
async fn check_silver(
    client: &Clickhouse,
    database: &str,
    silver: &str,
    flow: &Flow,
) -> Result<()> {
    let columns: Vec<Column> = client
        .rows(&format!(
            "SELECT name, type FROM system.columns WHERE database = {} AND table = {}",
            literal(database),
            literal(silver)
        ))
        .await
        .map_err(|error| service(&error))?;
    for (name, kind) in &flow.columns {
        let found = columns.iter().find(|column| column.name == *name);
        let add = format!(
            "ALTER TABLE {} ADD COLUMN {} {kind}",
            ident(silver),
            ident(name)
        );
        match found {
            None => {
                return Err(Error::new(
                    Code::Drift,
                    format!("{silver} has no column `{name}`, which the profile wants"),
                )
                .hint(format!("add it in ClickHouse and rerun: {add}")));
            }
            Some(column) if column.r#type.replace(' ', "") != kind.replace(' ', "") => {
                return Err(Error::new(
                    Code::Drift,
                    format!(
                        "{silver}.{name} is {}, and the profile wants {kind}",
                        column.r#type
                    ),
                )
                .hint("change the type in the profile, or alter the column in ClickHouse"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Whether every flow's tables are there, on every server.
pub(super) async fn probe(own: &ClickhouseSettings, env: &Environment) -> Status {
    let mut wanted = 0;
    let database = &own.database;
    for server in own.each_server(env) {
        let tables = match tables(&server.client(database), database).await {
            Ok(tables) => tables,
            Err(error) if error.is_final() => return Status::failed(error.to_string()),
            Err(error) => return Status::in_progress(error.to_string()),
        };
        wanted = 0;
        for (flow, _) in env.profile.flows_to(&own.name) {
            for table in Names::of(own, env, flow).all() {
                wanted += 1;
                if !has(&tables, table) {
                    return Status::not_found(format!("table {table} is missing"));
                }
            }
        }
    }
    Status::current(format!("{wanted} tables and views"))
}

/// Deletes rows of a flow's silver, on every shard.
///
/// # Errors
/// No server of a shard takes the statement.
pub(super) async fn delete_rows(
    own: &ClickhouseSettings,
    env: &Environment,
    names: &Names,
    rows: &str,
) -> Result<()> {
    let mut sql = format!("DELETE FROM {} WHERE {rows}", ident(&names.silver_rows));
    if own.are_replicated(env) {
        // A replica that is away deletes them when it is back; nobody waits for it here.
        sql.push_str(" SETTINGS lightweight_deletes_sync = 1");
    }
    let database = &own.database;
    let servers = own.each_server(env);
    let mut shards: Vec<u16> = servers.iter().map(|server| server.shard).collect();
    shards.dedup();
    for shard in shards {
        let mut last = None;
        // Replicas tell each other.
        for server in servers.iter().filter(|server| server.shard == shard) {
            last = server.client(database).text(&sql).await.err();
            if last.is_none() {
                break;
            }
        }
        if let Some(error) = last {
            return Err(service(&error));
        }
    }
    Ok(())
}
