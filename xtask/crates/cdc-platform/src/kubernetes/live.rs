//! What is there: the metadata of the objects that a set is about, asked for at once.
//!
//! Whoever checks a set before applying it looks once and hands on what was seen ([`Situation`]): on a
//! pipeline that is up, looking is most of the work.
//!
//! What somebody changes between that look and the apply is taken for unchanged until the next run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::{StreamExt, TryStreamExt, stream};
use kube::core::DynamicObject;
use kube::core::params::{GetParams, ListParams};

use super::desired::{self, Desired};
use super::object::{Metadata, Partial, PartialList};
use super::resources::{Resource, defined};
use super::retry::{Refusal, find};
use super::{Cluster, FIELD_MANAGER, IN_FLIGHT, MANAGED_BY, ObjectRef};
use crate::error::{Code, Error, Result};

/// A set of objects beside what is there of them.
#[derive(Debug)]
pub struct Situation {
    /// The environment that the set belongs to.
    pub(super) environment: String,
    /// What shall be.
    pub(super) desired: Vec<Desired>,
    /// The kind of each; none where a definition of the set brings it and the server does not know
    /// it yet.
    pub(super) resources: Vec<Option<Resource>>,
    /// What is there of it, whoever made it.
    pub(super) live: HashMap<ObjectRef, Metadata>,
}

impl Situation {
    /// What of it is about some of the objects only.
    #[must_use]
    pub fn only(mut self, wanted: impl Fn(&ObjectRef) -> bool) -> Self {
        let both = self.desired.into_iter().zip(self.resources);
        (self.desired, self.resources) =
            both.filter(|(desired, _)| wanted(&desired.object)).unzip();
        self
    }

    /// Whether the object's kind was not served when this was looked at.
    pub(super) fn fresh(&self, object: &ObjectRef) -> bool {
        let mut kinds = self.desired.iter().zip(&self.resources);
        kinds.any(|(desired, kind)| kind.is_none() && desired.object == *object)
    }
}

/// An object's kind.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) resource: Resource,
    /// Whether the server serves it already; if not, a definition of the set brings it.
    pub(super) served: bool,
}

impl Cluster {
    /// Looks at everything that the objects are about.
    ///
    /// # Errors
    /// An object is malformed, or of a kind that neither the server nor the set knows; the server
    /// refuses to tell.
    pub async fn look(&self, objects: &[DynamicObject], environment: &str) -> Result<Situation> {
        let desired = desired::prepare(objects, environment)?;
        let kinds = self.kinds(&desired).await?;
        let resources: Vec<Option<Resource>> = kinds
            .into_iter()
            .map(|kind| kind.served.then_some(kind.resource))
            .collect();
        let live = self
            .live(&desired, &resources)
            .await
            .map_err(|refusal| self.refused("listing what is there", &refusal))?;
        Ok(Situation {
            environment: environment.to_owned(),
            desired,
            resources,
            live,
        })
    }

    /// The kind of each object: one that the server serves, or one that a definition of the set brings.
    pub(super) async fn kinds(&self, desired: &[Desired]) -> Result<Vec<Kind>> {
        let brought: Vec<Resource> = desired
            .iter()
            .filter(|desired| desired.object.is_definition())
            .flat_map(|desired| defined(&desired.body))
            .collect();
        let wanted = desired
            .iter()
            .map(|desired| (&desired.object.api_version, &desired.object.kind))
            .chain(brought.iter().map(|kind| (&kind.api_version, &kind.kind)))
            .map(|(version, kind)| (version.as_str(), kind.as_str()));
        self.resources
            .learn(&self.client, wanted)
            .await
            .map_err(|refusal| self.refused("the server's kinds", &refusal))?;
        let kinds = desired
            .iter()
            .map(|desired| self.kind_of(&desired.object, &brought));
        super::apply::all(kinds.collect())
    }

