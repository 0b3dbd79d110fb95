//! Causes before consequences: what a finding may follow from stands above it. No IO.
//!
//! A finding's rule says what may explain it (`Follows`). The rest are causes of their own, the
//! gravest and the nearest to the machine first.

use super::facts::Facts;
use super::rules::{self, Follows};
use super::{Consequence, Finding, Severity, Subject};
use crate::components::OPERATOR;

/// Puts findings that others explain below those, and the gravest first.
pub(super) fn rank(facts: &Facts, mut found: Vec<Finding>) -> Vec<Finding> {
    // Stable: among equals the rules' own order stays.
    found.sort_by_key(|finding| {
        let follows = follows(finding) as u8;
        (finding.severity, depth(finding), follows)
    });
    let mut causes: Vec<Finding> = Vec::new();
    for finding in found {
        let cause = causes
            .iter_mut()
            .find(|cause| explains(facts, cause, &finding));
        match cause {
            // That it does not work is what the cause says already.
            Some(cause) if cause.subject == finding.subject && rules::is_rest(finding.code) => {}
            Some(cause) => cause.consequences.push(Consequence {
                code: finding.code,
                subject: finding.subject,
                cause: finding.cause,
            }),
            None => causes.push(finding),
        }
    }
    causes
}

fn follows(finding: &Finding) -> Follows {
    rules::named(finding.code).map_or(Follows::Nothing, |rule| rule.follows)
}

/// What `up` makes only when all below it is ready: that it is not there may say no more than that an
/// `up` did not get so far. It is as far from the ground as the flows that need it.
const MADE_LAST: [&str; 1] = ["TARGET_TABLE_MISSING"];

/// How far a finding's subject is from the ground.
fn depth(finding: &Finding) -> u8 {
    match &finding.subject {
        _ if MADE_LAST.contains(&finding.code) => 4,
        Subject::Machine => 0,
        Subject::Component(name) if name == "connect" => 2,
        Subject::Component(_) => 1,
        Subject::Connector(_) => 3,
        Subject::Flow(_) => 4,
    }
}

fn explains(facts: &Facts, cause: &Finding, finding: &Finding) -> bool {
    let grave = cause.severity == Severity::Broken || cause.severity == finding.severity;
    let machine = cause.subject == Subject::Machine;
    let same = machine || cause.subject == finding.subject;
    grave
        && match follows(finding) {
            Follows::Nothing => false,
            Follows::Machine => machine,
            Follows::Same => same,
            Follows::Needs => same || needs(facts, &finding.subject, &cause.subject),
        }
}

/// Whether a finding about `subject` matters to what has this name.
pub(super) fn concerns(facts: &Facts, name: &str, subject: &Subject) -> bool {
    let connector = facts.connector(name);
    let connector = connector.map(|it| Subject::Connector(it.name.clone()));
    let all = [Subject::component(name), Subject::Flow(name.to_owned())];
    all.iter()
        .chain(&connector)
        .any(|it| it == subject || needs(facts, it, subject))
}

/// Whether one cannot work without the other, directly or through something between them.
fn needs(facts: &Facts, subject: &Subject, other: &Subject) -> bool {
    direct(facts, subject)
        .iter()
        .any(|needed| needed == other || needs(facts, needed, other))
}

/// What a subject needs directly. It has no cycle: each is nearer to the ground.
fn direct(facts: &Facts, subject: &Subject) -> Vec<Subject> {
    let component = |name: &str| Subject::component(name);
    match subject {
        Subject::Machine => Vec::new(),
        Subject::Component(name) if name == "connect" => vec![component("kafka")],
        Subject::Component(_) => vec![Subject::Machine],
        Subject::Connector(name) => {
            let wanted = facts.connector(name).and_then(|it| it.wanted.as_ref());
            let joined = wanted.map(|wanted| wanted.component.as_str());
            let mut needed = vec![component("connect"), component(OPERATOR)];
            needed.extend(joined.map(component));
            needed
        }
        Subject::Flow(name) => {
            let mut flows = facts.flows.iter();
            let Some(flow) = flows.find(|it| it.name == *name) else {
                return Vec::new();
            };
            let mut needed: Vec<Subject> = flow.target.iter().map(Subject::component).collect();
            needed.push(component("kafka"));
            let connectors = flow.sink.iter().chain([&flow.connector]);
            needed.extend(connectors.cloned().map(Subject::Connector));
            needed
        }
    }
}
