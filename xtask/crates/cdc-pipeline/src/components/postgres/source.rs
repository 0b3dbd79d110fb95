//! PostgreSQL as a source: what Debezium's connector is told and writes, and what the server remembers
//! of it in its replication slot.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::holders::{self, Holder};
use super::ready::{Slot, slot};
use super::settings::PostgresSettings;
use super::{access, catalogue, slots, table, wal};
use crate::clients::answer::Row;
use crate::clients::connect::PartitionOffset;
use crate::clients::postgres::{Postgres as Session, PostgresError, ident, literal};
use crate::components::position::{Position, is_of_snapshot};
use crate::components::service;
use crate::components::source::{
    Changes, INCREMENTAL, Left, Mark, ROW, Reader, Reading, Retention, Source, SourceTable, Undo,
    UndoStep, Values,
};
use crate::endpoint::Tls;
use crate::environment::Environment;
use crate::error::Result;
use crate::flows::types::Column;
use crate::plan::{Outcome, Progress};
use crate::platform::Secret;
use crate::profile::schema::{Connector, Flow};
use crate::readiness::{State, Status};
use crate::wait;

/// PostgreSQL decodes whole transactions in the order of their commits, so a later change may lie
/// before an earlier one in the log. The high half is therefore the end of the last commit before
/// this transaction (`sequence[0]`; absent in the first transaction after a snapshot, where the
/// record's own place stands in for it), and the low half the record itself. A snapshot's row
/// comes before everything that follows its position.
const POSITION: &str = "if(op = 'r', bitShiftLeft(toUInt128(JSONExtractUInt(raw, 'source', 'lsn')), 64), \
     bitOr(bitShiftLeft(toUInt128(coalesce(\
     toUInt64OrNull(JSONExtractString(JSONExtractString(raw, 'source', 'sequence'), 1)), \
     JSONExtractUInt(raw, 'source', 'lsn'))), 64), \
     toUInt128(JSONExtractUInt(raw, 'source', 'lsn'))))";

/// The prefix of this tool's own messages in the log, which hold nothing and which the connector passes by.
const MESSAGES: &str = "cdc-xtask";

/// How often [`Source::attend`] begins a transaction.
const TRANSACTIONS_EVERY: Duration = Duration::from_millis(50);

#[async_trait]
impl Source for PostgresSettings {
    fn connection(&self, reader: &Reader<'_>) -> Value {
        json!({
            "host": reader.at.host,
            "port": reader.at.port,
            "database": self.database,
            "slot": reader.connector.slot,
            "publication": reader.connector.publication,
            "sslmode": sslmode(&reader.at.tls),
            "ca": authority(&reader.at.tls),
            "messages": MESSAGES,
            "heartbeat": reader.connector.slot.as_deref().map(heartbeat),
        })
    }

    async fn takes(&self, env: &Environment, user: &str, password: Secret) -> Option<bool> {
        let login = env.endpoint(&self.name).login(user, password);
        match Session::connect(&login, &self.database).await {
            Ok(_) => Some(true),
            Err(error) => error.sqlstate()?.starts_with("28").then_some(false),
        }
    }

    fn changes(&self) -> Changes {
        Changes {
            image: ROW,
            position: POSITION,
            reread: Some(INCREMENTAL),
            nothing: "false",
            values: Values::Columns,
        }
    }

    fn read_by(&self, offset: &Value) -> Option<u128> {
        read_by(offset)
    }

    async fn retention(&self, env: &Environment, connector: &Connector) -> Option<Retention> {
        let slot = connector.slot.as_deref()?;
        wal::of_slot(self, env, slot)
            .await
            .map(Retention::Unconfirmed)
    }

