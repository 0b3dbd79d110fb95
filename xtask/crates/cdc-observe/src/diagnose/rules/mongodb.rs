//! MongoDB: its replica set and its oplog, and what is said of them.

use super::matchers::again;
use super::{Find, Follows, Hit, Next, Rule, Type, USUAL, Words, run, servers};
use crate::diagnose::facts::Facts;
use crate::diagnose::facts::mongodb::Mongodb;
use crate::diagnose::{Fix, Remedy, Severity, Subject};

pub(super) const TYPE: Type = Type {
    name: NAME,
    rules: &[RULES],
    matchers: MATCHERS,
    words: WORDS,
    memory: "cache",
    reads_topics: false,
};

const NAME: &str = "mongodb";

/// An oplog shorter than this does not outlast a night.
const SHORT_HOURS: u64 = 8;

const RULES: &[Rule] = &[
    Rule {
        code: "MONGODB_NO_SET",
        title: "MongoDB runs without a replica set, or the set was never initiated",
        about: "Change streams are read from the oplog, which only members of a replica set have. A server that lost its data \
                has to be initiated again, and its users made again; `up` does both for a server of its own.",
        find: Find::Facts(no_set),
        ..USUAL
    },
    Rule {
        code: "MONGODB_WRONG_SET",
        title: "MongoDB is a member of another replica set than the profile says",
        about: "The connection string names the set; a driver that finds another one does not connect.",
        find: Find::Facts(wrong_set),
        ..USUAL
    },
    Rule {
        code: "MONGODB_NOT_PRIMARY",
        title: "the MongoDB member takes no writes",
        about: "An election is going on, or this member is no longer the primary, or the set has lost its majority. With one \
                member it becomes primary by itself within seconds of its start.",
        remedy: Remedy::Wait,
        find: Find::Facts(not_primary),
        ..USUAL
    },
    Rule {
        code: "OPLOG_SHORT",
        title: "MongoDB's oplog holds only a few hours",
        about: "A connector that is idle for longer than the oplog reaches back has lost its position. Make the \
                oplog larger: `replSetResizeOplog`.",
        severity: Severity::Degraded,
        find: Find::Facts(oplog_short),
        ..USUAL
    },
];

/// What is said about it by those who read it.
const MATCHERS: &[Rule] = &[
    Rule {
        code: "RESUME_TOKEN_LOST",
        title: "MongoDB's oplog no longer reaches back to a connector's position",
        about: "The connector was idle for longer than the oplog holds, or the data was restored. What happened in \
                between cannot be read from the oplog any more. `reset-connector` re-snapshots the collections and \
                finds missed deletions.",
        find: Find::TraceOf(
            NAME,
            &[
                &["ChangeStreamHistoryLost"],
                &["resume of change stream was not possible"],
                &["Resume token", "was not found"],
                &["resume point may no longer be in the oplog"],
                &["change stream starting at", "no longer available"],
                // What Debezium 3.4 says instead, failing to write that where it has read no event yet.
                &["null used for required field: \"collection\""],
            ],
            again,
        ),
        ..USUAL
    },
    Rule {
        code: "CONNECTION_STRING",
        title: "a connection string is not one",
        about: "MongoDB's connector wants `replicaSet=` in it, and a password that is not empty. A reference to a password that \
                resolves to nothing leaves an invalid string.",
        follows: Follows::Same,
        find: Find::TraceOf(
            NAME,
            &[
                &["Invalid connection string"],
                &["connection string is invalid"],
            ],
            |_, _| run("cargo xtask connector config, correct the profile, then: cargo xtask up"),
        ),
        ..USUAL
    },
];

const WORDS: Words = &[
    (
        "PERMISSION_DENIED",
        &[&["not authorized on"], &["not authorized to access"]],
    ),
    ("SOURCE_UNREACHABLE", &[&["MongoTimeoutException"]]),
];

/// What a rule makes of each server, with its name.
fn each(facts: &Facts, rule: impl Fn(&str, &Mongodb) -> Option<(String, Next)>) -> Vec<Hit> {
    servers(facts, |name, mongodb| {
        let (cause, next) = rule(name, mongodb)?;
        Some(Hit::new(Subject::component(name), cause, next))
    })
}

/// Whether somebody else runs it: nothing of it can be shown or started from here.
fn is_external(facts: &Facts, name: &str) -> bool {
    facts.component(name).is_some_and(|it| it.external)
}

fn no_set(facts: &Facts) -> Vec<Hit> {
    each(facts, |name, mongodb| {
        match (mongodb.replicated, mongodb.set.is_empty()) {
            (false, _) => Some((
                "the server is not a member of a replica set".into(),
                run(format!(
                    "start mongod with --replSet {}, then: cargo xtask up",
                    mongodb.wanted_set
                )),
            )),
            (true, true) if is_external(facts, name) => Some((
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
    each(facts, |name, mongodb| {
        let (set, wanted) = (&mongodb.set, &mongodb.wanted_set);
        (!set.is_empty() && set != wanted).then(|| {
            (
                format!("it is a member of `{set}`, and the profile says `{wanted}`"),
                run(format!(
                    "cargo xtask up --set {}.replica_set={set}",
                    facts.path(name)
                )),
            )
        })
    })
}

fn not_primary(facts: &Facts) -> Vec<Hit> {
    each(facts, |name, mongodb| {
        let secondary = !mongodb.primary && !mongodb.set.is_empty();
        let next = match is_external(facts, name) {
            true => format!(
                "have the set elect this member, or name the primary in {}.external; then: cargo xtask up",
                facts.path(name)
            ),
            false => format!("cargo xtask status --watch; if it stays: cargo xtask logs {name}"),
        };
        secondary.then(|| ("the member is not the primary".into(), run(next)))
    })
}

fn oplog_short(facts: &Facts) -> Vec<Hit> {
    // A young set has a short oplog that is not full yet: only one that forgets can be too short.
    each(facts, |name, mongodb| {
        let (oldest, newest) = mongodb.oplog?;
        let connectors = facts.connectors.iter();
        let own = connectors.filter(|it| it.reads(name));
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
