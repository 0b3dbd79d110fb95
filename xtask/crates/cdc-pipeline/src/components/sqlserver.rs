//! SQL Server as a source: Microsoft's image on clusters, or a server that the user runs. There is no package that this
//! tool could run as a process.
//!
//! The image is under Microsoft's terms: whoever has it run accepts them, by a key of the profile that nothing sets by
//! itself.

mod access;
pub mod capture;
mod console;
mod dialect;
pub mod settings;
pub mod source;
mod table;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::columns;
use super::connect::login;
use super::console::Console;
use super::dialect::Dialect;
use super::source::Source;
use super::{Component, Kept, Manifests, Seeded, Stage, service, sql, truststore};
use crate::clients::sqlserver::{Sqlserver, SqlserverError};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Plan, Progress};
use crate::platform::host::apply::Rendered;
use crate::profile::Profile;
use crate::profile::component::{Space, Spec};
use crate::profile::rules::invalid;
use crate::readiness::Status;
use settings::{SqlserverSettings, TYPE};

/// Microsoft's terms for the image.
const TERMS: &str = "https://go.microsoft.com/fwlink/?LinkId=746388";

/// Every server has this database, and every login may use it.
const MASTER: &str = "master";

#[async_trait]
impl Component for SqlserverSettings {
    fn stage(&self) -> Stage {
        Stage::Source
    }

    fn proof(&self) -> &'static str {
        "login, agent runs"
    }

    fn process(&self, env: &Environment) -> Result<Rendered> {
        let path = env.path(&self.name);
        let what = format!(
            "{} cannot run on this machine as a process: {} has no package for `host`",
            self.name, TYPE.title
        );
        Err(Error::new(Code::Missing, what).hint(format!(
            "name a server that you run, `--set {path}.external=host:port`, or run it on a cluster, `--platform kind`; with \
             PostgreSQL as the source there is `--profile warehouse`"
        )))
    }

    fn templates(&self, _: &Manifests<'_>) -> Vec<&'static str> {
        vec![
            "sqlserver/kubernetes/credentials.yaml.hbs",
            "sqlserver/kubernetes/statefulset.yaml.hbs",
        ]
    }

    fn values(&self, made: &Manifests<'_>) -> Result<Value> {
        if self.accept_eula {
            return Ok(json!({}));
        }
        let path = format!("{}.accept_eula", made.env.path(&self.name));
        let keys: Vec<&str> = path.split('.').collect();
        let what = format!(
            "`{path}` is not set: {} runs only for who accepts Microsoft's terms",
            TYPE.title
        );
        Err(invalid(&made.env.tree, &keys, what).hint(format!(
            "read them, {TERMS}, and if you accept them set `{path}: true`; the image that runs is the Developer edition, \
             which is not for production"
        )))
    }

    fn pods(&self) -> (Space, String) {
        (Space::Database, format!("app={}", self.name))
    }

    fn kept(&self, profile: &Profile) -> Vec<Kept> {
        Kept::accounts(profile, &self.name, format!("{}-credentials", self.name))
    }

    fn after_ready(&self, plan: &mut Plan, env: &Arc<Environment>) {
        let (at, own) = (env.clone(), self.clone());
        plan.step(
            &format!("{}/tables", self.name),
            "create and fill the tables",
            &[&format!("{}/ready", self.name)],
            async move |progress| create_tables(&own, &at, &progress).await,
        );
    }

    fn checks_tables(&self) -> Option<String> {
        Some(format!("{}/tables", self.name))
    }

    fn permit(&self, plan: &mut Plan, env: &Arc<Environment>) -> Vec<String> {
        let [tables, capture, access] =
            ["tables", "capture", "access"].map(|step| format!("{}/{step}", self.name));
        let (at, own) = (env.clone(), self.clone());
        plan.step(
            &capture,
            "change data capture of the tables",
            &[&tables],
            async move |_| capture::enable(&own, &at).await,
        );
        let (at, own) = (env.clone(), self.clone());
        plan.step(
            &access,
            "the connectors' login and its rights",
            &[&capture],
            async move |_| access::grant(&own, &at).await,
        );
        let authorities = truststore::step(plan, env, &self.name, &self.tls());
        [tables, capture, access]
            .into_iter()
            .chain(authorities)
            .collect()
    }

    async fn seed(&self, env: &Environment) -> Result<Option<Seeded>> {
        let session = self.session(env).await.map_err(service)?;
        self.files().seed(env, &session).await
    }

    fn seeds(&self) -> Vec<String> {
        let files = self.schema.iter();
        files.map(|file| format!("sqlserver/seed/{file}")).collect()
    }

    fn source(&self) -> Option<&dyn Source> {
        Some(self)
    }

    fn dialect(&self) -> Option<&dyn Dialect> {
        Some(self)
    }

    async fn probe(&self, env: &Environment) -> Status {
        let session = match self.administration(env).await {
            Ok(session) => session,
            Err(error) => return self.refused(&error),
        };
        match session.value(capture::AGENT).await {
            Ok(status) => agent(status.as_deref()),
            Err(error) if error.is_missing_right() => {
                Status::current("login works; it may not see whether the agent runs")
            }
            Err(error) => self.refused(&error),
        }
    }

    async fn version(&self, env: &Environment) -> Option<String> {
        let session = self.administration(env).await.ok()?;
        let sql = "SELECT CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128))";
        session.value(sql).await.ok()?
    }

    fn page(&self) -> Result<&'static str, String> {
        Err(format!(
            "cargo xtask query {0} \"SELECT ...\", or: cargo xtask shell {0}",
            self.name
        ))
    }

    fn console(&self) -> Result<Console<'_>, String> {
        Ok(Console::Sql(self))
    }
}

