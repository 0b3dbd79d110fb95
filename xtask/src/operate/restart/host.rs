//! On `host` a component is one process: it is asked to end, as `down` does, and started, as `up` does.

use std::sync::Arc;

use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Plan};
use crate::platform::host::daemon;
use crate::up;

/// Adds the steps that end the process and start it, and the gate of the component.
///
/// Nothing ends before the nodes `after`, and what the start needs is seen to be there before too.
///
/// # Errors
/// A prerequisite is missing, or a template is wrong.
pub(super) fn add(
    plan: &mut Plan,
    env: &Arc<Environment>,
    component: &str,
    after: &[&str],
) -> Result<()> {
    let processes = up::processes(env)?;
    let process = processes
        .into_iter()
        .find(|process| process.component == component)
        .ok_or_else(|| Error::new(Code::NotUp, format!("{component} does not run")))?;
    let fetched = up::fetched(env, component)?;
    if !fetched.is_empty() {
        up::fetch(plan, env)?;
    }
    let (at, name) = (env.clone(), component.to_owned());
    let stopped = format!("{component}/stop");
    let mut needs: Vec<&str> = fetched.iter().map(String::as_str).collect();
    needs.extend(after);
    plan.step(&stopped, "end the process", &needs, async move |progress| {
        let ran = daemon::stop(&at.dirs, &name, &progress).await?;
        Ok(match ran {
            true => Outcome::Changed("ended".into()),
            false => Outcome::Unchanged("it did not run".into()),
        })
    });
    up::start(plan, env, process, &[&stopped]);
    up::ready(plan, env, component, &[format!("{component}/start")]);
    Ok(())
}
