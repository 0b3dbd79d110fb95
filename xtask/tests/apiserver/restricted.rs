//! Pod Security's `restricted`, by the API server's own admission: each pod is created as a dry run in
//! a namespace that enforces it.

use std::collections::BTreeMap;

use kube::api::{DynamicObject, PostParams};
use serde_json::{Value, json};
use xtask::platform::kubernetes::Cluster;

use crate::server::{admin, api, object};
use crate::support::crds::{bundles, installed};
use crate::support::objects::{CASES, loaded, objects_with};

/// A namespace that enforces the standard. Nothing else is ever made in it.
async fn enforcing(cluster: &Cluster, name: &str) {
    let namespaces = api(cluster, "v1", "Namespace", None);
    let namespace = object(json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": name, "labels": { "pod-security.kubernetes.io/enforce": "restricted" } },
    }));
    let made = PostParams::default();
    namespaces.create(&made, &namespace).await.unwrap();
    // Every pod runs as this account: without one, pods are refused before their security is judged.
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "any", "namespace": name },
    });
    let accounts = api(cluster, "v1", "ServiceAccount", Some(name));
    accounts.create(&made, &object(account)).await.unwrap();
}

/// What the server has against a pod; none if it would take it.
async fn refusal(cluster: &Cluster, namespace: &str, name: &str, spec: &Value) -> Option<String> {
    let mut spec = spec.clone();
    for key in ["nodeName", "serviceAccount", "priority", "preemptionPolicy"] {
        spec.as_object_mut().unwrap().remove(key);
    }
    spec["serviceAccountName"] = json!("any");
    let pod: DynamicObject = object(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": namespace }, "spec": spec,
    }));
    let pods = api(cluster, "v1", "Pod", Some(namespace));
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    pods.create(&dry, &pod)
        .await
        .err()
        .map(|error| error.to_string())
}

