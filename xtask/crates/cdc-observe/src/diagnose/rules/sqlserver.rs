//! SQL Server: its agent and its change tables, and what is said of them.

use super::matchers::again;
use super::{Find, Follows, Hit, Rule, Type, USUAL, Words, query, reset, run, servers};
use crate::clients::sqlserver::{ident, literal};
use crate::components::sqlserver::capture::{Name, ROLE};
use crate::components::sqlserver::source::{Lsn, committed};
use crate::diagnose::facts::Facts;
use crate::diagnose::facts::Known;
use crate::diagnose::facts::sqlserver::Sqlserver;
use crate::diagnose::{Remedy, Severity, Subject};

pub(super) const TYPE: Type = Type {
    name: NAME,
    rules: &[RULES],
    matchers: MATCHERS,
    words: WORDS,
    memory: "resources.memory",
    reads_topics: false,
};

const NAME: &str = "sqlserver";

const RULES: &[Rule] = &[
    Rule {
        code: "AGENT_STOPPED",
        title: "SQL Server's agent does not run, so that nothing captures changes",
        about: "Jobs of the agent copy changes from the transaction log into the change tables that a connector reads. The log is \
                kept for them: it grows for as long as the agent is stopped, and nothing is lost when it starts again.",
        find: Find::Facts(agent),
        ..USUAL
    },
    Rule {
        code: "CDC_OFF",
        title: "SQL Server captures no changes of a database or a table that a flow reads",
        about: "Change data capture is turned on for a database and then for each table. `up` does that at a server that it runs; \
                at one of yours it names the statements. A restored or renamed database has lost it.",
        find: Find::Facts(off),
        ..USUAL
    },
    Rule {
        code: "CAPTURE_STOPPED",
        title: "SQL Server's capture job is stopped",
        about: "The job reads the log of its database for as long as it runs, and nothing else fills the change tables. Nothing is \
                lost while it is stopped: the log is kept for it, and grows.",
        find: Find::Facts(stopped),
        ..USUAL
    },
    Rule {
        code: "CHANGES_LOST",
        title: "SQL Server no longer has changes that a connector has to read next",
        about: "The cleanup job removes changes after a time (its `retention`, three days by default) whether or not a connector has \
                read them. `reset-connector` re-snapshots the tables and finds missed deletions; a longer retention, \
                `sys.sp_cdc_change_job`, leaves more time for the next one.",
        find: Find::Facts(lost),
        ..USUAL
    },
    Rule {
        code: "CHANGES_UNREADABLE",
        title: "the connectors' login may not read a captured table or its changes",
        about: "It needs SELECT on the table, SELECT on the schema `cdc`, and to be of the role that the table was captured with. A \
                connector that lacks any of it sees no table and writes nothing, without an error.",
        find: Find::Facts(unreadable),
        ..USUAL
    },
];

/// What is said about it by those who read it.
const MATCHERS: &[Rule] = &[Rule {
    code: "CHANGE_DEFINITIONS_LOST",
    title: "the definitions of a connector's tables are gone",
    about: "A connector keeps the definitions of its tables in a topic of its own; without it changes cannot be read. \
            `reset-connector` takes a new snapshot, with the definitions.",
    severity: Severity::Broken,
    remedy: Remedy::Person,
    follows: Follows::Same,
    find: Find::TraceOf(
        NAME,
        &[&["db history topic"], &["schema history topic"]],
        again,
    ),
}];

const WORDS: Words = &[
    (
        "OFFSET_UNUSABLE",
        &[&[
            "An insufficient number of arguments were supplied for the procedure or function cdc.fn_cdc_get_all_changes",
        ]],
    ),
    (
        "PERMISSION_DENIED",
        &[&["permission was denied on the object"]],
    ),
    (
        "SOURCE_UNREACHABLE",
        &[&["The TCP/IP connection to the host", "has failed"]],
    ),
];

