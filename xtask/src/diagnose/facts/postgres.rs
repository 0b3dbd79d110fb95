//! The relational source.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Facts, Known, Postgres, Server};
use crate::clients::postgres::literal;
use crate::components::postgres::settings::PostgresSettings;
use crate::components::postgres::slots;
use crate::components::service;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::profile::schema::Connector;
use crate::wait::Limit;

/// Asks the server, in two statements over one session.
pub(super) async fn gather(env: &Arc<Environment>, own: &PostgresSettings) -> Result<Postgres> {
    let session = own.session(env).await.map_err(|error| service(&error))?;
    let connectors: Vec<&Connector> = env.connectors(&own.name).map(|(_, it)| it).collect();
    let users: BTreeSet<String> = connectors.iter().map(|it| env.connector_user(it)).collect();
    let flows = env.profile.flows_of(&own.name);
    let tables: BTreeSet<&str> = flows.map(|(_, flow)| flow.table.as_str()).collect();
    let slots = slots::read(env, &session, "").await?;
    let answer = session.value(&server(&tables, &users)).await;
    let text = answer.map_err(|error| service(&error))?;
    let server: Server = serde_json::from_str(text.as_deref().unwrap_or("null"))
        .map_err(|error| Error::new(Code::Service, format!("PostgreSQL's answer: {error}")))?;
    Ok(Postgres { server, slots })
}

/// Asks once more where the log ends, if a connector seems to be beyond it: its place was asked for at
/// the same time.
pub(super) async fn confirm(env: &Environment, facts: &mut Facts, limit: &Limit) {
    let beyond = facts
        .connectors
        .iter()
        .filter_map(|it| it.committed_lsn())
        .max();
    let Some(Known::Seen(postgres)) = &mut facts.postgres else {
        return;
    };
    if beyond <= postgres.server.position {
        return;
    }
    let position = async {
        let own = env.profile.first::<PostgresSettings>()?;
        let session = own.session(env).await.ok()?;
        let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint";
        session.value(sql).await.ok()??.parse().ok()
    };
    let position = limit.within(position).await;
    postgres.server.position = position.ok().flatten();
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
        "WITH wanted AS (SELECT t AS name, to_regclass(t) AS id FROM unnest({tables}) AS t), \
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
