//! Kinds of operators: what the recorded stages do not show.

use serde_json::{Value, json};

use super::*;
use crate::readiness::kubernetes::overtaken;

fn strimzi(kind: &str, generation: i64, spec: Value, status: Value) -> Seen {
    of(object(json!({
        "apiVersion": "kafka.strimzi.io/v1", "kind": kind,
        "metadata": {
            "name": "x", "namespace": "kafka", "generation": generation,
            "managedFields": [{"manager": "m", "operation": "Apply", "time": "2026-11-21T03:00:00Z"}],
        },
        "spec": spec, "status": status,
    })))
}

fn ready_status(observed: i64) -> Value {
    json!({"observedGeneration": observed, "conditions": [{"type": "Ready", "status": "True"}]})
}

fn not_ready(reason: &str, message: &str) -> Value {
    json!({"observedGeneration": 1, "conditions": [
        {"type": "NotReady", "status": "True", "reason": reason, "message": message},
    ]})
}

fn set(written: &str, status: Value, revisions: &[&str]) -> Arc<DynamicObject> {
    let pods: Vec<Value> = revisions
        .iter()
        .enumerate()
        .map(|(index, revision)| {
            json!({"metadata": {"name": format!("x-{index}"), "annotations": {"strimzi.io/revision": revision}}})
        })
        .collect();
    object(json!({
        "apiVersion": "core.strimzi.io/v1", "kind": "StrimziPodSet",
        "metadata": {
            "name": "x-set", "generation": 1,
            "managedFields": [{"manager": "m", "operation": "Update", "time": written}],
        },
        "spec": {"pods": pods}, "status": status,
    }))
}

fn full() -> Value {
    json!({"observedGeneration": 1, "pods": 1, "currentPods": 1, "readyPods": 1})
}

fn revised(name: &str, revision: &str, status: Value) -> Arc<DynamicObject> {
    let mut pod = (*pod(name, status)).clone();
    pod.metadata.annotations =
        Some([("strimzi.io/revision".to_owned(), revision.to_owned())].into());
    Arc::new(pod)
}

/// A Connect that is ready in every respect, long after it was written.
fn good() -> Seen {
    good_one("KafkaConnect")
}

fn good_one(kind: &str) -> Seen {
    let mut seen = strimzi(kind, 1, json!({"replicas": 1}), ready_status(1));
    seen.sets = vec![set("2026-11-21T03:00:05Z", full(), &["r1"])];
    seen.pods = vec![revised("x-0", "r1", ready())];
    // 2026-11-21T04:00:00Z
    seen.now = 1_795_233_600;
    seen
}

#[test]
fn ready_needs_sets_and_pods_of_the_newest_revision() {
    assert_eq!(state(&good()), State::Current);
    type Breaks = fn(&mut Seen);
    let broken: [(&str, Breaks); 6] = [
        ("no set", |seen| seen.sets.clear()),
        ("no pod", |seen| seen.pods.clear()),
        ("old pod", |seen| {
            seen.pods = vec![revised("x-0", "r0", ready())]
        }),
        ("unready pod", |seen| {
            seen.pods = vec![revised("x-0", "r1", json!({"phase": "Running"}))];
        }),
        ("a pod more", |seen| {
            seen.pods
                .push(revised("x-1", "r1", json!({"phase": "Running"})))
        }),
        ("set behind", |seen| {
            let status = json!({"observedGeneration": 0, "pods": 1, "currentPods": 1});
            seen.sets = vec![set("2026-11-21T03:00:05Z", status, &["r1"])];
        }),
    ];
    for (what, breaks) in broken {
        let mut seen = good();
        breaks(&mut seen);
        assert_eq!(after(600, &seen).status.state, State::InProgress, "{what}");
    }
}

#[test]
fn a_change_that_the_pods_may_have_to_follow_holds_ready_back_for_a_moment() {
    let mut seen = good_one("KafkaNodePool");
    // The set is older than the object's last change, which was a second ago.
    seen.sets = vec![set("2026-11-21T02:00:00Z", full(), &["r1"])];
    seen.now = 1_795_230_001;
    assert_eq!(after(1, &seen).status.state, State::InProgress);
    // The cluster's clock may be wrong: our own ends it too.
    assert_eq!(after(5, &seen).status.state, State::Current);
    seen.now += 5;
    assert_eq!(after(0, &seen).status.state, State::Current);
}

