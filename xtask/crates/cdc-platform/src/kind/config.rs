//! What a cluster is to be, and how it differs from what is there. Pure.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};

use super::LABEL;
use super::found::Found;

/// A cluster, as a profile asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its name.
    pub name: String,
    /// Image of its nodes.
    pub node_image: String,
    /// Number of nodes. The first is the control plane and runs pods too.
    pub nodes: u16,
    /// Ports of this machine's loopback interface that lead to the control plane's node.
    pub ports: Vec<PortMapping>,
}

/// A port of this machine that leads to one of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// What it is for, in messages.
    pub name: String,
    /// On 127.0.0.1.
    pub host: u16,
    /// On the node.
    pub node: u16,
}

impl Spec {
    /// What the template may name.
    pub fn context(&self) -> Value {
        let nodes: Vec<Value> = (0..self.nodes.max(1))
            .map(|index| match index {
                0 => json!({
                    "role": "control-plane",
                    "ports": self
                        .ports
                        .iter()
                        .map(|port| json!({ "host": port.host, "node": port.node }))
                        .collect::<Vec<_>>(),
                }),
                _ => json!({ "role": "worker", "ports": [] }),
            })
            .collect();
        json!({
            "name": self.name,
            "node_image": self.node_image,
            "label": LABEL,
            "nodes": nodes,
        })
    }
}

/// A way in which a cluster is not what is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The field, in a profile's words.
    pub field: String,
    /// As the profile asks for it.
    pub wanted: String,
    /// As it is.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wanted, found) = (&self.wanted, &self.found);
        write!(f, "{}: wanted {wanted}, found {found}", self.field)
    }
}

/// How a cluster that is there differs from the one asked for.
pub fn compare(wanted: &Spec, found: &Found) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut differ = |field: String, wanted: String, found: String| {
        if wanted != found {
            differences.push(Difference {
                field,
                wanted,
                found,
            });
        }
    };
    let nodes = usize::from(wanted.nodes.max(1));
    differ(
        "nodes".into(),
        nodes.to_string(),
        found.nodes.len().to_string(),
    );
    let images: BTreeSet<&str> = found
        .nodes
        .iter()
        .filter(|node| node.image != wanted.node_image)
        .map(|node| node.image.as_str())
        .collect();
    for image in images {
        differ(
            "node image".into(),
            wanted.node_image.clone(),
            image.to_owned(),
        );
    }
    let describe = |address: &str, host: u16| format!("{address}:{host}");
    let open = found.nodes.first().map(|node| node.ports.as_slice());
    let open = open.unwrap_or_default();
    for port in &wanted.ports {
        let there = open.iter().find(|open| open.node == port.node);
        differ(
            format!("port {} of the node ({})", port.node, port.name),
            describe("127.0.0.1", port.host),
            there.map_or("none".into(), |open| describe(&open.address, open.host)),
        );
    }
    // A port that nobody asks for is in nobody's way, as long as it is local.
    for open in open {
        let asked = wanted.ports.iter().any(|port| port.node == open.node);
        if !asked && open.address != "127.0.0.1" {
            differ(
                format!("port {} of the node", open.node),
                "none".into(),
                describe(&open.address, open.host),
            );
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::super::found::{Node, OpenPort, Origin};
    use super::*;

    fn spec() -> Spec {
        Spec {
            name: "cdc".into(),
            node_image: "kindest/node:v1@sha256:a".into(),
            nodes: 2,
            ports: vec![
                PortMapping {
                    name: "web".into(),
                    host: 8080,
                    node: 30000,
                },
                PortMapping {
                    name: "postgres".into(),
                    host: 5432,
                    node: 30001,
                },
            ],
        }
    }

    fn node(ports: &[(u16, &str, u16)]) -> Node {
        Node {
            name: "n".into(),
            image: "kindest/node:v1@sha256:a".into(),
            running: true,
            ports: ports
                .iter()
                .map(|(node, address, host)| OpenPort {
                    node: *node,
                    address: (*address).into(),
                    host: *host,
                })
                .collect(),
        }
    }

    fn found() -> Found {
        Found {
            nodes: vec![
                node(&[(30000, "127.0.0.1", 8080), (30001, "127.0.0.1", 5432)]),
                node(&[]),
            ],
            origin: Origin::Ours,
            complete: true,
        }
    }

    fn told(wanted: &Spec, found: &Found) -> Vec<String> {
        compare(wanted, found)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn the_same_is_no_difference() {
        assert_eq!(told(&spec(), &found()), Vec::<String>::new());
        let mut more = found();
        more.nodes[0].ports.push(OpenPort {
            node: 9,
            address: "127.0.0.1".into(),
            host: 9,
        });
        assert_eq!(told(&spec(), &more), Vec::<String>::new());
    }

    #[test]
    fn each_difference_names_field_wanted_and_found() {
        let mut other = found();
        other.nodes.pop();
        other.nodes[0].image = "kindest/node:v2".into();
        other.nodes[0].ports[0].host = 8081;
        other.nodes[0].ports[1].address = "0.0.0.0".into();
        other.nodes[0].ports.push(OpenPort {
            node: 7,
            address: "0.0.0.0".into(),
            host: 7,
        });
        assert_eq!(
            told(&spec(), &other),
            [
                "nodes: wanted 2, found 1",
                "node image: wanted kindest/node:v1@sha256:a, found kindest/node:v2",
                "port 30000 of the node (web): wanted 127.0.0.1:8080, found 127.0.0.1:8081",
                "port 30001 of the node (postgres): wanted 127.0.0.1:5432, found 0.0.0.0:5432",
                "port 7 of the node: wanted none, found 0.0.0.0:7",
            ]
        );
        other.nodes[0].ports.clear();
        assert!(told(&spec(), &other)[2].ends_with("found none"));
    }
}
