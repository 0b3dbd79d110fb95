//! What templates for clusters may name beside the profile's own keys, and which of them belong to a
//! profile. `manifests/README.md` lists the names.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Code, Error, Result};
use crate::profile::Profile;
use crate::profile::logins::{Login, connector_secret};
use crate::profile::schema::{KafkaSecurity, PostgresManager, Settings, Source, Spread};
use crate::profile::topics::{QUEUES, topics};
use crate::units::Size;

/// The kind of cluster that objects are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cluster {
    /// Made by Kind on this machine: services have ports of the node.
    Kind,
    /// Any other.
    Existing,
}

/// Passwords as they go into Secrets. For display they are masked by the caller.
#[derive(Clone)]
pub struct Passwords {
    /// PostgreSQL's user.
    pub postgres: String,
    /// MongoDB's user.
    pub mongodb: String,
    /// What PostgreSQL's connectors log in with.
    pub postgres_connector: String,
    /// What MongoDB's connectors log in with.
    pub mongodb_connector: String,
    /// The key that MongoDB's members share.
    pub mongodb_key: String,
    /// ClickHouse's user.
    pub clickhouse: String,
    /// Connect's user at Kafka; used with `kafka.security: scram` only.
    pub kafka_connect: String,
    /// ClickHouse's user at Kafka; used with `kafka.security: scram` only.
    pub kafka_clickhouse: String,
    /// The user that ClickHouse's operator makes for itself (see `platform::kubernetes::bundles`).
    pub clickhouse_operator: String,
}

impl Passwords {
    /// What stands for each of them in output.
    pub fn masked() -> Self {
        let mask = || "********".to_owned();
        Passwords {
            postgres: mask(),
            mongodb: mask(),
            postgres_connector: mask(),
            mongodb_connector: mask(),
            mongodb_key: mask(),
            clickhouse: mask(),
            kafka_connect: mask(),
            kafka_clickhouse: mask(),
            clickhouse_operator: mask(),
        }
    }
}

/// A connector as `connect/connectors/<source>.yaml.hbs` and the profile give it.
#[derive(Clone, Debug)]
pub struct ConnectorResource {
    /// Its name.
    pub name: String,
    /// The plugin's class.
    pub class: String,
    /// Its configuration, `tasks.max` included.
    pub config: Settings,
}

/// Everything that objects are made of.
#[derive(Clone)]
pub struct Inputs<'a> {
    /// The profile.
    pub profile: &'a Profile,
    /// Its tree as JSON, without passwords: templates name its keys.
    pub tree: Value,
    /// Where the objects go.
    pub cluster: Cluster,
    /// Passwords for Secrets.
    pub passwords: &'a Passwords,
    /// The connectors, rendered.
    pub connectors: &'a [ConnectorResource],
    /// Connect's image with its tag.
    pub connect_image: &'a str,
    /// Certificate of Kafka's own authority (PEM), from the operator's Secret
    /// `my-cluster-cluster-ca-cert`, once that is there. ClickHouse mounts a copy.
    pub kafka_ca: Option<&'a str>,
}

/// Addresses as pods reach them, `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Kafka.
    pub kafka: String,
    /// Connect's REST interface.
    pub connect: String,
    /// PostgreSQL.
    pub postgres: String,
    /// MongoDB.
    pub mongodb: String,
    /// ClickHouse's HTTP interface.
    pub clickhouse: String,
}

/// Where pods find each service.
pub fn endpoints(profile: &Profile) -> Endpoints {
    let kafka = &profile.kubernetes.kafka_namespace;
    let database = &profile.kubernetes.database_namespace;
    let own = |external: &Option<String>, host: &str, namespace: &str, port: u16| match external {
        Some(address) => address.clone(),
        None => format!("{host}.{namespace}.svc:{port}"),
    };
    let kafka_port = match profile.kafka.security {
        KafkaSecurity::Plain => 9092,
        KafkaSecurity::Scram => 9093,
    };
    Endpoints {
        kafka: own(
            &profile.kafka.external,
            "my-cluster-kafka-bootstrap",
            kafka,
            kafka_port,
        ),
        connect: own(&None, "my-connect-cluster-connect-api", kafka, 8083),
        postgres: own(
            &profile.postgres.external,
            "postgres-postgresql",
            database,
            5432,
        ),
        mongodb: own(&profile.mongodb.external, "mongo-mongodb", database, 27017),
        clickhouse: own(
            &profile.clickhouse.external,
            "clickhouse-clickhouse",
            database,
            8123,
        ),
    }
}

/// The members of MongoDB's replica set, as they find each other.
pub fn mongodb_members(profile: &Profile) -> Vec<String> {
    let namespace = &profile.kubernetes.database_namespace;
    let service = format!("mongo-mongodb.{namespace}.svc.cluster.local:27017");
    match profile.mongodb.replicas {
        1 => vec![service],
        several => (0..several)
            .map(|member| format!("mongo-{member}.{service}"))
            .collect(),
    }
}

/// A template and the component whose objects it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Component.
    pub component: &'static str,
    /// Path below `manifests/`.
    pub template: &'static str,
}

