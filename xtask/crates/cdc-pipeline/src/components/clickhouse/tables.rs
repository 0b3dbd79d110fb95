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
//! A TRUNCATE is a message of its own. Its position is kept, and whoever is behind it is deleted: the rows that silver
//! has, by a view that runs when a position comes; those that come later or with it, by the view into silver.
//!
//! A row that was read again while the connector streams (Debezium: incremental snapshot) has no place in the log. What
//! is streamed since the connector was told to read is newer, whichever of the two arrives first, and what was there
//! before is older: so the row gets the position that all had that was read by then, which the tool writes
//! into a table of its own before the connector is told. Without one it loses to all that was ever streamed.
//!
//! A queue feeds a Null table, to which the silver view and the error view are attached. The
//! queue's one view is created last, so that no message is seen by only one of the two.

use super::columns::{Differences, Silver, columns, differences};
use super::names::Names;
use super::settings::ClickhouseSettings;
use super::statements::{HELD, Statements, since, statements};
use crate::clients::clickhouse::{Clickhouse, ident, literal};
use crate::components::columns::{Arriving, whole};
use crate::components::target::{Drift, Wrong};
use crate::components::{flow_source, service};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Progress};
use crate::printed;
use crate::profile::schema::Flow;
use crate::readiness::Status;

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
    let (mut changed, mut notes, mut wrong) = (Vec::new(), String::new(), Vec::new());
    for (name, flow) in env.profile.flows_to(&own.name) {
        let at = Servers {
            own,
            env,
            names: Names::of(own, env, name),
            existing: &existing,
        };
        match at.create(name, flow, progress).await? {
            Made::AsWanted => {}
            Made::Not(errors) => wrong.extend(errors),
            Made::Again(note) => {
                changed.push(name.as_str());
                notes.push_str(&note);
            }
        }
    }
    if let Some(error) = Error::together(wrong) {
        return Err(error);
    }
    Ok(if changed.is_empty() {
        Outcome::Unchanged(format!(
            "tables of {} flows are there",
            env.profile.flows_to(&own.name).count()
        ))
    } else {
        Outcome::Changed(format!("made the tables of {}{notes}", changed.join(", ")))
    })
}

/// What became of a flow's tables.
enum Made {
    /// They are as the profile wants them.
    AsWanted,
    /// They were made, with what is to be said of that.
    Again(String),
    /// Silver's columns are not those that arrive.
    Not(Vec<Error>),
}

/// The servers that have a flow's tables.
struct Servers<'a> {
    own: &'a ClickhouseSettings,
    env: &'a Environment,
    names: Names,
    /// What is there on each.
    existing: &'a [Vec<Existing>],
}

impl Servers<'_> {
    async fn create(&self, name: &str, given: &Flow, progress: &Progress) -> Result<Made> {
        let (own, env, names) = (self.own, self.env, &self.names);
        let mut arriving = whole(env, given).await?;
        let found = compare(own, env, names, &mut arriving, given).await?;
        let found = found.unwrap_or_default();
        if !found.wrong.is_empty() {
            return Ok(Made::Not(found.wrong));
        }
        let before = self.existing.iter().flatten();
        let before = before.filter(|it| it.name == names.bronze);
        let before = before.map(|it| since(&it.comment)).max();
        let wanted = statements(own, env, name, &arriving, before.unwrap_or(0))?;
        let is_as_wanted = |it: &Vec<Existing>| is_as_wanted(names, &wanted, it);
        if found.added.is_empty() && self.existing.iter().all(is_as_wanted) {
            return Ok(Made::AsWanted);
        }
        progress.observe(format!("making the tables of flow {name}"));
        // What the topic has from before lacks what is added, and is right so.
        let is_new = !self.existing.iter().any(|it| has(it, &names.silver_rows));
        let now = match flow_source(env, given) {
            Some(source) if !is_new && arriving.known.is_some() => source.clock(env).await?,
            Some(_) | None => None,
        };
        let wanted = statements(own, env, name, &arriving, now.unwrap_or(0))?;
        let mut clients = Vec::new();
        for (server, existing) in own.each_server(env).iter().zip(self.existing) {
            check_engines(own, env, names, existing)?;
            clients.push((server.shard, server.client(&own.database)));
        }
        for (_, client) in &clients {
            for (_, add) in &found.added {
                run(client, add).await?;
            }
            for table in names.rebuilt() {
                let drop = format!("DROP TABLE IF EXISTS {} SYNC", ident(table));
                run(client, &drop).await?;
            }
        }
        // Statement by statement: no server consumes before all of them can take its rows.
        for statement in &wanted.tables {
            for (_, client) in &clients {
                run(client, statement).await?;
            }
        }
        // Before they are complete: killed here, `up` does it again.
        for shard in clients.chunk_by(|one, other| one.0 == other.0) {
            judge_again(&shard[0].1, names, &wanted).await?;
        }
        for (_, client) in &clients {
            run(client, &wanted.feed).await?;
        }
        Ok(Made::Again(note(given, &found)))
    }
}

