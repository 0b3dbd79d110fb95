//! A row that proves the pipeline: inserted at the source, read at the target, removed again.
//!
//! Its key is negative (or, for documents, starts with `canary-`), so it can meet no real row.

use std::time::Duration;

use mongodb::bson::{DateTime, Document};

use crate::clients::clickhouse::{Clickhouse, ident, literal as text};
use crate::clients::mongodb::Mongodb;
use crate::clients::postgres::{self, Postgres};
use crate::components::Source;
use crate::components::clickhouse::{Names, delete_rows};
use crate::components::{connect, service};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Progress};
use crate::profile::schema::{Flow, Settings};
use crate::readiness::{State, Status};
use crate::wait::{self, Patience};

/// How long a change may take to arrive before the pipeline counts as broken. A first snapshot of
/// other tables may be under way.
const ARRIVES: Duration = Duration::from_secs(90);

/// A canary's number counts down with the milliseconds: one that is this much higher is this old.
const LEFTOVER_AGE: i64 = 300_000;

/// One canary row on its way.
pub struct Canary<'a> {
    env: &'a Environment,
    flow: &'a Flow,
    fields: Settings,
    id: i64,
    source: Session,
    target: Clickhouse,
    names: Names,
}

enum Session {
    Postgres(Postgres),
    Mongodb(Mongodb),
}

/// What the target shows of the canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    Absent,
    /// A row with this text in the canary's changing column.
    Row(String),
}

