//! What PostgreSQL's catalogue says of a flow's table: its columns as Debezium's connector writes them, and
//! whether log decoding carries its changes at all.
//!
//! What it does not carry is refused before anything is published or made. The key of a flow must be that of the
//! table's messages, which is the primary key, or the columns of `REPLICA IDENTITY USING INDEX` without one: an
//! update of any other key leaves the old row, and a delete has no other columns. A table that publishes updates
//! without an identity makes the application's own UPDATE fail.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::ask;
use super::settings::PostgresSettings;
use crate::clients::postgres::{Postgres, literal, table};
use crate::components::columns::{self, unfit};
use crate::components::source::CanaryKey;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::flows::types::{Column, Kind, LEFT_OUT};
use crate::profile::schema::{Flow, Keep};

/// The first version that publishes stored generated columns, as a number.
pub(super) const SENDS_GENERATED: u32 = 180_000;

/// A table, or another relation of its name.
#[derive(Debug, Deserialize)]
pub(super) struct Relation {
    /// The server's version as a number.
    server: u32,
    /// `pg_class.relkind`.
    kind: char,
    /// `pg_class.relpersistence`.
    persistence: char,
    /// `pg_class.relreplident`.
    pub(super) identity: char,
    /// The primary key's columns; none without one.
    pub(super) primary: Vec<String>,
    /// The columns of the index that is the replica identity; none without one.
    identified: Vec<String>,
    pub(super) columns: Vec<Attribute>,
    /// Its partitions whose changes are not in this server's log, with their schemas, and whether each is foreign.
    unsent: Vec<(String, bool)>,
    /// The tables that inherit from it and are no partitions.
    heirs: Vec<String>,
}

/// A column.
#[derive(Debug, Deserialize)]
pub(super) struct Attribute {
    pub(super) name: String,
    /// Its type as people write it.
    written: String,
    /// The name of its type, of a domain that of the type behind it.
    base: String,
    /// `pg_type.typtype` of that.
    class: char,
    /// The type of an array's elements; none of another type.
    element: Option<String>,
    /// The type's modifier; -1 without one.
    modifier: i32,
    nullable: bool,
    /// `pg_attribute.attgenerated`.
    generated: String,
    /// Whether a row that does not name it has a value for it.
    filled: bool,
}

/// One statement that gives for each of these tables its [`Relation`] as JSON, or null if there is none. It takes no
/// right on them, not even on their schema, as `to_regclass` does.
fn query(tables: &BTreeSet<&str>) -> String {
    let wanted = tables.iter().map(|name| {
        let (schema, own) = name.split_once('.').unwrap_or(("public", name));
        format!("({}, {}, {})", literal(name), literal(schema), literal(own))
    });
    let wanted = wanted.collect::<Vec<_>>().join(", ");
    let key = |index: &str| {
        format!(
            "(SELECT coalesce(json_agg(a.attname ORDER BY a.attnum), '[]') FROM pg_index i \
              JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey) \
              WHERE i.indrelid = c.oid AND i.{index})"
        )
    };
    let (primary, identified) = (key("indisprimary"), key("indisreplident"));
    format!(
        "SELECT json_object_agg(wanted.name, (\
         WITH RECURSIVE c AS (SELECT c.* FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                              WHERE n.nspname = wanted.schema AND c.relname = wanted.own), \
           base AS (SELECT a.attnum, a.atttypid AS oid, a.atttypmod AS modifier \
                    FROM c JOIN pg_attribute a ON a.attrelid = c.oid WHERE a.attnum > 0 AND NOT a.attisdropped \
                    UNION ALL SELECT b.attnum, t.typbasetype, t.typtypmod \
                    FROM base b JOIN pg_type t ON t.oid = b.oid WHERE t.typtype = 'd') \
         SELECT json_build_object('server', current_setting('server_version_num')::int, \
           'kind', c.relkind, 'persistence', c.relpersistence, 'identity', c.relreplident, \
           'primary', {primary}, 'identified', {identified}, \
           'unsent', (SELECT coalesce(json_agg(json_build_array(n.nspname || '.' || l.relname, l.relkind = 'f') ORDER BY l.relname), '[]') \
              FROM pg_partition_tree(c.oid) p JOIN pg_class l ON l.oid = p.relid JOIN pg_namespace n ON n.oid = l.relnamespace \
              WHERE c.relkind = 'p' AND p.isleaf AND (l.relpersistence <> 'p' OR l.relkind = 'f')), \
           'heirs', (SELECT coalesce(json_agg(n.nspname || '.' || l.relname ORDER BY l.relname), '[]') \
              FROM pg_inherits i JOIN pg_class l ON l.oid = i.inhrelid JOIN pg_namespace n ON n.oid = l.relnamespace \
              WHERE i.inhparent = c.oid AND c.relkind = 'r'), \
           'columns', (SELECT coalesce(json_agg(json_build_object('name', a.attname, \
              'written', format_type(a.atttypid, a.atttypmod), 'base', t.typname, 'class', t.typtype, \
              'element', (SELECT e.typname FROM pg_type e WHERE e.oid = t.typelem AND t.typcategory = 'A'), \
              'modifier', b.modifier, 'nullable', NOT a.attnotnull, 'generated', a.attgenerated, 'filled', a.atthasdef OR a.attidentity <> '') \
              ORDER BY a.attnum), '[]') \
              FROM base b JOIN pg_type t ON t.oid = b.oid \
              JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = b.attnum WHERE t.typtype <> 'd')) FROM c)) \
         FROM (VALUES {wanted}) AS wanted (name, schema, own)"
    )
}

