//! Whether pods have begun, whatever becomes of them: they have their nodes, volumes and images.
//!
//! It is judged for the workers as soon as they are applied: the gate on Connect itself comes after
//! Kafka's, a minute later.

use std::sync::Arc;

use kube::core::DynamicObject;
use serde_json::Value;

use super::fields::{at, leaving, list, text};

/// Whether there are pods, and every container of each has been started at least once.
pub fn started(pods: &[Arc<DynamicObject>]) -> bool {
    let mut staying = pods.iter().filter(|pod| !leaving(pod)).peekable();
    staying.peek().is_some() && staying.all(|pod| has_started(pod))
}

fn has_started(pod: &DynamicObject) -> bool {
    let wanted = list(&pod.data, &["spec", "containers"]).len();
    let statuses = list(&pod.data, &["status", "containerStatuses"]);
    statuses.len() == wanted && statuses.iter().all(was_started)
}

fn was_started(status: &Value) -> bool {
    let seen = [
        ["state", "running"],
        ["state", "terminated"],
        ["lastState", "terminated"],
    ];
    seen.iter().any(|path| at(status, path).is_some())
}

/// Whether a container of the pod pauses after it has ended again and again.
pub fn paused(pod: &DynamicObject) -> bool {
    let statuses = list(&pod.data, &["status", "containerStatuses"]);
    let mut reasons = statuses
        .iter()
        .filter_map(|status| text(status, &["state", "waiting", "reason"]));
    reasons.any(|reason| reason == "CrashLoopBackOff")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(statuses: Value) -> Arc<DynamicObject> {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
            "status": {"containerStatuses": statuses},
        });
        Arc::new(serde_json::from_value(object).expect("a pod"))
    }

    #[test]
    fn all_containers_of_all_pods_count_and_an_end_is_a_beginning_too() {
        let running = json!({"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}});
        let waits = json!({"state": {"waiting": {"reason": "ImagePullBackOff"}}});
        let crashes = json!({
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1}},
        });
        let fine = pod(json!([running.clone(), crashes]));
        assert!(started(std::slice::from_ref(&fine)));
        assert!(paused(&fine));
        assert!(!paused(&pod(json!([running.clone(), waits.clone()]))));
        assert!(!started(&[]));
        assert!(!started(&[
            fine.clone(),
            pod(json!([running.clone(), waits]))
        ]));
        assert!(!started(&[pod(json!([running]))]));
        let mut gone = (*pod(json!([]))).clone();
        gone.metadata.deletion_timestamp =
            serde_json::from_value(json!("2026-01-01T00:00:00Z")).ok();
        assert!(started(&[fine, Arc::new(gone.clone())]));
        assert!(!started(&[Arc::new(gone)]));
    }
}
