//! A flow's silver: its rows, and beside them the messages that were no change.

use async_trait::async_trait;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::settings::ClickhouseSettings;
use super::tables::{self, Names};
use crate::clients::clickhouse::{Clickhouse, ident, literal};
use crate::components::service;
use crate::components::source::{CANARY, CanaryKey, Key};
use crate::components::target::{Canaries, Live, Loaded, Reason, Rejected, TargetTable};
use crate::environment::Environment;
use crate::error::Result;
use crate::profile::schema::Flow;
use crate::readiness::Status;

pub(super) struct Silver<'a> {
    own: &'a ClickhouseSettings,
    env: &'a Environment,
    client: Clickhouse,
    names: Names,
    flow: &'a Flow,
}

impl<'a> Silver<'a> {
    pub(super) fn of(
        own: &'a ClickhouseSettings,
        env: &'a Environment,
        name: &str,
        flow: &'a Flow,
    ) -> Self {
        Silver {
            own,
            env,
            client: own.client(env),
            names: Names::of(own, env, name),
            flow,
        }
    }

    async fn rows<T: DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>> {
        let rows = self.client.rows(sql).await;
        rows.map_err(|error| service(&error))
    }

    fn keys(&self) -> String {
        let keys: Vec<String> = self.flow.key.iter().map(|key| ident(key)).collect();
        keys.join(", ")
    }

    /// A key as a tuple of the columns' types.
    fn tuple(&self, key: &Key) -> String {
        let values = self.flow.key.iter().zip(key).map(|(column, text)| {
            let kind = self.flow.columns.get(column);
            let kind = kind.map_or("String", String::as_str);
            format!("CAST({}, {})", literal(text), literal(kind))
        });
        format!("tuple({})", values.collect::<Vec<_>>().join(", "))
    }

    /// The newest change of each key, deleted ones included.
    fn newest(&self, condition: &str) -> String {
        let (silver, keys) = (ident(&self.names.silver), self.keys());
        format!(
            "SELECT * FROM {silver} WHERE {condition} \
             ORDER BY {keys}, _position DESC, _offset DESC LIMIT 1 BY {keys}"
        )
    }

    /// A canary's key is the first column of the flow's.
    fn canary_column(&self) -> String {
        ident(self.flow.key.first().map_or("", String::as_str))
    }

    fn canary(&self, key: &CanaryKey) -> String {
        let column = self.canary_column();
        match key {
            CanaryKey::Number(id) => format!("{column} = {id}"),
            CanaryKey::Text(id) => format!("{column} = {}", literal(id)),
        }
    }
}

#[async_trait]
impl TargetTable for Silver<'_> {
    async fn shown(&self, key: &CanaryKey, column: &str) -> Result<Option<String>, Status> {
        #[derive(Deserialize)]
        struct Row {
            value: String,
            is_deleted: u8,
        }
        let sql = format!(
            "SELECT toString({}) AS value, is_deleted FROM {} FINAL WHERE {} \
             ORDER BY _position DESC, _offset DESC LIMIT 1",
            ident(column),
            ident(&self.names.silver),
            self.canary(key)
        );
        match self.client.rows::<Row>(&sql).await {
            Ok(rows) => {
                let row = rows.into_iter().next();
                Ok(row.filter(|row| row.is_deleted == 0).map(|row| row.value))
            }
            Err(error) if error.is_final() => {
                Err(Status::failed(error.to_string()).next("cargo xtask up"))
            }
            Err(error) => Err(Status::in_progress(error.to_string())),
        }
    }

    async fn remove(&self, canaries: Canaries<'_>) -> Result<()> {
        let rows = match canaries {
            Canaries::One(key) => self.canary(key),
            Canaries::Deleted(like) => {
                let key = self.canary_column();
                let canaries = match like {
                    CanaryKey::Number(_) => format!("{key} < 0"),
                    CanaryKey::Text(_) => format!("startsWith({key}, {})", literal(CANARY)),
                };
                format!(
                    "{key} IN (SELECT {key} FROM {} WHERE {canaries} AND is_deleted = 1)",
                    ident(&self.names.silver)
                )
            }
        };
        tables::delete_rows(self.own, self.env, &self.names, &rows).await
    }

    async fn keys(&self, after: Option<&Key>, most: usize) -> Result<Vec<Live>> {
        let keys = self.keys();
        let condition = match after {
            None => "1".to_owned(),
            Some(key) => format!("tuple({keys}) > {}", self.tuple(key)),
        };
        let shown = self.flow.key.iter();
        let shown: Vec<String> = shown
            .map(|key| format!("toString({})", ident(key)))
            .collect();
        self.rows(&format!(
            "SELECT [{}] AS key, toString(_position) AS position FROM ({}) WHERE is_deleted = 0 ORDER BY {keys} LIMIT {most}",
            shown.join(", "),
            self.newest(&condition)
        ))
        .await
    }

    async fn mark_deleted(&self, gone: &[&Live]) -> Result<()> {
        let (tuples, changes): (Vec<String>, Vec<String>) = gone
            .iter()
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
            ident(&self.names.silver),
            self.newest(&condition),
            self.keys(),
            changes.join(", ")
        );
        let done = self.client.text(&sql).await;
        done.map(drop).map_err(|error| service(&error))
    }

    /// On every server.
    async fn truncate(&self) -> Result<()> {
        let sql = format!("TRUNCATE TABLE {}", ident(&self.names.silver_rows));
        for server in self.own.each_server(self.env) {
            let client = server.client(&self.own.database);
            client.text(&sql).await.map_err(|error| service(&error))?;
        }
        Ok(())
    }

    async fn snapshot(&self, since: u64) -> Result<Loaded> {
        let sql = format!(
            "SELECT toUInt64(count()) AS rows, toUInt64(toUnixTimestamp64Milli(min(_ingested_at))) AS first, \
             toUInt64(toUnixTimestamp64Milli(max(_ingested_at))) AS last FROM {} \
             WHERE _op = 'r' AND _ingested_at >= fromUnixTimestamp64Milli(toInt64({since}))",
            ident(&self.names.silver)
        );
        let rows: Vec<Loaded> = self.rows(&sql).await?;
        Ok(rows.first().copied().unwrap_or_default())
    }

    fn rejects(&self) -> &str {
        &self.names.errors
    }

    async fn reasons(&self) -> Result<Vec<Reason>> {
        self.rows(&format!(
            "SELECT reason, toUInt32(count()) AS count, \
             toUnixTimestamp64Milli(min(seen_at)) AS oldest, toUnixTimestamp64Milli(max(seen_at)) AS newest \
             FROM {} FINAL GROUP BY reason",
            ident(&self.names.errors)
        ))
        .await
    }

    async fn rejected(&self, most: i64) -> Result<Vec<Rejected>> {
        self.rows(&format!(
            "SELECT _topic AS topic, toInt32(_partition) AS partition, toInt64(_offset) AS offset, reason, key, raw, \
             toUnixTimestamp64Milli(seen_at) AS seen \
             FROM {} FINAL ORDER BY seen_at DESC, _partition, _offset DESC LIMIT {most}",
            ident(&self.names.errors),
        ))
        .await
    }
}
