//! Processes, disks, clocks, nodes.

use super::{Find, Follows, Hit, Next, Rule, run};
use crate::diagnose::facts::{Facts, Known, Process};
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
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(disk_full),
    },
    Rule {
        code: "PROCESS_SUSPENDED",
        title: "a component's process is suspended by a signal",
        about: "Somebody sent SIGSTOP, or the process was started from a terminal that suspended it. Its port \
                accepts connections, and nothing answers. SIGCONT lets it continue where it was; nothing is lost.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(suspended),
    },
    Rule {
        code: "PORT_TAKEN",
        title: "another process has a component's port",
        about: "The component cannot start while somebody else listens on its port. End that process, give the component \
                another port in the profile, or let `up --ports auto` choose one.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(port_taken),
    },
    Rule {
        code: "CLOCK_SKEW",
        title: "a server's clock differs from this machine's",
        about: "Ages, latencies and the order of rows by time cannot be trusted. Changes still arrive: positions order them. \
                Have the machines keep their time by NTP.",
        severity: Severity::Degraded,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Facts(skew),
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
        severity: Severity::Broken,
        remedy: Remedy::Restart,
        follows: Follows::Same,
        find: Find::Facts(ended),
    },
    Rule {
        code: "NOT_STARTED",
        title: "a component was never started here, or was stopped",
        about: "An `up` that did not finish, or a component that joined the profile since. `up` starts what is missing.",
        severity: Severity::Broken,
        remedy: Remedy::Restart,
        follows: Follows::Same,
        find: Find::Facts(not_started),
    },
    Rule {
        code: "PROCESS_HUNG",
        title: "a component's process runs and does not answer",
        about: "It is starting, overloaded, or stuck. Its log shows which; a restart helps where it is stuck.",
        severity: Severity::Broken,
        remedy: Remedy::Restart,
        follows: Follows::Needs,
        find: Find::Facts(hung),
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

fn with_process(
    facts: &Facts,
    hit: impl Fn(&crate::diagnose::facts::Component) -> Option<Hit>,
) -> Vec<Hit> {
    let own = facts.components.iter().filter(|it| !it.external);
    own.filter_map(hit).collect()
}

fn suspended(facts: &Facts) -> Vec<Hit> {
    with_process(facts, |component| match component.process {
        Process::Suspended(pid) => Some(Hit::new(
            Subject::component(&component.name),
            format!("its process (pid {pid}) is suspended"),
            Next::Fix(Fix::Continue(pid)),
        )),
        _ => None,
    })
}

fn port_taken(facts: &Facts) -> Vec<Hit> {
    with_process(facts, |component| {
        let owner = component.port_taken.as_ref()?;
        Some(
            Hit::new(
                Subject::component(&component.name),
                "its port belongs to another process",
                run("cargo xtask up --ports auto, or end that process and: cargo xtask up"),
            )
            .evidence([owner.clone()]),
        )
    })
}

fn ended(facts: &Facts) -> Vec<Hit> {
    with_process(facts, |component| match component.process {
        Process::Ended(pid) => Some(
            Hit::new(
                Subject::component(&component.name),
                format!("its process (pid {pid}) has ended"),
                Next::Fix(Fix::Up),
            )
            .evidence(last(&component.log)),
        ),
        _ => None,
    })
}

/// The last lines of a log.
fn last(log: &[String]) -> impl Iterator<Item = String> {
    const SHOWN: usize = 3;
    log[log.len().saturating_sub(SHOWN)..].iter().cloned()
}

fn not_started(facts: &Facts) -> Vec<Hit> {
    with_process(facts, |component| match component.process {
        Process::None => Some(Hit::new(
            Subject::component(&component.name),
            "it was not started, or was stopped",
            Next::Fix(Fix::Up),
        )),
        _ => None,
    })
}

fn hung(facts: &Facts) -> Vec<Hit> {
    with_process(facts, |component| match component.process {
        // One that refuses answers, and of one that was not heard nothing is known.
        Process::Running(pid)
            if matches!(component.status.state, State::InProgress | State::NotFound) =>
        {
            Some(
                Hit::new(
                    Subject::component(&component.name),
                    format!(
                        "its process (pid {pid}) runs, but: {}",
                        component.status.message
                    ),
                    Next::Fix(Fix::RestartComponent(component.name.clone())),
                )
                .evidence(component.log.iter().cloned()),
            )
        }
        _ => None,
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
