//! What the operator has against a resource, and whether waiting helps.

use std::time::Duration;

use kube::core::DynamicObject;

use super::super::Seen;
use super::super::fields::{name, number, short};
use super::super::pods::{Missing, Trouble};
use super::{Report, is_quiet};
use crate::readiness::Status;

/// The operator's own timer is 120 s: what still stands after it was looked at again.
const LOOKED_AGAIN: Duration = Duration::from_secs(150);
/// What another object of the same run may still bring.
const SETTLES: Duration = Duration::from_secs(10);
/// An opinion that is not known to pass, after the operator was asked to look again.
const SAYS_STILL: Duration = Duration::from_secs(45);

/// Whether a refusal passes by itself.
pub(super) fn refusal(object: &DynamicObject, reason: &str, message: &str, seen: &Seen) -> Report {
    let (reason, message) = unwrapped(reason, message);
    let said = match message {
        "" => reason.to_owned(),
        message => format!("{reason}: {}", short(message)),
    };
    let trouble = |grace: Option<Duration>| {
        let key = format!("{}/{reason}/{message}", name(object));
        let trouble = Trouble::of(key, said.clone());
        Trouble { grace, ..trouble }
    };
    let passing = |grace| Report::NotReady(trouble(grace));
    let never = || Report::Refused(Status::failed(said.clone()));
    match reason {
        "Creating" => Report::Unseen(short(message)),
        // The specification itself is wrong, unless it names what another object brings.
        "InvalidConfigurationException" | "InvalidResourceException" => {
            match (absent(object, message), message) {
                (Some(missing), _) => Report::NotReady(Trouble {
                    missing: Some(missing),
                    ..trouble(Some(SETTLES))
                }),
                (None, message) if message.contains("No KafkaNodePools found") => {
                    passing(Some(LOOKED_AGAIN))
                }
                _ => never(),
            }
        }
        reason if reason.starts_with("Unsupported") => never(),
        "ConnectRestException" => rejected(message, passing),
        "KafkaError" => topic_error(object, message, seen, passing),
        // Of a topic: two resources for one topic, or a change that Kafka does not know.
        "ResourceConflict" | "NotSupported" => never(),
        reason if passes(reason, message) => passing(None),
        // What it waits for is reported by the pods.
        _ if !is_quiet(seen) => passing(None),
        // Nothing that is known to pass. It has been asked to look again, and still says so.
        _ => {
            let generation = object.metadata.generation.unwrap_or_default();
            let key = format!("{}/{reason}/{generation}", name(object));
            Report::NotReady(Trouble::of(key, said).within(SAYS_STILL))
        }
    }
}

/// What passes without anybody's help, as the operators of 0.50.1 and 1.2.0 were seen to say it; what is
/// behind it has a gate of its own. A timeout is the operator's own 300 s for a pod; no connection, a
/// worker that is not there yet; a connector may be looked at before its cluster; failed tasks are
/// restarted by this tool. What the operator found wrong while it replaced pods is reported by them.
fn passes(reason: &str, message: &str) -> bool {
    const PASSES: [&str; 8] = [
        "ConnectException",
        "TimeoutException",
        "NoSuchResourceException",
        "Throwable",
        "ForceableProblem",
        "UnforceableProblem",
        "FatalProblem",
        "MaxAttemptsExceededException",
    ];
    // Of the same kind by their names: `HttpConnectTimeoutException`, `UnknownHostException`.
    const NETWORK: [&str; 6] = [
        "TimeoutException",
        "ConnectException",
        "UnknownHostException",
        "IOException",
        "EOFException",
        "SocketException",
    ];
    PASSES.contains(&reason)
        || NETWORK.iter().any(|it| reason.ends_with(it))
        || (reason == "RuntimeException" && message.ends_with("has 0 replicas."))
}

