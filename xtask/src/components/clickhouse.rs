//! The target: `clickhouse` from PATH, or the embedded engine behind the same HTTP interface.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::change_sql::{expression, image, key_is_missing, position};
use super::service;
use crate::clients::clickhouse::{Clickhouse, ident, literal};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::files::write_if_changed;
use crate::plan::{Outcome, Progress};
use crate::platform::host::apply::{self, Rendered};
use crate::platform::host::artifacts::{PypiEnvironment, lockfile};
use crate::platform::host::secrets;
use crate::profile::schema::{Flow, Keep};
use crate::profile::size;
use crate::readiness::Status;

/// The names of a flow's tables and views.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Kafka engine table.
    pub queue: String,
    /// View from the queue to bronze.
    pub feed: String,
    /// Null table that judges each message.
    pub bronze: String,
    /// View from bronze to silver.
    pub view: String,
    /// Where rows end up.
    pub silver: String,
    /// View from bronze to errors.
    pub errors_view: String,
    /// Where messages that are no change end up.
    pub errors: String,
}

impl Names {
    /// The names for a flow.
    pub fn of(flow: &str) -> Self {
        Names {
            queue: format!("{flow}_queue"),
            feed: format!("mv_{flow}_queue"),
            bronze: format!("{flow}_bronze"),
            view: format!("mv_{flow}"),
            silver: format!("{flow}_silver"),
            errors_view: format!("mv_{flow}_errors"),
            errors: format!("{flow}_errors"),
        }
    }

    /// All of them, in the order in which they may be dropped.
    fn all(&self) -> [&str; 7] {
        [
            &self.feed,
            &self.queue,
            &self.view,
            &self.errors_view,
            &self.bronze,
            &self.silver,
            &self.errors,
        ]
    }
}

/// The embedded engine; none where a `clickhouse` binary or an external server is used.
pub fn engine(env: &Environment) -> Option<PypiEnvironment> {
    let embedded = env.clickhouse_binary.is_none() && env.profile.clickhouse.external.is_none();
    embedded.then(|| PypiEnvironment {
        name: format!("chdb-{}", env.profile.versions.chdb),
        requirements: env.root.join("manifests/clickhouse/host/requirements.lock"),
    })
}

/// The process; none for an external server.
///
/// # Errors
/// A template is wrong.
pub fn process(env: &Environment) -> Result<Option<Rendered>> {
    if env.profile.clickhouse.external.is_some() {
        return Ok(None);
    }
    let users = users_file(env);
    let memory = size::bytes(&env.profile.clickhouse.memory)?;
    let (template, extra) = match (&env.clickhouse_binary, engine(env)) {
        (None, Some(engine)) => {
            let server: PathBuf = env.root.join("manifests/clickhouse/host");
            (
                "clickhouse/host/process.yaml.hbs",
                json!({
                    "python": engine.python(&env.dirs.cache)?,
                    "server": server,
                    "users_file": users,
                    "memory_bytes": memory,
                    // The server is a script: its text is part of what runs.
                    "digest": directory_digest(&server)?,
                }),
            )
        }
        (binary, _) => (
            "clickhouse/host/server.yaml.hbs",
            json!({
                "clickhouse_binary": binary,
                "users_file": users,
                "memory_bytes": memory,
            }),
        ),
    };
    apply::render(
        &env.dirs,
        &env.templates,
        "clickhouse",
        template,
        env.context(),
        &extra,
    )
    .map(Some)
}

/// The file with the user: JSON for the embedded engine, XML for the server.
fn users_file(env: &Environment) -> PathBuf {
    let name = match env.clickhouse_binary {
        Some(_) => "users.xml",
        None => "users.json",
    };
    secrets::dir(&env.dirs, "clickhouse").join(name)
}

/// The user as the server's configuration wants it: by the password's hash, from this machine only.
fn users_xml(user: &str, password: &str) -> String {
    format!(
        "<clickhouse>\n<profiles><default/></profiles>\n<quotas><default/></quotas>\n<users><{user}>\n\
         <password_sha256_hex>{}</password_sha256_hex>\n\
         <networks><ip>127.0.0.1</ip><ip>::1</ip></networks>\n\
         <profile>default</profile><quota>default</quota>\n</{user}></users>\n</clickhouse>\n",
        lockfile::digest(password)
    )
}

fn directory_digest(dir: &std::path::Path) -> Result<String> {
    let mut texts = Vec::new();
    let entries = std::fs::read_dir(dir).map_err(|source| Error::io("read", dir, &source))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "py") {
            let text = std::fs::read_to_string(&path)
                .map_err(|source| Error::io("read", &path, &source))?;
            texts.push((path.file_name().unwrap_or_default().to_owned(), text));
        }
    }
    texts.sort();
    Ok(lockfile::digest(&format!("{texts:?}")))
}

