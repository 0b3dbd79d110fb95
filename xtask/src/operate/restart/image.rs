//! Another image for Connect's workers: brought to where they run, run, and seen to be what runs.

use std::sync::Arc;

use super::cluster::{Strimzi, running};
use super::proof;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Plan};
use crate::platform::Platform;
use crate::readiness::State;
use crate::readiness::kubernetes::{pulled, stale};
use crate::up::{self, image};

/// Adds the steps after `first`, from the build to the proof.
///
/// # Errors
/// The platform has no images, the profile names one of its own, or a template is wrong.
pub fn add(plan: &mut Plan, env: &Arc<Environment>, first: &str) -> Result<()> {
    refuse(env)?;
    let pushed = image::Pushed::default();
    let there = image::steps(plan, env, &[first], &pushed);
    let mut needs = vec![first];
    needs.extend(there);
    let at = env.clone();
    let work = async move |progress| up::cluster::apply_workers(&at, &progress).await;
    plan.step("connect/apply", "the workers", &needs, work);
    let at = env.clone();
    let title = "replace pods that run another image";
    plan.step(
        "connect/roll",
        title,
        &["connect/apply"],
        async move |progress| {
            let wanted = image::wanted(&at, &pushed).await?;
            let strimzi = Strimzi::of(&at, "connect")
                .ok_or_else(|| Error::new(Code::Plan, "Connect has no pods"))?;
            let pods = running(&at, &strimzi.pods).await?;
            // Built again under its old name: the operator has no reason to replace them.
            let going = stale(&pods, &wanted);
            if !going.is_empty() {
                strimzi.ask(&at, None).await?;
            }
            let deadline = at.patience().deadline;
            let seen = image::run_by_workers(&at, &wanted, &going, deadline, &progress).await?;
            Ok(match pulled(&pods, &wanted).state {
                State::Current => Outcome::Unchanged(seen),
                _ => Outcome::Changed(seen),
            })
        },
    );
    up::ready(
        plan,
        env,
        &env.profile.connect.name,
        &["connect/roll".to_owned()],
    );
    proof::add(plan, env, "connect", "connect/ready");
    Ok(())
}

/// Refuses where there is no image to update.
///
/// # Errors
/// The platform runs none, or the profile names one of its own.
pub fn refuse(env: &Environment) -> Result<()> {
    if env.platform == Platform::Host {
        return Err(Error::new(
            Code::Usage,
            "images are for clusters: on `host` Connect is a process, and its plugins are files",
        )
        .hint("cargo xtask up takes up what changed in images/connect/plugins.yaml"));
    }
    image::refuse_own(env)
}
