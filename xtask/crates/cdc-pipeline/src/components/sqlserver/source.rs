//! SQL Server as a source: what Debezium's connector is told and writes. Its positions are numbers of the transaction
//! log (LSN): that of a transaction's commit, and that of a change in it. The change tables keep changes for a time
//! (the cleanup job's retention), whoever reads them, and keep no reader's position.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::capture::{Name, databases};
use super::settings::SqlserverSettings;
use super::table::{self, Table};
use crate::clients::connect::PartitionOffset;
use crate::clients::sqlserver::{Sqlserver, ident, literal};
use crate::components::position::{Position, is_of_snapshot};
use crate::components::source::{Changes, ROW, Reader, Retention, Source, SourceTable, Values};
use crate::components::{service, truststore};
use crate::endpoint::Tls;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::flows::types::Column;
use crate::platform::Secret;
use crate::profile::schema::{Connector, Flow};

/// What the name of the topic with the tables' definitions begins with; the prefix follows.
pub(super) const HISTORY: &str = "__debezium-schema-history.";

/// A part of a number of the log, whose hexadecimal digits have fixed places.
macro_rules! part {
    ($lsn:literal, $first:literal, $digits:literal) => {
        concat!(
            "toUInt128(reinterpretAsUInt32(reverse(unhex(substring(JSONExtractString(raw, 'source', '",
            $lsn,
            "'), ",
            $first,
            ", ",
            $digits,
            ")))))"
        )
    };
}

/// Commit and change in 128 bits. Both numbers have a file of 32 bits, a block in it of 32 and a record in it of 16. A
/// block has at most 60 kB and so less than 4096 records. The change's file is told by how many files it is before the
/// commit's, and its blocks by 28 bits, of files up to 128 GB. What is more than that is as the most: positions are
/// never in another order than the changes, and those that are the same are told apart by their order in the topic. A
/// row of a snapshot has no change, and comes before all changes of that commit.
const POSITION: &str = concat!(
    "bitOr(bitShiftLeft(",
    part!("commit_lsn", "1", "8"),
    ", 96), bitOr(bitShiftLeft(",
    part!("commit_lsn", "10", "8"),
    ", 64), bitOr(bitShiftLeft(least(",
    part!("commit_lsn", "19", "4"),
    ", toUInt128(4095)), 52), if(JSONExtractString(raw, 'source', 'change_lsn') = '', toUInt128(0), ",
    "bitOr(bitShiftLeft(toUInt128(4095) - least(",
    part!("commit_lsn", "1", "8"),
    " - least(",
    part!("change_lsn", "1", "8"),
    ", ",
    part!("commit_lsn", "1", "8"),
    "), toUInt128(4095)), 40), bitOr(bitShiftLeft(least(",
    part!("change_lsn", "10", "8"),
    ", toUInt128(268435455)), 12), least(",
    part!("change_lsn", "19", "4"),
    ", toUInt128(4095))))))))",
);

/// A number of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lsn {
    file: u32,
    block: u32,
    record: u16,
}

impl Lsn {
    /// Of `00000025:00000d98:00a2`, as the connector and the server's own views write it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let mut part = || u32::from_str_radix(parts.next()?, 16).ok();
        Some(Lsn {
            file: part()?,
            block: part()?,
            record: part()?.try_into().ok()?,
        })
    }

    /// Of `0x00000025...`, as the server writes a `binary(10)`.
    pub fn of_binary(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0x")?;
        let part = |from: usize, to: usize| u32::from_str_radix(digits.get(from..to)?, 16).ok();
        Some(Lsn {
            file: part(0, 8)?,
            block: part(8, 16)?,
            record: part(16, 20)?.try_into().ok()?,
        })
    }

    /// As one number that grows.
    fn number(self) -> u128 {
        u128::from(self.file) << 48 | u128::from(self.block) << 16 | u128::from(self.record)
    }

    /// The highest [`POSITION`] of a change that this commits.
    fn highest(self) -> u128 {
        let record = u128::from(self.record.min(4095));
        u128::from(self.file) << 96 | u128::from(self.block) << 64 | record << 52 | ((1 << 52) - 1)
    }
}

impl std::fmt::Display for Lsn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:08x}:{:08x}:{:04x}",
            self.file, self.block, self.record
        )
    }
}