impl Attribute {
    /// What it may hold.
    fn kind(&self, sends_generated: bool) -> Kind {
        match self.generated.as_str() {
            "" => {}
            "s" if sends_generated => {}
            "s" => return Kind::Unread("PostgreSQL before 18 sends no generated columns"),
            _ => return Kind::Unread("PostgreSQL sends no virtual columns"),
        }
        if let Some(element) = &self.element {
            return match kind(element, 'b', -1) {
                Kind::Unread(_) | Kind::Span => Kind::Unread(LEFT_OUT),
                _ => Kind::Json,
            };
        }
        kind(&self.base, self.class, self.modifier)
    }
}

/// What a type may hold. `class` and `modifier` are `typtype` and `atttypmod`.
fn kind(name: &str, class: char, modifier: i32) -> Kind {
    let digits = u32::try_from(modifier).ok().filter(|digits| *digits <= 6);
    let digits = digits.unwrap_or(6);
    match (class, name) {
        ('e', _) => Kind::Text,
        ('r', "int4range" | "int8range" | "numrange" | "tsrange" | "tstzrange" | "daterange") => {
            Kind::Text
        }
        (_, "bool") => Kind::Bool,
        (_, "int2") => Kind::Integer {
            bits: 16,
            signed: true,
        },
        (_, "int4") => Kind::Integer {
            bits: 32,
            signed: true,
        },
        (_, "int8" | "oid") => Kind::Integer {
            bits: 64,
            signed: true,
        },
        (_, "float4") => Kind::Float { bits: 32 },
        (_, "float8") => Kind::Float { bits: 64 },
        (_, "numeric") => Kind::Decimal {
            digits: decimal(modifier),
        },
        (_, "money") => Kind::Decimal {
            digits: Some((19, 2)),
        },
        (
            _,
            "text" | "varchar" | "bpchar" | "char" | "citext" | "xml" | "inet" | "cidr" | "macaddr"
            | "macaddr8" | "ltree" | "timetz",
        ) => Kind::Text,
        (_, "uuid") => Kind::Uuid,
        (_, "json" | "jsonb" | "hstore" | "point" | "geometry" | "geography") => Kind::Json,
        (_, "bytea" | "varbit") => Kind::Bytes,
        (_, "bit") if modifier == 1 => Kind::Bool,
        (_, "bit") => Kind::Bytes,
        (_, "date") => Kind::Date,
        (_, "timestamp") => Kind::LocalTime { digits },
        (_, "timestamptz") => Kind::Instant { digits },
        (_, "time" | "interval") => Kind::Span,
        _ => Kind::Unread(LEFT_OUT),
    }
}

/// The digits of `numeric(p, s)`, and those behind the point; none without a modifier.
fn decimal(modifier: i32) -> Option<(u32, u32)> {
    let packed = u32::try_from(modifier.checked_sub(4)?).ok()?;
    let precision = packed >> 16;
    // Eleven bits with a sign: a negative scale has zeros before the point.
    match packed & 0x7ff {
        scale @ ..0x400 => Some((precision.max(scale), scale)),
        scale => Some((precision + (0x800 - scale), 0)),
    }
}

/// What is called as these tables, by their names.
pub(super) async fn relations<'a>(
    session: &Postgres,
    tables: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<String, Option<Relation>>> {
    let tables: BTreeSet<&str> = tables.collect();
    match tables.is_empty() {
        true => Ok(BTreeMap::new()),
        false => ask(session, &query(&tables)).await,
    }
}

