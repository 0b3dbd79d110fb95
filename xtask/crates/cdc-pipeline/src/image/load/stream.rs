//! One read of the engine's archive feeds all nodes.

use bollard::Docker;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use super::archive::Filter;
use super::layers::Image;
use super::node;
use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::platform::docker::failed;

/// Pieces on their way to a node at once: enough to keep it busy while others are served.
const AHEAD: usize = 64;

/// Sends the image without the layers that nobody lacks to all nodes; returns the bytes that each
/// was sent.
pub(super) async fn send(
    docker: &Docker,
    image: &Image,
    nodes: &[String],
    nobody_lacks: &[bool],
    progress: &Progress,
) -> Result<u64> {
    let (mut senders, mut imports) = (Vec::new(), Vec::new());
    for node in nodes {
        let (send, receive) = mpsc::channel(AHEAD);
        senders.push(send);
        imports.push(node::import(docker, node, receive));
    }
    let left_out: Vec<&str> = image
        .layers
        .iter()
        .zip(nobody_lacks)
        .filter(|(_, nobody)| **nobody)
        .filter_map(|(layer, _)| layer.strip_prefix("sha256:"))
        .collect();
    progress.observe("the engine packs the image");
    let (sent, results) = tokio::join!(
        pump(docker, image, &left_out, senders, progress),
        join_all(imports)
    );
    // A node that refuses stops its own channel; its reason says more than the broken stream.
    all(results)?;
    sent
}

/// Sends an archive that is at hand to all nodes; returns its bytes.
pub(super) async fn send_pieces(
    docker: &Docker,
    nodes: &[String],
    pieces: Vec<Bytes>,
) -> Result<u64> {
    let imports = nodes.iter().map(|node| {
        let (send, receive) = mpsc::channel(AHEAD);
        let feed = async {
            // The channel closes when the sender goes, after the last piece.
            let send = send;
            for piece in &pieces {
                if send.send(piece.clone()).await.is_err() {
                    break;
                }
            }
        };
        async {
            let ((), result) = tokio::join!(feed, node::import(docker, node, receive));
            result
        }
    });
    all(join_all(imports).await)?;
    Ok(pieces.iter().map(|piece| piece.len() as u64).sum())
}

fn all(results: Vec<Result<()>>) -> Result<()> {
    let errors = results.into_iter().filter_map(Result::err);
    Error::together(errors).map_or(Ok(()), Err)
}

async fn pump(
    docker: &Docker,
    image: &Image,
    left_out: &[&str],
    mut nodes: Vec<mpsc::Sender<Bytes>>,
    progress: &Progress,
) -> Result<u64> {
    // Engines since 25 name a layer by its digest; older ones pack all of it under other names.
    let mut filter = Filter::new(|name: &str| {
        name.strip_prefix("blobs/sha256/")
            .is_some_and(|digest| left_out.contains(&digest))
    });
    let mut archive = docker.export_image(&image.reference).boxed();
    let damaged = |error: &dyn std::fmt::Display| {
        let what = format!("the engine's archive of {}: {error}", image.reference);
        Error::new(Code::Service, what)
    };
    let (mut sent, mut out) = (0, Vec::new());
    while let Some(bytes) = archive
        .try_next()
        .await
        .map_err(|error| failed(&format!("pack {}", image.reference), &error))?
    {
        filter
            .push(bytes, &mut out)
            .map_err(|error| damaged(&error))?;
        for piece in out.drain(..) {
            sent += piece.len() as u64;
            let refused = join_all(nodes.iter().map(|node| node.send(piece.clone()))).await;
            let mut refused = refused.into_iter().map(|sent| sent.is_err());
            nodes.retain(|_| !refused.next().unwrap_or(false));
            if nodes.is_empty() {
                // Every node has ended, each with a reason of its own.
                return Ok(sent);
            }
        }
        progress.bytes(sent.min(image.bytes), image.bytes);
    }
    filter.finish().map_err(|error| damaged(&error))?;
    Ok(sent)
}
