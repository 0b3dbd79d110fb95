//! What a server that the user runs lacks for its connectors, and that the tool cannot add itself: rights of a role
//! that it did not make, and what somebody else's publication would drop.
//!
//! A publication that is there is used as it is. Changes come under a table's own name only if
//! `pg_publication_tables` has that name: a partitioned table that is published without
//! `publish_via_partition_root` has its partitions' names there, and a partition whose table is published with it
//! has its table's. What is missing is reported at once, each with the statement that adds it, before anything is
//! made.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::settings::PostgresSettings;
use super::{ask, catalogue};
use crate::clients::postgres::{Postgres, ident, literal, table};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::flows::types::Kind;
use crate::profile::schema::Connector;

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lack {
    /// The connector that wants it.
    pub connector: String,
    /// What kind of thing.
    pub of: Of,
    /// What is wrong.
    pub cause: String,
    /// Who can change it.
    pub by: String,
    /// The statement that does.
    pub sql: String,
}

/// What something is missing of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// A role's rights.
    Role,
    /// A publication that is not there.
    Publication,
    /// A table in a publication.
    Table,
    /// What a publication sends of its tables.
    Sent,
}

impl Lack {
    /// What to do.
    pub fn hint(&self) -> String {
        format!("{}: {}", self.by, self.sql)
    }

    fn error(self) -> Error {
        let hint = self.hint();
        Error::new(Code::Drift, self.cause).hint(hint)
    }
}

/// What is missing, as errors.
pub(super) fn errors(lacks: Vec<Lack>) -> impl Iterator<Item = Error> {
    lacks.into_iter().map(Lack::error)
}

/// What a server looks like to the tool's session.
#[derive(Debug, Deserialize)]
struct Found {
    /// The session's role.
    me: String,
    database: String,
    /// Whether it may make publications.
    makes: bool,
    publications: BTreeMap<String, Publication>,
    tables: BTreeMap<String, Table>,
    roles: BTreeMap<String, Role>,
}

#[derive(Debug, Deserialize)]
struct Publication {
    all: bool,
    /// Whether the session may change it.
    owned: bool,
    via_root: bool,
    /// Of insert, update, delete, truncate.
    sends: BTreeSet<String>,
    /// The tables that it names.
    named: BTreeSet<String>,
    /// What it publishes, by the names under which changes come.
    published: BTreeMap<String, Published>,
}

