//! The statements that [`super`] asks and runs, as pure functions of what was found.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::clients::postgres::{ident, literal, table};
use crate::components::postgres::catalogue::SENDS_GENERATED;

/// Whose server it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    /// The tool runs it: nobody else's rights are there to be kept.
    pub(super) is_ours: bool,
    /// An operator makes its users.
    pub(super) is_operated: bool,
}

/// What the connectors' user is and may.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Found {
    /// Attributes by the keyword that gives them, of those that it has.
    attributes: BTreeSet<String>,
    /// The captured tables that are there.
    tables: Vec<Table>,
    /// Other relations on which it was given rights, of those whose owner may take them.
    others: Vec<String>,
    /// Schemas of the captured tables that it may not use.
    closed: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Table {
    name: String,
    readable: bool,
    /// Rights beside SELECT that it was given on it.
    #[serde(default)]
    more: bool,
    row_security: bool,
}

/// A statement, and what it does, for people.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) sql: String,
    pub(super) says: String,
}

impl Change {
    fn new(sql: String, says: String) -> Self {
        Change { sql, says }
    }
}

pub(super) fn role_exists(user: &str) -> String {
    format!("SELECT 1 FROM pg_roles WHERE rolname = {}", literal(user))
}

/// Makes the user, or gives the one that is there its password.
pub(super) fn login(user: &str, exists: bool, replicates: bool, verifier: &str) -> String {
    let (user, verifier) = (ident(user), literal(verifier));
    match (exists, replicates) {
        (true, _) => format!("ALTER ROLE {user} LOGIN PASSWORD {verifier}"),
        (false, true) => format!("CREATE ROLE {user} LOGIN REPLICATION PASSWORD {verifier}"),
        (false, false) => format!("CREATE ROLE {user} LOGIN PASSWORD {verifier}"),
    }
}

fn values(names: &BTreeSet<String>) -> String {
    let names: Vec<String> = names.iter().map(|name| literal(name)).collect();
    format!("ARRAY[{}]::text[]", names.join(", "))
}

/// One statement that gives a [`Found`] as JSON.
pub(super) fn found(user: &str, tables: &BTreeSet<String>) -> String {
    let (user, tables) = (literal(user), values(tables));
    format!(
        "WITH me AS (SELECT * FROM pg_roles WHERE rolname = {user}), \
              wanted AS (SELECT c.oid, c.relacl, c.relrowsecurity, n.nspname, n.nspname || '.' || c.relname AS name \
                         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                         WHERE n.nspname || '.' || c.relname = ANY ({tables}) AND c.relkind IN ('r', 'p')) \
         SELECT json_build_object( \
           'attributes', (SELECT coalesce(json_agg(a.name), '[]') FROM me, \
              LATERAL (VALUES ('LOGIN', rolcanlogin), ('REPLICATION', rolreplication), ('SUPERUSER', rolsuper), \
                 ('CREATEDB', rolcreatedb), ('CREATEROLE', rolcreaterole), ('BYPASSRLS', rolbypassrls)) \
              AS a (name, has) WHERE a.has), \
           'tables', (SELECT coalesce(json_agg(json_build_object('name', w.name, \
              'readable', has_table_privilege(me.oid, w.oid, 'SELECT'), \
              'more', EXISTS (SELECT FROM aclexplode(w.relacl) a \
                              WHERE a.grantee = me.oid AND a.privilege_type <> 'SELECT'), \
              'row_security', w.relrowsecurity) ORDER BY w.name), '[]') FROM wanted w, me), \
           'others', (SELECT coalesce(json_agg(n.nspname || '.' || c.relname ORDER BY 1), '[]') \
              FROM me, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
              WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_has_role(c.relowner, 'USAGE') \
                AND EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = me.oid) \
                AND c.oid NOT IN (SELECT oid FROM wanted)), \
           'closed', (SELECT coalesce(json_agg(DISTINCT w.nspname), '[]') FROM wanted w, me \
              WHERE NOT has_schema_privilege(me.oid, w.nspname, 'USAGE')))"
    )
}

