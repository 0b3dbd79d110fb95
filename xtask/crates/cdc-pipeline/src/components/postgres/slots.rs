//! PostgreSQL's replication slots: who reads them, what they keep, and giving one up.
//!
//! A slot is dropped only while its connector is stopped: between two attempts nobody reads it for
//! a moment.

use std::time::Duration;

use async_trait::async_trait;

use super::settings::PostgresSettings;
use crate::clients::postgres::{Postgres, literal};
use crate::components::service;
pub use crate::components::slots::Slot;
use crate::components::slots::Slots;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Progress};
use crate::readiness::Status;
use crate::wait::{self, Patience};

#[async_trait]
impl Slots for PostgresSettings {
    async fn list(&self, env: &Environment) -> Result<Vec<Slot>> {
        let session = session(self, env).await?;
        let mut slots = read(env, &session, "").await?;
        // Connectors of other servers may have slots of the same names there.
        let own = |name: &String| env.connectors(&self.name).any(|(own, _)| own == name);
        for slot in &mut slots {
            slot.connector = slot.connector.take().filter(own);
        }
        Ok(slots)
    }

    /// Between two attempts of a connector nobody reads its slot for a moment: it has to be stopped.
    async fn check_drop(&self, env: &Environment, slot: &Slot) -> Result<Option<String>> {
        let name = &slot.name;
        let error = Error::new(Code::Service, format!("slot `{name}` is being read"))
            .details(slot.reader.as_ref().map(|reader| format!("by {reader}")));
        let Some(connector) = &slot.connector else {
            return match slot.active {
                false => Ok(None),
                true => {
                    Err(error.hint("end its reader first; it is not a connector of this profile"))
                }
            };
        };
        let hint = format!(
            "cargo xtask connector stop {connector}, or for a new snapshot: cargo xtask reset-connector {connector}"
        );
        if slot.active {
            return Err(error
                .detail(format!("it is connector {connector}'s"))
                .hint(hint));
        }
        match env.connect_client().status(connector).await {
            Ok(Some(status)) if status.connector.state != "STOPPED" => Err(Error::new(
                Code::Service,
                format!(
                    "slot `{name}` is connector {connector}'s, which is {} and will want it",
                    status.connector.state
                ),
            )
            .hint(hint)),
            Ok(_) => Ok(None),
            Err(error) => Ok(Some(format!(
                "whether {connector} is stopped is not known: {error}"
            ))),
        }
    }

    async fn drop_slot(&self, env: &Environment, name: &str) -> Result<Outcome> {
        drop_slot(self, env, name).await
    }
}

/// One slot, if it is there.
///
/// # Errors
/// PostgreSQL does not answer.
pub async fn find(own: &PostgresSettings, env: &Environment, name: &str) -> Result<Option<Slot>> {
    find_in(env, &session(own, env).await?, name).await
}

/// As [`find`], in a session that is there already.
///
/// # Errors
/// PostgreSQL does not answer.
pub async fn find_in(env: &Environment, session: &Postgres, name: &str) -> Result<Option<Slot>> {
    let condition = format!("WHERE s.slot_name = {}", literal(name));
    Ok(read(env, session, &condition).await?.into_iter().next())
}

async fn session(own: &PostgresSettings, env: &Environment) -> Result<Postgres> {
    own.session(env).await.map_err(|error| service(&error))
}

/// The slots that meet a condition, in a session that is there already.
///
/// # Errors
/// PostgreSQL does not answer.
pub async fn read(env: &Environment, session: &Postgres, condition: &str) -> Result<Vec<Slot>> {
    let sql = format!(
        "SELECT s.slot_name, s.plugin, s.database, s.active, s.wal_status, s.restart_lsn, \
                s.confirmed_flush_lsn, \
                pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::bigint, \
                pg_wal_lsn_diff(pg_current_wal_lsn(), s.confirmed_flush_lsn)::bigint, \
                t.total_txns, \
                CASE WHEN a.wait_event LIKE 'WalSenderWait%' \
                     THEN greatest(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), r.sent_lsn), 0)::bigint END, \
                CASE WHEN NOT s.active THEN extract(epoch FROM clock_timestamp() \
                     - (to_jsonb(s) ->> 'inactive_since')::timestamptz)::bigint END, \
                CASE WHEN s.active THEN concat_ws(' ', 'process ' || s.active_pid, \
                     nullif(a.application_name, ''), 'from ' || a.client_addr) END \
         FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid \
              LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid \
              LEFT JOIN pg_stat_replication_slots t ON t.slot_name = s.slot_name \
         {condition} ORDER BY s.slot_name"
    );
    let rows = session.query(&sql).await.map_err(|error| service(&error))?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let mut cells = row.into_iter();
            let mut text = || cells.next().flatten();
            let name = text().unwrap_or_default();
            let (plugin, database) = (text(), text());
            let active = text().as_deref() == Some("t");
            let (wal_status, restart_lsn, confirmed_flush_lsn) = (text(), text(), text());
            let mut number = || text().and_then(|number| number.parse().ok());
            let (retained, unconfirmed) = (number(), number());
            let (transactions, untouched, unread_s) = (number(), number(), number());
            Slot {
                connector: owner(env, &name),
                reader: text(),
                name,
                plugin,
                database,
                active,
                wal_status,
                restart_lsn,
                confirmed_flush_lsn,
                retained,
                unconfirmed,
                transactions,
                untouched,
                unread_s,
            }
        })
        .collect())
}

/// The connector of the profile that reads a slot.
fn owner(env: &Environment, slot: &str) -> Option<String> {
    let mut connectors = env.profile.connectors.iter();
    let found = connectors.find(|(_, connector)| connector.slot.as_deref() == Some(slot));
    found.map(|(name, _)| name.clone())
}

/// Waits until nobody reads a slot; a slot that is not there is read by nobody.
///
/// # Errors
/// A connection still reads it.
pub async fn released(
    own: &PostgresSettings,
    env: &Environment,
    name: &str,
    progress: &Progress,
) -> Result<Outcome> {
    let patience = Patience::local(Duration::from_secs(60));
    let what = format!("slot {name} is free");
    let seen = wait::until(&what, patience, progress, || async {
        match find(own, env, name).await {
            Ok(None) => Status::current("there is no such slot"),
            Ok(Some(slot)) if !slot.active => Status::current("free"),
            Ok(Some(slot)) => Status::in_progress(format!(
                "read by {}",
                slot.reader.as_deref().unwrap_or("somebody")
            )),
            Err(error) => Status::in_progress(error.message),
        }
    })
    .await?;
    Ok(Outcome::Unchanged(seen))
}

/// Drops a slot that nobody reads.
///
/// # Errors
/// PostgreSQL refuses.
pub async fn drop_slot(own: &PostgresSettings, env: &Environment, name: &str) -> Result<Outcome> {
    let sql = format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = {}",
        literal(name)
    );
    let rows = session(own, env).await?.query(&sql).await;
    let rows = rows.map_err(|error| service(&error))?;
    Ok(match rows.is_empty() {
        true => Outcome::Unchanged(format!("there is no slot {name}")),
        false => Outcome::Changed(format!("dropped slot {name}")),
    })
}
