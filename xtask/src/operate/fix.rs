//! Doing what a finding proposes, where that is safe: each fix is a plan that ends with proof.

use std::sync::Arc;

use crate::diagnose::Fix;
use crate::environment::Environment;
use crate::error::Result;
use crate::operate::restart::{self, What};
use crate::plan::{Outcome, Plan};
use crate::platform::host::daemon;
use crate::up::control::{self, Restart};
use crate::up::{self, ClusterOptions};

/// The plan that fixes something. Nothing happens yet.
///
/// # Errors
/// The environment does not have what is to be fixed, or a template is wrong.
pub fn plan(env: &Arc<Environment>, fix: &Fix) -> Result<Plan> {
    let mut plan = Plan::default();
    match fix {
        Fix::Up => up::plan(env, &ClusterOptions::default()),
        Fix::RestartComponent(name) => restart::plan(env, &What::named(env, name)?),
        Fix::RestartOperator => restart::plan(env, &What::Operator),
        Fix::RestartConnector(name) => {
            let (at, name) = (env.clone(), name.clone());
            let id = format!("{name}/restart");
            plan.step(&id, "its tasks restart", &[], async move |progress| {
                control::restart(&at, &name, Restart::All, &progress).await
            });
            Ok(plan)
        }
        Fix::Continue(pid) => {
            let (at, pid) = (env.clone(), *pid);
            let title = "a suspended process continues";
            plan.step("process/continue", title, &[], async move |_| {
                let name = daemon::resume(&at.dirs, pid)?;
                Ok(Outcome::Changed(format!("{name} (pid {pid}) continues")))
            });
            Ok(plan)
        }
    }
}
