//! The broker: one KRaft node on `host`, Strimzi's cluster elsewhere.
//!
//! `kafka/ready` waits for the brokers alone; that the operator reports Kafka ready is a gate of
//! its own (`kafka/operated`). On `host` Kafka's formatted data directory is cached.

pub(super) mod operator;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use indexmap::IndexSet;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::{Value, json};

use super::connect::login;
use super::console::Console;
use super::{Component, Kept, Lock, Manifests, Operator, PodSet, Replaced, Stage, of, service};
use crate::clients::kafka::{
    CreateOutcome, KafkaClient, KafkaError, LoginProblem, TlsProblem, TopicSpec,
};
use crate::environment::{self, AUTHORITY, CERTIFICATE, Environment};
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Plan, Progress};
use crate::platform::host::apply::Rendered;
use crate::platform::host::artifacts::lockfile::{self, Locked};
use crate::platform::host::artifacts::maven::{Coordinates, MavenArtifact};
use crate::platform::host::artifacts::unpack::Unpack;
use crate::platform::host::java;
use crate::platform::host::prerequisites::Needs;
use crate::platform::kubernetes::watch::{Target, one};
use crate::profile::Profile;
use crate::profile::backbone::{KAFKA, KAFKA_CLUSTER, KAFKA_POOL, STRIMZI};
use crate::profile::component::{Space, Spec};
use crate::profile::parts;
use crate::profile::schema::{Flow, Kafka, Versions};
use crate::profile::topics::{MOST_BYTES, sink_group, topics};
use crate::readiness::Status;
use crate::readiness::kubernetes::certificate;

/// What Maven brings, for people.
pub(super) const TITLE: &str = KAFKA.title;

/// The jars of broker and Connect.
///
/// # Errors
/// The version has no lock file.
pub fn libraries(env: &Environment) -> Result<MavenArtifact> {
    let versions = &env.profile.versions;
    let kafka = versions.of(&parts::KAFKA);
    let files = lockfile::read(&env.root.join(lock_file(kafka)))?;
    // Every Kafka was locked with the Log4j of its own time: another Kafka needs no second override.
    let log4j = locked_log4j(&files).unwrap_or(versions.of(&parts::LOG4J));
    Ok(MavenArtifact {
        name: format!("kafka-{kafka}"),
        title: TITLE,
        coordinates: coordinates(kafka, log4j),
        transitive: true,
        files,
        unpack: Unpack::Copy,
    })
}

fn lock_file(version: &str) -> String {
    format!("manifests/kafka/libs-{version}.lock")
}

fn locked_log4j(files: &[Locked]) -> Option<&str> {
    files.iter().find_map(|locked| {
        let version = locked.file.strip_prefix("log4j-core-")?;
        version.strip_suffix(".jar")
    })
}

/// Who reads topics itself, as a user of a broker that asks who connects.
fn readers(made: &Manifests<'_>, kafka: &str) -> Vec<Value> {
    let env = made.env;
    let components = env.profile.components.values();
    let readers = components.filter(|it| it.kind.reads_topics.is_some());
    readers
        .map(|it| {
            let password = env.password(&format!("{kafka}-{}", it.name));
            json!({
                "user": it.name,
                "password": (made.shown)(password.expose().to_owned()),
                "groups": groups(&env.profile, |flow| flow.to.is_none()),
            })
        })
        .collect()
}

/// The consumer groups of flows, each once.
fn groups(profile: &Profile, of: impl Fn(&Flow) -> bool) -> IndexSet<&str> {
    let flows = profile.flows.values().filter(|flow| of(flow));
    flows.map(|flow| flow.group.as_str()).collect()
}

/// The profile's sinks, with the groups that Connect calls after them and their queues.
fn sinks(profile: &Profile) -> Vec<Value> {
    let sinks = profile.sinks.iter();
    sinks
        .map(|(name, sink)| json!({ "group": sink_group(name), "queue": sink.queue }))
        .collect()
}

