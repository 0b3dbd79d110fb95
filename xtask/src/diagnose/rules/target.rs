//! The target.

use super::{Find, Follows, Hit, Next, Rule, is_rebalancing, run};
use crate::diagnose::facts::{Facts, Flow};
use crate::diagnose::{Fix, Remedy, Severity, Subject};

/// Heartbeats alone make so many messages in half a minute.
const MANY: i64 = 300;
/// So many are worth a word even while they are being read.
const VERY_MANY: i64 = 1_000_000;
/// An exception that is older belongs to something that has passed.
const RECENT_SECONDS: u64 = 120;
/// Rows that came since say that the target works.
const RECENT_MS: u64 = 30_000;
/// ClickHouse refuses inserts when a disk is full; merges need room before that.
const LEAST_FREE: u64 = 256 << 20;

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "TARGET_TABLE_MISSING",
        title: "tables or views of the target are not there",
        about: "Somebody dropped them, or a flow joined the profile since. `up` makes them. Queues and views hold no \
                rows, and the consumer group keeps its offsets; rows of a dropped silver table come back with \
                `reset-connector`.",
        severity: Severity::Broken,
        remedy: Remedy::Restart,
        follows: Follows::Nothing,
        find: Find::Facts(table_missing),
    },
    Rule {
        code: "TARGET_FULL",
        title: "the target has no room left",
        about: "ClickHouse refuses inserts, and its Kafka consumers try again until there is room: nothing is lost while \
                the topics keep their messages.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::Facts(full),
    },
    Rule {
        code: "CONSUMER_FAILS",
        title: "the target's Kafka consumer reports errors and reads nothing",
        about: "`system.kafka_consumers` keeps its last exceptions: a broker that cannot be reached, a login that is refused, \
                a view that a message breaks. It tries again by itself.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Needs,
        find: Find::Facts(consumer_fails),
    },
    Rule {
        code: "GROUP_REBALANCING",
        title: "the target's consumer group keeps rebalancing",
        about: "Its members join and leave: two environments with one group name, a member that polls too seldom \
                (`max.poll.interval.ms`), or a network that drops connections.",
        severity: Severity::Broken,
        remedy: Remedy::Wait,
        follows: Follows::Needs,
        find: Find::Facts(group_rebalancing),
    },
    Rule {
        code: "TARGET_STALLED",
        title: "the target reads nothing, and its topics grow",
        about: "No consumer is there, or it hangs. After a kill the group waits for the old member's session to end. \
                A restarted target continues at the committed offset.",
        severity: Severity::Broken,
        remedy: Remedy::Restart,
        follows: Follows::Needs,
        find: Find::Facts(stalled),
    },
    Rule {
        code: "POISON_MESSAGE",
        title: "messages could not become rows",
        about: "They are not changes as the flow expects them: bytes from another writer, or a change whose key or \
                form is not the profile's. They were put aside with the reason and delay nothing. Find who wrote \
                them; remove them from the list when they are dealt with.",
        severity: Severity::Degraded,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(poison),
    },
    Rule {
        code: "TARGET_BEHIND",
        title: "the target is far behind its topics",
        about: "It reads, and more than a million messages wait: after an outage or a large load this passes by itself. If it does \
                not, the target lacks processor time, memory or disk, or the topic needs more partitions. `lag --watch` shows \
                whether it gets less.",
        severity: Severity::Degraded,
        remedy: Remedy::Wait,
        follows: Follows::Needs,
        find: Find::Facts(behind),
    },
];

fn behind(facts: &Facts) -> Vec<Hit> {
    let reads = facts.flows.iter().filter(|flow| flow.reads == Some(true));
    let hits = reads.filter_map(|flow| {
        let unread = flow.unread.filter(|unread| *unread > VERY_MANY)?;
        let cause = format!("{unread} messages wait to be read");
        Some(Hit::new(
            subject(flow),
            cause,
            run("cargo xtask lag --watch"),
        ))
    });
    hits.collect()
}

fn subject(flow: &Flow) -> Subject {
    Subject::Flow(flow.name.clone())
}

