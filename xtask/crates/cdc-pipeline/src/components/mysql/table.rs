//! A table of MySQL that a flow reads.

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::settings::MysqlSettings;
use crate::clients::answer::Row;
use crate::clients::mysql::{Mysql, ident, literal, table};
use crate::components::columns::unfit;
use crate::components::service;
use crate::components::source::{CanaryChange, CanaryKey, Key, SourceTable};
use crate::components::sql::{self, Quoting};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::flows::types::{Column, Kind, LEFT_OUT};
use crate::profile::schema::Flow;

/// How its SQL quotes.
pub(super) const QUOTING: Quoting = Quoting {
    ident,
    literal,
    table,
    overriding: "",
};

/// It, in a session.
pub(super) struct Table<'a> {
    session: Mysql,
    flow: &'a Flow,
    /// Which columns of the key are numbers, once they were asked for.
    numbers: OnceCell<Vec<bool>>,
}

impl<'a> Table<'a> {
    /// Connects.
    ///
    /// # Errors
    /// The server does not answer, or refuses the login.
    pub(super) async fn open(
        own: &MysqlSettings,
        env: &Environment,
        flow: &'a Flow,
    ) -> Result<Self> {
        let session = own.session(env).await;
        Ok(Table {
            session: session.map_err(|error| service(&error))?,
            flow,
            numbers: OnceCell::new(),
        })
    }

    async fn numbers(&self) -> Result<Vec<bool>> {
        let rows = self.session.query(&query(&self.flow.table)).await;
        let rows = rows.map_err(|error| service(&error))?;
        let is_number = |column: &String| {
            let row = rows.iter().find(|row| row[0].as_ref() == Some(column));
            let kind = row.and_then(|row| row[1].as_deref()).ok_or_else(|| {
                let what = format!("{} has no column `{column}` at the source", self.flow.table);
                Error::new(Code::Drift, what)
            })?;
            Ok(kind.ends_with("int") || kind == "decimal")
        };
        self.flow.key.iter().map(is_number).collect()
    }
}

/// The columns of a flow's table; none if there is none.
///
/// # Errors
/// The server does not answer.
pub(super) async fn columns(session: &Mysql, flow: &Flow) -> Result<Vec<Column>> {
    columns_of(session, &flow.table).await
}

/// The columns of a table, `database.table`; none if there is none.
///
/// # Errors
/// The server does not answer.
pub(super) async fn columns_of(session: &Mysql, table: &str) -> Result<Vec<Column>> {
    let rows = session.query(&query(table)).await.map_err(service)?;
    Ok(rows.into_iter().map(column).collect())
}

/// Columns whose values a snapshot would round: Debezium reads it as text, in which MySQL writes six digits of a float. The
/// changes after it have all of them.
pub(super) fn rounded<'a>(
    env: &'a Environment,
    name: &'a str,
    flow: &'a Flow,
    found: &'a [Column],
) -> impl Iterator<Item = Error> + 'a {
    let floats = found.iter().filter(|it| it.kind == FLOAT);
    let arriving = floats.filter(|it| flow.arrival(&it.name).is_some());
    arriving.map(move |column| {
        let own = &column.name;
        let what = format!(
            "`{own}` of {} is {}, of which a snapshot has six digits",
            flow.table, column.written
        );
        unfit(env, name, &[], &what).hint(format!(
            "make it a double at the source, ALTER TABLE {} MODIFY {} double; or leave it out, `omit: [{own}]`",
            table(&flow.table),
            ident(own)
        ))
    })
}

/// A number of four bytes.
const FLOAT: Kind = Kind::Float { bits: 32 };

/// Asks for the columns of a table; each row is for [`column`].
fn query(table: &str) -> String {
    let (schema, table) = table.split_once('.').unwrap_or_default();
    format!(
        "SELECT column_name, data_type, column_type, is_nullable, datetime_precision, \
         numeric_precision, numeric_scale, column_key, column_default IS NOT NULL FROM information_schema.columns \
         WHERE table_schema = {} AND table_name = {} ORDER BY ordinal_position",
        literal(schema),
        literal(table)
    )
}

