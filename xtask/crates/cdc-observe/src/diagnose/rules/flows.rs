//! The flows' ends, whatever type they arrive at.

use super::{Find, Follows, Hit, Next, Rule, USUAL, is_rebalancing, run};
use crate::diagnose::facts::{Facts, Flow};
use crate::diagnose::{Fix, Remedy, Severity, Subject};
use crate::reconcile::report::TableReport;

/// Heartbeats alone make so many messages in half a minute.
const MANY: i64 = 300;
/// So many are worth a word even while they are being read.
const VERY_MANY: i64 = 1_000_000;
/// Rows that came since say that the target works.
const RECENT_MS: u64 = 30_000;

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "GROUP_REBALANCING",
        title: "the target's consumer group keeps rebalancing",
        about: "Its members join and leave: two environments with one group name, a member that polls too seldom \
                (`max.poll.interval.ms`), or a network that drops connections.",
        remedy: Remedy::Wait,
        follows: Follows::Needs,
        find: Find::Facts(group_rebalancing),
        ..USUAL
    },
    Rule {
        code: "TARGET_STALLED",
        title: "the target reads nothing, and its topics grow",
        about: "No consumer is there, or it hangs. After a kill the group waits for the old member's session to end. \
                A restarted target continues at the committed offset.",
        remedy: Remedy::Restart,
        follows: Follows::Needs,
        find: Find::Facts(stalled),
        ..USUAL
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
    Rule {
        code: "COLUMN_ADDED",
        title: "a flow's table has a column that its target does not have",
        about: "It was added at the source. Rows arrive without it meanwhile, and their changes are kept: `up` adds the column and \
                completes them. With `schema: report` nothing is added, with `schema: refuse` rows that have the column are held back.",
        remedy: Remedy::Restart,
        find: Find::Facts(column_added),
        ..USUAL
    },
    Rule {
        code: "SCHEMA_CHANGED",
        title: "a flow's table and its target no longer have the same columns",
        about: "One was renamed, dropped or retyped at the source. Rows that lack a column of the target are held back in the \
                flow's errors: blank, they would lose what they had. The statements that are named bring the target along; \
                `up` then completes what was held back.",
        find: Find::Facts(schema_changed),
        ..USUAL
    },
    Rule {
        code: "ROWS_DIFFER",
        title: "a flow's target does not have the rows that its source has",
        about: "`diagnose --data` compared all values; changes on their way are not counted. Rows are missing where messages are held back \
                (`dlq list`), or were lost with a topic or a slot; rows are too many where a deletion was lost; values differ where \
                rows were written at the target by hand. `reconcile FLOW --repair` names the smallest repair, and does it with `--yes`.",
        find: Find::Facts(rows_differ),
        ..USUAL
    },
];

/// How many rows a finding names.
const NAMED: usize = 5;

pub(super) fn subject(flow: &Flow) -> Subject {
    Subject::Flow(flow.name.clone())
}

/// Whether a flow's target does nothing although there is work. One whose target is not known has no row
/// either, and may be at work.
pub(super) fn is_idle(flow: &Flow) -> bool {
    let empty = flow.newest_ms.is_none() && flow.errors.is_some();
    flow.reads == Some(false)
        && flow.unread.is_some_and(|unread| unread > MANY)
        && (empty || flow.newest_ms.is_some_and(|age| age > RECENT_MS))
}

fn rows_differ(facts: &Facts) -> Vec<Hit> {
    let differing = facts.rows.iter().filter(|it| it.differing() > 0);
    let hit = |table: &TableReport| {
        let rows = table.differences.iter().take(NAMED);
        let rows = rows.map(|it| table.named(it));
        let held = table.held_back.filter(|it| *it > 0);
        let held = held.map(|it| format!("{it} messages are held back: cargo xtask dlq list"));
        Hit::new(
            Subject::Flow(table.table.clone()),
            table.differing_in_words(),
            run(format!("cargo xtask reconcile {} --repair", table.table)),
        )
        .evidence(rows.chain(held))
    };
    differing.map(hit).collect()
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
    let hits = idle.filter_map(|flow| {
        let unread = flow.unread.unwrap_or_default();
        let who = match flow.members {
            Some(0) => "it has no consumer",
            _ => "its consumer reads nothing",
        };
        let cause = format!("{unread} messages wait, and {who}");
        let fix = match &flow.sink {
            Some(sink) => Fix::RestartConnector(sink.clone()),
            None => Fix::RestartComponent(flow.target.clone()?),
        };
        Some(Hit::new(subject(flow), cause, Next::Fix(fix)))
    });
    hits.collect()
}

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

/// What waits for a flow's columns, as evidence.
fn waiting(flow: &Flow) -> Option<String> {
    let count = flow.waiting;
    (count > 0).then(|| format!("changes that wait for it: {count}"))
}

fn column_added(facts: &Facts) -> Vec<Hit> {
    let hits = facts.flows.iter().filter_map(|flow| {
        let drift = flow.drift.as_ref()?;
        let (columns, severity, next) = match (drift.added.as_slice(), drift.reported.as_slice()) {
            ([], []) => return None,
            ([], reported) => {
                let name = &flow.name;
                let omit = reported.join(", ");
                let next = format!(
                    "cargo xtask up --set flows.{name}.schema=follow; or leave it out, `omit: [{omit}]`, \
                     then: cargo xtask up"
                );
                (reported, Some(Severity::Degraded), run(next))
            }
            (added, _) => (added, None, Next::Fix(Fix::Up)),
        };
        let cause = format!("the target has no column {} yet", columns.join(", "));
        let mut hit = Hit::new(subject(flow), cause, next).evidence(waiting(flow));
        hit.severity = severity;
        Some(hit)
    });
    hits.collect()
}

fn schema_changed(facts: &Facts) -> Vec<Hit> {
    let hits = facts.flows.iter().flat_map(|flow| {
        let wrong = flow.drift.iter().flat_map(|it| &it.wrong);
        wrong.map(move |it| {
            let hit = Hit::new(subject(flow), it.cause.clone(), run(it.next.clone()));
            hit.evidence(waiting(flow))
        })
    });
    hits.collect()
}
