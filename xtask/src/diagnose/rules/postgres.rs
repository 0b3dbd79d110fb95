//! The relational source: its log, slots, publications, tables, roles.

use super::{Find, Follows, Hit, Rule, postgres_query, reset, run, sql_name};
use crate::diagnose::facts::{Connector, Facts, Known, Postgres, Wanted};
use crate::diagnose::{Remedy, Severity, Subject};
use crate::pipeline::slots::Slot;

/// A transaction that lasts longer holds the log back for everybody.
const OLD_SECONDS: u64 = 600;
/// A slot that nobody reads and that keeps more than this is on its way to fill the disk.
const MUCH_WAL: u64 = 1 << 30;

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "WAL_LEVEL",
        title: "PostgreSQL writes too little into its log for change capture",
        about: "Logical decoding needs `wal_level = logical`. The setting takes a restart of the server. Managed databases \
                have a switch of their own for it (RDS: `rds.logical_replication`, Cloud SQL: `cloudsql.logical_decoding`).",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(wal_level),
    },
    Rule {
        code: "STANDBY",
        title: "the PostgreSQL server is a standby",
        about: "After a failover the address may lead to the former primary. Slots and publications are made on the primary.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(standby),
    },
    Rule {
        code: "SLOT_LOST",
        title: "PostgreSQL has removed log that a connector had not read",
        about: "The slot fell behind by more than `max_slot_wal_keep_size`, and its log is gone: changes since its last \
                confirmed place cannot be had any more. No restart helps. `reset-connector` reads the tables anew and finds \
                the deletions that were missed.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(slot_lost),
    },
    Rule {
        code: "SLOT_MISSING",
        title: "a connector's replication slot is gone",
        about: "Somebody dropped it, or the server was restored or failed over without it. A new slot begins at the end of the \
                log: changes between the connector's committed place and that end would be lost in silence, so no command \
                of this tool makes one for a connector that has a place. `reset-connector` reads the tables anew and finds the \
                deletions that were missed.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(slot_missing),
    },
    Rule {
        code: "SLOT_AHEAD",
        title: "a connector's slot begins behind the connector's committed place",
        about: "The slot was made anew, after the connector had committed: PostgreSQL keeps no log for the changes in \
                between, and they never reached the topic. `reset-connector` reads the tables anew.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(slot_ahead),
    },
    Rule {
        code: "OFFSET_AHEAD",
        title: "a connector's committed place lies beyond the end of its source's log",
        about: "The server was restored from a backup, is another one than before, or somebody wrote a wrong offset. The                 connector runs and skips every change up to that place, in silence. `offsets restore` puts a saved place                 back where the source still has it; `reset-connector` reads the tables anew.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(offset_ahead),
    },
    Rule {
        code: "SLOT_TAKEN",
        title: "somebody else reads a connector's slot",
        about: "One slot has one reader. A second worker, a forgotten connector of another Connect cluster, or a person with \
                `pg_recvlogical` holds it. End that reader, or give the connector a slot of its own.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(slot_taken),
    },
    Rule {
        code: "SLOTS_FULL",
        title: "PostgreSQL has no free replication slot",
        about: "`max_replication_slots` are in use, among them perhaps slots that nobody reads any more and that keep log \
                for ever. `slot list` shows them.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(slots_full),
    },
    Rule {
        code: "SLOT_UNREAD",
        title: "a slot that nobody reads keeps PostgreSQL's log",
        about: "The server may not remove log that a slot has not confirmed. It grows until the disk is full, or until \
                `max_slot_wal_keep_size` gives the slot up.",
        severity: Severity::Degraded,
        remedy: Remedy::Person,
        follows: Follows::Needs,
        find: Find::Facts(slot_unread),
    },
    Rule {
        code: "PUBLICATION_MISSING",
        title: "a connector's publication is gone",
        about: "PostgreSQL decodes with the catalogue as it was at each change: what was written while there was no \
                publication cannot be decoded, not even after it is made anew. `reset-connector` begins behind that and reads \
                the tables anew.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(publication_missing),
    },
    Rule {
        code: "TABLE_UNPUBLISHED",
        title: "a captured table is not in its connector's publication",
        about: "Its changes do not reach the connector, without any error. The connector puts it back when it starts \
                (`publication.autocreate.mode=filtered`); what changed meanwhile is only found by reading the table anew, \
                which `reset-connector` does.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::Facts(table_unpublished),
    },
    Rule {
        code: "TABLE_MISSING",
        title: "a captured table does not exist at the source",
        about: "It was dropped or renamed, or never made. Correct the flow's `table` in the profile, or make it.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(table_missing),
    },
    Rule {
        code: "REPLICA_IDENTITY",
        title: "PostgreSQL does not log which row a table's changes are about",
        about: "Without a replica identity, updates and deletions of a published table are refused at the source, or arrive \
                without a key. A primary key with `REPLICA IDENTITY DEFAULT` is enough; a table without one needs `FULL`.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(replica_identity),
    },
    Rule {
        code: "PRIVILEGE_MISSING",
        title: "a connector's user may not do what the connector needs",
        about: "It needs LOGIN and REPLICATION, and SELECT on each captured table for the snapshot. A connector that runs keeps \
                what it had: the lack shows at its next start.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(privilege),
    },
    Rule {
        code: "LONG_TRANSACTION",
        title: "a transaction has been open for long",
        about: "A slot is made, and PostgreSQL's log is given free, only up to the oldest open transaction: a forgotten \
                session keeps a new connector waiting and the log growing.",
        severity: Severity::Degraded,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(long_transaction),
    },
];