    fn kind_of(&self, object: &ObjectRef, brought: &[Resource]) -> Result<Kind> {
        let brings =
            |kind: &&Resource| kind.api_version == object.api_version && kind.kind == object.kind;
        let served = self.resources.get(&object.api_version, &object.kind);
        let kind = Kind {
            served: served.is_some(),
            resource: served
                .or_else(|| brought.iter().find(brings).cloned())
                .ok_or_else(|| {
                    let what = format!(
                        "{object}: the cluster knows no kind {} in {}",
                        object.kind, object.api_version
                    );
                    Error::new(Code::Service, what)
                        .hint("what defines this kind (its operator) must be installed before")
                })?,
        };
        if kind.resource.namespaced != object.namespace.is_some() {
            let what = match kind.resource.namespaced {
                true => format!("{object} has no namespace"),
                false => format!("{object} has a namespace, but its kind has none"),
            };
            return Err(Error::new(Code::Template, what));
        }
        Ok(kind)
    }

    async fn live(
        &self,
        desired: &[Desired],
        resources: &[Option<Resource>],
    ) -> Result<HashMap<ObjectRef, Metadata>, Refusal> {
        // Names by value: references would keep the whole from being sent to a task.
        let mut places: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for (desired, resource) in desired.iter().zip(resources) {
            if let Some(resource) = resource {
                let object = &desired.object;
                let place = (resource.clone(), object.namespace.clone());
                places.entry(place).or_default().insert(object.name.clone());
            }
        }
        let found: Vec<Vec<(ObjectRef, Metadata)>> = stream::iter(places)
            .map(|((resource, namespace), names)| async move {
                let found = self.there(&resource, namespace.as_deref(), &names).await?;
                let found = found.into_iter();
                let named = found.map(|metadata| (name(&resource, &metadata), metadata));
                Ok::<_, Refusal>(named.collect())
            })
            .buffer_unordered(IN_FLIGHT)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// What is there under these names of one kind in one namespace. Mostly all of it carries this
    /// tool's label; only where something does not, everything is listed: what was there before must
    /// be known before it is touched.
    async fn there(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        names: &BTreeSet<String>,
    ) -> Result<Vec<Metadata>, Refusal> {
        // Who may use some namespaces may not list them all.
        if resource.kind == "Namespace" && resource.api_version == "v1" {
            let mut found = Vec::new();
            for name in names {
                found.extend(self.metadata(resource, None, name).await?);
            }
            return Ok(found);
        }
        let mut found = self.labelled(resource, namespace, None).await?;
        found.retain(|live| names.contains(&live.name));
        if found.len() < names.len() {
            found = self
                .select(resource, namespace, &ListParams::default())
                .await?;
            found.retain(|live| names.contains(&live.name));
        }
        Ok(found)
    }

    /// The metadata of one object, if it is there.
    pub(super) async fn metadata(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Metadata>, Refusal> {
        let request = resource
            .at(namespace)
            .get_metadata(name, &GetParams::default())?;
        let found: Option<Partial> = find(&self.client, &request).await?;
        Ok(found.map(|found| found.metadata))
    }

    /// The metadata of what carries this tool's label: in one namespace or everywhere, of one
    /// environment or of all.
    pub(super) async fn labelled(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        environment: Option<&str>,
    ) -> Result<Vec<Metadata>, Refusal> {
        let mut selector = format!("{MANAGED_BY}={FIELD_MANAGER}");
        if let Some(environment) = environment {
            selector = format!("{selector},{}={environment}", super::ENVIRONMENT);
        }
        let params = ListParams::default().labels(&selector);
        self.select(resource, namespace, &params).await
    }

    /// The metadata of a selection; nothing if the kind is not there.
    pub(super) async fn select(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        params: &ListParams,
    ) -> Result<Vec<Metadata>, Refusal> {
        let request = resource.at(namespace).list_metadata(params)?;
        let list: Option<PartialList> = find(&self.client, &request).await?;
        let items = list.and_then(|list| list.items).unwrap_or_default();
        Ok(items.into_iter().map(|item| item.metadata).collect())
    }
}

/// The name under which metadata of a kind stands.
pub(super) fn name(resource: &Resource, metadata: &Metadata) -> ObjectRef {
    ObjectRef {
        api_version: resource.api_version.clone(),
        kind: resource.kind.clone(),
        namespace: metadata.namespace.clone().filter(|name| !name.is_empty()),
        name: metadata.name.clone(),
    }
}