/// The templates that belong to a profile, in an order in which they could be applied.
pub fn parts(profile: &Profile, kafka_ca: bool) -> Vec<Part> {
    let scram = profile.kafka.security == KafkaSecurity::Scram;
    let kafka = profile.kafka.external.is_none();
    let postgres = profile.uses(Source::Postgres) && profile.postgres.external.is_none();
    let mongodb = profile.uses(Source::Mongodb) && profile.mongodb.external.is_none();
    let clickhouse = profile.clickhouse.external.is_none();
    let operated = profile.postgres.managed_by == PostgresManager::CloudNativePg;
    [
        (
            true,
            "namespaces",
            "namespaces/kubernetes/namespaces.yaml.hbs",
        ),
        (kafka, "kafka", "kafka/kubernetes/kafka.yaml.hbs"),
        (kafka, "kafka", "kafka/kubernetes/topics.yaml.hbs"),
        (kafka && scram, "kafka", "kafka/kubernetes/users.yaml.hbs"),
        (
            kafka && scram && kafka_ca && clickhouse,
            "kafka",
            "kafka/kubernetes/authority.yaml.hbs",
        ),
        (true, "connect", "connect/kubernetes/credentials.yaml.hbs"),
        (true, "connect", "connect/kubernetes/connect.yaml.hbs"),
        (true, "connect", "connect/kubernetes/connectors.yaml.hbs"),
        (
            postgres,
            "postgres",
            "postgres/kubernetes/credentials.yaml.hbs",
        ),
        (
            postgres && !operated,
            "postgres",
            "postgres/kubernetes/statefulset.yaml.hbs",
        ),
        (
            postgres && operated,
            "postgres",
            "postgres/kubernetes/cluster.yaml.hbs",
        ),
        (
            mongodb,
            "mongodb",
            "mongodb/kubernetes/credentials.yaml.hbs",
        ),
        (
            mongodb,
            "mongodb",
            "mongodb/kubernetes/statefulset.yaml.hbs",
        ),
        (
            clickhouse,
            "clickhouse",
            "clickhouse/kubernetes/credentials.yaml.hbs",
        ),
        (
            clickhouse,
            "clickhouse",
            "clickhouse/kubernetes/installation.yaml.hbs",
        ),
        (
            clickhouse && profile.clickhouse.keepers > 0,
            "clickhouse",
            "clickhouse/kubernetes/keeper.yaml.hbs",
        ),
    ]
    .into_iter()
    .filter(|(belongs, ..)| *belongs)
    .map(|(_, component, template)| Part {
        component,
        template,
    })
    .collect()
}

/// The operators that a profile needs, by their folders in `manifests/`.
pub fn operators(profile: &Profile) -> Vec<&'static str> {
    let operated = profile.postgres.managed_by == PostgresManager::CloudNativePg
        && profile.uses(Source::Postgres)
        && profile.postgres.external.is_none();
    [
        // Connect is run by it too.
        (true, "strimzi"),
        (profile.clickhouse.external.is_none(), "altinity"),
        (operated, "cloudnative-pg"),
    ]
    .into_iter()
    .filter(|(belongs, _)| *belongs)
    .map(|(_, operator)| operator)
    .collect()
}

/// What templates may name: the profile's keys, `passwords`, and `k8s` with what follows from both.
///
/// # Errors
/// A connector's `tasks.max` is no number, or a size is none.
pub fn context(inputs: &Inputs<'_>) -> Result<Value> {
    let profile = inputs.profile;
    let (replication_factor, min_insync) = profile.replication();
    let on_kind = inputs.cluster == Cluster::Kind;
    let brokers: Vec<Value> = profile
        .broker_ports()
        .into_iter()
        .map(|port| json!({"id": port.broker, "host_port": port.host, "node_port": port.node}))
        .collect();
    let several_clickhouse = profile.several_clickhouse();
    let endpoints = endpoints(profile);
    let passwords = inputs.passwords;
    let mut context = inputs.tree.clone();
    context["passwords"] = json!({
        "postgres": passwords.postgres,
        "postgres_connector": passwords.postgres_connector,
        "mongodb": passwords.mongodb,
        "mongodb_key": passwords.mongodb_key,
        "clickhouse": passwords.clickhouse,
        "kafka_connect": passwords.kafka_connect,
        "kafka_clickhouse": passwords.kafka_clickhouse,
    });
    context["k8s"] = json!({
        "on_kind": on_kind,
        "namespaces": [
            profile.kubernetes.kafka_namespace,
            profile.kubernetes.database_namespace,
        ],
        "endpoints": {
            "kafka": endpoints.kafka,
            "connect": endpoints.connect,
            "postgres": endpoints.postgres,
            "mongodb": endpoints.mongodb,
            "clickhouse": endpoints.clickhouse,
        },
        "scram": profile.kafka.security == KafkaSecurity::Scram,
        "kafka_ca": inputs.kafka_ca,
        "replication_factor": replication_factor,
        "min_insync": min_insync,
        "brokers": brokers,
        "topics": topic_values(profile),
        "queues": QUEUES,
        "connectors": connector_values(inputs.connectors)?,
        "connect_image": inputs.connect_image,
        "mounts": mounts(profile, passwords),
        "postgres_connector": match profile.connector_login(Source::Postgres) {
            Login::Own(user) => Some(user),
            Login::Shared(_) | Login::Nobody => None,
        },
        "postgres_tag": profile.versions.postgres_image_tag(),
        "postgres_volume": profile.versions.postgres_volume(),
        "postgres_syncs_slots": profile.versions.postgres_major().is_some_and(|major| major >= 17),
        "mongodb_cache_gb": profile.mongodb.cache.parse::<Size>()?.gigabytes(),
        "clickhouse_memory": profile.clickhouse.memory.parse::<Size>()?.0.to_string(),
        "clickhouse_host_port": on_kind && profile.clickhouse_has_node_port(),
        "keepers": profile.clickhouse.keepers > 0,
        "spread_required": profile.kubernetes.spread == Spread::Required,
        "several": {
            "kafka": profile.kafka.replicas > 1,
            "connect": profile.connect.replicas > 1,
            "mongodb": profile.mongodb.replicas > 1,
            "clickhouse": several_clickhouse,
            "keepers": profile.clickhouse.keepers > 1,
        },
        "when_unsatisfiable": match profile.kubernetes.spread {
            Spread::Preferred => "ScheduleAnyway",
            Spread::Required => "DoNotSchedule",
        },
    });
    Ok(context)
}