/// A row of [`query`].
fn column(row: Row) -> Column {
    let mut cells = row.into_iter();
    let mut text = || cells.next().flatten().unwrap_or_default();
    let (name, kind, written) = (text(), text(), text());
    let is_nullable = text() == "YES";
    let mut number = || text().parse().ok();
    let (digits, precision, scale): (Option<u32>, Option<u32>, Option<u32>) =
        (number(), number(), number());
    let is_key = text() == "PRI";
    let is_filled = text() == "1";
    let digits = digits.unwrap_or_default();
    let signed = !written.contains("unsigned");
    let integer = |bits| Kind::Integer { bits, signed };
    let kind = match kind.as_str() {
        "bit" if written == "bit(1)" => Kind::Bool,
        "tinyint" => integer(8),
        "smallint" => integer(16),
        "mediumint" | "int" => integer(32),
        "bigint" => integer(64),
        "year" => Kind::Integer {
            bits: 32,
            signed: true,
        },
        "float" => FLOAT,
        "double" => Kind::Float { bits: 64 },
        "decimal" => Kind::Decimal {
            digits: precision.zip(scale),
        },
        "date" => Kind::Date,
        "datetime" => Kind::LocalTime { digits },
        "timestamp" => Kind::Instant { digits },
        "time" => Kind::Span,
        "bit" | "binary" | "varbinary" => Kind::Bytes,
        blob if blob.ends_with("blob") => Kind::Bytes,
        "char" | "varchar" | "enum" | "set" => Kind::Text,
        text if text.ends_with("text") => Kind::Text,
        "json" | "point" | "geometry" => Kind::Json,
        _ => Kind::Unread(LEFT_OUT),
    };
    Column {
        name,
        written,
        kind,
        is_nullable,
        is_key,
        is_filled,
    }
}

#[async_trait]
impl sql::Session for Mysql {
    async fn execute(&self, sql: &str) -> Result<u64> {
        self.execute(sql).await.map_err(service)
    }

    async fn query(&self, sql: &str) -> Result<Vec<Row>> {
        self.query(sql).await.map_err(service)
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
        let numbers = self.numbers.get_or_try_init(|| self.numbers()).await?;
        let present = |keys: &[Key]| present_sql(self.flow, numbers, keys);
        sql::absent(&self.session, keys, present).await
    }
}

/// Which of these keys are in a row, by their number. A number is compared as one: as a text MySQL would
/// round it to a float first.
fn present_sql(flow: &Flow, numbers: &[bool], keys: &[Key]) -> String {
    let name = table(&flow.table);
    let value = |text: &str, is_number: bool| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let plain = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
        match is_number && plain {
            true => text.to_owned(),
            false => literal(text),
        }
    };
    let one = |(number, key): (usize, &Key)| {
        let same: Vec<String> = flow
            .key
            .iter()
            .zip(numbers)
            .zip(key)
            .map(|((column, is_number), text)| {
                format!("{} = {}", ident(column), value(text, *is_number))
            })
            .collect();
        format!("SELECT {number} FROM {name} WHERE {}", same.join(" AND "))
    };
    let all: Vec<String> = keys.iter().enumerate().map(one).collect();
    all.join(" UNION ALL ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers() {
        let flow: Flow = serde_json::from_value(serde_json::json!({
            "connector": "c", "table": "shop.orders", "keep": "latest", "key": ["id", "code"],
            "group": "g", "columns": { "id": "Int64", "code": "String" }, "canary": null,
        }))
        .expect("a flow");
        let keys = [
            vec!["9007199254740993".to_owned(), "it's".to_owned()],
            vec!["1 OR 1".to_owned(), "7".to_owned()],
        ];
        assert_eq!(
            present_sql(&flow, &[true, false], &keys),
            "SELECT 0 FROM `shop`.`orders` WHERE `id` = 9007199254740993 AND `code` = 'it''s' \
             UNION ALL SELECT 1 FROM `shop`.`orders` WHERE `id` = '1 OR 1' AND `code` = '7'"
        );
        let older = CanaryChange::DeleteOlder {
            than: &CanaryKey::Number(-5),
            column: "name",
            template: "canary-{id}",
        };
        assert_eq!(
            sql::canary(&QUOTING, &flow, &CanaryKey::Number(-9), older),
            "DELETE FROM `shop`.`orders` WHERE `id` < 0 AND `id` > -5 AND `name` LIKE 'canary-%'"
        );
    }
}
