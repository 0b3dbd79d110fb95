//! Having a connector run, rest, stop or restart, and seeing that it did.
//!
//! On clusters the state belongs into the connector's resource: Strimzi undoes what was only said to
//! Connect at its next look. It leaves a connector that failed alone though (0.50,
//! strimzi-kafka-operator#12542), so Connect is asked too. A restart changes no wanted state: Connect
//! is asked on every platform, which works while the operator is away.
//!
//! The state is written by a field manager of its own, so that `up` leaves it alone.

use std::time::Duration;

use crate::clients::connect::{ConnectError, TargetState};
use crate::components::connect::settled;
use crate::components::{connect, service};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Progress};
use crate::platform::Platform;
use crate::readiness::connect::ConnectorStatus;
use crate::readiness::{self, Status};
use crate::wait::{self, Patience};

/// How long a connector may take to reach a state: a task may be in the middle of a batch.
const REACHES: Duration = Duration::from_secs(120);

/// How soon the operator has told Connect, where it does. It takes a second.
const OPERATOR_ACTS: Duration = Duration::from_secs(5);

/// Has the connector in this state afterwards, proven by Connect's own report.
///
/// # Errors
/// Something refuses, or the state is not reached.
pub async fn set_state(
    env: &Environment,
    name: &str,
    target: TargetState,
    progress: &Progress,
) -> Result<Outcome> {
    let client = env.connect_client();
    let before = status(env, name, progress).await?;
    let named = if env.platform == Platform::Host {
        false
    } else {
        let namespace = &env.profile.kubernetes.kafka_namespace;
        let state = match target {
            // The default: the resource is again as `up` made it.
            TargetState::Running => None,
            TargetState::Paused => Some("paused"),
            TargetState::Stopped => Some("stopped"),
        };
        let cluster = &env.link()?.cluster;
        cluster.set_connector_state(namespace, name, state).await?
    };
    if reached(&before, target).state == readiness::State::Current {
        return Ok(Outcome::Unchanged(format!("is {}", word(target))));
    }
    let failed = before.connector.state == "FAILED";
    // What the operator does not do in time, or never does, is said to Connect.
    let operated = named
        && !failed
        && reaches(env, name, target, OPERATOR_ACTS, progress)
            .await
            .is_ok();
    if !operated {
        settled(progress, || client.set_state(name, target)).await?;
    }
    let message = reaches(env, name, target, REACHES, progress).await?;
    Ok(Outcome::Changed(message))
}

/// What a connector restart is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// The connector and all its tasks.
    All,
    /// Whatever of it failed.
    Failed,
    /// One task.
    Task(u32),
}

/// Restarts, and waits until everything of the connector runs again.
///
/// # Errors
/// It does not run again, it is not meant to run, or there is no such task.
pub async fn restart(
    env: &Environment,
    name: &str,
    what: Restart,
    progress: &Progress,
) -> Result<Outcome> {
    let client = env.connect_client();
    let before = status(env, name, progress).await?;
    let state = before.connector.state.as_str();
    if matches!(state, "PAUSED" | "STOPPED") {
        let what = format!("{name} is {state}: there is nothing to restart");
        return Err(
            Error::new(Code::Usage, what).hint(format!("cargo xtask connector resume {name}"))
        );
    }
    let failed = std::iter::once(&before.connector)
        .chain(&before.tasks)
        .filter(|entry| entry.state == "FAILED")
        .count();
    let known = env.profile.connectors.get(name);
    if let Some(connector) = known
        && what == Restart::All
    {
        // A task reads its password once: it must be the right one by then.
        connect::login::follow(env, name, connector, progress).await?;
    }
    match what {
        Restart::Failed if failed == 0 => {
            return Ok(Outcome::Unchanged("nothing of it failed".into()));
        }
        Restart::Task(id) => {
            if !before.tasks.iter().any(|task| task.id == Some(id)) {
                let count = before.tasks.len();
                return Err(
                    Error::new(Code::Usage, format!("{name} has no task {id}")).hint(format!(
                        "it has {count}; cargo xtask connector status {name} lists them"
                    )),
                );
            }
            settled(progress, || client.restart_task(name, id)).await?;
        }
        Restart::All | Restart::Failed => {
            settled(progress, || client.restart(name, what == Restart::Failed)).await?;
        }
    }
    if failed > 0 {
        connect::begun(env, name, &before, progress).await?;
    }
    // Connect first says RUNNING of what then fails: a look that is not repeated would believe it.
    let patience = Patience {
        deadline: REACHES,
        first: Duration::from_millis(300),
        slowest: Duration::from_millis(300),
    };
    let steady = std::sync::atomic::AtomicU32::new(0);
    let doubt = connect::login::Doubt::default();
    wait::until(&format!("{name} runs"), patience, progress, || async {
        let seen = match (client.status(name).await, known) {
            (Ok(status), None) => readiness::connect::connector(status.as_ref()),
            // RUNNING is said before the slot is read, and of what never will.
            (Ok(_), Some(connector)) => {
                let seen = connect::probe_connector(env, name, connector).await;
                doubt.look(env, name, connector, seen).await
            }
            (Err(error), _) => return unanswered(&error),
        };
        if seen.state != readiness::State::Current {
            steady.store(0, std::sync::atomic::Ordering::Relaxed);
            return seen;
        }
        match steady.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0..3 => Status::in_progress("runs; looking whether it stays so"),
            _ => seen,
        }
    })
    .await
    .map(Outcome::Changed)
}

