//! What only clusters have: an operator that waits, and nodes that keep an image under its name.

use super::{Find, Follows, Hit, Next, Rule, run};
use crate::components::OPERATOR;
use crate::diagnose::facts::{Facts, Known};
use crate::diagnose::{Fix, Remedy, Severity, Subject};
use crate::readiness::State;

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "OPERATOR_DOWN",
        title: "the operator of Kafka and Connect does not run",
        about: "What runs goes on, but no change of a resource is acted on: a connector that is made has no status at all, and \
                what is changed stays as it was. `up` puts its deployment right. If it ends again and again, its own log tells why: \
                kubectl logs deployment/strimzi-cluster-operator.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(down),
    },
    Rule {
        code: "OPERATOR_STUCK",
        title: "the operator is waiting and has ignored a change",
        about: "It waits up to five minutes for a pod that will not become ready. A change of the resource that comes meanwhile, \
                the one that would mend the pod among them, waits ten seconds for its lock and is dropped. A restart of the \
                operator ends the wait, and it looks at everything anew.",
        severity: Severity::Broken,
        remedy: Remedy::Restart,
        follows: Follows::Nothing,
        find: Find::Facts(stuck),
    },
    Rule {
        code: "IMAGE_STALE",
        title: "a pod runs another image than its name means now",
        about: "A tag was reused for other content: nodes keep what they have under a tag, and pods what they were started with. \
                This tool's tags are made of the content, so a new image has a new tag. `image update` brings the image that is \
                meant to the nodes and replaces the pods that run another one.",
        severity: Severity::Degraded,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(stale),
    },
];

fn down(facts: &Facts) -> Vec<Hit> {
    let seen = facts.operator.as_ref().and_then(Known::seen);
    let failed = seen.filter(|seen| seen.state == State::Failed);
    let hit = failed.map(|status| {
        Hit::new(
            Subject::component(OPERATOR),
            &status.message,
            Next::Fix(Fix::Up),
        )
    });
    hit.into_iter().collect()
}

fn stuck(facts: &Facts) -> Vec<Hit> {
    let ignored = facts.passed_over.as_ref().and_then(Known::seen);
    let each = ignored.into_iter().flatten().filter_map(|(name, lines)| {
        facts.component(name).filter(|it| it.is_silent())?;
        let cause = "the operator ignored a change of it: it waits for a pod";
        let hit = Hit::new(
            Subject::component(name),
            cause,
            Next::Fix(Fix::RestartOperator),
        );
        Some(hit.evidence(lines.last().cloned()))
    });
    each.collect()
}

fn stale(facts: &Facts) -> Vec<Hit> {
    let seen = facts.image.as_ref().and_then(Known::seen);
    let failed = seen.filter(|seen| seen.state == State::Failed);
    let hit = failed.map(|status| {
        Hit::new(
            Subject::component("connect"),
            &status.message,
            run("cargo xtask image update"),
        )
        .evidence(status.evidence.iter().cloned())
    });
    hit.into_iter().collect()
}
