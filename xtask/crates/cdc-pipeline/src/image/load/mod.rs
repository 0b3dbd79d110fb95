//! Brings an image of the engine to all nodes of a Kind cluster, and proves that it is there.
//!
//! A node is asked first what it has. What it lacks comes straight from the engine, in one of two
//! ways, and is read once for all nodes. There is no temporary archive. [`stream`] passes the
//! engine's archive on, filtered: best when most is lacking. [`depot`] has the engine push single
//! layers: best when little is. Measurements are in `images/README.md`.

mod archive;
mod depot;
mod http;
mod layers;
mod layout;
mod node;
mod stream;

use std::collections::{BTreeSet, HashSet};

use bollard::Docker;
use bollard::query_parameters::ListImagesOptions;
use futures_util::future::{join_all, try_join_all};

use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::platform::docker::{self, failed, is_missing};
use layers::Image;

/// What a load did on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The node.
    pub node: String,
    /// Bytes sent; none if the node had the image.
    pub sent: Option<u64>,
    /// How it was sent.
    pub way: Way,
    /// Layers that the node had already.
    pub kept: usize,
    /// Layers of the image.
    pub layers: usize,
}

/// How an image comes to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It was there.
    None,
    /// As the engine's archive.
    Archive,
    /// As single layers that the engine pushed.
    Layers,
}

/// The most that the engine is made to pack for a push without any need: layers that the nodes
/// have, but that it has never seen in a registry and so cannot ask for by name.
const WASTE: u64 = 256 << 20;

/// Has the image `reference` on every node afterwards, proven by its id.
///
/// # Errors
/// The engine does not have the image, a node refuses it, or has another one afterwards.
pub async fn load(
    docker: &Docker,
    reference: &str,
    nodes: &[String],
    progress: &Progress,
) -> Result<Vec<Loaded>> {
    let image = describe(docker, reference).await?;
    let ids = nodes
        .iter()
        .map(|node| node::image(docker, node, reference));
    let before = try_join_all(ids).await?;
    let lacking: Vec<String> = nodes
        .iter()
        .zip(&before)
        .filter(|(_, has)| !has.as_ref().is_some_and(|has| has.is(&image)))
        .map(|(node, _)| node.clone())
        .collect();
    let mut done: Vec<Loaded> = nodes
        .iter()
        .filter(|node| !lacking.contains(node))
        .map(|node| Loaded {
            node: node.clone(),
            sent: None,
            way: Way::None,
            kept: image.layers.len(),
            layers: image.layers.len(),
        })
        .collect();
    if !lacking.is_empty() {
        done.extend(send(docker, &image, lacking, progress).await?);
        done.sort_by_key(|loaded| nodes.iter().position(|node| *node == loaded.node));
    }
    Ok(done)
}

/// Proves that every node has the image `reference` as the engine has it.
///
/// # Errors
/// A node does not, or cannot be asked.
pub async fn prove(docker: &Docker, reference: &str, nodes: &[String]) -> Result<()> {
    let image = describe(docker, reference).await?;
    try_join_all(nodes.iter().map(|node| proof(docker, &image, node))).await?;
    Ok(())
}

/// Every digest by which a pod of this image may be told to run it: that of its configuration, and
/// those of the manifests that the engine, a registry or a node know it by.
///
/// # Errors
/// The engine does not have it, or a node cannot be asked.
pub async fn identities(
    docker: &Docker,
    reference: &str,
    nodes: &[String],
) -> Result<BTreeSet<String>> {
    let image = describe(docker, reference).await?;
    let seen = docker.inspect_image(reference).await;
    let seen = seen.map_err(|error| failed(&format!("look at {reference}"), &error))?;
    let digests = seen.repo_digests.into_iter().flatten();
    let mut ids: BTreeSet<String> = digests
        .filter_map(|name| Some(name.split_once('@')?.1.to_owned()))
        .collect();
    let held = try_join_all(
        nodes
            .iter()
            .map(|node| node::image(docker, node, reference)),
    )
    .await?;
    // A node that has another image under this name proves nothing.
    let held = held.into_iter().flatten().filter(|held| held.is(&image));
    ids.extend(held.flat_map(|held| held.ids()));
    ids.insert(image.id);
    Ok(ids)
}

