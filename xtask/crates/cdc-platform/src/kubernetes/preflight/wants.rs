//! What rendered objects want of a cluster: pods of a size, Secrets and ConfigMaps, storage classes
//! and images. No IO.

use std::collections::BTreeSet;

use kube::core::DynamicObject;
use serde_json::Value;

use crate::readiness::kubernetes::kind;
use crate::units;

/// Pods of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// What makes them.
    pub(super) owner: String,
    pub(super) count: i64,
    /// Thousandths of a processor.
    pub(super) cpu: i128,
    /// Thousandths of a byte.
    pub(super) memory: i128,
    /// Taints that the pods put up with are not looked at: those that tolerate any go anywhere.
    pub(super) tolerant: bool,
}

/// A Secret or ConfigMap that an object refers to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reference {
    pub(super) kind: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
    /// Who refers to it.
    pub(super) owner: String,
}

/// A claim's wish for a class; none wants the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) owner: String,
    pub(super) class: Option<String>,
}

/// An image that a pod runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) owner: String,
    pub(super) name: String,
    /// Whether it is pulled only if it is absent, or never.
    pub(super) policy: String,
}

/// The API server's certificate authority, which Kubernetes itself publishes into every namespace as
/// soon as the namespace is there: nobody creates it, and a fresh cluster has none of it yet.
const ROOT_CERTIFICATE: &str = "kube-root-ca.crt";

/// Whether Kubernetes brings what is referred to.
pub(super) fn published(reference: &Reference) -> bool {
    reference.kind == "ConfigMap" && reference.name == ROOT_CERTIFICATE
}

fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    value.pointer(path).unwrap_or(&Value::Null)
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn owner(object: &DynamicObject) -> String {
    let name = object.metadata.name.as_deref().unwrap_or("?");
    format!("{} {name}", kind(object))
}

