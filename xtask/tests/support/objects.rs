//! Renders a profile's objects as the command line would.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::panic, reason = "a test fails by a panic")]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use xtask::profile::schema::Source;
use xtask::profile::{Loaded, Selection, load};
use xtask::render::Templates;
use xtask::render::kubernetes::{
    Cluster, ConnectorResource, Inputs, Passwords, context, endpoints, parts, password_dir,
};
use xtask::render::objects::{Object, render};

pub(crate) fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("a repository").to_owned()
}

pub(crate) fn loaded(profile: &str, set: &[&str]) -> Loaded {
    let selection = Selection {
        profile: profile.to_owned(),
        set: set.iter().map(|set| (*set).to_owned()).collect(),
    };
    load(&repository(), &selection).unwrap_or_else(|error| panic!("{error}"))
}

/// The connectors as Debezium gets them on a cluster.
fn connectors(loaded: &Loaded, templates: &Templates) -> Vec<ConnectorResource> {
    let endpoints = endpoints(&loaded.profile);
    let connector = |(name, connector): (&String, &xtask::profile::schema::Connector)| {
        let reference = format!(
            "${{strimzidir:{}:password}}",
            password_dir(connector.source)
        );
        let tables: Vec<&str> = loaded
            .profile
            .flows
            .values()
            .filter(|flow| &flow.connector == name)
            .map(|flow| flow.table.as_str())
            .collect();
        let mut context = json!({
            "connector": {
                "prefix": connector.prefix,
                "slot": connector.slot,
                "publication": connector.publication,
            },
            "tables": tables.join(","),
        });
        let file = match connector.source {
            Source::Postgres => {
                let (host, port) = endpoints.postgres.split_once(':').expect("a port");
                context["host"] = json!(host);
                context["port"] = json!(port);
                context["user"] = json!(loaded.profile.postgres.user);
                context["password"] = json!(reference);
                context["database"] = json!(loaded.profile.postgres.database);
                "postgres"
            }
            Source::Mongodb => {
                context["connection_string"] = json!(format!(
                    "mongodb://{}:{reference}@{}/?authSource=admin&replicaSet={}",
                    loaded.profile.mongodb.user,
                    endpoints.mongodb,
                    loaded.profile.mongodb.replica_set
                ));
                "mongodb"
            }
        };
        let manifest: Value = templates
            .yaml(&format!("connect/connectors/{file}.yaml.hbs"), &context)
            .expect("it renders");
        let config = manifest["config"].as_object().expect("a map");
        let mut config: xtask::profile::schema::Settings = config
            .iter()
            .map(|(key, value)| (key.clone(), value.as_str().expect("a text").to_owned()))
            .collect();
        config.extend(connector.config.clone());
        ConnectorResource {
            name: name.clone(),
            class: manifest["class"].as_str().expect("a class").to_owned(),
            config,
        }
    };
    loaded.profile.connectors.iter().map(connector).collect()
}

/// The context of a profile's templates, with masked passwords.
pub(crate) fn context_of(loaded: &Loaded, cluster: Cluster, templates: &Templates) -> Value {
    let mut tree = loaded.tree.to_json();
    for component in ["postgres", "mongodb", "clickhouse"] {
        tree[component]
            .as_object_mut()
            .expect("a map")
            .shift_remove("password");
    }
    context(&Inputs {
        profile: &loaded.profile,
        tree,
        cluster,
        passwords: &Passwords::masked(),
        connectors: &connectors(loaded, templates),
        connect_image: "cdc-connect:0.1.0-0123456789ab",
        kafka_ca: Some("-----BEGIN CERTIFICATE-----\n"),
    })
    .unwrap_or_else(|error| panic!("{error}"))
}

/// Everything that belongs to a profile.
pub(crate) fn objects_with(profile: &str, set: &[&str], cluster: Cluster) -> Vec<Object> {
    let loaded = loaded(profile, set);
    let templates = Templates::new(repository().join("manifests"));
    let context = context_of(&loaded, cluster, &templates);
    render(
        &templates,
        &context,
        &parts(&loaded.profile, true),
        &loaded.name,
    )
    .unwrap_or_else(|error| panic!("{error}"))
}

/// A profile and the kind of cluster that it is rendered for.
pub(crate) const CASES: [(&str, &str, &[&str], Cluster); 6] = [
    ("kind", "clickhouse", &[], Cluster::Kind),
    ("existing", "clickhouse", &[], Cluster::Existing),
    ("manual", "clickhouse-manual", &[], Cluster::Kind),
    (
        "production",
        "clickhouse-production",
        &[],
        Cluster::Existing,
    ),
    (
        "kind_several",
        "clickhouse",
        &[
            "kind.nodes=3",
            "kafka.replicas=3",
            "kafka.security=scram",
            "connect.replicas=2",
            "mongodb.replicas=3",
            "clickhouse.shards=2",
            "kafka.config.num.partitions=6",
            "connect.config.offset.flush.interval.ms=5000",
            "postgres.config.max_connections=50",
            "kubernetes.storage_class=fast",
        ],
        Cluster::Kind,
    ),
    (
        "external",
        "clickhouse",
        &[
            "kafka.external=kafka.example:9094",
            "postgres.external=pg.example:5432",
            "mongodb.external=mongo.example:27017",
            "clickhouse.external=ch.example:8123",
        ],
        Cluster::Existing,
    ),
];
