//! Ending an operator's wait for a pod that cannot become ready.
//!
//! Strimzi waits up to five minutes for such a pod and ignores what is applied to its resource
//! meanwhile, the very change that would mend it among them. A restarted operator looks anew.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::core::DynamicObject;

use super::listed;
use crate::environment::{Environment, strimzi};
use crate::error::Result;
use crate::plan::Outcome;
use crate::readiness::kubernetes;

/// Why a container waits that only a change of its pod can start.
const HOPELESS: [&str; 8] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];

/// Restarts the operator after a change of the workers, if one of theirs before it cannot start.
///
/// # Errors
/// The pods cannot be listed, or the operator may not be restarted.
pub(super) async fn release(env: &Environment, applied: Outcome) -> Result<Outcome> {
    let Outcome::Changed(said) = &applied else {
        return Ok(applied);
    };
    let (pods, brokers) = (listed(env, "connect").await?, listed(env, "kafka").await?);
    let Some(pod) = pods.iter().find(|pod| is_hopeless(pod, &brokers)) else {
        return Ok(applied);
    };
    let cluster = &env.link()?.cluster;
    let operator = strimzi(&env.profile);
    let its = cluster.pods_of(&operator).await?;
    cluster.delete_pods(&operator, &its).await?;
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    Ok(Outcome::Changed(format!(
        "{said}; restarted the operator, which waited for pod {name}"
    )))
}

/// Whether a pod cannot become ready as it is. One that comes back, as all do after a node's restart, is
/// worth the operator's wait.
fn is_hopeless(pod: &Pod, brokers: &[Pod]) -> bool {
    if comes_back(pod, brokers) {
        return false;
    }
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let mut unready = containers.into_iter().flatten().filter(|it| !it.ready);
    unready.any(|it| waits_in_vain(it) || has_ended(it)) || fits_nowhere(pod)
}

fn comes_back(pod: &Pod, brokers: &[Pod]) -> bool {
    let brokers: Option<Vec<_>> = brokers.iter().map(dynamic).collect();
    dynamic(pod)
        .zip(brokers)
        .is_some_and(|(pod, brokers)| kubernetes::comes_back(&pod, &brokers))
}

fn dynamic(pod: &Pod) -> Option<Arc<DynamicObject>> {
    let object = serde_json::to_value(pod).and_then(serde_json::from_value);
    object.ok().map(Arc::new)
}

fn waits_in_vain(container: &ContainerStatus) -> bool {
    let state = container.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
    reason.is_some_and(|reason| HOPELESS.contains(&reason))
}

/// Whether it ended, now or before its last start: between two ends a container runs.
fn has_ended(container: &ContainerStatus) -> bool {
    let states = [&container.state, &container.last_state];
    let mut states = states.into_iter().flatten();
    states.any(|state| state.terminated.is_some())
}

/// Whether no node takes it as it is.
fn fits_nowhere(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let mut all = conditions.into_iter().flatten();
    all.any(|it| it.type_ == "PodScheduled" && it.reason.as_deref() == Some("Unschedulable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_only_begins_is_waited_for() {
        let pod = |reason: &str| -> Pod {
            let state = serde_json::json!({ "waiting": { "reason": reason } });
            serde_json::from_value(serde_json::json!({ "metadata": {}, "status": {
                "containerStatuses": [{
                    "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                    "state": state,
                }],
            } }))
            .expect("a pod")
        };
        assert!(is_hopeless(&pod("ImagePullBackOff"), &[]));
        assert!(!is_hopeless(&pod("ContainerCreating"), &[]));
        assert!(!is_hopeless(&Pod::default(), &[]));
        let ended = serde_json::from_value(serde_json::json!({ "metadata": {}, "status": {
            "containerStatuses": [{
                "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 1,
                "state": { "running": {} }, "lastState": { "terminated": { "exitCode": 137 } },
            }],
        } }));
        assert!(is_hopeless(&ended.expect("a pod"), &[]));
        let scheduled = |reason: &str| -> Pod {
            serde_json::from_value(serde_json::json!({ "metadata": {}, "status": {
                "conditions": [{ "type": "PodScheduled", "status": "False", "reason": reason }],
            } }))
            .expect("a pod")
        };
        assert!(is_hopeless(&scheduled("Unschedulable"), &[]));
        assert!(!is_hopeless(&scheduled("SchedulingGated"), &[]));
    }

    /// As recorded at 11:47:20 and 11:47:41, after a node's restart: no operator is restarted for it.
    #[test]
    fn a_pod_that_comes_back_is_waited_for() {
        let worker = |began: &str, ended: &str| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": { "name": "w", "labels": { "strimzi.io/cluster": "my-connect-cluster" } },
                "status": {
                    "startTime": "2026-11-29T11:40:27Z",
                    "conditions": [{ "type": "Ready", "status": "False",
                        "lastTransitionTime": "2026-11-29T11:47:06Z" }],
                    "containerStatuses": [{
                        "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 2,
                        "state": { "waiting": { "reason": "CrashLoopBackOff" } },
                        "lastState": { "terminated": { "exitCode": 2, "reason": "Error",
                            "startedAt": began, "finishedAt": ended } },
                    }],
                },
            }))
            .expect("a pod")
        };
        let first = worker("2026-11-29T11:47:08Z", "2026-11-29T11:47:13Z");
        assert!(!is_hopeless(&first, &[]));
        let second = worker("2026-11-29T11:47:35Z", "2026-11-29T11:47:39Z");
        assert!(!is_hopeless(&second, &[]));
        // Minutes later it still ends: something else is wrong with it.
        let late = worker("2026-11-29T11:49:35Z", "2026-11-29T11:49:39Z");
        assert!(is_hopeless(&late, &[]));
    }
}