/// The columns of a flow's table; none if there is none.
///
/// # Errors
/// The server does not answer.
pub(super) async fn columns(session: &Postgres, flow: &Flow) -> Result<Vec<Column>> {
    let found = relations(session, [flow.table.as_str()].into_iter()).await?;
    let relation = found.into_values().next().flatten();
    Ok(relation.map(|it| it.columns()).unwrap_or_default())
}

/// A column with the name of its type: of a domain that of the type behind it, of an array that of its elements.
pub(super) struct Typed {
    pub(super) column: Column,
    pub(super) base: String,
    pub(super) element: Option<String>,
}

/// The columns of a table with their types; none if there is none.
///
/// # Errors
/// The server does not answer.
pub(super) async fn typed(session: &Postgres, table: &str) -> Result<Vec<Typed>> {
    let found = relations(session, [table].into_iter()).await?;
    let Some(relation) = found.into_values().next().flatten() else {
        return Ok(Vec::new());
    };
    let columns = relation.columns().into_iter().zip(relation.columns);
    let typed = columns.map(|(column, it)| Typed {
        column,
        base: it.base,
        element: it.element,
    });
    Ok(typed.collect())
}

/// The columns of the flows' tables with what they may hold, by the tables' names.
///
/// # Errors
/// The server does not answer.
pub(super) async fn kinds(
    own: &PostgresSettings,
    env: &Environment,
    session: &Postgres,
) -> Result<BTreeMap<String, Vec<(String, Kind)>>> {
    let flows = env.profile.flows_of(&own.name);
    let found = relations(session, flows.map(|(_, flow)| flow.table.as_str())).await?;
    let found = found.into_iter().filter_map(|(name, it)| Some((name, it?)));
    let kinds = |it: &Relation| {
        it.columns()
            .into_iter()
            .map(|it| (it.name, it.kind))
            .collect()
    };
    Ok(found.map(|(name, it)| (name, kinds(&it))).collect())
}

/// What is wrong with the flows that read a server's tables.
///
/// # Errors
/// The server does not answer.
pub(super) async fn check(
    own: &PostgresSettings,
    env: &Environment,
    session: &Postgres,
) -> Result<Vec<Error>> {
    let flows = || env.profile.flows_of(&own.name);
    let found = relations(session, flows().map(|(_, flow)| flow.table.as_str())).await?;
    let mut wrong = Vec::new();
    for (name, flow) in flows() {
        let relation = found.get(&flow.table).and_then(Option::as_ref);
        let before = wrong.len();
        if let Some(relation) = relation {
            wrong.extend(relation.uncarried(env, name, flow));
            wrong.extend(relation.uninserted(env, name, flow));
        }
        if before == wrong.len() {
            let columns = relation.map(Relation::columns).unwrap_or_default();
            wrong.extend(columns::check(env, name, flow, &columns, &own.name));
        }
    }
    Ok(wrong)
}

impl Relation {
    fn columns(&self) -> Vec<Column> {
        let sends_generated = self.server >= SENDS_GENERATED;
        let column = |it: &Attribute| Column {
            name: it.name.clone(),
            written: it.written.clone(),
            kind: it.kind(sends_generated),
            is_nullable: it.nullable,
            is_key: self.primary.contains(&it.name),
            is_filled: it.filled,
        };
        self.columns.iter().map(column).collect()
    }

    /// Why a canary could not be inserted; none if it can.
    fn uninserted(&self, env: &Environment, name: &str, flow: &Flow) -> Option<Error> {
        let canary = flow.canary.as_ref()?;
        let at = |path: &[&str], what: String| {
            let path = [&["canary"], path].concat();
            unfit(env, name, &path, &format!("its canary {what}"))
        };
        let of = |column: &str| self.columns.iter().find(|it| it.name == column);
        let key = flow.key.first().and_then(|key| of(key));
        let kind = |it: &Attribute| it.kind(self.server >= SENDS_GENERATED);
        if let Some(key) = key.filter(|it| !CanaryKey::fits(kind(it))) {
            let what = format!("has no key: `{}` is {}", key.name, key.written);
            return Some(at(&[], what).hint(
                "leave `canary` out, or have the key begin with an integer of 32 bits or more, a text or a uuid",
            ));
        }
        if let Some(unknown) = canary.keys().find(|column| of(column).is_none()) {
            let what = format!("names `{unknown}`, which {} does not have", flow.table);
            let error = at(&[unknown], what);
            let names = self.columns.iter().map(|it| it.name.as_str());
            return Some(error.meant(unknown, names, "leave it out"));
        }
        let lacking = self.columns.iter().find(|it| {
            let given = canary.contains_key(&it.name) || flow.key.first() == Some(&it.name);
            !it.nullable && !it.filled && !given
        })?;
        let what = format!(
            "lacks `{}`, which {} wants in every row",
            lacking.name, flow.table
        );
        Some(at(&[], what).hint(format!("add it: `{}: ...`", lacking.name)))
    }