/// The pod specifications in an object, with how many pods each makes.
fn pod_specs(object: &DynamicObject) -> Vec<(i64, &Value)> {
    let data = &object.data;
    let template = at(data, "/spec/template/spec");
    let replicas = |path: &str| at(data, path).as_i64().unwrap_or(1);
    match kind(object) {
        "Deployment" | "StatefulSet" => vec![(replicas("/spec/replicas"), template)],
        "Job" => vec![(replicas("/spec/parallelism"), template)],
        // One per node: how many is the cluster's affair.
        "DaemonSet" => vec![(1, template)],
        "Pod" => vec![(1, at(data, "/spec"))],
        "ClickHouseInstallation" | "ClickHouseKeeperInstallation" => {
            let hosts: i64 = items(at(data, "/spec/configuration/clusters"))
                .iter()
                .map(|cluster| {
                    let count = |path| at(cluster, path).as_i64().unwrap_or(1);
                    count("/layout/shardsCount") * count("/layout/replicasCount")
                })
                .sum();
            let chosen = at(data, "/spec/defaults/templates/podTemplate").as_str();
            items(at(data, "/spec/templates/podTemplates"))
                .iter()
                .filter(|template| chosen.is_none() || at(template, "/name").as_str() == chosen)
                .take(1)
                .map(|template| (hosts, at(template, "/spec")))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Requests of one container; a limit without a request is one.
fn requests(resources: &Value) -> (i128, i128) {
    let of = |key: &str| {
        [at(resources, "/requests"), at(resources, "/limits")]
            .into_iter()
            .find_map(|part| {
                let value = part.get(key)?;
                match value {
                    Value::String(text) => units::quantity(text),
                    number => units::quantity(&number.to_string()),
                }
            })
            .unwrap_or_default()
    };
    (of("cpu"), of("memory"))
}

/// A pod's requests: its containers together, or its largest step before them.
fn pod_requests(spec: &Value) -> (i128, i128) {
    let of = |key: &str| {
        let containers = items(at(spec, key)).iter();
        containers.map(|container| requests(at(container, "/resources")))
    };
    let together = sum(of("/containers"));
    of("/initContainers").fold(together, |(cpu, memory), (c, m)| {
        (cpu.max(c), memory.max(m))
    })
}

fn sum(requests: impl Iterator<Item = (i128, i128)>) -> (i128, i128) {
    requests.fold((0, 0), |(cpu, memory), (c, m)| (cpu + c, memory + m))
}

/// The pods that the object leads to. Operators' own additions (sidecars, jobs) are not counted.
pub(super) fn pods(object: &DynamicObject) -> Vec<Wanted> {
    let owner = owner(object);
    let data = &object.data;
    let wanted = |count: i64, (cpu, memory): (i128, i128)| Wanted {
        owner: owner.clone(),
        count,
        cpu,
        memory,
        tolerant: false,
    };
    let replicas = |path: &str| at(data, path).as_i64().unwrap_or(1);
    match kind(object) {
        "KafkaNodePool" | "KafkaConnect" => {
            vec![wanted(
                replicas("/spec/replicas"),
                requests(at(data, "/spec/resources")),
            )]
        }
        "Kafka" => {
            let entity = at(data, "/spec/entityOperator");
            let parts = ["/topicOperator/resources", "/userOperator/resources"];
            let parts = parts.iter().map(|part| requests(at(entity, part)));
            match entity.is_null() {
                true => Vec::new(),
                false => vec![wanted(1, sum(parts))],
            }
        }
        "Cluster" => vec![wanted(
            replicas("/spec/instances"),
            requests(at(data, "/spec/resources")),
        )],
        _ => pod_specs(object)
            .into_iter()
            .map(|(count, spec)| Wanted {
                tolerant: !items(at(spec, "/tolerations")).is_empty(),
                ..wanted(count, pod_requests(spec))
            })
            .collect(),
    }
}

/// Kinds whose references block pods.
fn makes_pods(object: &DynamicObject) -> bool {
    matches!(
        kind(object),
        "Deployment"
            | "StatefulSet"
            | "DaemonSet"
            | "Job"
            | "Pod"
            | "Kafka"
            | "KafkaNodePool"
            | "KafkaConnect"
            | "KafkaUser"
            | "ClickHouseInstallation"
            | "ClickHouseKeeperInstallation"
            | "Cluster"
    )
}

/// The Secrets and ConfigMaps without which the object's pods do not start.
pub(super) fn references(object: &DynamicObject) -> BTreeSet<Reference> {
    let mut found = BTreeSet::new();
    if makes_pods(object) {
        let own = namespace_of(object);
        let owner = owner(object);
        let mut add = |kind, namespace: Option<&str>, name: &str| {
            found.insert(Reference {
                kind,
                namespace: namespace.unwrap_or(&own).to_owned(),
                name: name.to_owned(),
                owner: owner.clone(),
            });
        };
        walk(at(&object.data, "/spec"), &mut add);
    }
    found
}

fn namespace_of(object: &DynamicObject) -> String {
    object.metadata.namespace.clone().unwrap_or_default()
}

/// Finds references by the names that Kubernetes' and the operators' types give them.
fn walk<'a>(value: &'a Value, add: &mut impl FnMut(&'static str, Option<&'a str>, &'a str)) {
    let Value::Object(map) = value else {
        items(value).iter().for_each(|item| walk(item, add));
        return;
    };
    for (key, value) in map {
        let optional = value.get("optional").and_then(Value::as_bool) == Some(true)
            || map.get("optional").and_then(Value::as_bool) == Some(true);
        let name = value.get("name").and_then(Value::as_str);
        match key.as_str() {
            _ if optional => continue,
            "secretName" => {
                if let Some(name) = value.as_str() {
                    add("Secret", None, name);
                }
            }
            "secretKeyRef" | "secretRef" | "secret" | "passwordSecret" | "superuserSecret" => {
                if let Some(name) = name {
                    add("Secret", None, name);
                }
            }
            "configMapKeyRef" | "configMapRef" | "configMap" => {
                if let Some(name) = name {
                    add("ConfigMap", None, name);
                }
            }
            // Altinity's own form: `user/k8s_secret_password: namespace/name/key`.
            key if key.contains("/k8s_secret_") => {
                let mut parts = value.as_str().unwrap_or_default().rsplit('/').skip(1);
                if let Some(name) = parts.next() {
                    add("Secret", parts.next(), name);
                }
                continue;
            }
            // Free text of the components, and labels.
            "config" | "jvmOptions" | "metadata" | "matchLabels" => continue,
            _ => {}
        }
        walk(value, add);
    }
}

/// The Secrets that operators make for the object.
pub(super) fn made_for(object: &DynamicObject) -> Vec<(String, String)> {
    let namespace = namespace_of(object);
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let suffixes: &[&str] = match kind(object) {
        "Kafka" => &[
            "-cluster-ca-cert",
            "-cluster-ca",
            "-clients-ca-cert",
            "-clients-ca",
        ],
        "KafkaUser" => &[""],
        "Cluster" => &["-app", "-superuser", "-ca", "-server", "-replication"],
        _ => &[],
    };
    suffixes
        .iter()
        .map(|suffix| (namespace.clone(), format!("{name}{suffix}")))
        .collect()
}

/// The claims that the object leads to.
pub(super) fn claims(object: &DynamicObject) -> Vec<Claim> {
    let data = &object.data;
    let claim = |class: &Value| Claim {
        owner: owner(object),
        class: class.as_str().map(str::to_owned),
    };
    let templates = |path: &str| {
        items(at(data, path))
            .iter()
            .map(|template| claim(at(template, "/spec/storageClassName")))
            .collect::<Vec<_>>()
    };
    match kind(object) {
        "PersistentVolumeClaim" => vec![claim(at(data, "/spec/storageClassName"))],
        "StatefulSet" => templates("/spec/volumeClaimTemplates"),
        "ClickHouseInstallation" | "ClickHouseKeeperInstallation" => {
            templates("/spec/templates/volumeClaimTemplates")
        }
        "KafkaNodePool" => {
            let storage = at(data, "/spec/storage");
            std::iter::once(storage)
                .chain(items(at(storage, "/volumes")))
                .filter(|volume| at(volume, "/type").as_str() == Some("persistent-claim"))
                .map(|volume| claim(at(volume, "/class")))
                .collect()
        }
        "Cluster" => ["/spec/storage", "/spec/walStorage"]
            .into_iter()
            .map(|path| at(data, path))
            .filter(|storage| !storage.is_null())
            .map(|storage| claim(at(storage, "/storageClass")))
            .collect(),
        _ => Vec::new(),
    }
}

/// The images that the object names. Operators choose others themselves.
pub(super) fn images(object: &DynamicObject) -> Vec<Image> {
    let image = |name: &Value, policy: &Value| {
        let name = name.as_str()?.to_owned();
        // What Kubernetes makes of an absent policy.
        let latest = name.ends_with(":latest") || !name.rsplit('/').next()?.contains([':', '@']);
        let default = if latest { "Always" } else { "IfNotPresent" };
        Some(Image {
            owner: owner(object),
            policy: policy.as_str().unwrap_or(default).to_owned(),
            name,
        })
    };
    let data = &object.data;
    let mut found: Vec<Image> = match kind(object) {
        "KafkaConnect" => image(at(data, "/spec/image"), &Value::Null),
        "Cluster" => image(
            at(data, "/spec/imageName"),
            at(data, "/spec/imagePullPolicy"),
        ),
        _ => None,
    }
    .into_iter()
    .collect();
    for (_, spec) in pod_specs(object) {
        for list in ["/initContainers", "/containers"] {
            found.extend(items(at(spec, list)).iter().filter_map(|container| {
                image(at(container, "/image"), at(container, "/imagePullPolicy"))
            }));
        }
    }
    found
}
