//! The relational source.

pub mod access;
mod catalogue;
mod console;
mod dialect;
pub mod holders;
pub mod jdbc_sink;
pub mod lacks;
pub(super) mod operator;
mod outbox;
mod projections;
mod ready;
pub mod settings;
pub mod slots;
pub mod source;
mod table;
mod target;
mod wal;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::connect::login;
use super::console::Console;
use super::dialect::Dialect;
use super::projections::Projections;
use super::slots::Slots;
use super::source::Source;
use super::target::Target;
use super::{Component, Kept, Lock, Manifests, Operator, Replaced, Seeded, Stage, service, sql};
use crate::clients::postgres::{Postgres, PostgresError, ident};
use crate::endpoint::Endpoint;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Plan, Progress};
use crate::platform::host::apply::Rendered;
use crate::platform::host::artifacts::lockfile;
use crate::platform::host::artifacts::maven::{self, Coordinates, MavenArtifact};
use crate::platform::host::artifacts::unpack::Unpack;
use crate::platform::host::prerequisites::Needs;
use crate::platform::host::secrets;
use crate::platform::host::user::RefusesRoot;
use crate::profile::Profile;
use crate::profile::component::Space;
use crate::profile::schema::Versions;
use crate::readiness::Status;
use crate::wait::{self, Patience};
use lacks::Lack;
use ready::{refused, wal_level};
use settings::{Manager, PostgresSettings, TYPE};

const TITLE: &str = settings::TYPE.title;

/// What is written as `%XX` in a value of a URL: all but letters, digits, and what stands in paths.
const IN_URL: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'/')
    .remove(b'_');

/// The systems that the binaries are published for and the tool runs on.
const SYSTEMS: [&str; 4] = [
    "darwin-amd64",
    "darwin-arm64v8",
    "linux-amd64",
    "linux-arm64v8",
];

/// The binaries' coordinates for a system.
fn coordinates(system: &str, version: &str) -> Coordinates {
    Coordinates(format!(
        "io.zonky.test.postgres:embedded-postgres-binaries-{system}:{version}"
    ))
}

fn lock_file(version: &str) -> String {
    format!("manifests/postgres/binaries-{version}.lock")
}

/// The artifact's name for this system, `linux-amd64`; none where there is none.
fn system() -> Option<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some("linux-amd64"),
        ("linux", "aarch64") => Some("linux-arm64v8"),
        ("macos", "x86_64") => Some("darwin-amd64"),
        ("macos", "aarch64") => Some("darwin-arm64v8"),
        _ => None,
    }
}

/// The server's binaries.
///
/// # Errors
/// The version has no lock file, or there are no binaries for this system.
pub fn binaries(env: &Environment) -> Result<MavenArtifact> {
    let version = env.profile.versions.of(&settings::SERVER);
    let locked = lockfile::read(&env.root.join(lock_file(version)))?;
    let found = system().and_then(|system| {
        let coordinates = coordinates(system, version);
        let file = maven::file_name(&coordinates);
        let locked = locked.into_iter().find(|locked| locked.file == file)?;
        Some((coordinates, locked))
    });
    let Some((coordinates, locked)) = found else {
        return Err(Error::new(
            Code::Missing,
            format!(
                "there are no PostgreSQL {version} binaries for {} {}",
                std::env::consts::OS,
                std::env::consts::ARCH
            ),
        )
        .hint("run PostgreSQL yourself and set postgres.external=host:port"));
    };
    Ok(MavenArtifact {
        name: format!("postgres-{version}"),
        title: TITLE,
        coordinates: vec![coordinates],
        transitive: false,
        files: vec![locked],
        unpack: Unpack::TxzInJar,
    })
}

#[async_trait]
impl Component for PostgresSettings {
    fn stage(&self) -> Stage {
        Stage::Source
    }

