//! After a restart: connectors that are to run do, and a row travels to silver.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::components::{Stage, connect, of};
use crate::environment::Environment;
use crate::error::Result;
use crate::plan::{Outcome, Plan, Progress};
use crate::profile::schema::Connector;
use crate::readiness::{State, Status};
use crate::up::canary;
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
        if !disturbs(env, component, connector) {
            continue;
        }
        let (at, name, connector) = (env.clone(), name.clone(), connector.clone());
        let resting = resting.clone();
        plan.step(
            &format!("{name}/running"),
            env.runs_as(&connector),
            &[ready],
            async move |progress| runs(&at, &name, &connector, &resting, &progress).await,
        );
    }
    for (name, flow) in &env.profile.flows {
        let connector = env.profile.connectors.get(&flow.connector);
        let disturbed = connector.is_some_and(|it| disturbs(env, component, it));
        if flow.canary.is_none() || !disturbed {
            continue;
        }
        let (at, flow_name, connector) = (env.clone(), name.clone(), flow.connector.clone());
        let resting = resting.clone();
        plan.gate(
            &format!("{name}/canary"),
            "a row travels to silver and is removed again",
            &[&format!("{connector}/running")],
            async move |progress| match resting.has(&connector) {
                true => Ok(Outcome::Unchanged(format!(
                    "not sent: {connector} is paused"
                ))),
                false => canary::gate(&at, &flow_name, &progress).await,
            },
        );
    }
}

/// Whether a connector's changes pass through the component.
fn disturbs(env: &Environment, component: &str, connector: &Connector) -> bool {
    let read = env.profile.component(component);
    let is_source = read.is_some_and(|it| of(it).stage() == Stage::Source);
    !is_source || connector.source == component
}

/// Waits until the connector runs, or rests as it did.
pub(super) async fn runs(
    env: &Environment,
    name: &str,
    connector: &Connector,
    resting: &Resting,
    progress: &Progress,
) -> Result<Outcome> {
    let client = env.connect_client();
    let watcher = connect::Watcher::default();
    let what = format!("{name} runs");
    let message = wait::until(&what, env.patience(), progress, || async {
        if let Some(blocked) = env.still_unserved_by(&env.profile.connect.name).await {
            return blocked;
        }
        let rests = async || {
            let status = client.status(name).await.ok()??;
            let state = status.connector.state;
            matches!(state.as_str(), "PAUSED" | "STOPPED").then(|| {
                resting.add(name);
                Status::current(format!("is {state}, as it was"))
            })
        };
        if let Some(rests) = rests().await {
            return rests;
        }
        let seen = watcher.look(env, name, connector, progress).await;
        // A worker that has just begun says UNASSIGNED first: it may be paused by the second look.
        match seen.state {
            State::Failed => rests().await.unwrap_or(seen),
            _ => seen,
        }
    })
    .await?;
    Ok(watcher.outcome(message))
}
