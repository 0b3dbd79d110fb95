//! MySQL as a source: what Debezium's connector is told and writes. The server keeps its binary log for a
//! time, whoever reads it, and remembers nobody.
//!
//! A connector poses as a replica, and two replicas of one server must not have the same number. It is made
//! of the connector's prefix, which is unique in a profile.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::settings::MysqlSettings;
use super::table::{self, Table};
use crate::clients::connect::PartitionOffset;
use crate::clients::mysql::Mysql;
use crate::components::position::{Position, is_of_snapshot};
use crate::components::service;
use crate::components::source::{
    Binlog, Changes, ROW, Reader, Retention, Source, SourceTable, Values,
};
use crate::environment::Environment;
use crate::error::Result;
use crate::flows::types::Column;
use crate::platform::Secret;
use crate::profile::schema::{Connector, Flow};

/// What the name of the topic with the tables' definitions begins with; the prefix follows.
pub(super) const HISTORY: &str = "__debezium-schema-history.";

/// File, place in the file, row within the event. The number in a file's name grows with every file; one
/// event may hold several rows.
const POSITION: &str = "bitOr(bitShiftLeft(toUInt128(toUInt64OrZero(\
     extract(JSONExtractString(raw, 'source', 'file'), '[0-9]+$'))), 96), \
     bitOr(bitShiftLeft(toUInt128(JSONExtractUInt(raw, 'source', 'pos')), 32), \
     toUInt128(JSONExtractUInt(raw, 'source', 'row'))))";

#[async_trait]
impl Source for MysqlSettings {
    fn connection(&self, reader: &Reader<'_>) -> Value {
        let tables = reader.tables.iter();
        let databases: BTreeSet<&str> = tables
            .filter_map(|it| Some(it.split_once('.')?.0))
            .collect();
        let databases: Vec<&str> = databases.into_iter().collect();
        json!({
            "host": reader.at.host,
            "port": reader.at.port,
            "databases": databases.join(","),
            "kafka": reader.kafka,
            "security": reader.security,
            "history": HISTORY,
            "replica": replica(&reader.connector.prefix),
        })
    }

    async fn takes(&self, env: &Environment, user: &str, password: Secret) -> Option<bool> {
        let login = env.endpoint(&self.name).login(user, password);
        match Mysql::connect(&login).await {
            Ok(_) => Some(true),
            Err(error) => error.is_refused_login().then_some(false),
        }
    }

    fn changes(&self) -> Changes {
        Changes {
            image: ROW,
            position: POSITION,
            reread: None,
            nothing: "false",
            values: Values::Columns,
        }
    }

    /// The server says which files it keeps and how large they are, not how old their entries are.
    async fn retention(&self, env: &Environment, _: &Connector) -> Option<Retention> {
        let session = self.session(env).await.ok()?;
        let rows = session.query("SHOW BINARY LOGS").await.ok()?.into_iter();
        let files: Vec<(String, u64)> = rows
            .filter_map(|row| {
                let mut cells = row.into_iter();
                Some((cells.next()??, cells.next()??.parse().ok()?))
            })
            .collect();
        let (newest, end) = files.last()?;
        Some(Retention::Files(Binlog {
            position: format!("{newest}:{end}"),
            oldest: files.first()?.0.clone(),
            unread: None,
            files,
        }))
    }

