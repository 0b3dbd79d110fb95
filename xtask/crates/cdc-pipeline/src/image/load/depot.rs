//! A registry on this machine that exists for one push: the engine's way to hand out single layers.
//!
//! The engine's archive always holds every layer, and it is packed completely before its first byte
//! comes. A push asks for each layer whether it is there. Here the answer is yes for what the nodes
//! have, so only the rest is sent. The engine knows a layer by the digest of its compressed form,
//! the nodes by the plain one; the pushed manifest, which lists the former in the order of the
//! latter, tells which is which. So the first push answers yes to every question; if that kept back
//! what a node lacks, a second one does not.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::query_parameters::{
    PushImageOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::http::{Answer, Connection, Request};
use super::layers::Image;
use crate::files::hex;

/// The most that is kept in memory. An image that needs more comes as an archive.
const LARGEST: u64 = 384 << 20;
/// The name that the image has for the time of the push.
const REPOSITORY: &str = "cdc-xtask-load";
const ACCEPTED: &str = "Docker-Content-Digest";

/// A pushed image, without what was said to be there.
#[derive(Debug)]
pub(super) struct Pushed {
    /// Its manifest.
    pub(super) manifest: Manifest,
    /// Blobs by digest, in pieces.
    pub(super) blobs: HashMap<String, Vec<Bytes>>,
}

/// An image's manifest, as far as it matters.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Manifest {
    /// The configuration.
    pub(super) config: Blob,
    /// Layers, the lowest first.
    pub(super) layers: Vec<Blob>,
}

/// What a manifest says about a blob.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Blob {
    #[serde(rename = "mediaType")]
    pub(super) media_type: String,
    pub(super) digest: String,
    /// Left out for a layer that was said to be there, whose size nobody told the engine.
    #[serde(default)]
    pub(super) size: u64,
}

