//! The document source: `mongod` from PATH, or a member that the user runs.

pub mod access;
mod canonical;
mod console;
mod dialect;
pub mod members;
mod refused;
mod sample;
pub mod settings;
pub mod source;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mongodb::bson::{DateTime, Document, doc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::console::Console;
use super::dialect::Dialect;
use super::source::Source;
use super::{Component, Kept, Manifests, Seeded, Stage, service, truststore};
use crate::clients::mongodb::{Mongodb, MongodbError};
use crate::endpoint::Endpoint;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Plan, Progress};
use crate::platform::Platform;
use crate::platform::host::apply::Rendered;
use crate::platform::host::prerequisites::{InPath, Manager, Needs, Without};
use crate::platform::host::secrets;
use crate::platform::kubernetes::Cluster;
use crate::profile::Profile;
use crate::profile::component::{Space, Spec};
use crate::readiness::{State, Status};
use crate::units::Size;
use crate::wait::{self, Patience};
use settings::{MONGOD, MongodbSettings};

/// The server's program, as `doctor` looks for it.
const IN_PATH: InPath = InPath {
    name: MONGOD,
    why: "optional: without it the profile's MongoDB branch is left out",
    without: Without::LeftOut {
        // Distributions dropped MongoDB with its change of licence.
        packages: &[(Manager::Brew, &["mongodb/brew/mongodb-community"])],
        page: "https://www.mongodb.com/docs/manual/administration/install-on-linux/",
    },
};

#[async_trait]
impl Component for MongodbSettings {
    fn stage(&self) -> Stage {
        Stage::Source
    }

    fn proof(&self) -> &'static str {
        "primary of its replica set"
    }

    fn needs(&self) -> Needs {
        Needs {
            program: Some(IN_PATH),
            ..Needs::default()
        }
    }

    fn process(&self, env: &Environment) -> Result<Rendered> {
        env.process(
            &self.name,
            "mongodb/host/process.yaml.hbs",
            &json!({
                "mongod": env.programs.get(MONGOD),
                // The environment's secret is the key as it stands.
                "key_file": secrets::file(&env.dirs, &format!("{}-key", self.name)),
                "cache_gb": self.cache.parse::<Size>()?.gigabytes(),
            }),
        )
    }

    fn templates(&self, _: &Manifests<'_>) -> Vec<&'static str> {
        vec![
            "mongodb/kubernetes/credentials.yaml.hbs",
            "mongodb/kubernetes/statefulset.yaml.hbs",
        ]
    }

    fn values(&self, _: &Manifests<'_>) -> Result<Value> {
        Ok(json!({
            "resource": self.resource(),
            "several": self.replicas > 1,
            "cache_gb": self.cache.parse::<Size>()?.gigabytes(),
        }))
    }

    fn pods(&self) -> (Space, String) {
        (Space::Database, format!("app={}", self.resource()))
    }

    fn kept(&self, profile: &Profile) -> Vec<Kept> {
        let name = self.resource();
        let mut kept = Kept::accounts(profile, &self.name, format!("{name}-credentials"));
        kept.push(Kept {
            name: format!("{}-key", self.name),
            space: Space::Database,
            secret: format!("{name}-key"),
            key: "keyfile".into(),
        });
        kept
    }

    async fn check_change(&self, env: &Environment, cluster: &Cluster) -> Result<()> {
        let namespace = env.profile.namespace(Space::Database);
        members::refuse_shrinking(cluster, namespace, self.resource(), self.replicas).await
    }

    fn before_ready(&self, plan: &mut Plan, env: &Arc<Environment>, start: &str) -> Vec<String> {
        let (at, own) = (env.clone(), self.clone());
        let id = format!("{}/initiate", self.name);
        plan.step(
            &id,
            "initiate the replica set",
            &[start],
            async move |progress| match at.platform {
                Platform::Host => initiate(&own, &at, &progress).await,
                Platform::Kind | Platform::Kubernetes => {
                    initiate_in_cluster(&own, &at, &progress).await
                }
            },
        );
        vec![id]
    }

    fn after_ready(&self, plan: &mut Plan, env: &Arc<Environment>) {
        let (at, own) = (env.clone(), self.clone());
        plan.step(
            &format!("{}/seed", self.name),
            "fill empty collections",
            &[&format!("{}/ready", self.name)],
            async move |_| {
                Ok(match seed(&own, &at).await? {
                    0 => Outcome::Unchanged("collections are there".into()),
                    count => Outcome::Changed(format!("{count} documents")),
                })
            },
        );
    }

    fn permit(&self, plan: &mut Plan, env: &Arc<Environment>) -> Vec<String> {
        let [ready, seed, access] =
            ["ready", "seed", "access"].map(|step| format!("{}/{step}", self.name));
        let mut needs = vec![seed];
        needs.extend(truststore::step(plan, env, &self.name, &self.tls()));
        let own = env.profile.component(&self.name);
        if own.is_none_or(|own| env.own_connector_user(own).is_none()) {
            needs.push(ready);
            return needs;
        }
        let (at, own) = (env.clone(), self.clone());
        plan.step(
            &access,
            "the connectors' user and its roles",
            &[&ready],
            async move |_| access::grant(&own, &at).await,
        );
        needs.push(access);
        needs
    }

    async fn seed(&self, env: &Environment) -> Result<Option<Seeded>> {
        let count = seed(self, env).await?;
        Ok(Some(Seeded {
            what: "documents",
            count,
        }))
    }

    fn seeds(&self) -> Vec<String> {
        let files = self.seed.iter();
        files.map(|file| format!("mongodb/seed/{file}")).collect()
    }

    fn source(&self) -> Option<&dyn Source> {
        Some(self)
    }

    async fn probe(&self, env: &Environment) -> Status {
        match self.client(env).hello().await {
            Ok(hello) => refused::member(self, env.path(&self.name), &hello),
            Err(error) => refused(self, env, &error).await,
        }
    }

    fn page(&self) -> Result<&'static str, String> {
        Err(format!("cargo xtask shell {}", self.name))
    }

    fn dialect(&self) -> Option<&dyn Dialect> {
        Some(self)
    }

    fn console(&self) -> Result<Console<'_>, String> {
        Ok(Console::Commands(console::HOW, self))
    }
}

