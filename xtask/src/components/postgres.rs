//! The relational source.

pub mod access;
mod ready;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::connect::login;
use super::service;
use crate::clients::postgres::{Postgres, PostgresError, ident, literal};
use crate::environment::Environment;
use crate::error::{Code, Error, Result, nearest};
use crate::plan::{Outcome, Progress};
use crate::platform::host::apply::Rendered;
use crate::platform::host::artifacts::lockfile;
use crate::platform::host::artifacts::maven::{self, Coordinates, MavenArtifact};
use crate::platform::host::artifacts::unpack::Unpack;
use crate::platform::host::secrets;
use crate::profile::schema::Source;
use crate::readiness::Status;
use crate::wait::{self, Patience};
use ready::{Slot, slot, wal_level};

/// The systems that the binaries are published for and the tool runs on.
pub const SYSTEMS: [&str; 4] = [
    "darwin-amd64",
    "darwin-arm64v8",
    "linux-amd64",
    "linux-arm64v8",
];

/// The binaries' coordinates for a system.
pub fn coordinates(system: &str, version: &str) -> Coordinates {
    Coordinates(format!(
        "io.zonky.test.postgres:embedded-postgres-binaries-{system}:{version}"
    ))
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

/// The server's binaries; none for an external server.
///
/// # Errors
/// The version has no lock file, or there are no binaries for this system.
pub fn binaries(env: &Environment) -> Result<Option<MavenArtifact>> {
    if env.profile.postgres.external.is_some() {
        return Ok(None);
    }
    let version = &env.profile.versions.postgres;
    let locked = lockfile::read(
        &env.root
            .join(format!("manifests/postgres/binaries-{version}.lock")),
    )?;
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
    Ok(Some(MavenArtifact {
        name: format!("postgres-{version}"),
        coordinates: vec![coordinates],
        transitive: false,
        files: vec![locked],
        unpack: Unpack::TxzInJar,
    }))
}

/// The process; none for an external server.
///
/// # Errors
/// A template is wrong, or root has no unprivileged user.
pub fn process(env: &Environment) -> Result<Option<Rendered>> {
    let Some(binaries) = binaries(env)? else {
        return Ok(None);
    };
    env.process(
        "postgres",
        "postgres/host/process.yaml.hbs",
        &json!({
            "binaries": binaries.dir(&env.dirs.cache),
            "password_file": secrets::file(&env.dirs, "postgres"),
        }),
    )
    .map(Some)
}

/// A login and the setting that change capture needs.
pub async fn probe(env: &Environment) -> Status {
    let session = match env.postgres_session().await {
        Ok(session) => session,
        Err(error) => return refused(&error),
    };
    match session.value("SHOW wal_level").await {
        Ok(level) => wal_level(&level.unwrap_or_default()),
        Err(error) => refused(&error),
    }
}

/// The server's version; none while it does not answer.
pub async fn version(env: &Environment) -> Option<String> {
    let session = env.postgres_session().await.ok()?;
    session.value("SHOW server_version").await.ok()?
}

fn refused(error: &PostgresError) -> Status {
    match error.sqlstate() {
        // Class 28 is a wrong login, 3D000 a missing database: neither mends itself.
        Some(state) if state.starts_with("28") => {
            Status::failed(error.to_string()).next(login::give("postgres.password"))
        }
        Some("3D000") => Status::failed(error.to_string()),
        _ => Status::in_progress(error.to_string()),
    }
}

/// Creates the profile's database on a server that this tool runs. A fresh one has `postgres` alone.
///
/// # Errors
/// The server does not answer or refuses.
pub async fn create_database(env: Arc<Environment>, progress: Progress) -> Result<Outcome> {
    let database = &env.profile.postgres.database;
    let patience = Patience::local(Duration::from_secs(120));
    wait::until("postgres takes a login", patience, &progress, || async {
        if let Some(obstacle) = env.blocked_by("postgres").await {
            return obstacle;
        }
        match Postgres::connect(&env.postgres(), "postgres").await {
            Ok(_) => Status::current("login works"),
            Err(error) => refused(&error),
        }
    })
    .await?;
    let session = Postgres::connect(&env.postgres(), "postgres")
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

/// Holds the profile's columns against the source's: one that is not there would be empty at the
/// target for ever, and a time of another precision would be read a thousandfold wrong.
async fn check_columns(env: &Environment, session: &Postgres) -> Result<()> {
    for (name, flow) in &env.profile.flows {
        if env.profile.source(flow) != Some(Source::Postgres) {
            continue;
        }
        let (schema, table) = flow
            .table
            .split_once('.')
            .unwrap_or(("public", &flow.table));
        let rows = session
            .query(&format!(
                "SELECT column_name, data_type, datetime_precision FROM information_schema.columns \
                 WHERE table_schema = {} AND table_name = {}",
                literal(schema),
                literal(table)
            ))
            .await
            .map_err(|error| service(&error))?;
        if rows.is_empty() {
            return Err(Error::new(
                Code::Drift,
                format!(
                    "flow `{name}`: there is no table {} at the source",
                    flow.table
                ),
            )
            .hint("create it, or name a file of manifests/postgres/sql in postgres.schema"));
        }
        for (column, kind) in &flow.columns {
            let found = rows.iter().find(|row| row[0].as_deref() == Some(column));
            let Some(found) = found else {
                let names = rows.iter().filter_map(|row| row[0].as_deref());
                let error = Error::new(
                    Code::Drift,
                    format!("flow `{name}`: {} has no column `{column}`", flow.table),
                );
                return Err(match nearest(column, names) {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error.hint("correct flows.*.columns in the profile"),
                });
            };
            let precision = found[2]
                .as_deref()
                .and_then(|text| text.parse::<u32>().ok());
            let plain = found[1].as_deref() == Some("timestamp without time zone");
            let scale = kind.split_once("DateTime64(").and_then(|(_, rest)| {
                let digits = rest.split([',', ')']).next()?;
                digits.trim().parse::<u32>().ok()
            });
            // Debezium writes milliseconds up to three digits and microseconds beyond.
            if let (true, Some(precision), Some(scale)) = (plain, precision, scale)
                && (precision <= 3) != (scale <= 3)
            {
                return Err(Error::new(
                    Code::Drift,
                    format!(
                        "flow `{name}`: `{column}` is timestamp({precision}) at the source and {kind} in the profile"
                    ),
                )
                .hint(format!("declare it as DateTime64({})", if precision <= 3 { 3 } else { 6 })));
            }
        }
    }
    Ok(())
}

/// Creates the tables, and fills those that were not there before.
///
/// # Errors
/// The server refuses, or a file is missing.
pub async fn create_tables(env: Arc<Environment>, progress: Progress) -> Result<Outcome> {
    let session = env
        .postgres_session()
        .await
        .map_err(|error| service(&error))?;
    let mut seeded = 0;
    for file in &env.profile.postgres.schema {
        let sql = read(&env, "sql", file)?;
        let tables = "SELECT count(*) FROM pg_catalog.pg_tables \
                      WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
        let before = session.value(tables).await.map_err(|e| service(&e))?;
        // DDL that changes nothing still takes locks: one transaction, and gone in a moment.
        session
            .execute(&format!("BEGIN; {sql}; COMMIT"))
            .await
            .map_err(|error| service(&error).detail(format!("manifests/postgres/sql/{file}")))?;
        if session.value(tables).await.map_err(|e| service(&e))? != before {
            progress.observe(format!("filling the tables of {file}"));
            seeded += seed_file(&env, &session, file).await?;
        }
    }
    check_columns(&env, &session).await?;
    Ok(match seeded {
        0 => Outcome::Unchanged("tables are there".into()),
        rows => Outcome::Changed(format!("tables created, {rows} seed rows")),
    })
}

/// Inserts the seed rows that are missing; says how many rows changed.
///
/// # Errors
/// The server refuses, or a file is missing.
pub async fn seed(env: &Environment) -> Result<u64> {
    let session = env
        .postgres_session()
        .await
        .map_err(|error| service(&error))?;
    let mut rows = 0;
    for file in &env.profile.postgres.schema {
        rows += seed_file(env, &session, file).await?;
    }
    Ok(rows)
}

async fn seed_file(env: &Environment, session: &Postgres, file: &str) -> Result<u64> {
    if !env.templates.has(&format!("postgres/seed/{file}")) {
        return Ok(0);
    }
    let sql = read(env, "seed", file)?;
    session
        .execute(&format!("BEGIN; {sql}; COMMIT"))
        .await
        .map_err(|error| service(&error).detail(format!("manifests/postgres/seed/{file}")))
}

fn read(env: &Environment, folder: &str, file: &str) -> Result<String> {
    let path = env
        .templates
        .root()
        .join("postgres")
        .join(folder)
        .join(file);
    let text = std::fs::read_to_string(&path).map_err(|source| Error::io("read", path, &source))?;
    Ok(text.trim().trim_end_matches(';').to_owned())
}

/// A connector's replication slot.
pub async fn probe_slot(env: &Environment, name: &str) -> Status {
    match read_slot(env, name).await {
        Ok(found) => slot(found.as_ref()),
        Err(error) => refused(&error),
    }
}

async fn read_slot(env: &Environment, name: &str) -> Result<Option<Slot>, PostgresError> {
    let rows = env
        .postgres_session()
        .await?
        .query(&format!(
            "SELECT active, wal_status FROM pg_replication_slots WHERE slot_name = {}",
            literal(name)
        ))
        .await?;
    Ok(rows.into_iter().next().map(|row| {
        let mut row = row.into_iter();
        Slot {
            active: row.next().flatten().as_deref() == Some("t"),
            wal_status: row.next().flatten(),
        }
    }))
}