/// The connector's status.
///
/// # Errors
/// There is no such connector, or Connect does not answer.
pub async fn status(env: &Environment, name: &str, progress: &Progress) -> Result<ConnectorStatus> {
    let client = env.connect_client();
    let status = settled(progress, || client.status(name)).await?;
    status.ok_or_else(|| Error::new(Code::Usage, format!("there is no connector `{name}`")))
}

fn unanswered(error: &ConnectError) -> Status {
    if error.is_transient() {
        Status::in_progress(error.to_string())
    } else {
        Status::failed(service(error).message)
    }
}

async fn reaches(
    env: &Environment,
    name: &str,
    target: TargetState,
    deadline: Duration,
    progress: &Progress,
) -> Result<String> {
    let client = env.connect_client();
    let what = format!("{name} is {}", word(target));
    let known = env.profile.connectors.get(name);
    let doubt = connect::login::Doubt::default();
    wait::until(&what, Patience::local(deadline), progress, || async {
        match client.status(name).await {
            Ok(Some(status)) => match (reached(&status, target), known) {
                // RUNNING is said before the slot is read.
                (seen, Some(connector))
                    if target == TargetState::Running
                        && seen.state == readiness::State::Current =>
                {
                    let seen = connect::probe_connector(env, name, connector).await;
                    doubt.look(env, name, connector, seen).await
                }
                (seen, Some(connector)) if target == TargetState::Running => {
                    connect::held(env, connector, seen).await
                }
                (seen, _) => seen,
            },
            Ok(None) => Status::in_progress("Connect does not know it yet"),
            Err(error) => unanswered(&error),
        }
    })
    .await
}

fn word(target: TargetState) -> &'static str {
    match target {
        TargetState::Running => "running",
        TargetState::Paused => "paused",
        TargetState::Stopped => "stopped",
    }
}

/// Whether a connector is in the state: all its tasks with it, and none left of one that is stopped.
fn reached(status: &ConnectorStatus, target: TargetState) -> Status {
    let state = status.connector.state.as_str();
    match target {
        // It rests until Connect has acted.
        TargetState::Running if matches!(state, "PAUSED" | "STOPPED") => {
            Status::in_progress(format!("is {state}"))
        }
        TargetState::Running => readiness::connect::connector(Some(status)),
        TargetState::Paused => {
            let paused = status.tasks.iter().all(|task| task.state == "PAUSED");
            match state {
                "PAUSED" if paused => Status::current("paused"),
                _ => Status::in_progress(format!("is {state}")),
            }
        }
        TargetState::Stopped => match (state, status.tasks.len()) {
            ("STOPPED", 0) => Status::current("stopped, without a task"),
            ("STOPPED", count) => Status::in_progress(format!("stopped, with {count} tasks left")),
            _ => Status::in_progress(format!("is {state}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readiness::State;
    use crate::readiness::connect::StateEntry;

    fn status(state: &str, tasks: &[&str]) -> ConnectorStatus {
        let entry = |id, state: &str| StateEntry {
            id,
            state: state.into(),
            worker_id: String::new(),
            trace: None,
        };
        ConnectorStatus {
            name: "c".into(),
            connector: entry(None, state),
            tasks: tasks.iter().map(|state| entry(Some(0), state)).collect(),
        }
    }

    #[test]
    fn a_state_is_reached_with_all_tasks() {
        use TargetState::{Paused, Running, Stopped};
        for (state, tasks, target, want) in [
            ("STOPPED", &[][..], Stopped, State::Current),
            ("STOPPED", &["RUNNING"], Stopped, State::InProgress),
            ("RUNNING", &["RUNNING"], Stopped, State::InProgress),
            ("PAUSED", &["PAUSED"], Paused, State::Current),
            ("PAUSED", &["RUNNING"], Paused, State::InProgress),
            ("RUNNING", &["RUNNING"], Running, State::Current),
            ("RUNNING", &[], Running, State::InProgress),
            ("STOPPED", &[], Running, State::InProgress),
            ("RUNNING", &["FAILED"], Running, State::Failed),
        ] {
            let seen = reached(&status(state, tasks), target);
            assert_eq!(seen.state, want, "{state} {tasks:?} {target:?}");
        }
    }
}