impl MongodbSettings {
    /// A client as the tool's own user.
    pub fn client(&self, env: &Environment) -> Mongodb {
        self.client_at(&env.endpoint(&self.name))
    }

    /// A client as the connectors' user, from where this tool is.
    pub fn client_as_connector(&self, env: &Environment) -> Mongodb {
        self.client_at(&env.endpoint_as_connector(&self.name))
    }

    fn client_at(&self, at: &Endpoint) -> Mongodb {
        match self.servers() {
            Some(servers) => Mongodb::of(servers, self.set().map(str::to_owned), at),
            None => Mongodb::new(at),
        }
    }
}

/// Whether the error passes: a login that the server refused does not, once the server is the one
/// that stays.
async fn refused(own: &MongodbSettings, env: &Environment, error: &MongodbError) -> Status {
    let path = env.path(&own.name);
    let external = own.external.is_some();
    if let (Some(trouble), true) = (&error.trouble, external) {
        return refused::trouble(path, trouble, error);
    }
    if !error.is_refused_login() {
        return Status::in_progress(error.to_string());
    }
    let anybody = Endpoint {
        user: String::new(),
        ..env.endpoint(&own.name)
    };
    let standing = own.client_at(&anybody).standing().await.ok();
    refused::refused_login(&error.to_string(), standing.as_ref(), external, path)
}

/// Initiates the replica set and creates the user on a member that this tool runs.
///
/// # Errors
/// The member refuses.
async fn initiate(
    spec: &MongodbSettings,
    env: &Environment,
    progress: &Progress,
) -> Result<Outcome> {
    let hello = spec.client(env).hello().await;
    if hello.is_ok_and(|hello| hello.standing.primary) {
        return Ok(Outcome::Unchanged(format!(
            "{} is initiated",
            spec.replica_set
        )));
    }
    // Before there is a user, a connection from this machine may initiate and create one.
    let open = Mongodb::new(&Endpoint::loopback(spec.port));
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
        progress,
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
    let endpoint = env.endpoint(&spec.name);
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
pub async fn initiate_in_cluster(
    own: &MongodbSettings,
    env: &Environment,
    progress: &Progress,
) -> Result<Outcome> {
    let set = &own.replica_set;
    let client = own.client(env);
    let answered = wait::until(
        "mongodb takes a login",
        Patience::local(Duration::from_secs(600)),
        progress,
        || async {
            // Its pod is asked before it is ready: what makes it so may be what is done here.
            if let Some(obstacle) = env.blocked_by(&own.name).await
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
                Err(error) => refused(own, env, &error).await,
            }
        },
    )
    .await?;
    let changed = answered != "primary" && initiate_set(own, env, &client, progress).await?;
    let added = members::complete(own, env, &client, progress).await?;
    Ok(match (changed, added.as_slice()) {
        (true, _) => Outcome::Changed(format!("initiated {set}")),
        (false, []) => Outcome::Unchanged(format!("{set} is initiated")),
        (false, added) => Outcome::Changed(added.join(", ")),
    })
}

/// Initiates the set if it is not; says whether it was this call that did.
async fn initiate_set(
    own: &MongodbSettings,
    env: &Environment,
    client: &Mongodb,
    progress: &Progress,
) -> Result<bool> {
    let members: Vec<Document> = own
        .members(&env.profile)
        .into_iter()
        .zip(0_i32..)
        .map(|(host, id)| members::member(id, &host, id == 0))
        .collect();
    let config = doc! { "_id": &own.replica_set, "members": members };
    let changed = match client.admin(doc! { "replSetInitiate": config }).await {
        Ok(_) => true,
        Err(error) if error.reason.contains("already initialized") => false,
        Err(error) => return Err(service(&error)),
    };
    wait::until(
        "mongodb becomes primary",
        Patience::local(Duration::from_secs(120)),
        progress,
        || own.probe(env),
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
pub async fn seed(own: &MongodbSettings, env: &Environment) -> Result<u64> {
    let client = own.client(env);
    let mut inserted = 0;
    for file in &own.seed {
        let path = env.named_file(&own.name, "seed", "seed", file);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_homebrew_has_the_server() {
        let Without::LeftOut { packages, .. } = IN_PATH.without else {
            panic!("it can be left out");
        };
        let managers: Vec<Manager> = packages.iter().map(|(manager, _)| *manager).collect();
        assert_eq!(managers, [Manager::Brew]);
    }
}
