//! Why an object stays as it is although its pods are ready, where its operator does not report it: the
//! operator's log tells.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, LogParams};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::platform::kubernetes::Cluster;
use crate::readiness::kubernetes::OperatorLog;

/// It tries again within minutes.
const LATELY_S: i64 = 600;
const LINES: i64 = 500;
/// How often its log is read while somebody waits, and how long that may take.
const AGAIN: Duration = Duration::from_secs(5);
const WITHIN: Duration = Duration::from_secs(5);

/// What was read last, by operator.
#[derive(Default)]
pub(super) struct Waits(Mutex<BTreeMap<&'static str, (Instant, Option<String>)>>);

impl Waits {
    /// Why an operator in a namespace waits; none if its log does not tell, or cannot be read.
    pub(super) async fn why(
        &self,
        cluster: &Cluster,
        namespace: &str,
        operator: &OperatorLog,
    ) -> Option<String> {
        let mut last = self.0.lock().await;
        if let Some((at, said)) = last.get(operator.name)
            && at.elapsed() < AGAIN
        {
            return said.clone();
        }
        let read = timeout(WITHIN, log(cluster, namespace, operator.name)).await;
        let said = read.ok().flatten().and_then(|log| (operator.why)(&log));
        last.insert(operator.name, (Instant::now(), said.clone()));
        said
    }
}

async fn log(cluster: &Cluster, namespace: &str, operator: &str) -> Option<String> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let labels = ListParams::default().labels(&format!("app={operator}"));
    let pod = api.list(&labels).await.ok()?.items.into_iter().next()?;
    let asked = LogParams {
        container: Some(operator.into()),
        since_seconds: Some(LATELY_S),
        tail_lines: Some(LINES),
        ..LogParams::default()
    };
    api.logs(&pod.metadata.name?, &asked).await.ok()
}
