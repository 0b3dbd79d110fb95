//! Whether the server would permit an apply, asked before anything changes.
//!
//! One question for everything first: most users of their own cluster may do everything. Otherwise
//! one question per verb, kind and namespace. (A rules review per namespace would be one request,
//! but its answer may be incomplete by definition, and says nothing about the whole cluster.)
//!
//! `delete` is asked for where something is removed (`up --yes`, `down`), not at the first `up`.

use std::collections::BTreeSet;
use std::fmt;

use futures_util::{StreamExt, TryStreamExt, stream};
use kube::core::DynamicObject;
use kube::core::Request;
use kube::core::params::PostParams;
use serde_json::{Value, json};

use super::resources::Resource;
use super::retry::{Refusal, send};
use super::{Cluster, IN_FLIGHT, Owned, desired};
use crate::error::{Code, Error, Result};
use crate::report::text;

const ASKED: &str = "the permissions of this context";

/// What an apply does with an object.
const VERBS: [&str; 4] = ["create", "get", "list", "patch"];

/// One permission.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// None for the whole cluster.
    pub namespace: Option<String>,
    /// The API group; empty for the core group.
    pub group: String,
    /// `deployments`.
    pub resource: String,
    /// `patch`.
    pub verb: String,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => write!(f, " in the whole cluster"),
        }
    }
}

/// What an apply of objects of these kinds, in these namespaces, needs.
fn needed<'a>(
    objects: impl IntoIterator<Item = (&'a Resource, Option<&'a str>)>,
) -> BTreeSet<Permission> {
    let places: BTreeSet<_> = objects.into_iter().collect();
    places
        .into_iter()
        .flat_map(|(resource, namespace)| {
            VERBS.map(|verb| Permission {
                namespace: namespace.map(str::to_owned),
                group: resource.group().to_owned(),
                resource: resource.plural.clone(),
                verb: verb.into(),
            })
        })
        .collect()
}

impl Cluster {
    /// Checks that everything that an apply of the objects needs is permitted.
    ///
    /// # Errors
    /// One error that names every permission that is missing.
    pub async fn check_access(&self, objects: &[DynamicObject], environment: &str) -> Result<()> {
        let everything = Permission {
            namespace: None,
            group: "*".into(),
            resource: "*".into(),
            verb: "*".into(),
        };
        let refused = |refusal: Refusal| self.refused(ASKED, &refusal);
        if self.may(&everything).await.map_err(refused)? {
            return Ok(());
        }
        let desired = desired::prepare(objects, environment)?;
        let kinds = self.kinds(&desired).await?;
        let mut places = Vec::new();
        for (desired, kind) in desired.iter().zip(&kinds) {
            // A namespace that is there is used as it is.
            if desired.object.is_namespace() {
                let there = self
                    .metadata(&kind.resource, None, &desired.object.name)
                    .await;
                if there
                    .map_err(refused)?
                    .is_some_and(|live| live.is_used_only(environment))
                {
                    continue;
                }
            }
            places.push((&kind.resource, desired.object.namespace.as_deref()));
        }
        let missing = self.missing(needed(places)).await.map_err(refused)?;
        let mut lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
        lines.extend(self.escalations(&desired).await.map_err(refused)?);
        self.permitted(lines)
    }

    /// Checks that the objects may be removed.
    ///
    /// # Errors
    /// One error that names every permission that is missing.
    pub async fn check_removal(&self, objects: &[Owned]) -> Result<()> {
        let mut needed = BTreeSet::new();
        for owned in objects {
            // It stays, whoever asks.
            if owned.created && owned.object.is_namespace() && self.in_use(owned).await?.is_some() {
                continue;
            }
            needed.insert(Permission {
                namespace: owned.object.namespace.clone(),
                group: owned.resource.group().to_owned(),
                resource: owned.resource.plural.clone(),
                // What was there before this tool came is only given up.
                verb: if owned.created { "delete" } else { "patch" }.into(),
            });
        }
        let refused = |refusal: Refusal| self.refused(ASKED, &refusal);
        let missing = self.missing(needed).await.map_err(refused)?;
        self.permitted(missing.iter().map(ToString::to_string).collect())
    }

    async fn missing(&self, needed: BTreeSet<Permission>) -> Result<BTreeSet<Permission>, Refusal> {
        let answers: Vec<Option<Permission>> = stream::iter(needed)
            .map(|permission| async move {
                let may = self.may(&permission).await?;
                Ok::<_, Refusal>((!may).then_some(permission))
            })
            .buffer_unordered(IN_FLIGHT)
            .try_collect()
            .await?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// One error for all lines.
    fn permitted(&self, missing: Vec<String>) -> Result<()> {
        if missing.is_empty() {
            return Ok(());
        }
        let what = format!(
            "context {} lacks {}; nothing was changed",
            self.context,
            text::count(missing.len(), "permission")
        );
        Err(Error::new(Code::Platform, what).details(missing).hint(
            "whoever administers the cluster grants them with a Role and a RoleBinding per namespace",
        ))
    }

    async fn may(&self, permission: &Permission) -> Result<bool, Refusal> {
        let question = json!({ "resourceAttributes": {
            "verb": permission.verb,
            "group": permission.group,
            "resource": permission.resource,
            "namespace": permission.namespace,
        } });
        self.allowed(&question).await
    }

    /// Whether the server permits what a review's specification asks.
    pub(super) async fn allowed(&self, spec: &Value) -> Result<bool, Refusal> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": spec,
        });
        let place = Request::new("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews");
        let body = review.to_string().into_bytes();
        let request = place.create(&PostParams::default(), body)?;
        let answer: Value = send(&self.client, &request).await?.read()?;
        Ok(answer["status"]["allowed"] == true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_kind_and_namespace_is_asked_for_once() {
        let resource = |api_version: &str, plural: &str| Resource {
            api_version: api_version.into(),
            kind: String::new(),
            plural: plural.into(),
            namespaced: true,
        };
        let (maps, sets) = (
            resource("v1", "configmaps"),
            resource("apps/v1", "statefulsets"),
        );
        let needed = needed([
            (&maps, Some("kafka")),
            (&maps, Some("kafka")),
            (&maps, Some("database")),
            (&sets, Some("kafka")),
        ]);
        let lines: Vec<String> = needed.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 3 * VERBS.len());
        assert!(lines.contains(&"patch statefulsets.apps in namespace kafka".to_owned()));
        assert!(lines.contains(&"create configmaps in namespace database".to_owned()));
    }
}
