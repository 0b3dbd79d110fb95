//! An operator's files as objects of an environment.
//!
//! - **Strimzi** goes into Kafka's namespace and watches it alone, as its installation guide says:
//!   the namespace of the subjects of its bindings is changed, and of what is namespaced. Versions
//!   before 1.0 ship its Deployment without the security context that Pod Security's `restricted`
//!   asks for; later ones have it.
//! - **Altinity's** bundle names kube-system, where the operator would watch every namespace with
//!   rights to all Secrets of the cluster. In the databases' namespace it watches that one, and
//!   the rights that go with it are a Role. What is left for the whole cluster is what has no
//!   namespace.
//! - **CloudNativePG** stays in the namespace that its webhooks name.

use serde_json::{Value, json};

use super::Bundle;
use crate::error::{Code, Error, Result};
use crate::kubernetes::manifest::{Object, parse};

/// Where operators go, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Install<'a> {
    /// The environment's name.
    pub environment: &'a str,
    /// Kafka's namespace.
    pub kafka_namespace: &'a str,
    /// The databases' namespace.
    pub database_namespace: &'a str,
}

/// Kinds without a namespace, of those that the bundles hold.
const CLUSTER_WIDE: [&str; 6] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "MutatingWebhookConfiguration",
    "Namespace",
    "ValidatingWebhookConfiguration",
];

/// Resources without a namespace, of those that Altinity's operator reads and writes.
const WITHOUT_NAMESPACE: [&str; 2] = ["customresourcedefinitions", "persistentvolumes"];

/// The objects of a bundle's files.
///
/// `clickhouse_password` becomes that of the user that Altinity's operator makes itself in every
/// installation: the one in the bundle is known to everybody.
///
/// # Errors
/// A file holds what is no object.
pub fn objects(
    bundle: &Bundle,
    files: &[(String, String)],
    install: Install<'_>,
    clickhouse_password: &str,
) -> Result<Vec<Object>> {
    let mut all = Vec::new();
    for (name, text) in files {
        let file = format!("{}/{name}", bundle.dir);
        for (line, mut object) in parse(&file, text)? {
            match bundle.operator {
                "strimzi" => {
                    into_namespace(&mut object, install.kafka_namespace);
                    restrict(&mut object);
                }
                "altinity" => altinity(&mut object, install, clickhouse_password)
                    .map_err(|message| Error::new(Code::Artifact, format!("{file}: {message}")))?,
                _ => {}
            }
            let (environment, component) = (install.environment, bundle.operator);
            all.push(Object::labelled(
                &file,
                line,
                object,
                environment,
                component,
            )?);
        }
    }
    Ok(all)
}

/// Moves an object, and whom a binding means.
fn into_namespace(object: &mut Value, namespace: &str) {
    let kind = object["kind"].as_str().unwrap_or_default();
    if !CLUSTER_WIDE.contains(&kind) {
        object["metadata"]["namespace"] = json!(namespace);
    }
    for subject in object
        .get_mut("subjects")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if subject["kind"] == "ServiceAccount" {
            subject["namespace"] = json!(namespace);
        }
    }
}

/// What `restricted` wants of a container. It changes nothing for one that needs no rights: the image
/// names a user of its own by number.
fn restricted() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "runAsNonRoot": true,
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

/// Gives a Deployment's containers what they lack of [`restricted`].
fn restrict(object: &mut Value) {
    if object["kind"] != "Deployment" {
        return;
    }
    let containers = object.pointer_mut("/spec/template/spec/containers");
    for container in containers
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let has = container["securityContext"].take();
        let mut context = restricted();
        if let (Some(context), Some(has)) = (context.as_object_mut(), has.as_object()) {
            context.extend(has.clone());
        }
        container["securityContext"] = context;
    }
}

fn altinity(object: &mut Value, install: Install<'_>, password: &str) -> Result<(), &'static str> {
    let namespace = install.database_namespace;
    into_namespace(object, namespace);
    match object["kind"].as_str().unwrap_or_default() {
        "ClusterRole" => {
            object["metadata"]["name"] = json!(cluster_role(namespace));
            let rules = object["rules"]
                .as_array_mut()
                .ok_or("a role without rules")?;
            for rule in rules.iter_mut() {
                let resources = rule["resources"]
                    .as_array_mut()
                    .ok_or("a rule without resources")?;
                resources.retain(|name| {
                    name.as_str()
                        .is_some_and(|name| WITHOUT_NAMESPACE.contains(&name))
                });
            }
            rules.retain(|rule| rule["resources"] != json!([]));
        }
        "ClusterRoleBinding" => {
            object["metadata"]["name"] = json!(cluster_role(namespace));
            object["roleRef"]["name"] = json!(cluster_role(namespace));
        }
        "Secret" => object["stringData"]["password"] = json!(password),
        "Deployment" => {
            let containers = object
                .pointer_mut("/spec/template/spec/containers")
                .and_then(Value::as_array_mut)
                .ok_or("a Deployment without containers")?;
            for container in containers {
                // The tag is fixed; an image that was brought to the node is good.
                container["imagePullPolicy"] = json!("IfNotPresent");
            }
        }
        _ => {}
    }
    Ok(())
}

/// Two environments in one cluster do not share it.
fn cluster_role(namespace: &str) -> String {
    format!("clickhouse-operator-{namespace}")
}
