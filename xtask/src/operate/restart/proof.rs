//! After a restart: connectors that are to run do, and a row travels to silver.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::components::{Stage, connect, of};
use crate::environment::Environment;
use crate::error::Result;
use crate::plan::{Outcome, Plan, Progress};
use crate::profile::Profile;
use crate::profile::schema::{Connector, Flow};
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
    let profile = &env.profile;
    for (name, connector) in &env.profile.connectors {
        let mut flows = env.profile.flows.values();
        let is_written = flows.any(|it| it.connector == *name && writes(profile, component, it));
        if !is_written && !disturbs(profile, component, connector) {
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
        let disturbed = writes(profile, component, flow)
            || connector.is_some_and(|it| disturbs(profile, component, it));
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
fn disturbs(profile: &Profile, component: &str, connector: &Connector) -> bool {
    let read = profile.component(component);
    let is_source = read.is_some_and(|it| of(it).stage() == Stage::Source);
    !is_source || connector.source == component
}

/// Whether a flow's sink writes to the component: its task fails while that is away, and the flow's row has it restarted.
fn writes(profile: &Profile, component: &str, flow: &Flow) -> bool {
    profile.written(flow).is_some_and(|it| it.name == component)
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::profile::Selection;

    #[test]
    fn what_a_sink_writes_to_disturbs_its_flows() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let selection = Selection {
            profile: "warehouse".into(),
            set: Vec::new(),
        };
        let profile = crate::components::load(root, &selection)
            .expect("valid")
            .profile;
        let flow = &profile.flows["orders"];
        let connector = &profile.connectors["warehouse-source"];
        assert!(writes(&profile, "warehouse", flow));
        assert!(!disturbs(&profile, "warehouse", connector));
        assert!(!writes(&profile, "source", flow));
        assert!(disturbs(&profile, "source", connector));
    }
}
