//! What was recorded from a real operator.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::object;

/// What was collected: `CDC_TEST_CAPTURES`, or beside the repository.
pub(super) fn data() -> PathBuf {
    std::env::var_os("CDC_TEST_CAPTURES").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../../../shared/data"
            ))
        },
        PathBuf::from,
    )
}

/// What was recorded from one version of the operator, on one day.
#[derive(Clone, Copy)]
pub(super) struct Capture {
    folder: &'static str,
    midnight: &'static str,
}

pub(super) const V0_50: Capture = Capture {
    folder: "captures/strimzi-0.50.1",
    midnight: "2026-11-21T00:00:00Z",
};

pub(super) const V1_2: Capture = Capture {
    folder: "captures/strimzi-1.2.0",
    midnight: "2026-11-29T00:00:00Z",
};

impl Capture {
    /// The recorded statuses.
    pub(super) fn folder(self) -> PathBuf {
        data().join(self.folder)
    }

    /// Seconds since 1970 of a millisecond of the recorded day.
    pub(super) fn epoch(self, ms: u64) -> i64 {
        let midnight: jiff::Timestamp = self.midnight.parse().expect("a time");
        midnight.as_second() + (ms / 1000) as i64
    }
}

/// Milliseconds of the recorded day.
pub(super) fn ms(text: &str) -> u64 {
    let clock = text.split_once('T').map_or(text, |(_, clock)| clock);
    let clock = clock.trim_end_matches('Z');
    let mut parts = clock.split(':');
    let mut next = || {
        parts
            .next()
            .and_then(|part| part.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    ((next() * 3600.0 + next() * 60.0 + next()) * 1000.0).round() as u64
}

pub(super) struct Recorded {
    pub(super) at: u64,
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) deleted: bool,
    pub(super) object: Arc<DynamicObject>,
}

pub(super) const KINDS: [(&str, &str, &str); 7] = [
    ("watch-kafka.jsonl", "kafka.strimzi.io/v1", "Kafka"),
    (
        "watch-kafkanodepool.jsonl",
        "kafka.strimzi.io/v1",
        "KafkaNodePool",
    ),
    (
        "watch-kafkaconnect.jsonl",
        "kafka.strimzi.io/v1",
        "KafkaConnect",
    ),
    (
        "watch-kafkaconnector.jsonl",
        "kafka.strimzi.io/v1",
        "KafkaConnector",
    ),
    (
        "watch-kafkatopic.jsonl",
        "kafka.strimzi.io/v1",
        "KafkaTopic",
    ),
    (
        "watch-strimzipodset.jsonl",
        "core.strimzi.io/v1",
        "StrimziPodSet",
    ),
    ("watch-pods.jsonl", "v1", "Pod"),
];

/// The labels that the operator gives, where they were not recorded.
pub(super) fn labels(kind: &str, name: &str) -> Value {
    let connect = name.rsplit_once("-connect-").map(|(cluster, _)| cluster);
    match kind {
        "KafkaNodePool" if name == "oldpool" => json!({"strimzi.io/cluster": "oldk"}),
        "KafkaNodePool" | "KafkaTopic" => json!({"strimzi.io/cluster": "my-cluster"}),
        "Pod" | "StrimziPodSet" if name.starts_with("my-cluster-my-pool") => json!({
            "strimzi.io/cluster": "my-cluster", "strimzi.io/kind": "Kafka",
            "strimzi.io/pool-name": "my-pool", "strimzi.io/broker-role": "true",
        }),
        "Pod" if name.starts_with("my-cluster-entity-operator") => {
            json!({"strimzi.io/cluster": "my-cluster", "strimzi.io/kind": "Kafka"})
        }
        "Pod" => connect.map_or(
            json!({}),
            |cluster| json!({"strimzi.io/cluster": cluster, "strimzi.io/kind": "KafkaConnect"}),
        ),
        "StrimziPodSet" => json!({
            "strimzi.io/cluster": name.strip_suffix("-connect"), "strimzi.io/kind": "KafkaConnect",
        }),
        _ => json!({}),
    }
}

/// A pod's status. Of the older capture its conditions and the names of its containers are missing.
fn pod_status(event: &Value) -> Value {
    if event["full"].is_object() {
        return event["full"].clone();
    }
    let recorded = &event["status"];
    let list = |key: &str| recorded[key].as_array().cloned().unwrap_or_default();
    let ready = list("ready");
    let all = !ready.is_empty() && ready.iter().all(|it| it == &json!(true));
    let containers: Vec<Value> = list("state")
        .into_iter()
        .zip(ready)
        .zip(list("restarts"))
        .enumerate()
        .map(|(index, ((state, ready), restarts))| {
            json!({
                "name": format!("c{index}"), "image": "my-final-connect:9.9",
                "ready": ready, "restartCount": restarts, "state": state,
            })
        })
        .collect();
    json!({
        "phase": recorded["phase"],
        "conditions": [{"type": "Ready", "status": if all { "True" } else { "False" }}],
        "containerStatuses": containers,
    })
}

/// All events in the order of their time.
pub(super) fn recorded(capture: Capture) -> Vec<Recorded> {
    let mut raw: Vec<(u64, &str, &'static str, Value)> = Vec::new();
    for (file, version, kind) in KINDS {
        let path = capture.folder().join(file);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).expect("a line");
            raw.push((
                ms(value["t"].as_str().expect("a time")),
                version,
                kind,
                value,
            ));
        }
    }
    raw.sort_by_key(|(at, ..)| *at);
    // The revision that a set of pods wants: that of the next pod of it that comes.
    let pods: Vec<(u64, String, Value)> = raw
        .iter()
        .filter(|(_, _, kind, value)| *kind == "Pod" && value["type"] == "ADDED")
        .map(|(at, _, _, value)| {
            let name = value["name"].as_str().unwrap_or_default().to_owned();
            (
                *at,
                name,
                value["annotations"]["strimzi.io/revision"].clone(),
            )
        })
        .collect();
    let revision = |pod: &str, since: u64| -> Value {
        let of_it = || pods.iter().filter(|(_, name, _)| name == pod);
        let next = of_it().find(|(at, ..)| *at >= since);
        let last = || of_it().rfind(|(at, ..)| *at < since);
        next.or_else(last).map_or(Value::Null, |it| it.2.clone())
    };
    // When an object's specification was last written: at its last change of generation.
    let mut written: BTreeMap<(&str, String), (i64, u64)> = BTreeMap::new();
    let begin = raw.first().map_or(0, |(at, ..)| *at);
    raw.iter()
        .map(|(at, version, kind, value)| {
            let name = value["name"].as_str().expect("a name").to_owned();
            let generation = value["generation"].as_i64().unwrap_or_default();
            let key = (*kind, name.clone());
            // Those of the first seconds had been there before.
            let since = if *at < begin + 200 { begin - 600_000 } else { *at };
            let entry = written.entry(key.clone()).or_insert((generation, since));
            if entry.0 != generation || value["type"] == "ADDED" {
                *entry = (generation, since);
            }
            let since = entry.1;
            let time = jiff::Timestamp::from_second(capture.epoch(since)).expect("a time");
            let status = match *kind {
                "Pod" => pod_status(value),
                _ => value["status"].clone(),
            };
            let spec = match (*kind, name.as_str()) {
                ("KafkaTopic", "rf3") => json!({"replicas": 3}),
                ("StrimziPodSet", _) => {
                    let count = value["status"]["pods"].as_i64().unwrap_or(1);
                    let pods: Vec<Value> = (0..count)
                        .map(|index| {
                            let pod = format!("{name}-{index}");
                            let wanted = revision(&pod, since);
                            json!({"metadata": {"name": pod, "annotations": {"strimzi.io/revision": wanted}}})
                        })
                        .collect();
                    json!({"pods": pods})
                }
                _ => json!({}),
            };
            let made = json!({
                "apiVersion": version, "kind": kind,
                "metadata": {
                    "name": name, "namespace": "kafka", "generation": generation,
                    "uid": format!("{kind}/{name}/{since}"),
                    "labels": match value["labels"].is_object() {
                        true => value["labels"].clone(),
                        false => labels(kind, &name),
                    },
                    "annotations": value["annotations"],
                    "deletionTimestamp": value["deletionTimestamp"],
                    "managedFields": [{"manager": "x", "operation": "Apply", "time": time.to_string()}],
                },
                "spec": spec, "status": status,
            });
            Recorded {
                at: *at,
                kind,
                name,
                deleted: value["type"] == "DELETED",
                object: object(made),
            }
        })
        .collect()
}
