//! What a profile says about clusters: rules for its values, and what follows from them.

use std::collections::BTreeMap;

use super::schema::{KafkaSecurity, PlatformChoice, PostgresManager, Profile};
use super::values::{NAME, ONE_LINE, Rule, invalid, is_name, obeys};
use super::{Node, Value};
use crate::error::Result;

/// A namespace's or a label's name.
const LABEL: Rule = Rule {
    fits: |text| {
        (1..=63).contains(&text.len())
            && !text.starts_with('-')
            && !text.ends_with('-')
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    },
    says: "has lower-case letters, digits and `-` only, 63 at the most, and begins and ends with none of `-`",
};

/// An amount of processor time, memory or storage.
const QUANTITY: Rule = Rule {
    fits: |text| {
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = &text[number.len()..];
        let digits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        digits(whole)
            && digits(fraction)
            && number.len() < 16
            && number.chars().any(|c| ('1'..='9').contains(&c))
            && ["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"].contains(&unit)
    },
    says: "is a quantity such as `250m`, `1Gi` or `0.5`",
};

/// An image or a registry with a path.
const IMAGE: Rule = Rule {
    fits: |text| {
        is_name(&text.replace(['/', ':', '@'], "a"))
            && !text.contains("//")
            && !text.ends_with(['/', ':', '@'])
    },
    says: "is an image or registry such as `registry.example:5000/team/connect`",
};

/// A version, and the digest of its image if it has one.
const WITH_DIGEST: Rule = Rule {
    fits: |text| {
        let (version, digest) = match text.split_once("@sha256:") {
            Some((version, digest)) => (version, Some(digest)),
            None => (text, None),
        };
        is_name(version)
            && digest.is_none_or(|digest| {
                digest.len() == 64
                    && digest
                        .chars()
                        .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
            })
    },
    says: "is a version, alone or with `@sha256:` and 64 hex digits behind it",
};

/// A network in CIDR form.
const NETWORK: Rule = Rule {
    fits: |text| {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<std::net::IpAddr>() else {
            return false;
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
    },
    says: "is a network such as `10.0.0.0/8` or `::/0`",
};

/// The range that the API server gives to NodePort services unless it is told otherwise.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;

/// A port of this machine and the port of Kind's first node that it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// The profile's key that gives the port of this machine.
    pub key: &'static str,
    /// Of this machine, on its loopback address.
    pub host: u16,
    /// Of the node.
    pub node: u16,
}

/// A broker's ports on Kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerPort {
    /// The broker's number.
    pub broker: u16,
    /// Of this machine.
    pub host: u16,
    /// Of the node.
    pub node: u16,
}

impl Profile {
    /// The name of the Kind cluster of an environment.
    pub fn kind_name(&self, environment: &str) -> String {
        self.kind.name.clone().unwrap_or_else(|| {
            // Kind takes no upper-case letters and no underscores.
            format!("cdc-{}", environment.to_ascii_lowercase().replace('_', "-"))
        })
    }

    /// Each broker's ports on Kind.
    pub fn broker_ports(&self) -> Vec<BrokerPort> {
        (0..self.kafka.replicas)
            .map(|broker| BrokerPort {
                broker,
                host: self.kafka.port.saturating_add(broker),
                node: self.kind.node_ports.kafka.saturating_add(broker),
            })
            .collect()
    }

    /// The ports of this machine that lead into a Kind cluster.
    pub fn host_ports(&self) -> Vec<HostPort> {
        let node = &self.kind.node_ports;
        let mut ports = Vec::new();
        let mut add = |key, host, node| ports.push(HostPort { key, host, node });
        if let Some(port) = self.kind.web_port {
            add("kind.web_port", port, node.web);
        }
        if self.postgres.external.is_none() {
            add("postgres.port", self.postgres.port, node.postgres);
        }
        if self.clickhouse.external.is_none() && self.clickhouse_has_node_port() {
            add("clickhouse.port", self.clickhouse.port, 8123);
        }
        add("connect.port", self.connect.port, node.connect);
        if self.kafka.external.is_none() {
            for port in self.broker_ports() {
                add("kafka.port", port.host, port.node);
            }
        }
        ports
    }