#[test]
fn a_broken_pod_fails_unless_the_operator_has_yet_to_replace_it() {
    let broken = || revised("x-0", "r1", waiting("ImagePullBackOff", ""));
    let mut seen = good();
    seen.object = strimzi("KafkaConnect", 2, json!({"replicas": 1}), ready_status(1)).object;
    seen.pods = vec![broken()];
    let status = after(0, &seen).status;
    assert_eq!(status.state, State::Failed, "{}", status.message);
    // Its specification was changed since.
    seen.sets = vec![set("2026-11-21T02:00:00Z", full(), &["r1"])];
    let status = after(600, &seen).status;
    assert_eq!(status.state, State::InProgress, "{}", status.message);
    assert!(
        status.message.contains("within 300 s"),
        "{}",
        status.message
    );
    // The set wants another one already.
    seen.sets = vec![set("2026-11-21T03:00:05Z", full(), &["r2"])];
    let status = after(600, &seen).status;
    assert_eq!(status.state, State::InProgress, "{}", status.message);
}

#[test]
fn refusals_of_every_kind() {
    let rest = |text: &str| format!("PUT /connectors/x/config returned {text}");
    for (reason, message, at_once, lasting) in [
        (
            "Creating",
            "Kafka cluster is being deployed".to_owned(),
            State::InProgress,
            State::InProgress,
        ),
        (
            "TimeoutException",
            "Exceeded timeout".into(),
            State::InProgress,
            State::InProgress,
        ),
        (
            "ConnectException",
            String::new(),
            State::InProgress,
            State::InProgress,
        ),
        (
            "NoSuchResourceException",
            "does not exist".into(),
            State::InProgress,
            State::InProgress,
        ),
        (
            "RuntimeException",
            "has 0 replicas.".into(),
            State::InProgress,
            State::InProgress,
        ),
        (
            "Throwable",
            "The following tasks have failed: 0".into(),
            State::InProgress,
            State::InProgress,
        ),
        (
            "InvalidConfigurationException",
            "ConfigMap m does not exist".into(),
            State::InProgress,
            State::Failed,
        ),
        (
            "InvalidConfigurationException",
            "No KafkaNodePools found for Kafka cluster x".into(),
            State::InProgress,
            State::Failed,
        ),
        (
            "InvalidConfigurationException",
            "listener names are not unique".into(),
            State::Failed,
            State::Failed,
        ),
        (
            "UnsupportedKafkaVersionException",
            "Unsupported".into(),
            State::Failed,
            State::Failed,
        ),
        (
            "ConnectRestException",
            rest("409 (409): rebalance"),
            State::InProgress,
            State::InProgress,
        ),
        (
            "ConnectRestException",
            rest("404 (404): not found"),
            State::InProgress,
            State::InProgress,
        ),
        (
            "ConnectRestException",
            rest("500 (500): Failed to retrieve Secret s"),
            State::InProgress,
            State::Failed,
        ),
        (
            "ConnectRestException",
            rest("500 (500): Failed to find any class that implements Connector"),
            State::Failed,
            State::Failed,
        ),
        (
            "ConnectRestException",
            rest(
                "400 (400): Connector configuration is invalid and contains the following 1 error(s):\nTopic prefix is empty\nYou can also find the above list",
            ),
            State::Failed,
            State::Failed,
        ),
        (
            "ConnectRestException",
            rest("400 (400): Connection to postgres:5432 refused. Check that"),
            State::InProgress,
            State::InProgress,
        ),
    ] {
        let seen = strimzi("KafkaConnector", 1, json!({}), not_ready(reason, &message));
        let (now, later) = (after(0, &seen).status, after(200, &seen).status);
        assert_eq!(now.state, at_once, "{reason} {message}");
        assert_eq!(later.state, lasting, "{reason} {message}");
    }
    let rejected = strimzi(
        "KafkaConnector",
        1,
        json!({}),
        not_ready(
            "ConnectRestException",
            &rest(
                "400 (400): Connector configuration is invalid and contains the following 1 error(s):\nTopic prefix is empty\nYou can also find the above list",
            ),
        ),
    );
    let status = after(0, &rejected).status;
    assert_eq!(
        status.message,
        "Connect rejects its configuration: Topic prefix is empty"
    );
    assert_eq!(status.evidence.len(), 3);
}

