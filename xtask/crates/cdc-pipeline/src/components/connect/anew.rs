//! Having a connector begin again that does not run although it should.
//!
//! A connector that stays UNASSIGNED for ten seconds is restarted by `up` and after a restart,
//! although it may run: a worker that lost the broker writes that status late, over that of the
//! worker that has the connector now, and nobody corrects it. A connector that is FAILED at its
//! gate is restarted once: its task may have failed over the configuration that was just replaced.
//! It counts as restarted only when Connect reports another status than before. On clusters it is
//! restarted through Connect's REST interface: Strimzi's own `autoRestart` hides a task that fails
//! again and again behind a resource that is Ready.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::login::Doubt;
use super::probe_connector;
use super::settled;
use crate::environment::Environment;
use crate::error::{Code, Result};
use crate::plan::{Outcome, Progress};
use crate::profile::schema::Connector;
use crate::readiness::connect::{ConnectorStatus, StateEntry};
use crate::readiness::{self, State, Status};
use crate::wait::{self, Patience};

/// Restarts what of a connector failed: Connect does not do so by itself, and the reason may have been
/// mended since. So is what is told to be nobody's and stays so: a worker that lost the broker says
/// so of what it had as soon as it can, which may be after another one has begun it, and nobody
/// corrects that.
///
/// # Errors
/// Connect refuses.
pub async fn mend(env: &Environment, name: &str, progress: &Progress) -> Result<Outcome> {
    let client = env.connect_client();
    let Some(status) = settled(progress, || client.status(name)).await? else {
        return Ok(Outcome::Unchanged("registered".into()));
    };
    if has_failed(&status) {
        begin_anew(env, name, &status, progress).await?;
        return Ok(Outcome::Changed("restarted what had failed".into()));
    }
    if is_unassigned(&status) && !is_taken(env, name, progress).await {
        settled(progress, || client.restart(name, false)).await?;
        return Ok(Outcome::Changed("restarted: it was nobody's".into()));
    }
    Ok(Outcome::Unchanged("registered".into()))
}

/// Looks at a connector that is to run, and has it begin again where that can help.
#[derive(Default)]
pub struct Watcher {
    doubt: Doubt,
    tried: AtomicBool,
    did: OnceLock<String>,
}

impl Watcher {
    /// What fails is begun again once: something may have been away, and a task may still fail over
    /// the configuration that has just been replaced. What fails then is final. What stays nobody's is
    /// begun again each time.
    pub async fn look(
        &self,
        env: &Environment,
        name: &str,
        connector: &Connector,
        progress: &Progress,
    ) -> Status {
        let probed = probe_connector(env, name, connector).await;
        let has_failed = probed.state == State::Failed;
        // RUNNING is said of a task that is refused for ever, too. Beginning again does not help that.
        let seen = self.doubt.look(env, name, connector, probed).await;
        if seen.state == State::Failed && !has_failed {
            return seen;
        }
        self.again(env, name, seen, progress).await
    }

    /// What is seen of a connector, or that it begins again where that can help.
    pub async fn again(
        &self,
        env: &Environment,
        name: &str,
        seen: Status,
        progress: &Progress,
    ) -> Status {
        let may_help = match seen.state {
            State::Failed => !self.tried.swap(true, Relaxed),
            State::InProgress => true,
            _ => false,
        };
        if !may_help {
            return seen;
        }
        match mend(env, name, progress).await {
            Ok(Outcome::Changed(did)) => {
                let said = format!("{did}: {}", seen.message);
                self.did.get_or_init(|| did);
                Status::in_progress(said)
            }
            // It failed only for a moment, or Connect has not restarted it: the next look judges.
            Ok(_) | Err(_) => Status {
                state: State::InProgress,
                ..seen
            },
        }
    }

    /// What became of it.
    pub fn outcome(self, message: String) -> Outcome {
        match self.did.into_inner() {
            Some(did) => Outcome::Changed(format!("{did}; {message}")),
            None => Outcome::Unchanged(message),
        }
    }
}

/// Whether no worker says that it has the connector, or one of its tasks.
fn is_unassigned(status: &ConnectorStatus) -> bool {
    entries(status).any(|entry| entry.state == "UNASSIGNED")
}

/// Whether workers take it soon, as they do when one has come or gone.
async fn is_taken(env: &Environment, name: &str, progress: &Progress) -> bool {
    let client = env.connect_client();
    let patience = Patience::local(Duration::from_secs(10));
    let looked = wait::until("a worker has it", patience, progress, || async {
        match client.status(name).await {
            Ok(Some(status)) if is_unassigned(&status) => Status::in_progress("it is UNASSIGNED"),
            Ok(_) => Status::current("a worker has it"),
            Err(error) => Status::in_progress(error.to_string()),
        }
    });
    looked.await.is_ok()
}

fn entries(status: &ConnectorStatus) -> impl Iterator<Item = &StateEntry> {
    std::iter::once(&status.connector).chain(&status.tasks)
}

/// Whether something of it failed. One that rests did not.
pub(super) fn has_failed(status: &ConnectorStatus) -> bool {
    entries(status).any(|entry| entry.state == "FAILED")
}

/// Restarts what failed, and waits until it has begun.
///
/// # Errors
/// Connect refuses.
pub(super) async fn begin_anew(
    env: &Environment,
    name: &str,
    before: &ConnectorStatus,
    progress: &Progress,
) -> Result<()> {
    let client = env.connect_client();
    settled(progress, || client.restart(name, true)).await?;
    begun(env, name, before, progress).await
}

/// Waits until something that had failed has begun anew: for a moment after it has said yes, Connect
/// still tells the failure of before, which would be taken for final.
///
/// # Errors
/// Connect refuses to tell.
pub async fn begun(
    env: &Environment,
    name: &str,
    before: &ConnectorStatus,
    progress: &Progress,
) -> Result<()> {
    let client = env.connect_client();
    let patience = Patience::local(Duration::from_secs(10));
    let looked = wait::until("what failed begins anew", patience, progress, || async {
        match client.status(name).await {
            Ok(Some(status)) if readiness::connect::still_fails(&status, before) => {
                Status::in_progress("failed, as before")
            }
            Ok(_) => Status::current("it begins"),
            Err(error) if error.is_transient() => Status::in_progress(error.to_string()),
            Err(error) => Status::failed(error.to_string()),
        }
    });
    match looked.await {
        // It may have failed again in the very same way between two looks: who asked judges that.
        Err(error) if error.code == Code::GateTimeout => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nobody_s_is_neither_failed_nor_fine() {
        let entry = |id, state: &str| StateEntry {
            id,
            state: state.into(),
            worker_id: "w".into(),
            trace: None,
        };
        let status = |connector, task| ConnectorStatus {
            name: "c".into(),
            connector: entry(None, connector),
            tasks: vec![entry(Some(0), task)],
        };
        for (connector, task, unassigned, failed) in [
            ("RUNNING", "RUNNING", false, false),
            ("UNASSIGNED", "RUNNING", true, false),
            ("RUNNING", "UNASSIGNED", true, false),
            ("UNASSIGNED", "FAILED", true, true),
            ("PAUSED", "PAUSED", false, false),
        ] {
            let status = status(connector, task);
            assert_eq!(is_unassigned(&status), unassigned, "{connector} {task}");
            assert_eq!(has_failed(&status), failed, "{connector} {task}");
        }
    }
}