/// Why nothing was handed out.
#[derive(Debug, thiserror::Error)]
pub(super) enum DepotError {
    /// This machine cannot serve.
    #[error("cannot listen: {0}")]
    Listen(#[from] io::Error),
    /// The engine does not reach this machine, or gives up.
    #[error("the engine did not push: {0}")]
    Engine(#[from] bollard::errors::Error),
    /// What was pushed is not the image.
    #[error("the push brought something else: {0}")]
    Other(&'static str),
}

/// Has the engine push the layers that are `wanted`.
pub(super) async fn fetch(
    docker: &Docker,
    image: &Image,
    wanted: &[bool],
) -> Result<Pushed, DepotError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let shelf = Arc::new(Mutex::new(Shelf {
        // The engine must not think that the configuration is there.
        missing: HashSet::from([image.id.clone()]),
        ..Shelf::default()
    }));
    // Dropping the set ends the server with this function.
    let mut server = JoinSet::new();
    server.spawn(serve(listener, shelf.clone()));
    let name = format!("127.0.0.1:{port}/{REPOSITORY}");
    let tag = "once";
    let options = TagImageOptionsBuilder::default()
        .repo(&name)
        .tag(tag)
        .build();
    docker.tag_image(&image.reference, Some(options)).await?;
    let result = rounds(docker, image, wanted, &name, tag, &shelf).await;
    let options = RemoveImageOptionsBuilder::default().noprune(true).build();
    // Only the name goes: the image keeps the one that it had before.
    let untagged = docker
        .remove_image(&format!("{name}:{tag}"), Some(options), None)
        .await;
    let pushed = result?;
    untagged?;
    Ok(pushed)
}

async fn rounds(
    docker: &Docker,
    image: &Image,
    wanted: &[bool],
    name: &str,
    tag: &str,
    shelf: &Mutex<Shelf>,
) -> Result<Pushed, DepotError> {
    for _ in 0..2 {
        push(docker, name, tag).await?;
        let mut shelf = lock(shelf);
        let manifest = shelf
            .manifest
            .take()
            .ok_or(DepotError::Other("no manifest"))?;
        let manifest: Manifest = serde_json::from_slice(&manifest)
            .map_err(|_| DepotError::Other("an unknown kind of manifest"))?;
        if manifest.config.digest != image.id || manifest.layers.len() != image.layers.len() {
            return Err(DepotError::Other("another image"));
        }
        let kept_back: Vec<String> = manifest
            .layers
            .iter()
            .zip(wanted)
            .filter(|(layer, wanted)| **wanted && !shelf.blobs.contains_key(&layer.digest))
            .map(|(layer, _)| layer.digest.clone())
            .collect();
        if kept_back.is_empty() && shelf.blobs.contains_key(&image.id) {
            let blobs = std::mem::take(&mut shelf.blobs);
            return Ok(Pushed { manifest, blobs });
        }
        shelf.missing.extend(kept_back);
    }
    Err(DepotError::Other("not every layer"))
}

async fn push(docker: &Docker, name: &str, tag: &str) -> Result<(), bollard::errors::Error> {
    let options = PushImageOptionsBuilder::default().tag(tag).build();
    let nobody = Some(DockerCredentials::default());
    let mut answers = docker.push_image(name, Some(options), nobody).boxed();
    while answers.try_next().await?.is_some() {}
    Ok(())
}

/// What the registry has.
#[derive(Default)]
struct Shelf {
    /// Digests that are to be sent; of all others it is said that they are there.
    missing: HashSet<String>,
    blobs: HashMap<String, Vec<Bytes>>,
    manifest: Option<Vec<u8>>,
    uploads: HashMap<u64, Upload>,
    begun: u64,
    bytes: u64,
}

/// A blob on its way.
#[derive(Default)]
struct Upload {
    pieces: Vec<Bytes>,
    hasher: Sha256,
}

impl Shelf {
    /// The size of what is said to be there.
    fn has(&self, digest: &str) -> Option<u64> {
        match self.blobs.get(digest) {
            Some(pieces) => Some(size(pieces)),
            None => (!self.missing.contains(digest)).then_some(0),
        }
    }

    fn begin(&mut self) -> u64 {
        self.begun += 1;
        self.uploads.insert(self.begun, Upload::default());
        self.begun
    }

    fn take(&mut self, upload: u64, bytes: Bytes) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        let upload = self.uploads.get_mut(&upload);
        match upload {
            Some(upload) if self.bytes <= LARGEST => {
                upload.hasher.update(&bytes);
                upload.pieces.push(bytes);
                Ok(())
            }
            _ => Err(io::Error::other("more than is kept in memory")),
        }
    }

    fn end(&mut self, upload: u64, digest: &str) -> bool {
        let Some(upload) = self.uploads.remove(&upload) else {
            return false;
        };
        let found = format!("sha256:{}", hex(&upload.hasher.finalize()));
        if found != digest {
            return false;
        }
        self.blobs.insert(found, upload.pieces);
        true
    }
}

/// Bytes of a blob's pieces.
pub(super) fn size(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// Nothing panics while it holds the lock, and what it guards is whole at every step.
fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, shelf: Arc<Mutex<Shelf>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shelf = shelf.clone();
        // The engine sees a connection that breaks, and says so in the push's answer.
        connections.spawn(async move { converse(stream, &shelf).await });
    }
}

async fn converse(stream: TcpStream, shelf: &Mutex<Shelf>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = Connection::new(stream);
    while let Some(request) = connection.request().await? {
        let upload = upload_of(&request.path);
        let mut body = Vec::new();
        connection
            .body(&request, |bytes| match upload {
                Some(upload) => lock(shelf).take(upload, bytes),
                None if body.len() < 1 << 20 => {
                    body.extend_from_slice(&bytes);
                    Ok(())
                }
                None => Err(io::Error::other("a manifest of this size is none")),
            })
            .await?;
        let answer = answer(&request, body, &mut lock(shelf));
        connection.answer(&answer, request.method == "HEAD").await?;
    }
    Ok(())
}

fn upload_of(path: &str) -> Option<u64> {
    path.rsplit_once("/blobs/uploads/")?.1.parse().ok()
}