fn seen(facts: &Facts) -> Option<&Postgres> {
    facts.postgres.as_ref()?.seen()
}

/// What a rule makes of each connector of this source.
fn each(facts: &Facts, rule: impl Fn(&Postgres, &Connector, &Wanted) -> Option<Hit>) -> Vec<Hit> {
    let Some(postgres) = seen(facts) else {
        return Vec::new();
    };
    let connectors = facts.connectors.iter();
    connectors
        .filter_map(|connector| {
            let wanted = connector.wanted.as_ref()?;
            let here = wanted.source == crate::profile::schema::Source::Postgres;
            here.then(|| rule(postgres, connector, wanted))?
        })
        .collect()
}

fn subject(connector: &Connector) -> Subject {
    Subject::Connector(connector.name.clone())
}

fn slot<'a>(postgres: &'a Postgres, wanted: &Wanted) -> Option<&'a Slot> {
    let name = wanted.slot.as_deref()?;
    postgres.slots.iter().find(|slot| slot.name == name)
}

/// Whether the connector has been past its snapshot: without a place it begins with one, and makes
/// slot and publication itself.
fn began(connector: &Connector) -> bool {
    connector.committed_lsn().is_some()
}

fn wal_level(facts: &Facts) -> Vec<Hit> {
    let level = seen(facts).map_or("logical", |it| it.server.wal_level.as_str());
    let wrong = (level != "logical" && !level.is_empty()).then(|| {
        let next = "cargo xtask query postgres \"ALTER SYSTEM SET wal_level = logical\", and restart the server";
        Hit::new(
            Subject::component("postgres"),
            format!("wal_level is `{level}`, which must be `logical`"),
            run(next),
        )
    });
    wrong.into_iter().collect()
}

fn standby(facts: &Facts) -> Vec<Hit> {
    let server = seen(facts).map(|it| &it.server);
    let wrong = server
        .filter(|server| server.recovery || server.read_only)
        .map(|server| {
            let what = match server.recovery {
                true => "the server is a standby",
                false => "the server takes no writes (default_transaction_read_only)",
            };
            let next = run(
                "point postgres.external at the primary, or promote this one: SELECT pg_promote()",
            );
            Hit::new(Subject::component("postgres"), what, next)
        });
    wrong.into_iter().collect()
}

