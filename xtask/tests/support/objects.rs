//! Renders a profile's objects as the command line would.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::panic, reason = "a test fails by a panic")]

use std::path::{Path, PathBuf};

use xtask::components::{Manifests, load};
use xtask::environment::{Environment, Secrets};
use xtask::platform::Platform;
use xtask::profile::{Loaded, Selection};
use xtask::render::objects::Object;
use xtask::up::objects::{Templated, render, templated};

/// The kind of cluster that objects are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cluster {
    /// Made by Kind on this machine.
    Kind,
    /// Any other.
    Existing,
}

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

/// A profile on a cluster, of which nothing is known yet.
pub(crate) fn environment(loaded: Loaded, cluster: Cluster) -> Environment {
    let platform = match cluster {
        Cluster::Kind => Platform::Kind,
        Cluster::Existing => Platform::Kubernetes,
    };
    Environment::new(&repository(), loaded, platform, Secrets::Existing)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn made<'a>(env: &'a Environment, cluster: Cluster) -> Manifests<'a> {
    Manifests {
        env,
        on_kind: cluster == Cluster::Kind,
        image: "cdc-connect:0.1.0-0123456789ab",
        authority: Some("-----BEGIN CERTIFICATE-----\n"),
        shown: &|_| "********".into(),
    }
}

/// A profile's templates with masked passwords in what they may name.
pub(crate) fn templates_of(loaded: Loaded, cluster: Cluster) -> Vec<Templated> {
    let env = environment(loaded, cluster);
    templated(&made(&env, cluster)).unwrap_or_else(|error| panic!("{error}"))
}

/// Everything that belongs to a profile.
pub(crate) fn objects_with(profile: &str, set: &[&str], cluster: Cluster) -> Vec<Object> {
    let env = environment(loaded(profile, set), cluster);
    render(&made(&env, cluster)).unwrap_or_else(|error| panic!("{error}"))
}

/// A profile and the kind of cluster that it is rendered for.
pub(crate) const CASES: [(&str, &str, &[&str], Cluster); 12] = [
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
    ("warehouse", "warehouse", &[], Cluster::Kind),
    (
        "warehouse_secured",
        "warehouse",
        &["kafka.security=scram"],
        Cluster::Kind,
    ),
    (
        "mysql",
        "mysql",
        &[
            "kubernetes.storage_class=fast",
            "kubernetes.keep_volumes=true",
            "mysql.config.max_connections=50",
        ],
        Cluster::Kind,
    ),
    (
        "sqlserver",
        "sqlserver",
        &[
            "sqlserver.accept_eula=true",
            "kubernetes.storage_class=fast",
            "kubernetes.keep_volumes=true",
            "sqlserver.config.MSSQL_MEMORY_LIMIT_MB=2048",
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
    (
        "external_secured",
        "mysql",
        &[
            "kafka.external=kafka.example:9093",
            "kafka.sslmode=verify-full",
            "kafka.sslrootcert=xtask/tests/support/authority.pem",
            "kafka.sasl=scram-sha-256",
            "kafka.user=$etl",
            "kafka.password='a\"b'",
        ],
        Cluster::Existing,
    ),
    (
        "external_encrypted",
        "clickhouse",
        &[
            "kafka.external=kafka.example:9093",
            "kafka.sslmode=verify-full",
            "kafka.sslrootcert=xtask/tests/support/authority.pem",
        ],
        Cluster::Existing,
    ),
];