/// What Maven is asked for; their dependencies come along.
fn coordinates(kafka: &str, log4j: &str) -> Vec<Coordinates> {
    [
        format!("org.apache.kafka:kafka_2.13:{kafka}"),
        format!("org.apache.kafka:connect-runtime:{kafka}"),
        format!("org.apache.logging.log4j:log4j-core:{log4j}"),
        format!("org.apache.logging.log4j:log4j-slf4j-impl:{log4j}"),
    ]
    .map(Coordinates)
    .to_vec()
}

/// Every environment has one broker on ports of its own: they need no names to tell them apart, and
/// with the same one the formatted data directory is the same for all.
const CLUSTER_ID: &str = "Y2RjLXh0YXNrLWhvc3QtMQ";

#[async_trait]
impl Component for Kafka {
    fn stage(&self) -> Stage {
        Stage::Log
    }

    fn proof(&self) -> &'static str {
        "broker metadata"
    }

    fn artifacts(&self, env: &Environment) -> Result<Vec<MavenArtifact>> {
        Ok(vec![libraries(env)?])
    }

    fn lock(versions: &Versions) -> Option<Lock> {
        Some(Lock {
            file: lock_file(versions.of(&parts::KAFKA)),
            title: TITLE,
            coordinates: coordinates(versions.of(&parts::KAFKA), versions.of(&parts::LOG4J)),
            transitive: true,
        })
    }

    fn needs(&self) -> Needs {
        Needs {
            maven: &[TITLE],
            memory: Some("heap"),
            ..Needs::default()
        }
    }

    fn process(&self, env: &Environment) -> Result<Rendered> {
        let libs: PathBuf = libraries(env)?.dir(&env.dirs.cache);
        let java = java::require()?;
        let format = lockfile::digest(&format!("{} {CLUSTER_ID} node 1", libs.display()));
        env.process(
            &self.name,
            "kafka/host/process.yaml.hbs",
            &json!({
                "java": java.program,
                "libs": libs,
                "cluster_id": CLUSTER_ID,
                "most_bytes": MOST_BYTES,
                "formatted": env.dirs.cache.join(format!("kafka-formatted-{}", &format[..12])),
                "class_archive": java.class_archive(&env.dirs.cache, &self.name, &libs),
            }),
        )
    }

    fn templates(&self, made: &Manifests<'_>) -> Vec<&'static str> {
        let mut templates = vec![
            "kafka/kubernetes/kafka.yaml.hbs",
            "kafka/kubernetes/topics.yaml.hbs",
        ];
        if self.is_secured() {
            templates.push("kafka/kubernetes/users.yaml.hbs");
            let mut readers = made.env.running().map(of);
            if made.authority.is_some() && readers.any(|it| it.stage() == Stage::Target) {
                templates.push("kafka/kubernetes/authority.yaml.hbs");
            }
        }
        templates
    }

    fn values(&self, made: &Manifests<'_>) -> Result<Value> {
        let brokers: Vec<Value> = made
            .env
            .profile
            .broker_ports()
            .into_iter()
            .map(|port| json!({"id": port.broker, "host_port": port.host, "node_port": port.node}))
            .collect();
        let connectors = made.env.profile.connectors.values();
        let prefixes: Vec<&str> = connectors.map(|it| it.prefix.as_str()).collect();
        Ok(json!({
            "several": self.replicas > 1,
            "brokers": brokers,
            "most_bytes": MOST_BYTES,
            "authority": made.authority,
            "readers": readers(made, &self.name),
            "groups": groups(&made.env.profile, |_| true),
            "prefixes": prefixes,
            "sinks": sinks(&made.env.profile),
        }))
    }

    fn operator(&self) -> Option<&'static Operator> {
        Some(&operator::STRIMZI)
    }

    fn pods(&self) -> (Space, String) {
        (
            Space::Kafka,
            format!("strimzi.io/name={KAFKA_CLUSTER}-kafka"),
        )
    }

    fn kept(&self, profile: &Profile) -> Vec<Kept> {
        let users = self.keys(profile).into_iter();
        users
            .map(|user| Kept {
                name: format!("{}-{}", self.name, user.suffix),
                space: Space::Kafka,
                secret: "kafka-users".into(),
                key: user.suffix,
            })
            .collect()
    }

    fn sets(&self, env: &Environment) -> Replaced {
        let space = env.profile.namespace(Space::Kafka);
        Replaced::ByStrimzi(Box::new(PodSet {
            pods: Target::of(STRIMZI, "KafkaNodePool", space, KAFKA_POOL),
            set: Target::of(
                POD_SETS,
                "StrimziPodSet",
                space,
                format!("{KAFKA_CLUSTER}-{KAFKA_POOL}"),
            ),
        }))
    }

    fn after_ready(&self, plan: &mut Plan, env: &Arc<Environment>) {
        let at = env.clone();
        plan.step(
            "kafka/topics",
            "create the flows' topics",
            &[&format!("{}/ready", self.name)],
            |progress| create_topics(at, progress),
        );
    }

    /// Whether the broker serves metadata and names itself.
    async fn probe(&self, env: &Environment) -> Status {
        probe(env).await
    }

    async fn version(&self, env: &Environment) -> Option<String> {
        // The broker tells API versions, not its own; the profile's is what was started.
        let own = self.external.is_none();
        own.then(|| env.profile.versions.of(&parts::KAFKA).to_owned())
    }

    fn page(&self) -> Result<&'static str, String> {
        let name = &self.name;
        Err(format!(
            "cargo xtask topic list, or: cargo xtask shell {name}"
        ))
    }

    fn console(&self) -> Result<Console<'_>, String> {
        Ok(Console::Subcommands)
    }
}