/// The attributes that the user shall have, and those that it shall not.
/// Whether the user may make tables where sinks write them.
pub(super) fn may_write(user: &str) -> String {
    let user = literal(user);
    // Of several privileges that are named together any one would do.
    format!(
        "SELECT (has_schema_privilege({user}, 'public', 'USAGE') \
         AND has_schema_privilege({user}, 'public', 'CREATE'))::text"
    )
}

/// Lets the user make tables there, which are its own.
pub(super) fn let_write(user: &str) -> Change {
    Change::new(
        format!("GRANT USAGE, CREATE ON SCHEMA public TO {}", ident(user)),
        format!("{user} may make tables in schema public"),
    )
}

const NEEDED: [&str; 2] = ["LOGIN", "REPLICATION"];
const EXCESS: [&str; 3] = ["SUPERUSER", "CREATEDB", "CREATEROLE"];

/// A table of which the user would silently read a part, where the tool cannot change that itself.
pub(super) fn unseen(found: &Found, server: Server) -> Option<&str> {
    let sees_all = ["SUPERUSER", "BYPASSRLS"]
        .iter()
        .any(|attribute| found.attributes.contains(*attribute));
    if sees_all || (server.is_ours && !server.is_operated) {
        return None;
    }
    let table = found.tables.iter().find(|table| table.row_security)?;
    Some(&table.name)
}

/// What gives the user the rights that it lacks, and takes those that it shall not have.
pub(super) fn rights(user: &str, found: &Found, server: Server) -> Vec<Change> {
    let role = ident(user);
    let mut changes = Vec::new();
    if !server.is_operated {
        let lacks = |name: &&str| !found.attributes.contains(*name);
        let mut words: Vec<String> = NEEDED
            .iter()
            .filter(|it| lacks(it))
            .map(|it| (*it).to_owned())
            .collect();
        if server.is_ours {
            // It can read everything by its replication right: the policies protect nothing from it, and
            // a snapshot without these rows would be a wrong one.
            let secured = found.tables.iter().any(|table| table.row_security);
            words.extend((secured && lacks(&"BYPASSRLS")).then(|| "BYPASSRLS".to_owned()));
            let excess = EXCESS.iter().filter(|it| !lacks(it));
            words.extend(excess.map(|it| format!("NO{it}")));
        }
        if !words.is_empty() {
            let words = words.join(" ");
            changes.push(Change::new(
                format!("ALTER ROLE {role} {words}"),
                format!("{user}: {words}"),
            ));
        }
    }
    for schema in &found.closed {
        changes.push(Change::new(
            format!("GRANT USAGE ON SCHEMA {} TO {role}", ident(schema)),
            format!("{user} may use schema {schema}"),
        ));
    }
    let take = |name: &str| {
        Change::new(
            format!("REVOKE ALL ON {} FROM {role}", table(name)),
            format!("{user} has no more rights on {name}"),
        )
    };
    if server.is_ours {
        changes.extend(found.others.iter().map(|name| take(name)));
    }
    for it in &found.tables {
        let more = server.is_ours && it.more;
        if more {
            changes.push(take(&it.name));
        }
        if more || !it.readable {
            changes.push(Change::new(
                format!("GRANT SELECT ON {} TO {role}", table(&it.name)),
                format!("{user} may read {}", it.name),
            ));
        }
    }
    changes
}

/// A publication.
#[derive(Debug, Deserialize)]
pub(super) struct Publication {
    /// FOR ALL TABLES.
    all: bool,
    /// Whether it publishes as [`options`] say.
    whole: bool,
    /// The tables that it names.
    named: BTreeSet<String>,
    /// What it publishes: these, their partitions, and everything in the schemas that it names.
    published: BTreeSet<String>,
}