/// The exception itself, where the operator tells of one that wraps it: 1.2.0 says
/// `CompletionException`, and Connect's answer in the message.
fn unwrapped<'a>(reason: &'a str, message: &'a str) -> (&'a str, &'a str) {
    if !matches!(reason, "CompletionException" | "ExecutionException") {
        return (reason, message);
    }
    let (class, rest) = message.split_once(": ").unwrap_or((message, ""));
    let is_class = class.contains('.') && !class.contains(char::is_whitespace);
    match class.rsplit(['.', '$']).next() {
        Some(inner) if is_class => unwrapped(inner, rest),
        _ => (reason, message),
    }
}

/// What `ConfigMap connect-metrics does not exist` names.
fn absent(object: &DynamicObject, message: &str) -> Option<Missing> {
    let said = message.strip_suffix(" does not exist")?;
    let (kind, name) = said.split_once(' ')?;
    let kind = ["ConfigMap", "Secret"].into_iter().find(|it| *it == kind)?;
    (!name.contains(' ')).then(|| Missing {
        kind,
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: name.to_owned(),
    })
}

/// Connect's answer to a connector's configuration.
fn rejected(message: &str, passing: impl Fn(Option<Duration>) -> Report) -> Report {
    let (code, text) = message
        .split_once(" returned ")
        .and_then(|(_, rest)| {
            let (head, text) = rest.split_once("): ").unwrap_or((rest, rest));
            let code: u16 = head.split(' ').next()?.parse().ok()?;
            Some((code, text))
        })
        .unwrap_or((0, message));
    // The source is not up yet: it is asked for while the configuration is validated.
    const NOT_UP_YET: [&str; 7] = [
        "refused",
        "The connection attempt failed",
        "UnknownHost",
        "the database system is starting up",
        "the database system is shutting down",
        "Timed out",
        "timed out",
    ];
    match code {
        400 if NOT_UP_YET.iter().any(|it| text.contains(it)) => passing(None),
        400 | 422 => Report::Refused(
            Status::failed(format!(
                "Connect rejects its configuration: {}",
                reason_of(text)
            ))
            .with_evidence(text.lines().map(str::to_owned).collect()),
        ),
        500 if text.contains("Failed to find any class") => {
            // The text goes on with every plugin that is there.
            let first = text.split(", available connectors").next().unwrap_or(text);
            Report::Refused(Status::failed(short(first)).with_evidence(vec![text.to_owned()]))
        }
        // A permission or a Secret that a config provider needs may come with the same run.
        500 => passing(Some(LOOKED_AGAIN)),
        // 409: the workers rebalance. 404: the worker does not know it yet.
        _ => passing(None),
    }
}

/// The lines of Connect's list of errors that say something.
fn reason_of(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| {
            !line.starts_with("Connector configuration is invalid")
                && !line.starts_with("You can also find")
        })
        .collect();
    short(&match lines.is_empty() {
        true => text.to_owned(),
        false => lines.join("; "),
    })
}

/// Kafka's answer to a topic's specification.
fn topic_error(
    topic: &DynamicObject,
    message: &str,
    seen: &Seen,
    passing: impl Fn(Option<Duration>) -> Report,
) -> Report {
    const PASSING: [&str; 6] = [
        "Timeout",
        "Disconnect",
        "NotController",
        "NotAvailable",
        "NotEnoughReplicas",
        "UnknownTopicOrPartition",
    ];
    if message.contains("InvalidReplicationFactor") {
        let wanted = number(&topic.data, &["spec", "replicas"]).unwrap_or(1);
        let brokers = i64::try_from(seen.pods.len()).unwrap_or(i64::MAX);
        return match brokers >= wanted {
            // A broker restarts.
            true => passing(None),
            false => Report::Refused(Status::failed(format!(
                "{wanted} replicas need {wanted} brokers, and there are {brokers}"
            ))),
        };
    }
    match PASSING.iter().any(|it| message.contains(it)) {
        true => passing(None),
        false => Report::Refused(Status::failed(format!("KafkaError: {}", short(message)))),
    }
}
