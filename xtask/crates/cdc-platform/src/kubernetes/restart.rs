//! Having pods replaced, by whoever keeps them.
//!
//! Strimzi is asked for a roll by its own annotation, and made to look by another one on the
//! resource: it acts on annotations that change at once, and otherwise every two minutes.
//! ClickHouse's operator would go on restarting at each change if its own way were used, so the
//! template of its StatefulSets is marked instead. That pods were replaced is seen by their uids,
//! since every status may be older than the roll.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::connector::OPERATOR;
use super::watch::Target;
use super::{Cluster, ObjectRef, objects};
use crate::error::{Code, Error, Result};
use crate::readiness::kubernetes::pods_of;

/// What `kubectl rollout restart` sets, and CloudNativePG looks for.
pub const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";
/// What has Strimzi replace a pod, or every pod of a set of its own.
pub const ROLL: &str = "strimzi.io/manual-rolling-update";
/// Strimzi looks at once at an object whose annotations change, else every two minutes.
pub const LOOK: &str = "cdc-xtask.dev/restarted-at";

impl Cluster {
    /// Sets an annotation.
    ///
    /// # Errors
    /// The object is not there, or the server refuses.
    pub async fn annotate(&self, target: &Target, key: &str, value: &str) -> Result<()> {
        let patch = json!({ "metadata": { "annotations": { key: value } } });
        self.patch(target, patch).await
    }

    /// Has a controller replace all pods of its template, as `kubectl rollout restart` does.
    ///
    /// # Errors
    /// The object is not there, or the server refuses.
    pub async fn restart_template(&self, target: &Target) -> Result<()> {
        let annotations = json!({ RESTARTED: now() });
        let metadata = json!({ "metadata": { "annotations": annotations } });
        self.patch(target, json!({ "spec": { "template": metadata } }))
            .await
    }

    /// The pods of an object: name and uid.
    ///
    /// # Errors
    /// The object is not there or has no pods, or the server refuses.
    pub async fn pods_of(&self, target: &Target) -> Result<BTreeMap<String, String>> {
        let object = self.objects(target).get(&target.name).await;
        let object = object.map_err(|error| refused(target, "cannot be read", &error))?;
        let mut pods = BTreeMap::new();
        if let Some(selector) = pods_of(&object) {
            let namespace = target.namespace.as_deref().unwrap_or_default();
            let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
            let list = api
                .list(&ListParams::default().labels_from(&selector))
                .await;
            let list =
                list.map_err(|error| refused(target, "has pods that cannot be read", &error))?;
            let named = list.items.into_iter().map(|pod| pod.metadata);
            pods.extend(named.filter_map(|metadata| Some((metadata.name?, metadata.uid?))));
        }
        match pods.is_empty() {
            true => Err(
                Error::new(Code::NotUp, format!("{} has no pod", object_ref(target)))
                    .hint("cargo xtask up"),
            ),
            false => Ok(pods),
        }
    }

    /// Deletes an object's pods, by name and uid, for whoever keeps them to make new ones. One that is gone
    /// or another one by now is left alone.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn delete_pods(
        &self,
        target: &Target,
        pods: &BTreeMap<String, String>,
    ) -> Result<()> {
        let space = target.namespace.as_deref().unwrap_or_default();
        for (name, uid) in pods {
            let params = DeleteParams::default().preconditions(Preconditions {
                resource_version: None,
                uid: Some(uid.clone()),
            });
            let pod = Target::of("v1", "Pod", space, name);
            self.delete_seen(&pod, &params).await?;
        }
        Ok(())
    }

    /// Deletes an object; says whether it was there, as it was seen.
    async fn delete_seen(&self, target: &Target, params: &DeleteParams) -> Result<bool> {
        match self.objects(target).delete(&target.name, params).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(error) => Err(refused(target, "cannot be deleted", &error)),
            Ok(_) => Ok(true),
        }
    }

    /// Has a pod that pauses replaced by whoever keeps it. One that is gone, or that its kubelet starts
    /// again meanwhile, is left alone: says whether it is replaced.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn replace_paused(&self, pod: &DynamicObject) -> Result<bool> {
        let pause = Target::of(
            "v1",
            "Pod",
            pod.metadata.namespace.as_deref().unwrap_or_default(),
            pod.metadata.name.as_deref().unwrap_or_default(),
        );
        let as_seen = Preconditions {
            resource_version: pod.metadata.resource_version.clone(),
            uid: pod.metadata.uid.clone(),
        };
        // Nothing runs in it that wants time to end, and what begins this very moment would miss the
        // signal and stay for the default of 30 s.
        let params = DeleteParams::default()
            .grace_period(1)
            .preconditions(as_seen);
        self.delete_seen(&pause, &params).await
    }

    /// An object; none if it is not there.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn object(&self, target: &Target) -> Result<Option<DynamicObject>> {
        let object = self.objects(target).get_opt(&target.name).await;
        object.map_err(|error| refused(target, "cannot be read", &error))
    }

    /// The names of the objects of a kind that carry a label.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn names_labelled(&self, kind: &Target, labels: &str) -> Result<Vec<String>> {
        let params = ListParams::default().labels(labels);
        let list = self.objects(kind).list_metadata(&params).await;
        let list = list.map_err(|error| refused(kind, "cannot be listed", &error))?;
        let mut names: Vec<String> = list
            .items
            .into_iter()
            .filter_map(|object| object.metadata.name)
            .collect();
        names.sort();
        Ok(names)
    }

    async fn patch(&self, target: &Target, patch: Value) -> Result<()> {
        let patched = self.merge(target, patch).await;
        patched.map_err(|error| refused(target, "cannot be changed", &error))
    }

    /// Sets what `patch` has of an object.
    pub(super) async fn merge(&self, target: &Target, patch: Value) -> kube::Result<()> {
        let params = PatchParams {
            field_manager: Some(OPERATOR.into()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(patch);
        let objects = self.objects(target);
        let patched = objects.patch(&target.name, &params, &patch).await;
        patched.map(drop)
    }

    fn objects(&self, target: &Target) -> Api<DynamicObject> {
        objects(&self.client, &target.resource, target.namespace.as_deref())
    }
}

/// A time as annotations have it.
pub fn now() -> String {
    Timestamp::now().to_string()
}

pub(super) fn object_ref(target: &Target) -> ObjectRef {
    ObjectRef {
        api_version: target.resource.api_version.clone(),
        kind: target.resource.kind.clone(),
        namespace: target.namespace.clone(),
        name: target.name.clone(),
    }
}

fn refused(target: &Target, what: &str, error: &kube::Error) -> Error {
    let object = object_ref(target);
    match error {
        kube::Error::Api(status) if status.code == 404 => {
            Error::new(Code::NotUp, format!("{object} is not there")).hint("cargo xtask up")
        }
        kube::Error::Api(status) if status.code == 403 => {
            Error::new(Code::Platform, format!("{object} {what}: not permitted"))
                .detail(status.message.clone())
        }
        error => Error::new(Code::Service, format!("{object} {what}: {error}")),
    }
}
