//! Where Debezium's JDBC sink writes rows into this PostgreSQL, and which of them are there.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::Value;

use super::settings::PostgresSettings;
use crate::clients::postgres::{Postgres, PostgresError, ident, literal};
use crate::environment::Environment;
use crate::platform::Endpoint;

const CLASS: &str = "io.debezium.connector.jdbc.JdbcSinkConnector";
/// How many keys one query looks for.
const AT_ONCE: usize = 500;

/// Where a sink's rows are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Whether the sink deletes the rows of deleted records.
    pub deletes: bool,
    component: String,
    database: String,
    schema: Option<String>,
    format: String,
    fields: Vec<String>,
    quoted: bool,
}

impl Rows {
    /// Reads a sink's configuration, or says why its rows cannot be looked up.
    ///
    /// # Errors
    /// The reason.
    pub fn of(env: &Environment, sink: &IndexMap<String, String>) -> Result<Self, String> {
        let own = env.profile.components.values();
        let mut own = own.filter(|it| it.get::<PostgresSettings>().is_some());
        let url = sink.get("connection.url").map_or("", String::as_str);
        let written = own.find(|it| own_database(url.trim(), &env.inside(&it.name)).is_some());
        let component = written.map_or("", |it| it.name.as_str());
        let mut rows = Rows::read(sink, &env.inside(component))?;
        component.clone_into(&mut rows.component);
        Ok(rows)
    }

    fn read(sink: &IndexMap<String, String>, server: &Endpoint) -> Result<Self, String> {
        let set = |key: &str| sink.get(key).map(|value| value.trim());
        if set("connector.class") != Some(CLASS) {
            return Err("only rows of Debezium's JDBC sink are looked up".into());
        }
        if set("primary.key.mode") != Some("record_key") {
            return Err("its rows have no keys of the records (primary.key.mode)".into());
        }
        let url = set("connection.url").unwrap_or_default();
        let (database, schema) = own_database(url, server)
            .ok_or("it does not write to this environment's PostgreSQL")?;
        let fields = set("primary.key.fields").unwrap_or_default().split(',');
        let is_on = |key| set(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Ok(Rows {
            component: String::new(),
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

    /// The table of a topic, as SQL names it.
    pub fn table(&self, topic: &str) -> String {
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
    pub fn key(&self, key: Option<&[u8]>) -> Option<BTreeMap<String, String>> {
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

    /// Which of these values of the columns have a row in a table; none where there is no such table.
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn there(
        &self,
        env: &Environment,
        (table, columns): &(String, Vec<String>),
        wanted: &[&[String]],
    ) -> Result<Option<Vec<bool>>, PostgresError> {
        let session = Postgres::connect(&env.endpoint(&self.component), &self.database).await?;
        let sql = format!("SELECT to_regclass({})::text", literal(table));
        let Some(table) = session.value(&sql).await? else {
            return Ok(None);
        };
        let mut there = vec![false; wanted.len()];
        for (wanted, there) in wanted.chunks(AT_ONCE).zip(there.chunks_mut(AT_ONCE)) {
            for row in session.query(&query(&table, columns, wanted)).await? {
                let number = row.into_iter().next().flatten();
                let number = number.and_then(|text| text.parse::<usize>().ok());
                if let Some(found) = number.and_then(|number| there.get_mut(number)) {
                    *found = true;
                }
            }
        }
        Ok(Some(there))
    }
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

/// The numbers of those that have a row.
fn query(table: &str, columns: &[String], wanted: &[&[String]]) -> String {
    let values = wanted.iter().enumerate().map(|(index, values)| {
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
    use super::*;

    fn read(more: &[(&str, &str)]) -> Result<Rows, String> {
        let config = [
            ("connector.class", CLASS),
            ("connection.url", "jdbc:postgresql://localhost:5433/copies"),
            ("primary.key.mode", "record_key"),
        ];
        let config = config.iter().chain(more);
        let config: IndexMap<String, String> = config
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Rows::read(&config, &Endpoint::loopback(5433))
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
}
