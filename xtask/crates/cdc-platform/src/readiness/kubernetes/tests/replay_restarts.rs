//! The restarts of a node that were recorded from Strimzi 1.2.0, at every event and each second in
//! between: nothing that became ready by itself may be called failed, by a wait that began at any of
//! these moments. What does not become ready by itself must be.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::super::{Ages, Seen, evaluate, is_broker, pods_of, pool_of, selects};
use super::object;
use super::recorded::{V1_2, ms};
use crate::readiness::State;

const KINDS: [(&str, &str, &str); 6] = [
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
        "watch-strimzipodset.jsonl",
        "core.strimzi.io/v1",
        "StrimziPodSet",
    ),
    ("watch-deployments.jsonl", "apps/v1", "Deployment"),
    ("watch-pods.jsonl", "v1", "Pod"),
];

/// When the node went, and by when all was ready again.
const RESTARTS: [(&str, &str, &str); 2] = [
    ("11:46:54", "11:47:07", "11:48:25"),
    ("11:50:23", "11:50:37", "11:51:35"),
];

const WAITED_FOR: [(&str, &str); 4] = [
    ("Kafka", "my-cluster"),
    ("KafkaNodePool", "my-pool"),
    ("KafkaConnect", "my-connect-cluster"),
    ("Deployment", "strimzi-cluster-operator"),
];

struct Event {
    at: u64,
    key: (&'static str, String),
    object: Option<Arc<DynamicObject>>,
}

fn directory() -> PathBuf {
    V1_2.folder()
}

fn events() -> Vec<Event> {
    let mut events = Vec::new();
    for (file, version, kind) in KINDS {
        let path = directory().join(file);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("a line");
            let name = line["name"].as_str().expect("a name").to_owned();
            // Pods were recorded with their whole status; specifications were not.
            let status = match kind {
                "Pod" => &line["full"],
                _ => &line["status"],
            };
            let spec = match name.as_str() {
                "strimzi-cluster-operator" => {
                    json!({ "replicas": 1, "selector": { "matchLabels": { "name": name } } })
                }
                _ => json!({}),
            };
            let made = json!({
                "apiVersion": version, "kind": kind,
                "metadata": {
                    "name": name, "namespace": "kafka", "uid": line["uid"],
                    "generation": line["generation"], "labels": line["labels"],
                    "annotations": line["annotations"],
                    "deletionTimestamp": line["deletionTimestamp"],
                },
                "spec": spec, "status": status,
            });
            events.push(Event {
                at: ms(line["t"].as_str().expect("a time")),
                key: (kind, name),
                object: (line["type"] != "DELETED").then(|| object(made)),
            });
        }
    }
    events.sort_by_key(|event| event.at);
    events
}

