//! Server-side apply of a set of objects: what is as it shall be is left alone, everything else is
//! sent at once, held back only by what must be there before it (`order`).
//!
//! Existing namespaces of others are used, never changed. What was there before this tool came is
//! adopted if nobody else owns what shall be set, and carries no [`CREATED`]: it is never deleted.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{StreamExt, stream::FuturesUnordered};
use kube::core::DynamicObject;
use kube::core::params::{Patch, PatchParams, ValidationDirective};
use serde_json::Value;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

mod served;

use super::desired::{Desired, annotate};
use super::live::Situation;
use super::object::{Metadata, Partial};
use super::refusals::{Taken, conflict, conflicts, explain};
use super::resources::Resource;
use super::retry::{Answer, Refusal, send_while};
use super::{CREATED, Cluster, FIELD_MANAGER, IN_FLIGHT, ObjectRef, order};
use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::readiness::Status;
use crate::wait::{self, Patience};

/// How to apply.
#[derive(Clone, Debug)]
pub struct Options {
    /// The environment that the objects belong to.
    pub environment: String,
    /// Takes fields over that other managers own.
    pub force: bool,
    /// Asks the server what would happen, and changes nothing.
    pub dry_run: bool,
    /// How long to wait for a definition to be served, and for an old object of the same name to be
    /// gone.
    pub deadline: Duration,
}

impl Options {
    /// Never takes over, changes things, waits two minutes.
    pub fn new(environment: impl Into<String>) -> Self {
        Options {
            environment: environment.into(),
            force: false,
            dry_run: false,
            deadline: Duration::from_secs(120),
        }
    }
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It was not there.
    Created,
    /// It was there and is different now.
    Configured,
    /// It was as it shall be.
    Unchanged,
    /// A namespace of others, used as it is.
    Kept,
}

/// What an apply did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Each object, in the order in which they were given.
    pub objects: Vec<(ObjectRef, Change)>,
}

impl Applied {
    /// How many objects ended so.
    pub fn count(&self, change: Change) -> usize {
        self.objects
            .iter()
            .filter(|(_, seen)| *seen == change)
            .count()
    }

    /// Whether anything is different now.
    pub fn changed(&self) -> bool {
        let same = |change: &Change| matches!(change, Change::Unchanged | Change::Kept);
        !self.objects.iter().all(|(_, change)| same(change))
    }
}

/// Why an object could not be applied.
enum Problem {
    /// Other managers own fields that shall be set.
    Owned(Vec<Taken>),
    Other(Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Problem::Other(error)
    }
}

impl Cluster {
    /// Makes the objects be.
    ///
    /// # Errors
    /// Everything that went wrong, in one error; what does not depend on it was applied nevertheless.
    pub async fn apply(
        &self,
        objects: &[DynamicObject],
        options: &Options,
        progress: &Progress,
    ) -> Result<Applied> {
        if options.dry_run {
            let differences = self.diff(objects, &options.environment).await?;
            return super::diff::as_applied(objects, &differences);
        }
        let situation = self.look(objects, &options.environment).await?;
        self.apply_seen(&situation, options, progress).await
    }

    /// As [`Cluster::apply`], of a set that was looked at a moment ago. What others change after the
    /// look is taken for unchanged, as it is between any look and its apply.
    ///
    /// # Errors
    /// As [`Cluster::apply`].
    pub async fn apply_seen(
        &self,
        situation: &Situation,
        options: &Options,
        progress: &Progress,
    ) -> Result<Applied> {
        situation.check_owners()?;
        Run {
            cluster: self,
            situation,
            options,
            progress,
            permits: Semaphore::new(IN_FLIGHT),
            asked: Mutex::default(),
        }
        .all()
        .await
    }
}

/// The first error with all others in it, or all results.
pub(super) fn all<T>(results: Vec<Result<T>>) -> Result<Vec<T>> {
    let (mut good, mut errors) = (Vec::with_capacity(results.len()), Vec::new());
    for result in results {
        match result {
            Ok(value) => good.push(value),
            Err(error) => errors.push(error),
        }
    }
    Error::together(errors).map_or(Ok(good), Err)
}