fn topic_values(profile: &Profile) -> Vec<Value> {
    // Sinks are plugins that the profile names, and read tables, not heartbeats.
    let has_sinks = !profile.connect.plugins.is_empty();
    let tables: Vec<String> = profile
        .flows
        .values()
        .map(|flow| profile.topic(flow))
        .collect();
    topics(profile)
        .into_iter()
        .map(|topic| {
            json!({
                "name": resource_name(&topic.name),
                "topic": topic.name,
                "config": topic.config,
                "redriven": has_sinks && tables.contains(&topic.name),
            })
        })
        .collect()
}

/// A name that a resource may have. Names that had to be changed are told apart by a digest.
fn resource_name(topic: &str) -> String {
    let plain: String = topic
        .chars()
        .map(|c| match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() || c == '.' || c == '-' => c,
            _ => '-',
        })
        .collect();
    let edge = |c: char| !c.is_ascii_alphanumeric();
    let fits = plain == topic && !topic.starts_with(edge) && !topic.ends_with(edge);
    if fits && !plain.contains("..") && !plain.contains(".-") && !plain.contains("-.") {
        return plain;
    }
    let digest = Sha256::digest(topic.as_bytes());
    let suffix: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
    // A label follows each dot: none may begin or end with anything but a letter or a digit.
    let dashed = plain.replace('.', "-");
    let stem: String = dashed.trim_matches('-').chars().take(238).collect();
    format!("topic-{stem}-{suffix}")
}

fn connector_values(connectors: &[ConnectorResource]) -> Result<Vec<Value>> {
    connectors
        .iter()
        .map(|connector| {
            let mut config = connector.config.clone();
            // The resource has a field of its own for it and refuses the setting.
            let tasks = match config.shift_remove("tasks.max") {
                None => 1,
                Some(text) => text.parse::<u16>().map_err(|_| {
                    Error::new(
                        Code::ProfileInvalid,
                        format!("connector `{}`: tasks.max is no number", connector.name),
                    )
                })?,
            };
            Ok(json!({
                "name": connector.name,
                "class": connector.class,
                "tasks_max": tasks,
                "config": config,
            }))
        })
        .collect()
}

/// The Secrets that the connectors' passwords are read from: `/mnt/<name>/password`.
fn mounts(profile: &Profile, passwords: &Passwords) -> Vec<Value> {
    [
        (Source::Mongodb, &passwords.mongodb_connector),
        (Source::Postgres, &passwords.postgres_connector),
    ]
    .into_iter()
    .filter(|(source, _)| profile.uses(*source))
    .filter_map(|(source, password)| {
        let name = connector_secret(source);
        let user = match profile.connector_login(source) {
            Login::Own(user) | Login::Shared(user) => user,
            Login::Nobody => return None,
        };
        Some(json!({"name": name, "secret": name, "username": user, "password": password}))
    })
    .collect()
}

/// The directory of the password of a source's connectors in the workers, as `strimzidir` names it.
pub fn password_dir(source: Source) -> String {
    format!("/mnt/{}", connector_secret(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_get_names_that_a_resource_may_have() {
        assert_eq!(
            resource_name("postgres.public.users"),
            "postgres.public.users"
        );
        let heartbeat = resource_name("__debezium-heartbeat.postgres");
        assert!(
            heartbeat.starts_with("topic-debezium-heartbeat-postgres-"),
            "{heartbeat}"
        );
        // What differs stays different, however it is spelt.
        let names = ["a.B", "a.b", "a._b", "a.-b", "A.b", "a..b"].map(resource_name);
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{names:?}");
        }
        assert!(resource_name(&"X".repeat(249)).len() <= 253);
    }
}