/// The API of the sets that Strimzi keeps pods in.
pub(super) const POD_SETS: &str = "core.strimzi.io/v1";

/// A connected client.
///
/// # Errors
/// The broker does not answer.
pub async fn client(env: &Environment) -> Result<KafkaClient> {
    env.learn_kafka_login().await?;
    KafkaClient::with_config(env.kafka_config(Duration::from_secs(10)))
        .await
        .map_err(|error| service(&error))
}

/// Waits for the certificate of Kafka's own authority, which its operator makes before the first
/// broker, and remembers it.
///
/// # Errors
/// It is not there in time, or is not what the operator makes.
pub async fn authority(env: &Environment, deadline: Duration, progress: &Progress) -> Result<()> {
    let client = env.link()?.cluster.client.clone();
    let api: Api<Secret> = Api::namespaced(client, &env.profile.kubernetes.kafka_namespace);
    let mut secret = one(api, AUTHORITY, deadline, progress, |secret| {
        certificate(secret, CERTIFICATE)
    })
    .await?;
    let ca = environment::text(&mut secret, CERTIFICATE)
        .map_err(|problem| Error::new(Code::Service, format!("Secret {AUTHORITY}: {problem}")))?;
    env.set_kafka_ca(ca);
    Ok(())
}

/// A broker that hangs is found by who asks; one on a busy machine may take long for its first answer.
const PROBED_WITHIN: Duration = Duration::from_secs(20);

async fn probe(env: &Environment) -> Status {
    let address = env.kafka().address();
    if let Err(error) = env.learn_kafka_login().await {
        return Status::in_progress(error.message);
    }
    let connected = KafkaClient::with_config(env.kafka_config(PROBED_WITHIN)).await;
    let answer = match &connected {
        Ok(client) => client.cluster().await,
        Err(error) if env.profile.kafka.external.is_some() => {
            return refused(error, &address);
        }
        Err(error) => {
            // A Secret that was written anew since it was read is no reason to go on failing.
            env.forget_kafka_login();
            return Status::in_progress(error.to_string());
        }
    };
    match answer {
        Ok(cluster) if cluster.brokers.is_empty() => {
            Status::in_progress("metadata without a broker")
        }
        Ok(cluster) => Status::current(format!(
            "{} broker{} at {address}",
            cluster.brokers.len(),
            if cluster.brokers.len() == 1 { "" } else { "s" }
        )),
        Err(error) => Status::in_progress(error.to_string()),
    }
}

