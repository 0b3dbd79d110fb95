//! PostgreSQL: its log, publications, tables, roles.
//!
//! A dropped publication is fixed by `reset-connector` only: PostgreSQL decodes with the catalogue
//! as it was at each change.

mod matchers;
mod slots;

use super::{Find, Follows, Hit, Next, Rule, Type, USUAL, query, reset, run, servers};
use crate::clients::postgres::ident;
use crate::components::postgres::lacks::{Lack, Of};
use crate::diagnose::facts::postgres::{Postgres, Table};
use crate::diagnose::facts::{Connector, Facts, Known, Wanted};
use crate::diagnose::{Severity, Subject};

pub(super) const TYPE: Type = Type {
    name: NAME,
    rules: &[slots::RULES, RULES],
    matchers: matchers::RULES,
    words: matchers::WORDS,
    memory: "shared_buffers",
    reads_topics: false,
};

const NAME: &str = "postgres";

/// A transaction that lasts longer holds the log back for everybody.
const OLD_SECONDS: u64 = 600;

const RULES: &[Rule] = &[
    Rule {
        code: "WAL_LEVEL",
        title: "PostgreSQL writes too little into its log for change capture",
        about: "Logical decoding needs `wal_level = logical`. The setting takes a restart of the server. Managed databases \
                have a switch of their own for it (RDS: `rds.logical_replication`, Cloud SQL: `cloudsql.logical_decoding`).",
        find: Find::Facts(wal_level),
        ..USUAL
    },
    Rule {
        code: "STANDBY",
        title: "the PostgreSQL server is a standby",
        about: "After a failover the address may lead to the former primary. Slots and publications are made on the primary.",
        find: Find::Facts(standby),
        ..USUAL
    },
    Rule {
        code: "PUBLICATION_MISSING",
        title: "a connector's publication is gone",
        about: "PostgreSQL decodes with the catalogue as it was at each change: what was written while there was no \
                publication cannot be decoded, not even after it is made again. `reset-connector` starts behind \
                that and re-snapshots the tables.",
        find: Find::Facts(publication_missing),
        ..USUAL
    },
    Rule {
        code: "TABLE_UNPUBLISHED",
        title: "a captured table is not in its connector's publication",
        about: "Its changes do not reach the connector, without any error. `up` and `reset-connector` put it back; \
                what changed meanwhile is only found by a re-snapshot of the table, which `reset-connector` takes.",
        follows: Follows::Same,
        find: Find::Facts(table_unpublished),
        ..USUAL
    },
    Rule {
        code: "PUBLICATION_UNFIT",
        title: "a publication does not send all that a flow wants",
        about: "Somebody else made it, and it is used as it is. Changes are lost without any error where it leaves out \
                operations, rows or columns, or sends those of a partitioned table under its partitions' names. Its \
                owner changes it with the statement that is named; what was not sent meanwhile is found by \
                `reset-connector`.",
        find: Find::Facts(publication_unfit),
        ..USUAL
    },
    Rule {
        code: "TABLE_MISSING",
        title: "a captured table does not exist at the source",
        about: "It was dropped or renamed, or never made. Correct the flow's `table` in the profile, or create it.",
        find: Find::Facts(table_missing),
        ..USUAL
    },
    Rule {
        code: "REPLICA_IDENTITY",
        title: "PostgreSQL does not log which row a table's changes are about",
        about: "Without a replica identity, updates and deletions of a published table are refused at the source, or arrive \
                without a key. A primary key with `REPLICA IDENTITY DEFAULT` is enough; a table without one needs `FULL`.",
        find: Find::Facts(replica_identity),
        ..USUAL
    },
    Rule {
        code: "PRIVILEGE_MISSING",
        title: "a connector's user may not do what the connector needs",
        about: "It needs LOGIN and REPLICATION, and SELECT on each captured table for the snapshot. A connector that runs keeps \
                what it had: the lack shows at its next start.",
        find: Find::Facts(privilege),
        ..USUAL
    },
    Rule {
        code: "FLOW_UNFIT",
        title: "a flow does not fit its table at the source",
        about: "A column's type does not hold all values of the source's, a column went away, the key is not the table's, or \
                log decoding does not carry the table. Rows are held back in the flow's errors, or changes do not come at all. \
                `up` refuses such a flow before it makes anything; here the table was changed since.",
        severity: Severity::Degraded,
        find: Find::Facts(flow_unfit),
        ..USUAL
    },
    Rule {
        code: "LONG_TRANSACTION",
        title: "a transaction has been open for long",
        about: "A slot is made, and PostgreSQL's log is given free, only up to the oldest open transaction: a forgotten \
                session keeps a new connector waiting and the log growing.",
        severity: Severity::Degraded,
        find: Find::Facts(long_transaction),
        ..USUAL
    },
];