    async fn table<'a>(
        &self,
        env: &Environment,
        flow: &'a Flow,
    ) -> Result<Box<dyn SourceTable + 'a>> {
        Ok(Box::new(Table::open(self, env, flow).await?))
    }

    async fn columns(&self, env: &Environment, flow: &Flow) -> Result<Option<Vec<Column>>> {
        let session = self.session(env).await.map_err(|error| service(&error))?;
        Ok(Some(table::columns(&session, flow).await?))
    }

    async fn clock(&self, env: &Environment) -> Result<Option<u64>> {
        let session = self.session(env).await.map_err(|error| service(&error))?;
        let sql = "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";
        let clock = session.value(sql).await.map_err(|error| service(&error))?;
        Ok(clock.and_then(|it| it.parse().ok()))
    }

    async fn end(&self, env: &Environment, connector: &Connector) -> Result<Option<u128>> {
        let Some(Retention::Files(log)) = self.retention(env, connector).await else {
            return Ok(None);
        };
        Ok(highest(&log.position))
    }

    /// Where its log ends.
    async fn marker(&self, env: &Environment) -> Result<Option<u128>> {
        let session = self.session(env).await.map_err(|error| service(&error))?;
        let files = session.query("SHOW BINARY LOGS").await;
        let last = files.map_err(|error| service(&error))?.pop();
        Ok(last.and_then(|row| {
            let mut cells = row.into_iter();
            place(&cells.next()??, cells.next()??.parse().ok()?)
        }))
    }

    fn reached(&self, offset: &Value) -> Option<u128> {
        place(offset.get("file")?.as_str()?, offset.get("pos")?.as_u64()?)
    }

    async fn lost(
        &self,
        env: &Environment,
        _: &Connector,
        offsets: &[PartitionOffset],
    ) -> Result<Option<String>> {
        let mut files = offsets
            .iter()
            .filter_map(|one| one.offset.get("file")?.as_str());
        let Some(file) = files.next() else {
            return Ok(None);
        };
        let session = self.session(env).await.map_err(|error| service(&error))?;
        let kept = session.query("SHOW BINARY LOGS").await;
        let kept = kept.map_err(|error| service(&error))?;
        let names: Vec<&str> = kept
            .iter()
            .filter_map(|row| row.first()?.as_deref())
            .collect();
        let oldest = names.first().copied().unwrap_or("none");
        let is_kept = names.contains(&file);
        Ok((!is_kept).then(|| {
            format!(
                "it is in {file}, which MySQL no longer has: the oldest that it keeps is {oldest}"
            )
        }))
    }
}

/// A place in the log as a number that grows.
fn place(file: &str, byte: u64) -> Option<u128> {
    let number: u128 = file.rsplit('.').next()?.parse().ok()?;
    Some(number << 64 | u128::from(byte))
}

/// The highest [`POSITION`] before a place in the log, `file:byte`.
fn highest(place: &str) -> Option<u128> {
    let (file, byte) = place.rsplit_once(':')?;
    let number: u128 = file.rsplit('.').next()?.parse().ok()?;
    let byte: u128 = byte.parse().ok()?;
    Some(number << 96 | byte << 32 | u128::from(u32::MAX))
}

/// The number of the replica that a connector poses as. Those that people give are small.
fn replica(prefix: &str) -> u32 {
    let digest = Sha256::digest(prefix.as_bytes());
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) | 1 << 31
}

/// What an offset of its connector means; none of another type's.
pub fn position(offset: &Value) -> Option<Position> {
    let file = offset.get("file")?.as_str()?;
    let place = offset.get("pos")?.as_u64()?;
    let at = offset.get("ts_sec").and_then(Value::as_u64);
    Some(Position {
        place: format!("{file}:{place}"),
        at: at.filter(|seconds| *seconds > 0).map(|it| it * 1000),
        snapshot: is_of_snapshot(offset),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_log_is_above_every_position_before_it() {
        let at = |file: u128, byte: u128, row: u128| Some(file << 96 | byte << 32 | row);
        let end = highest("binlog.000004:157");
        assert!(end >= at(4, 157, 0) && end < at(4, 158, 0), "{end:?}");
        assert!(end > at(3, 9_999, 7) && end < at(5, 4, 0), "{end:?}");
        assert_eq!(highest("nothing"), None);
    }

    #[test]
    fn an_offset_is_a_file_and_a_place_in_it() {
        let found = position(&json!({
            "file": "binlog.000003", "pos": 197, "ts_sec": 1_700_000_000, "row": 1, "server_id": 1,
        }));
        let found = found.expect("a position");
        assert_eq!(found.place, "binlog.000003:197");
        assert_eq!(found.at, Some(1_700_000_000_000));
        assert!(!found.snapshot);
        assert_eq!(position(&json!({ "lsn": 5 })), None);
    }

    #[test]
    fn what_is_unread_goes_over_files() {
        let log = || Binlog {
            position: "binlog.000004:50".into(),
            oldest: "binlog.000002".into(),
            unread: None,
            files: [
                ("binlog.000002", 100),
                ("binlog.000003", 30),
                ("binlog.000004", 50),
            ]
            .map(|(name, bytes)| (name.to_owned(), bytes))
            .to_vec(),
        };
        let at = |place: &str| Position {
            place: place.into(),
            at: None,
            snapshot: false,
        };
        let unread = |place: &str| log().behind(Some(&at(place))).unread;
        assert_eq!(unread("binlog.000002:90"), Some(90));
        assert_eq!(unread("binlog.000004:50"), Some(0));
        assert_eq!(unread("binlog.000001:4"), None);
        assert_eq!(log().behind(None).unread, None);
    }
}
