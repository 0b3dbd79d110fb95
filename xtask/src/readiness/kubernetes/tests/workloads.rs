//! Kubernetes' own kinds.

use serde_json::{Value, json};

use super::*;

fn workload(version: &str, kind: &str, generation: i64, spec: Value, status: Value) -> Seen {
    of(object(json!({
        "apiVersion": version, "kind": kind,
        "metadata": {"name": "w", "namespace": "db", "uid": "uid-w", "generation": generation},
        "spec": spec, "status": status,
    })))
}

fn deployment(generation: i64, status: Value) -> Seen {
    workload(
        "apps/v1",
        "Deployment",
        generation,
        json!({"replicas": 2}),
        status,
    )
}

fn stateful_set(generation: i64, status: Value) -> Seen {
    workload(
        "apps/v1",
        "StatefulSet",
        generation,
        json!({"replicas": 2}),
        status,
    )
}

#[test]
fn deployments_in_every_stage() {
    let all = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2});
    let with = |key: &str, value: Value| {
        let mut status = all.clone();
        status[key] = value;
        status
    };
    for (status, want, says) in [
        (Value::Null, State::InProgress, "newest specification"),
        (
            with("observedGeneration", json!(1)),
            State::InProgress,
            "newest specification",
        ),
        (
            with("updatedReplicas", json!(1)),
            State::InProgress,
            "1 of 2 pods updated",
        ),
        (
            with("replicas", json!(3)),
            State::InProgress,
            "1 pods of the old template",
        ),
        (
            with("readyReplicas", json!(1)),
            State::InProgress,
            "1 of 2 pods ready",
        ),
        (
            with("availableReplicas", json!(0)),
            State::InProgress,
            "0 of 2 pods ready",
        ),
        (
            with(
                "conditions",
                json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out progressing"}]),
            ),
            State::Failed,
            "timed out progressing",
        ),
        (all.clone(), State::Current, "2 of 2 pods ready"),
    ] {
        let verdict = after(0, &deployment(2, status.clone()));
        assert_eq!(verdict.status.state, want, "{status}");
        assert!(
            verdict.status.message.contains(says),
            "{}",
            verdict.status.message
        );
    }
}

#[test]
fn refused_pods_fail_a_deployment_after_a_grace() {
    let status = json!({"observedGeneration": 1, "conditions": [
        {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods"},
    ]});
    let seen = deployment(1, status);
    assert_eq!(after(0, &seen).status.state, State::InProgress);
    let later = after(10, &seen).status;
    assert_eq!(later.state, State::Failed);
    assert!(
        later.message.contains("exceeded quota"),
        "{}",
        later.message
    );
}

#[test]
fn a_broken_pod_of_the_old_template_does_not_fail_a_roll() {
    let mut seen = deployment(
        2,
        json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1}),
    );
    let make = |name: &str, hash: &str, created: &str, status: Value| {
        let mut pod = (*pod(name, status)).clone();
        pod.metadata.labels = Some([("pod-template-hash".to_owned(), hash.to_owned())].into());
        pod.metadata.creation_timestamp =
            Some(serde_json::from_value(json!(created)).expect("a time"));
        Arc::new(pod)
    };
    let broken = || waiting("ImagePullBackOff", "Back-off");
    seen.pods = vec![
        make("old", "aaa", "2026-11-21T03:00:00Z", broken()),
        make(
            "new",
            "bbb",
            "2026-11-21T04:00:00Z",
            waiting("ContainerCreating", ""),
        ),
    ];
    assert_eq!(after(60, &seen).status.state, State::InProgress);
    seen.pods[1] = make("new", "bbb", "2026-11-21T04:00:00Z", broken());
    let status = after(0, &seen).status;
    assert_eq!(status.state, State::Failed);
    assert!(status.message.starts_with("pod new:"), "{}", status.message);
}

#[test]
fn stateful_sets_in_every_stage() {
    let all = json!({
        "observedGeneration": 1, "replicas": 2, "readyReplicas": 2, "updatedReplicas": 2,
        "currentRevision": "a", "updateRevision": "b",
    });
    let with = |key: &str, value: Value| {
        let mut status = all.clone();
        status[key] = value;
        status
    };
    for (status, want, says) in [
        (
            with("observedGeneration", json!(0)),
            State::InProgress,
            "newest specification",
        ),
        (
            with("readyReplicas", json!(1)),
            State::InProgress,
            "1 of 2 pods ready",
        ),
        (
            with("updatedReplicas", json!(1)),
            State::InProgress,
            "1 of 2 pods updated",
        ),
        (
            with("replicas", json!(3)),
            State::InProgress,
            "1 pods are to go",
        ),
        (
            with("availableReplicas", json!(1)),
            State::InProgress,
            "1 of 2 pods ready",
        ),
        (all.clone(), State::Current, "2 of 2 pods ready"),
        // A finished roll of an older Kubernetes.
        (
            json!({"observedGeneration": 1, "replicas": 2, "readyReplicas": 2, "currentRevision": "b", "updateRevision": "b"}),
            State::Current,
            "2 of 2",
        ),
    ] {
        let verdict = after(0, &stateful_set(1, status.clone()));
        assert_eq!(verdict.status.state, want, "{status}");
        assert!(
            verdict.status.message.contains(says),
            "{}",
            verdict.status.message
        );
    }
}

