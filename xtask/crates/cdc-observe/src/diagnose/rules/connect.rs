//! The worker and its connectors.

use super::{Find, Follows, Hit, Next, Rule, USUAL, is_rebalancing, run};
use crate::diagnose::facts::{Connector, Facts, Known};
use crate::diagnose::{Fix, Remedy, Severity, Subject};
use crate::platform::Platform;
use crate::readiness::connect::root_cause;

/// Heartbeats come ten times a second. A machine that runs everything at once, a garbage collection
/// or a rebalance may keep them for seconds.
const SILENT_MS: u64 = 15_000;

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "PLUGIN_MISSING",
        title: "the worker lacks a connector's plugin",
        about: "A worker looks for plugins once, when it starts. On clusters they are in its image: `image update` builds and \
                rolls it. On `host`, `up` brings the archive back, and the worker has to be restarted.",
        find: Find::Facts(plugin_missing),
        ..USUAL
    },
    Rule {
        code: "CONNECT_REBALANCING",
        title: "Connect is rebalancing",
        about: "Workers have come or gone. It answers 409 meanwhile, for seconds, or not at all; a departed worker's \
                tasks are idle for up to `scheduled.rebalance.max.delay.ms`. A worker that hangs delays the others \
                until the broker removes it, after `rebalance.timeout.ms` (a minute): states are reported \
                meanwhile, but no positions, and nothing can be changed.",
        severity: Severity::Degraded,
        remedy: Remedy::Wait,
        follows: Follows::Needs,
        find: Find::Facts(rebalancing),
    },
    Rule {
        code: "CONNECTOR_MISSING",
        title: "a connector of the profile is not registered",
        about: "Somebody deleted it, or Connect lost its topics. Its position outlives it: registered again, it \
                continues where it was.",
        remedy: Remedy::Restart,
        follows: Follows::Needs,
        find: Find::Facts(missing),
        ..USUAL
    },
    Rule {
        code: "RESET_UNFINISHED",
        title: "a reset of a connector was begun and not finished",
        about: "Its command was killed or failed. Until it is finished the connector may be stopped, its snapshot not be read, or \
                rows that were deleted meanwhile still be at the target, which nothing else shows. The same command goes on \
                where it ended.",
        find: Find::Facts(unfinished),
        ..USUAL
    },
    Rule {
        code: "CONNECTOR_RESTING",
        title: "a connector is paused or stopped",
        about: "Somebody paused or stopped it. Its source keeps its log for it meanwhile, until the disk is full, or loses \
                what it has not read.",
        find: Find::Facts(resting),
        ..USUAL
    },
    Rule {
        code: "CONFIG_DRIFT",
        title: "a connector's configuration is not the profile's",
        about: "Somebody changed it through the REST interface, or the profile changed since the last `up`. `up` registers \
                what the profile says; what shall stay belongs into the profile (`connectors.NAME.config`).",
        severity: Severity::Degraded,
        find: Find::Facts(drift),
        ..USUAL
    },
    Rule {
        code: "CONNECTOR_STUCK",
        title: "a connector is RUNNING, and gives no sign of life",
        about: "RUNNING says that nothing has failed, not that anything moves: Debezium tries a source that does not \
                answer again and again without saying so, and over a connection that has gone silent it waits for \
                ever and still sends heartbeats. Positions show it, and a slot that nobody reads. Where the source \
                works, a restart helps.",
        remedy: Remedy::Restart,
        follows: Follows::Needs,
        find: Find::Facts(stuck),
        ..USUAL
    },
    Rule {
        code: "CONNECTOR_IDLE",
        title: "a connector has no task that runs",
        about: "Its tasks wait for a worker: after a change, a restart or a rebalance for some seconds.",
        severity: Severity::Degraded,
        remedy: Remedy::Wait,
        follows: Follows::Needs,
        find: Find::Facts(idle),
    },
    Rule {
        code: "DEAD_LETTERS",
        title: "a sink has put records aside",
        about: "With `errors.tolerance=all` a sink skips records that it cannot read, and puts them into its dead \
                letter queue: they are not at the target. `dlq show` shows why each is there, `dlq redrive` sends \
                them again once the cause is fixed, `dlq purge` deletes them.",
        severity: Severity::Degraded,
        find: Find::Facts(dead_letters),
        ..USUAL
    },
];

fn dead_letters(facts: &Facts) -> Vec<Hit> {
    each(facts, |connector| {
        let letters = connector.dead_letters.as_ref()?;
        let records = letters.records.filter(|records| *records > 0)?;
        let next = run(format!(
            "cargo xtask dlq show {0}, fix the cause, then: cargo xtask dlq redrive {0}",
            letters.topic
        ));
        let cause = format!("{records} records are in {}", letters.topic);
        Some(Hit::new(subject(connector), cause, next))
    })
}

fn subject(connector: &Connector) -> Subject {
    Subject::Connector(connector.name.clone())
}

fn each(facts: &Facts, rule: impl Fn(&Connector) -> Option<Hit>) -> Vec<Hit> {
    facts.connectors.iter().filter_map(rule).collect()
}

fn plugin_missing(facts: &Facts) -> Vec<Hit> {
    let Some(worker) = facts.connect.seen() else {
        return Vec::new();
    };
    let missing = worker
        .needed
        .iter()
        .filter(|it| !worker.plugins.contains(it));
    let missing: Vec<&str> = missing.map(String::as_str).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let cause = format!("the worker has no {}", missing.join(", "));
    let next = match facts.platform {
        Platform::Host => Next::Fix(Fix::RestartComponent("connect".into())),
        Platform::Kind | Platform::Kubernetes => run("cargo xtask image update"),
    };
    vec![Hit::new(Subject::component("connect"), cause, next)]
}