#[async_trait]
impl Source for SqlserverSettings {
    fn connection(&self, reader: &Reader<'_>) -> Value {
        let databases = databases(reader.tables.iter().copied());
        let databases: Vec<&str> = databases.into_iter().collect();
        let tables: Vec<String> = reader
            .tables
            .iter()
            .map(|it| Name::of(it).within())
            .collect();
        let verifies = matches!(reader.at.tls, Tls::VerifyFull { .. });
        json!({
            "host": reader.at.host,
            "port": reader.at.port,
            "databases": databases.join(","),
            "captured": tables.join(","),
            "encrypt": reader.at.tls != Tls::Disable,
            "trusts": !verifies,
            "truststore": verifies.then(|| format!("{}/{}", reader.secrets, truststore::FILE)),
            // Without locks, where this tool has allowed it for the database.
            "isolation": if self.external.is_some() { "read_committed" } else { "snapshot" },
            "kafka": reader.kafka,
            "security": reader.security,
            "history": HISTORY,
        })
    }

    fn truststore(&self, pem: &str) -> Result<Option<(&'static str, Vec<u8>)>> {
        Ok(Some((truststore::FILE, truststore::of(pem)?)))
    }

    async fn takes(&self, env: &Environment, user: &str, password: Secret) -> Option<bool> {
        let login = env.endpoint(&self.name).login(user, password);
        match Sqlserver::connect(&login, "master").await {
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

    /// Its change tables say what they hold, and not how much of that a connector has not read.
    async fn retention(&self, _: &Environment, _: &Connector) -> Option<Retention> {
        None
    }

    async fn table<'a>(
        &self,
        env: &Environment,
        flow: &'a Flow,
    ) -> Result<Box<dyn SourceTable + 'a>> {
        Ok(Box::new(Table::open(self, env, flow).await?))
    }

    async fn columns(&self, env: &Environment, flow: &Flow) -> Result<Option<Vec<Column>>> {
        let session = self.session(env).await.map_err(service)?;
        Ok(Some(table::columns_of(&session, &flow.table).await?))
    }

    async fn clock(&self, env: &Environment) -> Result<Option<u64>> {
        let session = self.session(env).await.map_err(service)?;
        let clock = session.value(CLOCK).await.map_err(service)?;
        Ok(clock.and_then(|it| it.parse().ok()))
    }

    /// Where the log of the connector's database ends: the change tables may not have got so far yet.
    async fn end(&self, env: &Environment, connector: &Connector) -> Result<Option<u128>> {
        let flows = env.profile.flows_of(&self.name);
        let flows = flows.filter(|(_, flow)| {
            let read = env.profile.connectors.get(&flow.connector);
            read.is_some_and(|it| it.prefix == connector.prefix)
        });
        let databases = databases(flows.map(|(_, flow)| flow.table.as_str()));
        let end = self.log_end(env, &databases).await?;
        Ok(end.map(Lsn::highest))
    }

    /// Where its log ends. A connector gets there with the next transaction that is captured; where none comes, with the
    /// entry that the capture job makes every five minutes.
    async fn marker(&self, env: &Environment) -> Result<Option<u128>> {
        let flows = env.profile.flows_of(&self.name);
        let databases = databases(flows.map(|(_, flow)| flow.table.as_str()));
        let end = self.log_end(env, &databases).await?;
        match end {
            Some(end) => Ok(Some(end.number())),
            // Without one, a change that is not captured yet would pass for one that is missing.
            None => Err(Error::new(
                Code::Usage,
                format!("{}: it does not say where the one log of its flows ends", self.name),
            )
            .hint("have all flows of the component read one database, and its login see the server's state")),
        }
    }

    fn reached(&self, offset: &Value) -> Option<u128> {
        committed(offset).map(Lsn::number)
    }

    /// As the connector itself looks before it starts.
    async fn lost(
        &self,
        env: &Environment,
        _: &Connector,
        offsets: &[PartitionOffset],
    ) -> Result<Option<String>> {
        for one in offsets {
            let database = one.partition.get("database").and_then(Value::as_str);
            let (Some(database), Some(committed)) = (database, committed(&one.offset)) else {
                continue;
            };
            let session = self.session(env).await.map_err(service)?;
            let oldest = session.value(&oldest(database)).await.map_err(service)?;
            let oldest = oldest.and_then(|it| Lsn::of_binary(&it));
            if let Some(oldest) = oldest.filter(|oldest| *oldest >= committed) {
                return Ok(Some(format!(
                    "it is {committed}, and the change tables of {database} begin at {oldest}"
                )));
            }
        }
        Ok(None)
    }
}