#[test]
fn a_stateful_set_waits_forever_for_a_broken_pod_of_its_old_template() {
    let mut seen = stateful_set(
        2,
        json!({"observedGeneration": 2, "replicas": 1, "updateRevision": "new"}),
    );
    let mut old = (*pod("w-0", waiting("ImagePullBackOff", ""))).clone();
    old.metadata.labels = Some([("controller-revision-hash".to_owned(), "old".to_owned())].into());
    seen.pods = vec![Arc::new(old)];
    let status = after(0, &seen).status;
    assert_eq!(status.state, State::Failed);
    assert!(
        status.message.contains("not replaced before it is deleted"),
        "{}",
        status.message
    );
}

#[test]
fn a_pod_that_is_not_ready_says_why() {
    let mut seen = stateful_set(
        1,
        json!({"observedGeneration": 1, "replicas": 2, "readyReplicas": 0, "updateRevision": "a"}),
    );
    seen.pods = vec![pod("w-0", json!({"phase": "Running"}))];
    seen.events = vec![event(
        "w-0",
        "Unhealthy",
        "Readiness probe failed: no response",
    )];
    let status = after(0, &seen).status;
    assert_eq!(
        status.message,
        "0 of 2 pods ready; pod w-0: Readiness probe failed: no response"
    );
}

#[test]
fn the_other_kinds() {
    let condition = |kind: &str, status: &str, reason: &str| json!({"conditions": [{"type": kind, "status": status, "reason": reason, "message": "said"}]});
    for (version, kind, spec, status, want) in [
        ("batch/v1", "Job", json!({}), json!({}), State::InProgress),
        (
            "batch/v1",
            "Job",
            json!({}),
            json!({"failed": 1}),
            State::InProgress,
        ),
        (
            "batch/v1",
            "Job",
            json!({}),
            condition("Complete", "True", ""),
            State::Current,
        ),
        (
            "batch/v1",
            "Job",
            json!({}),
            condition("Failed", "True", "BackoffLimitExceeded"),
            State::Failed,
        ),
        (
            "v1",
            "PersistentVolumeClaim",
            json!({}),
            json!({"phase": "Pending"}),
            State::InProgress,
        ),
        (
            "v1",
            "PersistentVolumeClaim",
            json!({}),
            json!({"phase": "Bound"}),
            State::Current,
        ),
        (
            "v1",
            "PersistentVolumeClaim",
            json!({}),
            json!({"phase": "Lost"}),
            State::Failed,
        ),
        (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({}),
            json!({}),
            State::InProgress,
        ),
        (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({}),
            condition("Established", "True", ""),
            State::Current,
        ),
        (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({}),
            condition("NamesAccepted", "False", "NamesConflict"),
            State::Failed,
        ),
        (
            "v1",
            "Namespace",
            json!({}),
            json!({"phase": "Active"}),
            State::Current,
        ),
        (
            "v1",
            "Namespace",
            json!({}),
            json!({"phase": "Terminating"}),
            State::InProgress,
        ),
        (
            "v1",
            "Service",
            json!({"type": "ClusterIP"}),
            json!({}),
            State::Current,
        ),
        (
            "v1",
            "Service",
            json!({"type": "LoadBalancer"}),
            json!({}),
            State::InProgress,
        ),
        (
            "v1",
            "Service",
            json!({"type": "LoadBalancer"}),
            json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}),
            State::Current,
        ),
        ("v1", "Secret", json!({}), Value::Null, State::Current),
        (
            "x.io/v1",
            "Unheard",
            json!({}),
            condition("Ready", "False", ""),
            State::InProgress,
        ),
        (
            "x.io/v1",
            "Unheard",
            json!({}),
            json!({"observedGeneration": 0}),
            State::InProgress,
        ),
        (
            "x.io/v1",
            "Unheard",
            json!({}),
            condition("Ready", "True", ""),
            State::Current,
        ),
    ] {
        let verdict = after(0, &workload(version, kind, 1, spec, status.clone()));
        assert_eq!(
            verdict.status.state, want,
            "{kind} {status}: {}",
            verdict.status.message
        );
    }
    assert_eq!(state(&Seen::default()), State::NotFound);
}
