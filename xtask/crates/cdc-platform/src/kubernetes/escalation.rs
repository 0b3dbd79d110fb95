//! RBAC's rule against escalation: who makes a role must hold what it gives, or be permitted to
//! `escalate`; who binds one must hold what it gives, or be permitted to `bind` it. The server tells
//! this at the role itself, in the middle of an apply; here it is asked before.

use std::collections::BTreeSet;
use std::fmt;

use futures_util::{StreamExt, TryStreamExt, stream};
use kube::core::Request;
use kube::core::params::GetParams;
use serde_json::{Value, json};

use super::desired::Desired;
use super::retry::{Refusal, find};
use super::{Cluster, IN_FLIGHT, ObjectRef, owned};

const GROUP: &str = "rbac.authorization.k8s.io";

/// How many of a role's permissions a line names.
const NAMED: usize = 3;

/// A role that is made or bound.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Grant {
    /// What makes or binds it.
    object: ObjectRef,
    /// `escalate` or `bind`.
    verb: &'static str,
    /// `Role` or `ClusterRole`.
    kind: String,
    role: String,
    /// What it gives, where the set itself says so.
    rules: Option<Vec<Value>>,
    /// Whether it gives what other roles give, which only the server knows.
    aggregates: bool,
}

impl Grant {
    /// Where it gives; none for the whole cluster.
    fn namespace(&self) -> Option<&str> {
        self.object.namespace.as_deref()
    }

    fn plural(&self) -> &'static str {
        match self.kind.as_str() {
            "ClusterRole" => "clusterroles",
            _ => "roles",
        }
    }
}

/// One permission that a rule gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Permission {
    verb: String,
    group: String,
    resource: String,
    /// The only object that it is about.
    name: Option<String>,
    /// Something that is no resource: `/metrics`.
    path: Option<String>,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            return write!(f, "{} {path}", self.verb);
        }
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        match &self.name {
            Some(name) => write!(f, " {name}"),
            None => Ok(()),
        }
    }
}

impl Permission {
    /// As a question to the server.
    fn question(&self, namespace: Option<&str>) -> Value {
        if let Some(path) = &self.path {
            return json!({ "nonResourceAttributes": { "verb": self.verb, "path": path } });
        }
        let (resource, part) = match self.resource.split_once('/') {
            Some((resource, part)) => (resource, part),
            None => (self.resource.as_str(), ""),
        };
        json!({ "resourceAttributes": {
            "verb": self.verb, "group": self.group, "resource": resource, "subresource": part,
            "name": self.name, "namespace": namespace,
        } })
    }
}

/// The rules of a role.
fn rules(role: &Value) -> Vec<Value> {
    role["rules"].as_array().cloned().unwrap_or_default()
}

/// Every permission that the rules give.
fn permissions(rules: &[Value]) -> BTreeSet<Permission> {
    let texts = |rule: &Value, key: &str| -> Vec<String> {
        let items = rule[key].as_array().into_iter().flatten();
        items
            .filter_map(|item| Some(item.as_str()?.to_owned()))
            .collect()
    };
    let mut all = BTreeSet::new();
    for rule in rules {
        let names = match texts(rule, "resourceNames") {
            names if names.is_empty() => vec![None],
            names => names.into_iter().map(Some).collect(),
        };
        for verb in texts(rule, "verbs") {
            for path in texts(rule, "nonResourceURLs") {
                all.insert(Permission {
                    verb: verb.clone(),
                    group: String::new(),
                    resource: String::new(),
                    name: None,
                    path: Some(path),
                });
            }
            for group in texts(rule, "apiGroups") {
                for resource in texts(rule, "resources") {
                    all.extend(names.iter().map(|name| Permission {
                        verb: verb.clone(),
                        group: group.clone(),
                        resource: resource.clone(),
                        name: name.clone(),
                        path: None,
                    }));
                }
            }
        }
    }
    all
}

fn is_rbac(desired: &Desired, kinds: [&str; 2]) -> bool {
    desired.object.group() == GROUP && kinds.contains(&desired.object.kind.as_str())
}

/// What of a set makes or binds a role.
fn grants(desired: &[&Desired], set: &[Desired]) -> Vec<Grant> {
    let aggregates = |role: &Desired| !role.body["aggregationRule"].is_null();
    let roles: Vec<&Desired> = set
        .iter()
        .filter(|it| is_rbac(it, ["Role", "ClusterRole"]))
        .collect();
    desired
        .iter()
        .filter_map(|desired| {
            if is_rbac(desired, ["Role", "ClusterRole"]) {
                return Some(Grant {
                    object: desired.object.clone(),
                    verb: "escalate",
                    kind: desired.object.kind.clone(),
                    role: desired.object.name.clone(),
                    rules: Some(rules(&desired.body)),
                    aggregates: aggregates(desired),
                });
            }
            if !is_rbac(desired, ["RoleBinding", "ClusterRoleBinding"]) {
                return None;
            }
            let kind = desired.body["roleRef"]["kind"].as_str()?;
            let role = desired.body["roleRef"]["name"].as_str()?;
            let of_set = roles.iter().find(|it| {
                let object = &it.object;
                let here = kind == "ClusterRole" || object.namespace == desired.object.namespace;
                object.kind == kind && object.name == role && here
            });
            Some(Grant {
                object: desired.object.clone(),
                verb: "bind",
                kind: kind.to_owned(),
                role: role.to_owned(),
                rules: of_set.map(|role| rules(&role.body)),
                aggregates: of_set.is_some_and(|role| aggregates(role)),
            })
        })
        .collect()
}