/// The objects of a case, and its name as a namespace.
fn cases() -> impl Iterator<Item = (String, Vec<Value>)> {
    CASES.into_iter().map(|(case, profile, set, cluster)| {
        let objects = objects_with(profile, set, cluster);
        let values = objects
            .iter()
            .map(|it| serde_json::to_value(&it.object).unwrap());
        (case.replace('_', "-"), values.collect())
    })
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn the_pods_of_the_tool_s_own_workloads_are_restricted() {
    let cluster = admin().await;
    for (case, objects) in cases() {
        let namespace = format!("own-{case}");
        enforcing(&cluster, &namespace).await;
        for object in objects {
            let kind = object["kind"].as_str().unwrap();
            if kind == "StatefulSet" {
                let name = object["metadata"]["name"].as_str().unwrap();
                let mut spec = object["spec"]["template"]["spec"].clone();
                // The set adds them to each pod.
                let claims = object["spec"]["volumeClaimTemplates"].as_array();
                for claim in claims.into_iter().flatten() {
                    let volume = json!({
                        "name": claim["metadata"]["name"],
                        "persistentVolumeClaim": { "claimName": "claim" },
                    });
                    spec["volumes"].as_array_mut().unwrap().push(volume);
                }
                spec["restartPolicy"] = json!("Always");
                assert_eq!(
                    refusal(&cluster, &namespace, name, &spec).await,
                    None,
                    "{case}: {name}"
                );
            }
            for template in object["spec"]["templates"]["podTemplates"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let mut spec = template["spec"].clone();
                let volumes = json!([{ "name": "data", "emptyDir": {} }]);
                if spec["volumes"].is_null() {
                    spec["volumes"] = volumes;
                }
                let refused = refusal(&cluster, &namespace, "clickhouse", &spec).await;
                // The one exception: the port through which Kind's node leads to the server.
                if spec.to_string().contains("\"hostPort\"") {
                    let refused = refused.unwrap();
                    assert!(
                        case.starts_with("kind")
                            || ["manual", "mysql", "sqlserver"].contains(&case.as_str()),
                        "{case}: {refused}"
                    );
                    assert!(refused.contains("hostPort"), "{case}: {refused}");
                    assert_eq!(
                        refused.matches("must ").count() + refused.matches("unrestricted").count(),
                        0,
                        "{refused}"
                    );
                } else {
                    assert_eq!(refused, None, "{case}: {kind}");
                }
            }
        }
    }
}

/// The security contexts that Strimzi's pods get from the templates: of the pods by the beginning of
/// their names, of the containers by their names.
#[derive(Default)]
struct Contexts {
    pods: BTreeMap<&'static str, Value>,
    containers: BTreeMap<&'static str, Value>,
}

fn contexts(objects: &[Value]) -> Contexts {
    let mut found = Contexts::default();
    for object in objects {
        let spec = &object["spec"];
        let (pod, template, containers): (_, _, &[_]) = match object["kind"].as_str().unwrap() {
            "KafkaNodePool" => (
                "my-cluster-my-pool-",
                &spec["template"],
                &[("kafka", "kafkaContainer"), ("kafka-init", "initContainer")],
            ),
            "Kafka" => (
                "my-cluster-entity-operator-",
                &spec["entityOperator"]["template"],
                &[
                    ("topic-operator", "topicOperatorContainer"),
                    ("user-operator", "userOperatorContainer"),
                ],
            ),
            "KafkaConnect" => (
                "my-connect-cluster-connect-",
                &spec["template"],
                &[("my-connect-cluster-connect", "connectContainer")],
            ),
            _ => continue,
        };
        found
            .pods
            .insert(pod, template["pod"]["securityContext"].clone());
        for (container, key) in containers {
            found
                .containers
                .insert(container, template[*key]["securityContext"].clone());
        }
    }
    found
}

/// The pods that the genuine operator made, as they were.
fn captured() -> Vec<(String, Value)> {
    let path = bundles().join("captures/strimzi-1.2.0/01-ready.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let list: Value = serde_yaml::from_str(&text).unwrap();
    let items = list["items"].as_array().unwrap().iter();
    let pods = items.filter(|item| item["kind"] == "Pod");
    let named = pods.map(|pod| {
        (
            pod["metadata"]["name"].as_str().unwrap().to_owned(),
            pod["spec"].clone(),
        )
    });
    named.collect()
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS, and the captures: CDC_TEST_CRDS, or ../shared/data"]
async fn the_pods_that_strimzi_makes_are_restricted_by_the_templates() {
    let cluster = admin().await;
    for (case, objects) in cases() {
        let namespace = format!("made-{case}");
        enforcing(&cluster, &namespace).await;
        let contexts = contexts(&objects);
        let mut judged = 0;
        for (name, mut spec) in captured() {
            let pod = contexts
                .pods
                .iter()
                .find(|(start, _)| name.starts_with(**start));
            // Not made from a template: the operator's own.
            let Some((_, context)) = pod else {
                continue;
            };
            spec["securityContext"] = context.clone();
            if name.starts_with("my-cluster-entity-operator-")
                && contexts.containers.contains_key("user-operator")
            {
                let mut user = spec["containers"][0].clone();
                user["name"] = json!("user-operator");
                let scram = !contexts.containers["user-operator"].is_null();
                let containers = spec["containers"].as_array_mut().unwrap();
                scram.then(|| containers.push(user));
            }
            for list in ["initContainers", "containers"] {
                for container in spec[list].as_array_mut().into_iter().flatten() {
                    let context = &contexts.containers[container["name"].as_str().unwrap()];
                    container["securityContext"] = context.clone();
                }
            }
            assert_eq!(
                refusal(&cluster, &namespace, &name, &spec).await,
                None,
                "{case}: {name}"
            );
            judged += 1;
        }
        assert_eq!(judged, contexts.pods.len(), "{case}");
    }
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS, and the operators' bundles: CDC_TEST_CRDS, or ../shared/data"]
async fn the_operators_are_restricted_but_for_the_one_that_the_manual_names() {
    let cluster = admin().await;
    enforcing(&cluster, "operators").await;
    for (operator, profile) in [
        ("strimzi", "clickhouse"),
        ("strimzi", "clickhouse-manual"),
        ("cloudnative-pg", "clickhouse"),
        ("altinity", "clickhouse"),
    ] {
        let objects = installed(operator, &loaded(profile, &[]).profile);
        let deployments = objects.into_iter();
        let mut judged = 0;
        for deployment in deployments.filter(|it| it["kind"] == "Deployment") {
            let spec = &deployment["spec"]["template"]["spec"];
            let refused = refusal(&cluster, "operators", operator, spec).await;
            // Its image's user has a name and no number, which a kubelet cannot prove to be another than root.
            assert_eq!(
                refused.is_some(),
                operator == "altinity",
                "{operator}: {refused:?}"
            );
            judged += 1;
        }
        assert_eq!(judged, 1, "{operator}");
    }
}
