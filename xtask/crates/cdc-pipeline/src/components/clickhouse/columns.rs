//! Silver's columns that are there, beside those that arrive.
//!
//! Silver holds data: what it has is altered for a column that the source has got, and for nothing else. The rest is
//! the user's decision, and every difference is said with the statements that end it. What silver has stays where it
//! holds all of the source's values: a column that was added is Nullable, because rows from before have no value in
//! it, even where the source's is not.

use indexmap::IndexMap;

use super::settings::CLUSTER;
use super::types::{bare, holds, nullable};
use crate::clients::clickhouse::{Clickhouse, ident, literal};
use crate::components::columns::Arriving;
use crate::components::service;
use crate::error::{Code, Error, Result};
use crate::printed;
use crate::profile::check::OWN_COLUMNS;
use crate::profile::columns::SchemaChange;
use crate::profile::schema::Flow;

/// A column of a table at the target.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub(super) struct Column {
    name: String,
    /// Its type.
    pub(super) r#type: String,
    /// Whether it has an expression of its own: the flow does not write it.
    is_computed: bool,
    /// Whether rows are in its order: it is of the key.
    pub(super) is_sorted: bool,
}

/// A table's columns, in order.
///
/// # Errors
/// The server does not answer.
pub(super) async fn columns(
    client: &Clickhouse,
    database: &str,
    table: &str,
) -> Result<IndexMap<String, Column>> {
    let sql = format!(
        "SELECT name, type, toBool(default_kind != '') AS is_computed, toBool(is_in_sorting_key) AS is_sorted FROM system.columns \
         WHERE database = {} AND table = {} ORDER BY position",
        literal(database),
        literal(table)
    );
    let rows = client.rows::<Column>(&sql).await;
    let rows = rows.map_err(|error| service(&error))?.into_iter();
    Ok(rows.map(|it| (it.name.clone(), it)).collect())
}

/// A table with rows.
pub(super) struct Silver<'a> {
    /// What it is called.
    pub(super) name: &'a str,
    /// The component that has it.
    pub(super) server: &'a str,
    /// Whether each of several servers has a share of it.
    pub(super) is_shared: bool,
}

impl Silver<'_> {
    /// The statement that changes it, at one server.
    fn alter(&self, what: &str) -> String {
        format!("ALTER TABLE {} {what}", ident(self.name))
    }

    /// The command that has it changed everywhere.
    fn command(&self, what: &str) -> String {
        let on = match self.is_shared {
            true => format!(" ON CLUSTER {CLUSTER}"),
            false => String::new(),
        };
        let sql = format!("ALTER TABLE {}{on} {what}", quoted(self.name));
        format!(
            "cargo xtask query {} {}",
            self.server,
            printed::quoted(&sql)
        )
    }
}

/// A name as SQL that a shell takes within its quotes.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What has to become of silver's columns.
#[derive(Debug, Default)]
pub(super) struct Differences {
    /// The source's columns that are to be added, each with the statement.
    pub(super) added: Vec<(String, String)>,
    /// Those of them in which rows from before may have a value at the source.
    pub(super) filled: Vec<String>,
    /// The source's columns that the profile has reported, and that are not added.
    pub(super) reported: Vec<String>,
    /// What only the user can decide.
    pub(super) wrong: Vec<Error>,
}

