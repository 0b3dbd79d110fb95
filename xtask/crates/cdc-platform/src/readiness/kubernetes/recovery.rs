//! What a container that keeps ending is excused by.
//!
//! After a node's restart nobody deletes pods: their containers are started again before the service
//! network and DNS are there, end once or twice, and pause. Seen with Strimzi 0.50.1 and 1.2.0: all
//! is ready again 60 to 81 s later, without any help. A pod that was never ready has no such excuse:
//! its image, its command or its configuration is wrong, and stays so.

use std::sync::Arc;
use std::time::Duration;

use kube::core::DynamicObject;
use serde_json::Value;

use super::Seen;
use super::fields::{at, condition, label, list, number, text, time};
use super::pods::ready;

/// How long a pod that has been ready may need to be so again, as long as it is watched.
const RECOVERS: Duration = Duration::from_secs(120);
/// A container that still ends this long after its pod became unready waits for more than a network.
/// By the cluster's clock, so that a single look can tell.
const ENDS_STILL: i64 = 90;

/// Why a container's end may not be the last word.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Excuse {
    /// It began without a broker: whether one comes is not for its own gate to judge.
    NoBroker,
    /// Its pod has been ready, the last time at this second since 1970.
    WasReady(i64),
}

impl Excuse {
    /// What excuses a container of the pod that ended so, if anything does.
    pub(super) fn of(pod: &DynamicObject, ended: &Value, seen: &Seen) -> Option<Excuse> {
        if ends_so_again(ended) {
            return None;
        }
        if needs_broker(pod) && began_without(ended, &seen.brokers) {
            return Some(Excuse::NoBroker);
        }
        let until = ready_until(pod)?;
        let end = time(ended, &["finishedAt"]);
        let late = end.is_some_and(|end| end - until >= ENDS_STILL);
        (!late).then_some(Excuse::WasReady(until))
    }

    /// How long it holds; none for as long as it is true.
    pub(super) fn holds(&self) -> Option<Duration> {
        match self {
            Excuse::NoBroker => None,
            Excuse::WasReady(_) => Some(RECOVERS),
        }
    }

    /// For people.
    pub(super) fn message(&self) -> &'static str {
        match self {
            Excuse::NoBroker => "it found no broker and is started again",
            Excuse::WasReady(_) => "it has been ready before and is started again",
        }
    }
}

const BROKER: &str = "strimzi.io/broker-role";
const CONTROLLER: &str = "strimzi.io/controller-role";

/// Whether a pod is a broker of a Kafka that Strimzi runs.
pub fn is_broker(pod: &DynamicObject) -> bool {
    label(pod, BROKER) == Some("true")
}

/// Whether Strimzi runs it as a client of the brokers.
fn needs_broker(pod: &DynamicObject) -> bool {
    let of_kafka = [BROKER, CONTROLLER].map(|role| label(pod, role));
    label(pod, "strimzi.io/cluster").is_some() && of_kafka == [None, None]
}

/// Whether a pod whose containers ended is excused, so that it is worth waiting for.
pub fn comes_back(pod: &DynamicObject, brokers: &[Arc<DynamicObject>]) -> bool {
    let seen = Seen {
        brokers: brokers.to_vec(),
        ..Seen::default()
    };
    let statuses = list(&pod.data, &["status", "containerStatuses"]);
    let mut ends = statuses.iter().filter_map(ended).peekable();
    ends.peek().is_some() && ends.all(|end| Excuse::of(pod, end, &seen).is_some())
}

/// How a container ended last.
pub(super) fn ended(status: &Value) -> Option<&Value> {
    at(status, &["lastState", "terminated"]).or_else(|| at(status, &["state", "terminated"]))
}

/// Whether a run began before the first of the brokers was ready, or none of them is.
fn began_without(ended: &Value, brokers: &[Arc<DynamicObject>]) -> bool {
    let ready = brokers.iter().filter(|pod| ready(pod));
    let since = ready.filter_map(|pod| condition(pod, "Ready")?.since).min();
    match since {
        Some(since) => time(ended, &["startedAt"]).is_some_and(|began| began < since),
        None => !brokers.is_empty(),
    }
}

/// Until when a pod was ready that is not any more. One that never was is unready since its start.
fn ready_until(pod: &DynamicObject) -> Option<i64> {
    let until = condition(pod, "Ready").filter(|it| !it.is)?.since?;
    (until > time(&pod.data, &["status", "startTime"])?).then_some(until)
}

/// Whether the next run can only end the same way: its limit, its path and its program are the same.
pub(super) fn ends_so_again(ended: &Value) -> bool {
    let code = number(ended, &["exitCode"]).unwrap_or_default();
    text(ended, &["reason"]) == Some("OOMKilled")
        || text(ended, &["message"]).is_some_and(no_program)
        || matches!(code, 126 | 127)
}

/// Whether a runtime's message says that there is no program to run.
pub(super) fn no_program(message: &str) -> bool {
    message.contains("executable file not found")
        || (message.contains("exec") && message.contains("no such file or directory"))
        || (message.contains("exec") && message.contains("permission denied"))
}
