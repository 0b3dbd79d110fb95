//! PostgreSQL as the target of a JDBC sink: tables that the sink makes and keeps as the source's are.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::settings::PostgresSettings;
use crate::clients::answer::Row;
use crate::clients::postgres::{Postgres, PostgresError, ident, literal};
use crate::components::service;
use crate::components::source::{CanaryKey, Key};
use crate::components::target::{
    Canaries, End, Live, Loaded, Reason, Rejected, Target, TargetTable,
};
use crate::environment::Environment;
use crate::error::Result;
use crate::flows::types::Kind;
use crate::plan::{Outcome, Progress};
use crate::profile::schema::Flow;
use crate::readiness::Status;

/// No such table: the sink makes it with the first record.
const MISSING: &str = "42P01";

/// The name of a flow's table, as the sink makes it.
fn table_of(flow: &Flow) -> &str {
    let last = flow.table.rsplit('.').next();
    last.unwrap_or(&flow.table)
}

#[async_trait]
impl Target for PostgresSettings {
    async fn create_tables(&self, _: &Environment, _: &Progress) -> Result<Outcome> {
        Ok(Outcome::Unchanged("the sink makes them".into()))
    }

    fn suited(&self, _: Kind, _: bool) -> Option<String> {
        None
    }

    fn holds(&self, _: &str, _: Kind, _: bool) -> bool {
        true
    }

    fn statements(&self, _: &Environment, _: &str, _: &Flow) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn probe_tables(&self, _: &Environment) -> Status {
        Status::current("the sink makes them")
    }

    /// Its consumers are the sink's tasks, which Connect stops.
    async fn leave_group(&self, _: &Environment, _: &str) -> Result<()> {
        Ok(())
    }

    /// When a row came stands in no column.
    async fn ends(&self, env: &Environment, within: Duration) -> BTreeMap<String, End> {
        let mut found = BTreeMap::new();
        let ask = async {
            let session = self.session(env).await.ok()?;
            for (name, flow) in env.profile.flows_to(&self.name) {
                let sql = format!("SELECT count(*) FROM {}", ident(table_of(flow)));
                let rows = match session.value(&sql).await {
                    Ok(count) => count?.parse().ok()?,
                    Err(error) if error.sqlstate() == Some(MISSING) => 0,
                    Err(_) => continue,
                };
                let end = End {
                    rows,
                    newest: 0,
                    errors: 0,
                    waiting: 0,
                };
                found.insert(name.clone(), end);
            }
            Some(())
        };
        let _late = tokio::time::timeout(within, ask).await;
        found
    }

    fn name(&self, env: &Environment, flow: &str) -> String {
        let flow = env.profile.flows.get(flow);
        flow.map_or_else(String::new, |flow| table_of(flow).to_owned())
    }

    fn table<'a>(
        &'a self,
        env: &'a Environment,
        _: &str,
        flow: &'a Flow,
    ) -> Box<dyn TargetTable + 'a> {
        Box::new(Table {
            own: self,
            env,
            flow,
            session: OnceCell::new(),
        })
    }
}

struct Table<'a> {
    own: &'a PostgresSettings,
    env: &'a Environment,
    flow: &'a Flow,
    session: OnceCell<Postgres>,
}

impl Table<'_> {
    async fn ask(&self, sql: &str) -> Result<Vec<Row>, PostgresError> {
        let session = self.session.get_or_try_init(|| self.own.session(self.env));
        match session.await?.query(sql).await {
            Err(error) if error.sqlstate() == Some(MISSING) => Ok(Vec::new()),
            other => other,
        }
    }

    async fn run(&self, sql: &str) -> Result<()> {
        let done = self.ask(sql).await;
        done.map(drop).map_err(|error| service(&error))
    }

    fn keys(&self) -> String {
        let keys: Vec<String> = self.flow.key.iter().map(|key| ident(key)).collect();
        keys.join(", ")
    }

    fn is(&self, key: &CanaryKey) -> String {
        let column = ident(self.flow.key.first().map_or("", String::as_str));
        format!("{column} = {}", key.value(literal))
    }

    fn name(&self) -> String {
        ident(table_of(self.flow))
    }
}

/// A key as a row of texts, which take their columns' types where they are compared.
fn row(key: &Key) -> String {
    let values: Vec<String> = key.iter().map(|value| literal(value)).collect();
    format!("({})", values.join(", "))
}

#[async_trait]
impl TargetTable for Table<'_> {
    async fn shown(&self, key: &CanaryKey, column: &str) -> Result<Option<String>, Status> {
        let sql = format!(
            "SELECT {}::text FROM {} WHERE {}",
            ident(column),
            self.name(),
            self.is(key)
        );
        match self.ask(&sql).await {
            Ok(rows) => Ok(rows.into_iter().flatten().next().flatten()),
            // A column that is not there is the sink's to make.
            Err(error) => Err(Status::in_progress(error.to_string())),
        }
    }

    /// The sink deletes them; one of which it did not hear is left.
    async fn remove(&self, canaries: Canaries<'_>) -> Result<()> {
        match canaries {
            Canaries::One(key) => {
                let sql = format!("DELETE FROM {} WHERE {}", self.name(), self.is(key));
                self.run(&sql).await
            }
            Canaries::Deleted(_) => Ok(()),
        }
    }

    async fn keys(&self, after: Option<&Key>, most: usize) -> Result<Vec<Live>> {
        let keys = Table::keys(self);
        let condition = match after {
            None => "true".to_owned(),
            Some(key) => format!("({keys}) > {}", row(key)),
        };
        let shown = self.flow.key.iter();
        let shown: Vec<String> = shown.map(|key| format!("{}::text", ident(key))).collect();
        let sql = format!(
            "SELECT {} FROM {} WHERE {condition} ORDER BY {keys} LIMIT {most}",
            shown.join(", "),
            self.name()
        );
        let rows = self.ask(&sql).await.map_err(|error| service(&error))?;
        let live = |row: Row| Live {
            key: row.into_iter().map(Option::unwrap_or_default).collect(),
            position: String::new(),
        };
        Ok(rows.into_iter().map(live).collect())
    }

    async fn mark_deleted(&self, gone: &[&Live]) -> Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        let rows: Vec<String> = gone.iter().map(|live| row(&live.key)).collect();
        let sql = format!(
            "DELETE FROM {} WHERE ({}) IN ({})",
            self.name(),
            Table::keys(self),
            rows.join(", ")
        );
        self.run(&sql).await
    }

    async fn truncate(&self) -> Result<()> {
        self.run(&format!("TRUNCATE {}", self.name())).await
    }

    async fn snapshot(&self, _: u64) -> Result<Loaded> {
        let sql = format!("SELECT count(*) FROM {}", self.name());
        let rows = self.ask(&sql).await.map_err(|error| service(&error))?;
        let count = rows.into_iter().flatten().flatten().next();
        Ok(Loaded {
            rows: count.and_then(|count| count.parse().ok()).unwrap_or(0),
            ..Loaded::default()
        })
    }

    /// What the sink cannot write is in its queue.
    fn rejects(&self) -> &str {
        ""
    }

    async fn reasons(&self) -> Result<Vec<Reason>> {
        Ok(Vec::new())
    }

    async fn rejected(&self, _: i64) -> Result<Vec<Rejected>> {
        Ok(Vec::new())
    }
}