    fn proof(&self) -> &'static str {
        "login, wal_level"
    }

    fn artifacts(&self, env: &Environment) -> Result<Vec<MavenArtifact>> {
        Ok(vec![binaries(env)?])
    }

    fn lock(versions: &Versions) -> Option<Lock> {
        let version = versions.of(&settings::SERVER);
        Some(Lock {
            file: lock_file(version),
            title: TITLE,
            coordinates: SYSTEMS
                .iter()
                .map(|system| coordinates(system, version))
                .collect(),
            transitive: false,
        })
    }

    fn needs(&self) -> Needs {
        Needs {
            maven: &[TITLE],
            refuses_root: Some(RefusesRoot {
                title: TITLE,
                user: "postgres",
            }),
            ..Needs::default()
        }
    }

    fn process(&self, env: &Environment) -> Result<Rendered> {
        let binaries = binaries(env)?;
        env.process(
            &self.name,
            "postgres/host/process.yaml.hbs",
            &json!({
                "binaries": binaries.dir(&env.dirs.cache),
                "password_file": secrets::file(&env.dirs, &self.name),
            }),
        )
    }

    fn templates(&self, _: &Manifests<'_>) -> Vec<&'static str> {
        let server = match self.managed_by {
            Manager::Statefulset => "postgres/kubernetes/statefulset.yaml.hbs",
            Manager::CloudNativePg => "postgres/kubernetes/cluster.yaml.hbs",
        };
        vec!["postgres/kubernetes/credentials.yaml.hbs", server]
    }

    fn values(&self, made: &Manifests<'_>) -> Result<Value> {
        let versions = &made.env.profile.versions;
        let own = self.own_connector_user(made.env);
        Ok(json!({
            "connector_user": own,
            "node_port": self.node_port(&made.env.profile).filter(|_| made.on_kind),
            "tag": settings::image_tag(versions),
            "volume": settings::volume(versions),
            "syncs_slots": settings::major(versions).is_some_and(|major| major >= 17),
        }))
    }

    fn operator(&self) -> Option<&'static Operator> {
        self.is_operated().then_some(&operator::CLOUDNATIVE_PG)
    }

    fn pods(&self) -> (Space, String) {
        (Space::Database, format!("app={}", self.name))
    }

    fn kept(&self, profile: &Profile) -> Vec<Kept> {
        Kept::accounts(profile, &self.name, format!("{}-credentials", self.name))
    }

    fn sets(&self, _: &Environment) -> Replaced {
        match self.managed_by {
            Manager::Statefulset => Replaced::ByTemplate,
            Manager::CloudNativePg => Replaced::ByRestartedAt,
        }
    }

    fn before_ready(&self, plan: &mut Plan, env: &Arc<Environment>, start: &str) -> Vec<String> {
        let mut needs = vec![start.to_owned()];
        if self.database != "postgres" {
            let (at, own) = (env.clone(), self.clone());
            let id = format!("{}/database", self.name);
            plan.step(
                &id,
                "create the database",
                &[start],
                async move |progress| create_database(&own, &at, &progress).await,
            );
            needs.push(id);
        }
        needs
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

    fn jdbc_url(&self, at: &Endpoint) -> String {
        let keys = [
            ("sslmode", source::sslmode(&at.tls).map(str::to_owned)),
            ("sslrootcert", source::authority(&at.tls)),
        ];
        let keys = keys.into_iter().filter_map(|(key, value)| {
            Some(format!("{key}={}", utf8_percent_encode(&value?, &IN_URL)))
        });
        let keys: Vec<String> = keys.collect();
        let url = format!("jdbc:postgresql://{}/{}", at.address(), self.database);
        match keys.is_empty() {
            true => url,
            false => format!("{url}?{}", keys.join("&")),
        }
    }

    fn permit(&self, plan: &mut Plan, env: &Arc<Environment>) -> Vec<String> {
        let (at, own) = (env.clone(), self.clone());
        let [tables, access] = ["tables", "access"].map(|step| format!("{}/{step}", self.name));
        plan.step(
            &access,
            "the connectors' user, rights, publications",
            &[&tables],
            async move |progress| access::grant(&own, &at, &progress).await,
        );
        vec![tables, access]
    }

    async fn seed(&self, env: &Environment) -> Result<Option<Seeded>> {
        let count = seed(self, env).await?;
        Ok(Some(Seeded {
            what: "rows",
            count,
        }))
    }

    fn seeds(&self) -> Vec<String> {
        let files = self.schema.iter();
        files.map(|file| format!("postgres/seed/{file}")).collect()
    }

    fn source(&self) -> Option<&dyn Source> {
        Some(self)
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(self)
    }

    fn dialect(&self) -> Option<&dyn Dialect> {
        Some(self)
    }

    async fn probe(&self, env: &Environment) -> Status {
        let session = match self.session(env).await {
            Ok(session) => session,
            Err(error) => return self.refused(env, &error),
        };
        match session.value("SHOW wal_level").await {
            Ok(level) => wal_level(&level.unwrap_or_default()),
            Err(error) => self.refused(env, &error),
        }
    }

    async fn version(&self, env: &Environment) -> Option<String> {
        let session = self.session(env).await.ok()?;
        session.value("SHOW server_version").await.ok()?
    }

    fn projections(&self) -> Option<&dyn Projections> {
        Some(self)
    }

    fn slots(&self) -> Option<&dyn Slots> {
        Some(self)
    }

    fn page(&self) -> Result<&'static str, String> {
        let name = &self.name;
        Err(format!(
            "cargo xtask query {name} \"SELECT ...\", or: cargo xtask shell {name}"
        ))
    }

    fn console(&self) -> Result<Console<'_>, String> {
        Ok(Console::Sql(self))
    }
}