    /// Why PostgreSQL's log does not have the changes of this table, with what helps; none if it does.
    pub(super) fn unlogged(&self, name: &str) -> Option<(String, String)> {
        let quoted = table(name);
        let no_table = match (self.kind, self.persistence) {
            ('r' | 'p', 'p') => None,
            ('r' | 'p', 'u') => Some((
                "is unlogged: its changes are not in PostgreSQL's log",
                format!("as its owner: ALTER TABLE {quoted} SET LOGGED"),
            )),
            ('r' | 'p', _) => Some((
                "is temporary: its changes are not in PostgreSQL's log",
                "name a table that stays".to_owned(),
            )),
            (kind, _) => Some((
                match kind {
                    'v' => "is a view, which has no changes of its own",
                    'm' => "is a materialized view, whose changes PostgreSQL does not send",
                    'f' => "is a foreign table, whose changes are not in this server's log",
                    _ => "is no table",
                },
                "name the tables that its rows come from".to_owned(),
            )),
        };
        if let Some((why, hint)) = no_table {
            return Some((format!("{name} {why}"), hint));
        }
        let (partition, is_foreign) = self.unsent.first()?;
        let (why, hint) = match is_foreign {
            true => (
                "is a foreign table",
                format!(
                    "as its owner: ALTER TABLE {quoted} DETACH PARTITION {}",
                    table(partition)
                ),
            ),
            false => (
                "is unlogged",
                format!("as its owner: ALTER TABLE {} SET LOGGED", table(partition)),
            ),
        };
        let what = format!(
            "{partition}, a partition of {name}, {why}: its changes are not in this server's log"
        );
        Some((what, hint))
    }

