//! A cluster as the engine shows it.

use bollard::Docker;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    StatsOptionsBuilder,
};
use futures_util::TryStreamExt;
use std::collections::HashMap;

use super::{COMPLETE, LABEL};
use crate::docker::{failed, is_missing};
use crate::error::{Error, Result};

const CLUSTER_LABEL: &str = "io.x-k8s.kind.cluster";
const ROLE_LABEL: &str = "io.x-k8s.kind.role";
/// What Kind gives kubeadm on each node, with the labels of the configuration.
const KUBEADM: &str = "/kind/kubeadm.conf";

/// A cluster that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its nodes, the control plane first.
    pub nodes: Vec<Node>,
    /// Who made it.
    pub origin: Origin,
    /// Whether it carries the mark of a complete one.
    pub complete: bool,
}

/// Who made a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This tool.
    Ours,
    /// Somebody else, as far as can be told.
    Foreign,
}

/// A node's container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Name of the container and the node.
    pub name: String,
    /// The image that it was made from, as it was named then.
    pub image: String,
    /// Whether it runs.
    pub running: bool,
    /// Ports that lead to it, besides the API server's.
    pub ports: Vec<OpenPort>,
}

/// A port of the engine's machine that leads to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenPort {
    /// On the node.
    pub node: u16,
    /// The address that it is open on.
    pub address: String,
    /// On the engine's machine.
    pub host: u16,
}

impl Found {
    /// Whether a killed `kind create` left it. Of what others made, only the worst is known: that
    /// its control plane has no configuration.
    pub fn is_half_made(&self) -> bool {
        !self.complete
    }
}

/// The cluster of this name; none if no container belongs to it.
///
/// # Errors
/// The engine does not answer.
pub async fn find(docker: &Docker, name: &str) -> Result<Option<Found>> {
    let label = format!("{CLUSTER_LABEL}={name}");
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&HashMap::from([("label", vec![label.as_str()])]))
        .build();
    let listed = docker
        .list_containers(Some(options))
        .await
        .map_err(|error| failed("list containers", &error))?;
    let mut nodes = Vec::new();
    for id in listed.into_iter().filter_map(|container| container.id) {
        match docker
            .inspect_container(&id, None::<InspectContainerOptions>)
            .await
        {
            Ok(seen) => nodes.extend(node(seen)),
            // It went after it was listed, as nodes do while a cluster is removed.
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(failed(&format!("look at container {id}"), &error)),
        }
    }
    // Roles sort as the control plane, then a load balancer of several, then workers.
    nodes.sort_by(|(one_role, one), (two_role, two)| {
        (one_role, &one.name).cmp(&(two_role, &two.name))
    });
    let nodes: Vec<Node> = nodes.into_iter().map(|(_, node)| node).collect();
    let Some(control_plane) = nodes.first().map(|node| node.name.clone()) else {
        return Ok(None);
    };
    let marked = file(docker, &control_plane, &format!("/{COMPLETE}"))
        .await?
        .is_some();
    let kubeadm = file(docker, &control_plane, KUBEADM).await?;
    let labelled = kubeadm
        .as_deref()
        .is_some_and(|text| text.contains(&format!("{LABEL}={name}")));
    Ok(Some(Found {
        nodes,
        origin: if labelled {
            Origin::Ours
        } else {
            Origin::Foreign
        },
        // A cluster of others has no mark of ours; it counts as complete once Kind has configured it.
        complete: marked || (!labelled && kubeadm.is_some()),
    }))
}