fn slot_lost(facts: &Facts) -> Vec<Hit> {
    each(facts, |postgres, connector, wanted| {
        let slot = slot(postgres, wanted)?;
        let lost = slot.wal_status.as_deref() == Some("lost");
        lost.then(|| {
            let since = slot
                .confirmed_flush_lsn
                .as_deref()
                .unwrap_or("its beginning");
            let cause = format!(
                "slot `{}` is lost: PostgreSQL has removed the changes since {since}",
                slot.name
            );
            Hit::new(subject(connector), cause, reset(&connector.name))
        })
    })
}

fn slot_missing(facts: &Facts) -> Vec<Hit> {
    each(facts, |postgres, connector, wanted| {
        let name = wanted.slot.as_deref()?;
        let gone = slot(postgres, wanted).is_none() && began(connector);
        gone.then(|| {
            let place = connector.committed.as_ref()?.seen()?.position.as_ref();
            let since = place.map_or("its committed place", |it| it.place.as_str());
            let cause = format!("slot `{name}` is gone: changes since {since} are not kept");
            Some(Hit::new(subject(connector), cause, reset(&connector.name)))
        })?
    })
}

fn slot_ahead(facts: &Facts) -> Vec<Hit> {
    each(facts, |postgres, connector, wanted| {
        let slot = slot(postgres, wanted)?;
        let begins = lsn(slot.restart_lsn.as_deref()?)?;
        let committed = connector.committed_lsn()?;
        (begins > committed).then(|| {
            let cause = format!(
                "slot `{}` keeps the log from {} on, and the connector's committed place is {} bytes before that",
                slot.name,
                slot.restart_lsn.as_deref().unwrap_or_default(),
                begins - committed
            );
            Hit::new(subject(connector), cause, reset(&connector.name))
        })
    })
}

fn offset_ahead(facts: &Facts) -> Vec<Hit> {
    each(facts, |postgres, connector, _| {
        let (end, committed) = (postgres.server.position?, connector.committed_lsn()?);
        (committed > end).then(|| {
            let cause = format!(
                "its committed place lies {} bytes beyond the end of PostgreSQL's log: it skips every change until then",
                committed - end
            );
            Hit::new(subject(connector), cause, reset(&connector.name))
        })
    })
}

/// `16/B374D848` as bytes of the log.
fn lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let (high, low) = (
        u64::from_str_radix(high, 16).ok()?,
        u64::from_str_radix(low, 16).ok()?,
    );
    (low >> 32 == 0).then_some(high << 32 | low)
}

fn slot_taken(facts: &Facts) -> Vec<Hit> {
    each(facts, |postgres, connector, wanted| {
        let slot = slot(postgres, wanted).filter(|slot| slot.active)?;
        let reader = slot.reader.as_deref()?;
        // What Debezium's connectors call themselves.
        let foreign = !reader.contains("Debezium");
        foreign.then(|| {
            let cause = format!("slot `{}` is read by somebody else: {reader}", slot.name);
            let pid = reader.split_whitespace().nth(1).unwrap_or("PID");
            let next = postgres_query(&format!("SELECT pg_terminate_backend({pid})"));
            Hit::new(subject(connector), cause, next)
        })
    })
}

fn slots_full(facts: &Facts) -> Vec<Hit> {
    each(facts, |postgres, connector, wanted| {
        let (used, all) = postgres.server.slot_use;
        let full = used >= all && slot(postgres, wanted).is_none() && !began(connector);
        full.then(|| {
            let unread = postgres.slots.iter().filter(|slot| !slot.active);
            let unread: Vec<String> = unread.map(|it| format!("unread: {}", it.name)).collect();
            let cause = format!("all {all} replication slots are in use");
            Hit::new(
                subject(connector),
                cause,
                run("cargo xtask slot list, then: cargo xtask slot drop NAME"),
            )
            .evidence(unread)
        })
    })
}

