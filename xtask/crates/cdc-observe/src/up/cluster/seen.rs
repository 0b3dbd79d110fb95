//! What is looked at before anything changes, and handed on to the steps after it: on a pipeline that
//! is up, looking is nearly all that there is to do, and nobody shall do it twice.

use std::sync::{Arc, OnceLock};

use kube::core::DynamicObject;

use super::namespaces;
use crate::components::of;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Plan, Progress};
use crate::platform::kubernetes::{Inventory, ObjectRef, Owned, Situation, preflight};

/// What a node saw, for those after it.
pub(super) type HandedOn<T> = Arc<OnceLock<T>>;

/// What a node before this one saw.
///
/// # Errors
/// It did not run.
pub(super) fn handed<T>(seen: &OnceLock<T>) -> Result<&T> {
    let missing = || Error::new(Code::Plan, "the cluster was not looked at in this run");
    seen.get().ok_or_else(missing)
}

/// What the check saw.
pub(super) struct Seen {
    /// What is applied first, beside what is there of it.
    pub(super) first: Situation,
    /// What the cluster has of this environment and the profile no longer wants.
    pub(super) left: Vec<Owned>,
}

/// Adds the gate that lists what of the cluster is the environment's.
pub(super) fn inventory(
    plan: &mut Plan,
    env: &Arc<Environment>,
    needs: &[&str],
) -> HandedOn<Inventory> {
    let found = HandedOn::default();
    let (at, into) = (env.clone(), found.clone());
    let title = "what of the cluster is this environment's";
    plan.gate("cluster/inventory", title, needs, async move |_| {
        let cluster = &at.link()?.cluster;
        let found = cluster.inventory(&at.name, &namespaces(&at)).await?;
        let count = found.objects.len();
        into.get_or_init(|| found);
        Ok(Outcome::Unchanged(format!("{count} objects")))
    });
    found
}

/// Checks all that would stop an apply of the objects in its middle. Of what was seen, the objects
/// that are applied `first` are handed on.
///
/// # Errors
/// A permission, room, a Secret or an image is missing, or an object is another environment's.
pub(super) async fn check(
    env: &Environment,
    objects: &[DynamicObject],
    inventory: &Inventory,
    remove: bool,
    first: impl Fn(&ObjectRef) -> bool,
    progress: &Progress,
) -> Result<(Seen, Outcome)> {
    let cluster = &env.link()?.cluster;
    progress.observe("asking what may be changed");
    // Before all else: it names everything that is not permitted, where a look ends at the first.
    cluster.check_access(objects, &env.name).await?;
    progress.observe("looking for room, Secrets and images");
    let left = inventory.left(objects)?;
    let removal = async {
        match remove {
            true => cluster.check_removal(&left).await,
            false => Ok(()),
        }
    };
    let shrinking = async {
        for component in env.running().map(of) {
            component.check_change(env, cluster).await?;
        }
        Ok(())
    };
    let options = preflight::Options {
        // The workers' image comes while this looks; it is proven on each node after its load.
        local_images: Vec::new(),
        grows: false,
    };
    let (situation, removal, shrinking, notes) = tokio::join!(
        cluster.look(objects, &env.name),
        removal,
        shrinking,
        preflight::run(&cluster.client, objects, &options),
    );
    let situation = situation?;
    situation.check_owners()?;
    let ((), (), notes) = (removal?, shrinking?, notes?);
    let first = situation.only(first);
    let outcome = Outcome::Unchanged(if notes.is_empty() {
        "nothing stands in the way".into()
    } else {
        notes.join("; ")
    });
    Ok((Seen { first, left }, outcome))
}