/// Writes the engine's user, which it reads at start.
///
/// # Errors
/// The file cannot be written.
pub fn write_users(env: &Environment) -> Result<()> {
    let endpoint = env.clickhouse();
    let path = users_file(env);
    let password = endpoint.password.expose();
    let text = match env.clickhouse_binary {
        Some(_) => users_xml(&endpoint.user, password),
        None => json!({ endpoint.user: password }).to_string(),
    };
    write_if_changed(&path, text.as_bytes(), 0o600)
        .map(drop)
        .map_err(|source| Error::io("write", path, &source))
}

/// The interface answers, and takes a login and a query.
pub async fn probe(env: &Environment) -> Status {
    let client = Clickhouse::new(env.clickhouse(), "default");
    if let Err(error) = client.ping().await {
        return Status::in_progress(error.to_string());
    }
    match client.text("SELECT version()").await {
        Ok(version) => Status::current(format!("version {}", version.trim())),
        Err(error) if error.is_final() => Status::failed(error.to_string()),
        Err(error) => Status::in_progress(error.to_string()),
    }
}

/// The statements that make a flow's tables.
///
/// # Errors
/// The template is wrong.
pub fn statements(env: &Environment, name: &str, flow: &Flow) -> Result<Vec<String>> {
    let text = env.templates.text(
        "clickhouse/sql/flow.sql.hbs",
        &flow_context(env, name, flow, "")?,
    )?;
    // What the statements do, without themselves: a change here is a change of the pipeline.
    let digest = &lockfile::digest(&text)[..12];
    let text = env.templates.text(
        "clickhouse/sql/flow.sql.hbs",
        &flow_context(env, name, flow, digest)?,
    )?;
    Ok(text
        .split("\n;\n")
        .map(|statement| statement.trim().to_owned())
        .filter(|statement| !statement.is_empty())
        .collect())
}

fn flow_context(env: &Environment, name: &str, flow: &Flow, digest: &str) -> Result<Value> {
    let source = env.profile.source(flow).ok_or_else(|| {
        Error::new(
            Code::ProfileInvalid,
            format!("flow `{name}` has no connector"),
        )
    })?;
    let names = Names::of(name);
    let columns: Vec<Value> = flow
        .columns
        .iter()
        .map(|(column, kind)| {
            json!({
                "name": ident(column),
                "type": kind,
                "expression": expression(source, column, kind),
            })
        })
        .collect();
    let keys: Vec<Value> = flow
        .key
        .iter()
        .map(|key| {
            let kind = flow.columns.get(key).map_or("String", String::as_str);
            json!({ "name": key, "missing": key_is_missing(source, key, kind) })
        })
        .collect();
    let order: Vec<String> = flow.key.iter().map(|key| ident(key)).collect();
    Ok(json!({
        "queue": ident(&names.queue),
        "feed": ident(&names.feed),
        "bronze": ident(&names.bronze),
        "view": ident(&names.view),
        "silver": ident(&names.silver),
        "errors_view": ident(&names.errors_view),
        "errors": ident(&names.errors),
        "latest": flow.keep == Keep::Latest,
        "columns": columns,
        "keys": keys,
        "order": order.join(", "),
        "image": image(source),
        "position": position(source),
        "broker": env.inside().kafka.address(),
        "topic": env.profile.topic(flow),
        "topics": format!("{},{}", env.profile.topic(flow), env.profile.heartbeat_topic(flow)),
        "group": flow.group,
        "digest": digest,
    }))
}

/// Has the consumer of this group leave it: the queue goes, with the view that reads it.
/// [`create_tables`] brings both back, and nothing is lost meanwhile: the group keeps its place.
///
/// # Errors
/// The server refuses.
pub async fn leave_group(env: &Environment, group: &str) -> Result<()> {
    let client = env.clickhouse_client();
    for (name, _) in env
        .profile
        .flows
        .iter()
        .filter(|(_, flow)| flow.group == group)
    {
        let names = Names::of(name);
        for table in [&names.feed, &names.queue] {
            run(
                &client,
                &format!("DROP TABLE IF EXISTS {} SYNC", ident(table)),
            )
            .await?;
        }
    }
    Ok(())
}

