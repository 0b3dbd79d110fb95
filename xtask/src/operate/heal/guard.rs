//! What must not be started: a connector whose slot is gone makes a new one, and what happened in
//! between is lost in silence. No IO.
//!
//! With source and worker down, the source alone is started first, and its slots are looked at.

use crate::components::position::position;
use crate::components::title;
use crate::diagnose::facts::{Connector, Facts, Known};
use crate::diagnose::{Finding, Fix, Remedy, Severity, Subject};

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
    let wanted = connector.wanted.as_ref()?;
    let slot = wanted.slot.as_deref()?;
    if connector.is_resting() || never_began(connector) {
        return None;
    }
    let name = &connector.name;
    match facts.log(name, wanted) {
        Some(Known::Seen(log)) => log.lost.map(Hold::Loses),
        Some(Known::Unknown(_)) | None => Some(Hold::Blind(format!(
            "whether slot `{slot}` of {name} is there cannot be seen"
        ))),
    }
}

/// A restart of a connector whose source does not answer fails, and is one less for later.
fn source_away(facts: &Facts, connector: &Connector) -> Option<Hold> {
    let wanted = connector.wanted.as_ref()?;
    let Some(Known::Unknown(_)) = facts.log(&connector.name, wanted) else {
        return None;
    };
    let title = title(wanted.kind);
    Some(Hold::Blind(format!("{title} does not answer")))
}

/// Whether it is known to have no place yet: it begins with a snapshot, and makes its slot itself.
fn never_began(connector: &Connector) -> bool {
    let place = connector.committed.as_ref().and_then(Known::seen);
    place.is_some_and(|place| position(&place.offset).is_none())
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