/// Compares silver's columns with those that arrive, and has a flow's types be those that silver has, where they hold
/// the source's values. `given` is the flow as the profile says.
pub(super) fn differences(
    there: &IndexMap<String, Column>,
    silver: &Silver<'_>,
    arriving: &mut Arriving,
    given: &Flow,
) -> Differences {
    adopt(there, arriving);
    let mut found = Differences::default();
    let new = arriving.flow.columns.keys();
    let new: Vec<String> = new.filter(|it| !there.contains_key(*it)).cloned().collect();
    let flow = &arriving.flow;
    found.wrong.extend(gone(there, silver, flow, given, &new));
    found.wrong.extend(retyped(there, silver, flow));
    // One of them may be a column that is gone, under another name.
    if !found.wrong.is_empty() {
        return found;
    }
    for name in new {
        if !given.has_source_columns() {
            let what = format!(
                "{} has no column `{name}`, which the profile wants",
                silver.name
            );
            let kind = kind_of(&arriving.flow, &name);
            let add = silver.command(&format!("ADD COLUMN {} {kind}", quoted(&name)));
            found
                .wrong
                .push(drift(what).hint(format!("{add}; then: cargo xtask up")));
            continue;
        }
        match given.schema {
            SchemaChange::Follow => follow(&mut found, arriving, silver, name),
            SchemaChange::Report => {
                let rule = arriving.flow.columns.shift_remove(&name);
                let source = rule.and_then(|it| it.from).unwrap_or(name);
                if let Some(known) = &mut arriving.known {
                    known.retain(|it| *it != source);
                }
                found.reported.push(source);
            }
            SchemaChange::Refuse => {
                let what = format!(
                    "{} has a column `{name}` that {} does not have, and the flow refuses it",
                    given.table, silver.name
                );
                let hint = format!(
                    "leave it out, `omit: [{name}]`, or add it, `schema: follow`; then: cargo xtask up"
                );
                found.wrong.push(drift(what).hint(hint));
            }
        }
    }
    found
}

/// Has a column of the source added.
fn follow(found: &mut Differences, arriving: &mut Arriving, silver: &Silver<'_>, name: String) {
    let kind = nullable(&kind_of(&arriving.flow, &name));
    let add = format!("ADD COLUMN IF NOT EXISTS {} {kind}", ident(&name));
    let source = arriving.following.get(&name);
    if source.is_some_and(|it| it.is_filled || !it.is_nullable) {
        found.filled.push(name.clone());
    }
    if let Some(rule) = arriving.flow.columns.get_mut(&name) {
        rule.kind = Some(kind);
    }
    found.added.push((name, silver.alter(&add)));
}

