//! ClickHouse's SQL for comparing a table with another database's.

use async_trait::async_trait;
use serde_json::Value;

use super::columns;
use super::settings::ClickhouseSettings;
use super::types::{bare, is_nullable, parts};
use crate::clients::answer::Row;
use crate::clients::clickhouse::{Clickhouse, ident, literal};
use crate::components::dialect::sql::{SqlTable, Words};
use crate::components::dialect::{Dialect, Form, Hash, Table};
use crate::components::service;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::flows::types::{Column, Kind};
use crate::profile::check::OWN_COLUMNS;
use crate::profile::schema::{Flow, Keep};

/// Engines whose rows are merged when they are read.
const MERGED: [&str; 5] = [
    "Replacing",
    "Collapsing",
    "Summing",
    "Aggregating",
    "Distributed",
];

#[async_trait]
impl Dialect for ClickhouseSettings {
    async fn open<'a>(
        &'a self,
        env: &'a Environment,
        table: &str,
        flow: Option<&'a Flow>,
    ) -> Result<Box<dyn Table + 'a>> {
        let client = self.client(env);
        let found = columns::columns(&client, &self.database, table).await?;
        if found.is_empty() {
            let what = format!("{} has no table {table}", self.name);
            return Err(Error::new(Code::Drift, what)
                .hint(format!("cargo xtask query {} 'SHOW TABLES'", self.name)));
        }
        let sql = format!(
            "SELECT engine FROM system.tables WHERE database = {} AND name = {}",
            literal(&self.database),
            literal(table)
        );
        let engine = client.text(&sql).await.map_err(|error| service(&error))?;
        let is_silver = OWN_COLUMNS.iter().all(|it| found.contains_key(*it));
        let keys: Vec<String> = match flow {
            Some(flow) => flow
                .key
                .iter()
                .map(|it| ident(flow.at_target(it)))
                .collect(),
            None => {
                let sorted = found
                    .iter()
                    .filter(|(name, it)| it.is_sorted && !OWN_COLUMNS.contains(&name.as_str()));
                sorted.map(|(name, _)| ident(name)).collect()
            }
        };
        let is_history = is_silver
            && match flow {
                Some(flow) => flow.keep == Keep::Every,
                None => found.get("_position").is_some_and(|it| it.is_sorted),
            };
        let (name, keys) = (ident(table), keys.join(", "));
        let relation = match is_history {
            true => format!(
                "(SELECT * FROM {name} ORDER BY {keys}, _position DESC, _offset DESC LIMIT 1 BY {keys})"
            ),
            false if MERGED.iter().any(|it| engine.contains(it)) => format!("{name} FINAL"),
            false => name,
        };
        let columns = found
            .iter()
            .filter(|(name, _)| !is_silver || !OWN_COLUMNS.contains(&name.as_str()));
        let columns = columns.map(|(name, it)| Column {
            name: name.clone(),
            written: it.r#type.clone(),
            kind: kind(&it.r#type),
            is_nullable: is_nullable(&it.r#type),
            is_key: it.is_sorted,
            is_filled: false,
        });
        Ok(Box::new(SqlTable(Server {
            columns: columns.collect(),
            relation,
            table: table.to_owned(),
            database: self.database.clone(),
            is_silver,
            client,
        })))
    }
}

struct Server {
    client: Clickhouse,
    database: String,
    table: String,
    relation: String,
    columns: Vec<Column>,
    is_silver: bool,
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

    fn present(&self) -> Option<&str> {
        self.is_silver.then_some("is_deleted = 0")
    }

    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn canonical(&self, column: &Column, form: Form) -> Result<String, String> {
        let (name, kind) = (ident(&column.name), bare(&column.written));
        let text = format!("toString({name})");
        Ok(match form {
            Form::Bool | Form::Integer if kind == "Bool" => format!("toString(toUInt8({name}))"),
            Form::Date => format!("toString(toInt32({name}))"),
            Form::Float { .. } => {
                let bits = format!("reinterpretAsUInt64(toFloat64({name}) + 0)");
                format!("if(isNaN({name}), 'NaN', {})", hexadecimal(&bits))
            }
            Form::Time => {
                let micros = format!("toUnixTimestamp64Micro(toDateTime64({name}, 6, 'UTC'))");
                hexadecimal(&format!("toInt64({micros} - 946684800000000)"))
            }
            Form::Text | Form::JsonText | Form::Bytes if kind == "String" => {
                match column.written.starts_with("LowCardinality") {
                    true => text,
                    false => name,
                }
            }
            Form::Bool
            | Form::Integer
            | Form::Decimal
            | Form::Text
            | Form::Uuid
            | Form::Span { .. } => text,
            Form::Bytes | Form::JsonText | Form::Json => {
                return Err(format!("{} has no canonical form yet", column.written));
            }
        })
    }

