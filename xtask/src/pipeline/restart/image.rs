//! Another image for Connect's workers: brought to where they run, run, and seen to be what runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::core::DynamicObject;
use serde_json::Value;

use super::cluster::{Strimzi, running};
use super::proof;
use crate::components::{self, image};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Plan};
use crate::platform::Platform;
use crate::readiness::Status;

/// Adds the steps after `first`, from the build to the proof.
///
/// # Errors
/// The platform has no images, the profile names one of its own, or a template is wrong.
pub fn add(plan: &mut Plan, env: &Arc<Environment>, first: &str) -> Result<()> {
    refuse(env)?;
    // What runs is held below against every digest that the image may go by.
    let there = image::steps(plan, env, &[first], &image::Pushed::default());
    let mut needs = vec![first];
    needs.extend(there);
    let at = env.clone();
    plan.step(
        "connect/apply",
        "the workers",
        &needs,
        async move |progress| components::cluster::apply_workers(&at, &progress).await,
    );
    let at = env.clone();
    plan.step(
        "connect/roll",
        "replace pods that run another image",
        &["connect/apply"],
        async move |progress| {
            let ids = image::identities(&at).await?;
            let reference = image::reference(&at)?;
            let strimzi = Strimzi::of(&at, "connect")
                .ok_or_else(|| Error::new(Code::Plan, "Connect has no pods"))?;
            let pods = running(&at, &strimzi.pods).await?;
            let asked = stale(&pods, &reference, &ids);
            if asked {
                strimzi.ask(&at, None).await?;
            }
            let what = "the workers run the new image";
            let judge = |pods: &[Arc<DynamicObject>]| proven(pods, &ids);
            let seen = at
                .link()?
                .watches
                .replaced(
                    what,
                    strimzi.pods,
                    judge,
                    components::patience(&at).deadline,
                    &progress,
                )
                .await?;
            let changed = asked || proven(&pods, &ids).state != crate::readiness::State::Current;
            Ok(match changed {
                true => Outcome::Changed(seen),
                false => Outcome::Unchanged(seen),
            })
        },
    );
    components::ready(plan, env, "connect", &["connect/roll".to_owned()])?;
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
    match &env.profile.connect.image {
        Some(image) => Err(Error::new(
            Code::ProfileInvalid,
            format!("the profile names an image of its own, {image}: there is nothing to build"),
        )
        .hint("unset connect.image")),
        None => Ok(()),
    }
}

/// The digest that a pod's main container runs, as its node names it.
fn image_id(pod: &DynamicObject) -> Option<&str> {
    let statuses = pod.data.pointer("/status/containerStatuses")?.as_array()?;
    let main = pod.data.pointer("/spec/containers/0/name");
    let main = statuses.iter().find(|status| status.get("name") == main)?;
    digest(main.get("imageID")?.as_str()?)
}

/// `sha256:...` at the end of an image's name.
fn digest(id: &str) -> Option<&str> {
    let id = id.rsplit(['@', '/']).next()?;
    id.starts_with("sha256:").then_some(id)
}

/// Whether a pod is of this name already and runs something else nevertheless: an image that was
/// built anew under its old name. Only then the operator has no reason to replace it.
fn stale(pods: &[Arc<DynamicObject>], reference: &str, ids: &BTreeSet<String>) -> bool {
    pods.iter().any(|pod| {
        let named = pod.data.pointer("/spec/containers/0/image");
        let other = image_id(pod).is_some_and(|id| !ids.contains(id));
        named.and_then(Value::as_str) == Some(reference) && other
    })
}

/// Whether every pod runs one of these digests.
fn proven(pods: &[Arc<DynamicObject>], ids: &BTreeSet<String>) -> Status {
    let right = |pod: &&Arc<DynamicObject>| image_id(pod).is_some_and(|id| ids.contains(id));
    let count = pods.iter().filter(right).count();
    match pods.first().and_then(|pod| image_id(pod)) {
        Some(id) if count == pods.len() => {
            Status::current(format!("{count} of {count} pods run {id}"))
        }
        _ => Status::in_progress(format!("{count} of {} pods run the new image", pods.len())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::readiness::State;

    fn pod(image: &str, id: &str) -> Arc<DynamicObject> {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" },
            "spec": { "containers": [{ "name": "c", "image": image }, { "name": "x", "image": "y" }] },
            "status": { "containerStatuses": [
                { "name": "x", "imageID": "sha256:other" },
                { "name": "c", "imageID": id },
            ] },
        });
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    }

    #[test]
    fn a_digest_proves_what_runs_however_the_node_writes_it() {
        let ids: BTreeSet<String> = ["sha256:new".to_owned()].into();
        for id in [
            "sha256:new",
            "docker.io/library/r@sha256:new",
            "docker-pullable://r@sha256:new",
        ] {
            assert_eq!(
                proven(&[pod("r:1", id)], &ids).state,
                State::Current,
                "{id}"
            );
        }
        for id in ["sha256:old", "", "r:1"] {
            assert_eq!(
                proven(&[pod("r:1", id)], &ids).state,
                State::InProgress,
                "{id}"
            );
        }
        let mixed = proven(&[pod("r:1", "sha256:new"), pod("r:1", "sha256:old")], &ids);
        assert_eq!(mixed.message, "1 of 2 pods run the new image");
        assert_eq!(proven(&[], &ids).state, State::InProgress);
    }

    #[test]
    fn only_a_name_that_stays_needs_a_push() {
        let ids: BTreeSet<String> = ["sha256:new".to_owned()].into();
        assert!(stale(&[pod("r:1", "sha256:old")], "r:1", &ids));
        assert!(!stale(&[pod("r:1", "sha256:new")], "r:1", &ids));
        // The operator replaces it for its name.
        assert!(!stale(&[pod("r:0", "sha256:old")], "r:1", &ids));
        // It has not begun to run.
        assert!(!stale(&[pod("r:1", "")], "r:1", &ids));
    }
}
