//! Rows of the target that the source no longer has.
//!
//! A snapshot tells what is there, never what is gone: a row deleted while nobody captured stays at
//! the target for ever. It is found by asking the source for every key that the target shows.
//!
//! A page of keys is read at the target first and looked up at the source then. So a key that the
//! source lacks was deleted, never just not inserted yet. It is marked with the smallest position
//! after the change that was read: whatever the source says about it later is newer, and wins. Where
//! that has arrived meanwhile, nothing is marked.

use serde_json::Value;

use crate::clients::clickhouse::{Clickhouse, ident, literal};
use crate::clients::postgres::{self, Postgres};
use crate::components::Source;
use crate::components::clickhouse::Names;
use crate::components::service;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::profile::schema::{Flow, Keep};

/// Keys of one question.
const PAGE: usize = 2_000;

/// A key's columns as texts.
pub type Key = Vec<String>;

/// Goes through all keys that the target shows for a flow, hands on those that the source lacks, and
/// then marks them as deleted, page by page. Says how many keys were looked up.
///
/// # Errors
/// An end refuses, or `found` does.
pub async fn mark(
    env: &Environment,
    name: &str,
    flow: &Flow,
    progress: &Progress,
    mut found: impl FnMut(&[Key]) -> Result<()>,
) -> Result<usize> {
    let target = Target::new(env, name, flow);
    let source = SourceTable::open(env, flow).await?;
    let (mut after, mut seen): (Option<Key>, usize) = (None, 0);
    loop {
        let page = target.page(after.as_ref()).await?;
        let keys: Vec<Key> = page.iter().map(|live| live.key.clone()).collect();
        let absent = source.absent(&keys).await?;
        if !absent.is_empty() {
            found(&absent)?;
            let gone = page.iter().filter(|live| absent.contains(&live.key));
            target.mark_deleted(gone).await?;
        }
        seen += page.len();
        progress.observe(format!("{name}: {seen} keys looked up"));
        if page.len() < PAGE {
            return Ok(seen);
        }
        after = page.into_iter().next_back().map(|live| live.key);
    }
}

/// A key that the target shows, and the position of its newest change.
#[derive(serde::Deserialize)]
struct Live {
    key: Key,
    position: String,
}

struct Target<'a> {
    client: Clickhouse,
    silver: String,
    flow: &'a Flow,
}

impl<'a> Target<'a> {
    fn new(env: &Environment, name: &str, flow: &'a Flow) -> Self {
        Target {
            client: crate::components::clickhouse::client(env),
            silver: ident(&Names::of(env, name).silver),
            flow,
        }
    }

    fn keys(&self) -> String {
        let keys: Vec<String> = self.flow.key.iter().map(|key| ident(key)).collect();
        keys.join(", ")
    }

    /// A key as a tuple of the columns' types.
    fn tuple(&self, key: &Key) -> String {
        let values = self.flow.key.iter().zip(key).map(|(column, text)| {
            let kind = self
                .flow
                .columns
                .get(column)
                .map_or("String", String::as_str);
            format!("CAST({}, {})", literal(text), literal(kind))
        });
        format!("tuple({})", values.collect::<Vec<_>>().join(", "))
    }

    /// The newest change of each key, deleted ones included.
    fn newest(&self, condition: &str) -> String {
        let (silver, keys) = (&self.silver, self.keys());
        format!(
            "SELECT * FROM {silver} WHERE {condition} \
             ORDER BY {keys}, _position DESC, _offset DESC LIMIT 1 BY {keys}"
        )
    }

    async fn page(&self, after: Option<&Key>) -> Result<Vec<Live>> {
        let keys = self.keys();
        let condition = match after {
            None => "1".to_owned(),
            Some(key) => format!("tuple({keys}) > {}", self.tuple(key)),
        };
        let shown: Vec<String> = self
            .flow
            .key
            .iter()
            .map(|key| format!("toString({})", ident(key)))
            .collect();
        let sql = format!(
            "SELECT [{}] AS key, toString(_position) AS position FROM ({}) WHERE is_deleted = 0 ORDER BY {keys} LIMIT {PAGE}",
            shown.join(", "),
            self.newest(&condition)
        );
        self.client
            .rows(&sql)
            .await
            .map_err(|error| service(&error))
    }