/// What a rule makes of each server that a connector reads.
fn each_source(facts: &Facts, rule: impl Fn(&str, &Postgres) -> Option<Hit>) -> Vec<Hit> {
    servers(facts, |name, postgres| {
        let read = facts.connectors.iter().any(|it| it.reads(name));
        read.then(|| rule(name, postgres))?
    })
}

/// What a rule makes of each connector that reads a server.
fn each(facts: &Facts, rule: impl Fn(&Postgres, &Connector, &Wanted) -> Option<Hit>) -> Vec<Hit> {
    let connectors = facts.connectors.iter();
    connectors
        .filter_map(|connector| {
            let mut servers = facts.all::<Postgres>();
            let (_, postgres) = servers.find(|(name, _)| connector.reads(name))?;
            rule(postgres, connector, connector.wanted.as_ref()?)
        })
        .collect()
}

fn subject(connector: &Connector) -> Subject {
    Subject::Connector(connector.name.clone())
}

/// Whether the connector has been past its snapshot: without a place it begins with one, and makes
/// its slot itself.
fn began(connector: &Connector) -> bool {
    connector.committed_lsn().is_some()
}

/// Whether it is known to have no place: what Connect does not tell may be there.
fn never_began(facts: &Facts, connector: &Connector) -> bool {
    let told = !matches!(connector.committed, Some(Known::Unknown(_)));
    facts.connect.seen().is_some() && told && !began(connector)
}

/// A name as SQL wants it: in quotes where it needs them.
fn sql_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let part = |part: &str| match part.chars().all(plain) {
        true => part.to_owned(),
        false => ident(part),
    };
    name.split('.').map(part).collect::<Vec<_>>().join(".")
}

fn set_wal_level(name: &str) -> Next {
    run(format!(
        "cargo xtask query {name} \"ALTER SYSTEM SET wal_level = logical\", and restart the server"
    ))
}

fn wal_level(facts: &Facts) -> Vec<Hit> {
    each_source(facts, |name, postgres| {
        let level = postgres.server.wal_level.as_str();
        (level != "logical" && !level.is_empty()).then(|| {
            Hit::new(
                Subject::component(name),
                format!("wal_level is `{level}`, which must be `logical`"),
                set_wal_level(name),
            )
        })
    })
}

fn standby(facts: &Facts) -> Vec<Hit> {
    servers(facts, |name, postgres: &Postgres| {
        let server = &postgres.server;
        let what = match server.recovery {
            true => "the server is a standby",
            false if server.read_only => {
                "the server takes no writes (default_transaction_read_only)"
            }
            false => return None,
        };
        let next = run(format!(
            "point {}.external at the primary, or promote this one: SELECT pg_promote()",
            facts.path(name)
        ));
        Some(Hit::new(Subject::component(name), what, next))
    })
}

