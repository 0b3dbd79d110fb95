//! The document source.

use super::{Find, Follows, Hit, Next, Rule, run};
use crate::diagnose::facts::{Facts, Known, Mongodb};
use crate::diagnose::{Fix, Remedy, Severity, Subject};

/// An oplog shorter than this does not outlast a night.
const SHORT_HOURS: u64 = 8;

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "MONGODB_NO_SET",
        title: "MongoDB runs without a replica set, or the set was never initiated",
        about: "Change streams are read from the oplog, which only members of a replica set have. A server that lost its data \
                has to be initiated again, and its users made again; `up` does both for a server of its own.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(no_set),
    },
    Rule {
        code: "MONGODB_WRONG_SET",
        title: "MongoDB is a member of another replica set than the profile says",
        about: "The connection string names the set; a driver that finds another one does not connect.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(wrong_set),
    },
    Rule {
        code: "MONGODB_NOT_PRIMARY",
        title: "the MongoDB member takes no writes",
        about: "An election is going on, or this member is no longer the primary, or the set has lost its majority. With one \
                member it becomes primary by itself within seconds of its start.",
        severity: Severity::Broken,
        remedy: Remedy::Wait,
        follows: Follows::Nothing,
        find: Find::Facts(not_primary),
    },
    Rule {
        code: "OPLOG_SHORT",
        title: "MongoDB's oplog holds only a few hours",
        about: "A connector that is idle for longer than the oplog reaches back has lost its position. Make the \
                oplog larger: `replSetResizeOplog`.",
        severity: Severity::Degraded,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(oplog_short),
    },
];

fn when(facts: &Facts, rule: impl Fn(&Mongodb) -> Option<(String, Next)>) -> Vec<Hit> {
    let seen = facts.mongodb.as_ref().and_then(Known::seen);
    let hit = seen.and_then(rule);
    let hit = hit.map(|(cause, next)| Hit::new(Subject::component("mongodb"), cause, next));
    hit.into_iter().collect()
}

/// Whether somebody else runs it: nothing of it can be shown or started from here.
fn is_external(facts: &Facts) -> bool {
    facts.component("mongodb").is_some_and(|it| it.external)
}

fn no_set(facts: &Facts) -> Vec<Hit> {
    when(facts, |mongodb| {
        match (mongodb.replicated, mongodb.set.is_empty()) {
            (false, _) => Some((
                "the server is not a member of a replica set".into(),
                run(format!(
                    "start mongod with --replSet {}, then: cargo xtask up",
                    mongodb.wanted_set
                )),
            )),
            (true, true) if is_external(facts) => Some((
                "the replica set was never initiated".into(),
                run("initiate it (rs.initiate()), then: cargo xtask up"),
            )),
            (true, true) => Some((
                "the replica set was never initiated".into(),
                Next::Fix(Fix::Up),
            )),
            _ => None,
        }
    })
}

fn wrong_set(facts: &Facts) -> Vec<Hit> {
    when(facts, |mongodb| {
        let (set, wanted) = (&mongodb.set, &mongodb.wanted_set);
        (!set.is_empty() && set != wanted).then(|| {
            (
                format!("it is a member of `{set}`, and the profile says `{wanted}`"),
                run(format!("cargo xtask up --set mongodb.replica_set={set}")),
            )
        })
    })
}

fn not_primary(facts: &Facts) -> Vec<Hit> {
    when(facts, |mongodb| {
        let secondary = !mongodb.primary && !mongodb.set.is_empty();
        let next = if is_external(facts) {
            "have the set elect this member, or name the primary in mongodb.external; then: cargo xtask up"
        } else {
            "cargo xtask status --watch; if it stays: cargo xtask logs mongodb"
        };
        secondary.then(|| ("the member is not the primary".into(), run(next)))
    })
}

fn oplog_short(facts: &Facts) -> Vec<Hit> {
    // A young set has a short oplog that is not full yet: only one that forgets can be too short.
    when(facts, |mongodb| {
        let (oldest, newest) = mongodb.oplog?;
        let connectors = facts.connectors.iter();
        let own = connectors.filter(|it| it.source() == Some("mongodb"));
        let places = own.filter_map(|it| it.committed.as_ref()?.seen()?.position.as_ref());
        let place = places.filter_map(|it| it.at).min()? / 1000;
        let left = place.saturating_sub(oldest);
        let behind = newest.saturating_sub(place) > SHORT_HOURS * 900;
        (behind && left < SHORT_HOURS * 3600).then(|| {
            (
                format!(
                    "the connector's position leaves the oplog in {} min",
                    left / 60
                ),
                run("cargo xtask connector status; make the oplog larger: replSetResizeOplog"),
            )
        })
    })
}
