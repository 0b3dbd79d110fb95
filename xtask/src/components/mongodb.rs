//! The document source: `mongod` from PATH, or a member that the user runs.

pub mod access;
pub mod members;
mod refused;

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{DateTime, Document, doc};
use serde::Deserialize;
use serde_json::json;

use super::service;
use crate::clients::mongodb::{Hello, Mongodb, MongodbError};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Progress};
use crate::platform::Endpoint;
use crate::platform::host::apply::Rendered;
use crate::platform::host::secrets;
use crate::profile::size;
use crate::readiness::{State, Status};
use crate::render::kubernetes::mongodb_members;
use crate::wait::{self, Patience};

/// The process; none for an external member, or where there is no `mongod`.
///
/// # Errors
/// A template is wrong.
pub fn process(env: &Environment) -> Result<Option<Rendered>> {
    let Some(mongod) = env
        .mongod_binary
        .as_ref()
        .filter(|_| env.profile.mongodb.external.is_none())
    else {
        return Ok(None);
    };
    env.process(
        "mongodb",
        "mongodb/host/process.yaml.hbs",
        &json!({
            "mongod": mongod,
            // The environment's secret is the key as it stands.
            "key_file": secrets::file(&env.dirs, "mongodb-key"),
            "cache_gb": size::gigabytes(size::bytes(&env.profile.mongodb.cache)?),
        }),
    )
    .map(Some)
}

/// The member answers, is in the replica set, and takes writes.
pub async fn probe(env: &Environment) -> Status {
    let client = match env.mongodb_client() {
        Ok(client) => client,
        Err(error) => return Status::failed(error.to_string()),
    };
    match client.hello().await {
        Ok(Hello { standing, .. }) if standing.set.is_empty() => {
            if env.profile.mongodb.external.is_some() {
                Status::failed("it is in no replica set, and change streams need one")
            } else {
                Status::in_progress("not in a replica set yet")
            }
        }
        Ok(Hello { standing, version }) if standing.primary => {
            Status::current(format!("primary of {}, version {version}", standing.set))
        }
        Ok(hello) => Status::in_progress(format!("not primary of `{}` yet", hello.standing.set)),
        Err(error) => refused(env, &error).await,
    }
}

/// Whether the error passes: a login that the server refused does not, once the server is the one
/// that stays.
async fn refused(env: &Environment, error: &MongodbError) -> Status {
    if !error.is_refused_login() {
        return Status::in_progress(error.to_string());
    }
    let anybody = Endpoint {
        user: String::new(),
        ..env.mongodb()
    };
    let standing = match Mongodb::new(&anybody) {
        Ok(client) => client.standing().await.ok(),
        Err(_) => None,
    };
    let external = env.is_external("mongodb");
    refused::refused_login(&error.to_string(), standing.as_ref(), external)
}

/// Initiates the replica set and creates the user on a member that this tool runs.
///
/// # Errors
/// The member refuses.
pub async fn initiate(env: Arc<Environment>, progress: Progress) -> Result<Outcome> {
    let spec = &env.profile.mongodb;
    if let Ok(client) = env.mongodb_client()
        && client
            .hello()
            .await
            .is_ok_and(|hello| hello.standing.primary)
    {
        return Ok(Outcome::Unchanged(format!(
            "{} is initiated",
            spec.replica_set
        )));
    }
    // Before there is a user, a connection from this machine may initiate and create one.
    let open = Mongodb::new(&Endpoint::loopback(spec.port)).map_err(|error| service(&error))?;
    let member = format!("127.0.0.1:{}", spec.port);
    let config = doc! { "_id": &spec.replica_set, "members": [{ "_id": 0, "host": member }] };
    if let Err(error) = open.admin(doc! { "replSetInitiate": config }).await
        && !error.reason.contains("already initialized")
    {
        return Err(service(&error));
    }
    wait::until(
        "mongodb becomes primary",
        Patience::local(Duration::from_secs(60)),
        &progress,
        || async {
            match open.admin(doc! { "hello": 1 }).await {
                Ok(hello) if hello.get_bool("isWritablePrimary").unwrap_or(false) => {
                    Status::current("primary")
                }
                Ok(_) => Status::in_progress("electing"),
                Err(error) => Status::in_progress(error.to_string()),
            }
        },
    )
    .await?;
    let endpoint = env.mongodb();
    let user = doc! {
        "createUser": &endpoint.user,
        "pwd": endpoint.password.expose(),
        "roles": ["root"],
    };
    match open.admin(user).await {
        Ok(_) => {}
        Err(error) if error.reason.contains("already exists") => {}
        Err(error) => return Err(service(&error)),
    }
    Ok(Outcome::Changed(format!("initiated {}", spec.replica_set)))
}

