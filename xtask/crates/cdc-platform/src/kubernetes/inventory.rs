//! What of a cluster is this tool's, whatever the profile says today.
//!
//! Every kind that the server can list is asked for this tool's label, so that kinds which left the
//! profile altogether are found too; nothing is recorded that could get lost or become wrong. A label
//! alone proves nothing: controllers copy labels to what they make (an EndpointSlice carries its
//! Service's). What we applied has an entry of our manager in `managedFields`.
//!
//! `up` names what left the profile and leaves it alone; `up --yes` removes it.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use kube::core::DynamicObject;
use kube::discovery::{Discovery, Scope, verbs};

use super::desired;
use super::live::name;
use super::object::Metadata;
use super::resources::Resource;
use super::retry::Refusal;
use super::{COMPONENT, Cluster, IN_FLIGHT, ObjectRef};
use crate::error::{Code, Error, Result};

/// An object that this tool applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Its name.
    pub object: ObjectRef,
    /// Its kind.
    pub resource: Resource,
    /// Names this very object.
    pub uid: String,
    /// The environment that it belongs to.
    pub environment: String,
    /// The component that it belongs to.
    pub component: Option<String>,
    /// Whether this tool made it; if not, it was there before and is only given up.
    pub created: bool,
}

/// What of a cluster belongs to an environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// What this tool applied.
    pub objects: Vec<Owned>,
    /// Volume claims with the environment's label that a controller made from a template of ours:
    /// the environment's data.
    pub volumes: Vec<Owned>,
    /// Kinds that could not be listed, with the reason: objects of theirs are unknown.
    pub hidden: Vec<String>,
}

impl Inventory {
    /// What is there and no longer wanted. Volume claims are never among it.
    ///
    /// # Errors
    /// An object has no type or no name.
    pub fn left(&self, wanted: &[DynamicObject]) -> Result<Vec<Owned>> {
        let wanted = wanted
            .iter()
            .map(desired::name)
            .collect::<Result<Vec<_>>>()?;
        fn key(object: &ObjectRef) -> (&str, &str, Option<&str>, &str) {
            let namespace = object.namespace.as_deref();
            (object.group(), &object.kind, namespace, &object.name)
        }
        let wanted: BTreeSet<_> = wanted.iter().map(key).collect();
        let left = self
            .objects
            .iter()
            .filter(|owned| !wanted.contains(&key(&owned.object)));
        Ok(left.cloned().collect())
    }
}

impl Cluster {
    /// What belongs to the environment. Where a kind may not be listed everywhere, it is listed in
    /// `namespaces`.
    ///
    /// # Errors
    /// The server gives no answer.
    pub async fn inventory(&self, environment: &str, namespaces: &[String]) -> Result<Inventory> {
        let kinds = self.listable().await?;
        let answers: Vec<_> = stream::iter(kinds)
            .map(|kind| async move {
                let found = self.everywhere(&kind, environment, namespaces).await;
                (kind, found)
            })
            .buffer_unordered(IN_FLIGHT)
            .collect()
            .await;
        let mut inventory = Inventory::default();
        for (kind, answer) in answers {
            let (found, hidden) = answer
                .map_err(|refusal| self.refused(&format!("listing {}", kind.plural), &refusal))?;
            inventory.hidden.extend(hidden);
            for metadata in found {
                let applied = metadata.applied().is_some();
                let owned = owned(&kind, &metadata);
                if applied {
                    inventory.objects.push(owned);
                } else if kind.kind == "PersistentVolumeClaim" {
                    inventory.volumes.push(owned);
                }
            }
        }
        inventory.objects.sort_by(|a, b| a.object.cmp(&b.object));
        inventory.volumes.sort_by(|a, b| a.object.cmp(&b.object));
        inventory.hidden.sort();
        Ok(inventory)
    }

    /// Every kind whose objects can be listed and deleted, in the version that the server prefers.
    pub(super) async fn listable(&self) -> Result<Vec<Resource>> {
        let discovery = match Discovery::new(self.client.clone()).run_aggregated().await {
            Ok(discovery) => discovery,
            // Before Kubernetes 1.30 this may be off.
            Err(_) => Discovery::new(self.client.clone())
                .run()
                .await
                .map_err(|error| {
                    let what = format!("the kinds that {} serves: {error}", self.server);
                    Error::new(Code::Service, what)
                })?,
        };
        let mut kinds: Vec<Resource> = discovery
            .groups()
            .flat_map(|group| group.recommended_resources())
            .filter(|(_, can)| {
                [verbs::LIST, verbs::DELETE]
                    .iter()
                    .all(|verb| can.supports_operation(verb))
            })
            .map(|(kind, can)| Resource {
                api_version: kind.api_version,
                kind: kind.kind,
                plural: kind.plural,
                namespaced: can.scope == Scope::Namespaced,
            })
            .filter(|kind| kind.kind != "Event")
            .collect();
        kinds.sort();
        Ok(kinds)
    }

    /// What was found, and why something may be missing.
    async fn everywhere(
        &self,
        kind: &Resource,
        environment: &str,
        namespaces: &[String],
    ) -> Result<(Vec<Metadata>, Vec<String>), Refusal> {
        let refusal = match self.labelled(kind, None, Some(environment)).await {
            Ok(found) => return Ok((found, Vec::new())),
            Err(refusal) if refusal.code() == Some(403) => refusal,
            Err(refusal) => return Err(refusal),
        };
        if !kind.namespaced || namespaces.is_empty() {
            return Ok((Vec::new(), vec![format!("{}: {refusal}", kind.plural)]));
        }
        let (mut found, mut hidden) = (Vec::new(), Vec::new());
        for namespace in namespaces {
            match self
                .labelled(kind, Some(namespace), Some(environment))
                .await
            {
                Ok(there) => found.extend(there),
                Err(refusal) if refusal.code() == Some(403) => {
                    hidden.push(format!("{}: {refusal}", kind.plural));
                }
                Err(refusal) => return Err(refusal),
            }
        }
        Ok((found, hidden))
    }
}

pub(super) fn owned(kind: &Resource, metadata: &Metadata) -> Owned {
    Owned {
        object: name(kind, metadata),
        resource: kind.clone(),
        uid: metadata.uid.clone(),
        environment: metadata.environment().unwrap_or_default().to_owned(),
        component: metadata.labels.get(COMPONENT).cloned(),
        created: metadata.created(),
    }
}