fn slot_unread(facts: &Facts) -> Vec<Hit> {
    let Some(postgres) = seen(facts) else {
        return Vec::new();
    };
    let unread = postgres.slots.iter().filter(|slot| {
        let status = slot.wal_status.as_deref();
        let much = slot.retained.unwrap_or(0) > MUCH_WAL;
        !slot.active && (much || matches!(status, Some("extended" | "unreserved")))
    });
    unread
        .map(|slot| {
            let kept = slot.retained.unwrap_or(0) >> 20;
            let cause = format!(
                "slot `{}` keeps {kept} MB of log, and nobody reads it",
                slot.name
            );
            let (subject, next) = match &slot.connector {
                Some(name) => (
                    Subject::Connector(name.clone()),
                    run(format!("cargo xtask connector resume {name}")),
                ),
                None => (
                    Subject::component("postgres"),
                    run(format!("cargo xtask slot drop {}", slot.name)),
                ),
            };
            Hit::new(subject, cause, next)
        })
        .collect()
}

fn publication_missing(facts: &Facts) -> Vec<Hit> {
    each(facts, |postgres, connector, wanted| {
        let name = wanted.publication.as_deref()?;
        let there = postgres
            .server
            .publications
            .iter()
            .any(|it| it.name == name);
        (!there && began(connector)).then(|| {
            let cause = format!("publication `{name}` is gone");
            Hit::new(subject(connector), cause, reset(&connector.name))
        })
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
        let first = left_out.first()?;
        began(connector).then(|| {
            let cause = format!("publication `{name}` is without {first}: its changes do not come");
            Hit::new(subject(connector), cause, reset(&connector.name))
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
        let table = tables.find(|it| {
            let captured = it.exists && wanted.tables.contains(&it.name);
            let identity = it.identity.as_deref();
            captured && (identity == Some("n") || (identity == Some("d") && !it.key))
        })?;
        let identity = if table.key { "DEFAULT" } else { "FULL" };
        let what = match table.key {
            true => "its replica identity is NOTHING",
            false => "it has no primary key and no replica identity",
        };
        Some(Hit::new(
            subject(connector),
            format!("{}: {what}, so updates and deletions fail", table.name),
            postgres_query(&format!(
                "ALTER TABLE {} REPLICA IDENTITY {identity}",
                sql_name(&table.name)
            )),
        ))
    })
}

fn privilege(facts: &Facts) -> Vec<Hit> {
    each(facts, |postgres, connector, wanted| {
        let user = wanted.user.as_str();
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
        // One that runs has what it needs for now.
        let severity = match connector.is_running() && connector.complaints.is_empty() {
            true => Severity::Degraded,
            false => Severity::Broken,
        };
        let hit = Hit::new(subject(connector), cause, postgres_query(&sql));
        Some(hit.severity(severity))
    })
}

fn long_transaction(facts: &Facts) -> Vec<Hit> {
    let old = seen(facts).and_then(|it| it.server.old_transaction.as_ref());
    let old = old.filter(|old| old.seconds > OLD_SECONDS).map(|old| {
        let minutes = old.seconds / 60;
        Hit::new(
            Subject::component("postgres"),
            format!(
                "process {} has had a transaction open for {minutes} min ({})",
                old.pid, old.state
            ),
            postgres_query(&format!("SELECT pg_terminate_backend({})", old.pid)),
        )
    });
    old.into_iter().collect()
}

/// Whether PostgreSQL is known to answer.
pub(super) fn answers(facts: &Facts) -> bool {
    facts.postgres.as_ref().and_then(Known::seen).is_some()
}

#[cfg(test)]
mod tests {
    use super::lsn;

    #[test]
    fn places_of_the_log_are_numbers() {
        assert_eq!(lsn("0/0"), Some(0));
        assert_eq!(lsn("16/B374D848"), Some(0x16_B374_D848));
        assert_eq!(lsn("16"), None);
        assert_eq!(lsn("1/1FFFFFFFF"), None);
    }
}
