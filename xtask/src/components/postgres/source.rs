//! PostgreSQL as a source: what Debezium's connector is told and writes, and what the server remembers
//! of it in its replication slot.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::ready::{Slot, slot};
use super::settings::PostgresSettings;
use super::{access, slots, table, wal};
use crate::clients::answer::Row;
use crate::clients::connect::PartitionOffset;
use crate::clients::postgres::{Postgres as Session, PostgresError, ident, literal};
use crate::components::position::{Position, is_of_snapshot};
use crate::components::service;
use crate::components::source::{
    CanaryKey, Changes, Mark, ROW, Reader, Reading, Retention, Source, SourceTable, Undo, UndoStep,
    Values,
};
use crate::environment::Environment;
use crate::error::Result;
use crate::plan::{Outcome, Progress};
use crate::platform::Secret;
use crate::profile::schema::{Connector, Flow};

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

#[async_trait]
impl Source for PostgresSettings {
    fn connection(&self, reader: &Reader<'_>) -> Value {
        json!({
            "host": reader.at.host,
            "port": reader.at.port,
            "database": self.database,
            "slot": reader.connector.slot,
            "publication": reader.connector.publication,
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
            values: Values::Columns,
        }
    }

    async fn retention(&self, env: &Environment, connector: &Connector) -> Option<Retention> {
        let slot = connector.slot.as_deref()?;
        wal::of_slot(self, env, slot)
            .await
            .map(Retention::Unconfirmed)
    }

    fn canary_key(&self, id: i64) -> CanaryKey {
        CanaryKey::Number(id)
    }

    async fn table<'a>(
        &self,
        env: &Environment,
        flow: &'a Flow,
    ) -> Result<Box<dyn SourceTable + 'a>> {
        Ok(Box::new(table::Table::open(self, env, flow).await?))
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
            Ok(row) => reading(row),
            Err(error) => Reading {
                status: self.refused(&error),
                session_s: None,
                is_busy: true,
            },
        })
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
        let lsns = offsets
            .iter()
            .filter_map(|one| one.offset.get("lsn")?.as_u64());
        let Some(saved) = lsns.min() else {
            return Ok(None);
        };
        let session = self.session(env).await.map_err(|error| service(&error))?;
        let end = session.value("SELECT pg_current_wal_lsn()").await;
        let end = end.map_err(|error| service(&error))?;
        let confirmed = now.confirmed_flush_lsn.as_deref().and_then(lsn);
        Ok(match (end.as_deref().and_then(lsn), confirmed) {
            (Some(end), _) if saved > end => Some(format!(
                "it is {}, which PostgreSQL has not written yet: this is another server's, or it was restored",
                lsn_text(saved)
            )),
            // PostgreSQL sends from the confirmed place at the earliest, whatever a reader asks for.
            (_, Some(confirmed)) if saved < confirmed => Some(format!(
                "it is {}, and slot {slot} begins at {}",
                lsn_text(saved),
                lsn_text(confirmed)
            )),
            _ => None,
        })
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

    async fn prepare(&self, env: &Environment, connector: &Connector) -> Result<()> {
        // Its user owns nothing and could not make it.
        if connector.publication.is_some() {
            access::republish(self, env, connector).await?;
        }
        Ok(())
    }
}

/// What an offset of its connector means; none of another type's.
pub(crate) fn position(offset: &Value) -> Option<Position> {
    let number = |key: &str| offset.get(key).and_then(Value::as_u64);
    Some(Position {
        place: lsn_text(number("lsn")?),
        at: number("ts_usec").map(|micros| micros / 1000),
        snapshot: is_of_snapshot(offset),
    })
}

/// One row of a slot and the session that reads it, whether there is such a slot or not.
async fn read(
    own: &PostgresSettings,
    env: &Environment,
    slot: &str,
) -> Result<Option<Row>, PostgresError> {
    let sql = format!(
        "SELECT s.active, s.wal_status, extract(epoch FROM clock_timestamp() - a.backend_start), \
                EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'Debezium%') \
         FROM (SELECT) one LEFT JOIN pg_replication_slots s ON s.slot_name = {} \
              LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid",
        literal(slot)
    );
    Ok(own.session(env).await?.query(&sql).await?.pop())
}

fn reading(row: Option<Row>) -> Reading {
    let mut cells = row.into_iter().flatten();
    let mut text = || cells.next().flatten();
    let (active, wal_status) = (text(), text());
    let found = active.map(|active| Slot {
        active: active == "t",
        wal_status,
    });
    Reading {
        status: slot(found.as_ref()),
        session_s: text().and_then(|age| age.parse().ok()),
        is_busy: text().as_deref() != Some("f"),
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
    use crate::readiness::State;

    #[test]
    fn places_are_read_back() {
        assert_eq!(lsn("16/B374D848"), Some(0x16_B374_D848));
        assert_eq!(lsn_text(0x16_B374_D848), "16/B374D848");
        assert_eq!(lsn("x"), None);
    }

    #[test]
    fn a_slot_is_read_where_somebody_has_it() {
        let row = |cells: [Option<&str>; 4]| Some(cells.map(|it| it.map(str::to_owned)).to_vec());
        let found = reading(row([Some("t"), Some("reserved"), Some("7.5"), Some("t")]));
        assert_eq!(found.status.state, State::Current);
        assert_eq!((found.session_s, found.is_busy), (Some(7.5), true));
        let gone = reading(row([None, None, None, Some("f")]));
        assert_eq!(gone.status.state, State::NotFound);
        assert_eq!((gone.session_s, gone.is_busy), (None, false));
    }
}
