//! A component is stopped, started, and proven to work: the platform says how it ends and begins,
//! everything else is the same.
//!
//! The proof is that of `up`: the component's gate, the connectors that are to run, a canary. A
//! paused connector stays paused.

mod cluster;
mod drain;
mod host;
pub mod image;
pub mod moves;
mod proof;
pub mod rolling;

use std::sync::Arc;

use crate::components::{self, OPERATOR};
use crate::environment::Environment;
use crate::error::{Code, Error, Result, nearest};
use crate::plan::Plan;
use crate::platform::Platform;
use crate::profile::Profile;
use crate::up;

/// What is restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A component.
    Component(String),
    /// The operators; what they run goes on.
    Operator,
}

impl What {
    /// What a name means.
    ///
    /// # Errors
    /// Nothing that this environment runs; with the nearest name.
    pub fn named(env: &Environment, name: &str) -> Result<Self> {
        if name == OPERATOR {
            return Ok(What::Operator);
        }
        let component = components::named(env, name)?;
        Ok(What::Component(component.name().to_owned()))
    }

    /// Checks that a name may mean something of a profile.
    ///
    /// # Errors
    /// It may not; with the nearest name.
    pub fn fits(profile: &Profile, name: &str) -> Result<()> {
        match components::fits(profile, name) {
            Err(_) if name == OPERATOR => Ok(()),
            Err(error) if nearest(name, [OPERATOR]).is_some() => {
                Err(error.hint(format!("did you mean `{OPERATOR}`?")))
            }
            other => other,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            What::Component(component) => component,
            What::Operator => OPERATOR,
        }
    }
}

/// The plan, from the first change to the proof. Nothing happens yet.
///
/// # Errors
/// The environment does not run this, or a template is wrong.
pub fn plan(env: &Arc<Environment>, what: &What) -> Result<Plan> {
    let mut plan = Plan::default();
    let on_host = env.platform == Platform::Host;
    let component = match what {
        What::Operator if on_host => {
            return Err(
                Error::new(Code::Usage, "on `host` there is no operator to restart")
                    .hint("components are restarted by name: cargo xtask restart connect"),
            );
        }
        What::Operator => {
            cluster::add_operators(&mut plan, env);
            return Ok(plan);
        }
        What::Component(component) => component,
    };
    refuse_foreign(env, component)?;
    match on_host {
        true => host::add(&mut plan, env, component, &[])?,
        false => cluster::add(&mut plan, env, component),
    }
    let mut ready = format!("{component}/ready");
    let (kafka, connect) = (&env.profile.kafka.name, &env.profile.connect.name);
    if component == kafka && env.runs(connect).is_some() {
        // Connect lives on without a broker, and answers again some time after it is back.
        up::ready(&mut plan, env, connect, &[ready]);
        ready = format!("{connect}/ready");
    }
    proof::add(&mut plan, env, component, &ready);
    Ok(plan)
}

/// The plan that has a component of `host` run and answer, without the proof that changes flow: what
/// that takes may be away too.
///
/// # Errors
/// As [`plan`].
pub fn begin(env: &Arc<Environment>, component: &str) -> Result<Plan> {
    let component = components::named(env, component)?.name();
    refuse_foreign(env, component)?;
    let mut plan = Plan::default();
    match env.platform {
        Platform::Host => host::add(&mut plan, env, component, &[])?,
        Platform::Kind | Platform::Kubernetes => cluster::add(&mut plan, env, component),
    }
    Ok(plan)
}

/// Refuses what this environment does not run.
fn refuse_foreign(env: &Environment, component: &str) -> Result<()> {
    if let Some(address) = env.external(component) {
        let what = format!("{component} is external ({address}): it is restarted where it runs");
        return Err(Error::new(Code::Usage, what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::profile::Selection;

    #[test]
    fn names_are_exact_and_typos_are_answered() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let selection = Selection {
            profile: "clickhouse".into(),
            set: Vec::new(),
        };
        let profile = components::load(root, &selection).expect("valid").profile;
        let fits = |name| What::fits(&profile, name);
        assert!(fits("connect").is_ok());
        assert!(fits("operator").is_ok());
        let hint = |name| fits(name).expect_err("unknown").hint;
        assert_eq!(
            hint("operater").as_deref(),
            Some("did you mean `operator`?")
        );
        assert_eq!(hint("konnect").as_deref(), Some("did you mean `connect`?"));
        assert!(hint("zzzzzzzzzzzz").is_some_and(|hint| hint.starts_with("components:")));
    }
}
