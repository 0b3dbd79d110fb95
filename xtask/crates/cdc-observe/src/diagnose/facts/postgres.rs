//! PostgreSQL: its settings and log, its slots, and what a connector needs there.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Connector, Gather, Log, ServerFacts, Wanted};
use crate::clients::postgres::literal;
use crate::components::postgres::ask;
use crate::components::postgres::holders::{self, Holder};
use crate::components::postgres::lacks::Lack;
use crate::components::postgres::settings::PostgresSettings;
use crate::components::postgres::slots::{self, Slot};
use crate::components::service;
use crate::environment::Environment;
use crate::error::Result;
use crate::profile::component::Instance;
use crate::profile::schema;
use crate::wait::Limit;

/// A server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Postgres {
    /// What it says of itself.
    pub server: Server,
    /// Replication slots.
    pub slots: Vec<Slot>,
    /// What is wrong with the flows that read its tables.
    pub unfit: Vec<Unfit>,
    /// What it lacks that the tool cannot add itself.
    pub lacks: Vec<Lack>,
    /// Whom new slots wait for.
    pub holders: Vec<Holder>,
}

/// A flow whose table does not fit it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unfit {
    /// What is wrong.
    pub cause: String,
    /// Where, in the profile.
    pub at: Option<String>,
    /// What helps.
    pub hint: Option<String>,
}

impl Postgres {
    /// The slot of this name.
    pub fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.name == name)
    }

    /// The slot that the profile has a connector read.
    pub fn slot_of(&self, wanted: &Wanted) -> Option<&Slot> {
        self.slot(wanted.slot.as_deref()?)
    }
}

/// What PostgreSQL says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Server setting.
    pub wal_level: String,
    /// Whether it is a standby.
    pub recovery: bool,
    /// Whether transactions are read-only by default.
    pub read_only: bool,
    /// Where its log ends, in bytes; none on a standby.
    pub position: Option<u64>,
    /// Its clock, in milliseconds since the epoch.
    pub clock_ms: u64,
    /// Sessions, and how many there may be.
    pub connections: (u32, u32),
    /// Replication slots, and how many there may be.
    pub slot_use: (u32, u32),
    /// The captured tables.
    pub tables: Vec<Table>,
    /// Publications.
    pub publications: Vec<Publication>,
    /// Roles that connectors log in as.
    pub roles: Vec<Role>,
    /// The oldest transaction of a client that has lasted for a minute.
    pub old_transaction: Option<OldTransaction>,
}

/// A captured table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// With its schema.
    pub name: String,
    /// Whether it is there.
    pub exists: bool,
    /// What a deletion's or an update's event says of the row before: `d` its key, `f` all of it, `i`
    /// an index, `n` nothing.
    pub identity: Option<String>,
    /// Whether it has a primary key.
    pub key: bool,
    /// Of the connectors' users, those that may not read it.
    pub unreadable: Vec<String>,
}

/// A publication.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Name.
    pub name: String,
    /// Its tables, with their schemas.
    pub tables: Vec<String>,
}

/// A role that a connector logs in as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Name.
    pub name: String,
    /// Whether it may read the log.
    pub replication: bool,
    /// Whether it may log in.
    pub login: bool,
}

/// A transaction that has lasted long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldTransaction {
    /// Its server process.
    pub pid: u32,
    /// For how long, in seconds.
    pub seconds: u64,
    /// `active`, `idle in transaction`.
    pub state: String,
}

impl Connector {
    /// The place in PostgreSQL's log that it has committed, in bytes.
    pub fn committed_lsn(&self) -> Option<u64> {
        let place = self.committed.as_ref()?.seen()?;
        place.offset.get("lsn")?.as_u64()
    }
}

#[async_trait]
impl ServerFacts for Postgres {
    fn clock_ms(&self) -> Option<u64> {
        (self.server.clock_ms > 0).then_some(self.server.clock_ms)
    }

    fn log(&self, connector: &str, wanted: &Wanted) -> Option<Log> {
        let slot = self.slot_of(wanted);
        let lost = match (slot, wanted.slot.as_deref()) {
            (None, Some(name)) => Some(format!(
                "slot `{name}` of {connector} is gone: started, it would make a new one, which lacks the changes in between"
            )),
            (Some(found), Some(name)) if found.wal_status.as_deref() == Some("lost") => {
                Some(format!(
                    "slot `{name}` of {connector} is lost: PostgreSQL has removed the changes that it had not read"
                ))
            }
            (None | Some(_), None) | (Some(_), Some(_)) => None,
        };
        Some(Log {
            end: self.server.position,
            decoded: slot.and_then(|slot| slot.transactions),
            unread: slot.is_some_and(|slot| !slot.active || slot.untouched > Some(0)),
            lost,
        })
    }

    fn unread_s(&self, wanted: &Wanted) -> Option<u64> {
        self.slot_of(wanted)?.unread_s
    }

