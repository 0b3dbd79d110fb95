//! What a type of component answers beside what follows from its settings alone: how it runs, what it needs
//! before changes can flow, and whether it works. One generic runner does the rest (`up`, `observe`).

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::console::Console;
use super::dialect::Dialect;
use super::operator::Operator;
use super::projections::Projections;
use super::slots::Slots;
use super::source::Source;
use super::target::Target;
use crate::endpoint::Endpoint;
use crate::environment::Environment;
use crate::error::Result;
use crate::plan::Plan;
use crate::platform::host::apply::Rendered;
use crate::platform::host::artifacts::maven::Coordinates;
use crate::platform::host::artifacts::{MavenArtifact, PypiEnvironment};
use crate::platform::host::prerequisites::Needs;
use crate::platform::kubernetes::Cluster;
use crate::platform::kubernetes::watch;
use crate::profile::Profile;
use crate::profile::component::{Space, Spec};
use crate::profile::schema::Versions;
use crate::readiness::Status;

/// Where a component stands on a change's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Changes are made there.
    Source,
    /// It moves changes.
    Mover,
    /// It keeps them meanwhile.
    Log,
    /// They arrive there.
    Target,
}

/// What objects on a cluster follow from beside a profile.
pub struct Manifests<'a> {
    /// The environment, as far as it is made of the profile.
    pub env: &'a Environment,
    /// Whether the cluster is Kind's on this machine.
    pub on_kind: bool,
    /// Connect's image with its tag.
    pub image: &'a str,
    /// Certificate of Kafka's own authority (PEM), once its operator has made it.
    pub authority: Option<&'a str>,
    /// Masks a password where the objects are for people.
    pub shown: &'a dyn Fn(String) -> String,
}

/// A component of a profile.
#[async_trait]
pub trait Component: Spec {
    /// Where it stands on a change's way.
    fn stage(&self) -> Stage;

    /// What its gate proves, for people.
    fn proof(&self) -> &'static str;

    /// What Maven brings for it on `host`.
    ///
    /// # Errors
    /// A version has no digests.
    fn artifacts(&self, env: &Environment) -> Result<Vec<MavenArtifact>> {
        let _ = env;
        Ok(Vec::new())
    }

    /// The type's own lock file for what Maven brings, at these versions.
    fn lock(versions: &Versions) -> Option<Lock>
    where
        Self: Sized,
    {
        let _ = versions;
        None
    }

    /// What PyPI brings for it on `host`.
    fn engine(&self, env: &Environment) -> Option<PypiEnvironment> {
        let _ = env;
        None
    }

    /// What it needs of the machine on `host`.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// Its process on `host`, rendered.
    ///
    /// # Errors
    /// A prerequisite is missing, or a template is wrong.
    fn process(&self, env: &Environment) -> Result<Rendered>;

    /// Writes what its process reads when it starts and no template holds.
    ///
    /// # Errors
    /// A file cannot be written.
    fn before_start(&self, env: &Environment) -> Result<()> {
        let _ = env;
        Ok(())
    }

    /// Its templates below `manifests/` for clusters, in an order in which they could be applied.
    fn templates(&self, made: &Manifests<'_>) -> Vec<&'static str>;

    /// What its templates may name beside the profile's keys.
    ///
    /// # Errors
    /// A value of the profile cannot be what it has to be there.
    fn values(&self, made: &Manifests<'_>) -> Result<Value> {
        let _ = made;
        Ok(json!({}))
    }

    /// The operator that runs it on clusters.
    fn operator(&self) -> Option<&'static Operator> {
        None
    }

    /// Where its pods are, and the labels that find them.
    fn pods(&self) -> (Space, String);

    /// What its pods belong to, where they are replaced one by one by others than whoever keeps
    /// the first of its objects.
    fn sets(&self, env: &Environment) -> Replaced {
        let _ = env;
        Replaced::ByTemplate
    }

    /// Where its Secrets on a cluster hold passwords that the profile does not give.
    fn kept(&self, profile: &Profile) -> Vec<Kept> {
        let _ = profile;
        Vec::new()
    }

    /// Refuses a change of what runs on a cluster that it could not survive.
    ///
    /// # Errors
    /// There is one; or the server does not answer.
    async fn check_change(&self, env: &Environment, cluster: &Cluster) -> Result<()> {
        let _ = (env, cluster);
        Ok(())
    }

    /// Adds the steps that it needs between its start, after the node `start`, and its gate; returns what
    /// the gate waits for.
    fn before_ready(&self, plan: &mut Plan, env: &Arc<Environment>, start: &str) -> Vec<String> {
        let _ = (plan, env);
        vec![start.to_owned()]
    }