/// Has every flow's tables as the profile wants them. Queues and views are rebuilt where they
/// differ, which loses nothing: the consumer group keeps its place. Silver is never rebuilt.
///
/// # Errors
/// The server refuses, or a silver table has other columns than the profile.
pub async fn create_tables(env: Arc<Environment>, progress: Progress) -> Result<Outcome> {
    let database = &env.profile.clickhouse.database;
    Clickhouse::new(env.clickhouse(), "default")
        .text(&format!(
            "CREATE DATABASE IF NOT EXISTS {}",
            ident(database)
        ))
        .await
        .map_err(|error| service(&error))?;
    let client = env.clickhouse_client();
    let existing: Vec<Existing> = client
        .rows(&format!(
            "SELECT name, comment FROM system.tables WHERE database = {}",
            literal(database)
        ))
        .await
        .map_err(|error| service(&error))?;
    let mut changed = Vec::new();
    for (name, flow) in &env.profile.flows {
        let names = Names::of(name);
        let statements = statements(&env, name, flow)?;
        let complete = names
            .all()
            .iter()
            .all(|table| existing.iter().any(|existing| existing.name == *table));
        let same = existing.iter().any(|existing| {
            existing.name == names.bronze
                && statements.iter().any(|statement| {
                    statement.ends_with(&format!("COMMENT {}", literal(&existing.comment)))
                })
        });
        if complete && same {
            continue;
        }
        if existing
            .iter()
            .any(|existing| existing.name == names.silver)
        {
            check_silver(&client, database, &names.silver, flow).await?;
        }
        progress.observe(format!("making the tables of flow {name}"));
        for table in &names.all()[..5] {
            run(
                &client,
                &format!("DROP TABLE IF EXISTS {} SYNC", ident(table)),
            )
            .await?;
        }
        for statement in &statements {
            run(&client, statement).await?;
        }
        changed.push(name.as_str());
    }
    Ok(if changed.is_empty() {
        Outcome::Unchanged(format!(
            "tables of {} flows are there",
            env.profile.flows.len()
        ))
    } else {
        Outcome::Changed(format!("made the tables of {}", changed.join(", ")))
    })
}

#[derive(serde::Deserialize)]
struct Existing {
    name: String,
    comment: String,
}

async fn run(client: &Clickhouse, sql: &str) -> Result<()> {
    client
        .text(sql)
        .await
        .map(drop)
        .map_err(|error| service(&error).detail(sql.lines().next().unwrap_or_default().to_owned()))
}

#[derive(serde::Deserialize)]
struct Column {
    name: String,
    r#type: String,
}

/// Silver holds data: a difference is the user's decision.
async fn check_silver(
    client: &Clickhouse,
    database: &str,
    silver: &str,
    flow: &Flow,
) -> Result<()> {
    let columns: Vec<Column> = client
        .rows(&format!(
            "SELECT name, type FROM system.columns WHERE database = {} AND table = {}",
            literal(database),
            literal(silver)
        ))
        .await
        .map_err(|error| service(&error))?;
    for (name, kind) in &flow.columns {
        let found = columns.iter().find(|column| column.name == *name);
        let add = format!(
            "ALTER TABLE {} ADD COLUMN {} {kind}",
            ident(silver),
            ident(name)
        );
        match found {
            None => {
                return Err(Error::new(
                    Code::Drift,
                    format!("{silver} has no column `{name}`, which the profile wants"),
                )
                .hint(format!("add it in ClickHouse and rerun: {add}")));
            }
            Some(column) if column.r#type.replace(' ', "") != kind.replace(' ', "") => {
                return Err(Error::new(
                    Code::Drift,
                    format!(
                        "{silver}.{name} is {}, and the profile wants {kind}",
                        column.r#type
                    ),
                )
                .hint("change the type in the profile, or alter the column in ClickHouse"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Whether every flow's tables are there.
pub async fn probe_tables(env: &Environment) -> Status {
    let client = env.clickhouse_client();
    let names: Result<Vec<Existing>, _> = client
        .rows(&format!(
            "SELECT name, comment FROM system.tables WHERE database = {}",
            literal(&env.profile.clickhouse.database)
        ))
        .await;
    let names = match names {
        Ok(names) => names,
        Err(error) if error.is_final() => return Status::failed(error.to_string()),
        Err(error) => return Status::in_progress(error.to_string()),
    };
    let mut wanted = 0;
    for flow in env.profile.flows.keys() {
        for table in Names::of(flow).all() {
            wanted += 1;
            if !names.iter().any(|existing| existing.name == *table) {
                return Status::not_found(format!("table {table} is missing"));
            }
        }
    }
    Status::current(format!("{wanted} tables and views"))
}

/// What stands behind the interface, for `status`.
pub fn flavour(env: &Environment) -> &'static str {
    match (&env.clickhouse_binary, &env.profile.clickhouse.external) {
        (_, Some(_)) => "external",
        (Some(_), _) => "server",
        _ => "embedded engine",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_s_user_has_no_password_in_the_clear() {
        let xml = users_xml("default", "secret-word");
        assert!(xml.contains(&lockfile::digest("secret-word")) && !xml.contains("secret-word"));
    }
}
