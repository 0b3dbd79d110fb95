//! A node of a Kind cluster: what its containerd has, and how it is given more.

use bollard::Docker;
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;

use super::layers::{Holdings, Image};
use crate::error::{Code, Error, Result};
use crate::platform::docker::exec::{exec, exec_with_input};

/// Kubernetes' images in containerd.
const NAMESPACE: &str = "--namespace=k8s.io";

/// An image as a node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeImage {
    /// Digest of its configuration.
    pub(super) id: String,
    /// Digests of manifests that it is known by.
    manifests: Vec<String>,
}

impl NodeImage {
    /// Whether it is that image of the engine: the same configuration, which holds the digests of
    /// the layers, or the same manifest where the engine's ids are digests of manifests.
    pub(super) fn is(&self, image: &Image) -> bool {
        self.id == image.id || self.manifests.contains(&image.id)
    }

    /// The digests that the node knows it by.
    pub(super) fn ids(self) -> impl Iterator<Item = String> {
        std::iter::once(self.id).chain(self.manifests)
    }
}

/// The image that a node has under a name.
pub(super) async fn image(
    docker: &Docker,
    node: &str,
    reference: &str,
) -> Result<Option<NodeImage>> {
    let said = exec(
        docker,
        node,
        &["crictl", "inspecti", "--output=json", reference],
    )
    .await?;
    if said.code != 0 && said.stderr.contains("no such image") {
        return Ok(None);
    }
    let text = said.ok(node, "crictl inspecti")?;
    parse(&text).map(Some).ok_or_else(|| {
        let what = format!("node {node} describes {reference} in an unknown way");
        Error::new(Code::Service, what)
    })
}

fn parse(text: &str) -> Option<NodeImage> {
    let seen: Value = serde_json::from_str(text).ok()?;
    // Null where there are none.
    let names = seen["status"]["repoDigests"].as_array();
    Some(NodeImage {
        id: seen["status"]["id"].as_str()?.to_owned(),
        manifests: names
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str()?.split_once('@'))
            .map(|(_, digest)| digest.to_owned())
            .collect(),
    })
}

/// What a node has that images are made of.
pub(super) async fn holdings(docker: &Docker, node: &str) -> Result<Holdings> {
    let snapshots = [
        "ctr",
        NAMESPACE,
        "snapshots",
        "--snapshotter=overlayfs",
        "ls",
    ];
    let blobs = ["ctr", NAMESPACE, "content", "ls", "--quiet"];
    let (snapshots, blobs) =
        tokio::try_join!(exec(docker, node, &snapshots), exec(docker, node, &blobs))?;
    let chains = snapshots.ok(node, "ctr snapshots ls")?;
    let blobs = blobs.ok(node, "ctr content ls")?;
    Ok(Holdings {
        chains: committed(&chains),
        blobs: blobs.lines().map(|line| line.trim().to_owned()).collect(),
    })
}

/// Names of complete snapshots in a table of name, parent and kind.
fn committed(table: &str) -> std::collections::HashSet<String> {
    table
        .lines()
        .filter(|line| line.trim_end().ends_with("Committed"))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// Has a node take in an archive.
///
/// # Errors
/// It refuses it.
pub(super) async fn import(
    docker: &Docker,
    node: &str,
    archive: mpsc::Receiver<Bytes>,
) -> Result<()> {
    // Without `--digests`: a name for each digest would keep every old image for ever.
    let command = [
        "ctr",
        NAMESPACE,
        "images",
        "import",
        "--snapshotter=overlayfs",
        "-",
    ];
    let said = exec_with_input(docker, node, &command, archive).await?;
    said.ok(node, "ctr images import").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_answer_is_read() {
        let text =
            r#"{"status": {"id": "sha256:c", "repoDigests": ["docker.io/library/x@sha256:m"]}}"#;
        let seen = parse(text).expect("well formed");
        let mut image = Image {
            reference: "x:1".into(),
            id: "sha256:c".into(),
            architecture: "amd64".into(),
            layers: vec!["sha256:1".into()],
            bytes: 0,
        };
        assert!(seen.is(&image));
        image.id = "sha256:m".into();
        assert!(
            seen.is(&image),
            "the manifest's digest is the id with containerd's store"
        );
        image.id = "sha256:other".into();
        assert!(!seen.is(&image));
        let none = r#"{"status": {"id": "sha256:c", "repoDigests": null}}"#;
        assert!(parse(none).is_some());
        assert_eq!(parse("{}"), None);
    }

    #[test]
    fn only_complete_snapshots_count() {
        let table = "KEY PARENT KIND\n\
                     sha256:1                 Committed\n\
                     sha256:2        sha256:1 Committed\n\
                     extract-9 x     sha256:2 Active\n";
        let mut seen: Vec<String> = committed(table).into_iter().collect();
        seen.sort();
        assert_eq!(seen, ["sha256:1", "sha256:2"]);
    }
}
