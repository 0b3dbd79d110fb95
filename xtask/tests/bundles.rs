//! The operators' real installation files, as they go into a cluster.

#![allow(clippy::panic, reason = "a test fails by a panic")]

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::crds::installed;
use support::objects::{Cluster, environment, loaded, repository};
use xtask::platform::kubernetes::bundles::bundle;
use xtask::profile::parts;
use xtask::up::operators::operators;

const SPACES: [&str; 2] = [
    "kubernetes.kafka_namespace=streams",
    "kubernetes.database_namespace=stores",
];

fn of(operator: &str, profile: &str) -> Vec<Value> {
    installed(operator, &loaded(profile, &SPACES).profile)
}

/// Every namespace that the objects name, wherever.
fn namespaces(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "namespace" => {
                        found.insert(text.clone());
                    }
                    _ => namespaces(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| namespaces(item, found)),
        _ => {}
    }
}

fn named(objects: &[Value]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // Definitions describe fields called `namespace`; they name none.
    for object in objects {
        if object["kind"] != "CustomResourceDefinition" {
            namespaces(object, &mut found);
        }
    }
    found
}

fn kinds(objects: &[Value], kind: &str) -> usize {
    objects.iter().filter(|o| o["kind"] == kind).count()
}

#[test]
fn a_profile_has_the_operators_that_it_needs() {
    let of = |profile, set: &[&str]| -> Vec<&str> {
        let operators = operators(&environment(loaded(profile, set), Cluster::Existing));
        operators.iter().map(|it| it.name).collect()
    };
    assert_eq!(of("clickhouse", &[]), ["strimzi", "altinity"]);
    assert_eq!(
        of("clickhouse-production", &[]),
        ["strimzi", "altinity", "cloudnative-pg"]
    );
    assert_eq!(
        of("clickhouse", &["clickhouse.external=ch.example:8123"]),
        ["strimzi"]
    );
}

#[test]
fn a_version_that_is_not_locked_is_refused_with_those_that_are() {
    let versions = loaded("clickhouse", &["versions.strimzi=0.50.9"])
        .profile
        .versions;
    let error =
        bundle(&repository(), "strimzi", versions.of(&parts::STRIMZI)).expect_err("unlocked");
    let said = error.to_string();
    assert!(said.contains("strimzi 0.50.9"), "{said}");
    assert!(said.contains("0.50.0, 0.50.1, 1.2.0"), "{said}");
}

#[test]
#[ignore = "needs the operators' bundles: CDC_TEST_CRDS, or ../shared/data"]
fn strimzi_goes_into_kafkas_namespace() {
    for profile in ["clickhouse", "clickhouse-manual"] {
        let objects = of("strimzi", profile);
        assert_eq!(objects.len(), 27);
        assert_eq!(kinds(&objects, "CustomResourceDefinition"), 10);
        assert_eq!(named(&objects), BTreeSet::from(["streams".to_owned()]));
        for object in &objects {
            let labels = &object["metadata"]["labels"];
            assert_eq!(labels["cdc-xtask.dev/environment"], "env");
            assert_eq!(labels["app.kubernetes.io/component"], "strimzi");
            // Its own labels stay.
            assert_eq!(labels["app"], "strimzi", "{}", object["metadata"]["name"]);
        }
        let deployment = objects
            .iter()
            .find(|object| object["kind"] == "Deployment")
            .expect("a Deployment");
        // The operator watches the namespace that it is in.
        let env = &deployment["spec"]["template"]["spec"]["containers"][0]["env"];
        let watched = env
            .as_array()
            .expect("a list")
            .iter()
            .find(|variable| variable["name"] == "STRIMZI_NAMESPACE")
            .expect("its namespace");
        assert_eq!(
            watched["valueFrom"]["fieldRef"]["fieldPath"],
            "metadata.namespace"
        );
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(context["runAsNonRoot"], true);
        assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
    }
}

#[test]
#[ignore = "needs the operators' bundles: CDC_TEST_CRDS, or ../shared/data"]
fn altinitys_operator_has_rights_in_the_databases_namespace_only() {
    let objects = of("altinity", "clickhouse");
    assert_eq!(kinds(&objects, "CustomResourceDefinition"), 4);
    assert_eq!(named(&objects), BTreeSet::from(["stores".to_owned()]));
    let one = |kind: &str| {
        objects
            .iter()
            .find(|object| object["kind"] == kind)
            .unwrap_or_else(|| panic!("no {kind}"))
    };
    let role = one("ClusterRole");
    let resources: BTreeSet<&str> = role["rules"]
        .as_array()
        .expect("rules")
        .iter()
        .flat_map(|rule| rule["resources"].as_array().expect("resources"))
        .map(|name| name.as_str().expect("a name"))
        .collect();
    assert_eq!(
        resources,
        BTreeSet::from(["customresourcedefinitions", "persistentvolumes"])
    );
    assert_eq!(role["metadata"]["name"], "clickhouse-operator-stores");
    let binding = one("ClusterRoleBinding");
    assert_eq!(binding["roleRef"]["name"], "clickhouse-operator-stores");
    assert_eq!(
        one("RoleBinding")["roleRef"]["name"],
        one("Role")["metadata"]["name"]
    );
    // The password that everybody knows is gone.
    let secret = one("Secret");
    assert_eq!(secret["data"]["password"], json!("Z2VoZWlt"));
    assert!(secret.get("stringData").is_none());
    let text = serde_json::to_string(&objects).expect("JSON");
    assert!(
        !text.contains("clickhouse_operator_password\""),
        "the known password"
    );
    assert!(!text.contains("kube-system"), "kube-system");
    assert!(!text.contains("\"Always\""), "a pull of what is there");
}

#[test]
#[ignore = "needs the operators' bundles: CDC_TEST_CRDS, or ../shared/data"]
fn cloudnative_pg_stays_where_its_webhooks_are() {
    let objects = of("cloudnative-pg", "clickhouse-production");
    assert_eq!(kinds(&objects, "CustomResourceDefinition"), 11);
    assert_eq!(named(&objects), BTreeSet::from(["cnpg-system".to_owned()]));
}