async fn proof(docker: &Docker, image: &Image, node: &str) -> Result<()> {
    let seen = node::image(docker, node, &image.reference).await?;
    if seen.as_ref().is_some_and(|seen| seen.is(image)) {
        return Ok(());
    }
    let seen = seen.map_or("no such image".to_owned(), |seen| seen.id);
    let what = format!(
        "node {node} does not have {} as the engine has it",
        image.reference
    );
    Err(Error::new(Code::GateFailed, what)
        .detail(format!("engine: {}", image.id))
        .detail(format!("node:   {seen}")))
}

async fn send(
    docker: &Docker,
    image: &Image,
    nodes: Vec<String>,
    progress: &Progress,
) -> Result<Vec<Loaded>> {
    progress.observe("asking the nodes for the layers that they have");
    let holdings = try_join_all(nodes.iter().map(|node| node::holdings(docker, node))).await?;
    let kept: Vec<Vec<bool>> = holdings.iter().map(|has| image.held(has)).collect();
    // One stream feeds all: a layer is left out when no node lacks it.
    let nobody_lacks = (0..image.layers.len())
        .map(|layer| kept.iter().all(|kept| kept[layer]))
        .collect::<Vec<bool>>();
    let mut pushed = None;
    if pushable(docker, image, &nobody_lacks).await? {
        progress.observe("the engine packs the layers that the nodes lack");
        let wanted: Vec<bool> = nobody_lacks.iter().map(|nobody| !nobody).collect();
        match depot::fetch(docker, image, &wanted).await {
            Ok(layers) => pushed = Some(layers),
            // An engine elsewhere, such as in a virtual machine, does not reach this machine.
            Err(error) => progress.observe(format!("{error}; it packs the whole image instead")),
        }
    }
    let (way, sent) = match pushed {
        Some(pushed) => {
            let pieces = layout::pack(image, &pushed);
            (
                Way::Layers,
                stream::send_pieces(docker, &nodes, pieces).await?,
            )
        }
        None => {
            let sent = stream::send(docker, image, &nodes, &nobody_lacks, progress).await?;
            (Way::Archive, sent)
        }
    };
    let proofs = join_all(nodes.iter().map(|node| proof(docker, image, node))).await;
    proofs.into_iter().collect::<Result<Vec<()>>>()?;
    Ok(nodes
        .into_iter()
        .zip(kept)
        .map(|(node, kept)| Loaded {
            node,
            sent: Some(sent),
            way,
            kept: kept.iter().filter(|kept| **kept).count(),
            layers: image.layers.len(),
        })
        .collect())
}

/// Whether a push is likely to bring little more than what is lacking.
async fn pushable(docker: &Docker, image: &Image, nobody_lacks: &[bool]) -> Result<bool> {
    if !nobody_lacks.contains(&true) || docker::facts(docker).await?.containerd_store {
        return Ok(false);
    }
    let listed = docker
        .list_images(None::<ListImagesOptions>)
        .await
        .map_err(|error| failed("list images", &error))?;
    // Layers of images that came from a registry or went to one: the engine can ask for them.
    let ids: HashSet<String> = listed
        .into_iter()
        .filter(|seen| !seen.repo_digests.is_empty())
        .map(|seen| seen.id)
        .collect();
    let known = try_join_all(ids.iter().map(|id| describe(docker, id))).await?;
    let below = known
        .iter()
        .filter(|known| image.layers.starts_with(&known.layers))
        .map(|known| known.bytes)
        .max()
        .unwrap_or_default();
    Ok(image.bytes.saturating_sub(below) <= WASTE)
}

/// What the engine says about an image.
async fn describe(docker: &Docker, reference: &str) -> Result<Image> {
    let seen = match docker.inspect_image(reference).await {
        Ok(seen) => seen,
        Err(error) if is_missing(&error) => {
            let what = format!("the Docker engine has no image {reference}");
            return Err(Error::new(Code::NotUp, what).hint("cargo xtask image build"));
        }
        Err(error) => return Err(failed(&format!("look at {reference}"), &error)),
    };
    Ok(Image {
        reference: reference.to_owned(),
        id: seen.id.unwrap_or_default(),
        architecture: docker::architecture(&seen.architecture.unwrap_or_default()).to_owned(),
        layers: seen
            .root_fs
            .and_then(|root| root.layers)
            .unwrap_or_default(),
        bytes: seen
            .size
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or_default(),
    })
}