impl SqlserverSettings {
    fn files(&self) -> sql::Files<'_> {
        sql::Files {
            kind: TYPE.name,
            instance: &self.name,
            schema: &self.schema,
        }
    }

    /// A session as the tool's own login, in its database.
    ///
    /// # Errors
    /// It does not answer, refuses the login, or has no such database.
    pub async fn session(&self, env: &Environment) -> Result<Sqlserver, SqlserverError> {
        Sqlserver::connect(&env.endpoint(&self.name), &self.database).await
    }

    /// The same where its database may not be there yet.
    ///
    /// # Errors
    /// It does not answer or refuses the login.
    pub async fn administration(&self, env: &Environment) -> Result<Sqlserver, SqlserverError> {
        Sqlserver::connect(&env.endpoint(&self.name), MASTER).await
    }

    fn refused(&self, error: &SqlserverError) -> Status {
        match error.is_refused_login() {
            // A wrong login does not pass by itself.
            true => Status::failed(error.to_string())
                .next(login::give(&format!("{}.password", self.name))),
            false => Status::in_progress(error.to_string()),
        }
    }
}

/// What the agent's status means: it starts after the server.
fn agent(status: Option<&str>) -> Status {
    match status {
        Some("4") => Status::current("login works, its agent runs"),
        Some(_) => Status::in_progress(
            "its agent does not run: nothing copies changes from the log into the change tables",
        ),
        None => Status::current("login works; it does not say whether its agent runs"),
    }
}

/// Creates the database and the tables, and fills those that were not there before.
async fn create_tables(
    own: &SqlserverSettings,
    env: &Environment,
    progress: &Progress,
) -> Result<Outcome> {
    if own.external.is_none() {
        let session = own.administration(env).await.map_err(service)?;
        let made = session
            .execute(&capture::create_database(&own.database))
            .await;
        made.map_err(service)?;
    }
    let session = own.session(env).await.map_err(service)?;
    let tables = "SELECT COUNT(*) FROM sys.tables WHERE is_ms_shipped = 0";
    let files = own.files();
    let seeded = files.create(env, &session, tables, progress).await?;
    let mut wrong = Vec::new();
    for (name, flow) in env.profile.flows_of(&own.name) {
        let found = table::columns_of(&session, &flow.table).await?;
        wrong.extend(columns::check(env, name, flow, &found, &own.name));
    }
    if let Some(error) = Error::together(wrong) {
        return Err(error);
    }
    Ok(sql::created(seeded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readiness::State;

    #[test]
    fn a_server_without_its_agent_is_not_ready() {
        assert_eq!(agent(Some("4")).state, State::Current);
        assert_eq!(agent(Some("1")).state, State::InProgress);
        assert_eq!(agent(None).state, State::Current);
    }
}