    async fn table<'a>(
        &self,
        env: &Environment,
        flow: &'a Flow,
    ) -> Result<Box<dyn SourceTable + 'a>> {
        Ok(Box::new(table::Table::open(self, env, flow).await?))
    }

    async fn columns(&self, env: &Environment, flow: &Flow) -> Result<Option<Vec<Column>>> {
        let session = self.session(env).await.map_err(|error| service(&error))?;
        Ok(Some(catalogue::columns(&session, flow).await?))
    }

    async fn clock(&self, env: &Environment) -> Result<Option<u64>> {
        let session = self.session(env).await.map_err(|error| service(&error))?;
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint::text";
        let clock = session.value(sql).await.map_err(|error| service(&error))?;
        Ok(clock.and_then(|it| it.parse().ok()))
    }

    async fn mark(&self, env: &Environment, connector: &Connector) -> Result<Option<Mark>> {
        let Some(slot) = connector.slot.as_deref() else {
            return Ok(None);
        };
        Ok(slots::find(self, env, slot).await?.map(|slot| Mark {
            confirmed_at: slot.confirmed_flush_lsn.as_deref().and_then(lsn),
            kept_from: slot.restart_lsn,
            confirmed: slot.confirmed_flush_lsn,
            retained: slot.retained,
            unconfirmed: slot.unconfirmed,
        }))
    }

    async fn reading(&self, env: &Environment, connector: &Connector) -> Option<Reading> {
        let name = connector.slot.as_deref()?;
        Some(match read(self, env, name).await {
            Ok((row, holders)) => reading(name, row, &holders),
            Err(error) => Reading {
                status: self.refused(env, &error),
                session_s: None,
                is_busy: true,
                waits: None,
            },
        })
    }

    /// A message of the tool's own, which takes no table and no right. It is a transaction: Debezium commits nothing for
    /// one that is none. Transactions are sent in the order of their commits: once anything is sent with a position
    /// behind the message's, all that was committed before it is sent.
    async fn marker(&self, env: &Environment) -> Result<Option<u128>> {
        let session = self.session(env).await.map_err(|error| service(&error))?;
        let sql = format!("SELECT pg_logical_emit_message(true, '{MESSAGES}', '')");
        let at = session.value(&sql).await.map_err(|error| service(&error))?;
        Ok(at.as_deref().and_then(lsn).map(u128::from))
    }

    fn reached(&self, offset: &Value) -> Option<u128> {
        offset.get("lsn")?.as_u64().map(u128::from)
    }

    async fn unwritten(
        &self,
        env: &Environment,
        offsets: &[PartitionOffset],
    ) -> Result<Option<String>> {
        let (Some(saved), Some(end)) = (committed(offsets), written(self, env).await?) else {
            return Ok(None);
        };
        Ok((saved > end).then(|| {
            format!(
                "it is {}, which PostgreSQL has not written yet: this is another server's, or it was restored",
                lsn_text(saved)
            )
        }))
    }

    async fn lost(
        &self,
        env: &Environment,
        connector: &Connector,
        offsets: &[PartitionOffset],
    ) -> Result<Option<String>> {
        let Some(slot) = connector.slot.as_deref() else {
            return Ok(None);
        };
        let Some(now) = slots::find(self, env, slot).await? else {
            return Ok(Some(format!("there is no slot {slot}")));
        };
        if let Some(unwritten) = self.unwritten(env, offsets).await? {
            return Ok(Some(unwritten));
        }
        let confirmed = now.confirmed_flush_lsn.as_deref().and_then(lsn);
        Ok(match (committed(offsets), confirmed) {
            // PostgreSQL sends from the confirmed place at the earliest, whatever a reader asks for.
            (Some(saved), Some(confirmed)) if saved < confirmed => Some(format!(
                "it is {}, and slot {slot} begins at {}",
                lsn_text(saved),
                lsn_text(confirmed)
            )),
            _ => None,
        })
    }

    async fn end(&self, env: &Environment, _: &Connector) -> Result<Option<u128>> {
        let end = written(self, env).await?;
        Ok(end.map(|lsn| u128::from(lsn) << 64 | u128::from(u64::MAX)))
    }

    fn undo_steps(&self, connector: &Connector) -> Vec<UndoStep> {
        let step = |undo, id, title, words| UndoStep {
            undo,
            id,
            title,
            words,
        };
        let mut steps = Vec::new();
        if let Some(slot) = &connector.slot {
            let drop = Some(format!("drop slot {slot}"));
            steps.extend([
                step(Undo::Release, "slot/free", "nobody reads the slot", None),
                step(
                    Undo::Forget,
                    "slot/drop",
                    "PostgreSQL forgets the slot",
                    drop,
                ),
            ]);
        }
        if let Some(publication) = &connector.publication {
            let drop = format!("drop publication {publication}; it is made again before the start");
            let id = "publication/drop";
            steps.push(step(
                Undo::Unpublish,
                id,
                "drop the publication",
                Some(drop),
            ));
        }
        steps
    }

    async fn undo(
        &self,
        env: &Environment,
        connector: &Connector,
        undo: Undo,
        progress: &Progress,
    ) -> Result<Outcome> {
        match (undo, &connector.slot, &connector.publication) {
            (Undo::Release, Some(slot), _) => slots::released(self, env, slot, progress).await,
            (Undo::Forget, Some(slot), _) => slots::drop_slot(self, env, slot).await,
            (Undo::Unpublish, _, Some(publication)) => {
                let sql = format!("DROP PUBLICATION IF EXISTS {}", ident(publication));
                let dropped = async { self.session(env).await?.execute(&sql).await };
                dropped.await.map_err(|error| service(&error))?;
                Ok(Outcome::Changed(format!("dropped {publication}")))
            }
            (Undo::Release | Undo::Forget, None, _) | (Undo::Unpublish, _, None) => {
                Ok(Outcome::Unchanged("it has none".into()))
            }
        }
    }

    async fn left(&self, env: &Environment, connector: &Connector) -> Result<Vec<Left>> {
        let Some(address) = &self.external else {
            return Ok(Vec::new());
        };
        let session = self.session(env).await.map_err(|error| service(&error))?;
        let at = format!("{address}/{}", self.database);
        let mut left = Vec::new();
        if let Some(name) = &connector.slot
            && let Some(slot) = slots::find_in(env, &session, name).await?
            && slot.database.as_deref() == Some(&self.database)
        {
            left.push(Left {
                undo: Undo::Forget,
                what: format!("slot {name} at {at}"),
                sql: format!("SELECT pg_drop_replication_slot({})", literal(name)),
            });
        }
        if let Some(name) = &connector.publication {
            let made = session.value(&access::is_made(name)).await;
            if made.map_err(|error| service(&error))?.is_some() {
                left.push(Left {
                    undo: Undo::Unpublish,
                    what: format!("publication {name} at {at}"),
                    sql: format!("DROP PUBLICATION {}", ident(name)),
                });
            }
        }
        Ok(left)
    }

    /// Debezium (3.7) looks for its place in the log until a first message comes, and then reads one chunk after the
    /// other until it sees a new transaction at the server. Where nobody writes, it would not begin to read, and what
    /// it has still to stream would wait until the table is read. So it gets messages, which hold nothing and
    /// which it passes by.
    async fn attend(&self, env: &Environment) {
        let message = format!("SELECT pg_logical_emit_message(true, '{MESSAGES}', '')::text");
        loop {
            if let Ok(session) = self.session(env).await {
                while session.value(&message).await.is_ok() {
                    wait::pause(TRANSACTIONS_EVERY).await;
                }
            }
            wait::pause(Duration::from_secs(1)).await;
        }
    }

    async fn prepare(&self, env: &Environment, connector: &Connector) -> Result<()> {
        // Its user owns nothing and could not make it.
        if connector.publication.is_some() {
            access::republish(self, env, connector).await?;
        }
        Ok(())
    }
}

