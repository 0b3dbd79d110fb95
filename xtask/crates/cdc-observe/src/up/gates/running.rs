//! A connector runs, as its resource wants it.
//!
//! On a cluster two have a say: Connect, which runs it, and the operator, which may not have looked at the
//! newest specification yet, or was refused by Connect, which then goes on with the old one. It is ready
//! when both agree.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::components::{connect, source};
use crate::environment::Environment;
use crate::environment::blocked::said_too;
use crate::error::{Code, Result};
use crate::plan::{Outcome, Progress};
use crate::platform::Platform;
use crate::profile::schema::Connector;
use crate::readiness::connect::connector;
use crate::readiness::{State, Status};
use crate::up::rereads;
use crate::wait;

/// For how long what the operator was refused may be of before: it is asked to look again after five
/// seconds, and looks within one.
const OF_BEFORE: Duration = Duration::from_secs(10);

/// How often the rows of a snapshot are counted: it takes a session with the source and one with Kafka.
const COUNTED: Duration = Duration::from_secs(5);

/// Waits until the connector runs.
///
/// # Errors
/// It does not, and why.
pub(super) async fn gate(
    env: &Environment,
    name: &str,
    connector: &Connector,
    progress: &Progress,
) -> Result<Outcome> {
    let watcher = connect::Watcher::default();
    let refused = Refused::default();
    let what = format!("{name} runs");
    let snapshot = FirstSnapshot::default();
    let mut rows = 0;
    let message = loop {
        let waited = wait::until(&what, env.patience(), progress, || async {
            // The operator may find fault with it only now, after it looked again.
            if let Some(blocked) = env.still_blocked_by(&env.profile.connect.name).await {
                return blocked;
            }
            let seen = watcher.look(env, name, connector, progress).await;
            let seen = unless_ahead(env, name, connector, seen).await;
            let seen = match env.platform {
                Platform::Host => seen,
                Platform::Kind | Platform::Kubernetes => both(env, name, seen, &refused).await,
            };
            snapshot.counted(env, name, seen).await
        })
        .await;
        match waited {
            // A first snapshot takes as long as its tables are large: it is waited for as long as rows come.
            Err(error) if error.code == Code::GateTimeout => {
                match rereads::first_snapshot(env, name).await {
                    Some(seen) if seen.rows > rows => rows = seen.rows,
                    _ => return Err(error),
                }
            }
            waited => break waited?,
        }
    };
    Ok(watcher.outcome(message))
}

/// What was counted last of a connector's first snapshot, and when.
#[derive(Default)]
struct FirstSnapshot(tokio::sync::Mutex<Option<(Instant, String)>>);

impl FirstSnapshot {
    /// A status that says how far the snapshot is, where one is under way.
    async fn counted(&self, env: &Environment, name: &str, seen: Status) -> Status {
        if seen.state != State::InProgress || seen.message != connect::IN_SNAPSHOT {
            return seen;
        }
        let mut counted = self.0.lock().await;
        let is_old = |at: &Instant| at.elapsed() >= COUNTED;
        if counted.as_ref().is_none_or(|(at, _)| is_old(at))
            && let Some(seen) = rereads::first_snapshot(env, name).await
        {
            *counted = Some((Instant::now(), seen.count()));
        }
        match counted.as_ref() {
            Some((_, count)) => Status::in_progress(format!("its first snapshot: {count}")),
            None => seen,
        }
    }
}

/// What is seen of a connector that runs, unless it skips every change: its source was restored, and its
/// log ends before what the connector has committed. A source that does not answer is others' to report.
async fn unless_ahead(
    env: &Environment,
    name: &str,
    connector: &Connector,
    seen: Status,
) -> Status {
    if seen.state != State::Current {
        return seen;
    }
    let Ok(Some(committed)) = env.connect_client().offsets(name).await else {
        return seen;
    };
    let source = source(env, connector);
    match source.unwritten(env, &committed.offsets).await {
        Ok(Some(why)) => Status::failed(format!("its committed position: {why}"))
            .next(format!("cargo xtask reset-connector {name}")),
        Ok(None) | Err(_) => seen,
    }
}

/// Waits until a sink and its tasks run.
///
/// # Errors
/// They do not, and why.
pub(super) async fn sink(env: &Environment, name: &str, progress: &Progress) -> Result<Outcome> {
    let watcher = connect::Watcher::default();
    let what = format!("{name} runs");
    let message = wait::until(&what, env.patience(), progress, || async {
        if let Some(blocked) = env.still_blocked_by(&env.profile.connect.name).await {
            return blocked;
        }
        let seen = match env.connect_client().status(name).await {
            Ok(status) => connector(status.as_ref()),
            Err(error) => Status::in_progress(error.to_string()),
        };
        watcher.again(env, name, seen, progress).await
    })
    .await?;
    Ok(watcher.outcome(message))
}

/// What Connect reports, unless the operator has a reason to wait, or against it.
async fn both(env: &Environment, name: &str, seen: Status, refused: &Refused) -> Status {
    let status = env.connect_client().status(name).await.ok().flatten();
    let Some(blocked) = env.connector_blocked_by(name, status.as_ref()).await else {
        return seen;
    };
    let blocked = refused.judge(blocked, Instant::now());
    if blocked.state == State::Failed {
        return blocked;
    }
    // A task that failed is restarted through Connect, and reported by it. What is paused although its
    // resource wants it to run is the operator's to resume.
    let rests = status.is_some_and(|it| it.rests());
    let blocked = said_too(blocked, env.nudge_connector(name, rests).await);
    match seen.state {
        State::Failed if !rests => seen,
        _ => blocked,
    }
}

/// A refusal that the operator tells. It looks seldom, and what made Connect refuse may have passed.
#[derive(Default)]
struct Refused(Mutex<Option<Instant>>);

impl Refused {
    fn judge(&self, status: Status, now: Instant) -> Status {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if status.state != State::Failed {
            *since = None;
            return status;
        }
        let since = *since.get_or_insert(now);
        match now.duration_since(since) < OF_BEFORE {
            true => Status {
                state: State::InProgress,
                ..status
            },
            false => status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_counts_once_the_operator_could_look_again() {
        let refused = Refused::default();
        let begin = Instant::now();
        let at = |seconds, status: Status| {
            refused
                .judge(status, begin + Duration::from_secs(seconds))
                .state
        };
        let no = || Status::failed("Connect rejects its configuration");
        assert_eq!(at(0, no()), State::InProgress);
        assert_eq!(at(9, no()), State::InProgress);
        assert_eq!(at(10, no()), State::Failed);
        assert_eq!(at(11, Status::in_progress("x")), State::InProgress);
        assert_eq!(at(12, no()), State::InProgress);
    }
}
