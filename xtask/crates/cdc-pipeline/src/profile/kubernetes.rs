//! What a profile says about clusters: rules for its values, and what follows from them.

use std::collections::BTreeMap;

use cdc_profile::decode::numbers;

use super::backbone::KAFKA;
use super::component::Port;
use super::rules::{LABEL, NAME, ONE_LINE, invalid, obeys};
use super::schema::{PlatformChoice, Profile, WEB};
use super::{Node, Value};
use crate::error::Result;

/// The range that the API server gives to NodePort services unless it is told otherwise.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;

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
        let first = self.kind.node_port(KAFKA.name);
        first.map_or_else(Vec::new, |first| self.kafka.broker_ports(first))
    }

    /// The ports of this machine that lead into a Kind cluster, with the keys that give them.
    pub fn host_ports(&self) -> Vec<(String, Port)> {
        let web = self.kind.web_port.zip(self.kind.node_port(WEB));
        let web = web.map(|(host, node)| {
            let key = "web_port";
            ("kind.web_port".to_owned(), Port { key, host, node })
        });
        let own = self.components.values().filter(|it| !it.is_external());
        let ports = own.flat_map(|it| {
            let ports = it.spec.host_ports(self).into_iter();
            ports.map(|port| (format!("{}.{}", it.path, port.key), port))
        });
        web.into_iter().chain(ports).collect()
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
    if !(1..=100).contains(&profile.kind.nodes) {
        let nodes = profile.kind.nodes;
        return Err(invalid(
            tree,
            &["kind", "nodes"],
            format!("`kind.nodes`: {nodes} is not between 1 and 100"),
        ));
    }
    if profile.kind.web_port == Some(0) {
        let what = format!("`kind.web_port`: expected {}, found 0", numbers("web_port"));
        return Err(invalid(tree, &["kind", "web_port"], what));
    }
    node_ports(tree, profile)?;
    contradictions(tree, profile)
}

fn texts(tree: &Node, profile: &Profile) -> Result<()> {
    let kubernetes = &profile.kubernetes;
    let given = [
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
    ];
    let optional = [
        ("kubernetes.context", &kubernetes.context, &ONE_LINE),
        ("kubernetes.storage_class", &kubernetes.storage_class, &NAME),
        ("kind.name", &profile.kind.name, &LABEL),
    ];
    let optional = optional
        .into_iter()
        .filter_map(|(path, text, rule)| Some((path, text.as_ref()?, rule)));
    for (path, text, rule) in given.into_iter().chain(optional) {
        let path: Vec<&str> = path.split('.').collect();
        obeys(tree, &path, text, rule)?;
    }
    Ok(())
}

fn node_ports(tree: &Node, profile: &Profile) -> Result<()> {
    let mut owners: BTreeMap<u16, &str> = BTreeMap::new();
    let brokers = profile
        .broker_ports()
        .into_iter()
        .map(|port| (KAFKA.name, port.node));
    let ports = profile.kind.node_ports.iter();
    let others = ports.filter(|(key, _)| *key != KAFKA.name);
    for (key, port) in others
        .map(|(key, port)| (key.as_str(), *port))
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
    let mut owners: BTreeMap<u16, String> = BTreeMap::new();
    for (key, port) in profile.host_ports() {
        if let Some(other) = owners.insert(port.host, key.clone()) {
            let path: Vec<&str> = key.split('.').collect();
            return Err(invalid(
                tree,
                &path,
                format!(
                    "port {} of this machine is wanted twice: by `{other}` and `{key}`",
                    port.host
                ),
            )
            .hint("change one of them"));
        }
    }
    Ok(())
}

fn contradictions(tree: &Node, profile: &Profile) -> Result<()> {
    let namespaces = &profile.kubernetes;
    if namespaces.kafka_namespace == namespaces.database_namespace {
        return Err(invalid(
            tree,
            &["kubernetes", "database_namespace"],
            "`kubernetes.database_namespace` is `kubernetes.kafka_namespace` too",
        )
        .hint("Secrets of one name are in both: give each a namespace of its own"));
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
