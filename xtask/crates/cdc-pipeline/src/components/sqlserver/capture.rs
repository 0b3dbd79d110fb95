//! Change data capture of SQL Server: a job of its agent copies what the log has of a table into a change table, which is
//! what connectors read. It is on for a database, then for each table.
//!
//! On a server that the tool runs it turns it on. On one that the user runs it does not: a change table grows, and its
//! jobs cost something. What is missing is named with the statement that adds it.

use std::collections::BTreeSet;

use super::settings::SqlserverSettings;
use crate::clients::sqlserver::{Sqlserver, ident, literal, table as quoted};
use crate::components::service;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::Outcome;
use crate::printed;

/// The role whose members may read the change tables that this tool has made.
pub const ROLE: &str = "cdc_reader";

/// A table's name in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name<'a> {
    /// Its database.
    pub database: &'a str,
    /// Its schema.
    pub schema: &'a str,
    /// Its own.
    pub table: &'a str,
}

impl<'a> Name<'a> {
    /// Of `database.schema.table`, which a checked profile's tables are.
    pub fn of(whole: &'a str) -> Self {
        let mut parts = whole.splitn(3, '.');
        let mut part = || parts.next().unwrap_or_default();
        Name {
            database: part(),
            schema: part(),
            table: part(),
        }
    }

    /// `schema.table`, as the connector's list of tables has it.
    pub fn within(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }
}

/// The object's number in its database, as an expression.
pub fn object_id(table: &str) -> String {
    format!("OBJECT_ID({})", literal(&quoted(table)))
}

/// The databases of tables.
pub fn databases<'a>(tables: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    tables.map(|it| Name::of(it).database).collect()
}

/// Makes a database that is not there yet, and lets snapshots read it without locks.
pub fn create_database(database: &str) -> String {
    let (name, text) = (ident(database), literal(database));
    format!(
        "IF DB_ID({text}) IS NULL CREATE DATABASE {name}\n\
         GO\n\
         IF EXISTS (SELECT 1 FROM sys.databases WHERE name = {text} AND snapshot_isolation_state = 0) \
         ALTER DATABASE {name} SET ALLOW_SNAPSHOT_ISOLATION ON"
    )
}

/// Turns it on for a database.
pub fn enable_database(database: &str) -> String {
    format!(
        "IF EXISTS (SELECT 1 FROM sys.databases WHERE name = {} AND is_cdc_enabled = 0) \
         EXEC {}.sys.sp_cdc_enable_db",
        literal(database),
        ident(database)
    )
}

/// Turns it on for a table. Net changes need a key.
pub fn enable_table(table: &str) -> String {
    let name = Name::of(table);
    let (database, object) = (ident(name.database), object_id(table));
    format!(
        "IF EXISTS (SELECT 1 FROM {database}.sys.tables WHERE object_id = {object} AND is_tracked_by_cdc = 0)\n\
         BEGIN\n\
         DECLARE @net bit = CASE WHEN EXISTS (SELECT 1 FROM {database}.sys.indexes \
         WHERE object_id = {object} AND is_primary_key = 1) THEN 1 ELSE 0 END;\n\
         EXEC {database}.sys.sp_cdc_enable_table @source_schema = {}, @source_name = {}, @role_name = {}, \
         @supports_net_changes = @net;\n\
         END",
        literal(name.schema),
        literal(name.table),
        literal(ROLE)
    )
}

/// Whether it is on for a database; no row where there is none.
pub fn is_database_enabled(database: &str) -> String {
    format!(
        "SELECT is_cdc_enabled FROM sys.databases WHERE name = {}",
        literal(database)
    )
}

/// Whether it is on for a table; no row where there is none.
pub fn is_table_enabled(table: &str) -> String {
    format!(
        "SELECT is_tracked_by_cdc FROM {}.sys.tables WHERE object_id = {}",
        ident(Name::of(table).database),
        object_id(table)
    )
}