    /// Why log decoding does not carry the flow; none if it does.
    fn uncarried(&self, env: &Environment, name: &str, flow: &Flow) -> Option<Error> {
        let quoted = table(&flow.table);
        let at = |key: &str, what: String| unfit(env, name, &[key], &what);
        if let Some((what, hint)) = self.unlogged(&flow.table) {
            return Some(at("table", what).hint(hint));
        }
        if !self.heirs.is_empty() {
            let what = format!(
                "tables inherit from {}: a snapshot of it has their rows, and their changes come under their own names: {}",
                flow.table,
                self.heirs.join(", ")
            );
            let hint = "name a table that none inherits from, or make it a partitioned one";
            return Some(at("table", what).hint(hint));
        }
        let names = || self.columns.iter().map(|it| it.name.as_str());
        if let Some(unknown) = flow.key.iter().find(|key| names().all(|it| it != *key)) {
            let what = format!("{} has no column `{unknown}`", flow.table);
            let error = at("key", what);
            return Some(error.meant(unknown, names(), "name the columns of its primary key"));
        }
        let full = format!("ALTER TABLE {quoted} REPLICA IDENTITY FULL");
        let same = |columns: &[String]| {
            columns.len() == flow.key.len() && flow.key.iter().all(|it| columns.contains(it))
        };
        let message_key = match self.primary.is_empty() {
            true => &self.identified,
            false => &self.primary,
        };
        if flow.keep == Keep::Latest && message_key.is_empty() {
            let what = format!(
                "{} has no primary key, so its rows cannot be told apart",
                flow.table
            );
            return Some(at("keep", what).hint(format!(
                "give it one, or as its owner: {full}; and `keep: every` in the flow"
            )));
        }
        if flow.keep == Keep::Latest && !same(message_key) {
            let what = format!(
                "the key of {} is {}: by another one, updates of it would leave old rows",
                flow.table,
                message_key.join(", ")
            );
            let hint = format!("use `key: [{}]`", message_key.join(", "));
            return Some(at("key", what).hint(hint));
        }
        let is_virtual = |it: &&Attribute| it.generated == "v";
        if let (Some(column), 'f') = (self.columns.iter().find(is_virtual), self.identity) {
            let what = format!(
                "{} has the virtual column `{}`, which no publication has, and REPLICA IDENTITY FULL: \
                 once it is published, its UPDATE and DELETE fail",
                flow.table, column.name
            );
            let hint = format!("as its owner: ALTER TABLE {quoted} REPLICA IDENTITY DEFAULT");
            return Some(at("table", what).hint(hint));
        }
        // What a delete has of its row.
        let kept = match self.identity {
            'f' => return None,
            'i' => &self.identified,
            'n' => &Vec::new(),
            _ => &self.primary,
        };
        if !kept.is_empty() && flow.key.iter().all(|it| kept.contains(it)) {
            return None;
        }
        let what = match kept.is_empty() {
            true => format!(
                "{} has no replica identity: once it is published, its UPDATE and DELETE fail",
                flow.table
            ),
            false => format!(
                "the replica identity of {} is {}: deletes would have no {}",
                flow.table,
                kept.join(", "),
                flow.key.join(", ")
            ),
        };
        // The table is locked for a moment, and waits for whoever uses it.
        Some(at("table", what).hint(format!("as its owner: SET lock_timeout = '5s'; {full}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::clickhouse::types::suited;

    #[test]
    fn types_hold_what_debezium_writes() {
        let timestamp = kind("timestamp", 'b', 3);
        assert_eq!(timestamp, Kind::LocalTime { digits: 3 });
        assert_eq!(kind("timestamptz", 'b', -1), Kind::Instant { digits: 6 });
        assert_eq!(kind("mood", 'e', -1), Kind::Text);
        assert_eq!(kind("pair", 'c', -1), Kind::Unread(LEFT_OUT));
        assert_eq!(kind("bit", 'b', 1), Kind::Bool);
    }

    /// The page of profiles says of each type what becomes of it.
    #[test]
    fn the_table_of_types_is_as_the_page_has_it() {
        const TYPES: [(&str, &str, char, i32); 24] = [
            ("boolean, bit(1)", "bool", 'b', -1),
            ("smallint", "int2", 'b', -1),
            ("integer", "int4", 'b', -1),
            ("bigint, oid", "int8", 'b', -1),
            ("real", "float4", 'b', -1),
            ("double precision", "float8", 'b', -1),
            ("numeric(18, 4)", "numeric", 'b', (18 << 16) + 4 + 4),
            ("numeric", "numeric", 'b', -1),
            ("money", "money", 'b', -1),
            ("text, varchar, char, citext, xml", "text", 'b', -1),
            ("an enum", "mood", 'e', -1),
            ("inet, cidr, macaddr, ltree", "inet", 'b', -1),
            ("int4range and other ranges", "int4range", 'r', -1),
            ("uuid", "uuid", 'b', -1),
            ("json, jsonb, hstore, point", "jsonb", 'b', -1),
            ("bytea, bit(n), varbit", "bytea", 'b', -1),
            ("date", "date", 'b', -1),
            ("timestamp(0) to (3)", "timestamp", 'b', 3),
            ("timestamp", "timestamp", 'b', -1),
            ("timestamptz(0) to (3)", "timestamptz", 'b', 3),
            ("timestamptz", "timestamptz", 'b', -1),
            ("timetz", "timetz", 'b', -1),
            ("time, interval", "time", 'b', -1),
            (
                "name, box, line, tsvector, a composite, ...",
                "tsvector",
                'b',
                -1,
            ),
        ];
        let rows = TYPES.map(|(written, name, class, modifier)| {
            let kind = kind(name, class, modifier);
            let suited = suited(kind, false).map_or("none".into(), |it| format!("`{it}`"));
            format!("| {written} | {} | {suited} |\n", kind.arrives())
        });
        let arrays = format!(
            "| an array of these | {} | `String` |\n",
            Kind::Json.arrives()
        );
        let table = format!(
            "| PostgreSQL | in a change | ClickHouse |\n|---|---|---|\n{}{arrays}",
            rows.concat()
        );
        let page = std::fs::read_to_string(crate::repository().join("profiles/README.md"));
        assert!(
            page.expect("a page").contains(&table),
            "profiles/README.md shall have:\n{table}"
        );
    }

    #[test]
    fn decimals_have_the_digits_of_their_modifier() {
        let packed = |precision: i32, scale: i32| ((precision << 16) | (scale & 0x7ff)) + 4;
        assert_eq!(decimal(-1), None);
        assert_eq!(decimal(packed(18, 4)), Some((18, 4)));
        assert_eq!(decimal(packed(3, 5)), Some((5, 5)));
        assert_eq!(decimal(packed(3, -2)), Some((5, 0)));
    }
}
