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
use super::{ask, holders};
use crate::clients::postgres::{Postgres, PostgresError, ident};
use crate::components::connect::login;
use crate::components::service;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Progress};
use crate::platform::Platform;
use crate::profile::schema::Connector;
use crate::readiness::Status;
use crate::wait::{self, Patience};
use sql::{Change, Found, Server};

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
            done.extend(writes(own, env, &session, user).await?);
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

/// One statement that gives a row if this tool made the publication.
pub(super) fn is_made(publication: &str) -> String {
    sql::is_made(publication)
}

async fn session(own: &PostgresSettings, env: &Environment) -> Result<Postgres> {
    let session = own.session(env).await;
    session.map_err(|error| service(&error))
}

/// The tables that these connectors capture.
fn tables(
    own: &PostgresSettings,
    env: &Environment,
    of: impl Fn(&Connector) -> bool,
) -> BTreeSet<String> {
    let connectors = env.connectors(&own.name);
    connectors
        .filter(|(_, connector)| of(connector))
        .flat_map(|(name, _)| env.profile.captured(name))
        .map(str::to_owned)
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
    let login = sql::login(user, exists, replicates, &verifier);
    let made = holders::run(own, env, session, &login).await;
    made.map_err(|refused| {
        let hint = match refused.is_denied() {
            true => Some(format!(
                "as a superuser: CREATE ROLE {} LOGIN REPLICATION PASSWORD '...'; then: {}",
                ident(user),
                login::keep_password(&own.name, user)
            )),
            false => None,
        };
        let error = refused.error(own);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    })?;
    // What was done counts once it helps: a rule of pg_hba.conf may stand in the way.
    match own.session_as_connector(env).await {
        Ok(_) if exists => Ok(Some(format!("set the password of {user}"))),
        Ok(_) => Ok(Some(format!("made the user {user}"))),
        Err(error) => Err(service(&error).detail(format!("before: {refused}"))),
    }
}

/// Has the user make tables where sinks write them.
async fn writes(
    own: &PostgresSettings,
    env: &Environment,
    session: &Postgres,
    user: &str,
) -> Result<Vec<String>> {
    let may = session.value(&sql::may_write(user)).await;
    if may.map_err(|error| service(&error))?.as_deref() == Some("true") {
        return Ok(Vec::new());
    }
    apply(own, env, session, vec![sql::let_write(user)]).await
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
    apply(own, env, session, sql::rights(user, &found, server)).await
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
    let sends_generated = ask(session, &sql::sends_generated()).await?;
    let is_ours = own.external.is_none();
    let changes = sql::publish(name, &wanted, found, is_ours, sends_generated);
    apply(own, env, session, changes).await
}

/// Makes changes; says what was done. Those that the role may not make are named at once, with their statements.
async fn apply(
    own: &PostgresSettings,
    env: &Environment,
    session: &Postgres,
    changes: Vec<Change>,
) -> Result<Vec<String>> {
    let (mut done, mut denied) = (Vec::new(), Vec::new());
    for change in changes {
        match holders::run(own, env, session, &change.sql).await {
            Ok(_) => done.push(change.says),
            Err(refused) if refused.is_denied() => {
                let hint = format!("have an owner or a superuser do it: {}", change.sql);
                denied.push(refused.error(own).hint(hint));
            }
            Err(refused) => return Err(refused.error(own)),
        }
    }
    Error::together(denied).map_or(Ok(done), Err)
}