    /// Whether ClickHouse on Kind has the port 8123 of the node, which is outside the range of a
    /// NodePort and therefore the pod's own. That wants one server, on the node that has this
    /// machine's ports, which is the first; it runs pods only where it is alone.
    pub fn clickhouse_has_node_port(&self) -> bool {
        self.kind.nodes == 1 && !self.several_clickhouse()
    }

    /// Whether there is more than one ClickHouse server.
    pub fn several_clickhouse(&self) -> bool {
        self.clickhouse.shards > 1 || self.clickhouse.replicas > 1
    }

    /// How often a topic is replicated, and how many of the replicas must have a message.
    pub fn replication(&self) -> (u16, u16) {
        if self.kafka.replicas >= 3 {
            (3, 2)
        } else {
            (1, 1)
        }
    }
}

/// Checks the values that only clusters use.
///
/// # Errors
/// The first one that does not fit.
pub(super) fn check(tree: &Node, profile: &Profile) -> Result<()> {
    texts(tree, profile)?;
    numbers(tree, profile)?;
    node_ports(tree, profile)?;
    contradictions(tree, profile)
}

fn texts(tree: &Node, profile: &Profile) -> Result<()> {
    let (kubernetes, versions) = (&profile.kubernetes, &profile.versions);
    let (kafka, connect, postgres) = (&profile.kafka, &profile.connect, &profile.postgres);
    let (mongodb, clickhouse) = (&profile.mongodb, &profile.clickhouse);
    let given = [
        ("versions.strimzi", &versions.strimzi, &NAME),
        (
            "versions.altinity_operator",
            &versions.altinity_operator,
            &NAME,
        ),
        ("versions.cloudnative_pg", &versions.cloudnative_pg, &NAME),
        ("versions.clickhouse", &versions.clickhouse, &NAME),
        ("versions.mongodb", &versions.mongodb, &WITH_DIGEST),
        ("versions.kind", &versions.kind, &NAME),
        ("versions.kind_node", &versions.kind_node, &WITH_DIGEST),
        (
            "kubernetes.kafka_namespace",
            &kubernetes.kafka_namespace,
            &LABEL,
        ),
        (
            "kubernetes.database_namespace",
            &kubernetes.database_namespace,
            &LABEL,
        ),
        ("kafka.storage", &kafka.storage, &QUANTITY),
        ("postgres.storage", &postgres.storage, &QUANTITY),
        ("mongodb.storage", &mongodb.storage, &QUANTITY),
        ("clickhouse.storage", &clickhouse.storage, &QUANTITY),
        (
            "clickhouse.keeper_storage",
            &clickhouse.keeper_storage,
            &QUANTITY,
        ),
    ];
    let optional = [
        ("kubernetes.context", &kubernetes.context, &ONE_LINE),
        ("kubernetes.storage_class", &kubernetes.storage_class, &NAME),
        ("kind.name", &profile.kind.name, &LABEL),
        ("connect.image", &connect.image, &IMAGE),
        ("connect.registry", &connect.registry, &IMAGE),
    ];
    let optional = optional
        .into_iter()
        .filter_map(|(path, text, rule)| Some((path, text.as_ref()?, rule)));
    for (path, text, rule) in given.into_iter().chain(optional) {
        let path: Vec<&str> = path.split('.').collect();
        obeys(tree, &path, text, rule)?;
    }
    for (component, key, resources) in [
        ("kafka", "resources", &kafka.resources),
        ("connect", "resources", &connect.resources),
        ("postgres", "resources", &postgres.resources),
        ("mongodb", "resources", &mongodb.resources),
        ("clickhouse", "resources", &clickhouse.resources),
        (
            "clickhouse",
            "keeper_resources",
            &clickhouse.keeper_resources,
        ),
    ] {
        obeys(tree, &[component, key, "cpu"], &resources.cpu, &QUANTITY)?;
        obeys(
            tree,
            &[component, key, "memory"],
            &resources.memory,
            &QUANTITY,
        )?;
    }
    for network in &clickhouse.networks {
        obeys(tree, &["clickhouse", "networks"], network, &NETWORK)?;
    }
    Ok(())
}

