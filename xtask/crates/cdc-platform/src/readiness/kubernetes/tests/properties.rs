//! Whatever a cluster says: no panic, and never current for a specification that was not seen.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const KINDS: [(&str, &str); 16] = [
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
    ("v1", "Pod"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Service"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("kafka.strimzi.io/v1", "Kafka"),
    ("kafka.strimzi.io/v1", "KafkaNodePool"),
    ("kafka.strimzi.io/v1", "KafkaConnect"),
    ("kafka.strimzi.io/v1", "KafkaConnector"),
    ("kafka.strimzi.io/v1", "KafkaTopic"),
    ("kafka.strimzi.io/v1", "KafkaUser"),
    ("clickhouse.altinity.com/v1", "ClickHouseInstallation"),
    ("postgresql.cnpg.io/v1", "Cluster"),
];

/// Kinds whose status has the generation that it is about.
const OBSERVING: [&str; 9] = [
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "Kafka",
    "KafkaNodePool",
    "KafkaConnect",
    "KafkaConnector",
    "KafkaTopic",
    "KafkaUser",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("True".to_owned()),
        Just("False".to_owned()),
        Just("Ready".to_owned()),
        Just("NotReady".to_owned()),
        Just("Running".to_owned()),
        Just("Pending".to_owned()),
        Just("Completed".to_owned()),
        Just("CrashLoopBackOff".to_owned()),
        Just("ConnectRestException".to_owned()),
        Just("x returned 400 (400): é".to_owned()),
        Just("secret \"a\" not found".to_owned()),
        Just("2026-11-21T03:00:00Z".to_owned()),
        ".{0,12}",
    ]
}

/// JSON with the keys that the evaluators look for.
fn anything() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("conditions".to_owned()),
        Just("type".to_owned()),
        Just("status".to_owned()),
        Just("reason".to_owned()),
        Just("message".to_owned()),
        Just("phase".to_owned()),
        Just("containerStatuses".to_owned()),
        Just("state".to_owned()),
        Just("waiting".to_owned()),
        Just("terminated".to_owned()),
        Just("observedGeneration".to_owned()),
        Just("replicas".to_owned()),
        Just("readyReplicas".to_owned()),
        Just("pods".to_owned()),
        Just("metadata".to_owned()),
        Just("hosts".to_owned()),
        "[a-z]{0,4}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(|it| json!(it)),
        prop_oneof![-3i64..5, any::<i64>()].prop_map(|it| json!(it)),
        word().prop_map(|it| json!(it)),
    ];
    leaf.prop_recursive(5, 48, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::vec((key.clone(), inner), 0..5)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn made(
    kind: (&str, &str),
    name: &str,
    generation: i64,
    spec: Value,
    status: Value,
) -> Arc<DynamicObject> {
    object(json!({
        "apiVersion": kind.0, "kind": kind.1,
        "metadata": {"name": name, "namespace": "n", "uid": name, "generation": generation},
        "spec": spec, "status": status, "reason": "FailedMount", "involvedObject": {"uid": name},
    }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_that_a_cluster_says_is_too_odd(
        kind in proptest::sample::select(&KINDS[..]),
        spec in anything(), status in anything(), pods in proptest::collection::vec(anything(), 0..3),
        event in anything(), later in 0u64..1000,
    ) {
        let pods: Vec<_> = pods
            .into_iter()
            .enumerate()
            .map(|(n, status)| made(("v1", "Pod"), &format!("p{n}"), 1, spec.clone(), status))
            .collect();
        let seen = Seen {
            object: Some(made(kind, "x", 1, spec.clone(), status.clone())),
            sets: vec![made(("core.strimzi.io/v1", "StrimziPodSet"), "s", 1, spec.clone(), status.clone())],
            pools: vec![made(("kafka.strimzi.io/v1", "KafkaNodePool"), "k", 1, spec, status)],
            events: vec![made(("v1", "Event"), "p0", 1, event.clone(), event)],
            brokers: pods.clone(),
            claims: pods.clone(),
            pods,
            now: i64::try_from(later).unwrap_or_default(),
        };
        let verdict = after(later, &seen);
        prop_assert!(!verdict.status.message.is_empty());
        if let Some(object) = &seen.object {
            let _ = super::super::pods_of(object);
        }
    }

    #[test]
    fn an_unseen_specification_is_never_current(
        kind in proptest::sample::select(&KINDS[..]),
        generation in 2i64..9, behind in 1i64..9, conditions in proptest::sample::select(vec!["Ready", "Available"]),
        count in 0i64..4, later in 0u64..1000,
    ) {
        prop_assume!(OBSERVING.contains(&kind.1));
        let status = json!({
            "observedGeneration": generation - behind,
            "conditions": [{"type": conditions, "status": "True"}],
            "replicas": count, "readyReplicas": count, "updatedReplicas": count,
            "availableReplicas": count, "numberReady": count, "desiredNumberScheduled": count,
        });
        let seen = of(made(kind, "x", generation, json!({"replicas": count}), status));
        prop_assert_ne!(after(later, &seen).status.state, State::Current);
    }

    #[test]
    fn an_object_that_leaves_is_never_current(
        kind in proptest::sample::select(&KINDS[..]), status in anything(),
    ) {
        let mut leaving = (*made(kind, "x", 1, json!({}), status)).clone();
        leaving.metadata.deletion_timestamp =
            serde_json::from_value(json!("2026-11-21T03:00:00Z")).expect("a time");
        prop_assert_eq!(state(&of(Arc::new(leaving))), State::InProgress);
    }
}
