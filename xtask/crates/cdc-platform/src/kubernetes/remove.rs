//! Takes away what belongs to an environment, in the order in which its parts can go, and waits until
//! it is gone.
//!
//! Custom resources go while their operators still run: the operators clean up behind them, and a
//! KafkaTopic's finalizer is served by an operator that lives inside the Kafka. Definitions and
//! namespaces go last, and only if this tool made them and nothing of others depends on them.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use kube::core::params::{DeleteParams, ListParams, Patch, Preconditions, PropagationPolicy};
use serde_json::{Value, json};

use super::apply::{all, held, parameters};
use super::live::name;
use super::object::Metadata;
use super::resources::Resource;
use super::retry::{Refusal, find, send};
use super::{Cluster, IN_FLIGHT, ObjectRef, Owned};
use crate::error::Result;
use crate::plan::Progress;
use crate::readiness::Status;
use crate::wait::{self, Patience};

/// What became of what was to be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Gone.
    pub gone: Vec<ObjectRef>,
    /// There before this tool came: left, without what this tool set on it.
    pub released: Vec<ObjectRef>,
    /// Left, and why.
    pub kept: Vec<(ObjectRef, String)>,
}

/// The stage in which an object goes.
fn stage(object: &ObjectRef) -> usize {
    let group = object.group();
    let custom = group.contains('.') && !group.ends_with(".k8s.io");
    match object.kind.as_str() {
        "KafkaTopic" | "KafkaUser" | "KafkaConnector" | "KafkaRebalance" if custom => 0,
        "Kafka" | "KafkaNodePool" if custom => 2,
        _ if custom => 1,
        _ if object.is_namespace() => 6,
        _ if object.is_definition() => 5,
        "PersistentVolumeClaim" => 4,
        _ => 3,
    }
}

impl Cluster {
    /// Removes the objects.
    ///
    /// # Errors
    /// Something could not be removed, or was not gone within the deadline; later stages are left
    /// alone then.
    pub async fn remove(
        &self,
        objects: &[Owned],
        deadline: Duration,
        progress: &Progress,
    ) -> Result<Removed> {
        let mut removed = Removed::default();
        let stages: BTreeSet<usize> = objects.iter().map(|owned| stage(&owned.object)).collect();
        for now in stages {
            let due = objects.iter().filter(|owned| stage(&owned.object) == now);
            let mut going = Vec::new();
            for owned in due {
                if owned.created {
                    match self.in_use(owned).await? {
                        None => going.push(owned),
                        Some(why) => removed.kept.push((owned.object.clone(), why)),
                    }
                } else {
                    self.release(owned).await?;
                    removed.released.push(owned.object.clone());
                }
            }
            self.delete(&going, deadline, progress).await?;
            removed
                .gone
                .extend(going.into_iter().map(|owned| owned.object.clone()));
        }
        Ok(removed)
    }

    async fn delete(
        &self,
        going: &[&Owned],
        deadline: Duration,
        progress: &Progress,
    ) -> Result<()> {
        // By index: a closure over references would keep the whole from being sent to a task.
        let results = stream::iter(0..going.len())
            .map(|index| async move {
                let owned = &going[index];
                let deleted = self.delete_one(owned).await;
                deleted.map_err(|refusal| {
                    self.refused(&format!("deleting {}", owned.object), &refusal)
                })
            })
            .buffer_unordered(IN_FLIGHT)
            .collect()
            .await;
        all(results)?;
        let patience = Patience {
            deadline,
            first: Duration::from_millis(20),
            slowest: Duration::from_millis(500),
        };
        if !going.is_empty() {
            wait::until("what was deleted is gone", patience, progress, || {
                self.still_there(going)
            })
            .await
            .map_err(|error| {
                error.hint(
                    "what has finalizers waits for its operator: see that it runs, then try again",
                )
            })?;
        }
        Ok(())
    }