impl<'a> Canary<'a> {
    /// Connects to both ends. Nothing is written yet.
    ///
    /// # Errors
    /// An end does not answer, or the flow has no canary.
    pub async fn prepare(env: &'a Environment, flow_name: &str) -> Result<Canary<'a>> {
        let flow = env.profile.flows.get(flow_name).ok_or_else(|| {
            Error::new(
                Code::Usage,
                format!("the profile has no flow `{flow_name}`"),
            )
        })?;
        let template = flow.canary.as_ref().ok_or_else(|| {
            Error::new(Code::Usage, format!("flow `{flow_name}` has no canary")).hint(format!(
                "give it one in the profile: flows.{flow_name}.canary"
            ))
        })?;
        // Unique enough among the canaries of one table, and within 31 bits for `serial` keys.
        let id = -(i64::try_from(crate::clock::now_ms() % 2_000_000_000)
            .unwrap_or(1)
            .max(1));
        let source = match crate::components::flow_source(env, flow) {
            Some(Source::Mongodb) => Session::Mongodb(
                crate::components::mongodb::client(env).map_err(|error| service(&error))?,
            ),
            _ => Session::Postgres(
                crate::components::postgres::session(env)
                    .await
                    .map_err(|error| service(&error))?,
            ),
        };
        Ok(Canary {
            env,
            flow,
            fields: fields(template, id),
            id,
            source,
            target: crate::components::clickhouse::client(env),
            names: Names::of(env, flow_name),
        })
    }

    /// Becomes the next canary: same connections, another row.
    pub fn renew(&mut self) {
        self.id -= 1;
        if let Some(template) = &self.flow.canary {
            self.fields = fields(template, self.id);
        }
    }

    /// The number that is in the canary's message key.
    pub fn token(&self) -> String {
        self.id.unsigned_abs().to_string()
    }

    fn key(&self) -> &str {
        self.flow.key.first().map_or("", String::as_str)
    }

    fn document_id(&self) -> String {
        format!("canary{}", self.id)
    }

    /// The column that an update changes: the first of the canary's.
    fn changing(&self) -> (&str, &str) {
        self.fields
            .first()
            .map_or(("", ""), |(name, value)| (name, value))
    }

    /// The value that the changing column has after the insert, and after the update.
    pub fn values(&self) -> (String, String) {
        let value = self.changing().1;
        (value.to_owned(), format!("{value} (updated)"))
    }

    /// Removes canaries that a killed command left at the source. One of a command that runs right
    /// now is younger and stays.
    ///
    /// # Errors
    /// The source refuses.
    pub async fn clear_leftovers(&self) -> Result<()> {
        let (column, _) = self.changing();
        let Some(pattern) = self
            .flow
            .canary
            .as_ref()
            .and_then(|template| template.get(column))
        else {
            return Ok(());
        };
        match &self.source {
            Session::Postgres(session) => {
                let sql = format!(
                    "DELETE FROM {table} WHERE {key} < 0 AND {key} > {newest} AND {column} LIKE {pattern}",
                    table = postgres::table(&self.flow.table),
                    key = postgres::ident(self.key()),
                    newest = self.id + LEFTOVER_AGE,
                    column = postgres::ident(column),
                    pattern = postgres::literal(&pattern.replace("{id}", "%")),
                );
                session
                    .execute(&sql)
                    .await
                    .map(drop)
                    .map_err(|e| service(&e))
            }
            Session::Mongodb(client) => client
                .delete_between(
                    &self.flow.table,
                    "canary-",
                    &format!("canary{}", self.id + LEFTOVER_AGE),
                )
                .await
                .map_err(|error| service(&error)),
        }
    }

    /// Inserts the row at the source.
    ///
    /// # Errors
    /// The source refuses.
    pub async fn insert(&self) -> Result<()> {
        match &self.source {
            Session::Postgres(session) => {
                let mut names = vec![postgres::ident(self.key())];
                let mut values = vec![self.id.to_string()];
                for (name, value) in &self.fields {
                    names.push(postgres::ident(name));
                    values.push(postgres::literal(value));
                }
                let sql = format!(
                    "INSERT INTO {} ({}) VALUES ({})",
                    postgres::table(&self.flow.table),
                    names.join(", "),
                    values.join(", ")
                );
                session
                    .execute(&sql)
                    .await
                    .map(drop)
                    .map_err(|e| service(&e))
            }
            Session::Mongodb(client) => {
                let mut document = Document::new();
                document.insert("_id", self.document_id());
                for (name, value) in &self.fields {
                    document.insert(name, value);
                }
                document.insert("timestamp", DateTime::now());
                client
                    .insert(&self.flow.table, vec![document])
                    .await
                    .map_err(|error| service(&error))
            }
        }
    }

    /// Changes the row at the source.
    ///
    /// # Errors
    /// The source refuses.
    pub async fn update(&self) -> Result<()> {
        let (column, _) = self.changing();
        let (_, value) = self.values();
        match &self.source {
            Session::Postgres(session) => {
                let sql = format!(
                    "UPDATE {} SET {} = {} WHERE {} = {}",
                    postgres::table(&self.flow.table),
                    postgres::ident(column),
                    postgres::literal(&value),
                    postgres::ident(self.key()),
                    self.id
                );
                session
                    .execute(&sql)
                    .await
                    .map(drop)
                    .map_err(|e| service(&e))
            }
            Session::Mongodb(client) => client
                .set(&self.flow.table, &self.document_id(), column, value)
                .await
                .map(drop)
                .map_err(|error| service(&error)),
        }
    }

    /// Deletes the row at the source.
    ///
    /// # Errors
    /// The source refuses.
    pub async fn delete(&self) -> Result<()> {
        match &self.source {
            Session::Postgres(session) => {
                let sql = format!(
                    "DELETE FROM {} WHERE {} = {}",
                    postgres::table(&self.flow.table),
                    postgres::ident(self.key()),
                    self.id
                );
                session
                    .execute(&sql)
                    .await
                    .map(drop)
                    .map_err(|e| service(&e))
            }
            Session::Mongodb(client) => client
                .delete(&self.flow.table, &self.document_id())
                .await
                .map_err(|error| service(&error)),
        }
    }

    fn where_clause(&self) -> String {
        match &self.source {
            Session::Postgres(_) => format!("{} = {}", ident(self.key()), self.id),
            Session::Mongodb(_) => {
                format!("{} = {}", ident(self.key()), text(&self.document_id()))
            }
        }
    }

    /// What silver shows now: the newest change, deletes left out.
    ///
    /// # Errors
    /// The target refuses.
    pub async fn look(&self) -> Result<Seen, crate::clients::clickhouse::ClickhouseError> {
        #[derive(serde::Deserialize)]
        struct Row {
            value: String,
            is_deleted: u8,
        }
        let (column, _) = self.changing();
        let rows: Vec<Row> = self
            .target
            .rows(&format!(
                "SELECT toString({}) AS value, is_deleted FROM {} FINAL WHERE {} \
                 ORDER BY _position DESC, _offset DESC LIMIT 1",
                ident(column),
                ident(&self.names.silver),
                self.where_clause()
            ))
            .await?;
        Ok(match rows.into_iter().next() {
            Some(row) if row.is_deleted == 0 => Seen::Row(row.value),
            _ => Seen::Absent,
        })
    }

    /// Waits until silver shows this.
    ///
    /// # Errors
    /// It does not within a minute and a half, or cannot: its connector has failed, say.
    pub async fn arrives(&self, wanted: &Seen, progress: &Progress) -> Result<()> {
        let what = match wanted {
            Seen::Absent => "the canary's delete reaches silver",
            Seen::Row(_) => "the canary row reaches silver",
        };
        let patience = Patience {
            deadline: ARRIVES,
            first: Duration::from_millis(5),
            slowest: Duration::from_millis(20),
        };
        let look = || async {
            match self.look().await {
                Ok(seen) if seen == *wanted => Status::current("there"),
                Ok(_) => Status::in_progress(what),
                Err(error) if error.is_final() => {
                    Status::failed(error.to_string()).next("cargo xtask up")
                }
                Err(error) => Status::in_progress(error.to_string()),
            }
        };
        wait::until_or_stopped(what, patience, progress, look, || self.hindrance())
            .await
            .map(drop)
    }

    /// Why a change will not arrive, however long one waits.
    async fn hindrance(&self) -> Option<Status> {
        let source = match self.source {
            Session::Postgres(_) => "postgres",
            Session::Mongodb(_) => "mongodb",
        };
        for component in [source, "connect", "kafka", "clickhouse"] {
            let seen = self.env.blocked_by(component).await;
            if let Some(failed) = seen.filter(|seen| seen.state == State::Failed) {
                return Some(Status {
                    message: format!("{component}: {}", failed.message),
                    next: Some(format!("cargo xtask logs {component}")),
                    ..failed
                });
            }
        }
        connect::hindrance(self.env, &self.flow.connector).await
    }

    /// Removes what is left of the canary at the target.
    ///
    /// # Errors
    /// The target refuses.
    pub async fn sweep(&self) -> Result<()> {
        self.remove(&self.where_clause()).await
    }

    /// Removes what is left of every canary that was deleted at the source.
    ///
    /// # Errors
    /// The target refuses.
    pub async fn sweep_all(&self) -> Result<()> {
        let key = ident(self.key());
        let canaries = match &self.source {
            Session::Postgres(_) => format!("{key} < 0"),
            Session::Mongodb(_) => format!("startsWith({key}, 'canary-')"),
        };
        let deleted = format!(
            "{key} IN (SELECT {key} FROM {} WHERE {canaries} AND is_deleted = 1)",
            ident(&self.names.silver)
        );
        self.remove(&deleted).await
    }

    async fn remove(&self, rows: &str) -> Result<()> {
        delete_rows(self.env, &self.names, rows).await
    }
}

fn fields(template: &Settings, id: i64) -> Settings {
    template
        .iter()
        .map(|(name, value)| {
            (
                name.clone(),
                value.replace("{id}", &id.unsigned_abs().to_string()),
            )
        })
        .collect()
}

/// Sends a canary through and removes it again; says how long the insert took to arrive.
///
/// # Errors
/// It does not arrive, or an end refuses.
pub async fn gate(env: &Environment, flow: &str, progress: &Progress) -> Result<Outcome> {
    let canary = Canary::prepare(env, flow).await?;
    canary.clear_leftovers().await?;
    let begin = std::time::Instant::now();
    canary.insert().await?;
    let arrived = canary
        .arrives(&Seen::Row(canary.values().0), progress)
        .await;
    let took = begin.elapsed();
    // Also when it did not arrive: a canary must not stay at the source.
    canary.delete().await?;
    arrived?;
    canary.arrives(&Seen::Absent, progress).await?;
    canary.sweep().await?;
    Ok(Outcome::Unchanged(format!(
        "insert to silver in {} ms",
        took.as_millis()
    )))
}
