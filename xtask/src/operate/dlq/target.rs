//! Looking a sink's rows up where it writes them: Debezium's JDBC sink into this environment's own
//! PostgreSQL. Of other sinks the positions are the proof.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::Place;
use super::decide::Outgoing;
use super::queues::Sink;
use crate::clients::postgres::{Postgres, PostgresError, ident, literal};
use crate::environment::Environment;
use crate::platform::Endpoint;

const CLASS: &str = "io.debezium.connector.jdbc.JdbcSinkConnector";
/// How many keys one query looks for.
const AT_ONCE: usize = 500;

/// What was found at a sink's target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// How many records have their row there, or for a delete none.
    pub found: usize,
    /// The records of which the opposite is true, by their places in the queue.
    pub missing: Vec<Place>,
    /// Why records were not looked up, and how many; then their sink's positions are the proof.
    pub not_looked_up: BTreeMap<String, usize>,
}

/// Where a sink's rows are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rows {
    database: String,
    schema: Option<String>,
    format: String,
    fields: Vec<String>,
    deletes: bool,
    quoted: bool,
}

/// Reads a sink's configuration, or says why its rows cannot be looked up.
fn rows(sink: &Sink, server: &Endpoint) -> Result<Rows, String> {
    let set = |key: &str| sink.config.get(key).map(|value| value.trim());
    if set("connector.class") != Some(CLASS) {
        return Err("only rows of Debezium's JDBC sink are looked up".into());
    }
    if set("primary.key.mode") != Some("record_key") {
        return Err("its rows have no keys of the records (primary.key.mode)".into());
    }
    let url = set("connection.url").unwrap_or_default();
    let (database, schema) =
        own_database(url, server).ok_or("it does not write to this environment's PostgreSQL")?;
    let fields = set("primary.key.fields").unwrap_or_default().split(',');
    let is_on = |key| set(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    Ok(Rows {
        database,
        schema,
        format: set("collection.name.format")
            .unwrap_or("${topic}")
            .to_owned(),
        fields: fields
            .map(|field| field.trim().to_owned())
            .filter(|field| !field.is_empty())
            .collect(),
        deletes: is_on("delete.enabled"),
        quoted: is_on("quote.identifiers"),
    })
}

/// The database and schema of a JDBC address that leads to `server`.
fn own_database(url: &str, server: &Endpoint) -> Option<(String, Option<String>)> {
    let rest = url.strip_prefix("jdbc:postgresql://")?;
    let (address, rest) = rest.split_once('/')?;
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (address, 5432),
    };
    let (database, options) = rest.split_once('?').unwrap_or((rest, ""));
    let is_local = |host: &str| matches!(host, "127.0.0.1" | "localhost" | "[::1]");
    // A service on a cluster has shorter names inside its namespace.
    let shortened = |long: &str, short: &str| {
        long.strip_prefix(short)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    let same = host == server.host
        || (is_local(host) && is_local(&server.host))
        || (!is_local(host) && (shortened(&server.host, host) || shortened(host, &server.host)));
    let schema = options
        .split('&')
        .find_map(|option| option.strip_prefix("currentSchema="));
    (same && port == server.port && !database.is_empty())
        .then(|| (database.to_owned(), schema.map(str::to_owned)))
}

impl Rows {
    /// The table of a topic, as SQL names it.
    fn table(&self, topic: &str) -> String {
        let name = self.format.replace("${topic}", &topic.replace('.', "_"));
        let name = match (&self.schema, name.contains('.')) {
            (Some(schema), false) => format!("{schema}.{name}"),
            _ => name,
        };
        match self.quoted {
            true => name.split('.').map(ident).collect::<Vec<_>>().join("."),
            false => name,
        }
    }

    fn column(&self, field: &str) -> String {
        match self.quoted {
            true => ident(field),
            // PostgreSQL folds names that are not quoted, as it does the sink's.
            false => ident(&field.to_lowercase()),
        }
    }

    /// The columns and their values, as texts, by which a record's row is found.
    fn key(&self, key: Option<&[u8]>) -> Option<BTreeMap<String, String>> {
        let key: Value = serde_json::from_slice(key?).ok()?;
        let key = match key {
            Value::Object(mut object) if object.contains_key("payload") => {
                object.shift_remove("payload")?
            }
            other => other,
        };
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(flag) => Some(flag.to_string()),
            // Numbers with a fraction have many spellings.
            Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
            _ => None,
        };
        let fields: Vec<(&String, &Value)> = match &key {
            Value::Object(object) => object
                .iter()
                .filter(|(field, _)| self.fields.is_empty() || self.fields.contains(field))
                .collect(),
            scalar => self
                .fields
                .first()
                .map(|field| (field, scalar))
                .into_iter()
                .collect(),
        };
        let pairs = fields
            .into_iter()
            .map(|(field, value)| Some((self.column(field), text(value)?)));
        let pairs: Option<BTreeMap<String, String>> = pairs.collect();
        pairs.filter(|pairs| !pairs.is_empty())
    }
}