/// Has the columns whose types follow from the source be of the types that silver has, where those hold the values.
fn adopt(there: &IndexMap<String, Column>, arriving: &mut Arriving) {
    for (name, source) in &arriving.following {
        let Some(found) = there.get(name) else {
            continue;
        };
        let is_nullable = source.is_nullable_in(&arriving.flow);
        if holds(&found.r#type, source.kind, is_nullable)
            && let Some(rule) = arriving.flow.columns.get_mut(name)
        {
            rule.kind = Some(found.r#type.clone());
        }
    }
}

fn kind_of(flow: &Flow, name: &str) -> String {
    let rule = flow.columns.get(name);
    rule.and_then(|it| it.kind.clone()).unwrap_or_default()
}

fn drift(what: String) -> Error {
    Error::new(Code::Drift, what)
}

/// Columns of silver that do not arrive any more: their new rows would be blank there. `new` are those that arrive and
/// that silver does not have: one of them may be the same under another name.
fn gone(
    there: &IndexMap<String, Column>,
    silver: &Silver<'_>,
    flow: &Flow,
    given: &Flow,
    new: &[String],
) -> Vec<Error> {
    let gone = there.values().filter(|it| {
        let name = it.name.as_str();
        !it.is_computed && !OWN_COLUMNS.contains(&name) && !flow.columns.contains_key(name)
    });
    let wrong = gone.filter_map(|column| {
        let name = &column.name;
        let has = format!("{} has a column `{name}`", silver.name);
        let up = "then: cargo xtask up";
        let drop = silver.command(&format!("DROP COLUMN {}", quoted(name)));
        let rename = |to: &str| {
            silver.command(&format!("RENAME COLUMN {} TO {}", quoted(name), quoted(to)))
        };
        // Rows from before have their values under the old name.
        if let Some(to) = new.iter().find(|to| flow.columns[*to].source(to) == name) {
            let error = drift(format!("{has}, which the profile calls `{to}`"));
            return Some(match column.is_sorted {
                true => error.hint(format!(
                    "ClickHouse renames no key column: call it `{name}`, or move the table aside; {up}"
                )),
                false => error.hint(format!("{}; {up}", rename(to))),
            });
        }
        if given.omit.contains(name) {
            let error = drift(format!("{has}, which the profile leaves out"));
            return Some(error.hint(format!("take it out of `omit`, or drop it: {drop}; {up}")));
        }
        if !given.has_source_columns() {
            return None;
        }
        let error = drift(format!(
            "{has}, and {} has none any more: it was renamed or dropped at the source",
            flow.table
        ));
        if column.is_sorted {
            return Some(error.hint(format!(
                "ClickHouse renames and drops no key column: have the flow call the new one so, `override: {{{name}: {{from: NEW}}}}`, \
                 or move the table aside; {up}"
            )));
        }
        let alike = |to: &&String| bare(&kind_of(flow, to)) == bare(&column.r#type);
        let renamed = new.iter().filter(alike);
        let renamed = renamed.map(|to| format!("if it is `{to}` now: {}; ", rename(to)));
        // A column with a default is not the flow's any more.
        let keep = nullable(&column.r#type);
        let keep = silver.command(&format!("MODIFY COLUMN {} {keep} DEFAULT NULL", quoted(name)));
        Some(error.hint(format!(
            "{}if it was dropped: {drop}; or, if rows are to keep what they have until they change: {keep}; {up}",
            renamed.collect::<String>()
        )))
    });
    wrong.collect()
}

/// Columns whose types in silver do not hold what arrives.
fn retyped(there: &IndexMap<String, Column>, silver: &Silver<'_>, flow: &Flow) -> Vec<Error> {
    let spaceless = |kind: &str| kind.replace(' ', "");
    let wrong = flow.columns.keys().filter_map(|name| {
        let (kind, found) = (kind_of(flow, name), &there.get(name)?.r#type);
        if spaceless(&kind) == spaceless(found) {
            return None;
        }
        let error = drift(format!(
            "{}.{name} is {found}, and the flow's is {kind}",
            silver.name
        ));
        let is_key = flow.key.iter().any(|key| flow.at_target(key) == name);
        let modify = silver.command(&format!("MODIFY COLUMN {} {kind}", quoted(name)));
        let declare = format!("declare it as {found} in the profile");
        Some(match is_key {
            true => error.hint(format!(
                "ClickHouse changes no key column: {declare}, or move the table aside; then: cargo xtask up"
            )),
            false => error.hint(format!("{modify}; then: cargo xtask up; or {declare}")),
        })
    });
    wrong.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::types::{self, Kind};

    const SILVER: Silver<'static> = Silver {
        name: "s",
        server: "clickhouse",
        is_shared: false,
    };

    fn flow(more: &str) -> Flow {
        let text = format!(
            "{{\"connector\": \"c\", \"table\": \"a.b\", \"keep\": \"latest\", \"key\": [\"id\"], \"group\": \"g\"{more}}}"
        );
        serde_json::from_str(&text).expect("a flow")
    }

    /// A flow of the source's columns, all `bigint NOT NULL`, of which `renamed` has another name at the target.
    fn arriving(given: &str, source: &[&str], renamed: Option<(&str, &str)>) -> Arriving {
        let at_target = |it: &str| match renamed {
            Some((from, to)) if from == it => to.to_owned(),
            Some(_) | None => it.to_owned(),
        };
        let columns = source.iter().map(|it| {
            format!(
                "\"{}\": {{\"type\": \"Int64\", \"from\": \"{it}\"}}",
                at_target(it)
            )
        });
        let columns: Vec<String> = columns.collect();
        let following = source.iter().map(|it| {
            let column = types::Column {
                name: (*it).to_owned(),
                written: "bigint".to_owned(),
                kind: Kind::Integer {
                    bits: 64,
                    signed: true,
                },
                is_nullable: false,
                is_key: *it == "id",
                is_filled: false,
            };
            (at_target(it), column)
        });
        let given = flow(given);
        Arriving {
            flow: flow(&format!(", \"columns\": {{{}}}", columns.join(", "))),
            following: following.collect(),
            known: given
                .has_source_columns()
                .then(|| source.iter().map(|it| (*it).to_owned()).collect()),
        }
    }

    fn there(columns: &[(&str, &str)]) -> IndexMap<String, Column> {
        let column = |(name, kind): &(&str, &str)| Column {
            name: (*name).to_owned(),
            r#type: (*kind).to_owned(),
            is_computed: kind.contains("DEFAULT"),
            is_sorted: *name == "id",
        };
        columns
            .iter()
            .map(|it| (it.0.to_owned(), column(it)))
            .collect()
    }

    fn compare(columns: &[(&str, &str)], arriving: &mut Arriving, given: &str) -> Differences {
        differences(&there(columns), &SILVER, arriving, &flow(given))
    }

    fn hints(found: &Differences) -> Vec<&str> {
        let hints = found.wrong.iter();
        hints
            .map(|it| it.hint.as_deref().unwrap_or_default())
            .collect()
    }

    #[test]
    fn a_column_of_the_source_is_added_as_the_flow_says() {
        let now = [("id", "Int64")];
        let mut whole = arriving("", &["id", "a"], None);
        let found = compare(&now, &mut whole, "");
        let add = "ALTER TABLE `s` ADD COLUMN IF NOT EXISTS `a` Nullable(Int64)";
        assert_eq!(found.added, [("a".to_owned(), add.to_owned())]);
        assert_eq!(found.filled, ["a"]);
        assert_eq!(kind_of(&whole.flow, "a"), "Nullable(Int64)");

        let given = ", \"schema\": \"report\"";
        let mut whole = arriving(given, &["id", "a"], None);
        let found = compare(&now, &mut whole, given);
        assert!(found.added.is_empty() && found.wrong.is_empty());
        assert_eq!(found.reported, ["a"]);
        assert_eq!(whole.known, Some(vec!["id".to_owned()]));
        assert!(!whole.flow.columns.contains_key("a"));

        let given = ", \"schema\": \"refuse\"";
        let found = compare(&now, &mut arriving(given, &["id", "a"], None), given);
        assert!(
            hints(&found)[0].contains("`omit: [a]`"),
            "{:?}",
            found.wrong
        );
    }

    #[test]
    fn what_silver_has_stays_where_it_holds_the_values() {
        let mut whole = arriving("", &["id", "a"], None);
        let found = compare(
            &[("id", "Int64"), ("a", "Nullable(Int128)")],
            &mut whole,
            "",
        );
        assert!(found.wrong.is_empty() && found.added.is_empty());
        assert_eq!(kind_of(&whole.flow, "a"), "Nullable(Int128)");
        let found = compare(
            &[("id", "Int64"), ("a", "Int32")],
            &mut arriving("", &["id", "a"], None),
            "",
        );
        let modify = "cargo xtask query clickhouse 'ALTER TABLE \"s\" MODIFY COLUMN \"a\" Int64'";
        assert!(hints(&found)[0].starts_with(modify), "{:?}", found.wrong);
    }

    #[test]
    fn a_column_that_is_gone_is_the_users_to_decide_and_all_are_said_at_once() {
        let now = [
            ("id", "Int64"),
            ("a", "Int64"),
            ("b", "Int64"),
            ("own", "String DEFAULT 'x'"),
        ];
        let found = compare(&now, &mut arriving("", &["id", "name"], None), "");
        assert!(found.added.is_empty());
        let hints = hints(&found);
        assert_eq!(hints.len(), 2, "{hints:?}");
        let rename = "if it is `name` now: cargo xtask query clickhouse 'ALTER TABLE \"s\" RENAME COLUMN \"a\" TO \"name\"'";
        assert!(hints[0].starts_with(rename), "{hints:?}");
        assert!(hints[1].contains(
            "if it was dropped: cargo xtask query clickhouse 'ALTER TABLE \"s\" DROP COLUMN \"b\"'"
        ));
    }

    #[test]
    fn what_the_profile_calls_otherwise_or_leaves_out_is_renamed_and_dropped_by_hand() {
        let now = [("id", "Int64"), ("a", "Int64"), ("c", "Int64")];
        let given = ", \"omit\": [\"c\"]";
        let found = compare(
            &now,
            &mut arriving(given, &["id", "a"], Some(("a", "b"))),
            given,
        );
        let hints = hints(&found);
        assert!(
            hints[0].contains("RENAME COLUMN \"a\" TO \"b\""),
            "{hints:?}"
        );
        assert!(hints[1].contains("DROP COLUMN \"c\""), "{hints:?}");
        let found = compare(
            &[("id", "Int64")],
            &mut arriving("", &["id"], Some(("id", "n"))),
            "",
        );
        assert!(super::tests::hints(&found)[0].contains("no key column"));
    }
}
