//! Waits until the server serves what a definition defines.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{Problem, Run};
use crate::kubernetes::desired::Desired;
use crate::kubernetes::resources::{Resource, defined};
use crate::kubernetes::retry::{Refusal, send};
use crate::readiness::Status;
use crate::wait;

/// How often the server is asked for the kinds that it serves, while definitions are waited for.
const ASK_EVERY: Duration = Duration::from_millis(100);

impl Run<'_> {
    /// Waits until the kinds of a definition are served.
    pub(super) async fn served(&self, desired: &Desired) -> Result<(), Problem> {
        let kinds = defined(&desired.body);
        let known = &self.cluster.resources;
        let unknown = |kind: &Resource| known.get(&kind.api_version, &kind.kind).is_none();
        if !kinds.iter().any(unknown) {
            return Ok(());
        }
        let looks = AtomicUsize::new(0);
        let look = || async {
            match self.learn(&kinds).await {
                Err(refusal) => Status::failed(refusal.to_string()),
                Ok(()) if !kinds.iter().any(unknown) => Status::current("served"),
                // A definition can be a third of a megabyte: it is read now and then only.
                Ok(()) if looks.fetch_add(1, Ordering::Relaxed) % 8 != 7 => {
                    Status::in_progress("the server does not serve it yet")
                }
                Ok(()) => self.established(desired).await,
            }
        };
        let what = format!("{} is served", desired.object);
        wait::until(&what, self.patience(), self.progress, look).await?;
        Ok(())
    }

    /// Asks which kinds the server serves by now, unless the wait for another definition of the same
    /// group just did.
    async fn learn(&self, kinds: &[Resource]) -> Result<(), Refusal> {
        let mut asked = self.asked.lock().await;
        let is_due = |kind: &&Resource| {
            let last = asked.get(&kind.api_version);
            last.is_none_or(|last| last.elapsed() >= ASK_EVERY)
        };
        let due: Vec<&Resource> = kinds.iter().filter(is_due).collect();
        for kind in &due {
            asked.insert(kind.api_version.clone(), Instant::now());
        }
        let wanted = due
            .iter()
            .map(|kind| (kind.api_version.as_str(), kind.kind.as_str()));
        let resources = &self.cluster.resources;
        resources.learn(&self.cluster.client, wanted).await
    }

    /// Why a definition is not served yet.
    async fn established(&self, desired: &Desired) -> Status {
        let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let asked = async {
            let place = kube::core::Request::new(definitions);
            let request = place.get(&desired.object.name, &Default::default())?;
            send(&self.cluster.client, &request).await?.read::<Value>()
        };
        let definition = match asked.await {
            Ok(definition) => definition,
            Err(refusal) => return Status::failed(refusal.to_string()),
        };
        let conditions = definition["status"]["conditions"].as_array();
        let refused = conditions.into_iter().flatten().find(|condition| {
            condition["type"] == "NamesAccepted" && condition["status"] == "False"
        });
        match refused {
            Some(refused) => Status::failed(refused["message"].as_str().unwrap_or_default()),
            None => Status::in_progress("the server does not serve it yet"),
        }
    }
}
