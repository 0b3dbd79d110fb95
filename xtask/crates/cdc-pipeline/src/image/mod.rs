//! The Connect image: Strimzi's Kafka with Debezium's plugins, named by a digest of its inputs.
//!
//! [`digest`] names it, [`build`] makes it where it is not there yet, [`inspect`] looks into it,
//! [`load`] brings it to the nodes of a Kind cluster and [`push`] to a registry; [`tags`] are the
//! committed names.

pub mod build;
pub mod context;
pub mod credentials;
pub mod digest;
pub mod inspect;
pub mod load;
pub mod push;
pub mod tags;

use std::path::PathBuf;

use crate::error::Result;
use digest::{Inputs, PluginInput};

/// The repository name of images that never leave the machine.
pub const REPOSITORY: &str = "cdc-connect";

/// Everything that decides what is in the image.
#[derive(Clone, Debug)]
pub struct ConnectImage {
    /// Where images of it are named, such as `cdc-connect` or `registry.example/team/connect`.
    pub repository: String,
    /// Debezium's version, which begins the tag.
    pub version: String,
    /// The image that it starts from.
    pub base: String,
    /// The directory with the Dockerfile.
    pub source: PathBuf,
    /// The plugins.
    pub plugins: Vec<Plugin>,
}

/// A plugin of Connect.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// Its directory below Connect's plugin directory.
    pub name: String,
    /// Maven coordinates of its archive.
    pub coordinates: String,
    /// SHA-256 of its archive.
    pub sha256: String,
    /// The connector class that it is there for.
    pub class: String,
    /// Where its unpacked archive lies. It is not looked at before a build.
    pub dir: PathBuf,
}

impl ConnectImage {
    /// The base image that runs a version of Kafka under a version of Strimzi.
    pub fn base(strimzi: &str, kafka: &str) -> String {
        format!("quay.io/strimzi/kafka:{strimzi}-kafka-{kafka}")
    }

    /// What the name is a function of.
    ///
    /// # Errors
    /// The directory with the Dockerfile cannot be read.
    pub fn inputs(&self) -> Result<Inputs> {
        Ok(Inputs {
            version: self.version.clone(),
            base: self.base.clone(),
            files: context::files(&self.source)?,
            plugins: self
                .plugins
                .iter()
                .map(|plugin| PluginInput {
                    name: plugin.name.clone(),
                    coordinates: plugin.coordinates.clone(),
                    sha256: plugin.sha256.clone(),
                })
                .collect(),
        })
    }

    /// Its full name, `repository:tag`.
    ///
    /// # Errors
    /// See [`ConnectImage::inputs`].
    pub fn reference(&self) -> Result<String> {
        Ok(format!("{}:{}", self.repository, self.inputs()?.tag()))
    }
}