/// Whether the agent runs, 4 where it does; no row where the server has none that it knows of.
pub const AGENT: &str = "SELECT CAST(status AS int) FROM sys.dm_server_services \
                         WHERE servicename LIKE N'SQL Server Agent%'";

/// Has it on for all tables that flows read.
///
/// # Errors
/// The server refuses; or it is the user's own, and it is off there.
pub(super) async fn enable(own: &SqlserverSettings, env: &Environment) -> Result<Outcome> {
    let session = own.session(env).await.map_err(service)?;
    let flows = env.profile.flows_of(&own.name);
    let tables: BTreeSet<&str> = flows.map(|(_, flow)| flow.table.as_str()).collect();
    let mut missing = Vec::new();
    for database in databases(tables.iter().copied()) {
        if !is_on(&session, &is_database_enabled(database)).await? {
            let sql = format!("EXEC {}.sys.sp_cdc_enable_db", ident(database));
            missing.push((
                format!("database {database}"),
                sql,
                enable_database(database),
            ));
        }
    }
    for table in tables {
        // What a database without it says of its tables is the same.
        if !is_on(&session, &is_table_enabled(table)).await? {
            let name = Name::of(table);
            let sql = format!(
                "EXEC {}.sys.sp_cdc_enable_table @source_schema = {}, @source_name = {}, @role_name = {}",
                ident(name.database),
                literal(name.schema),
                literal(name.table),
                literal(ROLE)
            );
            missing.push((format!("table {table}"), sql, enable_table(table)));
        }
    }
    if missing.is_empty() {
        return Ok(Outcome::Unchanged("changes are captured".into()));
    }
    if own.external.is_some() {
        let errors = missing.iter().map(|(what, sql, _)| {
            let what = format!("{}: changes of {what} are not captured", own.name);
            let command = format!("cargo xtask query {} \"{sql}\"", own.name);
            Error::new(Code::Drift, what).hint(printed::ours(&command))
        });
        return Error::together(errors).map_or(Ok(Outcome::Unchanged(String::new())), Err);
    }
    let mut done = Vec::new();
    for (what, _, sql) in missing {
        session.execute(&sql).await.map_err(service)?;
        done.push(what);
    }
    Ok(Outcome::Changed(format!("captures {}", done.join(", "))))
}

async fn is_on(session: &Sqlserver, sql: &str) -> Result<bool> {
    let value = session.value(sql).await.map_err(service)?;
    Ok(value.as_deref() == Some("1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_turned_on_once_and_names_are_quoted() {
        assert_eq!(
            enable_database("it's]"),
            "IF EXISTS (SELECT 1 FROM sys.databases WHERE name = N'it''s]' AND is_cdc_enabled = 0) \
             EXEC [it's]]].sys.sp_cdc_enable_db"
        );
        assert_eq!(
            enable_table("shop.dbo.o'rders"),
            "IF EXISTS (SELECT 1 FROM [shop].sys.tables WHERE object_id = OBJECT_ID(N'[shop].[dbo].[o''rders]') \
             AND is_tracked_by_cdc = 0)\n\
             BEGIN\n\
             DECLARE @net bit = CASE WHEN EXISTS (SELECT 1 FROM [shop].sys.indexes \
             WHERE object_id = OBJECT_ID(N'[shop].[dbo].[o''rders]') AND is_primary_key = 1) THEN 1 ELSE 0 END;\n\
             EXEC [shop].sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'o''rders', \
             @role_name = N'cdc_reader', @supports_net_changes = @net;\n\
             END"
        );
        assert!(
            create_database("shop")
                .starts_with("IF DB_ID(N'shop') IS NULL CREATE DATABASE [shop]\nGO\n")
        );
    }

    #[test]
    fn a_table_is_of_a_database_and_a_schema() {
        let name = Name::of("shop.dbo.customers");
        assert_eq!(
            (name.database, name.within()),
            ("shop", "dbo.customers".into())
        );
        let all = databases(["b.dbo.x", "a.dbo.y", "b.dbo.z"].into_iter());
        assert_eq!(all.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
