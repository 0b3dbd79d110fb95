//! What an apply would change: the server's own answer to a dry run beside what is there.

use std::collections::HashSet;

use futures_util::{StreamExt, stream};
use kube::core::DynamicObject;
use kube::core::params::{GetParams, Patch};
use serde_json::{Map, Value};

use super::apply::{all, parameters};
use super::desired::{self, Desired, annotate};
use super::live::Situation;
use super::object::Metadata;
use super::owned::Proof;
use super::refusals::explain;
use super::resources::Resource;
use super::retry::{Refusal, find, send};
use super::unified::unified;
use super::{APPLIED, Applied, CREATED, Change, Cluster, IN_FLIGHT, ObjectRef, owned};
use crate::error::{Code, Error, Result};

/// What would be done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is not there.
    Create,
    /// It is there and would be different.
    Configure,
}

/// An object that an apply would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub object: ObjectRef,
    /// What would be done.
    pub action: Action,
    /// The lines that differ, as `diff -u` shows them. Values of Secrets are masked.
    pub text: String,
    /// What would keep the apply from succeeding: fields of other managers.
    pub conflicts: Vec<String>,
}

/// What stands for the lines that differ where an apply writes only what this tool keeps of it.
const SAME_VALUES: &str = "(the values are the same; what was applied last is recorded)\n";

/// Lines around a change.
const CONTEXT: usize = 3;

impl Cluster {
    /// What an apply of the objects would change, in their order. Changes nothing.
    ///
    /// # Errors
    /// The server would refuse an object, or gives no answer.
    pub async fn diff(
        &self,
        objects: &[DynamicObject],
        environment: &str,
    ) -> Result<Vec<Difference>> {
        let situation = self.look(objects, environment).await?;
        let mut results: Vec<(usize, Result<Option<Difference>>)> = stream::iter(0..objects.len())
            .map(|index| {
                let situation = &situation;
                async move { (index, self.difference(situation, index, environment).await) }
            })
            .buffer_unordered(IN_FLIGHT)
            .collect()
            .await;
        results.sort_by_key(|(index, _)| *index);
        let results = all(results.into_iter().map(|(_, result)| result).collect())?;
        Ok(results.into_iter().flatten().collect())
    }

    async fn difference(
        &self,
        situation: &Situation,
        index: usize,
        environment: &str,
    ) -> Result<Option<Difference>> {
        let desired = &situation.desired[index];
        let live = situation.live.get(&desired.object);
        let Some(resource) = &situation.resources[index] else {
            return Ok(Some(creation(desired)));
        };
        let mut body = desired.body.clone();
        let mut conflicts = Vec::new();
        if let Some(live) = live {
            let used_only = desired.object.is_namespace() && live.is_used_only(environment);
            if used_only || self.stands(desired, resource, live).await? {
                return Ok(None);
            }
            if live.deletion_timestamp.is_some() {
                return Ok(Some(creation(desired)));
            }
            if live.created() {
                annotate(&mut body, CREATED, "true");
            }
            let other = live
                .environment()
                .filter(|other| live.labelled() && *other != environment);
            conflicts.extend(other.map(|other| format!("belongs to the environment `{other}`")));
        }
        let refused = |refusal: Refusal| explain(self, &desired.object, &refusal);
        let before = self
            .whole(resource, &desired.object)
            .await
            .map_err(refused)?;
        let after = match self.dry_run(resource, &desired.object, &body, false).await {
            Ok(after) => after,
            // The namespace is not there yet.
            Err(refusal) if refusal.is_not_found() => return Ok(Some(creation(desired))),
            Err(refusal) if refusal.code() == Some(409) => {
                conflicts.push(refusal.to_string());
                let forced = self.dry_run(resource, &desired.object, &body, true).await;
                forced.map_err(refused)?
            }
            Err(refusal) => return Err(refused(refusal)),
        };
        let Some(before) = before else {
            return Ok(Some(creation(desired)));
        };
        let mut text = render(&desired.object, &before, &after)?;
        if text.is_empty() && recorded(&before) != recorded(&after) {
            text = SAME_VALUES.to_owned();
        }
        Ok(
            (!text.is_empty() || !conflicts.is_empty()).then(|| Difference {
                object: desired.object.clone(),
                action: Action::Configure,
                text,
                conflicts,
            }),
        )
    }