impl SqlserverSettings {
    /// Where the log ends; none of several databases, of which each has a log of its own, and where the login may not
    /// see it.
    async fn log_end(&self, env: &Environment, databases: &BTreeSet<&str>) -> Result<Option<Lsn>> {
        let mut names = databases.iter();
        let (Some(database), None) = (names.next(), names.next()) else {
            return Ok(None);
        };
        let session = self.session(env).await.map_err(service)?;
        match session.value(&log_end(database)).await {
            Ok(end) => Ok(end.and_then(|it| Lsn::parse(&it))),
            Err(error) if error.is_missing_right() => Ok(None),
            Err(error) => Err(service(error)),
        }
    }
}

/// The last record of a database's log.
fn log_end(database: &str) -> String {
    format!(
        "SELECT log_end_lsn FROM sys.dm_db_log_stats(DB_ID({}))",
        literal(database)
    )
}

/// Its clock, in milliseconds since 1970.
pub const CLOCK: &str = "SELECT DATEDIFF_BIG(millisecond, '19700101', SYSUTCDATETIME())";

/// Where the change tables of a database begin.
pub fn oldest(database: &str) -> String {
    format!(
        "SELECT MIN(start_lsn) FROM {}.cdc.change_tables",
        ident(database)
    )
}

/// The commit up to which a connector has read.
pub fn committed(offset: &Value) -> Option<Lsn> {
    Lsn::parse(offset.get("commit_lsn")?.as_str()?)
}

/// What an offset of its connector means; none of another type's.
pub fn position(offset: &Value) -> Option<Position> {
    let commit = committed(offset)?;
    let change = offset.get("change_lsn").and_then(Value::as_str);
    Some(Position {
        place: match change.and_then(Lsn::parse) {
            Some(change) => format!("{commit}/{change}"),
            None => commit.to_string(),
        },
        at: None,
        snapshot: is_of_snapshot(offset),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_a_commit_and_a_change_in_it() {
        let found = position(&json!({
            "commit_lsn": "00000025:00000d98:00a2", "change_lsn": "00000025:00000d98:0003",
            "event_serial_no": 1, "transaction_id": null,
        }));
        let found = found.expect("a position");
        assert_eq!(found.place, "00000025:00000d98:00a2/00000025:00000d98:0003");
        assert!(!found.snapshot && found.at.is_none());
        let found = position(&json!({
            "commit_lsn": "00000025:00000d98:00a2", "change_lsn": "NULL", "snapshot": "INITIAL",
            "snapshot_completed": false,
        }));
        let found = found.expect("a position");
        assert_eq!(found.place, "00000025:00000d98:00a2");
        assert!(found.snapshot);
        assert_eq!(position(&json!({ "lsn": 5 })), None);
        assert_eq!(position(&json!({ "commit_lsn": "NULL" })), None);
    }

    #[test]
    fn numbers_of_the_log_are_ordered_as_their_texts() {
        let lsn = |text: &str| Lsn::parse(text).expect("a number");
        let all = [
            "00000025:00000d98:0003",
            "00000025:00000d98:00a2",
            "00000025:00000d99:0001",
            "00000100:00000001:0001",
        ];
        assert!(all.windows(2).all(|it| lsn(it[0]) < lsn(it[1])));
        assert!(
            all.windows(2)
                .all(|it| lsn(it[0]).number() < lsn(it[1]).number())
        );
        assert!(
            all.windows(2)
                .all(|it| lsn(it[0]).highest() < lsn(it[1]).highest())
        );
        assert_eq!(lsn(all[1]).to_string(), all[1]);
        assert_eq!(
            Lsn::of_binary("0x0000002500000D9800A2"),
            Lsn::parse("00000025:00000d98:00a2")
        );
        assert_eq!(Lsn::parse("00000025:00000d98"), None);
        assert_eq!(Lsn::of_binary("0x00"), None);
    }

    #[test]
    fn the_positions_expression_is_closed() {
        let count = |c: char| POSITION.chars().filter(|it| *it == c).count();
        assert_eq!(count('('), count(')'));
    }
}