fn rebalancing(facts: &Facts) -> Vec<Hit> {
    let told = facts.connect.seen().is_some_and(|it| it.rebalancing);
    let group = facts.kafka.seen();
    let group = group.filter(|it| is_rebalancing(&it.workers_state));
    let (cause, next) = match group {
        Some(group) if group.workers > 1 => (
            format!("its group of {} workers does not settle", group.workers),
            "wait a minute, then: cargo xtask connector status; if it stays: cargo xtask restart connect",
        ),
        _ if told || group.is_some() => (
            "it is rebalancing".to_owned(),
            "wait some seconds, then: cargo xtask connector status",
        ),
        _ => return Vec::new(),
    };
    vec![Hit::new(Subject::component("connect"), cause, run(next))]
}

fn missing(facts: &Facts) -> Vec<Hit> {
    let Some(worker) = facts.connect.seen() else {
        return Vec::new();
    };
    // Of one that the operator refused, Connect knows nothing.
    if matches!(facts.resources, Some(Known::Unknown(_))) {
        return Vec::new();
    }
    each(facts, |connector| {
        let wanted = connector.wanted.is_some() && connector.refused.is_none();
        (wanted && connector.state.is_none() && !worker.rebalancing).then(|| {
            Hit::new(
                subject(connector),
                "Connect does not have it",
                Next::Fix(Fix::Up),
            )
        })
    })
}

fn unfinished(facts: &Facts) -> Vec<Hit> {
    each(facts, |connector| {
        let command = connector.reset?.choice.command(&connector.name);
        let state = connector.state.as_deref().unwrap_or("not known");
        let cause = format!("its reset was not finished; its state is {state}");
        Some(Hit::new(subject(connector), cause, run(command)))
    })
}

fn resting(facts: &Facts) -> Vec<Hit> {
    each(facts, |connector| {
        let state = connector.state.as_deref()?;
        // Resuming it is refused before its reset is finished.
        (connector.reset.is_none() && matches!(state, "PAUSED" | "STOPPED")).then(|| {
            let next = run(format!("cargo xtask connector resume {}", connector.name));
            Hit::new(subject(connector), format!("it is {state}"), next)
        })
    })
}

fn drift(facts: &Facts) -> Vec<Hit> {
    each(facts, |connector| {
        let keys = &connector.drift;
        // On clusters the operator adds keys of its own, and `diff` compares its resource.
        (facts.platform == Platform::Host && !keys.is_empty()).then(|| {
            let cause = format!(
                "its configuration differs from the profile in {}",
                keys.join(", ")
            );
            let hit = Hit::new(subject(connector), cause, Next::Fix(Fix::Up));
            match connector.traces().next() {
                Some(trace) => hit
                    .severity(Severity::Broken)
                    .evidence([root_cause(trace).to_owned()]),
                None => hit,
            }
        })
    })
}

fn stuck(facts: &Facts) -> Vec<Hit> {
    let ahead = match facts.platform {
        Platform::Host => Some(0),
        Platform::Kind | Platform::Kubernetes => ahead(facts),
    };
    each(facts, |connector| {
        let age = connector.heartbeat_age_ms.zip(ahead);
        let age = age.map_or(0, |(age, ahead)| age.saturating_sub(ahead));
        // A snapshot is read without it.
        let unread = unread_s(facts, connector).filter(|_| connector.streams());
        let cause = match unread {
            _ if !connector.is_running() => return None,
            _ if age > SILENT_MS => format!("its last heartbeat is {} s old", age / 1000),
            Some(unread) if unread > SILENT_MS / 1000 => {
                format!("nobody has read its slot for {unread} s")
            }
            _ => return None,
        };
        Some(Hit::new(
            subject(connector),
            format!("it is RUNNING, but {cause}"),
            Next::Fix(Fix::RestartConnector(connector.name.clone())),
        ))
    })
}

/// By how much this machine's clock is ahead of the others': what is last on a change's way and has a clock
/// tells. Without it ages mean nothing.
fn ahead(facts: &Facts) -> Option<u64> {
    let servers = facts.components.iter().rev();
    for server in servers.filter_map(|it| facts.servers.get(&it.name)) {
        if let Some(clock_ms) = server.seen()?.clock_ms() {
            return Some(facts.at.saturating_sub(clock_ms));
        }
    }
    None
}

/// For how long nobody has read a connector's slot.
fn unread_s(facts: &Facts, connector: &Connector) -> Option<u64> {
    let wanted = connector.wanted.as_ref().filter(|it| !it.writes)?;
    let source = facts.servers.get(&wanted.component)?.seen()?;
    source.unread_s(wanted)
}

fn idle(facts: &Facts) -> Vec<Hit> {
    each(facts, |connector| {
        let state = connector.state.as_deref()?;
        let settled = matches!(state, "PAUSED" | "STOPPED" | "FAILED") || connector.is_running();
        let failed = connector.tasks.iter().any(|task| task.state == "FAILED");
        (!settled && !failed).then(|| {
            let next = run(format!(
                "wait some seconds, then: cargo xtask connector restart {}",
                connector.name
            ));
            let tasks = match connector.tasks.as_slice() {
                [] => "no task".to_owned(),
                tasks => {
                    let states = tasks
                        .iter()
                        .map(|it| format!("task {} {}", it.id, it.state));
                    states.collect::<Vec<_>>().join(", ")
                }
            };
            Hit::new(
                subject(connector),
                format!("it is {state} with {tasks}"),
                next,
            )
        })
    })
}
