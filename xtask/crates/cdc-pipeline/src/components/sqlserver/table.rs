//! A table of SQL Server that a flow reads.

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::capture::{Name, object_id};
use super::settings::SqlserverSettings;
use crate::clients::answer::Row;
use crate::clients::sqlserver::{Sqlserver, ident, literal, table};
use crate::components::service;
use crate::components::source::{CanaryChange, CanaryKey, Key, SourceTable};
use crate::components::sql::{self, Quoting};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::flows::types::{Column, Kind, LEFT_OUT};
use crate::profile::schema::Flow;

/// Debezium writes all digits but the seventh: `time.precision.mode` is `microseconds`.
const DIGITS: u32 = 6;

/// Texts are the same only if their characters are, whatever the column's collation says.
const EXACT: &str = "COLLATE Latin1_General_BIN2";

/// How its SQL quotes.
pub(super) const QUOTING: Quoting = Quoting {
    ident,
    literal,
    table,
    overriding: "",
};

/// It, in a session.
pub(super) struct Table<'a> {
    session: Sqlserver,
    flow: &'a Flow,
    /// What the columns of the key hold, once they were asked for.
    key: OnceCell<Vec<Kind>>,
}

impl<'a> Table<'a> {
    /// Connects.
    ///
    /// # Errors
    /// The server does not answer, or refuses the login.
    pub(super) async fn open(
        own: &SqlserverSettings,
        env: &Environment,
        flow: &'a Flow,
    ) -> Result<Self> {
        Ok(Table {
            session: own.session(env).await.map_err(service)?,
            flow,
            key: OnceCell::new(),
        })
    }

    async fn key(&self) -> Result<Vec<Kind>> {
        let columns = columns_of(&self.session, &self.flow.table).await?;
        let kind = |name: &String| {
            let found = columns.iter().find(|it| it.name == *name);
            found.map(|it| it.kind).ok_or_else(|| {
                let what = format!("{} has no column `{name}` at the source", self.flow.table);
                Error::new(Code::Drift, what)
            })
        };
        self.flow.key.iter().map(kind).collect()
    }
}

/// The columns of a table, `database.schema.table`; none if there is none.
///
/// # Errors
/// The server does not answer.
pub(super) async fn columns_of(session: &Sqlserver, table: &str) -> Result<Vec<Column>> {
    let rows = session.query(&query(table)).await.map_err(service)?;
    Ok(rows.into_iter().map(column).collect())
}

/// Asks for the columns of a table; each row is for [`column`]. An alias type has the
/// one that it is made of.
fn query(table: &str) -> String {
    let database = ident(Name::of(table).database);
    format!(
        "SELECT c.name, COALESCE(b.name, t.name), c.max_length, c.precision, c.scale, c.is_nullable, \
         CASE WHEN EXISTS (SELECT 1 FROM {database}.sys.index_columns k JOIN {database}.sys.indexes i \
         ON i.object_id = k.object_id AND i.index_id = k.index_id WHERE i.is_primary_key = 1 \
         AND k.object_id = c.object_id AND k.column_id = c.column_id) THEN 1 ELSE 0 END, \
         CASE WHEN c.default_object_id <> 0 OR c.is_identity = 1 THEN 1 ELSE 0 END, c.is_computed \
         FROM {database}.sys.columns c JOIN {database}.sys.types t ON t.user_type_id = c.user_type_id \
         LEFT JOIN {database}.sys.types b ON b.user_type_id = c.system_type_id \
         WHERE c.object_id = {} ORDER BY c.column_id",
        object_id(table)
    )
}

/// A row of [`query`].
fn column(row: Row) -> Column {
    let mut cells = row.into_iter();
    let mut text = || cells.next().flatten().unwrap_or_default();
    let (name, base) = (text(), text());
    let mut number = || text().parse::<i64>().unwrap_or_default();
    let (bytes, precision, scale) = (number(), number(), number());
    let mut flag = || text() == "1";
    let (is_nullable, is_key, is_filled, is_computed) = (flag(), flag(), flag(), flag());
    let precision = u32::try_from(precision).unwrap_or_default();
    let scale = u32::try_from(scale).unwrap_or_default();
    let integer = |bits, signed| Kind::Integer { bits, signed };
    let decimal = |digits| Kind::Decimal {
        digits: Some(digits),
    };
    let kind = match base.as_str() {
        _ if is_computed => {
            Kind::Unread("the server computes it, and change tables have no value of it")
        }
        "bit" => Kind::Bool,
        "tinyint" => integer(8, false),
        "smallint" => integer(16, true),
        "int" => integer(32, true),
        "bigint" => integer(64, true),
        "real" => Kind::Float { bits: 32 },
        "float" => Kind::Float { bits: 64 },
        "decimal" | "numeric" => decimal((precision, scale)),
        "money" => decimal((19, 4)),
        "smallmoney" => decimal((10, 4)),
        "date" => Kind::Date,
        "datetime" | "smalldatetime" | "datetime2" => Kind::LocalTime { digits: DIGITS },
        "datetimeoffset" => Kind::Instant { digits: DIGITS },
        "time" => Kind::Span,
        // It arrives as a text in capitals, and is no type of its own in changes.
        "uniqueidentifier" => Kind::Text,
        "char" | "varchar" | "text" | "nchar" | "nvarchar" | "ntext" | "xml" => Kind::Text,
        "binary" | "varbinary" | "image" | "timestamp" => Kind::Bytes,
        _ => Kind::Unread(LEFT_OUT),
    };
    Column {
        written: written(&base, bytes, precision, scale),
        name,
        kind,
        is_nullable,
        is_key,
        is_filled,
    }
}