impl PostgresSettings {
    /// A session as the tool's own user.
    ///
    /// # Errors
    /// It does not answer or refuses the login.
    pub async fn session(&self, env: &Environment) -> Result<Postgres, PostgresError> {
        Postgres::connect(&env.endpoint(&self.name), &self.database).await
    }

    /// A session as the connectors' user, from where this tool is.
    ///
    /// # Errors
    /// It does not answer or refuses the login.
    pub async fn session_as_connector(&self, env: &Environment) -> Result<Postgres, PostgresError> {
        let endpoint = env.endpoint_as_connector(&self.name);
        Postgres::connect(&endpoint, &self.database).await
    }

    /// The connectors' user, where the tool makes it.
    fn own_connector_user(&self, env: &Environment) -> Option<String> {
        let own = env.profile.component(&self.name)?;
        let login = own.connector_login();
        login.is_own().then(|| login.user().to_owned())
    }

    /// What it lacks for its connectors that the tool cannot add itself.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn lacks(&self, env: &Environment, session: &Postgres) -> Result<Vec<Lack>> {
        lacks::look(self, env, session).await
    }

    /// What is wrong with the flows that read its tables.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn unfit(&self, env: &Environment, session: &Postgres) -> Result<Vec<Error>> {
        let mut wrong = catalogue::check(self, env, session).await?;
        wrong.extend(outbox::check(self, env, session).await?);
        Ok(wrong)
    }

    fn refused(&self, env: &Environment, error: &PostgresError) -> Status {
        let path = env.path(&self.name);
        if let PostgresError::Tls { problem, .. } = error {
            return login::correct(path, problem.key(), error);
        }
        refused(self, path, error)
    }
}

/// What one statement gives as JSON.
///
/// # Errors
/// The server does not answer, or with something else.
pub async fn ask<T: serde::de::DeserializeOwned>(session: &Postgres, sql: &str) -> Result<T> {
    let answer = session.value(sql).await.map_err(|error| service(&error))?;
    serde_json::from_str(answer.as_deref().unwrap_or("null"))
        .map_err(|error| Error::new(Code::Service, format!("PostgreSQL's answer: {error}")))
}

