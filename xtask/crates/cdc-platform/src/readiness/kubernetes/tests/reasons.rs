//! Which of an operator's reasons pass by themselves, and how long the others may stand.

use serde_json::{Value, json};

use super::*;

fn not_ready(kind: &str, reason: &str, message: &str) -> Seen {
    of(object(json!({
        "apiVersion": "kafka.strimzi.io/v1", "kind": kind,
        "metadata": { "name": "x", "namespace": "kafka", "generation": 1 },
        "spec": {},
        "status": { "observedGeneration": 1, "conditions": [
            { "type": "NotReady", "status": "True", "reason": reason, "message": message },
        ] },
    })))
}

/// The second at which it is called failed.
fn fails_after(seen: &Seen) -> Option<u64> {
    (0..600).find(|second| {
        let state = |seen| after(*second, seen).status.state;
        state(seen) == State::Failed
    })
}

const REST: &str = "io.strimzi.operator.cluster.operator.assembly.ConnectRestException";

/// As 1.2.0 says it, in the words that were recorded; 0.50.1 says the inner exception itself.
#[test]
fn a_wrapped_exception_counts_as_what_it_wraps() {
    let refused = "PUT /connectors/x/config returned 400 (400): Connector configuration is invalid and \
                   contains the following 1 error(s):\nThe 'plugin.name' value is invalid\nYou can also find";
    let seen = not_ready(
        "KafkaConnector",
        "CompletionException",
        &format!("{REST}: {refused}"),
    );
    let status = after(0, &seen).status;
    assert_eq!(
        (status.state, status.message.as_str()),
        (
            State::Failed,
            "Connect rejects its configuration: The 'plugin.name' value is invalid"
        )
    );
    for message in [
        "java.net.ConnectException".to_owned(),
        format!("{REST}: GET /connector-plugins returned 404 (404): Unexpected status code"),
        format!(
            "{REST}: GET /connectors/x/config returned 500 (500): Request cannot be completed because a rebalance is expected"
        ),
    ] {
        let kind = if message.contains("500") {
            "KafkaConnector"
        } else {
            "KafkaConnect"
        };
        let status = after(60, &not_ready(kind, "CompletionException", &message)).status;
        assert_eq!(status.state, State::InProgress, "{message}");
    }
}

#[test]
fn what_passes_by_itself_never_fails_and_what_is_not_known_to_fails_within_a_minute() {
    for (kind, reason, message) in [
        ("KafkaConnect", "ConnectException", ""),
        (
            "KafkaConnect",
            "TimeoutException",
            "Exceeded timeout of 300000ms while waiting",
        ),
        (
            "KafkaConnect",
            "HttpConnectTimeoutException",
            "HTTP connect timed out",
        ),
        (
            "KafkaConnector",
            "NoSuchResourceException",
            "KafkaConnect resource 'c' does not exist",
        ),
        (
            "KafkaConnector",
            "RuntimeException",
            "Kafka Connect cluster 'c' in namespace kafka has 0 replicas.",
        ),
        (
            "KafkaConnector",
            "Throwable",
            "The following tasks have failed: 0",
        ),
        (
            "Kafka",
            "UnforceableProblem",
            "Pod x-0 cannot be updated right now.",
        ),
    ] {
        assert_eq!(
            fails_after(&not_ready(kind, reason, message)),
            None,
            "{reason}"
        );
    }
    for (kind, reason, message) in [
        (
            "Kafka",
            "KubernetesClientException",
            "Failure executing: POST at: https://10.96.0.1. Forbidden",
        ),
        ("Kafka", "NullPointerException", ""),
        ("Kafka", "RuntimeException", "x"),
        (
            "KafkaConnect",
            "CompletionException",
            "java.lang.IllegalStateException: x",
        ),
        ("KafkaUser", "KafkaUserException", "x"),
    ] {
        let after = fails_after(&not_ready(kind, reason, message));
        assert!(
            after.is_some_and(|it| (30..60).contains(&it)),
            "{reason}: {after:?}"
        );
    }
}

/// While a pod of it is not ready it is the pod that tells what is wrong.
#[test]
fn an_operator_that_waits_for_a_pod_says_so_by_the_pod() {
    let mut seen = not_ready("Kafka", "SomeException", "x");
    seen.pods = vec![pod(
        "broker-0",
        json!({ "phase": "Running", "containerStatuses": [] }),
    )];
    assert_eq!(fails_after(&seen), None);
    seen.pods = vec![pod("broker-0", ready())];
    assert!(fails_after(&seen).is_some());
}

/// Of one generation only: a change is looked at again, and another reason has a time of its own.
#[test]
fn another_reason_or_generation_begins_anew() {
    let mut ages = Ages::default();
    let mut state = |second, seen: &Seen| {
        ages.now = Duration::from_secs(second);
        evaluate(seen, &mut ages).status.state
    };
    let one = not_ready("Kafka", "OneException", "x");
    let two = not_ready("Kafka", "TwoException", "x");
    let mut changed = (**one.object.as_ref().expect("there")).clone();
    changed.metadata.generation = Some(2);
    changed.data["status"]["observedGeneration"] = Value::from(2);
    let changed = of(Arc::new(changed));
    assert_eq!(state(0, &one), State::InProgress);
    assert_eq!(state(40, &two), State::InProgress);
    assert_eq!(state(46, &changed), State::InProgress);
    assert_eq!(state(84, &two), State::InProgress);
    assert_eq!(state(86, &two), State::Failed);
}