/// A type as T-SQL writes it.
fn written(base: &str, bytes: i64, precision: u32, scale: u32) -> String {
    let long = |unit: i64| match bytes {
        -1 => format!("{base}(max)"),
        bytes => format!("{base}({})", bytes / unit),
    };
    match base {
        "char" | "varchar" | "binary" | "varbinary" => long(1),
        "nchar" | "nvarchar" => long(2),
        "decimal" | "numeric" => format!("{base}({precision},{scale})"),
        "datetime2" | "datetimeoffset" | "time" => format!("{base}({scale})"),
        _ => base.to_owned(),
    }
}

#[async_trait]
impl sql::Session for Sqlserver {
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
        let sql = canary(self.flow, key, change);
        let done = self.session.execute(&sql).await;
        done.map(drop).map_err(service)
    }

    async fn absent(&self, keys: &[Key]) -> Result<Vec<Key>> {
        let kinds = self.key.get_or_try_init(|| self.key()).await?;
        let present = |keys: &[Key]| present(self.flow, kinds, keys);
        sql::absent(&self.session, keys, present).await
    }
}

/// What is done to a canary. A key that the server counts is given by hand.
fn canary(flow: &Flow, key: &CanaryKey, change: CanaryChange<'_>) -> String {
    let is_insert = matches!(change, CanaryChange::Insert(_));
    let sql = sql::canary(&QUOTING, flow, key, change);
    let Some(column) = flow.key.first().filter(|_| is_insert) else {
        return sql;
    };
    let (name, text) = (table(&flow.table), literal(&sql));
    let counts = format!(
        "EXISTS (SELECT 1 FROM {}.sys.identity_columns WHERE object_id = {} AND name = {})",
        ident(Name::of(&flow.table).database),
        object_id(&flow.table),
        literal(column)
    );
    let given = literal(&format!(
        "SET IDENTITY_INSERT {name} ON; {sql}; SET IDENTITY_INSERT {name} OFF"
    ));
    // A statement of its own: the server refuses the setting for other tables before it runs any of a batch.
    format!(
        "DECLARE @sql nvarchar(max) = CASE WHEN {counts} THEN {given} ELSE {text} END;\n\
         EXEC sys.sp_executesql @sql"
    )
}

