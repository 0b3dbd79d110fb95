//! What connectors may do at the relational source: log in, replicate, and read the captured tables,
//! as a user that owns nothing. So the publications are made here, by the tables' owner, and the
//! connectors only use them (`publication.autocreate.mode=disabled`).
//!
//! On a server that the tool runs the user has these rights and no others. On one that the user runs,
//! nothing is taken away: neither rights nor a publication's tables, nor the password of a user that was
//! there.
//!
//! The password goes to the server as a SCRAM verifier: what fails may be in the server's log.

mod sql;

use std::collections::BTreeSet;
use std::time::Duration;

use super::settings::PostgresSettings;
use crate::clients::postgres::{Postgres, PostgresError};
use crate::components::connect::login;
use crate::components::service;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Progress};
use crate::platform::Platform;
use crate::profile::schema::Connector;
use crate::readiness::Status;
use crate::wait::{self, Patience};
use sql::{Found, Server};

/// Gives the connectors' user what it needs, and has each connector's publication hold its tables.
///
/// # Errors
/// The server refuses.
pub async fn grant(
    own: &PostgresSettings,
    env: &Environment,
    progress: &Progress,
) -> Result<Outcome> {
    let session = session(own, env).await?;
    let mut done = Vec::new();
    let user = env.profile.component(&own.name);
    if let Some(user) = user.and_then(|it| env.own_connector_user(it)) {
        done.extend(role(own, env, &session, user, progress).await?);
        if env.connectors(&own.name).next().is_some() {
            let tables = tables(own, env, |connector| env.connector_user(connector) == user);
            done.extend(rights(own, env, &session, user, &tables).await?);
        }
        if env.profile.sinks_of(&own.name).next().is_some() {
            done.extend(writes(&session, user).await?);
        }
    }
    for (_, connector) in env.connectors(&own.name) {
        done.extend(publish(own, env, &session, connector).await?);
    }
    Ok(match done.as_slice() {
        [] => Outcome::Unchanged("the connectors have their rights".into()),
        done => Outcome::Changed(done.join("; ")),
    })
}

/// Has a connector's publication hold its tables, before the connector starts from nothing.
///
/// # Errors
/// The server refuses.
pub async fn republish(
    own: &PostgresSettings,
    env: &Environment,
    connector: &Connector,
) -> Result<Vec<String>> {
    publish(own, env, &session(own, env).await?, connector).await
}

async fn session(own: &PostgresSettings, env: &Environment) -> Result<Postgres> {
    let session = own.session(env).await;
    let session = session.map_err(|error| service(&error))?;
    // Nothing here takes a lock that readers or writers wait for; what others hold ends it soon.
    let limit = session.execute("SET lock_timeout = '10s'").await;
    limit.map_err(|error| service(&error))?;
    Ok(session)
}

/// The tables that these connectors capture.
fn tables(
    own: &PostgresSettings,
    env: &Environment,
    of: impl Fn(&Connector) -> bool,
) -> BTreeSet<String> {
    let flows = env.profile.flows_of(&own.name);
    flows
        .filter(|(_, flow)| env.profile.connectors.get(&flow.connector).is_some_and(&of))
        .map(|(_, flow)| flow.table.clone())
        .collect()
}

/// Has the user log in with the environment's password; says what it took.
async fn role(
    own: &PostgresSettings,
    env: &Environment,
    session: &Postgres,
    user: &str,
    progress: &Progress,
) -> Result<Option<String>> {
    let refused = match own.session_as_connector(env).await {
        Ok(_) => return Ok(None),
        Err(error) if is_refused(&error) => error,
        Err(error) => return Err(service(&error)),
    };
    if is_operated(own, env) {
        // The operator makes it from the cluster's resource.
        let what = format!("{user} can log in");
        let patience = Patience::local(Duration::from_secs(300));
        wait::until(&what, patience, progress, || async {
            match own.session_as_connector(env).await {
                Ok(_) => Status::current("it can"),
                Err(error) => Status::in_progress(error.to_string()),
            }
        })
        .await?;
        return Ok(Some(format!("{user} can log in")));
    }
    let exists = session.value(&sql::role_exists(user)).await;
    let exists = exists.map_err(|error| service(&error))?.is_some();
    if exists && own.external.is_some() {
        // Others may log in with the password that it has.
        return Err(service(&refused).hint(login::keep_password(&own.name, user)));
    }
    let password = env.password(&format!("{}-connector", own.name));
    let verifier = postgres_protocol::password::scram_sha_256(password.expose().as_bytes());
    let replicates = env.connectors(&own.name).next().is_some();
    run(session, &sql::login(user, exists, replicates, &verifier)).await?;
    // What was done counts once it helps: a rule of pg_hba.conf may stand in the way.
    match own.session_as_connector(env).await {
        Ok(_) if exists => Ok(Some(format!("set the password of {user}"))),
        Ok(_) => Ok(Some(format!("made the user {user}"))),
        Err(error) => Err(service(&error).detail(format!("before: {refused}"))),
    }
}

