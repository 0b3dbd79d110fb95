//! MySQL as a source: `mysqld` from PATH, or a server that the user runs.
//!
//! On `host` the server's first data is made without a password, by a program that listens nowhere; the file
//! that it then runs makes `root` from anywhere with the environment's password and drops the first one.
//! On clusters the image does the same.

mod access;
mod console;
mod dialect;
pub mod settings;
pub mod source;
mod table;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;

use super::columns;
use super::connect::login;
use super::console::Console;
use super::dialect::Dialect;
use super::source::Source;
use super::{Component, Kept, Manifests, Seeded, Stage, service, sql};
use crate::clients::mysql::{Mysql, MysqlError, literal};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::files::write_if_changed;
use crate::plan::{Outcome, Plan, Progress};
use crate::platform::host::apply::Rendered;
use crate::platform::host::prerequisites::{InPath, Manager, Needs, Without};
use crate::platform::host::user::RefusesRoot;
use crate::profile::Profile;
use crate::profile::component::Space;
use crate::readiness::Status;
use settings::{MYSQLD, MysqlSettings, TYPE};

/// The server's program, as `doctor` looks for it.
const IN_PATH: InPath = InPath {
    name: MYSQLD,
    why: "optional: without it the profile's MySQL branch is left out",
    without: Without::LeftOut {
        // Distributions have MariaDB instead.
        packages: &[(Manager::Brew, &["mysql"])],
        page: "https://dev.mysql.com/doc/refman/en/installing.html",
    },
};

#[async_trait]
impl Component for MysqlSettings {
    fn stage(&self) -> Stage {
        Stage::Source
    }