/// Whether a flow's target does nothing although there is work. One whose target is not known has no row
/// either, and may be at work.
fn is_idle(flow: &Flow) -> bool {
    let empty = flow.newest_ms.is_none() && flow.errors.is_some();
    flow.reads == Some(false)
        && flow.unread.is_some_and(|unread| unread > MANY)
        && (empty || flow.newest_ms.is_some_and(|age| age > RECENT_MS))
}

fn table_missing(facts: &Facts) -> Vec<Hit> {
    let missing = facts.clickhouse.seen().map_or(&[][..], |it| &it.missing);
    let Some(first) = missing.first() else {
        return Vec::new();
    };
    let cause = match missing.len() {
        1 => format!("table {first} is missing"),
        count => format!("{count} tables and views are missing, {first} among them"),
    };
    let hit = Hit::new(Subject::component("clickhouse"), cause, Next::Fix(Fix::Up));
    vec![hit.evidence(missing.iter().cloned())]
}

fn full(facts: &Facts) -> Vec<Hit> {
    let room = facts.clickhouse.seen().and_then(|it| it.room);
    let full = room.filter(|(free, all)| *free < LEAST_FREE.min(all / 50));
    let hit = full.map(|(free, all)| {
        let cause = format!("its disk has {} of {} MB left", free >> 20, all >> 20);
        let next = run("make room: cargo xtask query clickhouse \"SELECT table, formatReadableSize(sum(bytes_on_disk)) \
                        FROM system.parts GROUP BY table\"");
        Hit::new(Subject::component("clickhouse"), cause, next)
    });
    hit.into_iter().collect()
}

fn consumer_fails(facts: &Facts) -> Vec<Hit> {
    let consumers = facts.clickhouse.seen().map_or(&[][..], |it| &it.consumers);
    let idle = facts.flows.iter().filter(|flow| is_idle(flow));
    let failing = idle.filter_map(|flow| {
        let table = format!("{}_queue", flow.name);
        let said = consumers
            .iter()
            .find(|it| it.table == table && it.age < RECENT_SECONDS)?;
        let next = run("cargo xtask logs clickhouse --level warn");
        Some(Hit::new(
            subject(flow),
            format!("its consumer says: {}", said.error),
            next,
        ))
    });
    failing.collect()
}

fn group_rebalancing(facts: &Facts) -> Vec<Hit> {
    let rebalancing =
        |flow: &&Flow| flow.group_state.as_deref().is_some_and(is_rebalancing) && is_idle(flow);
    let hits = facts.flows.iter().filter(rebalancing).map(|flow| {
        let cause = format!("group {} is rebalancing and reads nothing", flow.group);
        let next = run(format!("cargo xtask group describe {}", flow.group));
        Hit::new(subject(flow), cause, next)
    });
    hits.collect()
}

fn stalled(facts: &Facts) -> Vec<Hit> {
    let idle = facts.flows.iter().filter(|flow| is_idle(flow));
    let hits = idle.map(|flow| {
        let unread = flow.unread.unwrap_or_default();
        let who = match flow.members {
            Some(0) => "it has no consumer",
            _ => "its consumer reads nothing",
        };
        let cause = format!("{unread} messages wait, and {who}");
        let fix = Fix::RestartComponent("clickhouse".into());
        Hit::new(subject(flow), cause, Next::Fix(fix))
    });
    hits.collect()
}

fn poison(facts: &Facts) -> Vec<Hit> {
    let poisoned = facts
        .flows
        .iter()
        .filter(|flow| flow.errors.unwrap_or(0) > 0);
    let hits = poisoned.map(|flow| {
        let count = flow.errors.unwrap_or_default();
        let name = &flow.name;
        let next = run(format!(
            "cargo xtask dlq show {name}; when they are dealt with: \
             cargo xtask query clickhouse \"TRUNCATE TABLE {name}_errors\""
        ));
        let cause = format!("{count} messages could not become rows");
        let hit = Hit::new(subject(flow), cause, next);
        hit.evidence(flow.newest_error.clone())
    });
    hits.collect()
}