#[derive(Default)]
struct World(BTreeMap<(&'static str, String), Arc<DynamicObject>>);

impl World {
    fn take(&mut self, event: &Event) {
        match &event.object {
            Some(object) => self.0.insert(event.key.clone(), Arc::clone(object)),
            None => self.0.remove(&event.key),
        };
    }

    fn of(&self, kind: &str, wanted: impl Fn(&DynamicObject) -> bool) -> Vec<Arc<DynamicObject>> {
        let all = self
            .0
            .iter()
            .filter(|((it, _), object)| *it == kind && wanted(object));
        all.map(|(_, object)| Arc::clone(object)).collect()
    }

    fn seen(&self, kind: &'static str, name: &str, at: u64) -> Seen {
        let object = self.0.get(&(kind, name.to_owned())).cloned();
        let selector = object.as_deref().and_then(pods_of);
        let ours = |it: &DynamicObject| selector.as_ref().is_some_and(|all| selects(all, it));
        let midnight: jiff::Timestamp = "2026-11-29T00:00:00Z".parse().expect("a time");
        Seen {
            pods: self.of("Pod", ours),
            sets: self.of("StrimziPodSet", ours),
            pools: self.of("KafkaNodePool", |it| pool_of(it, name)),
            brokers: self.of("Pod", is_broker),
            now: midnight.as_second() + (at / 1000) as i64,
            object,
            ..Seen::default()
        }
    }
}

#[test]
#[ignore = "needs the recorded statuses: CDC_TEST_CAPTURES or ../shared/data"]
fn nothing_fails_while_a_node_comes_back() {
    let events = events();
    let mut looks = 0;
    for (gone, back, ready) in RESTARTS {
        for begins in (ms(gone)..ms(ready)).step_by(3_000) {
            let mut world = World::default();
            let mut ages: BTreeMap<&str, Ages> = BTreeMap::new();
            let mut last: BTreeMap<&str, (State, String)> = BTreeMap::new();
            let mut look = |world: &World, at: u64| {
                for (kind, name) in WAITED_FOR.into_iter().filter(|_| at >= begins) {
                    let ages = ages.entry(kind).or_default();
                    ages.now = Duration::from_millis(at - begins);
                    let seen = world.seen(kind, name, at);
                    let status = evaluate(&seen, ages).status;
                    looks += 1;
                    let when = format!("{kind} {}.{:03} s after midnight", at / 1000, at % 1000);
                    assert_ne!(status.state, State::Failed, "{when}: {status:?}");
                    // A Deployment's status follows its pods a moment later.
                    let away = (ms(back)..ms(back) + 9_000).contains(&at) && kind != "Deployment";
                    assert!(
                        !away || status.state != State::Current,
                        "{when}: {status:?}"
                    );
                    last.insert(kind, (status.state, status.message));
                }
            };
            let mut at = 0;
            for event in events.iter().filter(|event| event.at < ms(ready)) {
                while event.at >= begins && at + 1_000 < event.at {
                    at = (at + 1_000).max(begins);
                    look(&world, at);
                }
                at = event.at;
                world.take(event);
                look(&world, at);
            }
            while at < ms(ready) {
                at = (at + 1_000).max(begins);
                look(&world, at);
            }
            let wrong: Vec<_> = last
                .iter()
                .filter(|(_, it)| it.0 != State::Current)
                .collect();
            assert!(last.len() == 4 && wrong.is_empty(), "{wrong:?}");
        }
    }
    assert!(looks > 10_000, "{looks}");
}

/// What the operator had against its resources, by its own words: what passed may not be called failed,
/// and a configuration that Connect refused must be.
#[test]
#[ignore = "needs the recorded statuses: CDC_TEST_CAPTURES or ../shared/data"]
fn a_reason_that_passed_is_not_final() {
    let mut told = [0, 0];
    for (file, kind) in [
        ("watch-kafkaconnect.jsonl", "KafkaConnect"),
        ("watch-kafkaconnector.jsonl", "KafkaConnector"),
    ] {
        let text = std::fs::read_to_string(directory().join(file)).expect("readable");
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("a line");
            let condition = &line["status"]["conditions"][0];
            let observed = line["status"]["observedGeneration"] == line["generation"];
            if condition["type"] != "NotReady" || !observed {
                continue;
            }
            let seen = super::of(object(json!({
                "apiVersion": "kafka.strimzi.io/v1", "kind": kind,
                "metadata": { "name": line["name"], "generation": line["generation"] },
                "spec": {}, "status": line["status"],
            })));
            let refused = condition["message"]
                .as_str()
                .unwrap_or_default()
                .contains("returned 400");
            let state = super::after(if refused { 0 } else { 120 }, &seen)
                .status
                .state;
            assert_eq!(state == State::Failed, refused, "{condition}");
            told[usize::from(refused)] += 1;
        }
    }
    assert!(told[0] >= 6 && told[1] >= 3, "{told:?}");
}

/// A pod of a Kafka or a KafkaConnect whose container ended so and pauses.
fn pausing(labels: Value, unready_since: &str, began: &str, ended: &str, code: i64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "pod-0", "namespace": "kafka", "uid": "u", "labels": labels },
        "spec": { "containers": [{ "name": "c" }] },
        "status": {
            "phase": "Running", "startTime": "2026-11-29T12:00:00Z",
            "conditions": [{ "type": "Ready", "status": "False", "lastTransitionTime": unready_since }],
            "containerStatuses": [{
                "name": "c", "image": "i", "ready": false, "restartCount": 2,
                "state": { "waiting": { "reason": "CrashLoopBackOff" } },
                "lastState": { "terminated": { "exitCode": code, "reason": "Error",
                    "startedAt": began, "finishedAt": ended } },
            }],
        },
    })
}