    /// Whether an apply of `desired` would leave the live object as it is: the one judgement of `diff`
    /// and of an apply.
    ///
    /// # Errors
    /// The server gives no answer.
    pub(super) async fn stands(
        &self,
        desired: &Desired,
        resource: &Resource,
        live: &Metadata,
    ) -> Result<bool> {
        match owned::proof(desired, live) {
            Proof::Unchanged => return Ok(true),
            Proof::Changed => return Ok(false),
            Proof::FieldsLost => {}
        }
        let refused = |refusal: Refusal| explain(self, &desired.object, &refusal);
        let before = self.whole(resource, &desired.object).await;
        let Some(before) = before.map_err(refused)? else {
            return Ok(false);
        };
        if owned::holds(desired, &before) {
            return Ok(true);
        }
        // The server may write a value in another way than it was sent (`1000m`, `1`).
        match self
            .dry_run(resource, &desired.object, &desired.body, false)
            .await
        {
            Ok(after) => Ok(shown(&before) == shown(&after)),
            Err(refusal) if refusal.code() == Some(409) => Ok(false),
            Err(refusal) => Err(refused(refusal)),
        }
    }

    async fn whole(
        &self,
        resource: &Resource,
        object: &ObjectRef,
    ) -> Result<Option<Value>, Refusal> {
        let place = resource.at(object.namespace.as_deref());
        let request = place.get(&object.name, &GetParams::default())?;
        find(&self.client, &request).await
    }

    async fn dry_run(
        &self,
        resource: &Resource,
        object: &ObjectRef,
        body: &Value,
        force: bool,
    ) -> Result<Value, Refusal> {
        let params = parameters(force)?.dry_run();
        let place = resource.at(object.namespace.as_deref());
        let request = place.patch(&object.name, &params, &Patch::Apply(body))?;
        send(&self.client, &request).await?.read()
    }
}

fn creation(desired: &Desired) -> Difference {
    let text = render(&desired.object, &Value::Null, &desired.body);
    Difference {
        object: desired.object.clone(),
        action: Action::Create,
        text: text.unwrap_or_else(|error| error.message),
        conflicts: Vec::new(),
    }
}

/// What an apply would have reported.
pub(super) fn as_applied(objects: &[DynamicObject], differences: &[Difference]) -> Result<Applied> {
    let of = |action| -> HashSet<&ObjectRef> {
        let with = differences.iter().filter(|found| found.action == action);
        with.map(|found| &found.object).collect()
    };
    let (created, configured) = (of(Action::Create), of(Action::Configure));
    let objects = objects
        .iter()
        .map(|object| {
            let name = desired::name(object)?;
            let change = match () {
                () if created.contains(&name) => Change::Created,
                () if configured.contains(&name) => Change::Configured,
                () => Change::Unchanged,
            };
            Ok((name, change))
        })
        .collect::<Result<_>>()?;
    Ok(Applied { objects })
}

/// The lines in which two states of an object differ; empty if they don't. `Null` is no object.
///
/// # Errors
/// A state cannot be written as YAML.
pub fn render(object: &ObjectRef, before: &Value, after: &Value) -> Result<String> {
    let (mut before, mut after) = (shown(before), shown(after));
    if object.kind == "Secret" && object.api_version == "v1" {
        mask(&mut before, &mut after);
    }
    let yaml = |value: &Value| match value {
        Value::Null => Ok(String::new()),
        value => serde_yaml::to_string(value)
            .map_err(|error| Error::new(Code::Service, format!("{object}: {error}"))),
    };
    Ok(unified(&yaml(&before)?, &yaml(&after)?, CONTEXT))
}