    fn proof(&self) -> &'static str {
        "login, binary log of rows"
    }

    fn needs(&self) -> Needs {
        Needs {
            program: Some(IN_PATH),
            refuses_root: Some(RefusesRoot {
                title: TYPE.title,
                user: "mysql",
            }),
            ..Needs::default()
        }
    }

    fn process(&self, env: &Environment) -> Result<Rendered> {
        env.process(
            &self.name,
            "mysql/host/process.yaml.hbs",
            &json!({
                "mysqld": env.programs.get(MYSQLD),
                "first_users": first_users(env, &self.name),
            }),
        )
    }

    fn before_start(&self, env: &Environment) -> Result<()> {
        let endpoint = env.endpoint(&self.name);
        let (user, password) = (literal(&endpoint.user), literal(endpoint.password.expose()));
        let path = first_users(env, &self.name);
        let text = format!(
            "CREATE USER {user}@'%' IDENTIFIED BY {password};\n\
             GRANT ALL ON *.* TO {user}@'%' WITH GRANT OPTION;\n\
             DROP USER {user}@'localhost';\n"
        );
        write_if_changed(&path, text.as_bytes(), 0o600).map(drop)
    }

    fn templates(&self, _: &Manifests<'_>) -> Vec<&'static str> {
        vec![
            "mysql/kubernetes/credentials.yaml.hbs",
            "mysql/kubernetes/statefulset.yaml.hbs",
        ]
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
        let (at, own) = (env.clone(), self.clone());
        let [tables, access] = ["tables", "access"].map(|step| format!("{}/{step}", self.name));
        plan.step(
            &access,
            "the connectors' user and its rights",
            &[&tables],
            async move |_| access::grant(&own, &at).await,
        );
        vec![tables, access]
    }

    async fn seed(&self, env: &Environment) -> Result<Option<Seeded>> {
        let session = self.session(env).await.map_err(|error| service(&error))?;
        self.files().seed(env, &session).await
    }

    fn seeds(&self) -> Vec<String> {
        let files = self.schema.iter();
        files.map(|file| format!("mysql/seed/{file}")).collect()
    }

    fn source(&self) -> Option<&dyn Source> {
        Some(self)
    }

    fn dialect(&self) -> Option<&dyn Dialect> {
        Some(self)
    }

    async fn probe(&self, env: &Environment) -> Status {
        let session = match self.session(env).await {
            Ok(session) => session,
            Err(error) => return self.refused(&error),
        };
        match session.query(LOG).await {
            Ok(rows) => log(&rows),
            Err(error) => self.refused(&error),
        }
    }

    async fn version(&self, env: &Environment) -> Option<String> {
        let session = self.session(env).await.ok()?;
        session.value("SELECT version()").await.ok()?
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

impl MysqlSettings {
    fn files(&self) -> sql::Files<'_> {
        sql::Files {
            kind: TYPE.name,
            instance: &self.name,
            schema: &self.schema,
        }
    }

    /// A session as the tool's own user.
    ///
    /// # Errors
    /// It does not answer or refuses the login.
    pub async fn session(&self, env: &Environment) -> Result<Mysql, MysqlError> {
        Mysql::connect(&env.endpoint(&self.name)).await
    }

    /// A session as the connectors' user, from where this tool is.
    ///
    /// # Errors
    /// It does not answer or refuses the login.
    pub async fn session_as_connector(&self, env: &Environment) -> Result<Mysql, MysqlError> {
        let endpoint = env.endpoint_as_connector(&self.name);
        Mysql::connect(&endpoint).await
    }

    fn refused(&self, error: &MysqlError) -> Status {
        match error.is_refused_login() {
            // A wrong login does not pass by itself.
            true => Status::failed(error.to_string())
                .next(login::give(&format!("{}.password", self.name))),
            false => Status::in_progress(error.to_string()),
        }
    }
}

/// The statements that make the server's users with its first data.
fn first_users(env: &Environment, name: &str) -> PathBuf {
    env.dirs.secrets().join(format!("{name}-users.sql"))
}

/// What a connector needs of the binary log.
const LOG: &str = "SELECT @@log_bin, @@binlog_format, @@binlog_row_image";

fn log(rows: &[Vec<Option<String>>]) -> Status {
    let row = rows.first().map_or(&[][..], Vec::as_slice);
    let cell = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
    match (cell(0), cell(1), cell(2)) {
        ("1", "ROW", "FULL") => Status::current("login works, its log holds whole rows"),
        ("1", "ROW", image) => Status::failed(format!(
            "binlog_row_image is {image}: changes would lack columns. Set it to FULL"
        )),
        ("1", format, _) => {
            Status::failed(format!("binlog_format is {format}: a connector needs ROW"))
        }
        _ => Status::failed("it writes no binary log: set log_bin and start it again"),
    }
}

/// Creates the tables, and fills those that were not there before.
async fn create_tables(
    own: &MysqlSettings,
    env: &Environment,
    progress: &Progress,
) -> Result<Outcome> {
    let session = own.session(env).await.map_err(|error| service(&error))?;
    let tables = "SELECT count(*) FROM information_schema.tables";
    let files = own.files();
    let seeded = files.create(env, &session, tables, progress).await?;
    let mut wrong = Vec::new();
    for (name, flow) in env.profile.flows_of(&own.name) {
        let found = table::columns(&session, flow).await?;
        wrong.extend(columns::check(env, name, flow, &found, &own.name));
        wrong.extend(table::rounded(env, name, flow, &found));
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
    fn a_log_without_whole_rows_is_no_log_for_a_connector() {
        let row = |cells: [&str; 3]| vec![cells.map(|it| Some(it.to_owned())).to_vec()];
        assert_eq!(log(&row(["1", "ROW", "FULL"])).state, State::Current);
        for wrong in [
            ["0", "ROW", "FULL"],
            ["1", "STATEMENT", "FULL"],
            ["1", "ROW", "MINIMAL"],
        ] {
            assert_eq!(log(&row(wrong)).state, State::Failed, "{wrong:?}");
        }
        assert_eq!(log(&[]).state, State::Failed);
    }
}
