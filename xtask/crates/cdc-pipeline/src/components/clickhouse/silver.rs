//! A flow's silver: its rows, and beside them the messages that were no change.

use async_trait::async_trait;
use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::columns;
use super::names::Names;
use super::settings::ClickhouseSettings;
use super::tables;
use crate::clients::clickhouse::{Clickhouse, ident, literal};
use crate::components::service;
use crate::components::source::{CANARY, CANARY_UUID, CanaryKey, Key};
use crate::components::target::{Canaries, Live, Loaded, Reason, Rejected, TargetTable};
use crate::environment::Environment;
use crate::error::Result;
use crate::profile::check::OWN_COLUMNS;
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
        let keys = self.flow.key.iter();
        let keys: Vec<String> = keys.map(|key| ident(self.flow.at_target(key))).collect();
        keys.join(", ")
    }

    /// Its columns that are the source's, with their types.
    async fn columns(&self) -> Result<IndexMap<String, String>> {
        if !self.flow.asks_source() {
            let given = self.flow.columns.iter();
            let given = given.map(|(name, rule)| Some((name.clone(), rule.kind.clone()?)));
            return Ok(given.flatten().collect());
        }
        let found = columns::columns(&self.client, &self.own.database, &self.names.silver).await?;
        let of_source = found
            .into_iter()
            .filter(|(name, _)| !OWN_COLUMNS.contains(&name.as_str()));
        Ok(of_source.map(|(name, it)| (name, it.r#type)).collect())
    }

    /// A key as a tuple of the columns' types.
    fn tuple(&self, columns: &IndexMap<String, String>, key: &Key) -> String {
        let values = self.flow.key.iter().zip(key).map(|(column, text)| {
            let kind = columns.get(self.flow.at_target(column));
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
        let key = self.flow.key.first().map_or("", String::as_str);
        ident(self.flow.at_target(key))
    }

    fn canary(&self, key: &CanaryKey) -> String {
        let column = self.canary_column();
        format!("{column} = {}", key.value(literal))
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
            ident(self.flow.at_target(column)),
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
                    CanaryKey::Uuid(_) => {
                        format!("startsWith(toString({key}), {})", literal(CANARY_UUID))
                    }
                };
                format!(
                    "{key} IN (SELECT {key} FROM {} WHERE {canaries} AND is_deleted = 1)",
                    ident(&self.names.silver)
                )
            }
        };
        tables::delete_rows(self.own, self.env, &self.names.silver_rows, &rows).await
    }

    async fn keys(&self, after: Option<&Key>, most: usize) -> Result<Vec<Live>> {
        let keys = self.keys();
        let condition = match after {
            None => "1".to_owned(),
            Some(key) => {
                let columns = self.columns().await?;
                format!("tuple({keys}) > {}", self.tuple(&columns, key))
            }
        };
        let shown = self.flow.key.iter();
        let shown: Vec<String> = shown
            .map(|key| format!("toString({})", ident(self.flow.at_target(key))))
            .collect();
        self.rows(&format!(
            "SELECT [{}] AS key, toString(_position) AS position FROM ({}) WHERE is_deleted = 0 ORDER BY {keys} LIMIT {most}",
            shown.join(", "),
            self.newest(&condition)
        ))
        .await
    }

    async fn mark_deleted(&self, gone: &[&Live]) -> Result<()> {
        let columns = self.columns().await?;
        let (tuples, changes): (Vec<String>, Vec<String>) = gone
            .iter()
            .map(|live| {
                let tuple = self.tuple(&columns, &live.key);
                let change = format!("tuple({tuple}, toUInt128({}))", literal(&live.position));
                (tuple, change)
            })
            .unzip();
        let columns: Vec<String> = columns.keys().map(|name| ident(name)).collect();
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

    async fn above(&self, position: u128) -> Result<u64> {
        #[derive(Deserialize)]
        struct Row {
            count: u64,
        }
        let emptied = self.names.truncates.as_ref().map(|it| it.table.as_str());
        let mut above = 0;
        for table in emptied.into_iter().chain([self.names.silver.as_str()]) {
            let sql = format!(
                "SELECT count() AS count FROM {} WHERE _position > toUInt128('{position}')",
                ident(table)
            );
            let rows: Vec<Row> = self.rows(&sql).await?;
            above += rows.first().map_or(0, |row| row.count);
        }
        Ok(above)
    }

    async fn remove_above(&self, position: u128) -> Result<()> {
        let rows = format!("_position > toUInt128('{position}')");
        let names = &self.names;
        for table in names.positions().chain([names.silver_rows.as_str()]) {
            tables::delete_rows(self.own, self.env, table, &rows).await?;
        }
        Ok(())
    }

    /// On every server: each consumes.
    async fn reread(&self, after: u128) -> Result<()> {
        let Some(table) = &self.names.rereads else {
            return Ok(());
        };
        let sql = format!("INSERT INTO {} SELECT toUInt128('{after}')", ident(table));
        for server in self.own.each_server(self.env) {
            let client = server.client(&self.own.database);
            client.text(&sql).await.map_err(|error| service(&error))?;
        }
        Ok(())
    }

    /// On every server.
    async fn truncate(&self) -> Result<()> {
        // Positions of a source that was restored begin lower: older ones would win over all that comes.
        let names = &self.names;
        for server in self.own.each_server(self.env) {
            let client = server.client(&self.own.database);
            for table in names.positions().chain([names.silver_rows.as_str()]) {
                let sql = format!("TRUNCATE TABLE {}", ident(table));
                client.text(&sql).await.map_err(|error| service(&error))?;
            }
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
