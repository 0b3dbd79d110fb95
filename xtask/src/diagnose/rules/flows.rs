//! The flows' ends, whatever type they arrive at.

use super::{Find, Follows, Hit, Next, Rule, is_rebalancing, run};
use crate::diagnose::facts::{Facts, Flow};
use crate::diagnose::{Fix, Remedy, Severity, Subject};

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
