//! PostgreSQL's SQL for comparing a table with another database's.

use async_trait::async_trait;

use super::catalogue::{Typed, typed};
use super::settings::PostgresSettings;
use crate::clients::answer::Row;
use crate::clients::postgres::{Postgres, ident, literal, table as quoted};
use crate::components::dialect::sql::{SqlTable, Words};
use crate::components::dialect::{Dialect, Form, Hash, Table};
use crate::components::service;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::flows::types::Column;
use crate::profile::schema::Flow;

/// How values are written must not follow the settings of the server, the database or the role. Sums of some ten
/// thousand buckets need more than the usual memory, and no expression here is worth its compilation.
const SESSION: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET bytea_output = 'hex'; \
     SET extra_float_digits = 1; SET standard_conforming_strings = on; SET work_mem = '64MB'; SET jit = off; \
     SET default_transaction_read_only = on";

#[async_trait]
impl Dialect for PostgresSettings {
    async fn open<'a>(
        &'a self,
        env: &'a Environment,
        table: &str,
        _: Option<&'a Flow>,
    ) -> Result<Box<dyn Table + 'a>> {
        let session = self.session(env).await.map_err(|error| service(&error))?;
        session
            .execute(SESSION)
            .await
            .map_err(|error| service(&error))?;
        let encoding = session.value("SHOW server_encoding").await;
        let encoding = encoding.map_err(|error| service(&error))?;
        let name = match table.contains('.') {
            true => table.to_owned(),
            false => format!("public.{table}"),
        };
        let typed = typed(&session, &name).await?;
        if typed.is_empty() {
            let what = format!("{} has no table {name}", self.name);
            let tables = "\\d";
            return Err(Error::new(Code::Drift, what).hint(format!(
                "cargo xtask shell {}, and there {tables}",
                self.name
            )));
        }
        Ok(Box::new(SqlTable(Server {
            session,
            relation: quoted(&name),
            columns: typed.iter().map(|it| it.column.clone()).collect(),
            typed,
            is_utf8: encoding.as_deref() == Some("UTF8"),
        })))
    }
}

struct Server {
    session: Postgres,
    relation: String,
    columns: Vec<Column>,
    typed: Vec<Typed>,
    is_utf8: bool,
}

impl Server {
    /// A text as the bytes of UTF-8.
    fn utf8(&self, text: &str) -> String {
        match self.is_utf8 {
            true => text.to_owned(),
            false => format!("convert_to({text}, 'UTF8')"),
        }
    }
}

#[async_trait]
impl Words for Server {
    fn ident(&self, name: &str) -> String {
        ident(name)
    }

    fn literal(&self, text: &str) -> String {
        literal(text)
    }

    fn relation(&self) -> &str {
        &self.relation
    }

    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn canonical(&self, column: &Column, form: Form) -> Result<String, String> {
        let found = self.typed.iter().find(|it| it.column.name == column.name);
        let found = found.ok_or("there is no such column")?;
        canonical(found, form)
            .ok_or_else(|| format!("{} has no canonical form yet", column.written))
    }

    fn prefixed(&self, text: &str) -> String {
        format!("octet_length({}) || ':' || {text}", self.utf8(text))
    }

    fn digest(&self, text: &str, hash: Hash) -> String {
        match hash {
            Hash::Md5 => format!("md5({})", self.utf8(text)),
            Hash::Sha256 => {
                format!("left(encode(sha256(convert_to({text}, 'UTF8')), 'hex'), 32)")
            }
        }
    }

    fn digits(&self, digest: &str) -> String {
        digest.to_owned()
    }

    fn bits(&self, digest: &str) -> String {
        format!("('x' || left({digest}, 4))::bit(16)::integer")
    }

    fn sums(&self, digest: &str) -> [String; 2] {
        ["left", "right"].map(|it| format!("sum(('x' || {it}({digest}, 16))::bit(64)::bigint)"))
    }

    fn quotient(&self, column: &str, first: i64, width: u64) -> String {
        // A number without a sign, as `-9223372036854775808` is none of 64 bits before it is negated.
        format!("({column}::bigint - '{first}'::bigint) / {width}")
    }

