//! The broker and its topics.

use super::{Find, Follows, Hit, Next, Rule, USUAL, run};
use crate::diagnose::facts::{Facts, Kafka};
use crate::diagnose::{Fix, Remedy, Severity, Subject};

/// How many partitions are named.
const SHOWN: usize = 5;

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "PARTITION_LEADERLESS",
        title: "partitions have no leader",
        about: "No broker with a copy in sync is there: these partitions cannot be written or read until one is \
                back. An unclean election would lose messages.",
        follows: Follows::Same,
        find: Find::Facts(leaderless),
        ..USUAL
    },
    Rule {
        code: "REPLICA_BEHIND",
        title: "partitions have fewer copies in sync than they should",
        about: "A broker is away or slow. Below `min.insync.replicas`, writes are refused.",
        severity: Severity::Degraded,
        remedy: Remedy::Wait,
        follows: Follows::Same,
        find: Find::Facts(behind),
    },
    Rule {
        code: "TOPIC_MISSING",
        title: "a flow's topic does not exist",
        about: "Somebody deleted it, or the environment was never finished. `up` makes it; changes that were in it \
                are only in the target, or are read again by `reset-connector`.",
        remedy: Remedy::Restart,
        follows: Follows::Needs,
        find: Find::Facts(topic_missing),
        ..USUAL
    },
    Rule {
        code: "STATE_TOPIC_FORGETS",
        title: "a topic of Connect's own forgets by time",
        about: "Connect keeps configurations, offsets and states in compacted topics. With `cleanup.policy=delete` \
                it forgets them after the retention, and connectors vanish or start from nothing.",
        severity: Severity::Degraded,
        find: Find::Facts(uncompacted),
        ..USUAL
    },
    Rule {
        code: "TOPIC_EMPTY",
        title: "a connector has a committed position, and its topic and target are empty",
        about: "A connector with a committed position does not read old rows again: what was there before arrives \
                only with a new snapshot. New changes do arrive.",
        severity: Severity::Degraded,
        follows: Follows::Needs,
        find: Find::Facts(empty),
        ..USUAL
    },
];

fn broker(facts: &Facts, list: impl Fn(&Kafka) -> &[String], say: &str, next: Next) -> Vec<Hit> {
    let wrong = facts.kafka.seen().map_or(&[][..], list);
    if wrong.is_empty() {
        return Vec::new();
    }
    let cause = format!("{} {say}, {} among them", wrong.len(), wrong[0]);
    let shown = wrong.iter().take(SHOWN).cloned();
    vec![Hit::new(Subject::component("kafka"), cause, next).evidence(shown)]
}

fn leaderless(facts: &Facts) -> Vec<Hit> {
    let next = run("bring the broker back: cargo xtask up");
    broker(
        facts,
        |it| &it.leaderless,
        "partitions have no leader",
        next,
    )
}

fn behind(facts: &Facts) -> Vec<Hit> {
    let next = run("cargo xtask status --watch; if it stays: cargo xtask logs kafka");
    broker(
        facts,
        |it| &it.behind,
        "partitions lack a replica in sync",
        next,
    )
}

fn uncompacted(facts: &Facts) -> Vec<Hit> {
    let next = run("cargo xtask topic config --check");
    broker(
        facts,
        |it| &it.uncompacted,
        "topics of Connect's own are not compacted",
        next,
    )
}

fn topic_missing(facts: &Facts) -> Vec<Hit> {
    let missing = facts
        .flows
        .iter()
        .filter(|it| it.topic_exists == Some(false));
    let hits = missing.map(|flow| {
        let cause = format!("there is no topic {}", flow.topic);
        Hit::new(Subject::Flow(flow.name.clone()), cause, Next::Fix(Fix::Up))
    });
    hits.collect()
}

fn empty(facts: &Facts) -> Vec<Hit> {
    let empty = facts.flows.iter().filter(|flow| {
        let connector = facts.connector(&flow.connector);
        let place = connector.and_then(|it| it.committed.as_ref()?.seen()?.position.as_ref());
        flow.messages == Some(0)
            && flow.newest_ms.is_none()
            && flow.errors.is_some()
            && place.is_some_and(|place| !place.snapshot)
    });
    let hits = empty.map(|flow| {
        Hit::new(
            Subject::Flow(flow.name.clone()),
            format!(
                "{} is empty, and its connector will not read old rows again",
                flow.topic
            ),
            run(format!(
                "if the table has rows that must arrive: cargo xtask reset-connector {}",
                flow.connector
            )),
        )
    });
    hits.collect()
}