/// Whether a value has its row deleted: none, or a change that Debezium calls a delete.
fn is_delete(value: Option<&[u8]>) -> bool {
    let Some(value) = value else { return true };
    let value: Value = serde_json::from_slice(value).unwrap_or_default();
    let payload = value.get("payload").unwrap_or(&value);
    payload.get("op").and_then(Value::as_str) == Some("d")
}

/// Looks up the rows of records that a sink has taken.
///
/// # Errors
/// PostgreSQL does not answer, or refuses.
pub(super) async fn look(
    env: &Environment,
    sink: &Sink,
    records: &[&Outgoing],
) -> Result<Looked, PostgresError> {
    let mut looked = Looked::default();
    let mut skip = |why: &str, count: usize| {
        if count > 0 {
            *looked.not_looked_up.entry(why.to_owned()).or_default() += count;
        }
    };
    let rows = match rows(sink, &env.inside("postgres")) {
        Ok(rows) => rows,
        Err(why) => {
            skip(&why, records.len());
            return Ok(looked);
        }
    };
    // Records whose rows are found by the same columns of the same table, together.
    type Wanted<'a> = Vec<(&'a Outgoing, Vec<String>)>;
    let mut groups: BTreeMap<(String, Vec<String>), Wanted<'_>> = BTreeMap::new();
    for one in records {
        let delete = is_delete(one.record.value.as_deref());
        let why = match rows.key(one.record.key.as_deref()) {
            _ if one.superseded => "something newer may have changed their rows",
            _ if delete && !rows.deletes => "the sink ignores deletes",
            None => "their keys are not JSON that can be looked up",
            Some(key) => {
                let (columns, values): (Vec<_>, Vec<_>) = key.into_iter().unzip();
                let table = rows.table(&one.origin.topic);
                let group = groups.entry((table, columns)).or_default();
                group.push((one, values));
                continue;
            }
        };
        skip(why, 1);
    }
    if groups.is_empty() {
        return Ok(looked);
    }
    let session = Postgres::connect(&env.endpoint("postgres"), &rows.database).await?;
    for ((table, columns), wanted) in groups {
        let sql = format!("SELECT to_regclass({})::text", literal(&table));
        let Some(table) = session.value(&sql).await? else {
            looked
                .missing
                .extend(wanted.iter().map(|(one, _)| one.from.clone()));
            continue;
        };
        for wanted in wanted.chunks(AT_ONCE) {
            let there = session.query(&query(&table, &columns, wanted)).await?;
            let there: Vec<usize> = there
                .into_iter()
                .filter_map(|row| row.into_iter().next()??.parse().ok())
                .collect();
            for (index, (one, _)) in wanted.iter().enumerate() {
                let delete = is_delete(one.record.value.as_deref());
                match there.contains(&index) != delete {
                    true => looked.found += 1,
                    false => looked.missing.push(one.from.clone()),
                }
            }
        }
    }
    Ok(looked)
}