    fn prefixed(&self, text: &str) -> String {
        format!("concat(toString(length({text})), ':', {text})")
    }

    fn digest(&self, text: &str, hash: Hash) -> String {
        match hash {
            Hash::Md5 => format!("MD5({text})"),
            Hash::Sha256 => format!("substring(SHA256({text}), 1, 16)"),
        }
    }

    fn digits(&self, digest: &str) -> String {
        format!("lower(hex({digest}))")
    }

    fn bits(&self, digest: &str) -> String {
        format!("reinterpretAsUInt16(reverse(substring({digest}, 1, 2)))")
    }

    /// A number is read with its last byte first.
    fn sums(&self, digest: &str) -> [String; 2] {
        [1, 9].map(|from| {
            format!("toString(sum(reinterpretAsUInt64(reverse(substring({digest}, {from}, 8)))))")
        })
    }

    fn quotient(&self, column: &str, first: i64, width: u64) -> String {
        format!("intDiv(toInt64({column}) - toInt64('{first}'), {width})")
    }

    async fn estimate(&self) -> Result<u64> {
        let sql = format!("SELECT count() FROM {}", ident(&self.table));
        let rows = self
            .client
            .text(&sql)
            .await
            .map_err(|error| service(&error))?;
        Ok(rows.trim().parse().unwrap_or(0))
    }

    async fn query(&self, sql: &str) -> Result<Vec<Row>> {
        let sql = format!("{sql}\nFORMAT JSONCompactEachRow");
        let text = self
            .client
            .text(&sql)
            .await
            .map_err(|error| service(&error))?;
        let cell = |cell: Value| match cell {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        let row = |line: &str| {
            let cells: Vec<Value> = serde_json::from_str(line).map_err(|error| {
                Error::new(
                    Code::Service,
                    format!("{} of {}: {error}", self.table, self.database),
                )
            })?;
            Ok(cells.into_iter().map(cell).collect())
        };
        text.lines().map(row).collect()
    }
}

/// A number of 64 bits as PostgreSQL writes its bytes. `hex` leaves bytes out that are zero.
fn hexadecimal(number: &str) -> String {
    format!("concat('\\\\x', leftPad(lower(hex({number})), 16, '0'))")
}

/// What a type may hold.
fn kind(written: &str) -> Kind {
    let (name, numbers) = parts(bare(written));
    let bits = |prefix: &str| name.strip_prefix(prefix).and_then(|it| it.parse().ok());
    let (signed, unsigned, float) = (bits("Int"), bits("UInt"), bits("Float"));
    match (name, signed, unsigned, float) {
        (_, Some(bits), ..) => Kind::Integer { bits, signed: true },
        (_, _, Some(bits), _) => Kind::Integer {
            bits,
            signed: false,
        },
        (.., Some(bits)) => Kind::Float { bits },
        ("Bool", ..) => Kind::Bool,
        ("Decimal", ..) => Kind::Decimal {
            digits: numbers.first().copied().zip(numbers.get(1).copied()),
        },
        ("UUID", ..) => Kind::Uuid,
        ("Date" | "Date32", ..) => Kind::Date,
        ("DateTime", ..) => Kind::Instant { digits: 0 },
        ("DateTime64", ..) => Kind::Instant {
            digits: numbers.first().copied().unwrap_or(3),
        },
        ("String" | "FixedString" | "IPv4" | "IPv6" | "Enum8" | "Enum16", ..) => Kind::Text,
        _ => Kind::Unread("it is no scalar"),
    }
}