#[test]
fn a_missing_config_map_is_named() {
    let seen = strimzi(
        "KafkaConnect",
        1,
        json!({}),
        not_ready(
            "InvalidConfigurationException",
            "ConfigMap m does not exist",
        ),
    );
    let missing = after(20, &seen).missing.expect("named");
    assert_eq!(
        (
            missing.kind,
            missing.namespace.as_str(),
            missing.name.as_str()
        ),
        ("ConfigMap", "kafka", "m")
    );
}

#[test]
fn topics_say_it_in_their_own_way() {
    let status = |message: &str| {
        json!({"observedGeneration": 1, "conditions": [
            {"type": "Ready", "status": "False", "reason": "KafkaError", "message": message},
        ]})
    };
    let brokers = |count: usize| (0..count).map(|n| pod(&format!("b{n}"), ready())).collect();
    let factor = "InvalidReplicationFactorException: only 2 broker(s) are registered";
    for (message, pods, want) in [
        (factor, brokers(1), State::Failed),
        // One of three restarts.
        (factor, brokers(3), State::InProgress),
        (
            "TimeoutException: Timed out waiting for a node assignment",
            brokers(1),
            State::InProgress,
        ),
        (
            "InvalidConfigurationException: Unknown topic config name: x",
            brokers(1),
            State::Failed,
        ),
    ] {
        let mut seen = strimzi("KafkaTopic", 1, json!({"replicas": 3}), status(message));
        seen.pods = pods;
        assert_eq!(state(&seen), want, "{message}");
    }
    assert_eq!(
        state(&strimzi("KafkaTopic", 1, json!({}), ready_status(1))),
        State::Current
    );
    assert_eq!(
        state(&strimzi("KafkaUser", 1, json!({}), Value::Null)),
        State::InProgress
    );
}

/// Connect answered for a moment as if it had no such path; its operator said so for two minutes.
#[test]
fn an_old_opinion_is_asked_for_again_only_while_no_pod_is_waited_for() {
    let refused = || {
        let mut seen = good();
        let message = "GET /connector-plugins returned 404 (404): ";
        let refusal = not_ready("ConnectRestException", message);
        seen.object = strimzi("KafkaConnect", 1, json!({"replicas": 1}), refusal).object;
        seen
    };
    assert!(overtaken(&refused()));
    let mut forgotten = good();
    forgotten.object = strimzi("KafkaConnect", 2, json!({"replicas": 1}), ready_status(1)).object;
    assert!(
        overtaken(&forgotten),
        "a change that came while it was busy"
    );
    assert!(!overtaken(&good()), "it is content");

    let mut waits = refused();
    waits.pods = vec![revised("x-0", "r1", json!({"phase": "Running"}))];
    assert!(!overtaken(&waits), "a pod begins");
    waits.pods = vec![revised("x-0", "r0", ready())];
    assert!(!overtaken(&waits), "a pod is to be replaced");

    let first = strimzi("Kafka", 1, json!({}), Value::Null);
    assert!(!overtaken(&first), "it looks for the first time");
    let creating = json!({"observedGeneration": 0, "conditions": [
        {"type": "NotReady", "status": "True", "reason": "Creating", "message": "being deployed"},
    ]});
    assert!(!overtaken(&strimzi("Kafka", 1, json!({}), creating)));
    let wrong = not_ready("InvalidResourceException", "x must not be y");
    assert!(!overtaken(&strimzi("KafkaConnect", 1, json!({}), wrong)));
}

