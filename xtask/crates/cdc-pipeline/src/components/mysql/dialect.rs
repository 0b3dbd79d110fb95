//! MySQL's SQL for comparing a table with another database's.

use async_trait::async_trait;

use super::settings::MysqlSettings;
use super::table;
use crate::clients::answer::Row;
use crate::clients::mysql::{Mysql, ident, literal, table as quoted};
use crate::components::dialect::sql::{SqlTable, Words};
use crate::components::dialect::{Dialect, Form, Hash, Table};
use crate::components::service;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::flows::types::{Column, Kind};
use crate::profile::schema::Flow;

/// Times are compared in UTC. Whatever else `sql_mode` says, a statement means the same.
const SESSION: &str =
    "SET SESSION time_zone = '+00:00', SESSION sql_mode = '', SESSION transaction_read_only = 1";

#[async_trait]
impl Dialect for MysqlSettings {
    async fn open<'a>(
        &'a self,
        env: &'a Environment,
        table: &str,
        _: Option<&'a Flow>,
    ) -> Result<Box<dyn Table + 'a>> {
        let session = self.session(env).await.map_err(service)?;
        session.execute(SESSION).await.map_err(service)?;
        let columns = table::columns_of(&session, table).await?;
        if columns.is_empty() {
            let what = format!("{} has no table {table}", self.name);
            return Err(Error::new(Code::Drift, what)
                .hint(format!("cargo xtask query {} 'SHOW TABLES'", self.name)));
        }
        // MySQL wants one selected for a subquery in FROM, whatever stands in it (error 1046).
        if let Some((database, _)) = table.split_once('.') {
            let used = session.execute(&format!("USE {}", ident(database))).await;
            used.map_err(service)?;
        }
        Ok(Box::new(SqlTable(Server {
            session,
            name: table.to_owned(),
            relation: quoted(table),
            columns,
        })))
    }
}

struct Server {
    session: Mysql,
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

    fn prefixed(&self, text: &str) -> String {
        format!("concat(octet_length({text}), ':', {text})")
    }

    /// MySQL 9.6 took it out of the server.
    fn has_md5(&self) -> bool {
        false
    }

    fn digest(&self, text: &str, hash: Hash) -> String {
        match hash {
            Hash::Md5 => format!("md5({text})"),
            Hash::Sha256 => format!("left(sha2({text}, 256), 32)"),
        }
    }

    fn digits(&self, digest: &str) -> String {
        digest.to_owned()
    }

    fn bits(&self, digest: &str) -> String {
        format!("CAST(conv(left({digest}, 4), 16, 10) AS UNSIGNED)")
    }

    fn sums(&self, digest: &str) -> [String; 2] {
        ["left", "right"]
            .map(|it| format!("sum(CAST(conv({it}({digest}, 16), 16, 10) AS UNSIGNED))"))
    }

    fn quotient(&self, column: &str, first: i64, width: u64) -> String {
        format!("(CAST({column} AS SIGNED) - ({first})) DIV {width}")
    }

    async fn estimate(&self) -> Result<u64> {
        let (schema, table) = self.name.split_once('.').unwrap_or_default();
        let sql = format!(
            "SELECT table_rows FROM information_schema.tables WHERE table_schema = {} AND table_name = {}",
            literal(schema),
            literal(table)
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
    let text = format!("CONVERT({name} USING utf8mb4)");
    let digits = format!("CAST({name} AS CHAR)");
    Some(match (form, column.kind) {
        (Form::Bool | Form::Integer, Kind::Bool) => format!("CAST({name} + 0 AS CHAR)"),
        (Form::Bool | Form::Integer | Form::Text, Kind::Integer { .. }) => digits,
        (
            Form::Decimal,
            Kind::Decimal {
                digits: Some((_, 1..)),
            },
        ) => format!("TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {digits}))"),
        (Form::Decimal | Form::Text, Kind::Decimal { .. } | Kind::Integer { .. }) => digits,
        // A point's binary form has a double in it, the last byte first.
        (Form::Float { .. }, _) => bytes(&format!(
            "HEX(REVERSE(SUBSTR(ST_AsWKB(POINT({name} + 0e0, 0)), 6, 8)))"
        )),
        (Form::Text, _) => text,
        (Form::Date, _) => format!("CAST(DATEDIFF({name}, '1970-01-01') AS CHAR)"),
        (Form::Time, _) => bytes(&format!("HEX({})", since_2000(&name))),
        (Form::Span { .. }, _) => format!(
            "CAST({} AS CHAR)",
            since_2000(&format!("ADDTIME('2000-01-01 00:00:00', {name})"))
        ),
        (Form::Bytes, _) if !column.written.starts_with("bit") => {
            format!("REPLACE(TO_BASE64({name}), CHAR(10), '')")
        }
        _ => return None,
    })
}

fn since_2000(time: &str) -> String {
    format!("TIMESTAMPDIFF(MICROSECOND, '2000-01-01 00:00:00', {time})")
}

/// 64 bits in hexadecimal digits as PostgreSQL writes bytes. A backslash in a text means what `sql_mode` says.
fn bytes(digits: &str) -> String {
    format!("CONCAT(CHAR(92 USING utf8mb4), 'x', LPAD(LOWER({digits}), 16, '0'))")
}