    /// Adds the steps that it needs once it answers, before changes can flow.
    fn after_ready(&self, plan: &mut Plan, env: &Arc<Environment>) {
        let _ = (plan, env);
    }

    /// The step that looks at the tables which flows read, before anything is made for them.
    fn checks_tables(&self) -> Option<String> {
        None
    }

    /// How a JDBC sink reaches it at an address.
    fn jdbc_url(&self, at: &Endpoint) -> String {
        at.address()
    }

    /// Adds the steps that give the connectors that read or write it their rights; returns what they wait for.
    fn permit(&self, plan: &mut Plan, env: &Arc<Environment>) -> Vec<String> {
        let _ = (plan, env);
        Vec::new()
    }

    /// Inserts the seed rows that are missing; says what of how many was inserted.
    ///
    /// # Errors
    /// It refuses, or a file is missing or malformed.
    async fn seed(&self, env: &Environment) -> Result<Option<Seeded>> {
        let _ = env;
        Ok(None)
    }

    /// The files that hold them, below `manifests/`.
    fn seeds(&self) -> Vec<String> {
        Vec::new()
    }

    /// What it answers as a source of changes, if connectors read it.
    fn source(&self) -> Option<&dyn Source> {
        None
    }

    /// What it answers as the target of flows, if changes arrive there.
    fn target(&self) -> Option<&dyn Target> {
        None
    }

    /// What it answers where its tables are compared.
    fn dialect(&self) -> Option<&dyn Dialect> {
        None
    }

    /// Whether it works, by its protocol.
    async fn probe(&self, env: &Environment) -> Status;

    /// The version that runs, where the probe's message does not end with it.
    async fn version(&self, env: &Environment) -> Option<String> {
        let _ = env;
        None
    }

    /// What events add up in, if it is of a type that can.
    fn projections(&self) -> Option<&dyn Projections> {
        None
    }

    /// The replication slots that it keeps, if it is of a type that does.
    fn slots(&self) -> Option<&dyn Slots> {
        None
    }

    /// The page that it has for browsers.
    ///
    /// # Errors
    /// What to do instead.
    fn page(&self) -> Result<&'static str, String>;

    /// What to do instead where what runs has no such page.
    fn instead_of_page(&self, env: &Environment) -> Option<String> {
        let _ = env;
        None
    }

    /// What people type to it.
    ///
    /// # Errors
    /// Nothing; what to do instead.
    fn console(&self) -> Result<Console<'_>, String>;
}

/// A lock file with the digests of what Maven brings.
pub struct Lock {
    /// The file, below the repository's root.
    pub file: String,
    /// What it locks, for people.
    pub title: &'static str,
    /// What Maven is asked for: for every system.
    pub coordinates: Vec<Coordinates>,
    /// Whether what they depend on is locked too. Of all types at most one asks for that.
    pub transitive: bool,
}

/// A password in a Secret of a cluster.
pub struct Kept {
    /// The name under which the environment keeps it.
    pub name: String,
    /// The namespace.
    pub space: Space,
    /// The Secret.
    pub secret: String,
    /// Its key there.
    pub key: String,
}

impl Kept {
    /// The passwords of a component's accounts, with the Secret of its own.
    pub fn accounts(profile: &Profile, component: &str, secret: String) -> Vec<Self> {
        let Some(instance) = profile.component(component) else {
            return Vec::new();
        };
        let Some(accounts) = instance.spec.accounts() else {
            return Vec::new();
        };
        let key = "password".to_owned();
        let mut kept = Vec::new();
        if accounts.password.is_none() {
            kept.push(Kept {
                name: component.to_owned(),
                space: Space::Database,
                secret,
                key: key.clone(),
            });
        }
        let own = instance.connector_login().is_own();
        if own && accounts.connector.is_some_and(|it| it.password.is_none()) {
            kept.push(Kept {
                name: instance.connector_secret(),
                space: Space::Kafka,
                secret: instance.connector_secret(),
                key,
            });
        }
        kept
    }
}

/// Seed rows or documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeded {
    /// What they are called there.
    pub what: &'static str,
    /// How many were inserted.
    pub count: u64,
}

/// Pods that Strimzi keeps.
pub struct PodSet {
    /// What they belong to.
    pub pods: watch::Target,
    /// The set that they are in.
    pub set: watch::Target,
}

/// How a component's pods are replaced on clusters.
pub enum Replaced {
    /// By a new template of the first of its objects.
    ByTemplate,
    /// By an annotation with the time on the first of its objects.
    ByRestartedAt,
    /// By Strimzi, which keeps them in a set.
    ByStrimzi(Box<PodSet>),
    /// By new templates of StatefulSets that its operator keeps, found by their labels.
    BySets {
        /// The labels.
        labels: String,
    },
}
