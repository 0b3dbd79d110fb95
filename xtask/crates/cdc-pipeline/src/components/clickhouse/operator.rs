//! Altinity's bundle names kube-system, where the operator would watch every namespace with rights to all
//! Secrets of the cluster. In the databases' namespace it watches that one, and the rights that go with it
//! are a Role. What is left for the whole cluster is what has no namespace.

use serde_json::{Value, json};

use super::settings::OPERATOR;
use crate::components::Operator;
use crate::platform::kubernetes::bundles::install::into_namespace;
use crate::profile::component::Space;
use crate::readiness::kubernetes::ALTINITY_LOG;

/// Altinity's operator.
pub(crate) static ALTINITY: Operator = Operator {
    name: "altinity",
    part: &OPERATOR,
    deployment: ALTINITY_LOG.name,
    namespace: |profile| profile.namespace(Space::Database),
    fit,
};

/// Resources without a namespace, of those that the operator reads and writes.
const WITHOUT_NAMESPACE: [&str; 2] = ["customresourcedefinitions", "persistentvolumes"];

/// The password becomes that of the user that the operator makes itself in every installation: the one in the
/// bundle is known to everybody.
fn fit(object: &mut Value, namespace: &str, password: &str) -> Result<(), &'static str> {
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
    format!("{}-{namespace}", ALTINITY.deployment)
}
