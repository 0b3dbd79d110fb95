//! A Kind cluster of this tool's own: made through Kind's own command, read from the engine.
//!
//! There is no state file that could disagree with the engine: what a cluster is made of is read
//! from its nodes' containers. What this tool made carries two marks inside the nodes: the label
//! that the rendered configuration gives each node, which is there before anything else, and a
//! file that is written when the cluster is complete.

pub mod cli;
pub mod config;
pub mod download;
pub mod found;
pub mod prerequisites;

use std::path::PathBuf;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{StartContainerOptions, UploadToContainerOptionsBuilder};
use bytes::Bytes;

use crate::docker::failed;
use crate::error::{Code, Error, Result};
use crate::host::ports;
use crate::plan::Progress;
use crate::readiness::Status;
use crate::wait::{self, Patience};

pub use cli::Kind;
pub use config::{Difference, PortMapping, Spec};
pub use found::{Found, Node, Origin};

/// The label on nodes that this tool made.
pub const LABEL: &str = "cdc-xtask.dev/cluster";
/// Written into the control plane when the cluster is complete.
const COMPLETE: &str = "kind/cdc-xtask-complete";

/// What became of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// It was made now.
    Created,
    /// It was there as wanted.
    Reused,
    /// It was there, and its stopped nodes were started.
    Started,
}

/// The name of a cluster's context in a kubeconfig.
pub fn context(name: &str) -> String {
    format!("kind-{name}")
}

/// The template of a cluster's configuration, below the manifests; its context is [`Spec::context`].
pub const TEMPLATE: &str = "kind/cluster.yaml.hbs";

/// Has the cluster afterwards, with its nodes running; `config` is its configuration, as Kind reads
/// it. Nothing that exists is changed, except that stopped nodes are started and that a half-made
/// cluster of this tool's own is made again.
///
/// # Errors
/// `Drift` if a cluster of this name is made otherwise; `PortTaken` if a port is another's;
/// `Process` with Kind's last words if it fails.
pub async fn ensure(
    kind: &Kind,
    docker: &Docker,
    spec: &Spec,
    config: &str,
    progress: &Progress,
) -> Result<Ensured> {
    if let Some(found) = found::find(docker, &spec.name).await? {
        if found.is_half_made() {
            if found.origin == Origin::Foreign && !kind.has_begun(&spec.name) {
                return Err(half_made_by_others(&spec.name));
            }
            progress.observe("removing what a killed run left of the cluster");
            kind.delete(&spec.name).await?;
        } else {
            return reuse(docker, spec, &found, progress).await;
        }
    }
    free_ports(spec).await?;
    kind.begin(&spec.name)?;
    kind.create(&spec.name, config, progress).await?;
    mark_complete(docker, &spec.name).await?;
    kind.end(&spec.name)?;
    Ok(Ensured::Created)
}

/// The cluster as it would be reused, or why it would not be.
///
/// # Errors
/// As [`ensure`].
async fn reuse(
    docker: &Docker,
    spec: &Spec,
    found: &Found,
    progress: &Progress,
) -> Result<Ensured> {
    let differences = config::compare(spec, found);
    if !differences.is_empty() {
        let hint = match found.origin {
            Origin::Ours => {
                "cargo xtask down removes it; then cargo xtask up makes it as the profile says"
            }
            Origin::Foreign => {
                "this tool did not make it and leaves it alone: choose another kind.name, or another profile"
            }
        };
        return Err(Error::new(
            Code::Drift,
            format!(
                "the Kind cluster `{}` is not what the profile asks for",
                spec.name
            ),
        )
        .details(differences.iter().map(ToString::to_string))
        .hint(hint));
    }
    let stopped: Vec<&Node> = found.nodes.iter().filter(|node| !node.running).collect();
    if stopped.is_empty() {
        return Ok(Ensured::Reused);
    }
    for node in stopped {
        progress.observe(format!("starting node {}", node.name));
        docker
            .start_container(&node.name, None::<StartContainerOptions>)
            .await
            .map_err(|error| failed(&format!("start node {}", node.name), &error))?;
    }
    Ok(Ensured::Started)
}