/// Which of these keys are in a row, by their number. A number is compared as one; a text by its characters, after the
/// column's own index has found those that are the same to its collation.
fn present(flow: &Flow, kinds: &[Kind], keys: &[Key]) -> String {
    let name = table(&flow.table);
    let is = |column: &str, kind: Kind, text: &str| {
        let column = ident(column);
        match kind {
            Kind::Bool | Kind::Integer { .. } | Kind::Decimal { .. } => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
                match plain && !digits.is_empty() {
                    true => format!("{column} = {text}"),
                    false => "1 = 0".to_owned(),
                }
            }
            Kind::Text => {
                let text = literal(text);
                format!("{column} = {text} AND CAST({column} AS nvarchar(max)) {EXACT} = {text}")
            }
            _ => format!("{column} = {}", literal(text)),
        }
    };
    let one = |(number, key): (usize, &Key)| {
        let parts = flow.key.iter().zip(kinds).zip(key);
        let same: Vec<String> = parts
            .map(|((column, kind), text)| is(column, *kind, text))
            .collect();
        format!("SELECT {number} FROM {name} WHERE {}", same.join(" AND "))
    };
    let all: Vec<String> = keys.iter().enumerate().map(one).collect();
    all.join(" UNION ALL ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> Flow {
        serde_json::from_value(serde_json::json!({
            "connector": "c", "table": "shop.dbo.orders", "keep": "latest", "key": ["id", "code"],
            "group": "g", "columns": { "id": "Int64", "code": "String" }, "canary": null,
        }))
        .expect("a flow")
    }

    #[test]
    fn numbers_are_compared_as_numbers_and_texts_by_their_characters() {
        let kinds = [
            Kind::Integer {
                bits: 64,
                signed: true,
            },
            Kind::Text,
        ];
        let keys = [
            vec!["-9007199254740993".to_owned(), "it's".to_owned()],
            vec!["1 OR 1".to_owned(), "7".to_owned()],
        ];
        assert_eq!(
            present(&flow(), &kinds, &keys),
            "SELECT 0 FROM [shop].[dbo].[orders] WHERE [id] = -9007199254740993 AND [code] = N'it''s' \
             AND CAST([code] AS nvarchar(max)) COLLATE Latin1_General_BIN2 = N'it''s' \
             UNION ALL SELECT 1 FROM [shop].[dbo].[orders] WHERE 1 = 0 AND [code] = N'7' \
             AND CAST([code] AS nvarchar(max)) COLLATE Latin1_General_BIN2 = N'7'"
        );
    }

    #[test]
    fn a_counted_key_is_given_by_hand() {
        let fields = [("name".to_owned(), "it's".to_owned())]
            .into_iter()
            .collect();
        let sql = canary(
            &flow(),
            &CanaryKey::Number(-9),
            CanaryChange::Insert(&fields),
        );
        assert_eq!(
            sql,
            "DECLARE @sql nvarchar(max) = CASE WHEN EXISTS (SELECT 1 FROM [shop].sys.identity_columns \
             WHERE object_id = OBJECT_ID(N'[shop].[dbo].[orders]') AND name = N'id') \
             THEN N'SET IDENTITY_INSERT [shop].[dbo].[orders] ON; INSERT INTO [shop].[dbo].[orders] ([id], [name]) \
             VALUES (-9, N''it''''s''); SET IDENTITY_INSERT [shop].[dbo].[orders] OFF' \
             ELSE N'INSERT INTO [shop].[dbo].[orders] ([id], [name]) VALUES (-9, N''it''''s'')' END;\n\
             EXEC sys.sp_executesql @sql"
        );
        let older = CanaryChange::DeleteOlder {
            than: &CanaryKey::Number(-5),
            column: "name",
            template: "canary-{id}",
        };
        assert_eq!(
            canary(&flow(), &CanaryKey::Number(-9), older),
            "DELETE FROM [shop].[dbo].[orders] WHERE [id] < 0 AND [id] > -5 AND [name] LIKE N'canary-%'"
        );
    }

    #[test]
    fn types_are_what_the_connector_writes() {
        let of = |base: &str, bytes: &str, precision: &str, scale: &str, computed: &str| {
            let cells = ["c", base, bytes, precision, scale, "1", "0", "0", computed];
            let found = column(cells.map(|it| Some(it.to_owned())).to_vec());
            (found.written, found.kind)
        };
        for (base, bytes, precision, scale, written, kind) in [
            ("bit", "1", "1", "0", "bit", Kind::Bool),
            (
                "tinyint",
                "1",
                "3",
                "0",
                "tinyint",
                Kind::Integer {
                    bits: 8,
                    signed: false,
                },
            ),
            (
                "bigint",
                "8",
                "19",
                "0",
                "bigint",
                Kind::Integer {
                    bits: 64,
                    signed: true,
                },
            ),
            (
                "decimal",
                "9",
                "18",
                "2",
                "decimal(18,2)",
                Kind::Decimal {
                    digits: Some((18, 2)),
                },
            ),
            (
                "money",
                "8",
                "19",
                "4",
                "money",
                Kind::Decimal {
                    digits: Some((19, 4)),
                },
            ),
            ("real", "4", "24", "0", "real", Kind::Float { bits: 32 }),
            (
                "datetime2",
                "8",
                "27",
                "7",
                "datetime2(7)",
                Kind::LocalTime { digits: 6 },
            ),
            (
                "datetime",
                "8",
                "23",
                "3",
                "datetime",
                Kind::LocalTime { digits: 6 },
            ),
            (
                "datetimeoffset",
                "8",
                "29",
                "2",
                "datetimeoffset(2)",
                Kind::Instant { digits: 6 },
            ),
            ("time", "5", "16", "7", "time(7)", Kind::Span),
            ("nvarchar", "400", "0", "0", "nvarchar(200)", Kind::Text),
            ("nvarchar", "-1", "0", "0", "nvarchar(max)", Kind::Text),
            (
                "uniqueidentifier",
                "16",
                "0",
                "0",
                "uniqueidentifier",
                Kind::Text,
            ),
            ("varbinary", "16", "0", "0", "varbinary(16)", Kind::Bytes),
            (
                "geography",
                "-1",
                "0",
                "0",
                "geography",
                Kind::Unread(LEFT_OUT),
            ),
        ] {
            assert_eq!(
                of(base, bytes, precision, scale, "0"),
                (written.to_owned(), kind)
            );
        }
        assert!(matches!(of("int", "4", "10", "0", "1").1, Kind::Unread(_)));
    }

    #[test]
    fn the_catalogue_is_that_of_the_tables_database() {
        let sql = query("shop.dbo.orders");
        assert!(
            sql.contains("FROM [shop].sys.columns c JOIN [shop].sys.types t"),
            "{sql}"
        );
        assert!(sql.contains("OBJECT_ID(N'[shop].[dbo].[orders]')"), "{sql}");
    }
}