/// The numbers of those that have a row.
fn query(table: &str, columns: &[String], wanted: &[(&Outgoing, Vec<String>)]) -> String {
    let values = wanted.iter().enumerate().map(|(index, (_, values))| {
        let values: Vec<String> = values.iter().map(|value| literal(value)).collect();
        format!("({index}, {})", values.join(", "))
    });
    let values: Vec<String> = values.collect();
    let names: Vec<String> = (0..columns.len()).map(|at| format!("k{at}")).collect();
    let same: Vec<String> = columns
        .iter()
        .zip(&names)
        .map(|(column, name)| format!("t.{column}::text = v.{name}"))
        .collect();
    format!(
        "SELECT v.n FROM (VALUES {}) AS v(n, {}) WHERE EXISTS (SELECT FROM {table} t WHERE {})",
        values.join(", "),
        names.join(", "),
        same.join(" AND ")
    )
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;
    use crate::readiness::Status;

    fn sink(more: &[(&str, &str)]) -> Sink {
        let config = [
            ("connector.class", CLASS),
            ("connection.url", "jdbc:postgresql://localhost:5433/copies"),
            ("primary.key.mode", "record_key"),
        ];
        let config = config.iter().chain(more);
        let config: IndexMap<String, String> = config
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Sink {
            name: "sink".into(),
            config,
            status: Status::current("runs"),
        }
    }

    fn read(more: &[(&str, &str)]) -> Result<Rows, String> {
        rows(&sink(more), &Endpoint::loopback(5433))
    }

    #[test]
    fn an_own_database_is_recognised() {
        let own = |url: &str, host: &str| own_database(url, &Endpoint::new(host, 5432));
        let found = own(
            "jdbc:postgresql://localhost/a?x=1&currentSchema=s",
            "127.0.0.1",
        );
        assert_eq!(found, Some(("a".into(), Some("s".into()))));
        let long = "postgres.database.svc.cluster.local";
        for url in [
            "jdbc:postgresql://postgres:5432/a",
            "jdbc:postgresql://postgres.database.svc/a",
            "jdbc:postgresql://postgres.database.svc.cluster.local/a",
        ] {
            assert_eq!(own(url, long), Some(("a".into(), None)), "{url}");
        }
        for url in [
            "jdbc:postgresql://postgres-2/a",
            "jdbc:postgresql://postgres:5433/a",
            "jdbc:postgresql://localhost/a",
            "jdbc:mysql://postgres/a",
            "jdbc:postgresql://postgres/",
            "${env:URL}",
            "",
        ] {
            assert_eq!(own(url, long), None, "{url}");
        }
    }

    #[test]
    fn why_rows_are_not_looked_up_is_said() {
        for (key, value, words) in [
            ("connector.class", "x", "only rows of Debezium's"),
            ("primary.key.mode", "kafka", "no keys"),
            (
                "connection.url",
                "jdbc:postgresql://other/x",
                "this environment's",
            ),
        ] {
            let error = read(&[(key, value)]).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn tables_and_keys_are_the_sink_s() {
        let plain = read(&[]).unwrap();
        assert_eq!(plain.table("pg.public.users"), "pg_public_users");
        let key = |rows: &Rows, text: &str| rows.key(Some(text.as_bytes()));
        let pair = |column: &str, value: &str| {
            Some(BTreeMap::from([(column.to_owned(), value.to_owned())]))
        };
        assert_eq!(
            key(&plain, r#"{"schema":{},"payload":{"Id":7}}"#),
            pair("\"id\"", "7")
        );
        for none in [
            "",
            "x",
            "7",
            "{}",
            r#"{"id":1.5}"#,
            r#"{"id":{}}"#,
            r#"{"id":null}"#,
        ] {
            assert_eq!(key(&plain, none), None, "{none}");
        }
        let named = read(&[
            ("collection.name.format", "copy.${topic}"),
            ("primary.key.fields", "id"),
            ("quote.identifiers", "true"),
        ])
        .unwrap();
        assert_eq!(named.table("a.b"), "\"copy\".\"a_b\"");
        assert_eq!(key(&named, r#"{"id":"x","more":1}"#), pair("\"id\"", "x"));
        assert_eq!(key(&named, "7"), pair("\"id\"", "7"));
    }

    #[test]
    fn deletes_are_nothing_and_debezium_s() {
        assert!(is_delete(None));
        assert!(is_delete(Some(br#"{"payload":{"op":"d"}}"#)));
        assert!(is_delete(Some(br#"{"op":"d"}"#)));
        assert!(!is_delete(Some(br#"{"payload":{"op":"u"}}"#)));
        assert!(!is_delete(Some(b"x")));
    }
}
