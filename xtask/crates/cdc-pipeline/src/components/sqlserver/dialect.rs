//! SQL Server's SQL for comparing a table with another database's. Texts are compared as bytes of UTF-8, whatever their
//! collation is, as the other databases have them.

use async_trait::async_trait;

use super::capture::{Name, object_id};
use super::settings::SqlserverSettings;
use super::table;
use crate::clients::answer::Row;
use crate::clients::sqlserver::{Sqlserver, ident, literal, table as quoted};
use crate::components::dialect::sql::{SqlTable, Words};
use crate::components::dialect::{Dialect, Form, Hash, Table};
use crate::components::service;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::flows::types::{Column, Kind};
use crate::profile::schema::Flow;

#[async_trait]
impl Dialect for SqlserverSettings {
    async fn open<'a>(
        &'a self,
        env: &'a Environment,
        table: &str,
        _: Option<&'a Flow>,
    ) -> Result<Box<dyn Table + 'a>> {
        let session = self.session(env).await.map_err(service)?;
        let columns = table::columns_of(&session, table).await?;
        if columns.is_empty() {
            let what = format!("{} has no table {table}", self.name);
            return Err(Error::new(Code::Drift, what).hint(format!(
                "cargo xtask query {} 'SELECT * FROM INFORMATION_SCHEMA.TABLES'",
                self.name
            )));
        }
        let set = unlocked(Name::of(table).database);
        session.execute(&set).await.map_err(service)?;
        Ok(Box::new(SqlTable(Server {
            session,
            name: table.to_owned(),
            relation: quoted(table),
            columns,
        })))
    }
}

/// Has the session read without locks, where the database allows it.
fn unlocked(database: &str) -> String {
    format!(
        "IF EXISTS (SELECT 1 FROM sys.databases WHERE name = {} AND snapshot_isolation_state = 1) \
         SET TRANSACTION ISOLATION LEVEL SNAPSHOT",
        literal(database)
    )
}

struct Server {
    session: Sqlserver,
    name: String,
    relation: String,
    columns: Vec<Column>,
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
        let value = canonical(column, form);
        value.ok_or_else(|| format!("{} has no canonical form yet", column.written))
    }

    /// `concat` would make an empty text of NULL.
    fn prefixed(&self, text: &str) -> String {
        format!("CAST(DATALENGTH({text}) AS varchar(20)) + ':' + {text}")
    }

    /// The server calls it deprecated.
    fn has_md5(&self) -> bool {
        false
    }

    fn digest(&self, text: &str, hash: Hash) -> String {
        match hash {
            Hash::Md5 => format!("HASHBYTES('MD5', {text})"),
            Hash::Sha256 => format!("CAST(HASHBYTES('SHA2_256', {text}) AS binary(16))"),
        }
    }

    fn digits(&self, digest: &str) -> String {
        format!("LOWER(CONVERT(char(32), {digest}, 2))")
    }

    fn bits(&self, digest: &str) -> String {
        format!("CAST(SUBSTRING({digest}, 1, 2) AS int)")
    }

    fn sums(&self, digest: &str) -> [String; 2] {
        [1, 9].map(|at| {
            format!("SUM(CAST(CAST(SUBSTRING({digest}, {at}, 8) AS bigint) AS decimal(38, 0)))")
        })
    }

    fn quotient(&self, column: &str, first: i64, width: u64) -> String {
        format!("(CAST({column} AS bigint) - ({first})) / {width}")
    }

    async fn estimate(&self) -> Result<u64> {
        let sql = format!(
            "SELECT SUM(rows) FROM {}.sys.partitions WHERE object_id = {} AND index_id IN (0, 1)",
            ident(Name::of(&self.name).database),
            object_id(&self.name)
        );
        let rows = self.session.value(&sql).await.map_err(service)?;
        Ok(rows.and_then(|it| it.parse().ok()).unwrap_or(0))
    }

    async fn query(&self, sql: &str) -> Result<Vec<Row>> {
        self.session.query(sql).await.map_err(service)
    }
}

