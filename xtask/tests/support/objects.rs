//! Renders a profile's objects as the command line would.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::panic, reason = "a test fails by a panic")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use xtask::components::connect::render as render_connector;
use xtask::platform::{Endpoint, Secret};
use xtask::profile::schema::{Connector, Source};
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
    let profile = &loaded.profile;
    let endpoints = endpoints(profile);
    let connector = |(name, connector): (&String, &Connector)| {
        let address = match connector.source {
            Source::Postgres => &endpoints.postgres,
            Source::Mongodb => &endpoints.mongodb,
        };
        let user = profile.connector_login(connector.source).user();
        let source = Endpoint::parse(address).login(user, Secret::new(""));
        let secrets = password_dir(connector.source);
        let manifest = render_connector(templates, profile, name, connector, &source, &secrets)
            .unwrap_or_else(|error| panic!("{error}"));
        ConnectorResource {
            name: name.clone(),
            class: manifest.class,
            config: manifest.config,
        }
    };
    profile.connectors.iter().map(connector).collect()
}

/// The context of a profile's templates, with masked passwords.
pub(crate) fn context_of(loaded: &Loaded, cluster: Cluster, templates: &Templates) -> Value {
    let mut tree = loaded.tree.to_json();
    for component in ["postgres", "mongodb", "clickhouse"] {
        let section = tree[component].as_object_mut().expect("a map");
        section.shift_remove("password");
        section.shift_remove("connector_password");
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
            "connect.plugins=[jdbc]",
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
