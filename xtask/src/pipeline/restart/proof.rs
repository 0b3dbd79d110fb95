//! After a restart: connectors that are to run do, and a row travels to silver.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::components::{connect, patience, service};
use crate::environment::Environment;
use crate::error::Result;
use crate::pipeline::canary;
use crate::plan::{Outcome, Plan, Progress};
use crate::profile::schema::{Connector, Source};
use crate::readiness::{State, Status};
use crate::wait;

/// Connectors that somebody paused or stopped: no change comes of them.
#[derive(Clone, Default)]
pub(super) struct Resting(Arc<Mutex<BTreeSet<String>>>);

impl Resting {
    pub(super) fn add(&self, name: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.to_owned());
    }

    pub(super) fn has(&self, name: &str) -> bool {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.contains(name)
    }
}

/// Adds the proof that what the restart can have disturbed works again, after the node `ready`.
pub(super) fn add(plan: &mut Plan, env: &Arc<Environment>, component: &str, ready: &str) {
    let resting = Resting::default();
    for (name, connector) in &env.profile.connectors {
        if !disturbs(component, connector.source) {
            continue;
        }
        let (at, name, connector) = (env.clone(), name.clone(), connector.clone());
        let resting = resting.clone();
        plan.step(
            &format!("{name}/running"),
            "tasks run, slot active",
            &[ready],
            async move |progress| runs(&at, &name, &connector, &resting, &progress).await,
        );
    }
    for (name, flow) in &env.profile.flows {
        let source = env.profile.source(flow);
        if flow.canary.is_none() || !source.is_some_and(|source| disturbs(component, source)) {
            continue;
        }
        let (at, flow_name, connector) = (env.clone(), name.clone(), flow.connector.clone());
        let resting = resting.clone();
        plan.gate(
            &format!("{name}/canary"),
            "a row travels to silver and is removed again",
            &[&format!("{connector}/running")],
            async move |progress| match resting.has(&connector) {
                true => Ok(Outcome::Unchanged(format!("not sent: {connector} rests"))),
                false => canary::gate(&at, &flow_name, &progress).await,
            },
        );
    }
}

/// Whether a connector's changes pass through the component.
fn disturbs(component: &str, source: Source) -> bool {
    match component {
        "postgres" => source == Source::Postgres,
        "mongodb" => source == Source::Mongodb,
        _ => true,
    }
}

/// Waits until the connector runs. What failed because something was away is started once: Connect
/// does not do so by itself. What stays nobody's is begun again.
pub(super) async fn runs(
    env: &Environment,
    name: &str,
    connector: &Connector,
    resting: &Resting,
    progress: &Progress,
) -> Result<Outcome> {
    let client = env.connect_client();
    let mended = AtomicBool::new(false);
    let begun_again = AtomicBool::new(false);
    let what = format!("{name} runs");
    let message = wait::until(&what, patience(env), progress, || async {
        if let Some(obstacle) = env.hindrance("connect").await {
            return obstacle;
        }
        if let Ok(Some(status)) = client.status(name).await
            && matches!(status.connector.state.as_str(), "PAUSED" | "STOPPED")
        {
            resting.add(name);
            return Status::current(format!("is {}, as it was", status.connector.state));
        }
        let status = connect::probe_connector(env, name, connector).await;
        if status.state == State::InProgress {
            return match connect::mend(env, name, progress).await {
                Ok(Outcome::Changed(message)) => {
                    begun_again.store(true, Relaxed);
                    Status::in_progress(message)
                }
                // The next look judges.
                Ok(_) | Err(_) => status,
            };
        }
        if status.state != State::Failed || mended.swap(true, Relaxed) {
            return status;
        }
        let begun = match client.status(name).await {
            Ok(Some(before)) => connect::begin_anew(env, name, &before, progress).await,
            Ok(None) => Ok(()),
            Err(error) => Err(service(&error)),
        };
        match begun {
            Ok(()) => Status::in_progress(format!("starting what failed: {}", status.message)),
            Err(error) => Status::failed(error.message),
        }
    })
    .await?;
    Ok(match (mended.load(Relaxed), begun_again.load(Relaxed)) {
        (true, _) => Outcome::Changed(format!("what had failed was started; {message}")),
        (_, true) => Outcome::Changed(format!("what was nobody's was started; {message}")),
        _ => Outcome::Unchanged(message),
    })
}