/// One call of [`Cluster::apply`].
struct Run<'a> {
    cluster: &'a Cluster,
    situation: &'a Situation,
    options: &'a Options,
    progress: &'a Progress,
    permits: Semaphore,
    /// When the server was last asked for the kinds of a group and version.
    asked: Mutex<HashMap<String, Instant>>,
}

impl Run<'_> {
    async fn all(&self) -> Result<Applied> {
        let desired = &self.situation.desired;
        let nodes: Vec<order::Node> = desired.iter().map(node).collect();
        let needs = order::needs(&nodes);
        let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
        let mut waiting = vec![Vec::new(); desired.len()];
        for (index, needs) in needs.iter().enumerate() {
            for &need in needs {
                waiting[need].push(index);
            }
        }
        let start = |index: usize| async move { (index, self.one(index).await) };
        let mut running = FuturesUnordered::new();
        // What others wait for goes first.
        let mut ready: Vec<usize> = (0..desired.len()).filter(|&i| missing[i] == 0).collect();
        ready.sort_by_key(|&index| waiting[index].is_empty());
        running.extend(ready.into_iter().map(start));
        let mut changes = vec![None; desired.len()];
        let (mut taken, mut errors, mut done) = (Vec::new(), Vec::new(), 0);
        while let Some((index, result)) = running.next().await {
            done += 1;
            self.progress
                .observe(format!("{done} of {} objects", desired.len()));
            match result {
                Ok(change) => {
                    changes[index] = Some(change);
                    for &next in &waiting[index] {
                        missing[next] -= 1;
                        if missing[next] == 0 {
                            running.push(start(next));
                        }
                    }
                }
                Err(Problem::Owned(fields)) => taken.extend(fields),
                Err(Problem::Other(error)) => errors.push(match waiting[index].len() {
                    0 => error,
                    held => {
                        error.detail(format!("{held} objects wait for it and were not applied"))
                    }
                }),
            }
        }
        if !taken.is_empty() {
            errors.insert(0, conflict(taken));
        }
        if let Some(error) = Error::together(errors) {
            return Err(error);
        }
        let names = desired.iter().map(|desired| desired.object.clone());
        let objects = names
            .zip(changes)
            .filter_map(|(name, change)| Some((name, change?)));
        Ok(Applied {
            objects: objects.collect(),
        })
    }

    async fn one(&self, index: usize) -> Result<Change, Problem> {
        let desired = &self.situation.desired[index];
        // What was in a namespace that had to go before this is gone with it.
        let namespace = desired
            .object
            .namespace
            .as_deref()
            .map(ObjectRef::of_namespace);
        let home = namespace.and_then(|namespace| self.situation.live.get(&namespace));
        let mut live = match home {
            Some(home) if home.deletion_timestamp.is_some() => None,
            _ => self.situation.live.get(&desired.object),
        };
        let resource = self.resource(index)?;
        if let Some(going) = live.filter(|live| live.deletion_timestamp.is_some()) {
            self.gone(desired, &resource, &going.uid).await?;
            live = None;
        }
        let environment = &self.options.environment;
        let change = match live {
            Some(live) if desired.object.is_namespace() && live.is_used_only(environment) => {
                return Ok(Change::Kept);
            }
            Some(live) if self.cluster.stands(desired, &resource, live).await? => Change::Unchanged,
            live => self.put(desired, &resource, live).await?,
        };
        if desired.object.is_definition() {
            self.served(desired).await?;
        }
        Ok(change)
    }

    /// The object's kind: known before, or brought by a definition of this set that is served by now.
    fn resource(&self, index: usize) -> Result<Resource, Problem> {
        if let Some(resource) = &self.situation.resources[index] {
            return Ok(resource.clone());
        }
        let object = &self.situation.desired[index].object;
        let known = self
            .cluster
            .resources
            .get(&object.api_version, &object.kind);
        known.ok_or_else(|| {
            let what = format!(
                "{object}: its definition does not serve {}",
                object.api_version
            );
            Problem::Other(Error::new(Code::Service, what))
        })
    }

    /// Sends the object.
    async fn put(
        &self,
        desired: &Desired,
        resource: &Resource,
        live: Option<&Metadata>,
    ) -> Result<Change, Problem> {
        let mut body = desired.body.clone();
        if live.is_none_or(Metadata::created) {
            annotate(&mut body, CREATED, "true");
        }
        // A definition that was made a moment ago may not be served by every API server yet.
        let fresh = self.situation.fresh(&desired.object);
        let mut answer = self.patch(desired, resource, &body, fresh).await?;
        if live.is_none() && answer.status == 200 {
            // Somebody made it since this tool looked: it is not this tool's to delete.
            answer = self.patch(desired, resource, &desired.body, false).await?;
        }
        let told = answer.read::<Partial>();
        let told = told.map_err(|refusal| self.refused(desired, &refusal))?;
        if told.metadata.deletion_timestamp.is_some() {
            self.gone(desired, resource, &told.metadata.uid).await?;
            annotate(&mut body, CREATED, "true");
            answer = self.patch(desired, resource, &body, false).await?;
        }
        let version = |live: &Metadata| live.resource_version == told.metadata.resource_version;
        Ok(match answer.status {
            201 => Change::Created,
            _ if live.is_some_and(version) => Change::Unchanged,
            _ => Change::Configured,
        })
    }

    async fn patch(
        &self,
        desired: &Desired,
        resource: &Resource,
        body: &Value,
        fresh: bool,
    ) -> Result<Answer, Problem> {
        let request = parameters(self.options.force)
            .and_then(|params| {
                let place = resource.at(desired.object.namespace.as_deref());
                Ok(place.patch_metadata(&desired.object.name, &params, &Patch::Apply(body))?)
            })
            .map_err(|refusal| self.refused(desired, &refusal))?;
        let _permit = self.permits.acquire().await;
        let unserved = |refusal: &Refusal| fresh && refusal.is_unknown_kind();
        send_while(&self.cluster.client, &request, unserved)
            .await
            .map_err(|refusal| self.refused(desired, &refusal))
    }

    fn refused(&self, desired: &Desired, refusal: &Refusal) -> Problem {
        let fields = conflicts(&desired.object, refusal);
        if fields.is_empty() {
            return Problem::Other(explain(self.cluster, &desired.object, refusal));
        }
        Problem::Owned(fields)
    }

    /// Waits until this very object is gone.
    async fn gone(&self, desired: &Desired, resource: &Resource, uid: &str) -> Result<(), Problem> {
        let object = &desired.object;
        let look = || async {
            let namespace = object.namespace.as_deref();
            match self
                .cluster
                .metadata(resource, namespace, &object.name)
                .await
            {
                Ok(Some(live)) if live.uid == uid => {
                    Status::in_progress(format!("{object} is still being deleted{}", held(&live)))
                }
                Ok(_) => Status::current("gone"),
                Err(refusal) => Status::failed(refusal.to_string()),
            }
        };
        let what = format!("the former {object} is gone");
        wait::until(&what, self.patience(), self.progress, look)
            .await
            .map_err(|error| {
                Problem::Other(error.hint(format!(
                    "see what holds it: `kubectl --context {} get {} {} -o yaml`",
                    self.cluster.context, resource.plural, object.name
                )))
            })?;
        Ok(())
    }

    fn patience(&self) -> Patience {
        Patience {
            deadline: self.options.deadline,
            first: Duration::from_millis(10),
            slowest: Duration::from_millis(250),
        }
    }
}

/// The parameters of every apply. Fields that the server does not know are errors: they would
/// vanish silently.
pub(super) fn parameters(force: bool) -> Result<PatchParams, Refusal> {
    let params = PatchParams::apply(FIELD_MANAGER).validation(ValidationDirective::Strict);
    Ok(if force { params.force() } else { params })
}

fn node(desired: &Desired) -> order::Node {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let spec = &desired.body["spec"];
    order::Node {
        object: desired.object.clone(),
        defines: desired
            .object
            .is_definition()
            .then(|| Some((text(&spec["group"])?, text(&spec["names"]["kind"])?)))
            .flatten(),
        binds: {
            let role = &desired.body["roleRef"];
            text(&role["kind"]).zip(text(&role["name"]))
        },
    }
}

/// What an object that is being deleted waits for.
pub(super) fn held(live: &Metadata) -> String {
    match live.finalizers.as_slice() {
        [] => String::new(),
        finalizers => format!(" (finalizers: {})", finalizers.join(", ")),
    }
}