    async fn mark_deleted(&self, gone: impl Iterator<Item = &Live>) -> Result<()> {
        let (tuples, changes): (Vec<String>, Vec<String>) = gone
            .map(|live| {
                let tuple = self.tuple(&live.key);
                let change = format!("tuple({tuple}, toUInt128({}))", literal(&live.position));
                (tuple, change)
            })
            .unzip();
        let columns: Vec<String> = self.flow.columns.keys().map(|name| ident(name)).collect();
        let columns = columns.join(", ");
        let condition = format!("tuple({}) IN ({})", self.keys(), tuples.join(", "));
        let sql = format!(
            "INSERT INTO {} ({columns}, is_deleted, _position, _op, _source_ts, _partition, _offset) \
             SELECT {columns}, 1, _position + 1, 'd', now64(3), _partition, _offset FROM ({}) \
             WHERE is_deleted = 0 AND tuple(tuple({}), _position) IN ({})",
            self.silver,
            self.newest(&condition),
            self.keys(),
            changes.join(", ")
        );
        let done = self.client.text(&sql).await;
        done.map(drop).map_err(|error| service(&error))
    }
}

/// Empties a flow's silver table, on every server.
///
/// # Errors
/// A server refuses.
pub async fn truncate(env: &Environment, name: &str) -> Result<()> {
    let sql = format!(
        "TRUNCATE TABLE {}",
        ident(&Names::of(env, name).silver_rows)
    );
    for server in crate::components::clickhouse::servers(env) {
        let client = server.client(crate::components::clickhouse::database(env));
        client.text(&sql).await.map_err(|error| service(&error))?;
    }
    Ok(())
}

/// What the snapshot has brought to a flow's silver table since `begun`: rows, and when the first and
/// the last of them came, in milliseconds since the epoch.
///
/// # Errors
/// The target refuses.
pub async fn snapshot_rows(env: &Environment, name: &str, begun: u64) -> Result<(u64, u64, u64)> {
    #[derive(serde::Deserialize)]
    struct Row {
        rows: u64,
        first: u64,
        last: u64,
    }
    let sql = format!(
        "SELECT toUInt64(count()) AS rows, toUInt64(toUnixTimestamp64Milli(min(_ingested_at))) AS first, \
         toUInt64(toUnixTimestamp64Milli(max(_ingested_at))) AS last FROM {} \
         WHERE _op = 'r' AND _ingested_at >= fromUnixTimestamp64Milli(toInt64({begun}))",
        ident(&Names::of(env, name).silver)
    );
    let rows: Vec<Row> = crate::components::clickhouse::client(env)
        .rows(&sql)
        .await
        .map_err(|error| service(&error))?;
    Ok(rows
        .first()
        .map_or((0, 0, 0), |row| (row.rows, row.first, row.last)))
}

/// Whether the target keeps one row for each key, so that a snapshot replaces instead of adding.
pub fn replaces(flow: &Flow) -> bool {
    flow.keep == Keep::Latest
}

enum SourceTable<'a> {
    Postgres {
        session: Postgres,
        flow: &'a Flow,
        kinds: Vec<String>,
    },
    Mongodb {
        client: crate::clients::mongodb::Mongodb,
        flow: &'a Flow,
    },
}