#[derive(Debug, Default, Deserialize)]
struct Published {
    filter: Option<String>,
    /// Its columns; none where the server is too old to leave any out.
    columns: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Table {
    schema: String,
    partitioned: bool,
    /// The tables that it is a partition of.
    parents: BTreeSet<String>,
    /// Whether the session may publish it.
    owned: bool,
    /// Whether the session may write canaries into it.
    writable: bool,
    /// Stored generated columns.
    generated: Vec<String>,
    /// Roles that may not read it.
    unreadable: BTreeSet<String>,
    /// Roles that may not use its schema.
    closed: BTreeSet<String>,
    /// Roles from which row level security hides rows.
    hidden: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct Role {
    login: bool,
    replication: bool,
}

/// What a connector wants.
#[derive(Debug)]
struct Wants {
    connector: String,
    /// The role that it logs in as; none where the tool makes it and gives it its rights.
    role: Option<String>,
    publication: Option<String>,
    /// Whether the connector makes the publication itself.
    publishes: bool,
    tables: Vec<WantedTable>,
}

#[derive(Debug)]
struct WantedTable {
    flow: String,
    name: String,
    columns: Vec<String>,
    canary: bool,
}

/// What is missing at a server that the user runs.
///
/// # Errors
/// It does not answer.
pub(super) async fn look(
    own: &PostgresSettings,
    env: &Environment,
    session: &Postgres,
) -> Result<Vec<Lack>> {
    if own.external.is_none() || env.connectors(&own.name).next().is_none() {
        return Ok(Vec::new());
    }
    let columns = catalogue::kinds(own, env, session).await?;
    let wants: Vec<Wants> = env
        .connectors(&own.name)
        .map(|(name, connector)| wants(own, env, name, connector, &columns))
        .collect();
    let found: Found = ask(session, &query(&wants)).await?;
    Ok(judge(&found, &wants))
}

fn wants(
    own: &PostgresSettings,
    env: &Environment,
    name: &str,
    connector: &Connector,
    columns: &BTreeMap<String, Vec<(String, Kind)>>,
) -> Wants {
    let role = env.connector_user(connector);
    let is_made = env
        .profile
        .component(&own.name)
        .and_then(|it| env.own_connector_user(it))
        == Some(role.as_str());
    let mode = connector.config.get("publication.autocreate.mode");
    let flows = env.profile.flows_of(&own.name);
    let tables = flows
        .filter(|(_, flow)| flow.connector == name)
        .map(|(flow_name, flow)| {
            let all = columns.get(&flow.table).into_iter().flatten();
            let read = all.filter(|(column, kind)| {
                !matches!(kind, Kind::Unread(_))
                    && (flow.has_source_columns()
                        || flow.columns.contains_key(column)
                        || flow.key.contains(column))
            });
            WantedTable {
                flow: flow_name.clone(),
                name: flow.table.clone(),
                columns: read.map(|(column, _)| column.clone()).collect(),
                canary: flow.canary.is_some(),
            }
        });
    Wants {
        connector: name.to_owned(),
        role: (!is_made).then_some(role),
        publication: connector.publication.clone(),
        publishes: mode.is_some_and(|mode| mode != "disabled"),
        tables: tables.collect(),
    }
}

/// One statement that gives a [`Found`] as JSON. It takes no locks, and no right on the tables.
fn query(wants: &[Wants]) -> String {
    fn array<'a>(names: impl Iterator<Item = &'a str>) -> String {
        let names: BTreeSet<String> = names.map(literal).collect();
        let names: Vec<String> = names.into_iter().collect();
        format!("ARRAY[{}]::text[]", names.join(", "))
    }
    let roles = array(wants.iter().filter_map(|it| it.role.as_deref()));
    let publications = array(wants.iter().filter_map(|it| it.publication.as_deref()));
    let tables = wants.iter().flat_map(|it| &it.tables);
    let tables = array(tables.map(|it| it.name.as_str()));
    format!(
        "WITH RECURSIVE \
         named AS (SELECT n.nspname, n.nspname || '.' || c.relname AS name, c.* \
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace), \
         wanted AS (SELECT * FROM named WHERE name = ANY ({tables}) AND relkind IN ('r', 'p')), \
         parents AS (SELECT w.name, i.inhparent FROM wanted w JOIN pg_inherits i ON i.inhrelid = w.oid AND w.relispartition \
                     UNION SELECT p.name, i.inhparent FROM parents p JOIN pg_inherits i ON i.inhrelid = p.inhparent), \
         roles AS (SELECT r.*, r.rolreplication OR r.rolsuper OR EXISTS (SELECT FROM pg_roles g \
                      WHERE g.rolname = 'rds_replication' AND pg_has_role(r.oid, g.oid, 'MEMBER')) AS replicates \
                   FROM pg_roles r WHERE r.rolname = ANY ({roles})) \
         SELECT json_build_object('me', current_user, 'database', current_database(), \
           'makes', has_database_privilege(current_database(), 'CREATE'), \
           'publications', (SELECT coalesce(json_object_agg(p.pubname, json_build_object( \
              'all', p.puballtables, 'owned', pg_has_role(p.pubowner, 'USAGE'), 'via_root', p.pubviaroot, \
              'sends', to_json(array_remove(ARRAY[CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END, \
                 CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END], NULL)), \
              'named', (SELECT coalesce(json_agg(c.name), '[]') FROM pg_publication_rel r \
                 JOIN named c ON c.oid = r.prrelid WHERE r.prpubid = p.oid), \
              'published', (SELECT coalesce(json_object_agg(t.schemaname || '.' || t.tablename, json_build_object( \
                 'filter', to_jsonb(t) ->> 'rowfilter', 'columns', to_jsonb(t) -> 'attnames')), '{{}}') \
                 FROM pg_publication_tables t WHERE t.pubname = p.pubname))), '{{}}') \
              FROM pg_publication p WHERE p.pubname = ANY ({publications})), \
           'tables', (SELECT coalesce(json_object_agg(w.name, json_build_object( \
              'schema', w.nspname, 'partitioned', w.relkind = 'p', 'owned', pg_has_role(w.relowner, 'USAGE'), \
              'writable', has_schema_privilege(w.nspname, 'USAGE') AND has_table_privilege(w.oid, 'INSERT') \
                 AND has_table_privilege(w.oid, 'UPDATE') AND has_table_privilege(w.oid, 'DELETE'), \
              'parents', (SELECT coalesce(json_agg(c.name), '[]') FROM parents p JOIN named c ON c.oid = p.inhparent \
                 WHERE p.name = w.name), \
              'generated', (SELECT coalesce(json_agg(a.attname), '[]') FROM pg_attribute a \
                 WHERE a.attrelid = w.oid AND a.attgenerated = 's' AND NOT a.attisdropped), \
              'unreadable', (SELECT coalesce(json_agg(r.rolname), '[]') FROM roles r WHERE EXISTS (SELECT FROM pg_attribute a \
                 WHERE a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped \
                   AND NOT has_column_privilege(r.oid, w.oid, a.attnum, 'SELECT'))), \
              'closed', (SELECT coalesce(json_agg(r.rolname), '[]') FROM roles r \
                 WHERE NOT has_schema_privilege(r.oid, w.nspname, 'USAGE')), \
              'hidden', (SELECT coalesce(json_agg(r.rolname), '[]') FROM roles r WHERE w.relrowsecurity \
                 AND NOT (r.rolsuper OR r.rolbypassrls \
                          OR (pg_has_role(r.oid, w.relowner, 'USAGE') AND NOT w.relforcerowsecurity))))), '{{}}') FROM wanted w), \
           'roles', (SELECT coalesce(json_object_agg(rolname, json_build_object( \
              'login', rolcanlogin, 'replication', replicates)), '{{}}') FROM roles))"
    )
}

/// What is missing, each once.
fn judge(found: &Found, wants: &[Wants]) -> Vec<Lack> {
    let mut lacks: Vec<Lack> = Vec::new();
    for want in wants {
        let mut add = |of, cause: String, by: String, sql: String| {
            if lacks.iter().all(|it| it.sql != sql || it.cause != cause) {
                lacks.push(Lack {
                    connector: want.connector.clone(),
                    of,
                    cause,
                    by,
                    sql,
                });
            }
        };
        if let Some(role) = &want.role {
            rights(found, want, role, &mut add);
        }
        canaries(found, want, &mut add);
        if let Some(name) = &want.publication {
            published(found, want, name, &mut add);
        }
    }
    lacks
}

type Add<'a> = dyn FnMut(Of, String, String, String) + 'a;

const SUPERUSER: &str = "as a superuser";

/// What a role that the tool does not make needs.
fn rights(found: &Found, want: &Wants, role: &str, add: &mut Add<'_>) {
    let quoted = ident(role);
    let Some(it) = found.roles.get(role) else {
        let sql = format!("CREATE ROLE {quoted} LOGIN REPLICATION PASSWORD '...'");
        add(
            Of::Role,
            format!("there is no role {role}"),
            SUPERUSER.into(),
            sql,
        );
        return;
    };
    let words = [("LOGIN", it.login), ("REPLICATION", it.replication)];
    let words: Vec<&str> = words
        .iter()
        .filter(|(_, has)| !has)
        .map(|it| it.0)
        .collect();
    if !words.is_empty() {
        let words = words.join(" ");
        add(
            Of::Role,
            format!("role {role} lacks {words}"),
            SUPERUSER.into(),
            format!("ALTER ROLE {quoted} {words}"),
        );
    }
    for wanted in &want.tables {
        let Some(it) = found.tables.get(&wanted.name) else {
            continue;
        };
        let name = &wanted.name;
        let owner = format!("as the owner of {name}");
        if it.closed.contains(role) {
            add(
                Of::Role,
                format!("role {role} may not use schema {}", it.schema),
                format!("as the owner of schema {}", it.schema),
                format!("GRANT USAGE ON SCHEMA {} TO {quoted}", ident(&it.schema)),
            );
        }
        if it.unreadable.contains(role) {
            add(
                Of::Role,
                format!("role {role} may not read {name}"),
                owner,
                format!("GRANT SELECT ON {} TO {quoted}", table(name)),
            );
        }
        if it.hidden.contains(role) {
            add(
                Of::Role,
                format!("row level security of {name} hides rows from role {role}"),
                SUPERUSER.into(),
                format!("ALTER ROLE {quoted} BYPASSRLS"),
            );
        }
    }
}

/// A flow's canary is written by the tool's own role.
fn canaries(found: &Found, want: &Wants, add: &mut Add<'_>) {
    for wanted in want.tables.iter().filter(|it| it.canary) {
        let Some(it) = found.tables.get(&wanted.name) else {
            continue;
        };
        if !it.writable {
            let (name, flow) = (&wanted.name, &wanted.flow);
            add(
                Of::Role,
                format!(
                    "role {} may not write the canary of flow {flow} into {name}",
                    found.me
                ),
                format!("leave it out (`flows.{flow}.canary: ~`), or as the owner of {name}"),
                format!(
                    "GRANT INSERT, UPDATE, DELETE ON {} TO {}",
                    table(name),
                    ident(&found.me)
                ),
            );
        }
    }
}

/// What a publication needs.
fn published(found: &Found, want: &Wants, name: &str, add: &mut Add<'_>) {
    let quoted = ident(name);
    let known = || {
        let tables = want.tables.iter();
        tables.filter_map(|it| Some((it, found.tables.get(&it.name)?)))
    };
    let Some(it) = found.publications.get(name) else {
        let may = found.makes && known().all(|(_, table)| table.owned);
        if !may && !want.publishes {
            let tables: Vec<String> = known().map(|(it, _)| table(&it.name)).collect();
            let sql = format!(
                "CREATE PUBLICATION {quoted} FOR TABLE {} WITH (publish_via_partition_root = true)",
                tables.join(", ")
            );
            let cause = format!(
                "there is no publication {name}, and role {} may not make it",
                found.me
            );
            let by = format!(
                "as the tables' owner, with CREATE on database {}",
                found.database
            );
            add(Of::Publication, cause, by, sql);
        }
        return;
    };
    let by = format!("as the owner of publication {name}");
    let all = ["insert", "update", "delete", "truncate"];
    let silent: Vec<&str> = all
        .into_iter()
        .filter(|op| !it.sends.contains(*op))
        .collect();
    if !silent.is_empty() {
        add(
            Of::Sent,
            format!("publication {name} does not publish {}", silent.join(", ")),
            by.clone(),
            format!(
                "ALTER PUBLICATION {quoted} SET (publish = '{}')",
                all.join(", ")
            ),
        );
    }
    for (wanted, seen) in known() {
        let table_name = &wanted.name;
        let full = table(table_name);
        let again = || {
            format!(
                "BEGIN; ALTER PUBLICATION {quoted} DROP TABLE {full}; \
                 ALTER PUBLICATION {quoted} ADD TABLE {full}; COMMIT"
            )
        };
        let Some(sent) = it.published.get(table_name) else {
            let root = seen
                .parents
                .iter()
                .find(|parent| it.published.contains_key(*parent));
            if let (true, Some(root)) = (it.via_root, root) {
                add(
                    Of::Sent,
                    format!(
                        "changes of {table_name} come under the name of {root}, which publication {name} has with publish_via_partition_root"
                    ),
                    format!("name {root} in flow {}, or {by}", wanted.flow),
                    format!("ALTER PUBLICATION {quoted} SET (publish_via_partition_root = false)"),
                );
                continue;
            }
            let is_in = it.all || it.named.contains(table_name);
            if seen.partitioned && !it.via_root {
                // What is named there, or by its schema, comes under the partitions' names.
                add(
                    Of::Sent,
                    format!(
                        "publication {name} sends changes of {table_name} under its partitions' names, which no flow has"
                    ),
                    by.clone(),
                    format!("ALTER PUBLICATION {quoted} SET (publish_via_partition_root = true)"),
                );
            }
            let comes = is_in || want.publishes || (it.owned && seen.owned);
            if !comes {
                add(
                    Of::Table,
                    format!(
                        "publication {name} is without {table_name}, and role {} may not add it",
                        found.me
                    ),
                    format!("as the owner of publication {name} and of {table_name}"),
                    format!("ALTER PUBLICATION {quoted} ADD TABLE {full}"),
                );
            }
            continue;
        };
        if let Some(filter) = &sent.filter {
            add(
                Of::Sent,
                format!("publication {name} sends of {table_name} only rows with {filter}"),
                by.clone(),
                again(),
            );
        }
        let Some(columns) = &sent.columns else {
            continue;
        };
        let (generated, left): (Vec<&String>, Vec<&String>) = wanted
            .columns
            .iter()
            .filter(|column| !columns.contains(column))
            .partition(|column| seen.generated.contains(column));
        if !left.is_empty() {
            let left: Vec<&str> = left.into_iter().map(String::as_str).collect();
            add(
                Of::Sent,
                format!(
                    "publication {name} sends no {} of {table_name}, which flow {} wants",
                    left.join(", "),
                    wanted.flow
                ),
                format!("name other columns in flow {}, or {by}", wanted.flow),
                again(),
            );
        } else if let Some(first) = generated.first() {
            add(
                Of::Sent,
                format!(
                    "publication {name} sends no generated columns, such as {first} of {table_name}"
                ),
                by.clone(),
                format!("ALTER PUBLICATION {quoted} SET (publish_generated_columns = stored)"),
            );
        }
    }
}

#[cfg(test)]
mod tests;
