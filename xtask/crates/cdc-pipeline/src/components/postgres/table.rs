//! A table of PostgreSQL that a flow reads.

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::settings::PostgresSettings;
use crate::clients::postgres::{Postgres, ident, literal, table};
use crate::components::service;
use crate::components::source::{CanaryChange, CanaryKey, Key, SourceTable};
use crate::components::sql::{self, Quoting};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::profile::schema::Flow;

/// How its SQL quotes.
pub(super) const QUOTING: Quoting = Quoting {
    ident,
    literal,
    table,
    overriding: "OVERRIDING SYSTEM VALUE ",
};

/// It, in a session.
pub(super) struct Table<'a> {
    session: Postgres,
    flow: &'a Flow,
    /// The types of the key's columns, once they were asked for.
    kinds: OnceCell<Vec<String>>,
}

impl<'a> Table<'a> {
    /// Connects.
    ///
    /// # Errors
    /// The server does not answer, or refuses the login.
    pub(super) async fn open(
        own: &PostgresSettings,
        env: &Environment,
        flow: &'a Flow,
    ) -> Result<Self> {
        let session = own.session(env).await;
        Ok(Table {
            session: session.map_err(|error| service(&error))?,
            flow,
            kinds: OnceCell::new(),
        })
    }

    async fn kinds(&self) -> Result<Vec<String>> {
        let sql = format!(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute \
             WHERE attrelid = {}::regclass AND attnum > 0 AND NOT attisdropped",
            literal(&table(&self.flow.table))
        );
        let rows = self.session.query(&sql).await;
        let rows = rows.map_err(|error| service(&error))?;
        let kind = |column: &String| {
            let row = rows.iter().find(|row| row[0].as_ref() == Some(column));
            row.and_then(|row| row[1].clone()).ok_or_else(|| {
                let what = format!("{} has no column `{column}` at the source", self.flow.table);
                Error::new(Code::Drift, what)
            })
        };
        self.flow.key.iter().map(kind).collect()
    }
}

#[async_trait]
impl SourceTable for Table<'_> {
    async fn canary(&self, key: &CanaryKey, change: CanaryChange<'_>) -> Result<()> {
        let sql = sql::canary(&QUOTING, self.flow, key, change);
        let done = self.session.execute(&sql).await;
        done.map(drop).map_err(|error| service(&error))
    }

    async fn absent(&self, keys: &[Key]) -> Result<Vec<Key>> {
        let kinds = self.kinds.get_or_try_init(|| self.kinds()).await?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self
            .session
            .query(&absent_sql(self.flow, kinds, keys))
            .await;
        let rows = rows.map_err(|error| service(&error))?;
        Ok(rows
            .into_iter()
            .filter_map(|row| keys.get(row[0].as_ref()?.parse::<usize>().ok()?).cloned())
            .collect())
    }
}

/// Which of these keys are in no row, by their number. The keys become values of the columns' own
/// types, so that the index answers and no text form can differ.
fn absent_sql(flow: &Flow, kinds: &[String], keys: &[Key]) -> String {
    let values: Vec<String> = keys
        .iter()
        .enumerate()
        .map(|(number, key)| {
            let cells: Vec<String> = key.iter().map(|text| literal(text)).collect();
            format!("({number}, {})", cells.join(", "))
        })
        .collect();
    let names: Vec<String> = (0..kinds.len()).map(|at| format!("k{at}")).collect();
    let same: Vec<String> = flow
        .key
        .iter()
        .zip(kinds)
        .zip(&names)
        .map(|((column, kind), name)| format!("t.{} = v.{name}::{kind}", ident(column)))
        .collect();
    format!(
        "SELECT v.i FROM (VALUES {}) AS v(i, {}) WHERE NOT EXISTS (SELECT 1 FROM {} t WHERE {}) ORDER BY v.i",
        values.join(", "),
        names.join(", "),
        table(&flow.table),
        same.join(" AND ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_values_of_their_own_types() {
        let flow: Flow = serde_json::from_value(serde_json::json!({
            "connector": "c", "table": "public.o'rders", "keep": "latest", "key": ["id", "at"],
            "group": "g", "columns": { "id": "Int64", "at": "DateTime64(3)" }, "canary": null,
        }))
        .expect("a flow");
        let kinds = [
            "bigint".to_owned(),
            "timestamp without time zone".to_owned(),
        ];
        let keys = [vec!["7".to_owned(), "2026-01-01 00:00:00.000".to_owned()]];
        assert_eq!(
            absent_sql(&flow, &kinds, &keys),
            "SELECT v.i FROM (VALUES (0, '7', '2026-01-01 00:00:00.000')) AS v(i, k0, k1) \
             WHERE NOT EXISTS (SELECT 1 FROM \"public\".\"o'rders\" t \
             WHERE t.\"id\" = v.k0::bigint AND t.\"at\" = v.k1::timestamp without time zone) ORDER BY v.i"
        );
        let older = CanaryChange::DeleteOlder {
            than: &CanaryKey::Number(-5),
            column: "name",
            template: "canary-{id}",
        };
        assert_eq!(
            sql::canary(&QUOTING, &flow, &CanaryKey::Number(-9), older),
            "DELETE FROM \"public\".\"o'rders\" WHERE \"id\" < 0 AND \"id\" > -5 AND \"name\" LIKE 'canary-%'"
        );
    }
}
