//! An image as an OCI layout in a tar archive, without the layers that its reader has. Pure.

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::depot::{Pushed, size};
use super::layers::Image;
use crate::files::hex;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const PLAIN_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The archive's pieces. A layer that was not pushed is named by its plain digest, as the node
/// names the one that it has.
pub(super) fn pack(image: &Image, pushed: &Pushed) -> Vec<Bytes> {
    let layers: Vec<Value> = pushed
        .manifest
        .layers
        .iter()
        .zip(&image.layers)
        .map(|(layer, plain)| match pushed.blobs.get(&layer.digest) {
            Some(_) => json!({
                "mediaType": layer.media_type, "digest": layer.digest, "size": layer.size,
            }),
            None => json!({ "mediaType": PLAIN_LAYER, "digest": plain, "size": 0 }),
        })
        .collect();
    let config = &pushed.manifest.config;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": { "mediaType": CONFIG, "digest": config.digest, "size": config.size },
        "layers": layers,
    })
    .to_string();
    let digest = format!("sha256:{}", hex(&Sha256::digest(manifest.as_bytes())));
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{
            "mediaType": MANIFEST,
            "digest": digest,
            "size": manifest.len(),
            "annotations": { "io.containerd.image.name": canonical(&image.reference) },
        }],
    })
    .to_string();
    let mut pieces = Vec::new();
    let layout = json!({ "imageLayoutVersion": "1.0.0" }).to_string();
    file(&mut pieces, "oci-layout", &[Bytes::from(layout)]);
    file(&mut pieces, "index.json", &[Bytes::from(index)]);
    file(&mut pieces, &path(&digest), &[Bytes::from(manifest)]);
    for (digest, blob) in &pushed.blobs {
        file(&mut pieces, &path(digest), blob);
    }
    pieces.push(Bytes::from_static(&[0; 1024]));
    pieces
}

fn path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn file(pieces: &mut Vec<Bytes>, path: &str, content: &[Bytes]) {
    let length = size(content);
    let mut header = tar::Header::new_gnu();
    if let Some(gnu) = header.as_gnu_mut() {
        let name = path.as_bytes();
        // A digest's path is far shorter than the field.
        gnu.name[..name.len()].copy_from_slice(name);
    }
    header.set_mode(0o644);
    header.set_size(length);
    header.set_cksum();
    pieces.push(Bytes::copy_from_slice(header.as_bytes()));
    pieces.extend_from_slice(content);
    let padding = length.next_multiple_of(512) - length;
    if padding > 0 {
        pieces.push(Bytes::from(vec![
            0;
            usize::try_from(padding)
                .unwrap_or_default()
        ]));
    }
}

/// An image's full name, as containerd and the kubelet know it.
pub(super) fn canonical(reference: &str) -> String {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => reference.to_owned(),
        Some(_) => format!("docker.io/{reference}"),
        None => format!("docker.io/library/{reference}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::Read;

    use super::super::depot::{Blob, Manifest};
    use super::*;

    #[test]
    fn names_are_completed_as_docker_does() {
        assert_eq!(
            canonical("cdc-connect:1"),
            "docker.io/library/cdc-connect:1"
        );
        assert_eq!(canonical("team/x:1"), "docker.io/team/x:1");
        assert_eq!(canonical("127.0.0.1:5000/x:1"), "127.0.0.1:5000/x:1");
        assert_eq!(canonical("localhost/x:1"), "localhost/x:1");
    }

    #[test]
    fn the_archive_holds_what_was_pushed_and_names_the_rest() {
        let blob = |digest: &str| Blob {
            media_type: "application/vnd.docker.image.rootfs.diff.tar.gzip".into(),
            digest: format!("sha256:{digest}"),
            size: 7,
        };
        let pushed = Pushed {
            manifest: Manifest {
                config: blob("config"),
                layers: vec![blob("base"), blob("new")],
            },
            blobs: HashMap::from([
                ("sha256:config".into(), vec![Bytes::from_static(b"{}")]),
                (
                    "sha256:new".into(),
                    vec![Bytes::from_static(b"lay"), Bytes::from_static(b"er")],
                ),
            ]),
        };
        let image = Image {
            reference: "x:1".into(),
            id: "sha256:config".into(),
            architecture: "amd64".into(),
            layers: vec!["sha256:plain1".into(), "sha256:plain2".into()],
            bytes: 0,
        };
        let bytes = pack(&image, &pushed).concat();
        let mut files = HashMap::new();
        for entry in tar::Archive::new(bytes.as_slice())
            .entries()
            .expect("a tar")
        {
            let mut entry = entry.expect("an entry");
            let mut content = String::new();
            entry.read_to_string(&mut content).expect("read");
            files.insert(entry.path().expect("a path").display().to_string(), content);
        }
        assert_eq!(files["blobs/sha256/new"], "layer");
        let index: Value = serde_json::from_str(&files["index.json"]).expect("JSON");
        let named = &index["manifests"][0];
        assert_eq!(
            named["annotations"]["io.containerd.image.name"],
            "docker.io/library/x:1"
        );
        let at = path(named["digest"].as_str().expect("a digest"));
        let manifest: Value = serde_json::from_str(&files[&at]).expect("JSON");
        assert_eq!(manifest["config"]["digest"], "sha256:config");
        assert_eq!(manifest["layers"][0]["digest"], "sha256:plain1");
        assert_eq!(manifest["layers"][1]["digest"], "sha256:new");
        assert_eq!(files.len(), 5);
    }
}
