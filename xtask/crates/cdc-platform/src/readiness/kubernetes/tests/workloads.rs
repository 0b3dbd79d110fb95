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

/// What a status with all pods as wanted and one field changed is: on its way, and says why.
fn on_its_way(
    workload: fn(i64, Value) -> Seen,
    generation: i64,
    all: &Value,
    rows: &[(&str, i64, &str)],
) {
    for (key, value, says) in rows {
        let mut status = all.clone();
        status[*key] = json!(value);
        is(&workload(generation, status), State::InProgress, says);
    }
}

fn is(seen: &Seen, want: State, says: &str) {
    let status = after(0, seen).status;
    assert_eq!(status.state, want, "{}", status.message);
    assert!(status.message.contains(says), "{}", status.message);
}

#[test]
fn deployments_in_every_stage() {
    let all = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2});
    let rows = [
        ("observedGeneration", 1, "newest specification"),
        ("updatedReplicas", 1, "1 of 2 pods updated"),
        ("replicas", 3, "1 pods of the old template"),
        ("readyReplicas", 1, "1 of 2 pods ready"),
        ("availableReplicas", 0, "0 of 2 pods ready"),
    ];
    on_its_way(deployment, 2, &all, &rows);
    let null = deployment(2, Value::Null);
    is(&null, State::InProgress, "newest specification");
    is(
        &deployment(2, all.clone()),
        State::Current,
        "2 of 2 pods ready",
    );
    let mut late = all;
    late["conditions"] = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out progressing"}]);
    is(&deployment(2, late), State::Failed, "timed out progressing");
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
    let rows = [
        ("observedGeneration", 0, "newest specification"),
        ("readyReplicas", 1, "1 of 2 pods ready"),
        ("updatedReplicas", 1, "1 of 2 pods updated"),
        ("replicas", 3, "1 pods are to go"),
        ("availableReplicas", 1, "1 of 2 pods ready"),
    ];
    on_its_way(stateful_set, 1, &all, &rows);
    is(&stateful_set(1, all), State::Current, "2 of 2 pods ready");
    // A finished roll of an older Kubernetes.
    let rolled = json!({"observedGeneration": 1, "replicas": 2, "readyReplicas": 2, "currentRevision": "b", "updateRevision": "b"});
    is(&stateful_set(1, rolled), State::Current, "2 of 2");
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
    let (none, going, there, broken) =
        (json!({}), State::InProgress, State::Current, State::Failed);
    let phase = |phase: &str| json!({ "phase": phase });
    let crd = "apiextensions.k8s.io/v1 CustomResourceDefinition";
    let exceeded = condition("Failed", "True", "BackoffLimitExceeded");
    let taken = condition("NamesAccepted", "False", "NamesConflict");
    for (kind, status, want) in [
        ("batch/v1 Job", none.clone(), going),
        ("batch/v1 Job", json!({"failed": 1}), going),
        ("batch/v1 Job", condition("Complete", "True", ""), there),
        ("batch/v1 Job", exceeded, broken),
        ("v1 PersistentVolumeClaim", phase("Pending"), going),
        ("v1 PersistentVolumeClaim", phase("Bound"), there),
        ("v1 PersistentVolumeClaim", phase("Lost"), broken),
        (crd, none.clone(), going),
        (crd, condition("Established", "True", ""), there),
        (crd, taken, broken),
        ("v1 Namespace", phase("Active"), there),
        ("v1 Namespace", phase("Terminating"), going),
        ("v1 Secret", Value::Null, there),
        ("x.io/v1 Unheard", condition("Ready", "False", ""), going),
        ("x.io/v1 Unheard", json!({"observedGeneration": 0}), going),
        ("x.io/v1 Unheard", condition("Ready", "True", ""), there),
    ] {
        let (version, kind) = kind.split_once(' ').expect("a version and a kind");
        is(&workload(version, kind, 1, none.clone(), status), want, "");
    }
    let service =
        |kind: &str, status: Value| workload("v1", "Service", 1, json!({"type": kind}), status);
    let address = json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}});
    is(&service("ClusterIP", none.clone()), there, "");
    is(&service("LoadBalancer", none), going, "");
    is(&service("LoadBalancer", address), there, "");
    assert_eq!(state(&Seen::default()), State::NotFound);
}