/// Removes the cluster if this tool made it; says whether there was one.
///
/// # Errors
/// `Drift` if another made it; `Process` if Kind fails.
pub async fn delete(kind: &Kind, docker: &Docker, name: &str) -> Result<bool> {
    let Some(found) = found::find(docker, name).await? else {
        return Ok(false);
    };
    let half_made_here = found.is_half_made() && kind.has_begun(name);
    if found.origin == Origin::Foreign && !half_made_here {
        return Err(Error::new(
            Code::Drift,
            format!("the Kind cluster `{name}` was not made by this tool and is left alone"),
        )
        .hint(format!("if it is to go: kind delete cluster --name {name}")));
    }
    kind.delete(name).await?;
    kind.end(name)?;
    Ok(true)
}

/// Names of the cluster's nodes, the control plane first.
///
/// # Errors
/// The engine does not tell, or there is no such cluster.
pub async fn nodes(docker: &Docker, name: &str) -> Result<Vec<String>> {
    match found::find(docker, name).await? {
        Some(found) => Ok(found.nodes.into_iter().map(|node| node.name).collect()),
        None => Err(
            Error::new(Code::NotUp, format!("there is no Kind cluster `{name}`"))
                .hint("cargo xtask up --platform kind"),
        ),
    }
}

fn half_made_by_others(name: &str) -> Error {
    Error::new(
        Code::Drift,
        format!("there is half a Kind cluster `{name}`, and nothing shows that this tool made it"),
    )
    .hint(format!(
        "if nobody is just making it: kind delete cluster --name {name}"
    ))
}

async fn free_ports(spec: &Spec) -> Result<()> {
    let mut taken = Vec::new();
    for port in &spec.ports {
        if !ports::is_free(port.host) && !ports::becomes_free(port.host).await {
            taken.push(format!(
                "127.0.0.1:{} (for {}) belongs to {}",
                port.host,
                port.name,
                ports::owner(port.host)
            ));
        }
    }
    if taken.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Code::PortTaken,
        "ports that the Kind cluster is to have on this machine are taken",
    )
    .details(taken)
    .hint("stop their owners, or set other ports in the profile"))
}

/// The last step of making a cluster.
async fn mark_complete(docker: &Docker, name: &str) -> Result<()> {
    let Some(found) = found::find(docker, name).await? else {
        return Err(Error::new(
            Code::Process,
            format!("kind made `{name}`, but the engine shows no node of it"),
        )
        .hint(
            "kind and this tool must use the same engine: check DOCKER_HOST and the Docker context",
        ));
    };
    let archive = || -> std::io::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(0);
        archive.append_data(&mut header, COMPLETE, std::io::empty())?;
        archive.into_inner()
    };
    let archive = archive()
        .map_err(|error| Error::new(Code::Io, format!("cannot mark the cluster: {error}")))?;
    let options = UploadToContainerOptionsBuilder::default().path("/").build();
    let node = &found.nodes[0].name;
    docker
        .upload_to_container(
            node,
            Some(options),
            bollard::body_full(Bytes::from(archive)),
        )
        .await
        .map_err(|error| failed(&format!("mark node {node}"), &error))
}

/// Waits until a cluster's API server answers on a node that was started again.
///
/// # Errors
/// It does not in time.
pub async fn answers(docker: &Docker, name: &str, progress: &Progress) -> Result<()> {
    let nodes = nodes(docker, name).await?;
    let control_plane = nodes.first().cloned().unwrap_or_default();
    let patience = Patience {
        deadline: Duration::from_secs(120),
        first: Duration::from_millis(100),
        slowest: Duration::from_secs(1),
    };
    let look = || async {
        let command = [
            "kubectl",
            "--kubeconfig=/etc/kubernetes/admin.conf",
            "get",
            "--raw=/readyz",
        ];
        match crate::docker::exec::exec(docker, &control_plane, &command).await {
            Ok(said) if said.code == 0 => Status::current("the API server answers"),
            Ok(said) => Status::in_progress(said.stderr.trim().to_owned()),
            Err(error) => Status::in_progress(error.message),
        }
    };
    wait::until("the cluster's API server", patience, progress, look)
        .await
        .map(drop)
}

/// The image for nodes: `KIND_NODE_IMAGE`, or Kind's own of the pinned version, such as
/// `1.34.11@sha256:...`.
pub fn node_image(pinned: &str) -> String {
    match std::env::var("KIND_NODE_IMAGE") {
        Ok(image) if !image.is_empty() => image,
        _ => format!("kindest/node:v{pinned}"),
    }
}

/// Where Kind is looked for and kept.
#[derive(Clone, Debug)]
pub struct Source {
    /// The pinned version.
    pub version: String,
    /// The repository, which holds the digests.
    pub root: PathBuf,
    /// Where a download is kept.
    pub cache: PathBuf,
}