/// One statement that gives a [`Publication`] as JSON; nothing if there is none.
pub(super) fn publication(name: &str) -> String {
    format!(
        "SELECT json_build_object('all', p.puballtables, 'whole', p.pubviaroot AND coalesce(to_jsonb(p)->>'pubgencols', 's') = 's', \
           'named', (SELECT coalesce(json_agg(n.nspname || '.' || c.relname), '[]') \
              FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid \
              JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.prpubid = p.oid), \
           'published', (SELECT coalesce(json_agg(t.schemaname || '.' || t.tablename), '[]') \
              FROM pg_publication_tables t WHERE t.pubname = p.pubname)) \
         FROM pg_publication p WHERE p.pubname = {}",
        literal(name)
    )
}

/// The comment on a publication that the tool made at a server of the user's own.
const MADE: &str = "made by cargo xtask";

/// One statement that gives a row if this tool made the publication.
pub(super) fn is_made(name: &str) -> String {
    format!(
        "SELECT pubname FROM pg_publication WHERE pubname = {} AND obj_description(oid, 'pg_publication') = {}",
        literal(name),
        literal(MADE)
    )
}

/// Whether the server sends generated columns: it does not know the option before 18.
pub(super) fn sends_generated() -> String {
    format!("SELECT to_json(current_setting('server_version_num')::int >= {SENDS_GENERATED})")
}

/// How a publication sends changes: those of a partition as its table's, since no flow has the partition's name; and
/// generated columns, without which the application could not update a table whose replica identity is FULL.
fn options(sends_generated: bool) -> &'static str {
    match sends_generated {
        true => "publish_via_partition_root = true, publish_generated_columns = stored",
        false => "publish_via_partition_root = true",
    }
}

/// What has a publication hold the tables: exactly those on the tool's own server, at least those on
/// another. One FOR ALL TABLES is left as it is.
pub(super) fn publish(
    name: &str,
    wanted: &BTreeSet<String>,
    found: Option<Publication>,
    is_ours: bool,
    sends_generated: bool,
) -> Vec<Change> {
    let quoted = ident(name);
    let list = |names: &[&String]| {
        let tables: Vec<String> = names.iter().map(|name| table(name)).collect();
        tables.join(", ")
    };
    let says = |names: &[&String]| {
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        names.join(", ")
    };
    let Some(found) = found else {
        let all: Vec<&String> = wanted.iter().collect();
        let tables = match all.as_slice() {
            [] => String::new(),
            all => format!(" FOR TABLE {}", list(all)),
        };
        // So that it is known for the tool's where others make some too.
        let comment = match is_ours {
            true => String::new(),
            false => format!("; COMMENT ON PUBLICATION {quoted} IS {}", literal(MADE)),
        };
        return vec![Change::new(
            format!(
                "CREATE PUBLICATION {quoted}{tables} WITH ({}){comment}",
                options(sends_generated)
            ),
            format!("made publication {name} of {}", says(&all)),
        )];
    };
    if found.all {
        return Vec::new();
    }
    let whole = (is_ours && !found.whole).then(|| {
        Change::new(
            format!(
                "ALTER PUBLICATION {quoted} SET ({})",
                options(sends_generated)
            ),
            format!("{name} publishes partitions as their tables"),
        )
    });
    let is_in = |name: &String| found.named.contains(name) || found.published.contains(name);
    let new: Vec<&String> = wanted.iter().filter(|name| !is_in(name)).collect();
    let old: Vec<&String> = found.named.difference(wanted).collect();
    let mut changes: Vec<Change> = whole.into_iter().collect();
    if !new.is_empty() {
        changes.push(Change::new(
            format!("ALTER PUBLICATION {quoted} ADD TABLE {}", list(&new)),
            format!("{name} publishes {}", says(&new)),
        ));
    }
    if is_ours && !old.is_empty() {
        changes.push(Change::new(
            format!("ALTER PUBLICATION {quoted} DROP TABLE {}", list(&old)),
            format!("{name} no longer publishes {}", says(&old)),
        ));
    }
    changes
}

#[cfg(test)]
mod tests;
