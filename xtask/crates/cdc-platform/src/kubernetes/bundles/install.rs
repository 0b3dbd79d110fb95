//! An operator's files as objects of an environment. What has to be changed in them, the operator's owner
//! says.

use serde_json::{Value, json};

use super::Bundle;
use crate::error::{Code, Error, Result};
use crate::kubernetes::manifest::{Object, parse};

/// Kinds without a namespace, of those that the bundles hold.
const CLUSTER_WIDE: [&str; 6] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "MutatingWebhookConfiguration",
    "Namespace",
    "ValidatingWebhookConfiguration",
];

/// The objects of a bundle's files, each as `fit` changes it.
///
/// # Errors
/// A file holds what is no object, or what does not fit.
pub fn objects(
    bundle: &Bundle,
    files: &[(String, String)],
    environment: &str,
    fit: impl Fn(&mut Value) -> Result<(), &'static str>,
) -> Result<Vec<Object>> {
    let mut all = Vec::new();
    for (name, text) in files {
        let file = format!("{}/{name}", bundle.dir);
        for (line, mut object) in parse(&file, text)? {
            fit(&mut object)
                .map_err(|message| Error::new(Code::Artifact, format!("{file}: {message}")))?;
            all.push(Object::labelled(
                &file,
                line,
                object,
                environment,
                bundle.operator,
            )?);
        }
    }
    Ok(all)
}

/// Moves an object, and whom a binding means.
pub fn into_namespace(object: &mut Value, namespace: &str) {
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

/// Gives a Deployment's containers what they lack of what Pod Security's `restricted` wants.
pub fn restrict(object: &mut Value) {
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