/// The registry's interface, as far as a push uses it.
fn answer(request: &Request, body: Vec<u8>, shelf: &mut Shelf) -> Answer {
    let with = |status, headers| Answer {
        status,
        headers,
        length: 0,
    };
    let status = |status| with(status, Vec::new());
    let path = request.path.as_str();
    let parameter = |name: &str| {
        request
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.replace("%3A", ":").replace("%3a", ":"))
    };
    let location = |upload: u64| {
        let at = format!("/v2/{REPOSITORY}/blobs/uploads/{upload}");
        ("Location", at)
    };
    let id = |upload: u64| ("Docker-Upload-UUID", upload.to_string());
    match request.method.as_str() {
        "GET" if path == "/v2/" => status(200),
        "HEAD" if path.contains("/blobs/") => {
            let digest = path.rsplit('/').next().unwrap_or_default();
            match shelf.has(digest) {
                Some(length) => Answer {
                    length,
                    ..with(200, vec![(ACCEPTED, digest.to_owned())])
                },
                None => status(404),
            }
        }
        "POST" if path.ends_with("/blobs/uploads/") => {
            // A layer that another repository is said to have.
            if let Some(digest) = parameter("mount").filter(|digest| shelf.has(digest).is_some()) {
                let at = format!("/v2/{REPOSITORY}/blobs/{digest}");
                return with(201, vec![("Location", at), (ACCEPTED, digest)]);
            }
            let upload = shelf.begin();
            with(202, vec![location(upload), id(upload)])
        }
        "PATCH" => match upload_of(path) {
            Some(upload) => {
                let known = shelf.uploads.get(&upload);
                let last = known.map_or(0, |upload| size(&upload.pieces));
                let range = ("Range", format!("0-{}", last.saturating_sub(1)));
                with(202, vec![location(upload), id(upload), range])
            }
            None => status(404),
        },
        "PUT" if path.contains("/manifests/") => {
            let digest = format!("sha256:{}", hex(&Sha256::digest(&body)));
            shelf.manifest = Some(body);
            with(201, vec![(ACCEPTED, digest)])
        }
        "PUT" => match (upload_of(path), parameter("digest")) {
            (Some(upload), Some(digest)) if shelf.end(upload, &digest) => {
                with(201, vec![(ACCEPTED, digest)])
            }
            _ => status(400),
        },
        _ => status(404),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Request {
            method: method.into(),
            path: path.into(),
            query: query.into(),
            ..Request::default()
        }
    }

    #[test]
    fn what_is_not_missing_is_there() {
        let mut shelf = Shelf {
            missing: HashSet::from(["sha256:config".to_owned()]),
            ..Shelf::default()
        };
        let mut ask = |digest: &str| {
            let head = request("HEAD", &format!("/v2/r/blobs/{digest}"));
            answer(&head, Vec::new(), &mut shelf).status
        };
        assert_eq!((ask("sha256:base"), ask("sha256:config")), (200, 404));
        let mount = request("POST", "/v2/r/blobs/uploads/?from=x&mount=sha256%3Abase");
        assert_eq!(answer(&mount, Vec::new(), &mut shelf).status, 201);
        let mount = request("POST", "/v2/r/blobs/uploads/?from=x&mount=sha256%3Aconfig");
        assert_eq!(answer(&mount, Vec::new(), &mut shelf).status, 202);
    }

    #[test]
    fn an_upload_counts_only_with_its_digest() {
        let mut shelf = Shelf::default();
        let begun = answer(
            &request("POST", "/v2/r/blobs/uploads/"),
            Vec::new(),
            &mut shelf,
        );
        assert_eq!(begun.headers[0].1, "/v2/cdc-xtask-load/blobs/uploads/1");
        let digest = format!("sha256:{}", hex(&Sha256::digest(b"layer")));
        for (content, accepted) in [(&b"other"[..], 400), (b"layer", 201)] {
            let upload = shelf.begin();
            shelf
                .take(upload, Bytes::from_static(content))
                .expect("small");
            let put = format!(
                "/v2/r/blobs/uploads/{upload}?digest={}",
                digest.replace(':', "%3A")
            );
            assert_eq!(
                answer(&request("PUT", &put), Vec::new(), &mut shelf).status,
                accepted
            );
        }
        assert_eq!(shelf.blobs.keys().collect::<Vec<_>>(), [&digest]);
    }

    #[test]
    fn a_layer_without_a_size_is_read() {
        let text = r#"{"schemaVersion": 2, "config": {"mediaType": "c", "digest": "sha256:c", "size": 2},
                       "layers": [{"mediaType": "l", "digest": "sha256:l"}]}"#;
        let manifest: Manifest = serde_json::from_str(text).expect("well formed");
        assert_eq!(manifest.layers[0].size, 0);
    }

    #[test]
    fn memory_is_bounded() {
        let mut shelf = Shelf::default();
        let upload = shelf.begin();
        shelf.bytes = LARGEST;
        assert!(shelf.take(upload, Bytes::from_static(b"x")).is_err());
    }
}