/// What `up` says of columns that were added.
fn note(flow: &Flow, found: &Differences) -> String {
    let mut note = String::new();
    let added: Vec<&str> = found.added.iter().map(|(name, _)| name.as_str()).collect();
    if !added.is_empty() {
        note = format!("; added {}", added.join(", "));
    }
    if !found.filled.is_empty() {
        let (connector, table) = (&flow.connector, &flow.table);
        let read = format!("cargo xtask connector snapshot {connector} --tables {table}");
        note.push_str(&format!(
            ", where rows from before have NULL until they are read again: {}",
            printed::ours(&read)
        ));
    }
    note
}

/// Compares silver's columns with those that arrive; none where there is no silver yet.
///
/// # Errors
/// A server does not answer.
async fn compare(
    own: &ClickhouseSettings,
    env: &Environment,
    names: &Names,
    arriving: &mut Arriving,
    given: &Flow,
) -> Result<Option<Differences>> {
    let silver = &names.silver_rows;
    for server in own.each_server(env) {
        let client = server.client(&own.database);
        let there = columns(&client, &own.database, silver).await?;
        if !there.is_empty() {
            let table = Silver {
                name: silver,
                server: &own.name,
                is_shared: own.are_several(env),
            };
            return Ok(Some(differences(&there, &table, arriving, given)));
        }
    }
    Ok(None)
}

/// What has to become of a flow's silver.
///
/// # Errors
/// A server does not answer.
pub(super) async fn drift(
    own: &ClickhouseSettings,
    env: &Environment,
    name: &str,
    given: &Flow,
) -> Result<Drift> {
    let mut arriving = whole(env, given).await?;
    if arriving.flow.columns.is_empty() {
        return Ok(Drift::default());
    }
    let names = Names::of(own, env, name);
    let found = compare(own, env, &names, &mut arriving, given).await?;
    let found = found.unwrap_or_default();
    let wrong = found.wrong.into_iter().map(|error| Wrong {
        cause: error.message,
        next: error.hint.unwrap_or_default(),
    });
    Ok(Drift {
        added: found.added.into_iter().map(|(name, _)| name).collect(),
        reported: found.reported,
        wrong: wrong.collect(),
    })
}

/// Judges again what was held back for one of its columns, or came without one.
async fn judge_again(client: &Clickhouse, names: &Names, wanted: &Statements) -> Result<()> {
    let now = client.text("SELECT toString(now64(3))").await;
    let now = now.map_err(|error| service(&error))?;
    run(client, &wanted.again).await?;
    let judged = format!(
        "DELETE FROM {} WHERE {HELD} AND seen_at < toDateTime64({}, 3)",
        ident(&names.errors_rows),
        literal(now.trim())
    );
    run(client, &judged).await
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
fn is_as_wanted(names: &Names, statements: &Statements, existing: &[Existing]) -> bool {
    let complete = names.all().iter().all(|table| has(existing, table));
    let mut bronze = existing.iter().filter(|it| it.name == names.bronze);
    complete && bronze.any(|it| statements.has_comment(&it.comment))
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

pub(super) async fn run(client: &Clickhouse, sql: &str) -> Result<()> {
    client
        .text(sql)
        .await
        .map(drop)
        .map_err(|error| service(&error).detail(sql.lines().next().unwrap_or_default().to_owned()))
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
    table: &str,
    rows: &str,
) -> Result<()> {
    let mut sql = format!("DELETE FROM {} WHERE {rows}", ident(table));
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
