//! Every event that was recorded from a real operator, in the order of its time, and once a second
//! in between: is anything called current that was not, or failed that fixed itself?
//!
//! When what was ready, and why not, is written down here from the recorded logs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::core::DynamicObject;
use serde_json::json;

use super::super::{Ages, Seen, evaluate, pods_of, pool_of, selects};
use super::recorded::{Capture, Recorded, V0_50, ms, recorded};
use crate::readiness::State;

/// What was there at one time.
#[derive(Default)]
pub(super) struct World(pub(super) BTreeMap<(&'static str, String), Arc<DynamicObject>>);

impl World {
    pub(super) fn of(&self, kind: &str) -> impl Iterator<Item = &Arc<DynamicObject>> {
        self.0
            .iter()
            .filter(move |((it, _), _)| *it == kind)
            .map(|(_, object)| object)
    }

    pub(super) fn seen(&self, capture: Capture, kind: &'static str, name: &str, now: u64) -> Seen {
        let object = self.0.get(&(kind, name.to_owned())).cloned();
        let selector = object.as_deref().and_then(pods_of);
        let selected = |kind| match &selector {
            Some(selector) => self
                .of(kind)
                .filter(|it| selects(selector, it))
                .cloned()
                .collect(),
            None => Vec::new(),
        };
        Seen {
            pods: selected("Pod"),
            sets: selected("StrimziPodSet"),
            pools: self
                .of("KafkaNodePool")
                .filter(|pool| pool_of(pool, name))
                .cloned()
                .collect(),
            now: capture.epoch(now),
            object,
            ..Seen::default()
        }
    }
}

/// Looks after each event, and once a second in between: rules that depend on how long something lasts
/// also fire when nothing happens.
pub(super) fn play(events: &[Recorded], mut look: impl FnMut(&World, u64)) {
    let mut world = World::default();
    let mut last = events[0].at;
    for event in events {
        while last + 1000 < event.at {
            last += 1000;
            look(&world, last);
        }
        last = event.at;
        let key = (event.kind, event.name.clone());
        match event.deleted {
            true => world.0.remove(&key),
            false => world.0.insert(key, Arc::clone(&event.object)),
        };
        look(&world, event.at);
    }
}

/// From and to, as times of the recorded day.
type Windows = &'static [(&'static str, &'static str)];

/// When a target was as its specification wanted it, from the logs: `(from, to)`. Everything else is
/// not ready.
const TRUTH: [(&str, &str, Windows); 5] = [
    (
        "Kafka",
        "my-cluster",
        &[
            ("03:01:35.000", "03:19:54.373"), // the pool's memory is changed: its broker has to roll
            ("03:20:19.316", "03:22:07.473"), // the broker is back .. deleted
            ("03:24:55.832", "23:00:00.000"), // the entity operator is the last to be ready
        ],
    ),
    (
        "KafkaNodePool",
        "my-pool",
        &[
            ("03:01:35.000", "03:19:54.373"),
            ("03:20:19.316", "03:22:07.483"),
            ("03:24:28.345", "23:00:00.000"),
        ],
    ),
    (
        "KafkaConnect",
        "fast-connect",
        &[
            ("03:03:23.603", "03:06:47.392"), // .. its pod is deleted
            ("03:07:13.892", "03:15:47.987"), // .. another image
            ("03:16:11.748", "03:16:13.885"), // .. an image that does not exist
            ("03:18:25.400", "03:20:30.133"), // .. it lost the broker that rolled
            ("03:20:51.105", "03:20:54.096"), // .. to zero replicas
            ("03:20:56.366", "03:21:01.365"), // no pods, as wanted .. deleted
            // .. its pod finds no Kafka, which was deleted at 03:22:07. Until then only Kafka's own
            // gate can tell.
            ("03:21:27.717", "03:22:42.451"),
            ("03:24:43.262", "03:26:42.900"), // .. a mounted Secret is changed
            ("03:27:08.367", "03:27:58.946"), // .. and changed back
            ("03:28:24.588", "23:00:00.000"),
        ],
    ),
    (
        "KafkaConnect",
        "my-connect-cluster",
        &[("03:07:27.370", "03:09:39.602")],
    ),
    (
        "KafkaConnect",
        "slow-connect",
        &[("03:07:18.583", "03:09:39.564")],
    ),
];

/// What never fixed itself: `(kind, name, from, to, what the message says)`. Each of them ended by a
/// change that a person made.
const BROKEN: [(&str, &str, &str, &str, &str); 8] = [
    (
        "KafkaConnect",
        "fast-connect",
        "03:16:32.132",
        "03:17:28.766",
        "my-final-connect:9.9",
    ),
    (
        "Kafka",
        "oldk",
        "03:19:18.108",
        "03:19:22.703",
        "Unsupported Kafka.spec.kafka.version: 3.9.0",
    ),
    (
        "KafkaTopic",
        "rf3",
        "03:19:16.375",
        "03:19:53.872",
        "3 replicas need 3 brokers",
    ),
    (
        "KafkaConnector",
        "badpw-new",
        "03:19:17.600",
        "03:19:53.802",
        "password authentication failed",
    ),
    (
        "KafkaConnector",
        "badclass",
        "03:19:17.800",
        "03:19:53.793",
        "Failed to find any class",
    ),
    (
        "KafkaConnector",
        "postgres-connector",
        "03:08:12.576",
        "03:08:57.498",
        "password authentication failed",
    ),
    (
        "KafkaConnector",
        "postgres-connector",
        "03:27:10.828",
        "03:28:25.091",
        "password authentication failed",
    ),
    // Missing indeed is asked of the cluster, where it was by then: see the assertion.
    (
        "KafkaConnect",
        "my-connect-cluster",
        "03:01:36.000",
        "03:02:13.420",
        "connect-metrics",
    ),
];

/// Instants at which it was called current, so that the evaluators are not merely pessimists.
const CURRENT: [(&str, &str, &str); 17] = [
    ("Kafka", "my-cluster", "03:05:00"),
    ("Kafka", "my-cluster", "03:20:20.000"),
    ("Kafka", "my-cluster", "03:24:56.200"),
    ("KafkaNodePool", "my-pool", "03:05:00"),
    ("KafkaNodePool", "my-pool", "03:20:20.000"),
    ("KafkaNodePool", "my-pool", "03:24:28.500"),
    ("KafkaConnect", "fast-connect", "03:03:25"),
    ("KafkaConnect", "fast-connect", "03:16:13"),
    ("KafkaConnect", "fast-connect", "03:18:27"),
    ("KafkaConnect", "fast-connect", "03:20:57"),
    ("KafkaConnect", "fast-connect", "03:28:26"),
    ("KafkaConnect", "my-connect-cluster", "03:07:29"),
    ("KafkaConnect", "slow-connect", "03:07:20"),
    ("KafkaTopic", "dlq-postgres", "03:19:17"),
    ("KafkaConnector", "postgres-connector", "03:08:58"),
    ("KafkaConnector", "postgres-connector", "03:10:25"),
    ("KafkaConnector", "postgres-connector", "03:28:26"),
];

#[test]
#[ignore = "needs the recorded statuses: CDC_TEST_CAPTURES or ../shared/data"]
fn nothing_recorded_is_called_current_too_early_or_failed_without_need() {
    let events = recorded(V0_50);
    assert!(events.len() > 300, "{} events", events.len());
    let mut ages: BTreeMap<(&str, String), Ages> = BTreeMap::new();
    let begin = events[0].at;
    let mut failed: BTreeMap<(&str, String), Vec<(u64, String)>> = BTreeMap::new();
    let mut current: BTreeMap<(&str, String), Vec<u64>> = BTreeMap::new();
    let mut looks = 0;
    let look = |world: &World, at: u64| {
        let targets: Vec<(&'static str, String)> = world
            .0
            .keys()
            .filter(|(kind, _)| !matches!(*kind, "Pod" | "StrimziPodSet"))
            .cloned()
            .collect();
        for (kind, name) in targets {
            let ages = ages.entry((kind, name.clone())).or_default();
            ages.now = Duration::from_millis(at - begin);
            let seen = world.seen(V0_50, kind, &name, at);
            let verdict = evaluate(&seen, ages);
            let object = seen.object.as_deref().expect("it is there");
            let when = format!("{kind} {name} at {:?}: {:?}", clock(at), verdict.status);
            looks += 1;
            match verdict.status.state {
                State::Current => {
                    let observed = object.data["status"]["observedGeneration"].as_i64();
                    assert_eq!(observed, object.metadata.generation, "{when}");
                    if let Some((.., windows)) =
                        TRUTH.iter().find(|(k, n, _)| *k == kind && *n == name)
                    {
                        let inside = windows
                            .iter()
                            .any(|(from, to)| ms(from) <= at && at < ms(to));
                        assert!(inside, "called current and was not: {when}");
                    }
                    current.entry((kind, name)).or_default().push(at);
                }
                State::Failed => {
                    let known = BROKEN.iter().find(|(k, n, from, to, _)| {
                        *k == kind && *n == name && ms(from) <= at && at < ms(to)
                    });
                    let Some((.., says)) = known else {
                        panic!("called failed and mended itself: {when}");
                    };
                    assert!(verdict.status.message.contains(says), "{when}");
                    if *says == "connect-metrics" {
                        let missing = verdict.missing.expect("it names what is missing");
                        assert_eq!((missing.kind, missing.name.as_str()), ("ConfigMap", *says));
                    }
                    failed
                        .entry((kind, name))
                        .or_default()
                        .push((at, verdict.status.message));
                }
                _ => {}
            }
        }
    };
    play(&events, look);
    for (kind, name, from, to, _) in BROKEN {
        let times = failed
            .get(&(kind, name.to_owned()))
            .cloned()
            .unwrap_or_default();
        let first = times.iter().find(|(at, _)| ms(from) <= *at && *at < ms(to));
        let (first, _) = first.unwrap_or_else(|| panic!("{kind} {name} was never called failed"));
        assert!(
            *first < ms(from) + 12_000,
            "{kind} {name} only at {}",
            clock(*first)
        );
    }
    for (kind, name, at) in CURRENT {
        let times = current
            .get(&(kind, name.to_owned()))
            .cloned()
            .unwrap_or_default();
        let near = times.iter().any(|it| it.abs_diff(ms(at)) <= 1000);
        assert!(near, "{kind} {name} was not called current at {at}");
    }
    println!("{} events, {looks} looks", events.len());
}

pub(super) fn clock(ms: u64) -> String {
    let seconds = ms / 1000;
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        ms % 1000
    )
}

/// What the operator copied from Connect's own status, in every stage that was recorded.
#[test]
#[ignore = "needs the recorded statuses: CDC_TEST_CAPTURES or ../shared/data"]
fn the_rest_status_tells_what_a_connectors_ready_hides() {
    let mut told = BTreeMap::new();
    for event in recorded(V0_50) {
        if event.kind != "KafkaConnector" || event.deleted {
            continue;
        }
        let status = &event.object.data["status"];
        let Ok(rest) = serde_json::from_value(status["connectorStatus"].clone()) else {
            continue;
        };
        let resource = evaluate(&super::of(Arc::clone(&event.object)), &mut Ages::default());
        let rest = crate::readiness::connect::connector(Some(&rest));
        *told
            .entry((resource.status.state as u8, rest.state as u8))
            .or_insert(0) += 1;
        let restarted = status["connectorStatus"]["tasks"][0]["state"] == "RESTARTING";
        let without = status["connectorStatus"]["tasks"] == json!([]);
        if restarted || without {
            // The resource is accepted; Connect's own answer is not current.
            assert_ne!(rest.state, State::Current, "{}", event.name);
        }
        match status["connectorStatus"]["connector"]["state"].as_str() {
            // Somebody stopped it: no wait ends by itself then.
            Some("STOPPED") => {
                assert_eq!(rest.state, State::Failed);
                assert_eq!(rest.message, "the connector is STOPPED");
            }
            _ if rest.state == State::Failed => {
                assert!(rest.message.contains("PSQLException"), "{}", rest.message);
            }
            _ => {}
        }
    }
    let hidden: i32 = [State::InProgress, State::Failed]
        .into_iter()
        .filter_map(|rest| told.get(&(State::Current as u8, rest as u8)))
        .sum();
    assert!(
        hidden >= 5,
        "the resource says Ready and Connect does not: {told:?}"
    );
}
