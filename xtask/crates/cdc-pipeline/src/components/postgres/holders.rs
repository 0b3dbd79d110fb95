//! Who holds what somebody else waits for: a lock that a statement of this tool needs, or the transaction that a
//! new replication slot has to outlast.
//!
//! A statement that waits for a lock makes everybody wait who comes after it. So each that needs one gives up
//! soon, and names the holder.

use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ask;
use super::settings::PostgresSettings;
use crate::clients::postgres::{Postgres, PostgresError, literal};
use crate::components::service;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::wait;

/// How long a statement may wait for a lock, and others behind it.
const LIMIT: &str = "SET lock_timeout = '2s'";
/// How long it takes to see that a statement waits.
const LOOK: Duration = Duration::from_millis(300);

/// A session or a prepared transaction that somebody waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The slot that waits for it; none where a statement does.
    pub slot: Option<String>,
    /// Its server process; none of a prepared transaction.
    pub pid: Option<u32>,
    /// The name of a prepared transaction.
    pub gid: Option<String>,
    /// Who, since when, and what, as far as the role may see it.
    pub about: String,
    /// Whether the role may end it.
    pub may_end: bool,
}

impl Holder {
    /// It, for people.
    pub fn text(&self) -> String {
        let about = &self.about;
        match (self.pid, &self.gid) {
            (Some(pid), _) => format!("process {pid} ({about})"),
            (None, Some(gid)) => format!("the prepared transaction {} ({about})", literal(gid)),
            (None, None) => "a prepared transaction".to_owned(),
        }
    }

    /// What ends it, for a component of this name.
    pub fn end(&self, component: &str) -> String {
        let sql = self.sql();
        match self.may_end {
            true => format!("cargo xtask query {component} \"{sql}\""),
            false => format!("as a superuser: {sql}"),
        }
    }

    fn sql(&self) -> String {
        match (self.pid, &self.gid) {
            (Some(pid), _) => format!("SELECT pg_terminate_backend({pid})"),
            (None, Some(gid)) => format!("ROLLBACK PREPARED {}", literal(gid)),
            (None, None) => "SELECT gid, prepared, owner FROM pg_prepared_xacts".to_owned(),
        }
    }
}

/// One statement that gives as JSON whom these wait for: a table of slots and server processes.
fn query(waiting: &str) -> String {
    let at = |time: &str| {
        format!("to_char({time} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC'")
    };
    let (begun, prepared) = (at("a.xact_start"), at("p.prepared"));
    // What others wrote between quotes may be a secret.
    let statement = r"left(regexp_replace(regexp_replace(a.query, '''[^'']*(''|$)', '''...''', 'g'), '\s+', ' ', 'g'), 100)";
    format!(
        "SELECT coalesce(json_agg(json_build_object('slot', w.slot, 'pid', nullif(b.pid, 0), 'gid', p.gid, \
           'may_end', coalesce(pg_has_role(a.usesysid, 'USAGE') OR (pg_has_role('pg_signal_backend', 'USAGE') \
              AND NOT (SELECT rolsuper FROM pg_roles WHERE oid = a.usesysid)), \
              p.owner = current_user OR current_setting('is_superuser') = 'on', false), \
           'about', CASE WHEN b.pid > 0 THEN concat_ws(', ', a.usename, nullif(a.application_name, ''), \
              'from ' || a.client_addr, 'its transaction open since ' || {begun}, a.state, \
              CASE a.query WHEN '<insufficient privilege>' THEN 'a member of pg_read_all_stats sees since when and what' \
              WHEN '' THEN NULL ELSE {statement} END) \
              ELSE concat_ws(', ', p.owner, 'in ' || p.database, 'since ' || {prepared}) END)), '[]') \
         FROM {waiting} AS w (slot, pid) CROSS JOIN LATERAL (SELECT DISTINCT unnest(pg_blocking_pids(w.pid))) AS b (pid) \
           LEFT JOIN pg_stat_activity a ON a.pid = b.pid AND b.pid > 0 \
           LEFT JOIN pg_prepared_xacts p ON b.pid = 0 AND EXISTS (SELECT FROM pg_locks l \
              WHERE l.pid = w.pid AND NOT l.granted AND (l.transactionid = p.transaction \
                OR EXISTS (SELECT FROM pg_locks h JOIN pg_locks x USING (virtualtransaction) \
                   WHERE h.pid IS NULL AND x.pid IS NULL AND h.granted AND x.transactionid = p.transaction \
                     AND (h.database, h.relation) = (l.database, l.relation))))"
    )
}

/// Whom slots that are being made wait for.
///
/// # Errors
/// The server does not answer.
pub async fn of_slots(session: &Postgres) -> Result<Vec<Holder>> {
    let waiting = "(SELECT slot_name, active_pid FROM pg_replication_slots \
                    WHERE confirmed_flush_lsn IS NULL AND slot_type = 'logical' AND active_pid IS NOT NULL)";
    ask(session, &query(waiting)).await
}

/// A statement that the server refused.
#[derive(Debug)]
pub(super) struct Refused {
    error: PostgresError,
    /// Who holds the lock that it waited for.
    holders: Vec<Holder>,
}

impl Refused {
    /// Whether the role may not do it.
    pub(super) fn is_denied(&self) -> bool {
        self.error.sqlstate() == Some("42501")
    }

    /// As the user reads it. The statement is not in it: it may hold a verifier.
    pub(super) fn error(self, own: &PostgresSettings) -> Error {
        if self.error.sqlstate() != Some("55P03") {
            return service(&self.error);
        }
        let name = &own.name;
        let Some(first) = self.holders.first() else {
            return service(&self.error).hint("somebody holds a lock that is needed: try again");
        };
        let all: Vec<String> = self.holders.iter().map(Holder::text).collect();
        let what = format!(
            "{name}: nothing was changed, for a lock that is needed is held by {}",
            all.join(" and ")
        );
        Error::new(Code::Service, what).hint(format!(
            "wait for its end, or {}; then: cargo xtask up",
            first.end(name)
        ))
    }
}

impl From<PostgresError> for Refused {
    fn from(error: PostgresError) -> Self {
        Refused {
            error,
            holders: Vec::new(),
        }
    }
}

/// Runs statements that take locks in this session.
///
/// # Errors
/// It is refused, or somebody holds such a lock: with who does.
pub(super) async fn run(
    own: &PostgresSettings,
    env: &Environment,
    session: &Postgres,
    sql: &str,
) -> Result<u64, Refused> {
    let pid = format!("{LIMIT}; SELECT pg_backend_pid()");
    let pid = session.value(&pid).await?.unwrap_or_default();
    let waiting = format!("(SELECT NULL::name, {pid})");
    let seen = Mutex::new(Vec::new());
    let look = || async {
        let other = own.session(env).await.map_err(|error| service(&error))?;
        let holders: Vec<Holder> = ask(&other, &query(&waiting)).await?;
        if let (false, Ok(mut seen)) = (holders.is_empty(), seen.lock()) {
            *seen = holders;
        }
        Ok::<_, Error>(())
    };
    let watch = async {
        loop {
            wait::pause(LOOK).await;
            // Who holds it is told if it can be.
            drop(look().await);
        }
    };
    let done: Result<u64, PostgresError> = tokio::select! {
        biased;
        done = session.execute(sql) => done,
        never = watch => never,
    };
    let holders = seen.into_inner().unwrap_or_default();
    done.map_err(|error| Refused { error, holders })
}