fn publication_missing(facts: &Facts) -> Vec<Hit> {
    each(facts, |postgres, connector, wanted| {
        let name = wanted.publication.as_deref()?;
        let there = postgres
            .server
            .publications
            .iter()
            .any(|it| it.name == name);
        let lack = lacks(postgres, connector, Of::Publication);
        (!there && (began(connector) || !lack.is_empty())).then(|| {
            let cause = match began(connector) {
                true => format!("publication `{name}` is gone"),
                false => format!("there is no publication `{name}`"),
            };
            let next = first(&lack, connector).unwrap_or_else(|| reset(&connector.name));
            Hit::new(subject(connector), cause, next)
        })
    })
}

/// What a connector lacks that somebody else has to add.
fn lacks<'a>(postgres: &'a Postgres, connector: &Connector, of: Of) -> Vec<&'a Lack> {
    let lacks = postgres.lacks.iter();
    let own = lacks.filter(|it| it.of == of && it.connector == connector.name);
    own.collect()
}

/// What to do about what is lacking: the statements, then the command.
fn first(lacks: &[&Lack], connector: &Connector) -> Option<Next> {
    let first = lacks.first()?;
    let all: Vec<&str> = lacks.iter().map(|it| it.sql.as_str()).collect();
    let by = match lacks.iter().all(|it| it.by == first.by) {
        true => first.by.as_str(),
        false => "as a superuser",
    };
    // What was not sent comes with a new snapshot only.
    let then = match first.of != Of::Role && began(connector) {
        true => format!("cargo xtask reset-connector {}", connector.name),
        false => "cargo xtask up".to_owned(),
    };
    Some(run(format!("{by}: {}; then: {then}", all.join("; "))))
}

fn publication_unfit(facts: &Facts) -> Vec<Hit> {
    each(facts, |postgres, connector, _| {
        let lacks = lacks(postgres, connector, Of::Sent);
        let next = first(&lacks, connector)?;
        let all: Vec<&str> = lacks.iter().map(|it| it.cause.as_str()).collect();
        Some(Hit::new(subject(connector), all.join("; "), next))
    })
}

fn table_unpublished(facts: &Facts) -> Vec<Hit> {
    each(facts, |postgres, connector, wanted| {
        let name = wanted.publication.as_deref()?;
        let mut publications = postgres.server.publications.iter();
        let publication = publications.find(|it| it.name == name)?;
        let exists = |table: &String| {
            let mut tables = postgres.server.tables.iter();
            tables.any(|it| it.name == *table && it.exists)
        };
        let left_out: Vec<&String> = wanted
            .tables
            .iter()
            .filter(|table| exists(table) && !publication.tables.contains(table))
            .collect();
        let table = left_out.first()?;
        // What is there under other names has a rule of its own.
        if !lacks(postgres, connector, Of::Sent).is_empty() {
            return None;
        }
        let lack = lacks(postgres, connector, Of::Table);
        (began(connector) || !lack.is_empty()).then(|| {
            let cause = format!("publication `{name}` is without {table}: its changes do not come");
            let next = first(&lack, connector).unwrap_or_else(|| reset(&connector.name));
            Hit::new(subject(connector), cause, next)
        })
    })
}

fn table_missing(facts: &Facts) -> Vec<Hit> {
    each(facts, |postgres, connector, wanted| {
        let mut tables = postgres.server.tables.iter();
        let gone = tables.find(|it| !it.exists && wanted.tables.contains(&it.name))?;
        Some(Hit::new(
            subject(connector),
            format!("there is no table {} at the source", gone.name),
            run("create it, or correct `table` of its flow in the profile; then: cargo xtask up"),
        ))
    })
}

fn replica_identity(facts: &Facts) -> Vec<Hit> {
    each(facts, |postgres, connector, wanted| {
        let mut tables = postgres.server.tables.iter();
        let table = tables
            .find(|it| it.exists && wanted.tables.contains(&it.name) && lacks_identity(it))?;
        let identity = if table.key { "DEFAULT" } else { "FULL" };
        let what = match table.key {
            true => "its replica identity is NOTHING",
            false => "it has no primary key and no replica identity",
        };
        Some(Hit::new(
            subject(connector),
            format!("{}: {what}, so updates and deletions fail", table.name),
            query(
                &wanted.component,
                &format!(
                    "ALTER TABLE {} REPLICA IDENTITY {identity}",
                    sql_name(&table.name)
                ),
            ),
        ))
    })
}