fn broker(ready: &str, since: &str) -> Arc<DynamicObject> {
    object(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "broker-0", "labels": {
            "strimzi.io/cluster": "my-cluster", "strimzi.io/kind": "Kafka",
            "strimzi.io/broker-role": "true",
        } },
        "status": { "phase": "Running", "conditions": [
            { "type": "Ready", "status": ready, "lastTransitionTime": since },
        ] },
    }))
}

#[test]
fn an_end_is_final_unless_the_broker_or_the_network_was_not_there() {
    const CREATED: &str = "2026-11-29T12:00:00Z";
    let worker = || json!({ "strimzi.io/cluster": "c", "strimzi.io/kind": "KafkaConnect" });
    let connect = |pod: Value, broker: Arc<DynamicObject>| Seen {
        object: Some(object(json!({
            "apiVersion": "kafka.strimzi.io/v1", "kind": "KafkaConnect",
            "metadata": { "name": "c", "generation": 1 },
            "status": { "observedGeneration": 1, "conditions": [{ "type": "Ready", "status": "True" }] },
        }))),
        sets: vec![object(json!({
            "apiVersion": "core.strimzi.io/v1", "kind": "StrimziPodSet",
            "metadata": { "name": "c-connect", "generation": 1 },
            "spec": { "pods": [{}] },
            "status": { "observedGeneration": 1, "pods": 1, "currentPods": 1 },
        }))],
        pods: vec![object(pod)],
        brokers: vec![broker],
        ..Seen::default()
    };
    let failed_after = |seen: &Seen| {
        let mut ages = Ages::default();
        (0..600).find(|second| {
            ages.now = Duration::from_secs(*second);
            evaluate(seen, &mut ages).status.state == State::Failed
        })
    };
    // As 0.50.1 was seen to do: it began before the broker was ready and ended after that.
    let began = ("2026-11-29T12:10:12Z", "2026-11-29T12:10:21Z");
    let without = |since| pausing(worker(), since, began.0, began.1, 2);
    let (late, early) = ("2026-11-29T12:10:17Z", "2026-11-29T12:09:00Z");
    assert_eq!(
        failed_after(&connect(without(CREATED), broker("True", late))),
        None
    );
    assert_eq!(
        failed_after(&connect(without(CREATED), broker("False", late))),
        None
    );
    // With a broker, one that never was ready has a reason that stays.
    assert_eq!(
        failed_after(&connect(without(CREATED), broker("True", early))),
        Some(0)
    );
    // One that was ready may have lost its network for a moment, and no longer.
    let lost = "2026-11-29T12:09:50Z";
    assert_eq!(
        failed_after(&connect(without(lost), broker("True", early))),
        Some(120)
    );
    let long = "2026-11-29T12:08:50Z";
    assert_eq!(
        failed_after(&connect(without(long), broker("True", early))),
        Some(0)
    );
    // Nothing excuses a program that is not there, or too little memory.
    let missing = pausing(worker(), lost, began.0, began.1, 127);
    assert_eq!(
        failed_after(&connect(missing, broker("False", late))),
        Some(0)
    );
    // A broker's own containers wait for no broker.
    let itself = json!({
        "strimzi.io/cluster": "c", "strimzi.io/kind": "KafkaConnect", "strimzi.io/broker-role": "true",
    });
    let init = |since| pausing(itself.clone(), since, began.0, began.1, 1);
    assert_eq!(
        failed_after(&connect(init(CREATED), broker("False", late))),
        Some(0)
    );
    assert_eq!(
        failed_after(&connect(init(lost), broker("False", late))),
        Some(120)
    );
}
