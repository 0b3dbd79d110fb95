//! Logins, places, slots and rights, as sources and connectors tell them.

use super::super::{Find, Follows, Next, Rule, run};
use super::{after_fix, again, component_of};
use crate::components::connect::login;
use crate::diagnose::facts::Facts;
use crate::diagnose::{Fix, Remedy, Severity, Subject};
use crate::readiness::connect::LOGIN_REFUSED;

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "LOGIN_REFUSED",
        title: "a login is refused",
        about: "The password was changed at the server, or a connector reads another one than the server has: an empty file, a \
                provider whose path is not allowed, a Secret that was changed after the task had read it. A restart does not \
                help, and repeated tries may lock the account. After the password is right again, restart the connector: \
                a task reads its password once.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Text(LOGIN_REFUSED, with_password),
    },
    Rule {
        code: "RESUME_TOKEN_LOST",
        title: "MongoDB's oplog no longer reaches back to a connector's position",
        about: "The connector was idle for longer than the oplog holds, or the data was restored. What happened in \
                between cannot be read from the oplog any more. `reset-connector` re-snapshots the collections and \
                finds missed deletions.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::TraceOf(
            "mongodb",
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
    },
    Rule {
        code: "OFFSET_UNUSABLE",
        title: "a connector's committed position is not in its source",
        about: "PostgreSQL has removed the log there, the server is another one than before, or somebody wrote a \
                wrong offset. `offsets restore` restores a saved position that the source still has; \
                `reset-connector` takes a new snapshot.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::Trace(
            &[
                &["has already been removed"],
                &["no longer available on the server"],
                &["can no longer get changes from replication slot"],
                &["requested starting point", "ahead of the WAL"],
                &["Cannot parse", "LSN"],
                &["Invalid LSN"],
                &["Could not find existing", "offset"],
                &["ClassCastException", "SourceInfo"],
                &["OffsetContext"],
            ],
            again,
        ),
    },
    Rule {
        code: "PUBLICATION_UNKNOWN",
        title: "PostgreSQL cannot decode for want of a publication",
        about: "It decodes with the catalogue as it was at each change: making the publication again does not help \
                for what was written without it.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::TraceOf("postgres", &[&["publication", "does not exist"]], again),
    },
    Rule {
        code: "SLOT_BUSY",
        title: "a connector's slot is read by another session",
        about: "The session before has not ended at the server yet, which passes within a minute, or a second worker reads the \
                same slot, which does not.",
        severity: Severity::Broken,
        remedy: Remedy::Restart,
        follows: Follows::Same,
        find: Find::TraceOf(
            "postgres",
            &[
                &["replication slot", "is active for PID"],
                &["replication slot", "already active"],
            ],
            |_, _| run("cargo xtask slot list"),
        ),
    },
    Rule {
        code: "SLOT_EXISTS",
        title: "the slot that a connector wants to make is there already",
        about: "An earlier attempt or another connector left it. If nobody reads it and no connector of yours has a \
                position in it, drop it.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::TraceOf(
            "postgres",
            &[&["replication slot", "already exists"]],
            |facts, subject| {
                let slot = slot(facts, subject).unwrap_or("NAME");
                run(format!("cargo xtask slot drop {slot}"))
            },
        ),
    },
    Rule {
        code: "DECODER_MISSING",
        title: "PostgreSQL lacks the output plugin that a connector asks for",
        about: "The connector's own default is `decoderbufs`, which few servers have. `pgoutput` is in every one: the \
                profile's template sets `plugin.name: pgoutput`.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::TraceOf(
            "postgres",
            &[
                &["could not access file", "decoderbufs"],
                &["could not access file", "wal2json"],
            ],
            |_, _| {
                run(
                    "set connectors.NAME.config.plugin.name to pgoutput in the profile, then: cargo xtask up",
                )
            },
        ),
    },
    Rule {
        code: "SLOTS_USED_UP",
        title: "PostgreSQL has no free replication slot or sender",
        about: "`max_replication_slots` or `max_wal_senders` are in use. `slot list` shows slots that nobody reads.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::Text(
            &[
                &["all replication slots are in use"],
                &["number of requested standby connections exceeds max_wal_senders"],
            ],
            |_, _| run("cargo xtask slot list, then: cargo xtask slot drop NAME"),
        ),
    },
    Rule {
        code: "CONNECTIONS_FULL",
        title: "PostgreSQL takes no more sessions",
        about: "`max_connections` are open, or the role or database has a limit of its own. Find who holds them: \
                `SELECT usename, application_name, count(*) FROM pg_stat_activity GROUP BY 1, 2`.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Text(
            &[
                &["too many clients already"],
                &["remaining connection slots are reserved"],
                &["too many connections for"],
            ],
            |_, _| {
                run(
                    "end sessions that are not needed, or raise max_connections; then: cargo xtask up",
                )
            },
        ),
    },
    Rule {
        code: "WAL_LEVEL_SAID",
        title: "a source writes too little into its log for change capture",
        about: "`wal_level` must be `logical`, which takes a restart of the server.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::Text(&[&["wal_level"], &["logical decoding requires"]], |_, _| {
            run(
                "cargo xtask query postgres \"ALTER SYSTEM SET wal_level = logical\", and restart the server",
            )
        }),
    },
    Rule {
        code: "PERMISSION_DENIED",
        title: "a user lacks a right",
        about: "The server names the right in its message. Grant it, and restart what asked for it.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::Text(
            &[
                &["permission denied"],
                &["must be superuser or replication role"],
                &["not authorized on"],
                &["not authorized to access"],
                &["TOPIC_AUTHORIZATION_FAILED"],
                &["Not authorized to access topics"],
                &["not permitted to log in"],
            ],
            after_fix,
        ),
    },
    Rule {
        code: "CONNECTION_STRING",
        title: "a connection string is not one",
        about: "MongoDB's connector wants `replicaSet=` in it, and a password that is not empty. A reference to a password that \
                resolves to nothing leaves an invalid string.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::TraceOf(
            "mongodb",
            &[
                &["Invalid connection string"],
                &["connection string is invalid"],
            ],
            |_, _| run("cargo xtask connector config, correct the profile, then: cargo xtask up"),
        ),
    },
];

fn with_password(facts: &Facts, subject: &Subject) -> Next {
    let Subject::Connector(name) = subject else {
        return run(login::give(&format!("{}.password", component_of(subject))));
    };
    let connector = facts.connector(name);
    let wanted = connector.and_then(|it| it.wanted.as_ref());
    let refused = connector.is_some_and(|it| it.refused.is_some());
    match (connector.and_then(|it| it.login_works), wanted) {
        // The server takes the password that counts: the resource, or the task, has another one.
        (Some(true), Some(_)) if refused => Next::Fix(Fix::Up),
        (Some(true), _) => Next::Fix(Fix::RestartConnector(name.clone())),
        (_, Some(wanted)) => match &wanted.password_key {
            Some(key) => run(login::give(key)),
            None => Next::Fix(Fix::Up),
        },
        (_, None) => run(format!(
            "correct its password where it is configured, then: cargo xtask connector restart {name}"
        )),
    }
}

fn slot<'a>(facts: &'a Facts, subject: &Subject) -> Option<&'a str> {
    let wanted = facts.connector(subject.name())?.wanted.as_ref()?;
    wanted.slot.as_deref()
}
