//! Which kinds the server knows, and under which path.
//!
//! Asked per group and version, and only for those that are needed: a cluster serves some sixty, and
//! an environment uses ten. The answers are kept for as long as the [`super::Cluster`] lives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use futures_util::{StreamExt, TryStreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::Client;
use kube::core::Request;
use kube::core::params::GetParams;
use serde_json::Value;

use super::IN_FLIGHT;
use super::retry::{Refusal, find};

/// A kind as the server serves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// `deployments`.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version
            .split_once('/')
            .map_or("", |(group, _)| group)
    }

    /// Where its objects are: those of one namespace, or all.
    pub fn at(&self, namespace: Option<&str>) -> Request {
        let root = root(&self.api_version);
        Request::new(match namespace {
            Some(namespace) if self.namespaced => {
                format!("{root}/namespaces/{namespace}/{}", self.plural)
            }
            _ => format!("{root}/{}", self.plural),
        })
    }
}

fn root(api_version: &str) -> String {
    match api_version.contains('/') {
        true => format!("/apis/{api_version}"),
        false => format!("/api/{api_version}"),
    }
}

/// The kinds that a definition (a `CustomResourceDefinition`) brings.
pub fn defined(definition: &Value) -> Vec<Resource> {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (Some(group), Some(kind), Some(plural)) = (
        text(&spec["group"]),
        text(&spec["names"]["kind"]),
        text(&spec["names"]["plural"]),
    ) else {
        return Vec::new();
    };
    spec["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|version| version["served"] != Value::Bool(false))
        .filter_map(|version| text(&version["name"]))
        .map(|version| Resource {
            api_version: format!("{group}/{version}"),
            kind: kind.clone(),
            plural: plural.clone(),
            namespaced: spec["scope"] != "Cluster",
        })
        .collect()
}

/// What was learned so far.
#[derive(Debug, Default)]
pub struct Resources {
    known: Mutex<BTreeMap<String, Vec<Resource>>>,
}

impl Resources {
    /// The kind, if the server is known to serve it.
    pub fn get(&self, api_version: &str, kind: &str) -> Option<Resource> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let resources = known.get(api_version)?;
        resources.iter().find(|known| known.kind == kind).cloned()
    }

    /// Asks for the groups and versions in which something of `wanted` is not known yet.
    ///
    /// # Errors
    /// The server refuses to tell; a group or version that it does not serve is no error.
    pub async fn learn(
        &self,
        client: &Client,
        wanted: impl IntoIterator<Item = (&str, &str)>,
    ) -> Result<(), Refusal> {
        let missing: BTreeSet<String> = wanted
            .into_iter()
            .filter(|(api_version, kind)| self.get(api_version, kind).is_none())
            .map(|(api_version, _)| api_version.to_owned())
            .collect();
        stream::iter(missing)
            .map(|api_version| async move {
                let found = ask(client, &api_version).await?;
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                known.insert(api_version, found);
                Ok(())
            })
            .buffer_unordered(IN_FLIGHT)
            .try_collect()
            .await
    }
}

async fn ask(client: &Client, api_version: &str) -> Result<Vec<Resource>, Refusal> {
    let (parent, name) = match api_version.rsplit_once('/') {
        Some((group, version)) => (format!("/apis/{group}"), version),
        None => ("/api".into(), api_version),
    };
    let request = Request::new(parent).get(name, &GetParams::default())?;
    let list: Option<APIResourceList> = find(client, &request).await?;
    Ok(list
        .into_iter()
        .flat_map(|list| list.resources)
        .filter(|resource| !resource.name.contains('/'))
        .map(|resource| Resource {
            api_version: api_version.to_owned(),
            kind: resource.kind,
            plural: resource.name,
            namespaced: resource.namespaced,
        })
        .collect())
}
