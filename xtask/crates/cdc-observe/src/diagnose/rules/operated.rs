//! What only clusters have: nodes, an operator that waits, and images that nodes keep under a name.

use super::{Find, Follows, Hit, Next, Rule, USUAL, once_each, run};
use crate::components::OPERATOR;
use crate::diagnose::facts::{Component, Facts, Known, Node};
use crate::diagnose::{Fix, Remedy, Severity, Subject};
use crate::readiness::{State, Status};

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "NODE_PRESSURE",
        title: "a node runs out of disk, memory or process numbers",
        about: "It takes no more pods, and ends those that it has, one after the other; what they keep on volumes \
                stays. Unused images and logs are the usual reason for a full disk. The node reports it for up to \
                five minutes after there is room again, and takes pods only then.",
        find: Find::Facts(pressed),
        ..USUAL
    },
    Rule {
        code: "NODE_NOT_READY",
        title: "a node of the cluster is not ready",
        about: "Its kubelet does not run, or does not reach the API server, or its network is not there. After five minutes its pods \
                are given to other nodes, but for those whose volume is on it.",
        find: Find::Facts(not_ready),
        ..USUAL
    },
    Rule {
        code: "OPERATOR_DOWN",
        title: "the operator of Kafka and Connect does not run",
        about: "What runs keeps running, but no change of a resource takes effect: a new connector has no status at \
                all, and what is changed stays as it was. `up` restores its deployment. If it ends again and \
                again, its own log shows why: kubectl logs deployment/strimzi-cluster-operator.",
        find: Find::Facts(down),
        ..USUAL
    },
    Rule {
        code: "OPERATOR_STUCK",
        title: "the operator is waiting and has ignored a change",
        about: "It waits up to five minutes for a pod that will not become ready. A change of the resource that \
                comes meanwhile, the one that would fix the pod among them, waits ten seconds for its lock and is \
                dropped. A restart of the operator ends the wait, and it looks at everything again.",
        remedy: Remedy::Restart,
        find: Find::Facts(stuck),
        ..USUAL
    },
    Rule {
        code: "CHANGE_UNTAKEN",
        title: "the operator does not take up a change of a resource",
        about: "A resource has a newer specification than the one that the operator reported on, for longer than an operator \
                needs: what runs is as it was before the change. It may be busy with a pod, or have lost its watch; `restart \
                operator` has it look at everything again. A resource with the annotation `strimzi.io/pause-reconciliation` \
                is left alone on purpose.",
        severity: Severity::Degraded,
        remedy: Remedy::Restart,
        follows: Follows::Needs,
        find: Find::Facts(untaken),
    },
    Rule {
        code: "POD_STARTING",
        title: "a component's pod is being made",
        about: "It was deleted, evicted or replaced, and the next one has no container that has started: it has no \
                log yet. An image, a volume or a node that it waits for is named if the wait lasts.",
        remedy: Remedy::Wait,
        follows: Follows::Needs,
        find: Find::Facts(starting),
        ..USUAL
    },
    Rule {
        code: "IMAGE_STALE",
        title: "a pod runs another image than its name means now",
        about: "A tag was reused for other content: nodes keep what they have under a tag, and pods what they were started with. \
                This tool's tags are made of the content, so a new image has a new tag. `image update` brings the image that is \
                meant to the nodes and replaces the pods that run another one.",
        severity: Severity::Degraded,
        find: Find::Facts(stale),
        ..USUAL
    },
];

/// The nodes in trouble, while anything does not work: what works does so elsewhere.
fn in_trouble(facts: &Facts, pressed: bool) -> impl Iterator<Item = &Node> {
    let matters = facts.components.iter().any(Component::is_silent);
    let seen = facts.nodes.as_ref().and_then(Known::seen);
    let nodes = seen.filter(|_| matters).into_iter().flatten();
    nodes.filter(move |node| pressed == (node.condition != "Ready"))
}

fn pressed(facts: &Facts) -> Vec<Hit> {
    let each = in_trouble(facts, true).map(|node| {
        let cause = format!("node {} has {}: {}", node.name, node.condition, node.message);
        let next = format!(
            "make room on it (kubectl describe node {}), wait until it is reported no longer, then: cargo xtask up",
            node.name
        );
        Hit::new(Subject::Machine, cause, run(next))
    });
    each.collect()
}

fn not_ready(facts: &Facts) -> Vec<Hit> {
    let each = in_trouble(facts, false).map(|node| {
        let cause = format!("node {} is not ready: {}", node.name, node.message);
        let next = format!(
            "have its kubelet run and reach the API server (kubectl describe node {}), then: cargo xtask up",
            node.name
        );
        Hit::new(Subject::Machine, cause, run(next))
    });
    each.collect()
}

/// The status that was seen, if it is a failure.
fn failed(status: &Option<Known<Status>>) -> Option<&Status> {
    let seen = status.as_ref()?.seen()?;
    (seen.state == State::Failed).then_some(seen)
}

fn down(facts: &Facts) -> Vec<Hit> {
    let hit = failed(&facts.operator).map(|status| {
        let subject = Subject::component(OPERATOR);
        Hit::new(subject, &status.message, Next::Fix(Fix::Up))
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

/// An operator that works takes up a change within a second, and rolls a worker within half a minute.
const TAKEN_UP_WITHIN: u64 = 60;

fn untaken(facts: &Facts) -> Vec<Hit> {
    let resources = facts.resources.as_ref().and_then(Known::seen);
    let each = resources.into_iter().flatten().filter_map(|resource| {
        let seconds = resource.untaken_s.filter(|it| *it > TAKEN_UP_WITHIN)?;
        let cause = format!(
            "{} was changed {seconds} s ago, and the operator has not taken that up",
            resource.object
        );
        let fix = Next::Fix(Fix::RestartOperator);
        Some(Hit::new(resource.subject.clone(), cause, fix))
    });
    // A component may have several, and a finding is about it.
    let mut hits: Vec<Hit> = each.collect();
    once_each(&mut hits);
    hits
}

fn starting(facts: &Facts) -> Vec<Hit> {
    let made = facts.components.iter();
    let made = made.filter(|it| it.is_being_made && it.is_silent());
    let each = made.map(|component| {
        let next = run(format!(
            "wait some seconds, then: cargo xtask diagnose {}",
            component.name
        ));
        let cause = format!("its pod is being made: {}", component.status.message);
        Hit::new(Subject::component(&component.name), cause, next)
    });
    each.collect()
}

fn stale(facts: &Facts) -> Vec<Hit> {
    let hit = failed(&facts.image).map(|status| {
        let (subject, next) = (
            Subject::component("connect"),
            run("cargo xtask image update"),
        );
        Hit::new(subject, &status.message, next).evidence(status.evidence.iter().cloned())
    });
    hit.into_iter().collect()
}