    /// Asks where the log ends, if a connector seems to be beyond it.
    async fn confirm(
        &mut self,
        env: &Environment,
        own: &Instance,
        connectors: &[Connector],
        limit: &Limit,
    ) {
        let own_connectors = connectors.iter().filter(|it| it.reads(&own.name));
        let beyond = own_connectors.filter_map(Connector::committed_lsn).max();
        if beyond <= self.server.position {
            return;
        }
        let position = async {
            let session = own.get::<PostgresSettings>()?.session(env).await.ok()?;
            let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint";
            session.value(sql).await.ok()??.parse().ok()
        };
        let position = limit.within(position).await;
        self.server.position = position.ok().flatten();
    }
}

#[async_trait]
impl Gather for Postgres {
    type Own = PostgresSettings;

    async fn ask(env: &Arc<Environment>, own: &PostgresSettings) -> Result<Self, String> {
        gather(env, own).await.map_err(|error| error.to_string())
    }
}

/// Asks the server over one session.
async fn gather(env: &Environment, own: &PostgresSettings) -> Result<Postgres> {
    let session = own.session(env).await.map_err(service)?;
    let connectors: Vec<&schema::Connector> = env.connectors(&own.name).map(|(_, it)| it).collect();
    let users: BTreeSet<String> = connectors.iter().map(|it| env.connector_user(it)).collect();
    let flows = env.profile.flows_of(&own.name);
    let tables: BTreeSet<&str> = flows.map(|(_, flow)| flow.table.as_str()).collect();
    let mut slots = slots::read(env, &session, "").await?;
    for slot in &mut slots {
        // A slot of the same name at another server is another one.
        let mut connectors = env.connectors(&own.name);
        let reads = connectors.find(|(_, it)| it.slot.as_deref() == Some(&slot.name));
        slot.connector = reads.map(|(name, _)| name.clone());
    }
    let server: Server = ask(&session, &server(&tables, &users)).await?;
    let unfit = own.unfit(env, &session).await?;
    let unfit = unfit.into_iter().map(|error| Unfit {
        cause: error.message,
        at: error.at.map(|at| at.to_string()),
        hint: error.hint,
    });
    Ok(Postgres {
        server,
        slots,
        unfit: unfit.collect(),
        lacks: own.lacks(env, &session).await?,
        holders: holders::of_slots(&session).await?,
    })
}

fn values<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(literal).collect();
    format!("ARRAY[{}]::text[]", names.join(", "))
}

/// One statement that gives a [`Server`] as JSON.
fn server(tables: &BTreeSet<&str>, users: &BTreeSet<String>) -> String {
    let tables = values(tables.iter().copied());
    let users = values(users.iter().map(String::as_str));
    format!(
        "WITH wanted AS (SELECT t AS name, (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                            WHERE n.nspname || '.' || c.relname = t) AS id FROM unnest({tables}) AS t), \
              roles AS (SELECT oid, rolname, rolreplication OR rolsuper AS replication, rolcanlogin \
                        FROM pg_roles WHERE rolname = ANY ({users})) \
         SELECT json_build_object( \
           'wal_level', current_setting('wal_level'), \
           'recovery', pg_is_in_recovery(), \
           'read_only', current_setting('default_transaction_read_only') = 'on', \
           'position', CASE WHEN NOT pg_is_in_recovery() \
                       THEN pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint END, \
           'clock_ms', (extract(epoch FROM clock_timestamp()) * 1000)::bigint, \
           'connections', json_build_array( \
              (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), \
              current_setting('max_connections')::int), \
           'slot_use', json_build_array( \
              (SELECT count(*) FROM pg_replication_slots), \
              current_setting('max_replication_slots')::int), \
           'tables', (SELECT coalesce(json_agg(json_build_object( \
              'name', w.name, 'exists', c.oid IS NOT NULL, 'identity', c.relreplident, \
              'key', EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary), \
              'unreadable', (SELECT coalesce(json_agg(r.rolname), '[]') FROM roles r \
                 WHERE c.oid IS NOT NULL AND NOT has_table_privilege(r.oid, c.oid, 'SELECT')))), '[]') \
              FROM wanted w LEFT JOIN pg_class c ON c.oid = w.id), \
           'publications', (SELECT coalesce(json_agg(json_build_object('name', p.pubname, 'tables', \
              (SELECT coalesce(json_agg(t.schemaname || '.' || t.tablename), '[]') \
               FROM pg_publication_tables t WHERE t.pubname = p.pubname))), '[]') \
              FROM pg_publication p), \
           'roles', (SELECT coalesce(json_agg(json_build_object('name', rolname, \
              'replication', replication, 'login', rolcanlogin)), '[]') FROM roles), \
           'old_transaction', (SELECT json_build_object('pid', pid, 'state', state, 'seconds', \
              extract(epoch FROM clock_timestamp() - xact_start)::bigint) FROM pg_stat_activity \
              WHERE backend_type = 'client backend' \
                AND clock_timestamp() - xact_start > interval '1 minute' \
              ORDER BY xact_start LIMIT 1))"
    )
}
