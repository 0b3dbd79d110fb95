//! PostgreSQL's slots, and the places that connectors have in its log.

use super::super::{Find, Follows, Hit, Rule, USUAL, query, reset, run};
use super::{began, each, never_began, subject};
use crate::components::postgres::holders::Holder;
use crate::diagnose::facts::Facts;
use crate::diagnose::facts::postgres::Postgres;
use crate::diagnose::{Remedy, Severity, Subject};

/// A slot that keeps more than this is on its way to fill the disk.
const MUCH_WAL: u64 = 1 << 30;

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "SLOT_LOST",
        title: "PostgreSQL has removed log that a connector had not read",
        about: "The slot fell behind by more than `max_slot_wal_keep_size`, and its log is gone: changes since its \
                last confirmed position are no longer available. No restart helps. `reset-connector` re-snapshots \
                the tables and finds the deletions that were missed.",
        find: Find::Facts(slot_lost),
        ..USUAL
    },
    Rule {
        code: "SLOT_MISSING",
        title: "a connector's replication slot is gone",
        about: "Somebody dropped it, or the server was restored or failed over without it. A new slot starts at the \
                end of the log: changes between the connector's committed position and that end would be lost \
                silently, so no command of this tool makes one for a connector that has a position. \
                `reset-connector` re-snapshots the tables and finds the deletions that were missed.",
        find: Find::Facts(slot_missing),
        ..USUAL
    },
    Rule {
        code: "SLOT_AHEAD",
        title: "a connector's slot starts behind the connector's committed position",
        about: "The slot was made again after the connector had committed: PostgreSQL keeps no log for the changes \
                in between, and they never reached the topic. `reset-connector` re-snapshots the tables.",
        find: Find::Facts(slot_ahead),
        ..USUAL
    },
    Rule {
        code: "OFFSET_AHEAD",
        title: "a connector's committed position is beyond the end of its source's log",
        about: "The server was restored from a backup, is another one than before, or somebody wrote a wrong offset. The \
                connector runs and silently skips every change up to that position. `offsets restore` restores a saved position \
                that the source still has; `reset-connector` re-snapshots the tables.",
        find: Find::Facts(offset_ahead),
        ..USUAL
    },
    Rule {
        code: "SLOT_TAKEN",
        title: "somebody else reads a connector's slot",
        about: "One slot has one reader. A second worker, a forgotten connector of another Connect cluster, or a person with \
                `pg_recvlogical` holds it. End that reader, or give the connector a slot of its own.",
        find: Find::Facts(slot_taken),
        ..USUAL
    },
    Rule {
        code: "SLOT_HELD_BACK",
        title: "a connector's new slot waits for a transaction",
        about: "PostgreSQL makes a slot once every transaction that wrote before has ended. A session that was forgotten, or \
                a prepared transaction that nobody ended, holds it back for ever, and the connector with it. End it, or wait \
                for it: the connector goes on by itself.",
        find: Find::Facts(slot_held_back),
        ..USUAL
    },
    Rule {
        code: "SLOTS_FULL",
        title: "PostgreSQL has no free replication slot",
        about: "`max_replication_slots` are in use, among them perhaps slots that nobody reads any more and that keep log \
                for ever. `slot list` shows them.",
        find: Find::Facts(slots_full),
        ..USUAL
    },
    Rule {
        code: "SLOT_UNREAD",
        title: "a slot that nobody reads keeps PostgreSQL's log",
        about: "The server may not remove log that a slot has not confirmed. It grows until the disk is full, or until \
                `max_slot_wal_keep_size` gives the slot up.",
        severity: Severity::Degraded,
        follows: Follows::Needs,
        find: Find::Facts(slot_unread),
        ..USUAL
    },
    Rule {
        code: "SLOT_BEHIND",
        title: "a connector is far behind its source",
        about: "Its slot is read, and more than a gigabyte of PostgreSQL's log waits: a snapshot or a large transaction is on its \
                way, the worker lacks processor time or memory, or it cannot keep up. `lag --watch` shows whether it gets less; \
                the log's disk must outlast it.",
        severity: Severity::Degraded,
        remedy: Remedy::Wait,
        follows: Follows::Needs,
        find: Find::Facts(slot_behind),
    },
];

