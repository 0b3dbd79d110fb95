//! ClickHouse: its tables, its disk, its Kafka consumers, and what it could not take.

use super::flows::{is_idle, subject};
use super::{Find, Follows, Hit, Next, Rule, Type, USUAL, run, servers};
use crate::diagnose::facts::clickhouse::Clickhouse;
use crate::diagnose::facts::{Facts, Flow};
use crate::diagnose::{Fix, Remedy, Severity, Subject};

pub(super) const TYPE: Type = Type {
    name: NAME,
    rules: &[RULES],
    matchers: &[],
    words: &[
        ("OUT_OF_MEMORY", &[&["MEMORY_LIMIT_EXCEEDED"]]),
        ("NO_SPACE", &[&["NOT_ENOUGH_SPACE"]]),
    ],
    memory: "memory",
    reads_topics: true,
};

const NAME: &str = "clickhouse";

/// An exception that is older belongs to something that has passed.
const RECENT_SECONDS: u64 = 120;
/// ClickHouse refuses inserts when a disk is full; merges need room before that.
const LEAST_FREE: u64 = 256 << 20;

const RULES: &[Rule] = &[
    Rule {
        code: "TARGET_TABLE_MISSING",
        title: "tables or views of the target are not there",
        about: "Somebody dropped them, or a flow joined the profile since. `up` makes them. Queues and views hold no \
                rows, and the consumer group keeps its offsets; rows of a dropped silver table come back with \
                `reset-connector`.",
        remedy: Remedy::Restart,
        find: Find::Facts(table_missing),
        ..USUAL
    },
    Rule {
        code: "TARGET_FULL",
        title: "the target has no room left",
        about: "ClickHouse refuses inserts, and its Kafka consumers try again until there is room: nothing is lost while \
                the topics keep their messages.",
        follows: Follows::Same,
        find: Find::Facts(full),
        ..USUAL
    },
    Rule {
        code: "CONSUMER_FAILS",
        title: "the target's Kafka consumer reports errors and reads nothing",
        about: "`system.kafka_consumers` keeps its last exceptions: a broker that cannot be reached, a login that is refused, \
                a view that a message breaks. It tries again by itself.",
        follows: Follows::Needs,
        find: Find::Facts(consumer_fails),
        ..USUAL
    },
    Rule {
        code: "POISON_MESSAGE",
        title: "messages could not become rows",
        about: "They are not changes as the flow expects them: bytes from another writer, or a change whose key or \
                form is not the profile's. They were put aside with the reason and delay nothing. Find who wrote \
                them; remove them from the list when they are dealt with.",
        severity: Severity::Degraded,
        find: Find::Facts(poison),
        ..USUAL
    },
];

/// The flows that arrive at such servers, with the server's name.
fn arriving(facts: &Facts) -> impl Iterator<Item = (&Flow, &str)> {
    facts.flows.iter().filter_map(|flow| {
        let target = facts.component(flow.target.as_deref()?)?;
        (target.kind == NAME).then_some((flow, target.name.as_str()))
    })
}

fn table_missing(facts: &Facts) -> Vec<Hit> {
    servers(facts, |name, clickhouse: &Clickhouse| {
        let missing = &clickhouse.missing;
        let first = missing.first()?;
        let cause = match missing.len() {
            1 => format!("table {first} is missing"),
            count => format!("{count} tables and views are missing, {first} among them"),
        };
        let hit = Hit::new(Subject::component(name), cause, Next::Fix(Fix::Up));
        Some(hit.evidence(missing.iter().cloned()))
    })
}

fn full(facts: &Facts) -> Vec<Hit> {
    servers(facts, |name, clickhouse: &Clickhouse| {
        let (free, all) = clickhouse.room?;
        (free < LEAST_FREE.min(all / 50)).then(|| {
            let cause = format!("its disk has {} of {} MB left", free >> 20, all >> 20);
            let next = run(format!(
                "make room: cargo xtask query {name} \"SELECT table, formatReadableSize(sum(bytes_on_disk)) \
                 FROM system.parts GROUP BY table\""
            ));
            Hit::new(Subject::component(name), cause, next)
        })
    })
}

fn consumer_fails(facts: &Facts) -> Vec<Hit> {
    let idle = arriving(facts).filter(|(flow, _)| is_idle(flow));
    let failing = idle.filter_map(|(flow, name)| {
        let mut servers = facts.all::<Clickhouse>();
        let (_, clickhouse) = servers.find(|(server, _)| *server == name)?;
        let table = format!("{}_queue", flow.name);
        let mut consumers = clickhouse.consumers.iter();
        let said = consumers.find(|it| it.table == table && it.age < RECENT_SECONDS)?;
        let next = run(format!("cargo xtask logs {name} --level warn"));
        Some(Hit::new(
            subject(flow),
            format!("its consumer says: {}", said.error),
            next,
        ))
    });
    failing.collect()
}

fn poison(facts: &Facts) -> Vec<Hit> {
    // What waits for a column becomes a row with it.
    let poison = |flow: &Flow| flow.errors.unwrap_or(0).saturating_sub(flow.waiting);
    let poisoned = arriving(facts).filter(|(flow, _)| poison(flow) > 0);
    let hits = poisoned.map(|(flow, server)| {
        let count = poison(flow);
        let name = &flow.name;
        let next = run(format!(
            "cargo xtask dlq show {name}; when they are dealt with: \
             cargo xtask query {server} \"TRUNCATE TABLE {name}_errors\""
        ));
        let cause = format!("{count} messages could not become rows");
        let hit = Hit::new(subject(flow), cause, next);
        hit.evidence(flow.newest_error.clone())
    });
    hits.collect()
}
