//! Whether an operator is at work.
//!
//! Strimzi's pods elect a leader by a Lease, which a pod gives up when it ends. That its Deployment is
//! available says something else: its probe begins after 10 s and looks every 30 s, while the pod leads
//! 4 s after its start.

use std::sync::Arc;

use kube::core::DynamicObject;

use super::fields::{leaving, list, name, number, observed, text, time};
use super::pods::ready;
use super::workload::newest_pods;
use crate::readiness::Status;

/// Whether one of these pods leads, of the newest template of the operator's Deployment. Without a lease,
/// which an operator that runs alone may go without, one that is ready does.
pub fn leads(
    operator: &DynamicObject,
    lease: Option<&DynamicObject>,
    pods: &[Arc<DynamicObject>],
) -> Status {
    let count = |path: &[&str]| number(&operator.data, path);
    let wanted = count(&["spec", "replicas"]).unwrap_or(1);
    let updated = count(&["status", "updatedReplicas"]).unwrap_or_default();
    if !observed(operator) || updated < wanted {
        return Status::in_progress(format!("{updated} of {wanted} pods updated"));
    }
    let newest = newest_pods(pods).into_iter();
    let mut staying = newest.filter(|pod| !leaving(pod)).peekable();
    if staying.peek().is_none() {
        return Status::in_progress("the operator has no pod");
    }
    let Some(lease) = lease else {
        return match staying.find(|pod| ready(pod)) {
            Some(pod) => Status::current(format!("{} is ready", name(pod))),
            None => Status::in_progress("the operator's pod is not ready"),
        };
    };
    let holder = text(&lease.data, &["spec", "holderIdentity"]).unwrap_or_default();
    if holder.is_empty() {
        return Status::in_progress("no pod of the operator leads yet");
    }
    match staying.find(|pod| name(pod) == holder) {
        Some(pod) if renewed_by(pod, lease) => Status::current(format!("{holder} leads")),
        // After a node's restart it is the same pod.
        Some(_) => Status::in_progress(format!("{holder} led before it was started again")),
        None => Status::in_progress(format!("{holder} still has the lease, and leaves")),
    }
}

/// Whether the pod's containers run since before the lease was last renewed. Both times are of one
/// node.
fn renewed_by(pod: &DynamicObject, lease: &DynamicObject) -> bool {
    let renewed = time(&lease.data, &["spec", "renewTime"]);
    let containers = list(&pod.data, &["status", "containerStatuses"]);
    !containers.is_empty()
        && containers.iter().all(|container| {
            let since = time(container, &["state", "running", "startedAt"]);
            since.is_some_and(|since| renewed.is_some_and(|renewed| since <= renewed))
        })
}

