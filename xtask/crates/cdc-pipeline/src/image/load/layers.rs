//! Which layers of an image a node has. Pure.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use crate::files::hex;

/// An image of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// Its name.
    pub(super) reference: String,
    /// The engine's id: the digest of the image's configuration, or with containerd's store of its
    /// manifest.
    pub(super) id: String,
    /// For which machines it is.
    pub(super) architecture: String,
    /// Digests of the uncompressed layers, the lowest first.
    pub(super) layers: Vec<String>,
    /// Bytes of all layers.
    pub(super) bytes: u64,
}

/// What a node has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holdings {
    /// Unpacked chains of layers.
    pub(super) chains: HashSet<String>,
    /// Blobs.
    pub(super) blobs: HashSet<String>,
}

impl Image {
    /// For each layer, whether the node needs none of its bytes: it is unpacked there, on top of
    /// the same layers, or its blob is there to be unpacked.
    pub(super) fn held(&self, has: &Holdings) -> Vec<bool> {
        chains(&self.layers)
            .iter()
            .zip(&self.layers)
            .map(|(chain, layer)| has.chains.contains(chain) || has.blobs.contains(layer))
            .collect()
    }
}

/// The names of the layers' chains, as the OCI image specification forms them.
fn chains(layers: &[String]) -> Vec<String> {
    let mut chains: Vec<String> = Vec::with_capacity(layers.len());
    for layer in layers {
        chains.push(match chains.last() {
            None => layer.clone(),
            Some(below) => {
                let digest = Sha256::digest(format!("{below} {layer}").as_bytes());
                format!("sha256:{}", hex(&digest))
            }
        });
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(layers: &[&str]) -> Image {
        Image {
            reference: "a:b".into(),
            id: "sha256:id".into(),
            architecture: "amd64".into(),
            layers: layers.iter().map(|layer| (*layer).to_owned()).collect(),
            bytes: 0,
        }
    }

    fn has(chains: &[String], blobs: &[&str]) -> Holdings {
        Holdings {
            chains: chains.iter().cloned().collect(),
            blobs: blobs.iter().map(|blob| (*blob).to_owned()).collect(),
        }
    }

    #[test]
    fn chains_are_named_as_the_specification_says() {
        let layers = ["sha256:a".to_owned(), "sha256:b".to_owned()];
        // printf 'sha256:a sha256:b' | sha256sum
        let second = "sha256:970a948bffa8de94d6e22d747ba8c95030e6e546909f98f54e99a13005e173a8";
        let chains = chains(&layers);
        assert_eq!(chains[0], "sha256:a");
        assert_eq!(chains[1], second);
    }

    #[test]
    fn a_layer_is_held_as_part_of_its_chain_or_as_a_blob() {
        let old = image(&["1", "2", "3"]);
        let node = has(&chains(&old.layers), &[]);
        assert_eq!(old.held(&node), [true, true, true]);
        assert_eq!(image(&["1", "2", "x"]).held(&node), [true, true, false]);
        // The same layer on top of another one is another directory.
        assert_eq!(image(&["1", "x", "3"]).held(&node), [true, false, false]);
        let node = has(&chains(&old.layers), &["3"]);
        assert_eq!(image(&["1", "x", "3"]).held(&node), [true, false, true]);
        assert_eq!(old.held(&Holdings::default()), [false, false, false]);
    }
}