/// Initiates the replica set on a cluster, where the image makes the user at its first start.
///
/// # Errors
/// The member refuses, or does not become primary.
pub async fn initiate_in_cluster(env: Arc<Environment>, progress: Progress) -> Result<Outcome> {
    let set = &env.profile.mongodb.replica_set;
    let client = env.mongodb_client().map_err(|error| service(&error))?;
    let answered = wait::until(
        "mongodb takes a login",
        Patience::local(Duration::from_secs(600)),
        &progress,
        || async {
            // Its pod is asked before it is ready: what makes it so may be what is done here.
            if let Some(obstacle) = env.blocked_by("mongodb").await
                && obstacle.state == State::Failed
            {
                return obstacle;
            }
            match client.hello().await {
                // The image's first server, which makes the user and ends.
                Ok(hello) if !hello.standing.replicated => {
                    Status::in_progress("the first set-up goes on")
                }
                Ok(hello) if hello.standing.primary => Status::current("primary"),
                Ok(_) => Status::current("answers"),
                Err(error) => refused(&env, &error).await,
            }
        },
    )
    .await?;
    let changed = answered != "primary" && initiate_set(&env, &client, &progress).await?;
    let added = members::complete(&env, &client, &progress).await?;
    Ok(match (changed, added.as_slice()) {
        (true, _) => Outcome::Changed(format!("initiated {set}")),
        (false, []) => Outcome::Unchanged(format!("{set} is initiated")),
        (false, added) => Outcome::Changed(added.join(", ")),
    })
}

/// Initiates the set if it is not; says whether it was this call that did.
async fn initiate_set(env: &Environment, client: &Mongodb, progress: &Progress) -> Result<bool> {
    let members: Vec<Document> = mongodb_members(&env.profile)
        .into_iter()
        .zip(0_i32..)
        .map(|(host, id)| members::member(id, &host, id == 0))
        .collect();
    let config = doc! { "_id": &env.profile.mongodb.replica_set, "members": members };
    let changed = match client.admin(doc! { "replSetInitiate": config }).await {
        Ok(_) => true,
        Err(error) if error.reason.contains("already initialized") => false,
        Err(error) => return Err(service(&error)),
    };
    wait::until(
        "mongodb becomes primary",
        Patience::local(Duration::from_secs(120)),
        progress,
        || async { probe(env).await },
    )
    .await?;
    Ok(changed)
}

/// A seed file.
#[derive(Deserialize)]
struct Seed {
    collection: String,
    documents: Vec<serde_json::Value>,
}

/// Fills the collections that are empty; says how many documents were inserted.
///
/// # Errors
/// The member refuses, or a file is missing or malformed.
pub async fn seed(env: &Environment) -> Result<u64> {
    let client = env.mongodb_client().map_err(|error| service(&error))?;
    let mut inserted = 0;
    for file in &env.profile.mongodb.seed {
        let path = env.templates.root().join("mongodb/seed").join(file);
        let text =
            std::fs::read_to_string(&path).map_err(|source| Error::io("read", &path, &source))?;
        let seed: Seed = serde_json::from_str(&text).map_err(|error| {
            Error::new(
                Code::Template,
                format!("{} is no seed: {error}", path.display()),
            )
        })?;
        let count = client
            .count(&seed.collection)
            .await
            .map_err(|error| service(&error))?;
        if count > 0 {
            continue;
        }
        let documents = seed
            .documents
            .iter()
            .map(|value| document(value, &path))
            .collect::<Result<Vec<_>>>()?;
        inserted += documents.len() as u64;
        client
            .insert(&seed.collection, documents)
            .await
            .map_err(|error| service(&error))?;
    }
    Ok(inserted)
}

fn document(value: &serde_json::Value, path: &std::path::Path) -> Result<Document> {
    let mut document: Document = serde_json::from_value(value.clone())
        .map_err(|error| Error::new(Code::Template, format!("{}: {error}", path.display())))?;
    if !document.contains_key("timestamp") {
        document.insert("timestamp", DateTime::now());
    }
    Ok(document)
}