/// The clusters of this tool, by name.
///
/// # Errors
/// The engine does not answer.
pub async fn ours(docker: &Docker) -> Result<Vec<String>> {
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&HashMap::from([("label", vec![CLUSTER_LABEL])]))
        .build();
    let listed = docker
        .list_containers(Some(options))
        .await
        .map_err(|error| failed("list containers", &error))?;
    let names = listed
        .into_iter()
        .filter_map(|container| container.labels?.remove(CLUSTER_LABEL));
    let names: std::collections::BTreeSet<String> = names.collect();
    let mut ours = Vec::new();
    for name in names {
        if find(docker, &name)
            .await?
            .is_some_and(|it| it.origin == Origin::Ours)
        {
            ours.push(name);
        }
    }
    Ok(ours)
}

/// The memory that a node uses, in bytes; none where the engine does not say.
pub async fn memory(docker: &Docker, node: &str) -> Option<u64> {
    let options = StatsOptionsBuilder::default()
        .stream(false)
        .one_shot(true)
        .build();
    let mut stats = Box::pin(docker.stats(node, Some(options)));
    stats.try_next().await.ok()??.memory_stats?.usage
}

fn node(seen: ContainerInspectResponse) -> Option<(String, Node)> {
    let config = seen.config?;
    let role = config.labels.as_ref()?.get(ROLE_LABEL)?.clone();
    let mut ports: Vec<OpenPort> = seen
        .host_config
        .and_then(|host| host.port_bindings)
        .unwrap_or_default()
        .into_iter()
        .flat_map(|(node, bindings)| {
            bindings
                .unwrap_or_default()
                .into_iter()
                .filter_map(move |binding| {
                    Some(OpenPort {
                        node: node.split('/').next()?.parse().ok()?,
                        address: binding.host_ip.unwrap_or_default(),
                        host: binding.host_port?.parse().ok()?,
                    })
                })
        })
        .filter(|port| port.node != 6443)
        .collect();
    ports.sort_by_key(|port| (port.node, port.host));
    Some((
        role,
        Node {
            name: seen.name?.trim_start_matches('/').to_owned(),
            image: config.image?,
            running: seen.state.and_then(|state| state.running) == Some(true),
            ports,
        },
    ))
}

/// A file of a container, which need not run; none if there is no such file.
async fn file(docker: &Docker, container: &str, path: &str) -> Result<Option<String>> {
    let options = DownloadFromContainerOptionsBuilder::default()
        .path(path)
        .build();
    let chunks = docker.download_from_container(container, Some(options));
    let bytes: Vec<bytes::Bytes> = match chunks.try_collect().await {
        Ok(bytes) => bytes,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(failed(&format!("read {path} of {container}"), &error)),
    };
    let bytes = bytes.concat();
    let read = || -> std::io::Result<Option<String>> {
        let mut archive = tar::Archive::new(bytes.as_slice());
        match archive.entries()?.next() {
            Some(entry) => {
                let mut text = String::new();
                std::io::Read::read_to_string(&mut entry?, &mut text)?;
                Ok(Some(text))
            }
            None => Ok(None),
        }
    };
    read().map_err(|error| Error::io("read", format!("{container}:{path}"), &error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_is_read_as_a_node() {
        let seen: ContainerInspectResponse = serde_json::from_value(json!({
            "Name": "/cdc-control-plane",
            "State": { "Running": true },
            "Config": {
                "Image": "kindest/node:v1@sha256:a",
                "Labels": { "io.x-k8s.kind.cluster": "cdc", "io.x-k8s.kind.role": "control-plane" },
            },
            "HostConfig": { "PortBindings": {
                "6443/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "40000" }],
                "30001/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "5432" }],
                "30000/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "8080" }],
            }},
        }))
        .expect("valid");
        let (role, node) = node(seen).expect("a node");
        assert_eq!(role, "control-plane");
        assert_eq!(node.name, "cdc-control-plane");
        assert!(node.running);
        let ports: Vec<(u16, &str, u16)> = node
            .ports
            .iter()
            .map(|port| (port.node, port.address.as_str(), port.host))
            .collect();
        assert_eq!(
            ports,
            [(30000, "0.0.0.0", 8080), (30001, "127.0.0.1", 5432)]
        );
    }
}