impl Cluster {
    /// Which roles of the set this context may not make or bind, one line each. What is there
    /// already as it shall be is not asked for: it is not sent.
    pub(super) async fn escalations(&self, set: &[Desired]) -> Result<Vec<String>, Refusal> {
        // By index: a closure over references would keep the whole from being sent to a task.
        let due: Vec<Option<&Desired>> = stream::iter(0..set.len())
            .map(|index| async move {
                let desired = &set[index];
                let object = &desired.object;
                if object.group() != GROUP {
                    return Ok(None);
                }
                let Some(kind) = self.resources.get(&object.api_version, &object.kind) else {
                    return Ok(None);
                };
                let live = self.metadata(&kind, object.namespace.as_deref(), &object.name);
                let live = match live.await {
                    // Who may not look is reported so by another line.
                    Err(refusal) if refusal.code() == Some(403) => None,
                    live => live?,
                };
                let same = live.is_some_and(|live| owned::unchanged(desired, &live));
                Ok::<_, Refusal>((!same).then_some(desired))
            })
            .buffered(IN_FLIGHT)
            .try_collect()
            .await?;
        let due: Vec<&Desired> = due.into_iter().flatten().collect();
        let lines: Vec<Option<String>> = stream::iter(grants(&due, set))
            .map(|grant| async move { self.lacking(&grant).await })
            .buffered(IN_FLIGHT)
            .try_collect()
            .await?;
        Ok(lines.into_iter().flatten().collect())
    }

    async fn lacking(&self, grant: &Grant) -> Result<Option<String>, Refusal> {
        let namespace = grant.namespace();
        let itself = json!({ "resourceAttributes": {
            "verb": grant.verb, "group": GROUP, "resource": grant.plural(), "name": grant.role,
            "namespace": namespace,
        } });
        if self.allowed(&itself).await? {
            return Ok(None);
        }
        let wants = format!(
            "{}: {} {}.{GROUP} {}",
            grant.object,
            grant.verb,
            grant.plural(),
            grant.role
        );
        if grant.aggregates {
            return Ok(Some(wants));
        }
        let rules = match &grant.rules {
            Some(rules) => rules.clone(),
            None => match self.rules(grant).await? {
                Some(rules) => rules,
                None => return Ok(Some(wants)),
            },
        };
        let lacks: Vec<Permission> = stream::iter(permissions(&rules))
            .map(|permission| async move {
                let may = self.allowed(&permission.question(namespace)).await?;
                Ok::<_, Refusal>((!may).then_some(permission))
            })
            .buffered(IN_FLIGHT)
            .try_filter_map(|lacks| async move { Ok(lacks) })
            .try_collect()
            .await?;
        if lacks.is_empty() {
            return Ok(None);
        }
        let mut names: Vec<String> = lacks.iter().take(NAMED).map(ToString::to_string).collect();
        if lacks.len() > NAMED {
            names.push(format!("{} more", lacks.len() - NAMED));
        }
        Ok(Some(format!(
            "{wants}, or what it gives: {}",
            names.join(", ")
        )))
    }

    /// What a role that is there gives; none if it is not there, or may not be read.
    async fn rules(&self, grant: &Grant) -> Result<Option<Vec<Value>>, Refusal> {
        let place = match (grant.kind.as_str(), grant.namespace()) {
            ("Role", Some(namespace)) => {
                format!("/apis/{GROUP}/v1/namespaces/{namespace}/roles")
            }
            _ => format!("/apis/{GROUP}/v1/clusterroles"),
        };
        let request = Request::new(place).get(&grant.role, &GetParams::default())?;
        match find(&self.client, &request).await {
            Ok(role) => Ok(role.map(|role: Value| rules(&role))),
            Err(refusal) if refusal.code() == Some(403) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_taken_apart_into_what_can_be_asked() {
        let rules = [
            json!({ "apiGroups": ["", "apps"], "resources": ["pods/exec"], "verbs": ["get"] }),
            json!({ "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a", "b"], "verbs": ["get", "list"] }),
            json!({ "nonResourceURLs": ["/metrics"], "verbs": ["get"] }),
        ];
        let found: Vec<String> = permissions(&rules)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            found,
            [
                "get /metrics",
                "get pods/exec",
                "get secrets a",
                "get secrets b",
                "get pods/exec.apps",
                "list secrets a",
                "list secrets b",
            ]
        );
        let part = permissions(&rules[..1]).pop_first().expect("one");
        let asked = part.question(Some("kafka"));
        assert_eq!(asked["resourceAttributes"]["resource"], "pods");
        assert_eq!(asked["resourceAttributes"]["subresource"], "exec");
    }
}
