//! SQL Server: its agent, what it captures, for how long it keeps that, and whether the connectors' login may read it.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use super::{Gather, ServerFacts};
use crate::clients::sqlserver::{
    Sqlserver as Session, SqlserverError, ident, literal, table as quoted,
};
use crate::components::sqlserver::capture::{
    AGENT, databases, is_database_enabled, is_table_enabled, object_id,
};
use crate::components::sqlserver::settings::SqlserverSettings;
use crate::components::sqlserver::source::{CLOCK, oldest};
use crate::environment::Environment;

/// A server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sqlserver {
    /// Its clock, in milliseconds since the epoch.
    pub clock_ms: Option<u64>,
    /// Whether its agent runs; none where it does not say.
    pub agent: Option<bool>,
    /// The databases that flows read.
    pub databases: Vec<Database>,
    /// The tables that flows read and that are there.
    pub tables: Vec<Table>,
}

/// A database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Whether changes are captured.
    pub enabled: bool,
    /// Whether a session of the capture job reads its log; none where the server does not say.
    pub capturing: Option<bool>,
    /// For how many minutes the cleanup job leaves changes; none where it has no such job.
    pub retention_min: Option<u64>,
    /// Where its change tables begin, as the server writes it.
    pub oldest: Option<String>,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Table {
    /// `database.schema.table`.
    pub name: String,
    /// Whether changes are captured.
    pub enabled: bool,
    /// Whether the connectors' login may read it and its changes; none where it could not be asked.
    pub readable: Option<bool>,
}

impl ServerFacts for Sqlserver {
    fn clock_ms(&self) -> Option<u64> {
        self.clock_ms
    }
}

#[async_trait]
impl Gather for Sqlserver {
    type Own = SqlserverSettings;

    async fn ask(env: &Arc<Environment>, own: &SqlserverSettings) -> Result<Self, String> {
        let said = |error: SqlserverError| error.to_string();
        let session = own.administration(env).await.map_err(said)?;
        let connector = Session::connect(&env.endpoint_as_connector(&own.name), "master").await;
        let mut seen = Sqlserver {
            clock_ms: number(&session, CLOCK).await.map_err(said)?,
            agent: permitted(number(&session, AGENT).await)
                .map_err(said)?
                .map(|it| it == 4),
            ..Sqlserver::default()
        };
        let flows = env.profile.flows_of(&own.name);
        let tables: BTreeSet<&str> = flows.map(|(_, flow)| flow.table.as_str()).collect();
        for name in databases(tables.iter().copied()) {
            let enabled = number(&session, &is_database_enabled(name)).await;
            let mut database = Database {
                name: name.to_owned(),
                enabled: enabled.map_err(said)? == Some(1),
                ..Database::default()
            };
            if database.enabled {
                let capturing = number(&session, &capturing(name)).await;
                database.capturing = permitted(capturing).map_err(said)?.map(|it| it > 0);
                let retention = number(&session, &retention(name)).await;
                database.retention_min = permitted(retention).map_err(said)?;
                database.oldest = session.value(&oldest(name)).await.map_err(said)?;
            }
            seen.databases.push(database);
        }
        for name in tables {
            let enabled = number(&session, &is_table_enabled(name)).await;
            let Some(enabled) = enabled.map_err(said)? else {
                continue;
            };
            let readable = match (&connector, enabled) {
                (Ok(connector), 1) => may_read(connector, name).await.map_err(said)?,
                _ => None,
            };
            seen.tables.push(Table {
                name: name.to_owned(),
                enabled: enabled == 1,
                readable,
            });
        }
        Ok(seen)
    }
}

async fn number(session: &Session, sql: &str) -> Result<Option<u64>, SqlserverError> {
    let value = session.value(sql).await?;
    Ok(value.and_then(|it| it.parse().ok()))
}

/// What may not be looked at is not known.
fn permitted<T>(found: Result<Option<T>, SqlserverError>) -> Result<Option<T>, SqlserverError> {
    match found {
        Err(error) if error.is_missing_right() => Ok(None),
        found => found,
    }
}

/// How many sessions read the database's log: the capture job's is one for as long as it runs.
fn capturing(database: &str) -> String {
    format!(
        "SELECT COUNT(*) FROM msdb.dbo.cdc_jobs j JOIN msdb.dbo.sysjobactivity a ON a.job_id = j.job_id \
         WHERE j.database_id = DB_ID({}) AND j.job_type = N'capture' AND a.start_execution_date IS NOT NULL \
         AND a.stop_execution_date IS NULL AND a.session_id = (SELECT MAX(session_id) FROM msdb.dbo.syssessions)",
        literal(database)
    )
}

/// For how many minutes changes are kept.
fn retention(database: &str) -> String {
    format!(
        "SELECT retention FROM msdb.dbo.cdc_jobs WHERE database_id = DB_ID({}) AND job_type = N'cleanup'",
        literal(database)
    )
}

/// Whether a session may read a table and the database's change tables.
async fn may_read(session: &Session, table: &str) -> Result<Option<bool>, SqlserverError> {
    let database = table.split('.').next().unwrap_or_default();
    let sql = format!(
        "USE {}\nGO\nSELECT CASE WHEN HAS_PERMS_BY_NAME({}, N'OBJECT', N'SELECT') = 1 \
         AND HAS_PERMS_BY_NAME(N'cdc', N'SCHEMA', N'SELECT') = 1 \
         AND NOT EXISTS (SELECT 1 FROM cdc.change_tables WHERE source_object_id = {} AND role_name IS NOT NULL \
         AND ISNULL(IS_ROLEMEMBER(role_name), 0) = 0) THEN 1 ELSE 0 END",
        ident(database),
        literal(&quoted(table)),
        object_id(table)
    );
    match session.value(&sql).await {
        Ok(value) => Ok(value.map(|it| it == "1")),
        Err(error) if error.is_missing_right() || error.is_missing_database() => Ok(Some(false)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_those_of_the_database() {
        assert_eq!(
            retention("it's"),
            "SELECT retention FROM msdb.dbo.cdc_jobs WHERE database_id = DB_ID(N'it''s') AND job_type = N'cleanup'"
        );
        assert!(
            capturing("shop")
                .contains("j.database_id = DB_ID(N'shop') AND j.job_type = N'capture'")
        );
    }
}