/// The position that offsets have, if they have one.
fn committed(offsets: &[PartitionOffset]) -> Option<u64> {
    let lsns = offsets.iter();
    lsns.filter_map(|one| one.offset.get("lsn")?.as_u64()).min()
}

/// Up to where the server has written its log.
async fn written(own: &PostgresSettings, env: &Environment) -> Result<Option<u64>> {
    let session = own.session(env).await.map_err(|error| service(&error))?;
    let end = session.value("SELECT pg_current_wal_lsn()").await;
    let end = end.map_err(|error| service(&error))?;
    Ok(end.as_deref().and_then(lsn))
}

/// The word for how a connection is encrypted, where it is not the driver's own choice.
pub(super) fn sslmode(tls: &Tls) -> Option<&'static str> {
    match tls {
        // On a server of the tool's there is none: the driver finds that out.
        Tls::Disable | Tls::Prefer => None,
        Tls::Require => Some("require"),
        Tls::VerifyFull { .. } => Some("verify-full"),
    }
}

/// The file of the authorities that a server is recognised by, where it is.
pub(super) fn authority(tls: &Tls) -> Option<String> {
    match tls {
        Tls::VerifyFull { ca } => Some(ca.display().to_string()),
        Tls::Disable | Tls::Prefer | Tls::Require => None,
    }
}

/// The statement of a connector's heartbeat. While only other tables and databases write, PostgreSQL sends the
/// connector nothing that it could confirm, and keeps its log. Once that is 16 MB, messages in the log, which take no
/// table and no right, have something to confirm come through. Where the log is kept from is what counts: it follows
/// the confirmed position only to what the server noted of its running transactions before that.
fn heartbeat(slot: &str) -> String {
    format!(
        "SELECT pg_logical_emit_message(false, '{MESSAGES}', '') FROM pg_replication_slots WHERE slot_name = {} \
         AND pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) > 16777216",
        literal(slot)
    )
}

/// What an offset of its connector means; none of another type's.
pub fn position(offset: &Value) -> Option<Position> {
    let number = |key: &str| offset.get(key).and_then(Value::as_u64);
    Some(Position {
        place: lsn_text(number("lsn")?),
        at: number("ts_usec").map(|micros| micros / 1000),
        snapshot: is_of_snapshot(offset),
    })
}

/// The end of the last commit, as the high half of [`POSITION`] in the transactions that follow it. Before the first
/// one there is the snapshot's place.
fn read_by(offset: &Value) -> Option<u128> {
    let number = |key: &str| offset.get(key).and_then(Value::as_u64);
    let end = number("lsn_commit").or_else(|| number("lsn"))?;
    Some(u128::from(end) << 64)
}

