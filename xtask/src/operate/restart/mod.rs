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
use crate::up;

/// What is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A component.
    Component(&'static str),
    /// The operators; what they run goes on.
    Operator,
}

impl What {
    /// What a name means.
    ///
    /// # Errors
    /// Nothing; with the nearest name.
    pub fn named(name: &str) -> Result<Self> {
        if name == OPERATOR {
            return Ok(What::Operator);
        }
        match components::named(name) {
            Ok(component) => Ok(What::Component(component)),
            Err(error) if nearest(name, [OPERATOR]).is_some() => {
                Err(error.hint(format!("did you mean `{OPERATOR}`?")))
            }
            Err(error) => Err(error),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
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
pub fn plan(env: &Arc<Environment>, what: What) -> Result<Plan> {
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
        false => cluster::add(&mut plan, env, component)?,
    }
    let mut ready = format!("{component}/ready");
    if component == "kafka" {
        // Connect lives on without a broker, and answers again some time after it is back.
        up::ready(&mut plan, env, "connect", &[ready])?;
        ready = "connect/ready".into();
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
    let component = components::named(component)?;
    refuse_foreign(env, component)?;
    let mut plan = Plan::default();
    match env.platform {
        Platform::Host => host::add(&mut plan, env, component, &[])?,
        Platform::Kind | Platform::Kubernetes => cluster::add(&mut plan, env, component)?,
    }
    Ok(plan)
}

/// Refuses what this environment does not run.
fn refuse_foreign(env: &Environment, component: &str) -> Result<()> {
    if let Some(address) = env.external(component) {
        let what = format!("{component} is external ({address}): it is restarted where it runs");
        return Err(Error::new(Code::Usage, what));
    }
    let source = match component {
        "postgres" => crate::profile::schema::Source::Postgres,
        "mongodb" => crate::profile::schema::Source::Mongodb,
        _ => return Ok(()),
    };
    if let Some(left) = env.left_out.iter().find(|left| left.component == component) {
        let error = Error::new(Code::NotUp, format!("{component} does not run"));
        return Err(error.detail(left.reason.clone()));
    }
    if !env.profile.uses(source) {
        let what = format!("no connector of the profile reads {component}: it does not run");
        return Err(Error::new(Code::NotUp, what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact_and_typos_are_answered() {
        assert_eq!(
            What::named("connect").expect("known"),
            What::Component("connect")
        );
        assert_eq!(What::named("operator").expect("known"), What::Operator);
        let hint = |name| What::named(name).expect_err("unknown").hint;
        assert_eq!(
            hint("operater").as_deref(),
            Some("did you mean `operator`?")
        );
        assert_eq!(hint("konnect").as_deref(), Some("did you mean `connect`?"));
        assert!(hint("zzzzzzzzzzzz").is_some_and(|hint| hint.starts_with("components:")));
    }
}
