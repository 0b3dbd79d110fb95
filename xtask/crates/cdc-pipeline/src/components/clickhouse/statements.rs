//! The statements that make a flow's tables and views, the same on each server.

use serde_json::{Value, json};

use super::changes;
use super::faults::{self, Judged};
use super::names::Names;
use super::settings::{CLUSTER, ClickhouseSettings};
use crate::clients::clickhouse::{ident, literal};
use crate::components::columns::Arriving;
use crate::components::flow_source;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::platform::host::artifacts::lockfile;
use crate::profile::schema::Keep;

/// What makes a flow's tables and views, in this order.
pub(super) struct Statements {
    /// Tables, and the views that hang on them.
    pub(super) tables: Vec<String>,
    /// Judges again what was held back for one of its columns.
    pub(super) again: String,
    /// The view that feeds them.
    pub(super) feed: String,
}

impl Statements {
    /// All that are there afterwards.
    pub(super) fn made(self) -> Vec<String> {
        let mut all = self.tables;
        all.push(self.feed);
        all
    }

    /// Whether a comment is that of a table that these make.
    pub(super) fn has_comment(&self, comment: &str) -> bool {
        let end = format!("COMMENT {}", literal(comment));
        self.tables.iter().any(|it| it.ends_with(&end))
    }
}

/// Which errors wait for what becomes of a column.
pub(super) const WAITING: &str = "startsWith(reason, 'column ') AND multiSearchAny(reason, \
     [': not at the target yet', ': not in the change', ': the flow does not know it'])";

/// Which errors a change of columns may make void: [`faults::faults`] and the error view write their reasons. What was
/// read again has the position of its time, which is not kept: it would win over what came since.
pub(super) const HELD: &str = "startsWith(reason, 'column ') \
     AND JSONExtractString(raw, 'source', 'snapshot') != 'incremental'";

/// The comment of a table that is made again when its statements change.
fn comment(digest: &str, since: u64) -> String {
    format!("{digest} since {since}")
}

/// Whether a comment is such a one.
pub(super) fn is_comment(comment: &str) -> bool {
    let parts = comment.split_once(" since ");
    parts.is_some_and(|(digest, since)| {
        let is_hex = digest.chars().all(|it| it.is_ascii_hexdigit());
        digest.len() == 12 && is_hex && since.parse::<u64>().is_ok()
    })
}

/// The time in such a comment: [`Judged::since`].
pub(super) fn since(comment: &str) -> u64 {
    let time = comment.split_once(" since ");
    time.and_then(|(_, time)| time.parse().ok()).unwrap_or(0)
}

/// The statements of a flow. Changes from before `since` may lack columns.
///
/// # Errors
/// The template is wrong.
pub(super) fn statements(
    own: &ClickhouseSettings,
    env: &Environment,
    name: &str,
    arriving: &Arriving,
    since: u64,
) -> Result<Statements> {
    let context = flow_context(own, env, name, arriving, since)?;
    let text = |template: &str, key: &str, value: &str| {
        let mut context = context.clone();
        context[key] = json!(value);
        env.templates.text(template, &context)
    };
    let names = Names::of(own, env, name);
    let (bronze, errors) = (ident(&names.bronze), ident(&names.errors_rows));
    let judge = |from: &str| text("clickhouse/sql/changes.sql.hbs", "from", from);
    let feed = format!(
        "CREATE MATERIALIZED VIEW IF NOT EXISTS {} TO {bronze} AS\n{}",
        ident(&names.feed),
        judge(&ident(&names.queue))?.trim_end()
    );
    let held = format!(
        "(SELECT raw, key AS _key, '' AS _error, _topic, _partition, _offset FROM {errors} FINAL \
         WHERE {HELD})"
    );
    let again = format!("INSERT INTO {bronze}\n{}", judge(&held)?.trim_end());
    let flow_text = |comment: &str| text("clickhouse/sql/flow.sql.hbs", "comment", comment);
    // What the statements do, without themselves: a change here is a change of the pipeline.
    let digest = lockfile::digest(&(flow_text("")? + &feed));
    let text = flow_text(&comment(&digest[..12], since))?;
    let tables = text
        .split("\n;\n")
        .map(|statement| statement.trim().to_owned())
        .filter(|statement| !statement.is_empty())
        .collect();
    Ok(Statements {
        tables,
        again,
        feed,
    })
}

fn flow_context(
    own: &ClickhouseSettings,
    env: &Environment,
    name: &str,
    arriving: &Arriving,
    since: u64,
) -> Result<Value> {
    let flow = &arriving.flow;
    let source_of = flow_source(env, flow).ok_or_else(|| {
        Error::new(
            Code::ProfileInvalid,
            format!("flow `{name}` has no connector"),
        )
    })?;
    let changes = source_of.changes();
    let names = Names::of(own, env, name);
    let read = changes::columns(changes, flow);
    let judged = Judged {
        since,
        known: arriving.known.as_deref(),
        schema: flow.schema,
    };
    let columns = flow
        .columns
        .iter()
        .zip(&read)
        .map(|((column, rule), read)| {
            json!({
                "name": ident(column),
                "type": rule.kind,
                "value": read.value(),
                "bronze_type": read.bronze_type(),
                "silver": read.silver(),
            })
        });
    let columns: Vec<Value> = columns.collect();
    let order = flow.key.iter().map(|key| ident(flow.at_target(key)));
    let order: Vec<String> = order.collect();
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
        "stages": changes::stages(&read),
        "faults": faults::faults(&read, &flow.key, &judged),
        "unknown": judged.unknown(&read),
        "incomplete": "concat('column ', unknown, ': not at the target yet')",
        "nothing": changes.nothing,
        "rereads": names.rereads.as_ref().zip(changes.reread).map(|(table, is_one)| json!({
            "table": ident(table),
            "is_one": is_one,
        })),
        "truncates": names.truncates.as_ref().map(|it| json!({
            "table": ident(&it.table),
            "view": ident(&it.view),
            "deletes": ident(&it.deletes),
        })),
        "order": order.join(", "),
        "image": changes.image,
        "position": changes.position,
        "broker": env.inside(&env.profile.kafka.name).address(),
        "topic": env.profile.topic(flow),
        "topics": format!("{},{}", env.profile.topic(flow), env.profile.heartbeat_topic(flow)),
        "group": flow.group,
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