fn numbers(tree: &Node, profile: &Profile) -> Result<()> {
    const ODD: &[u16] = &[1, 3, 5, 7];
    const KEEPERS: &[u16] = &[0, 1, 3, 5];
    const ANY: &[u16] = &[];
    for (path, number, of) in [
        (["kind", "nodes"], profile.kind.nodes, ANY),
        (["kafka", "replicas"], profile.kafka.replicas, ANY),
        (["connect", "replicas"], profile.connect.replicas, ANY),
        (["postgres", "replicas"], profile.postgres.replicas, ANY),
        (["mongodb", "replicas"], profile.mongodb.replicas, ODD),
        (["clickhouse", "shards"], profile.clickhouse.shards, ANY),
        (["clickhouse", "replicas"], profile.clickhouse.replicas, ANY),
        (
            ["clickhouse", "keepers"],
            profile.clickhouse.keepers,
            KEEPERS,
        ),
    ] {
        let name = path.join(".");
        if of.is_empty() && !(1..=100).contains(&number) {
            return Err(invalid(
                tree,
                &path,
                format!("`{name}`: {number} is not between 1 and 100"),
            ));
        }
        if !of.is_empty() && !of.contains(&number) {
            let known: Vec<String> = of.iter().map(u16::to_string).collect();
            return Err(invalid(
                tree,
                &path,
                format!("`{name}`: {number} is none of {}", known.join(", ")),
            )
            .hint("a majority must be able to decide"));
        }
    }
    Ok(())
}

fn node_ports(tree: &Node, profile: &Profile) -> Result<()> {
    let ports = &profile.kind.node_ports;
    let mut owners: BTreeMap<u16, &str> = BTreeMap::new();
    let brokers = profile
        .broker_ports()
        .into_iter()
        .map(|port| ("kafka", port.node));
    for (key, port) in [
        ("web", ports.web),
        ("postgres", ports.postgres),
        ("connect", ports.connect),
    ]
    .into_iter()
    .chain(brokers)
    {
        let path = ["kind", "node_ports", key];
        if !NODE_PORTS.contains(&port) {
            return Err(invalid(
                tree,
                &path,
                format!("`kind.node_ports.{key}`: {port} is not between 30000 and 32767"),
            ));
        }
        if let Some(other) = owners.insert(port, key) {
            return Err(invalid(
                tree,
                &path,
                format!(
                    "port {port} of the node is wanted twice: by `{other}` and `{key}` of `kind.node_ports`"
                ),
            ));
        }
    }
    if profile.platform != PlatformChoice::Kind {
        return Ok(());
    }
    let mut owners: BTreeMap<u16, &str> = BTreeMap::new();
    for port in profile.host_ports() {
        if let Some(other) = owners.insert(port.host, port.key) {
            let path: Vec<&str> = port.key.split('.').collect();
            return Err(invalid(
                tree,
                &path,
                format!(
                    "port {} of this machine is wanted twice: by `{other}` and `{}`",
                    port.host, port.key
                ),
            )
            .hint("change one of them"));
        }
    }
    Ok(())
}