/// Creates the profile's database on a server that this tool runs. A fresh one has `postgres` alone.
///
/// # Errors
/// The server does not answer or refuses.
async fn create_database(
    own: &PostgresSettings,
    env: &Environment,
    progress: &Progress,
) -> Result<Outcome> {
    let (database, name) = (&own.database, &own.name);
    let patience = Patience::local(Duration::from_secs(120));
    wait::until(
        &format!("{name} takes a login"),
        patience,
        progress,
        || async {
            if let Some(obstacle) = env.blocked_by(name).await {
                return obstacle;
            }
            match Postgres::connect(&env.endpoint(name), "postgres").await {
                Ok(_) => Status::current("login works"),
                Err(error) => own.refused(env, &error),
            }
        },
    )
    .await?;
    let session = Postgres::connect(&env.endpoint(name), "postgres")
        .await
        .map_err(|error| service(&error))?;
    let sql = format!("CREATE DATABASE {}", ident(database));
    match session.execute(&sql).await {
        Ok(_) => Ok(Outcome::Changed(format!("created {database}"))),
        // 42P04: there is one already.
        Err(error) if error.sqlstate() == Some("42P04") => {
            Ok(Outcome::Unchanged(format!("{database} is there")))
        }
        Err(error) => Err(service(&error)),
    }
}

/// Creates the tables, and fills those that were not there before.
///
/// # Errors
/// The server refuses, or a file is missing.
pub async fn create_tables(
    own: &PostgresSettings,
    env: &Environment,
    progress: &Progress,
) -> Result<Outcome> {
    let session = own.session(env).await.map_err(|error| service(&error))?;
    let mut seeded = 0;
    let mut refused = Vec::new();
    for file in &own.schema {
        let schema = sql::schema(env, &own.name, file)?;
        let tables = "SELECT count(*) FROM pg_catalog.pg_tables \
                      WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
        let before = session.value(tables).await.map_err(|e| service(&e))?;
        let all = format!("BEGIN; {}; COMMIT", schema.sql);
        if let Err(error) = holders::run(own, env, &session, &all).await {
            let is_denied = error.is_denied() && own.external.is_some();
            let error = error.error(own).detail(schema.shown);
            if !is_denied {
                return Err(error);
            }
            // Whoever runs the server may have made the tables: whether they fit is seen below.
            session.execute("ROLLBACK").await.map_err(|e| service(&e))?;
            refused.push(error);
            continue;
        }
        if session.value(tables).await.map_err(|e| service(&e))? != before {
            progress.observe(format!("filling the tables of {file}"));
            seeded += seed_file(env, &session, file).await?;
        }
    }
    let unfit = own.unfit(env, &session).await?;
    if unfit.iter().all(|error| error.at.is_some()) {
        refused.clear();
    }
    let lacks = lacks::errors(own.lacks(env, &session).await?);
    if let Some(error) = Error::together(refused.into_iter().chain(unfit).chain(lacks)) {
        return Err(error);
    }
    Ok(sql::created(seeded))
}

/// Inserts the seed rows that are missing; says how many rows changed.
///
/// # Errors
/// The server refuses, or a file is missing.
async fn seed(own: &PostgresSettings, env: &Environment) -> Result<u64> {
    let session = own.session(env).await.map_err(|error| service(&error))?;
    let mut rows = 0;
    for file in &own.schema {
        rows += seed_file(env, &session, file).await?;
    }
    Ok(rows)
}

async fn seed_file(env: &Environment, session: &Postgres, file: &str) -> Result<u64> {
    if !env.templates.has(&format!("postgres/seed/{file}")) {
        return Ok(0);
    }
    let seed = sql::seed(env, TYPE.name, file)?;
    session
        .execute(&format!("BEGIN; {}; COMMIT", seed.sql))
        .await
        .map_err(|error| service(&error).detail(seed.shown))
}
