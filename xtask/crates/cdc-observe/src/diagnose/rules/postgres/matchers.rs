//! What is said about PostgreSQL, by servers and by those who read them.

use super::super::matchers::again;
use super::super::{Find, Follows, Rule, USUAL, Words, run};
use super::{NAME, set_wal_level};
use crate::diagnose::facts::Facts;
use crate::diagnose::{Remedy, Subject};

pub(super) const WORDS: Words = &[
    (
        "OFFSET_UNUSABLE",
        &[
            &["has already been removed"],
            &["can no longer get changes from replication slot"],
            &["requested starting point", "ahead of the WAL"],
            &["Cannot parse", "LSN"],
            &["Invalid LSN"],
        ],
    ),
    (
        "PERMISSION_DENIED",
        &[
            &["must be superuser or replication role"],
            &["not permitted to log in"],
        ],
    ),
    ("NO_SPACE", &[&["could not extend file"]]),
    (
        "DATA_VERSION",
        &[&["database files are incompatible with server"]],
    ),
    (
        "SOURCE_UNREACHABLE",
        &[
            // By an administrator, after a crash, or as the server itself is gone.
            &["terminating connection"],
            &["An I/O error occurred while sending to the backend"],
            &["Database connection failed when reading from copy"],
            &["the database system is"],
        ],
    ),
];

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "PUBLICATION_UNKNOWN",
        title: "PostgreSQL cannot decode for want of a publication",
        about: "It decodes with the catalogue as it was at each change: making the publication again does not help \
                for what was written without it.",
        follows: Follows::Same,
        find: Find::TraceOf(NAME, &[&["publication", "does not exist"]], again),
        ..USUAL
    },
    Rule {
        code: "SLOT_BUSY",
        title: "a connector's slot is read by another session",
        about: "The session before has not ended at the server yet, which passes within a minute, or a second worker reads the \
                same slot, which does not.",
        remedy: Remedy::Restart,
        follows: Follows::Same,
        find: Find::TraceOf(
            NAME,
            &[
                &["replication slot", "is active for PID"],
                &["replication slot", "already active"],
            ],
            |_, _| run("cargo xtask slot list"),
        ),
        ..USUAL
    },
    Rule {
        code: "SLOT_EXISTS",
        title: "the slot that a connector wants to make is there already",
        about: "An earlier attempt or another connector left it. If nobody reads it and no connector of yours has a \
                position in it, drop it.",
        follows: Follows::Same,
        find: Find::TraceOf(
            NAME,
            &[&["replication slot", "already exists"]],
            |facts, subject| {
                let slot = slot(facts, subject).unwrap_or("NAME");
                run(format!("cargo xtask slot drop {slot}"))
            },
        ),
        ..USUAL
    },
    Rule {
        code: "DECODER_MISSING",
        title: "PostgreSQL lacks the output plugin that a connector asks for",
        about: "The connector's own default is `decoderbufs`, which few servers have. `pgoutput` is in every one: the \
                profile's template sets `plugin.name: pgoutput`.",
        follows: Follows::Same,
        find: Find::TraceOf(
            NAME,
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
        ..USUAL
    },
    Rule {
        code: "SLOTS_USED_UP",
        title: "PostgreSQL has no free replication slot or sender",
        about: "`max_replication_slots` or `max_wal_senders` are in use. `slot list` shows slots that nobody reads.",
        follows: Follows::Same,
        find: Find::Text(
            &[
                &["all replication slots are in use"],
                &["number of requested standby connections exceeds max_wal_senders"],
            ],
            |_, _| run("cargo xtask slot list, then: cargo xtask slot drop NAME"),
        ),
        ..USUAL
    },
    Rule {
        code: "CONNECTIONS_FULL",
        title: "PostgreSQL takes no more sessions",
        about: "`max_connections` are open, or the role or database has a limit of its own. Find who holds them: \
                `SELECT usename, application_name, count(*) FROM pg_stat_activity GROUP BY 1, 2`.",
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
        ..USUAL
    },
    Rule {
        code: "WAL_LEVEL_SAID",
        title: "a source writes too little into its log for change capture",
        about: "`wal_level` must be `logical`, which takes a restart of the server.",
        follows: Follows::Same,
        find: Find::Text(
            &[&["wal_level"], &["logical decoding requires"]],
            |facts, subject| set_wal_level(server_of(facts, subject)),
        ),
        ..USUAL
    },
];

/// The server that something was said of.
fn server_of<'a>(facts: &'a Facts, subject: &'a Subject) -> &'a str {
    let joined = match subject {
        Subject::Connector(name) => facts.connector(name).and_then(|it| it.wanted.as_ref()),
        Subject::Machine | Subject::Component(_) | Subject::Flow(_) => None,
    };
    let name = joined.map_or(subject.name(), |wanted| &wanted.component);
    let mut servers = facts.components.iter().filter(|it| it.kind == NAME);
    let mut all = servers.clone();
    let found = all.find(|it| it.name == name).or_else(|| servers.next());
    found.map_or(NAME, |it| &it.name)
}

fn slot<'a>(facts: &'a Facts, subject: &Subject) -> Option<&'a str> {
    let wanted = facts.connector(subject.name())?.wanted.as_ref()?;
    wanted.slot.as_deref()
}
