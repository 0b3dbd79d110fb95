//! The lower half of `up`'s plan on clusters: the cluster itself, Connect's image, and every object.
//!
//! Only what must wait does: the worker for its image, a connector for its tables. Everything else is
//! applied at once, so that the operators work side by side.

use std::sync::Arc;
use std::time::Duration;

use kube::core::DynamicObject;

use super::upper::{self, Starts};
use super::{connect, named, service};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::image::ConnectImage;
use crate::plan::{Outcome, Plan, Progress};
use crate::platform::Platform;
use crate::platform::kubernetes::{Applied, Change, Cluster, Options};
use crate::render::kubernetes::{self as k8s, ConnectorResource, Inputs, Passwords};
use crate::render::objects::{self, Object};

/// Whether passwords stand in rendered objects or are masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// As they are, for the cluster.
    Secrets,
    /// Masked, for people.
    Masked,
}

/// Every object of the environment but the operators'.
///
/// # Errors
/// A template is wrong, or the image's files cannot be read.
pub fn objects(env: &Environment, show: Show) -> Result<Vec<Object>> {
    let passwords = match show {
        Show::Secrets => env.cluster_passwords(),
        Show::Masked => Passwords::masked(),
    };
    let connectors = env
        .profile
        .connectors
        .iter()
        .map(|(name, connector)| {
            let manifest = connect::manifest(env, name, connector)?;
            Ok(ConnectorResource {
                name: name.clone(),
                class: manifest.class,
                config: manifest.config,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let inputs = Inputs {
        profile: &env.profile,
        tree: env.context(),
        cluster: match env.platform {
            Platform::Kind => k8s::Cluster::Kind,
            Platform::Host | Platform::Kubernetes => k8s::Cluster::Existing,
        },
        passwords: &passwords,
        connectors: &connectors,
        connect_image: &connect::image_reference(env)?,
        kafka_ca: None,
    };
    let parts = k8s::parts(&env.profile, false);
    objects::render(&env.templates, &k8s::context(&inputs)?, &parts, &env.name)
}

/// When an object is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// At once.
    First,
    /// When the workers' image is where it can be run.
    Worker,
    /// When the connector's tables are there.
    Connector(String),
}

fn stage(object: &DynamicObject) -> Stage {
    let kind = object.types.as_ref().map(|types| types.kind.as_str());
    match kind {
        Some("KafkaConnect") => Stage::Worker,
        Some("KafkaConnector") => {
            Stage::Connector(object.metadata.name.clone().unwrap_or_default())
        }
        _ => Stage::First,
    }
}

fn of_stage(objects: &[Object], wanted: &Stage) -> Vec<DynamicObject> {
    objects
        .iter()
        .filter(|object| stage(&object.object) == *wanted)
        .map(|object| object.object.clone())
        .collect()
}