fn agent(facts: &Facts) -> Vec<Hit> {
    servers(facts, |name, server: &Sqlserver| {
        let next = match facts.component(name).is_some_and(|it| it.external) {
            true => run("start the service SQL Server Agent at the server"),
            false => run(format!("cargo xtask logs {name}")),
        };
        let hit = || Hit::new(Subject::component(name), "its agent is stopped", next);
        (server.agent == Some(false)).then(hit)
    })
}

fn off(facts: &Facts) -> Vec<Hit> {
    servers(facts, |name, server: &Sqlserver| {
        if let Some(it) = server.databases.iter().find(|it| !it.enabled) {
            let cause = format!("change data capture is off for the database {}", it.name);
            let sql = format!("EXEC {}.sys.sp_cdc_enable_db", ident(&it.name));
            return Some(Hit::new(Subject::component(name), cause, query(name, &sql)));
        }
        let it = server.tables.iter().find(|it| !it.enabled)?;
        let (cause, table) = (
            format!("change data capture is off for the table {}", it.name),
            Name::of(&it.name),
        );
        let sql = format!(
            "EXEC {}.sys.sp_cdc_enable_table @source_schema = {}, @source_name = {}, @role_name = {}",
            ident(table.database),
            literal(table.schema),
            literal(table.table),
            literal(ROLE)
        );
        Some(Hit::new(Subject::component(name), cause, query(name, &sql)))
    })
}

fn stopped(facts: &Facts) -> Vec<Hit> {
    servers(facts, |name, server: &Sqlserver| {
        // Without the agent no job runs.
        let mut databases = server
            .databases
            .iter()
            .filter(|_| server.agent != Some(false));
        let it = databases.find(|it| it.capturing == Some(false))?;
        let cause = format!("the capture job of {} does not run", it.name);
        let sql = format!("EXEC {}.sys.sp_cdc_start_job N'capture'", ident(&it.name));
        Some(Hit::new(Subject::component(name), cause, query(name, &sql)))
    })
}

fn lost(facts: &Facts) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (name, server) in facts.all::<Sqlserver>() {
        let connectors = facts.connectors.iter().filter(|it| it.reads(name));
        for (connector, wanted) in connectors.filter_map(|it| Some((it, it.wanted.as_ref()?))) {
            let place = connector.committed.as_ref().and_then(Known::seen);
            let Some(committed) = place.and_then(|it| committed(&it.offset)) else {
                continue;
            };
            let read = |database: &str| {
                let mut tables = wanted.tables.iter();
                tables.any(|it| Name::of(it).database == database)
            };
            let mut databases = server.databases.iter().filter(|it| read(&it.name));
            let found = databases.find_map(|it| {
                let oldest = Lsn::of_binary(it.oldest.as_deref()?)?;
                (oldest >= committed).then_some((it, oldest))
            });
            let Some((database, oldest)) = found else {
                continue;
            };
            let kept = match database.retention_min {
                Some(minutes) => format!(", of which changes of {minutes} minutes are kept"),
                None => String::new(),
            };
            let cause = format!(
                "it has read up to {committed}, and the change tables of {}{kept} begin at {oldest}",
                database.name
            );
            let subject = Subject::Connector(connector.name.clone());
            hits.push(Hit::new(subject, cause, reset(&connector.name)));
        }
    }
    hits
}

fn unreadable(facts: &Facts) -> Vec<Hit> {
    servers(facts, |name, server: &Sqlserver| {
        let mut tables = server.tables.iter();
        let it = tables.find(|it| it.readable == Some(false))?;
        let cause = format!("it may not read {} or its changes", it.name);
        let mut connectors = facts.connectors.iter().filter(|it| it.reads(name));
        let of_ours = connectors.any(|it| it.wanted.as_ref().is_some_and(|it| it.own_user));
        let next = match of_ours {
            true => run("cargo xtask up"),
            false => run("give the connectors' login these rights at the server"),
        };
        Some(Hit::new(Subject::component(name), cause, next))
    })
}