/// Has the user make tables where sinks write them.
async fn writes(session: &Postgres, user: &str) -> Result<Option<String>> {
    let may = session.value(&sql::may_write(user)).await;
    if may.map_err(|error| service(&error))?.as_deref() == Some("true") {
        return Ok(None);
    }
    run(session, &sql::let_write(user)).await?;
    Ok(Some(format!("{user} may make tables in schema public")))
}

fn is_refused(error: &PostgresError) -> bool {
    error
        .sqlstate()
        .is_some_and(|state| state.starts_with("28"))
}

/// Whether an operator makes the users.
fn is_operated(own: &PostgresSettings, env: &Environment) -> bool {
    env.platform != Platform::Host && own.is_operated() && own.external.is_none()
}

/// Gives the user the rights that it lacks, and on the tool's own server takes those that it should
/// not have.
async fn rights(
    own: &PostgresSettings,
    env: &Environment,
    session: &Postgres,
    user: &str,
    tables: &BTreeSet<String>,
) -> Result<Vec<String>> {
    let found: Found = ask(session, &sql::found(user, tables)).await?;
    let server = Server {
        is_ours: own.external.is_none(),
        is_operated: is_operated(own, env),
    };
    if let Some(table) = sql::unseen(&found, server) {
        let what = format!("{table} has row level security, and {user} would not see all its rows");
        let hint = format!("as a superuser: ALTER ROLE \"{user}\" BYPASSRLS");
        return Err(Error::new(Code::Drift, what).hint(hint));
    }
    let mut done = Vec::new();
    for change in sql::rights(user, &found, server) {
        run(session, &change.sql).await?;
        done.push(change.says);
    }
    Ok(done)
}

async fn publish(
    own: &PostgresSettings,
    env: &Environment,
    session: &Postgres,
    connector: &Connector,
) -> Result<Vec<String>> {
    let Some(name) = &connector.publication else {
        return Ok(Vec::new());
    };
    // Whoever has Debezium make it means so.
    let autocreate = connector.config.get("publication.autocreate.mode");
    if autocreate.is_some_and(|mode| mode != "disabled") {
        return Ok(Vec::new());
    }
    let wanted = tables(own, env, |it| it.publication.as_ref() == Some(name));
    let found = ask(session, &sql::publication(name)).await?;
    let is_ours = own.external.is_none();
    let mut done = Vec::new();
    for change in sql::publish(name, &wanted, found, is_ours) {
        run(session, &change.sql).await?;
        done.push(change.says);
    }
    Ok(done)
}

async fn ask<T: serde::de::DeserializeOwned>(session: &Postgres, sql: &str) -> Result<T> {
    let answer = session.value(sql).await.map_err(|error| service(&error))?;
    serde_json::from_str(answer.as_deref().unwrap_or("null"))
        .map_err(|error| Error::new(Code::Service, format!("PostgreSQL's answer: {error}")))
}

async fn run(session: &Postgres, sql: &str) -> Result<()> {
    let result = session.execute(sql).await;
    result.map(drop).map_err(|error| {
        let refused = error.sqlstate() == Some("42501");
        let error = service(&error);
        match refused {
            // Not the statement: it may hold a verifier.
            true => error.hint(
                "have an owner of the tables do it: cargo xtask explain PRIVILEGE_MISSING says what is needed",
            ),
            false => error,
        }
    })
}