/// One row of a slot and the session that reads it, whether there is such a slot or not; and whom it waits for
/// while it is being made.
async fn read(
    own: &PostgresSettings,
    env: &Environment,
    slot: &str,
) -> Result<(Option<Row>, Vec<Holder>), PostgresError> {
    let sql = format!(
        "SELECT s.active, s.wal_status, extract(epoch FROM clock_timestamp() - a.backend_start), \
                EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'Debezium%'), \
                s.slot_name IS NOT NULL AND s.confirmed_flush_lsn IS NULL \
         FROM (SELECT) one LEFT JOIN pg_replication_slots s ON s.slot_name = {} \
              LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid",
        literal(slot)
    );
    let session = own.session(env).await?;
    let row = session.query(&sql).await?.pop();
    let is_made = |row: &Row| row.last().cloned().flatten().as_deref() == Some("t");
    let holders = match row.as_ref().is_some_and(is_made) {
        // Who holds it back is told if it can be.
        true => holders::of_slots(&session).await.unwrap_or_default(),
        false => Vec::new(),
    };
    Ok((row, holders))
}

fn reading(name: &str, row: Option<Row>, holders: &[Holder]) -> Reading {
    let mut cells = row.into_iter().flatten();
    let mut text = || cells.next().flatten();
    let (active, wal_status) = (text(), text());
    let found = active.map(|active| Slot {
        active: active == "t",
        wal_status,
    });
    let session_s = text().and_then(|age| age.parse().ok());
    let is_busy = text().as_deref() != Some("f");
    let is_made = text().as_deref() == Some("t");
    let holders = holders.iter().filter(|it| it.slot.as_deref() == Some(name));
    let holders: Vec<String> = holders.map(Holder::text).collect();
    let waits = (is_made && !holders.is_empty()).then(|| {
        format!(
            "slot {name} is being made, and waits for {}",
            holders.join(" and ")
        )
    });
    let status = match (slot(found.as_ref()), &waits) {
        (seen, _) if seen.state != State::Current || !is_made => seen,
        (_, Some(waits)) => Status::in_progress(waits),
        (_, None) => Status::in_progress(format!("slot {name} is being made")),
    };
    Reading {
        status,
        session_s,
        is_busy,
        waits,
    }
}

/// An LSN as PostgreSQL writes it.
fn lsn_text(lsn: u64) -> String {
    format!("{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF)
}

/// Reads `16/B374D848`.
fn lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    Some((number(high)? << 32) | number(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_back() {
        assert_eq!(lsn("16/B374D848"), Some(0x16_B374_D848));
        assert_eq!(lsn_text(0x16_B374_D848), "16/B374D848");
        assert_eq!(lsn("x"), None);
    }

    #[test]
    fn what_was_read_comes_before_what_follows_it() {
        let offset = json!({ "lsn": 130_u64, "lsn_commit": 100_u64, "txId": 7 });
        assert_eq!(read_by(&offset), Some(100 << 64));
        // After a snapshot no transaction has ended yet.
        assert_eq!(read_by(&json!({ "lsn": 90_u64 })), Some(90 << 64));
        assert_eq!(read_by(&json!({ "sec": 5 })), None);
    }

    #[test]
    fn a_slot_is_read_where_somebody_has_it() {
        let row = |cells: [Option<&str>; 5]| Some(cells.map(|it| it.map(str::to_owned)).to_vec());
        let read = [
            Some("t"),
            Some("reserved"),
            Some("7.5"),
            Some("t"),
            Some("f"),
        ];
        let found = reading("debezium", row(read), &[]);
        assert_eq!(found.status.state, State::Current);
        assert_eq!((found.session_s, found.is_busy), (Some(7.5), true));
        let gone = reading(
            "debezium",
            row([None, None, None, Some("f"), Some("f")]),
            &[],
        );
        assert_eq!(gone.status.state, State::NotFound);
        assert_eq!((gone.session_s, gone.is_busy), (None, false));
    }

    #[test]
    fn a_slot_that_is_being_made_says_whom_it_waits_for() {
        let row = ["t", "reserved", "7.5", "t", "t"].map(|it| Some(it.to_owned()));
        let holder = |slot: &str, pid, gid: Option<&str>| Holder {
            slot: Some(slot.into()),
            pid,
            gid: gid.map(str::to_owned),
            about: "app".into(),
            may_end: true,
        };
        let holders = [
            holder("other", Some(1), None),
            holder("debezium", Some(2), None),
            holder("debezium", None, Some("it's")),
        ];
        let found = reading("debezium", Some(row.to_vec()), &holders);
        assert_eq!(found.status.state, State::InProgress);
        assert_eq!(
            found.status.message,
            "slot debezium is being made, and waits for process 2 (app) and the prepared transaction 'it''s' (app)"
        );
    }
}
