//! The same for Strimzi 1.2.0 on a real Kind cluster: every recorded event, and once a second in
//! between. Its pods were recorded whole, so that they say themselves whether something was there.
//!
//! What happened is in the captures' README. What the node restarts (from 11:46:54) let fail and pass
//! again is looked at for "current too early" only.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::super::{Ages, Seen, evaluate};
use super::recorded::{V1_2, ms, recorded};
use super::replay::{World, clock, play};
use crate::readiness::State;

/// When something was broken until somebody corrected it: `(kind, name, from, to, what is said, after
/// how many milliseconds at the latest)`.
type Broken = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    u64,
);
const BROKEN: [Broken; 4] = [
    // An image that is nowhere: the kubelet tries twice before it says so.
    (
        "KafkaConnect",
        "my-connect-cluster",
        "11:38:16.906",
        "11:39:18.339",
        "nowhere",
        15_000,
    ),
    // More memory than a node has.
    (
        "KafkaConnect",
        "my-connect-cluster",
        "11:39:35.000",
        "11:40:28.000",
        "Insufficient memory",
        12_000,
    ),
    // A configuration, and a login, that Connect refuses.
    (
        "KafkaConnector",
        "postgres-connector",
        "11:37:08.185",
        "11:37:40.012",
        "Connect rejects its configuration",
        5_000,
    ),
    (
        "KafkaConnector",
        "postgres-connector",
        "11:37:54.420",
        "11:38:02.811",
        "Connect rejects its configuration",
        5_000,
    ),
];

/// When it was called current, at the latest, after what was done before.
const CURRENT: [(&str, &str, &str); 14] = [
    ("Kafka", "my-cluster", "11:34:45.300"),
    ("KafkaNodePool", "my-pool", "11:34:19.100"),
    ("KafkaConnect", "my-connect-cluster", "11:34:26.000"),
    // Rolled, twice.
    ("KafkaConnect", "my-connect-cluster", "11:35:51.000"),
    ("KafkaConnect", "my-connect-cluster", "11:37:51.600"),
    // The image is there again; the request fits again.
    ("KafkaConnect", "my-connect-cluster", "11:39:21.100"),
    ("KafkaConnect", "my-connect-cluster", "11:40:46.100"),
    // The broker's pod was deleted, twice.
    ("KafkaNodePool", "my-pool", "11:40:42.500"),
    ("Kafka", "my-cluster", "11:40:42.500"),
    ("Kafka", "my-cluster", "11:42:03.700"),
    // Its node restarted, twice: the entity operator is the last.
    ("Kafka", "my-cluster", "11:48:22.500"),
    ("Kafka", "my-cluster", "11:51:25.700"),
    ("KafkaConnector", "postgres-connector", "11:35:32.900"),
    ("KafkaConnector", "postgres-connector", "11:38:03.900"),
];

/// Whether the pods that belong to it all run, none of them on its way out. One that has ended does not
/// count: it may lie beside the one that took its place.
fn stands(seen: &Seen) -> bool {
    let ready = |pod: &kube::core::DynamicObject| {
        let phase = pod.data["status"]["phase"].as_str();
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return true;
        }
        let conditions = pod.data["status"]["conditions"].as_array();
        pod.metadata.deletion_timestamp.is_none()
            && conditions.into_iter().flatten().any(|condition| {
                condition["type"] == "Ready" && condition["status"] == json!("True")
            })
    };
    !seen.pods.is_empty() && seen.pods.iter().all(|pod| ready(pod))
}

#[test]
#[ignore = "needs the recorded statuses: CDC_TEST_CAPTURES or ../shared/data"]
fn strimzi_1_2_is_called_current_when_its_pods_stand_and_failed_when_nothing_mends_it() {
    let events = recorded(V1_2);
    assert!(events.len() > 300, "{} events", events.len());
    let begin = events[0].at;
    let mut ages: BTreeMap<(&str, String), Ages> = BTreeMap::new();
    let mut current: BTreeMap<(&str, String), Vec<u64>> = BTreeMap::new();
    let mut failed: BTreeMap<(&str, String), Vec<u64>> = BTreeMap::new();
    let mut faults: Vec<String> = Vec::new();
    let look = |world: &World, at: u64| {
        let targets = world.0.keys().cloned();
        for (kind, name) in targets.filter(|(kind, _)| !["Pod", "StrimziPodSet"].contains(kind)) {
            let ages = ages.entry((kind, name.clone())).or_default();
            ages.now = Duration::from_millis(at - begin);
            let seen = world.seen(V1_2, kind, &name, at);
            let status = evaluate(&seen, ages).status;
            let when = format!("{kind} {name} at {}: {status:?}", clock(at));
            let object = seen.object.as_deref().expect("it is there");
            let has_pods = ["Kafka", "KafkaNodePool", "KafkaConnect"].contains(&kind);
            match status.state {
                State::Current => {
                    let observed = object.data["status"]["observedGeneration"].as_i64();
                    if observed != object.metadata.generation || (has_pods && !stands(&seen)) {
                        faults.push(format!("called current and was not: {when}"));
                    }
                    current.entry((kind, name)).or_default().push(at);
                }
                State::Failed if at < ms("11:46:50") => {
                    let known = BROKEN.iter().any(|(k, n, from, to, says, _)| {
                        *k == kind
                            && *n == name
                            && (ms(from)..ms(to)).contains(&at)
                            && status.message.contains(says)
                    });
                    if !known {
                        faults.push(format!("called failed and mended itself: {when}"));
                    }
                    failed.entry((kind, name)).or_default().push(at);
                }
                _ => {}
            }
        }
    };
    play(&events, look);
    let within = |found: Option<&Vec<u64>>, from: u64, to: u64| {
        found.is_some_and(|times| times.iter().any(|at| (from..=to).contains(at)))
    };
    for (kind, name, from, _, _, soon) in BROKEN {
        let times = failed.get(&(kind, name.to_owned()));
        if !within(times, ms(from), ms(from) + soon) {
            faults.push(format!("{kind} {name} was not called failed from {from}"));
        }
    }
    for (kind, name, at) in CURRENT {
        let times = current.get(&(kind, name.to_owned()));
        if !within(times, ms(at) - 1500, ms(at) + 500) {
            faults.push(format!("{kind} {name} was not called current at {at}"));
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// A connector that rests was created so by this operator, and says so in Connect's own words.
#[test]
#[ignore = "needs the recorded statuses: CDC_TEST_CAPTURES or ../shared/data"]
fn a_paused_or_stopped_connector_of_1_2_is_ready_and_says_what_it_is() {
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for event in recorded(V1_2) {
        let status = &event.object.data["status"]["connectorStatus"];
        let Ok(rest) = serde_json::from_value(status.clone()) else {
            continue;
        };
        let rest = crate::readiness::connect::connector(Some(&rest));
        let state = status["connector"]["state"].as_str().unwrap_or_default();
        if state != "RUNNING" {
            assert_ne!(rest.state, State::Current, "{state}: {rest:?}");
            assert!(rest.message.contains(state), "{state}: {rest:?}");
        }
        *states.entry(state.to_owned()).or_default() += 1;
    }
    for state in ["PAUSED", "STOPPED", "RUNNING"] {
        assert!(
            states.get(state).is_some_and(|count| *count > 1),
            "{states:?}"
        );
    }
}