    /// What is computed in a subquery with an offset is not computed again for each use (of two sums).
    fn once(&self) -> &'static str {
        " OFFSET 0"
    }

    async fn estimate(&self) -> Result<u64> {
        let sql = format!(
            "SELECT CASE WHEN reltuples >= 1 THEN reltuples::bigint \
             ELSE pg_relation_size(oid) / 64 END FROM pg_class WHERE oid = {}::regclass",
            literal(&self.relation)
        );
        let rows = self
            .session
            .value(&sql)
            .await
            .map_err(|error| service(&error))?;
        Ok(rows.and_then(|it| it.parse().ok()).unwrap_or(0))
    }

    /// A transaction gets its number when it writes.
    async fn writes(&self) -> Result<Option<u64>> {
        let sql = "SELECT CASE WHEN pg_snapshot_xmin(it) = pg_snapshot_xmax(it) THEN pg_snapshot_xmax(it)::text END \
                   FROM pg_current_snapshot() it";
        let next = self
            .session
            .value(sql)
            .await
            .map_err(|error| service(&error))?;
        Ok(next.and_then(|it| it.parse().ok()))
    }

    async fn query(&self, sql: &str) -> Result<Vec<Row>> {
        self.session
            .query(sql)
            .await
            .map_err(|error| service(&error))
    }
}

/// A column in a form; none where there is no expression for it.
fn canonical(typed: &Typed, form: Form) -> Option<String> {
    let (column, base) = (ident(&typed.column.name), typed.base.as_str());
    let text = || format!("{column}::text");
    Some(match form {
        Form::Bool | Form::Integer if base == "bool" => format!("{column}::integer::text"),
        Form::Bool | Form::Integer | Form::Uuid => text(),
        Form::Decimal => format!("trim_scale({column}::numeric)::text"),
        Form::Float { bits } => {
            let double = match (base, bits) {
                // The digits decide, as they do in a change.
                ("float4", 64) => format!("{column}::text::float8"),
                _ => format!("{column}::float8"),
            };
            format!(
                "CASE WHEN {column} = 'NaN' THEN 'NaN' ELSE float8send({double} + 0::float8)::text END"
            )
        }
        // Debezium writes it in UTC, and so that ISO 8601 has it.
        Form::Text if base == "timetz" => {
            format!("replace(({column} AT TIME ZONE 'UTC')::text, '+00', 'Z')")
        }
        // A cast cuts the blanks of `char(n)`, and adds the mask of an address; the output does not.
        Form::Text if ["text", "varchar", "uuid", "int2", "int4", "int8"].contains(&base) => text(),
        Form::Text => format!("CASE WHEN {column} IS NOT NULL THEN concat({column}) END"),
        Form::Date => format!(
            "CASE WHEN isfinite({column}) THEN ({column} - date '1970-01-01')::text ELSE {column}::text END"
        ),
        Form::Time if base == "timestamp" => format!("timestamp_send({column})::text"),
        Form::Time => format!("timestamptz_send({column})::text"),
        Form::Span { .. } if base == "interval" => {
            let part = |it: &str| format!("extract({it} FROM {column})");
            let months = format!("{} * 12 + {}", part("year"), part("month"));
            // Debezium: a month has 30.4375 days.
            format!(
                "(({months})::bigint * 2629800000000 + {}::bigint * 86400000000 + {}::bigint * 3600000000 \
                 + {}::bigint * 60000000 + {}::bigint)::text",
                part("day"),
                part("hour"),
                part("minute"),
                part("microseconds")
            )
        }
        Form::Span { is_arrived } => {
            let unit = match is_arrived && is_of_millis(&typed.column.written) {
                true => 1_000,
                false => 1_000_000,
            };
            format!("(extract(epoch FROM {column}) * {unit})::bigint::text")
        }
        Form::Bytes if base == "bytea" => {
            format!("translate(encode({column}, 'base64'), E'\\n', '')")
        }
        Form::Bytes if ["text", "varchar"].contains(&base) => text(),
        Form::Bytes => return None,
        Form::JsonText | Form::Json => match (typed.element.as_deref(), base) {
            (Some("int2" | "int4" | "int8" | "bool" | "text" | "varchar"), _) => {
                format!("to_json({column})::text")
            }
            (None, "json" | "jsonb") if form == Form::Json => format!("{column}::jsonb::text"),
            (None, "json" | "jsonb") => text(),
            // The same type on both sides has the same output.
            (_, _) if form == Form::Json => text(),
            _ => return None,
        },
    })
}

/// Whether Debezium writes a time of the day in milliseconds: with up to three digits.
fn is_of_millis(written: &str) -> bool {
    ["time(0)", "time(1)", "time(2)", "time(3)"]
        .contains(&written.replace(" without time zone", "").as_str())
}