/// A node that ran out of room leaves the pods behind that it ended; others are in their place.
#[test]
fn pods_that_have_ended_do_not_count() {
    let evicted = || pod("x-gone", json!({"phase": "Failed", "reason": "Evicted"}));
    for kind in ["Kafka", "KafkaConnect"] {
        let mut seen = good_one(kind);
        seen.pods.push(evicted());
        assert_eq!(state(&seen), State::Current, "{kind}");
        seen.pods = vec![evicted()];
        assert_eq!(state(&seen), State::InProgress, "{kind}");
    }
    let installation = object(json!({
        "apiVersion": "clickhouse.altinity.com/v1", "kind": "ClickHouseInstallation",
        "metadata": {"name": "clickhouse", "namespace": "database", "generation": 1},
        "status": {"status": "Completed", "hosts": 1},
    }));
    let mut seen = of(installation);
    seen.pods = vec![evicted(), pod("chi-0", ready())];
    assert_eq!(state(&seen), State::Current);
}

#[test]
fn completed_is_not_ready() {
    let chi = |status: Value, pods: Vec<Arc<DynamicObject>>| {
        let object = object(json!({
            "apiVersion": "clickhouse.altinity.com/v1", "kind": "ClickHouseInstallation",
            "metadata": {"name": "clickhouse", "namespace": "database", "generation": 2},
            "status": status,
        }));
        Seen { pods, ..of(object) }
    };
    let running = || pod("chi-0", json!({"phase": "Running"}));
    for (status, pods, want) in [
        (Value::Null, vec![], State::InProgress),
        (
            json!({"status": "InProgress", "hosts": 1}),
            vec![running()],
            State::InProgress,
        ),
        (
            json!({"status": "Completed", "hosts": 1}),
            vec![running()],
            State::InProgress,
        ),
        (
            json!({"status": "Completed", "hosts": 1}),
            vec![],
            State::InProgress,
        ),
        (
            json!({"status": "Completed"}),
            vec![pod("chi-0", ready())],
            State::InProgress,
        ),
        (
            json!({"status": "Completed", "hosts": 2}),
            vec![pod("chi-0", ready())],
            State::InProgress,
        ),
        (
            json!({"status": "Completed", "hosts": 1, "generation": 1}),
            vec![pod("chi-0", ready())],
            State::InProgress,
        ),
        (
            json!({"status": "Completed", "hosts": 1, "generation": 2}),
            vec![pod("chi-0", ready())],
            State::Current,
        ),
        (
            json!({"status": "Aborted", "error": "host failed"}),
            vec![],
            State::Failed,
        ),
        (
            json!({"status": "InProgress", "hosts": 1}),
            vec![pod("chi-0", waiting("ImagePullBackOff", ""))],
            State::Failed,
        ),
    ] {
        assert_eq!(state(&chi(status.clone(), pods)), want, "{status}");
    }
}

#[test]
fn a_healthy_cluster_has_all_its_instances() {
    let cluster = |phase: &str, count: i64, pods: Vec<Arc<DynamicObject>>| {
        let object = object(json!({
            "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster",
            "metadata": {"name": "pg", "namespace": "database", "generation": 1},
            "spec": {"instances": 2},
            "status": {"phase": phase, "phaseReason": "why", "readyInstances": count},
        }));
        Seen { pods, ..of(object) }
    };
    let both = || vec![pod("pg-1", ready()), pod("pg-2", ready())];
    let healthy = "Cluster in healthy state";
    let job = || pod("pg-1-initdb", json!({"phase": "Succeeded"}));
    for (phase, count, pods, want) in [
        ("", 0, vec![], State::InProgress),
        ("Setting up primary", 0, vec![], State::InProgress),
        ("Applying configuration", 2, both(), State::InProgress),
        (healthy, 1, both(), State::InProgress),
        (healthy, 2, vec![pod("pg-1", ready())], State::InProgress),
        (healthy, 2, both(), State::Current),
        (healthy, 2, [both(), vec![job()]].concat(), State::Current),
        (
            "Cluster is in an unrecoverable state, needs manual intervention",
            0,
            vec![],
            State::Failed,
        ),
    ] {
        let status = after(0, &cluster(phase, count, pods)).status;
        assert_eq!(status.state, want, "{phase}: {}", status.message);
    }
}