    async fn delete_one(&self, owned: &Owned) -> Result<(), Refusal> {
        // Workloads are gone when their pods are; an operator takes its own time for the rest.
        let propagation = match owned.object.group() {
            "apps" | "batch" => PropagationPolicy::Foreground,
            _ => PropagationPolicy::Background,
        };
        let params = DeleteParams {
            propagation_policy: Some(propagation),
            preconditions: Some(Preconditions {
                uid: Some(owned.uid.clone()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let place = owned.resource.at(owned.object.namespace.as_deref());
        match send(&self.client, &place.delete(&owned.object.name, &params)?).await {
            Ok(_) => Ok(()),
            // Gone already, or another object has its name by now.
            Err(refusal) if matches!(refusal.code(), Some(404 | 409)) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    async fn still_there(&self, going: &[&Owned]) -> Status {
        let uids: BTreeSet<&str> = going.iter().map(|owned| owned.uid.as_str()).collect();
        let places: BTreeSet<(&Resource, Option<&str>)> = going
            .iter()
            .map(|owned| (&owned.resource, owned.object.namespace.as_deref()))
            .collect();
        let mut left = Vec::new();
        for (resource, namespace) in places {
            match self.labelled(resource, namespace, None).await {
                Ok(found) => left.extend(
                    found
                        .iter()
                        .filter(|live| uids.contains(live.uid.as_str()))
                        .map(|live| format!("{}{}", name(resource, live), held(live))),
                ),
                Err(refusal) => return Status::unknown(refusal.to_string()),
            }
        }
        match left.first() {
            None => Status::current("gone"),
            Some(first) => {
                let all = format!("{} left: {first}", left.len());
                Status::in_progress(all).with_evidence(left)
            }
        }
    }

    /// Gives up every field that this tool set on an object of others; what nobody else owns goes.
    async fn release(&self, owned: &Owned) -> Result<()> {
        let object = &owned.object;
        let mut nothing = json!({
            "apiVersion": object.api_version,
            "kind": object.kind,
            "metadata": { "name": object.name },
        });
        if let Some(namespace) = &object.namespace {
            nothing["metadata"]["namespace"] = namespace.as_str().into();
        }
        let released = async {
            let place = owned.resource.at(object.namespace.as_deref());
            let params = parameters(false)?;
            let request = place.patch_metadata(&object.name, &params, &Patch::Apply(&nothing))?;
            send(&self.client, &request).await
        };
        match released.await {
            Ok(_) => Ok(()),
            Err(refusal) => Err(self.refused(&format!("giving up {object}"), &refusal)),
        }
    }

    /// Why a definition or a namespace must stay; none if nothing speaks against its removal.
    pub(super) async fn in_use(&self, owned: &Owned) -> Result<Option<String>> {
        let object = &owned.object;
        let found = if object.is_definition() {
            self.of_definition(&object.name).await
        } else if object.is_namespace() {
            self.of_others(&object.name, &owned.environment).await?
        } else {
            return Ok(None);
        };
        Ok(
            match found.map(|found| (found.len(), found.into_iter().next())) {
                Ok((_, None)) => None,
                Ok((1, Some(one))) => Some(format!("{one} is still there")),
                Ok((count, Some(one))) => {
                    Some(format!("{one} and {} more are still there", count - 1))
                }
                Err(refusal) => Some(format!("what depends on it is unknown: {refusal}")),
            },
        )
    }

    /// The custom resources of a definition.
    async fn of_definition(&self, name: &str) -> Result<Vec<ObjectRef>, Refusal> {
        let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let request = kube::core::Request::new(definitions).get(name, &Default::default())?;
        let definition: Option<Value> = find(&self.client, &request).await?;
        let kinds = definition.iter().flat_map(super::resources::defined);
        let Some(kind) = &kinds.into_iter().next() else {
            return Ok(Vec::new());
        };
        let found = self.select(kind, None, &ListParams::default()).await?;
        Ok(found.iter().map(|live| self::name(kind, live)).collect())
    }

    /// What is in a namespace and not the environment's, nor made by the cluster itself for every namespace.
    async fn of_others(
        &self,
        namespace: &str,
        environment: &str,
    ) -> Result<Result<Vec<ObjectRef>, Refusal>> {
        let mut kinds = self.listable().await?;
        kinds.retain(|kind| kind.namespaced);
        let found: Vec<Result<Vec<ObjectRef>, Refusal>> = stream::iter(kinds)
            .map(|kind| async move {
                let all = self
                    .select(&kind, Some(namespace), &ListParams::default())
                    .await?;
                let others = all
                    .iter()
                    .filter(|live| of_others(&kind, live, environment));
                Ok(others.map(|live| name(&kind, live)).collect())
            })
            .buffer_unordered(IN_FLIGHT)
            .collect()
            .await;
        let found: Result<Vec<Vec<ObjectRef>>, Refusal> = found.into_iter().collect();
        Ok(found.map(|found| found.into_iter().flatten().collect()))
    }
}

fn of_others(kind: &Resource, live: &Metadata, environment: &str) -> bool {
    let automatic = match kind.kind.as_str() {
        "ServiceAccount" => live.name == "default",
        "ConfigMap" => live.name == "kube-root-ca.crt",
        // Made for a Service, a pod or a leader, and nothing without it.
        "Endpoints" | "EndpointSlice" | "Lease" => true,
        "Secret" => live
            .annotations
            .contains_key("kubernetes.io/service-account.name"),
        _ => false,
    };
    let ours = live.environment() == Some(environment);
    let goes_along = !live.owner_references.is_empty() || live.deletion_timestamp.is_some();
    !(automatic || ours || goes_along)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::ENVIRONMENT;

    fn object(api_version: &str, kind: &str) -> ObjectRef {
        ObjectRef {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: None,
            name: "x".into(),
        }
    }

    #[test]
    fn operators_outlive_what_they_clean_up_and_definitions_outlive_operators() {
        let order = [
            object("kafka.strimzi.io/v1", "KafkaTopic"),
            object("kafka.strimzi.io/v1", "KafkaConnect"),
            object("kafka.strimzi.io/v1", "Kafka"),
            object("apps/v1", "Deployment"),
            object("v1", "PersistentVolumeClaim"),
            object("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            object("v1", "Namespace"),
        ];
        let stages: Vec<usize> = order.iter().map(stage).collect();
        assert_eq!(stages, [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(
            stage(&object("rbac.authorization.k8s.io/v1", "ClusterRole")),
            3
        );
        assert_eq!(
            stage(&object(
                "clickhouse.altinity.com/v1",
                "ClickHouseInstallation"
            )),
            1
        );
    }

    #[test]
    fn what_every_namespace_holds_is_nobodys() {
        let kind = |kind: &str| Resource {
            api_version: "v1".into(),
            kind: kind.into(),
            plural: String::new(),
            namespaced: true,
        };
        let live = |name: &str| Metadata {
            name: name.into(),
            ..Metadata::default()
        };
        assert!(!of_others(&kind("ServiceAccount"), &live("default"), "e"));
        assert!(!of_others(
            &kind("ConfigMap"),
            &live("kube-root-ca.crt"),
            "e"
        ));
        assert!(of_others(&kind("ConfigMap"), &live("theirs"), "e"));
        assert!(of_others(
            &kind("PersistentVolumeClaim"),
            &live("data"),
            "e"
        ));
        let mut ours = live("data");
        ours.labels.insert(ENVIRONMENT.into(), "e".into());
        assert!(!of_others(&kind("PersistentVolumeClaim"), &ours, "e"));
        assert!(of_others(&kind("PersistentVolumeClaim"), &ours, "f"));
        let mut child = live("pod");
        child.owner_references.push(json!({ "kind": "ReplicaSet" }));
        assert!(!of_others(&kind("Pod"), &child, "e"));
    }
}
