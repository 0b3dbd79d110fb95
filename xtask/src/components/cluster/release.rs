//! Ending an operator's wait for a pod that cannot become ready.
//!
//! Strimzi waits up to five minutes for such a pod and ignores what is applied to its resource
//! meanwhile, the very change that would mend it among them. A restarted operator looks anew.

use k8s_openapi::api::core::v1::Pod;

use super::listed;
use crate::environment::Environment;
use crate::error::Result;
use crate::plan::Outcome;
use crate::platform::kubernetes::watch::Target;

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
    let pods = listed(env, "connect").await?;
    let Some(pod) = pods.iter().find(|pod| is_hopeless(pod)) else {
        return Ok(applied);
    };
    let operator = Target::of(
        "apps/v1",
        "Deployment",
        &env.profile.kubernetes.kafka_namespace,
        "strimzi-cluster-operator",
    );
    env.link()?.cluster.restart_template(&operator).await?;
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    Ok(Outcome::Changed(format!(
        "{said}; restarted the operator, which waited for pod {name}"
    )))
}

fn is_hopeless(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let mut waiting = containers.into_iter().flatten().filter_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        waiting.reason.as_deref()
    });
    waiting.any(|reason| HOPELESS.contains(&reason)) || fits_nowhere(pod)
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
        assert!(is_hopeless(&pod("ImagePullBackOff")));
        assert!(!is_hopeless(&pod("ContainerCreating")));
        assert!(!is_hopeless(&Pod::default()));
        let scheduled = |reason: &str| -> Pod {
            serde_json::from_value(serde_json::json!({ "metadata": {}, "status": {
                "conditions": [{ "type": "PodScheduled", "status": "False", "reason": reason }],
            } }))
            .expect("a pod")
        };
        assert!(is_hopeless(&scheduled("Unschedulable")));
        assert!(!is_hopeless(&scheduled("SchedulingGated")));
    }
}
