//! SQL Server's SQL in `query` and `shell`: one session, so that transactions work. `GO` ends a batch, as in `sqlcmd`.

use async_trait::async_trait;

use super::capture::Name;
use super::settings::SqlserverSettings;
use crate::clients::sqlserver::{Sqlserver, ident, literal};
use crate::components::console::{Form, Session, Talk, answered};
use crate::components::service;
use crate::environment::Environment;
use crate::error::Result;

#[async_trait]
impl Talk for SqlserverSettings {
    async fn open(&self, env: &Environment) -> Result<Box<dyn Session>> {
        Ok(Box::new(self.session(env).await.map_err(service)?))
    }

    fn described(&self, name: Option<&str>) -> String {
        match name {
            None => "SELECT s.name AS [schema], t.name AS [table], t.is_tracked_by_cdc FROM sys.tables t \
                     JOIN sys.schemas s ON s.schema_id = t.schema_id WHERE t.is_ms_shipped = 0 ORDER BY 1, 2"
                .to_owned(),
            Some(name) => described(name),
        }
    }
}

/// The columns of `table`, `schema.table` or `database.schema.table`.
fn described(name: &str) -> String {
    let (catalogue, schema, table) = match name.matches('.').count() {
        0 => (String::new(), "dbo", name),
        1 => {
            let (schema, table) = name.split_once('.').unwrap_or_default();
            (String::new(), schema, table)
        }
        _ => {
            let name = Name::of(name);
            (
                format!("{}.", ident(name.database)),
                name.schema,
                name.table,
            )
        }
    };
    format!(
        "SELECT COLUMN_NAME, DATA_TYPE, IS_NULLABLE FROM {catalogue}INFORMATION_SCHEMA.COLUMNS \
         WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} ORDER BY ORDINAL_POSITION",
        literal(schema),
        literal(table)
    )
}

#[async_trait]
impl Session for Sqlserver {
    async fn run(&mut self, sql: &str, form: Form) -> Result<String> {
        let answers = self.answers(sql).await.map_err(service)?;
        Ok(answered(&answers, form))
    }
}

#[cfg(test)]
mod tests {
    use super::described;

    #[test]
    fn a_table_is_named_with_what_it_is_in_or_without() {
        for (name, wanted) in [
            (
                "users",
                "FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = N'dbo' AND TABLE_NAME = N'users'",
            ),
            (
                "a.users",
                "FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = N'a' AND",
            ),
            (
                "shop.a.users",
                "FROM [shop].INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = N'a' AND",
            ),
        ] {
            assert!(described(name).contains(wanted), "{}", described(name));
        }
    }
}
