//! A connector's resource: what Strimzi is asked to make of a connector.

use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

use super::{Cluster, ObjectRef};
use crate::error::{Code, Error, Result};

/// Owns what operations set, beside what `up` applies: a state that was set stays when `up` runs.
pub(super) const OPERATOR: &str = "cdc-xtask-operate";

impl Cluster {
    /// Sets `spec.state` of a connector's resource; says whether there is such a resource.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn set_connector_state(
        &self,
        namespace: &str,
        name: &str,
        state: Option<&str>,
    ) -> Result<bool> {
        self.patch_connector(namespace, name, json!({ "spec": { "state": state } }))
            .await
    }

    async fn patch_connector(&self, namespace: &str, name: &str, patch: Value) -> Result<bool> {
        let kind = GroupVersionKind::gvk("kafka.strimzi.io", "v1", "KafkaConnector");
        let api: Api<DynamicObject> = Api::namespaced_with(
            self.client.clone(),
            namespace,
            &ApiResource::from_gvk(&kind),
        );
        let params = PatchParams {
            field_manager: Some(OPERATOR.into()),
            ..PatchParams::default()
        };
        match api.patch(name, &params, &Patch::Merge(patch)).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => {
                let object = ObjectRef {
                    api_version: kind.api_version(),
                    kind: kind.kind,
                    namespace: Some(namespace.to_owned()),
                    name: name.to_owned(),
                };
                let what = format!("{object} cannot be changed: {error}");
                Err(Error::new(Code::Service, what))
            }
        }
    }
}