/// Whether the last operator that was done with a Kafka was of another version than the one that is
/// installed: that one has yet to look, and replaces pods where it makes them otherwise.
pub fn seen_by_another(kafka: &DynamicObject, operator: &DynamicObject) -> Option<Status> {
    let before = text(&kafka.data, &["status", "operatorLastSuccessfulVersion"])?;
    let template = ["spec", "template", "spec", "containers"];
    let image = text(list(&operator.data, &template).first()?, &["image"])?;
    let (_, now) = image.split('@').next()?.rsplit_once(':')?;
    let versions = [before, now].map(|it| it.split('.').all(|part| part.parse::<u32>().is_ok()));
    (versions == [true, true] && before != now).then(|| {
        Status::in_progress(format!(
            "the operator {now} has not looked at it yet, {before} was the last"
        ))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::readiness::State;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).expect("an object")
    }

    fn pod(name: &str, state: Value, leaves: bool) -> Arc<DynamicObject> {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
            "status": { "containerStatuses": [{ "name": "c", "ready": false, "state": state }] },
        });
        if leaves {
            pod["metadata"]["deletionTimestamp"] = json!("2026-11-29T11:36:57Z");
        }
        Arc::new(object(pod))
    }

    fn running(since: &str) -> Value {
        json!({ "running": { "startedAt": since } })
    }

    fn lease(holder: &str, renewed: &str) -> DynamicObject {
        object(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": "strimzi-cluster-operator" },
            "spec": { "holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15 },
        }))
    }

    /// Its Deployment, with so many pods of its newest template.
    fn operator(updated: i64) -> DynamicObject {
        object(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "generation": 2 },
            "status": { "observedGeneration": 2, "updatedReplicas": updated },
        }))
    }

    #[test]
    fn an_operator_that_is_rolled_does_not_lead_by_its_old_pod() {
        let lease = lease("old", "2026-11-29T11:36:56.5Z");
        let made = |name: &str, hash: &str, at: &str| {
            let mut pod = (*pod(name, running(at), false)).clone();
            pod.metadata.labels = Some([("pod-template-hash".into(), hash.into())].into());
            pod.metadata.creation_timestamp = serde_json::from_value(json!(at)).ok();
            Arc::new(pod)
        };
        let old = made("old", "1", "2026-11-29T11:33:53Z");
        let new = made("new", "2", "2026-11-29T11:36:26Z");
        let state = |updated, pods: &[_]| leads(&operator(updated), Some(&lease), pods).state;
        assert_eq!(state(0, std::slice::from_ref(&old)), State::InProgress);
        assert_eq!(state(1, &[old.clone(), new]), State::InProgress);
        assert_eq!(state(1, &[old]), State::Current);
    }

    #[test]
    fn an_operator_is_back_when_it_leads_and_not_when_its_lease_is_of_before() {
        // The times of the recorded restart of a node, 11:50:29, and of the operator, 11:36:57.
        let state = |lease: &DynamicObject, pods: &[Arc<DynamicObject>]| {
            let status = leads(&operator(1), Some(lease), pods);
            (status.state == State::Current, status.message)
        };
        let new = || pod("new", running("2026-11-29T11:36:26Z"), false);
        let old = |leaves| pod("old", running("2026-11-29T11:33:53Z"), leaves);
        let of_old = lease("old", "2026-11-29T11:36:56.512345Z");
        assert!(state(&of_old, &[old(false)]).0);
        assert!(!state(&of_old, &[old(true), new()]).0);
        assert!(!state(&of_old, &[new()]).0);
        assert!(!state(&lease("", "2026-11-29T11:36:57.1Z"), &[new()]).0);
        assert_eq!(
            state(&lease("new", "2026-11-29T11:37:02.2Z"), &[old(true), new()]),
            (true, "new leads".into())
        );
        assert!(!state(&lease("new", "2026-11-29T11:37:02.2Z"), &[]).0);
        let again = pod("same", running("2026-11-29T11:50:55Z"), false);
        let before = lease("same", "2026-11-29T11:50:28.9Z");
        assert_eq!(
            state(&before, std::slice::from_ref(&again)),
            (false, "same led before it was started again".into())
        );
        assert!(state(&lease("same", "2026-11-29T11:50:59.0Z"), &[again]).0);
        let ended =
            json!({ "terminated": { "exitCode": 255, "finishedAt": "2026-11-29T11:50:29Z" } });
        assert!(!state(&before, &[pod("same", ended, false)]).0);
    }

    #[test]
    fn without_a_lease_a_pod_that_is_ready_is_at_work() {
        let pod = |ready: &str| {
            Arc::new(object(json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" },
                "status": { "conditions": [{ "type": "Ready", "status": ready }] },
            })))
        };
        assert_eq!(leads(&operator(1), None, &[]).state, State::InProgress);
        assert_eq!(
            leads(&operator(1), None, &[pod("False")]).state,
            State::InProgress
        );
        assert_eq!(
            leads(&operator(1), None, &[pod("True")]).state,
            State::Current
        );
    }

    #[test]
    fn an_operator_of_another_version_has_yet_to_look() {
        let seen = |before: Value, image: &str| {
            let status = json!({ "operatorLastSuccessfulVersion": before });
            let kafka = json!({
                "apiVersion": "kafka.strimzi.io/v1", "kind": "Kafka", "metadata": {},
                "status": status,
            });
            let containers = json!([{ "name": "strimzi-cluster-operator", "image": image }]);
            let deployment = json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {},
                "spec": { "template": { "spec": { "containers": containers } } },
            });
            seen_by_another(&object(kafka), &object(deployment)).map(|it| it.message)
        };
        let quay = "quay.io/strimzi/operator:1.2.0";
        assert_eq!(seen(json!("1.2.0"), quay), None);
        assert_eq!(seen(json!(null), quay), None);
        assert_eq!(
            seen(json!("0.50.1"), quay).as_deref(),
            Some("the operator 1.2.0 has not looked at it yet, 0.50.1 was the last")
        );
        assert!(seen(json!("0.50.1"), "localhost:5000/o:1.2.0@sha256:0").is_some());
        // Nothing that tells a version.
        assert_eq!(seen(json!("0.50.1"), "localhost:5000/operator:mine"), None);
        assert_eq!(seen(json!("0.50.1"), "localhost/operator"), None);
    }
}