/// What is recorded of the last apply.
fn recorded(object: &Value) -> &Value {
    &object["metadata"]["annotations"][APPLIED]
}

/// An object without what the server writes by itself and what only this tool reads.
fn shown(object: &Value) -> Value {
    let mut object = object.clone();
    let Some(map) = object.as_object_mut() else {
        return object;
    };
    map.remove("status");
    let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) else {
        return object;
    };
    for key in [
        "managedFields",
        "resourceVersion",
        "uid",
        "generation",
        "creationTimestamp",
        "selfLink",
    ] {
        metadata.remove(key);
    }
    if let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    {
        // kubectl's holds a whole copy of the object, a Secret's values included.
        for key in [
            APPLIED,
            CREATED,
            "kubectl.kubernetes.io/last-applied-configuration",
        ] {
            annotations.remove(key);
        }
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    object
}

const MASK: &str = "********";

/// Hides a Secret's values; those that differ still differ.
fn mask(before: &mut Value, after: &mut Value) {
    for part in ["data", "stringData"] {
        let old = values(before, part);
        let new = values(after, part);
        hide(before, part, &new, "");
        hide(after, part, &old, " (differs)");
    }
}

fn values(secret: &Value, part: &str) -> Map<String, Value> {
    secret[part].as_object().cloned().unwrap_or_default()
}

fn hide(secret: &mut Value, part: &str, other: &Map<String, Value>, differs: &str) {
    let Some(values) = secret.get_mut(part).and_then(Value::as_object_mut) else {
        return;
    };
    for (key, value) in values.iter_mut() {
        let differs = match other.get(key) {
            Some(other) if other != value => differs,
            _ => "",
        };
        *value = Value::String(format!("{MASK}{differs}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(data: &Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": "s", "uid": "1", "resourceVersion": "5", "managedFields": [{ "manager": "x" }],
                "annotations": { APPLIED: "abc", "kubectl.kubernetes.io/last-applied-configuration": "geheim" },
            },
            "data": data,
        })
    }

    fn name(kind: &str) -> ObjectRef {
        ObjectRef {
            api_version: "v1".into(),
            kind: kind.into(),
            namespace: None,
            name: "s".into(),
        }
    }

    #[test]
    fn a_secret_shows_which_key_differs_and_no_value() {
        let before = secret(&json!({ "user": "bWU=", "password": "Z2VoZWlt", "old": "YQ==" }));
        let after = secret(&json!({ "user": "bWU=", "password": "bmV1", "new": "Yg==" }));
        let text = render(&name("Secret"), &before, &after).expect("YAML");
        assert!(text.contains("-  password: '********'\n"), "{text}");
        assert!(
            text.contains("+  password: '******** (differs)'\n"),
            "{text}"
        );
        assert!(text.contains("   user: '********'\n"), "{text}");
        assert!(text.contains("+  new: '********'\n"), "{text}");
        for value in ["bWU=", "Z2VoZWlt", "YQ==", "bmV1", "Yg==", "geheim"] {
            assert!(!text.contains(value), "{text}");
        }
        let created = render(&name("Secret"), &Value::Null, &after).expect("YAML");
        assert!(
            !created.contains("bmV1") && created.contains("+  password: '********'"),
            "{created}"
        );
    }

    #[test]
    fn what_the_server_writes_is_no_difference() {
        let mut other = secret(&json!({}));
        other["metadata"]["resourceVersion"] = json!("6");
        other["metadata"]["annotations"] = json!({});
        other["status"] = json!({ "phase": "x" });
        assert_eq!(
            render(&name("Secret"), &secret(&json!({})), &other).expect("YAML"),
            ""
        );
        other["metadata"]["labels"] = json!({ "a": "b" });
        let text = render(&name("Secret"), &secret(&json!({})), &other).expect("YAML");
        assert!(text.contains("+  labels:\n+    a: b\n"), "{text}");
    }
}