/// Tables that are not there, or have no identity, have rules of their own, and come first.
fn flow_unfit(facts: &Facts) -> Vec<Hit> {
    let servers = facts.all::<Postgres>().filter(|(_, postgres)| {
        let mut tables = postgres.server.tables.iter();
        tables.all(|it| it.exists && !lacks_identity(it))
    });
    let unfit = servers.flat_map(|(name, it)| it.unfit.iter().map(move |unfit| (name, unfit)));
    unfit
        .map(|(name, it)| {
            let at = it.at.iter().map(|at| format!("{at}: ")).collect::<String>();
            let hint = it.hint.as_deref().unwrap_or("correct it in the profile");
            let next = run(format!("{hint}; then: cargo xtask up"));
            Hit::new(Subject::component(name), format!("{at}{}", it.cause), next)
        })
        .collect()
}

fn lacks_identity(table: &Table) -> bool {
    let identity = table.identity.as_deref();
    identity == Some("n") || (identity == Some("d") && !table.key)
}

fn privilege(facts: &Facts) -> Vec<Hit> {
    each(facts, |postgres, connector, wanted| {
        let user = wanted.user.as_str();
        let lack = lacks(postgres, connector, Of::Role);
        if let Some(next) = first(&lack, connector) {
            let all: Vec<&str> = lack.iter().map(|it| it.cause.as_str()).collect();
            let severity = severity_of_rights(connector);
            return Some(Hit::new(subject(connector), all.join("; "), next).severity(severity));
        }
        let role = postgres.server.roles.iter().find(|role| role.name == user);
        let (cause, sql) = match role {
            None => (
                format!("there is no role `{user}`"),
                format!("CREATE ROLE {} LOGIN REPLICATION", sql_name(user)),
            ),
            Some(role) if !role.login || !role.replication => (
                format!("role `{user}` lacks LOGIN or REPLICATION"),
                format!("ALTER ROLE {} LOGIN REPLICATION", sql_name(user)),
            ),
            Some(_) => {
                let mut tables = postgres.server.tables.iter();
                let table = tables.find(|it| {
                    wanted.tables.contains(&it.name) && it.unreadable.iter().any(|it| it == user)
                })?;
                (
                    format!("role `{user}` may not read {}", table.name),
                    format!(
                        "GRANT SELECT ON {} TO {}",
                        sql_name(&table.name),
                        sql_name(user)
                    ),
                )
            }
        };
        let next = match wanted.own_user {
            true => run("cargo xtask up"),
            false => query(&wanted.component, &sql),
        };
        Some(Hit::new(subject(connector), cause, next).severity(severity_of_rights(connector)))
    })
}

/// One that runs has what it needs for now, and so may one that cannot be seen.
fn severity_of_rights(connector: &Connector) -> Severity {
    let runs = connector.state.is_none() || connector.is_running();
    match runs && connector.complaints.is_empty() {
        true => Severity::Degraded,
        false => Severity::Broken,
    }
}

fn long_transaction(facts: &Facts) -> Vec<Hit> {
    each_source(facts, |name, postgres| {
        let old = postgres.server.old_transaction.as_ref();
        let old = old.filter(|old| old.seconds > OLD_SECONDS)?;
        let minutes = old.seconds / 60;
        Some(Hit::new(
            Subject::component(name),
            format!(
                "process {} has had a transaction open for {minutes} min ({})",
                old.pid, old.state
            ),
            query(name, &format!("SELECT pg_terminate_backend({})", old.pid)),
        ))
    })
}