impl<'a> SourceTable<'a> {
    async fn open(env: &Environment, flow: &'a Flow) -> Result<SourceTable<'a>> {
        if crate::components::flow_source(env, flow) == Some(Source::Mongodb) {
            if flow.key != ["_id"] {
                let what = format!("{}: keys other than _id cannot be looked up", flow.table);
                return Err(Error::new(Code::Usage, what));
            }
            let client =
                crate::components::mongodb::client(env).map_err(|error| service(&error))?;
            return Ok(SourceTable::Mongodb { client, flow });
        }
        let session = crate::components::postgres::session(env)
            .await
            .map_err(|error| service(&error))?;
        let sql = format!(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute \
             WHERE attrelid = {}::regclass AND attnum > 0 AND NOT attisdropped",
            postgres::literal(&postgres::table(&flow.table))
        );
        let rows = session.query(&sql).await.map_err(|error| service(&error))?;
        let kind = |column: &String| {
            let row = rows.iter().find(|row| row[0].as_ref() == Some(column));
            row.and_then(|row| row[1].clone()).ok_or_else(|| {
                let what = format!("{} has no column `{column}` at the source", flow.table);
                Error::new(Code::Drift, what)
            })
        };
        let kinds = flow.key.iter().map(kind).collect::<Result<_>>()?;
        Ok(SourceTable::Postgres {
            session,
            flow,
            kinds,
        })
    }

    /// Those of the keys that the source does not have.
    async fn absent(&self, keys: &[Key]) -> Result<Vec<Key>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        match self {
            SourceTable::Postgres {
                session,
                flow,
                kinds,
            } => {
                let sql = absent_sql(flow, kinds, keys);
                let rows = session.query(&sql).await.map_err(|error| service(&error))?;
                Ok(rows
                    .into_iter()
                    .filter_map(|row| keys.get(row[0].as_ref()?.parse::<usize>().ok()?).cloned())
                    .collect())
            }
            SourceTable::Mongodb { client, flow } => {
                let ids: Vec<&str> = keys.iter().map(|key| key[0].as_str()).collect();
                let there = client.existing(&flow.table, &ids).await;
                let there = there.map_err(|error| service(&error))?;
                let absent = keys.iter().filter(|key| !there.contains(&key[0]));
                Ok(absent.cloned().collect())
            }
        }
    }
}

/// Which of these keys are in no row, by their number. The keys become values of the columns' own
/// types, so that the index answers and no text form can differ.
fn absent_sql(flow: &Flow, kinds: &[String], keys: &[Key]) -> String {
    let values: Vec<String> = keys
        .iter()
        .enumerate()
        .map(|(number, key)| {
            let cells: Vec<String> = key.iter().map(|text| postgres::literal(text)).collect();
            format!("({number}, {})", cells.join(", "))
        })
        .collect();
    let names: Vec<String> = (0..kinds.len()).map(|at| format!("k{at}")).collect();
    let same: Vec<String> = flow
        .key
        .iter()
        .zip(kinds)
        .zip(&names)
        .map(|((column, kind), name)| format!("t.{} = v.{name}::{kind}", postgres::ident(column)))
        .collect();
    format!(
        "SELECT v.i FROM (VALUES {}) AS v(i, {}) WHERE NOT EXISTS (SELECT 1 FROM {} t WHERE {}) ORDER BY v.i",
        values.join(", "),
        names.join(", "),
        postgres::table(&flow.table),
        same.join(" AND ")
    )
}

/// A key for people.
pub fn shown(key: &Key) -> String {
    match key.as_slice() {
        [one] => one.clone(),
        many => Value::from(many.to_vec()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_values_of_their_own_types() {
        let flow: Flow = serde_json::from_value(serde_json::json!({
            "connector": "c", "table": "public.o'rders", "keep": "latest", "key": ["id", "at"],
            "group": "g", "columns": { "id": "Int64", "at": "DateTime64(3)" }, "canary": null,
        }))
        .expect("a flow");
        let kinds = [
            "bigint".to_owned(),
            "timestamp without time zone".to_owned(),
        ];
        let keys = [vec!["7".to_owned(), "2026-01-01 00:00:00.000".to_owned()]];
        assert_eq!(
            absent_sql(&flow, &kinds, &keys),
            "SELECT v.i FROM (VALUES (0, '7', '2026-01-01 00:00:00.000')) AS v(i, k0, k1) \
             WHERE NOT EXISTS (SELECT 1 FROM \"public\".\"o'rders\" t \
             WHERE t.\"id\" = v.k0::bigint AND t.\"at\" = v.k1::timestamp without time zone) ORDER BY v.i"
        );
        assert_eq!(shown(&keys[0]), "[\"7\",\"2026-01-01 00:00:00.000\"]");
        assert_eq!(shown(&vec!["7".to_owned()]), "7");
    }
}
