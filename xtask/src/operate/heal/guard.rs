//! What must not be started: a connector whose slot is gone makes a new one, and what happened in
//! between is lost in silence. No IO.
//!
//! With source and worker down, the source alone is started first, and its slots are looked at.

use crate::diagnose::facts::{Connector, Facts, Known, Wanted};
use crate::diagnose::{Finding, Fix, Remedy, Severity, Subject};
use crate::profile::schema::Source;

use super::decide::Act;

/// Why something must not be restarted now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Rows would be lost.
    Loses(String),
    /// It cannot be seen whether rows would be lost, or it would be for nothing.
    Blind(String),
    /// Somebody has it rest.
    Rests,
}

/// Why an act must not be done now.
pub fn hold(facts: &Facts, act: &Act) -> Option<Hold> {
    match act {
        Act::Tasks(name) | Act::Connector(name) => {
            let connector = facts.connector(name)?;
            if connector.is_resting() {
                return Some(Hold::Rests);
            }
            one(facts, connector).or_else(|| source_away(facts, connector))
        }
        // They start tasks, whichever way.
        Act::Fix(Fix::RestartConnector(name)) => hold(facts, &Act::Connector(name.clone())),
        Act::Start(component) if component == "connect" => all(facts),
        // Their proof starts what has failed, too.
        Act::Fix(Fix::Up | Fix::RestartComponent(_)) => all(facts),
        Act::Start(_) | Act::Fix(Fix::RestartOperator | Fix::Continue(_)) => None,
    }
}

fn all(facts: &Facts) -> Option<Hold> {
    let holds = facts.connectors.iter().filter_map(|it| one(facts, it));
    // What is certain counts more than what is unknown.
    holds.min_by_key(|hold| matches!(hold, Hold::Blind(_)))
}

fn one(facts: &Facts, connector: &Connector) -> Option<Hold> {
    let slot = slot_of(connector)?;
    if connector.is_resting() || never_began(connector) {
        return None;
    }
    let name = &connector.name;
    let Some(postgres) = facts.postgres.as_ref().and_then(Known::seen) else {
        let what = format!("whether slot `{slot}` of {name} is there cannot be seen");
        return Some(Hold::Blind(what));
    };
    match postgres.slot(slot) {
        None => Some(Hold::Loses(format!(
            "slot `{slot}` of {name} is gone: started, it would make a new one, which lacks the changes in between"
        ))),
        Some(found) if found.wal_status.as_deref() == Some("lost") => Some(Hold::Loses(format!(
            "slot `{slot}` of {name} is lost: PostgreSQL has removed the changes that it had not read"
        ))),
        Some(_) => None,
    }
}

/// A restart of a connector whose source does not answer fails, and is one less for later.
fn source_away(facts: &Facts, connector: &Connector) -> Option<Hold> {
    let source = connector.wanted.as_ref()?.source;
    let (name, seen) = match source {
        Source::Postgres => (
            "PostgreSQL",
            facts.postgres.as_ref().map(|it| it.seen().is_some()),
        ),
        Source::Mongodb => (
            "MongoDB",
            facts.mongodb.as_ref().map(|it| it.seen().is_some()),
        ),
    };
    (seen == Some(false)).then(|| Hold::Blind(format!("{name} does not answer")))
}

fn slot_of(connector: &Connector) -> Option<&str> {
    let wanted: &Wanted = connector.wanted.as_ref()?;
    wanted.slot.as_deref()
}

/// Whether it is known to have no place yet: it begins with a snapshot, and makes its slot itself.
fn never_began(connector: &Connector) -> bool {
    let place = connector.committed.as_ref().and_then(Known::seen);
    place.is_some_and(|place| place.offset.get("lsn").is_none())
}

/// Findings that the rules leave out while Connect does not tell a connector's position: what is gone is
/// gone, and starting Connect would hide it.
pub fn findings(facts: &Facts, found: &[Finding]) -> Vec<Finding> {
    let unseen = facts.connectors.iter().filter(|it| it.committed.is_none());
    let lost = unseen.filter_map(|connector| {
        let told = found
            .iter()
            .any(|it| it.code.starts_with("SLOT_") && it.subject.name() == connector.name);
        let Some(Hold::Loses(cause)) = one(facts, connector).filter(|_| !told) else {
            return None;
        };
        Some(Finding {
            code: "SLOT_MISSING",
            severity: Severity::Broken,
            subject: Subject::Connector(connector.name.clone()),
            cause,
            evidence: Vec::new(),
            next: format!(
                "cargo xtask up, then: cargo xtask reset-connector {}",
                connector.name
            ),
            remedy: Remedy::Person,
            fix: None,
            consequences: Vec::new(),
        })
    });
    lost.collect()
}

impl Connector {
    /// Whether somebody paused or stopped it.
    pub(super) fn is_resting(&self) -> bool {
        matches!(self.state.as_deref(), Some("PAUSED" | "STOPPED"))
    }
}
