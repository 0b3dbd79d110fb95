//! A connector's resource: what Strimzi is asked to make of a connector.

use serde_json::json;

use super::Cluster;
use super::restart::object_ref;
use super::watch::Target;
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
        let target = Target::of("kafka.strimzi.io/v1", "KafkaConnector", namespace, name);
        let patch = json!({ "spec": { "state": state } });
        match self.merge(&target, patch).await {
            Ok(()) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => {
                let what = format!("{} cannot be changed: {error}", object_ref(&target));
                Err(Error::new(Code::Service, what))
            }
        }
    }
}