/// A column in a form; none where there is no expression for it.
fn canonical(column: &Column, form: Form) -> Option<String> {
    let name = ident(&column.name);
    let digits = match column.kind {
        // A conversion of `money` itself keeps two digits.
        Kind::Decimal {
            digits: Some((precision, scale)),
        } => format!("CAST(CAST({name} AS decimal({precision}, {scale})) AS varchar(50))"),
        _ => format!("CAST({name} AS varchar(50))"),
    };
    Some(match (form, column.kind) {
        (Form::Bool | Form::Integer, Kind::Bool | Kind::Integer { .. }) => digits,
        (Form::Text, Kind::Integer { .. } | Kind::Decimal { .. }) => digits,
        (
            Form::Decimal,
            Kind::Decimal {
                digits: Some((_, 1..)),
            },
        ) => trimmed(&trimmed(&digits, '0'), '.'),
        (Form::Decimal, Kind::Decimal { .. } | Kind::Integer { .. }) => digits,
        // There is one zero.
        (Form::Float { .. }, Kind::Float { .. }) => {
            bytes(&format!("CAST({name} AS float(53)) + 0e0"))
        }
        (Form::Text, Kind::Text) => format!(
            "CAST(CAST({name} AS nvarchar(max)) COLLATE Latin1_General_100_BIN2_UTF8 AS varchar(max))"
        ),
        (Form::Date, Kind::Date) => {
            format!("CAST(DATEDIFF(day, '19700101', {name}) AS varchar(20))")
        }
        (Form::Time, Kind::LocalTime { .. }) => {
            since_2000(&format!("CAST({name} AS datetime2(7))"))
        }
        (Form::Time, Kind::Instant { .. }) => since_2000(&format!(
            "CAST(SWITCHOFFSET({name}, '+00:00') AS datetime2(7))"
        )),
        (Form::Span { .. }, Kind::Span) => format!(
            "CAST(DATEDIFF_BIG(microsecond, CAST('00:00' AS time(7)), {name}) AS varchar(20))"
        ),
        _ => return None,
    })
}

/// A text that has no blanks, without this character at its end.
fn trimmed(text: &str, last: char) -> String {
    format!("REPLACE(RTRIM(REPLACE({text}, '{last}', ' ')), ' ', '{last}')")
}

fn since_2000(time: &str) -> String {
    let from = "CAST('20000101' AS datetime2(7))";
    bytes(&format!("DATEDIFF_BIG(microsecond, {from}, {time})"))
}

/// 64 bits in hexadecimal digits as PostgreSQL writes bytes.
fn bytes(value: &str) -> String {
    format!("'\\x' + LOWER(CONVERT(char(16), CAST({value} AS binary(8)), 2))")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: Kind) -> Column {
        Column {
            name: "c".into(),
            written: "t".into(),
            kind,
            is_nullable: true,
            is_key: false,
            is_filled: false,
        }
    }

    #[test]
    fn each_form_is_an_expression_of_documented_functions() {
        let money = Kind::Decimal {
            digits: Some((19, 4)),
        };
        let integer = Kind::Integer {
            bits: 64,
            signed: true,
        };
        for (form, kind, wanted) in [
            (Form::Bool, Kind::Bool, "CAST([c] AS varchar(50))"),
            (Form::Integer, integer, "CAST([c] AS varchar(50))"),
            (
                Form::Text,
                money,
                "CAST(CAST([c] AS decimal(19, 4)) AS varchar(50))",
            ),
            (
                Form::Decimal,
                money,
                "REPLACE(RTRIM(REPLACE(REPLACE(RTRIM(REPLACE(CAST(CAST([c] AS decimal(19, 4)) AS varchar(50)), \
                 '0', ' ')), ' ', '0'), '.', ' ')), ' ', '.')",
            ),
            (
                Form::Float { bits: 64 },
                Kind::Float { bits: 64 },
                "'\\x' + LOWER(CONVERT(char(16), CAST(CAST([c] AS float(53)) + 0e0 AS binary(8)), 2))",
            ),
            (
                Form::Text,
                Kind::Text,
                "CAST(CAST([c] AS nvarchar(max)) COLLATE Latin1_General_100_BIN2_UTF8 AS varchar(max))",
            ),
            (
                Form::Date,
                Kind::Date,
                "CAST(DATEDIFF(day, '19700101', [c]) AS varchar(20))",
            ),
            (
                Form::Time,
                Kind::Instant { digits: 6 },
                "'\\x' + LOWER(CONVERT(char(16), CAST(DATEDIFF_BIG(microsecond, \
                 CAST('20000101' AS datetime2(7)), CAST(SWITCHOFFSET([c], '+00:00') AS datetime2(7))) AS binary(8)), 2))",
            ),
            (
                Form::Span { is_arrived: true },
                Kind::Span,
                "CAST(DATEDIFF_BIG(microsecond, CAST('00:00' AS time(7)), [c]) AS varchar(20))",
            ),
        ] {
            assert_eq!(canonical(&column(kind), form).as_deref(), Some(wanted));
        }
        assert_eq!(canonical(&column(Kind::Bytes), Form::Bytes), None);
    }

    #[test]
    fn sessions_take_no_locks_where_the_database_allows_it() {
        assert_eq!(
            unlocked("shop"),
            "IF EXISTS (SELECT 1 FROM sys.databases WHERE name = N'shop' AND snapshot_isolation_state = 1) \
             SET TRANSACTION ISOLATION LEVEL SNAPSHOT"
        );
    }
}