/// Why the user's broker cannot be reached as the profile says, with the key to correct.
fn refused(error: &KafkaError, given: &str) -> Status {
    let key = match error {
        KafkaError::Ca(_) => "sslrootcert",
        KafkaError::Tls { problem, address } => match problem {
            TlsProblem::UnknownAuthority => "sslrootcert",
            TlsProblem::WrongName { expected, .. } if address != given => {
                let next = format!(
                    "the broker advertises itself as {address}: have its certificate name {expected}, or correct its \
                     advertised.listeners"
                );
                return Status::failed(error.to_string()).next(next);
            }
            TlsProblem::WrongName { .. } | TlsProblem::InvalidName(_) => "external",
            TlsProblem::Closed | TlsProblem::NotTls | TlsProblem::Other(_) => "sslmode",
        },
        KafkaError::TlsWanted { .. } => "sslmode",
        KafkaError::LoginWanted { .. } => "sasl",
        KafkaError::Login { problem, .. } => match problem {
            LoginProblem::Mechanism { .. } | LoginProblem::NotAsked => "sasl",
            LoginProblem::Refused(_) | LoginProblem::Scram(_) => {
                let next = login::give("kafka.password");
                return Status::failed(error.to_string()).next(next);
            }
            LoginProblem::Local(_) => return Status::in_progress(error.to_string()),
        },
        _ => return Status::in_progress(error.to_string()),
    };
    login::correct(KAFKA.name, key, error)
}

/// The topics that the profile's flows need.
fn topic_specs(profile: &Profile) -> Vec<TopicSpec> {
    topics(profile)
        .into_iter()
        .map(|topic| TopicSpec {
            name: topic.name,
            // The broker's defaults.
            partitions: -1,
            replication_factor: -1,
            configs: topic
                .config
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        })
        .collect()
}

/// Creates the topics of the profile's flows that are not there.
///
/// # Errors
/// The broker refuses.
pub async fn create_topics(env: Arc<Environment>, _progress: Progress) -> Result<Outcome> {
    let specs = topic_specs(&env.profile);
    if specs.is_empty() {
        return Ok(Outcome::Unchanged("no flows".into()));
    }
    let client = client(&env).await?;
    // Who may make none need not, where they are there.
    let names: Vec<&str> = specs.iter().map(|it| it.name.as_str()).collect();
    let there = client.topics(Some(&names)).await;
    let there = there.map_err(|error| service(&error))?;
    let is_there = |spec: &TopicSpec| there.iter().any(|it| it.name == spec.name);
    let missing: Vec<TopicSpec> = specs.iter().filter(|it| !is_there(it)).cloned().collect();
    if missing.is_empty() {
        return Ok(Outcome::Unchanged(format!("{} present", specs.len())));
    }
    let outcomes = client
        .create_topics(&missing)
        .await
        .map_err(|error| service(&error))?;
    let created: Vec<&str> = outcomes
        .iter()
        .filter(|(_, outcome)| *outcome == CreateOutcome::Created)
        .map(|(name, _)| name.as_str())
        .collect();
    Ok(if created.is_empty() {
        Outcome::Unchanged(format!("{} present", specs.len()))
    } else {
        Outcome::Changed(format!("created {}", created.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Maven must be asked for the Log4j that is locked: it brings nothing else.
    #[test]
    fn a_kafka_brings_the_log4j_that_it_was_locked_with() {
        let dir = crate::repository().join("manifests/kafka");
        let mut seen = 0;
        for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
            if entry.path().extension().is_none_or(|end| end != "lock") {
                continue;
            }
            let files = lockfile::read(&entry.path()).expect("a lock file");
            let log4j = locked_log4j(&files).expect("Log4j's version");
            let bridge = format!("log4j-slf4j-impl-{log4j}.jar");
            assert!(files.iter().any(|locked| locked.file == bridge), "{bridge}");
            seen += 1;
        }
        assert!(seen > 1, "{seen}");
    }
}
