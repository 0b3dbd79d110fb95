//! Checks before anything is applied what would keep pods from starting for minutes: Secrets and
//! ConfigMaps that nobody brings, room that no node has, storage classes and images that are not
//! there. An operator that waits for such a pod is deaf to every later change for 300 s.
//!
//! The facts are gathered once, all at the same time; the checks are pure, and everything that is
//! wrong is reported together.

mod check;
mod quantity;
#[cfg(test)]
mod tests;
mod wants;

use std::collections::BTreeSet;

use futures_util::future::{join_all, join3};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::ListParams;
use kube::core::{DynamicObject, ObjectList};
use kube::{Api, Client};

pub use check::{Finding, check};

use super::core_objects;
use crate::error::{Code, Error, Result};
use wants::Reference;

/// What is checked besides the objects themselves.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Images that were built here: nothing can pull them, so that each node must have them.
    pub local_images: Vec<String>,
    /// Whether nodes are added when there is no room: then too little of it is no error.
    pub grows: bool,
}

/// What is known of the cluster. What may not be read is none, and not checked.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Its nodes.
    pub nodes: Option<Vec<Node>>,
    /// The pods of all namespaces.
    pub pods: Option<Vec<Pod>>,
    /// Its storage classes.
    pub classes: Option<Vec<StorageClass>>,
    /// The Secrets and ConfigMaps that were asked for and are not there: kind, namespace, name.
    pub missing: BTreeSet<(&'static str, String, String)>,
    /// What could not be read, and why.
    pub unread: Vec<String>,
}

/// Checks the objects against the cluster, and returns what is worth knowing.
///
/// # Errors
/// One error with everything that would keep the objects' pods from starting.
pub async fn run(
    client: &Client,
    objects: &[DynamicObject],
    options: &Options,
) -> Result<Vec<String>> {
    let facts = gather(client, objects).await;
    let (errors, notes): (Vec<Finding>, Vec<Finding>) = check(objects, options, &facts)
        .into_iter()
        .partition(|finding| finding.blocks);
    let errors = errors
        .into_iter()
        .map(|finding| Error::new(Code::Missing, finding.message).hint(finding.hint));
    match Error::together(errors) {
        Some(error) => Err(error),
        None => Ok(notes.into_iter().map(|finding| finding.message).collect()),
    }
}

/// Asks the cluster for all that the checks need, at once.
pub async fn gather(client: &Client, objects: &[DynamicObject]) -> Facts {
    let all = ListParams::default();
    let nodes: Api<Node> = Api::all(client.clone());
    let pods: Api<Pod> = Api::all(client.clone());
    let classes: Api<StorageClass> = Api::all(client.clone());
    let lists = join3(nodes.list(&all), pods.list(&all), classes.list(&all));
    let open: Vec<Reference> = check::open_references(objects).into_iter().collect();
    let asked = join_all(open.into_iter().map(|reference| async {
        let api = core_objects(client, reference.kind, &reference.namespace);
        // Metadata only: nobody here needs to read a Secret.
        let found = api.get_metadata_opt(&reference.name).await;
        (reference, found)
    }));
    let ((nodes, pods, classes), asked) = tokio::join!(lists, asked);
    let mut facts = Facts::default();
    facts.nodes = facts.read("nodes", nodes);
    facts.pods = facts.read("pods", pods);
    facts.classes = facts.read("storage classes", classes);
    for (it, found) in asked {
        match found {
            Ok(Some(_)) => {}
            Ok(None) => drop(facts.missing.insert((it.kind, it.namespace, it.name))),
            Err(error) => facts
                .unread
                .push(format!("{} {}: {error}", it.kind, it.name)),
        }
    }
    facts
}

impl Facts {
    fn read<T: Clone>(&mut self, what: &str, list: kube::Result<ObjectList<T>>) -> Option<Vec<T>> {
        list.map(|list| list.items)
            .map_err(|error| self.unread.push(format!("{what}: {error}")))
            .ok()
    }
}