fn contradictions(tree: &Node, profile: &Profile) -> Result<()> {
    let (postgres, clickhouse) = (&profile.postgres, &profile.clickhouse);
    let namespaces = &profile.kubernetes;
    if namespaces.kafka_namespace == namespaces.database_namespace {
        return Err(invalid(
            tree,
            &["kubernetes", "database_namespace"],
            "`kubernetes.database_namespace` is `kubernetes.kafka_namespace` too",
        )
        .hint("Secrets of one name are in both: give each a namespace of its own"));
    }
    match postgres.managed_by {
        PostgresManager::Statefulset if postgres.replicas > 1 => Err(invalid(
            tree,
            &["postgres", "replicas"],
            format!(
                "`postgres.replicas`: a StatefulSet runs one server, not {}",
                postgres.replicas
            ),
        )
        .hint("set `postgres.managed_by: cloudnative-pg`, which replicates")),
        PostgresManager::CloudNativePg if postgres.user == "postgres" => Err(invalid(
            tree,
            &["postgres", "user"],
            "`postgres.user`: CloudNativePG keeps `postgres` for itself",
        )
        .hint("name a user of your own: it owns the database and may replicate")),
        PostgresManager::CloudNativePg if postgres.database == "postgres" => Err(invalid(
            tree,
            &["postgres", "database"],
            "`postgres.database`: CloudNativePG keeps `postgres` for itself",
        )
        .hint("name a database of your own, such as `app`")),
        _ => Ok(()),
    }?;
    if clickhouse.replicas > 1 && clickhouse.keepers == 0 {
        return Err(invalid(
            tree,
            &["clickhouse", "replicas"],
            "`clickhouse.replicas`: replicas agree through ClickHouse Keeper, and there is none",
        )
        .hint("set `clickhouse.keepers: 3`"));
    }
    if profile.kafka.security == KafkaSecurity::Scram && profile.kafka.external.is_some() {
        return Err(invalid(
            tree,
            &["kafka", "security"],
            "`kafka.security`: the tool makes users only on brokers that it runs",
        )
        .hint("leave it out, or leave `kafka.external` out"));
    }
    // Where nothing else says where: the image must get to nodes that the tool cannot reach.
    let wanted = profile.platform == PlatformChoice::Kubernetes;
    if wanted && profile.connect.image.is_none() && profile.connect.registry.is_none() {
        let error = invalid(
            tree,
            &["connect", "registry"],
            "`connect.registry`: an existing cluster pulls Connect's image from a registry, and none is named",
        )
        .hint("set `connect.registry: registry/path`, or `connect.image` to an image that is there");
        // The place to mend is where the platform was chosen, if somebody wrote it.
        return Err(match tree.get("platform") {
            Some(Node {
                origin,
                value: Value::String(_),
                ..
            }) => error.at(origin.clone()),
            _ => error,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        for (rule, good, bad) in [
            (
                &LABEL,
                &["kafka", "a-1"][..],
                &["", "-a", "a-", "A", "a.b", "a_b"][..],
            ),
            (
                &QUANTITY,
                &["1", "250m", "0.5", "1Gi", "512Mi", "1.5G"],
                &[
                    "", "m", "0", "0m", "1gi", "1 Gi", "-1", "1e3", "1.Gi", ".5", "1GiB", "1é",
                ],
            ),
            (
                &IMAGE,
                &["cdc-connect:1.0", "r.example:5000/a/b@sha256:00", "r/a"],
                &["", "a b", "a//b", "a:", "-a", "a\n", "$(x)"],
            ),
            (
                &NETWORK,
                &["::/0", "10.0.0.0/8", "127.0.0.1"],
                &["", "10.0.0.0/33", "::/129", "x/8", "10.0.0/8"],
            ),
        ] {
            for text in good {
                assert!((rule.fits)(text), "{text:?}");
            }
            for text in bad {
                assert!(!(rule.fits)(text), "{text:?}");
            }
        }
        assert!((WITH_DIGEST.fits)(&format!(
            "1.34.0@sha256:{}",
            "a".repeat(64)
        )));
        assert!(!(WITH_DIGEST.fits)("1.34.0@sha256:abc"));
    }
}