fn slot_behind(facts: &Facts) -> Vec<Hit> {
    each(facts, |postgres, connector, wanted| {
        let slot = postgres.slot_of(wanted).filter(|slot| slot.active)?;
        let behind = slot.unconfirmed.filter(|behind| *behind > MUCH_WAL)?;
        let cause = format!("{} MB of PostgreSQL's log wait for it", behind >> 20);
        Some(Hit::new(
            subject(connector),
            cause,
            run("cargo xtask lag --watch"),
        ))
    })
}

fn slot_lost(facts: &Facts) -> Vec<Hit> {
    each(facts, |postgres, connector, wanted| {
        let slot = postgres.slot_of(wanted)?;
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
        let gone = postgres.slot_of(wanted).is_none() && began(connector);
        gone.then(|| {
            let place = connector.committed.as_ref()?.seen()?.position.as_ref();
            let since = place.map_or("its committed position", |it| it.place.as_str());
            let cause = format!("slot `{name}` is gone: changes since {since} are not kept");
            Some(Hit::new(subject(connector), cause, reset(&connector.name)))
        })?
    })
}

fn slot_ahead(facts: &Facts) -> Vec<Hit> {
    each(facts, |postgres, connector, wanted| {
        let slot = postgres.slot_of(wanted)?;
        let begins = lsn(slot.restart_lsn.as_deref()?)?;
        let committed = connector.committed_lsn()?;
        (begins > committed).then(|| {
            let cause = format!(
                "slot `{}` keeps the log from {} on, and the connector's committed position is {} bytes before that",
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
                "its committed position is {} bytes beyond the end of PostgreSQL's log: it skips every change until then",
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
        let slot = postgres.slot_of(wanted).filter(|slot| slot.active)?;
        let reader = slot.reader.as_deref()?;
        // What Debezium's connectors call themselves.
        let foreign = !reader.contains("Debezium");
        foreign.then(|| {
            let cause = format!("slot `{}` is read by somebody else: {reader}", slot.name);
            let pid = reader.split_whitespace().nth(1).unwrap_or("PID");
            let next = query(
                &wanted.component,
                &format!("SELECT pg_terminate_backend({pid})"),
            );
            Hit::new(subject(connector), cause, next)
        })
    })
}

fn slot_held_back(facts: &Facts) -> Vec<Hit> {
    each(facts, |postgres, connector, wanted| {
        let slot = wanted.slot.as_deref()?;
        let held = |it: &&Holder| it.slot.as_deref() == Some(slot);
        let holders: Vec<&Holder> = postgres.holders.iter().filter(held).collect();
        let first = holders.first()?;
        let all: Vec<String> = holders.iter().map(|it| it.text()).collect();
        let cause = format!(
            "slot `{slot}` is being made, and waits for {}",
            all.join(" and ")
        );
        let next = run(first.end(&wanted.component));
        Some(Hit::new(subject(connector), cause, next))
    })
}

fn slots_full(facts: &Facts) -> Vec<Hit> {
    each(facts, |postgres, connector, wanted| {
        let (used, all) = postgres.server.slot_use;
        let full =
            used >= all && postgres.slot_of(wanted).is_none() && never_began(facts, connector);
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
    let servers = facts.all::<Postgres>();
    let slots = servers.flat_map(|(server, it)| it.slots.iter().map(move |slot| (server, slot)));
    let unread = slots.filter(|(_, slot)| {
        let status = slot.wal_status.as_deref();
        let much = slot.retained.unwrap_or(0) > MUCH_WAL;
        !slot.active && (much || matches!(status, Some("extended" | "unreserved")))
    });
    unread
        .map(|(server, slot)| {
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
                    Subject::component(server),
                    run(format!("cargo xtask slot drop {}", slot.name)),
                ),
            };
            Hit::new(subject, cause, next)
        })
        .collect()
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
