//! Processes, disks, clocks, nodes.

use super::{Find, Follows, Hit, Next, Rule, USUAL, run};
use crate::diagnose::facts::{Component, Facts, Known, Process};
use crate::diagnose::{Fix, Remedy, Severity, Subject};
use crate::readiness::State;

/// Less is too little for Kafka's next segment and a source's next pieces of log.
const LEAST_FREE: u64 = 256 << 20;
/// A share of a small file system that may be left.
const LEAST_SHARE: u64 = 50;
/// Beyond this, ages and positions of different machines cannot be compared.
const SKEW_MS: u64 = 10_000;

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "DISK_FULL",
        title: "there is no room left where a component keeps its data",
        about: "Kafka ends when it cannot write its log, sources stop taking changes, targets refuse rows. \
                Nothing is lost: what was confirmed is on disk, and the rest is sent again once there is room. \
                Before removing anything, look at `cargo xtask lag`: a slot that nobody reads keeps its source's log for ever.",
        find: Find::Facts(disk_full),
        ..USUAL
    },
    Rule {
        code: "PROCESS_SUSPENDED",
        title: "a component's process is suspended by a signal",
        about: "Somebody sent SIGSTOP, or the process was started from a terminal that suspended it. Its port \
                accepts connections, and nothing answers. SIGCONT lets it continue where it was; nothing is lost.",
        find: Find::Facts(suspended),
        ..USUAL
    },
    Rule {
        code: "PORT_TAKEN",
        title: "another process has a component's port",
        about: "The component cannot start while somebody else listens on its port. End that process, give the component \
                another port in the profile, or let `up --ports auto` choose one.",
        find: Find::Facts(port_taken),
        ..USUAL
    },
    Rule {
        code: "CLOCK_SKEW",
        title: "a server's clock differs from this machine's",
        about: "Ages, latencies and the order of rows by time cannot be trusted. Changes still arrive: positions order them. \
                Have the machines keep their time by NTP.",
        severity: Severity::Degraded,
        find: Find::Facts(skew),
        ..USUAL
    },
];

/// That a process is not there, or does not answer: what it said before its end tells more.
pub(super) const ENDS: &[Rule] = &[
    Rule {
        code: "PROCESS_ENDED",
        title: "a component's process has ended, and this tool did not end it",
        about: "It was killed (by somebody, or by the system when memory ran out), or it ended by itself; then the \
                last lines of its log say why. `up` starts it again, and the pipeline continues from its committed \
                positions.",
        remedy: Remedy::Restart,
        follows: Follows::Same,
        find: Find::Facts(ended),
        ..USUAL
    },
    Rule {
        code: "NOT_STARTED",
        title: "a component was never started here, or was stopped",
        about: "An `up` that did not finish, or a component that joined the profile since. `up` starts what is missing.",
        remedy: Remedy::Restart,
        follows: Follows::Same,
        find: Find::Facts(not_started),
        ..USUAL
    },
    Rule {
        code: "PROCESS_HUNG",
        title: "a component's process runs and does not answer",
        about: "It is starting, overloaded, or stuck. Its log shows which; a restart helps where it is stuck.",
        remedy: Remedy::Restart,
        follows: Follows::Needs,
        find: Find::Facts(hung),
        ..USUAL
    },
];

fn disk_full(facts: &Facts) -> Vec<Hit> {
    let rooms = match facts.disk.as_ref().and_then(Known::seen) {
        Some(disk) => disk.rooms.as_slice(),
        None => &[],
    };
    let full = rooms
        .iter()
        .filter(|(_, free, all)| *free < LEAST_FREE.min(all / LEAST_SHARE) || *free == 0);
    let on_host = full.map(|(dir, free, all)| {
        let cause = format!("{dir} has {} of {} MB left", free >> 20, all >> 20);
        let next = run(
            "make room, or move the environment's state (XDG_STATE_HOME); then: cargo xtask up",
        );
        Hit::new(Subject::Machine, cause, next)
    });
    on_host.collect()
}

/// What a rule makes of each component that this tool runs: why it does not work, what to do, and what
/// shows it.
fn with_process(
    facts: &Facts,
    find: impl Fn(&Component) -> Option<(String, Next, &[String])>,
) -> Vec<Hit> {
    let own = facts.components.iter().filter(|it| !it.external);
    let hits = own.filter_map(|it| {
        let (cause, next, evidence) = find(it)?;
        let hit = Hit::new(Subject::component(&it.name), cause, next);
        Some(hit.evidence(evidence.iter().cloned()))
    });
    hits.collect()
}

fn suspended(facts: &Facts) -> Vec<Hit> {
    with_process(facts, |component| {
        let Process::Suspended(pid) = component.process else {
            return None;
        };
        let cause = format!("its process (pid {pid}) is suspended");
        Some((cause, Next::Fix(Fix::Continue(pid)), &[]))
    })
}

fn port_taken(facts: &Facts) -> Vec<Hit> {
    with_process(facts, |component| {
        let owner = component.port_taken.as_slice();
        let next = run("cargo xtask up --ports auto, or end that process and: cargo xtask up");
        let cause = "its port belongs to another process".to_owned();
        (!owner.is_empty()).then_some((cause, next, owner))
    })
}

fn ended(facts: &Facts) -> Vec<Hit> {
    with_process(facts, |component| {
        let Process::Ended(pid) = component.process else {
            return None;
        };
        let cause = format!("its process (pid {pid}) has ended");
        Some((cause, Next::Fix(Fix::Up), last(&component.log)))
    })
}

/// The last lines of a log.
fn last(log: &[String]) -> &[String] {
    const SHOWN: usize = 3;
    &log[log.len().saturating_sub(SHOWN)..]
}

fn not_started(facts: &Facts) -> Vec<Hit> {
    with_process(facts, |component| {
        let cause = "it was not started, or was stopped".to_owned();
        let stopped = component.process == Process::None;
        stopped.then_some((cause, Next::Fix(Fix::Up), &[]))
    })
}

fn hung(facts: &Facts) -> Vec<Hit> {
    with_process(facts, |component| {
        let Process::Running(pid) = component.process else {
            return None;
        };
        let status = &component.status;
        let cause = format!("its process (pid {pid}) runs, but: {}", status.message);
        let fix = Next::Fix(Fix::RestartComponent(component.name.clone()));
        // One that refuses answers, and of one that was not heard nothing is known.
        let silent = matches!(status.state, State::InProgress | State::NotFound);
        silent.then_some((cause, fix, &component.log))
    })
}

fn skew(facts: &Facts) -> Vec<Hit> {
    let wrong = facts.components.iter().filter_map(|it| {
        let told = facts.servers.get(&it.name)?.seen()?;
        let differs = told.clock_ms()?.abs_diff(facts.at);
        (differs > SKEW_MS).then(|| {
            Hit::new(
                Subject::component(&it.name),
                format!(
                    "its clock differs from this machine's by {} s",
                    differs / 1000
                ),
                run("have both machines keep their time: timedatectl set-ntp true"),
            )
        })
    });
    wrong.collect()
}
