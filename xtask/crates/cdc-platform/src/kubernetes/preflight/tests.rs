//! The checks over facts, and what objects want.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::check::{check, open_references};
use super::{Facts, Options};

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).expect("an object")
}

fn node(name: &str, cpu: &str, memory: &str, images: &[&str]) -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, "pods": "110"},
            "images": images.iter().map(|it| json!({"names": [it]})).collect::<Vec<_>>(),
        },
    }))
    .expect("a node")
}

fn facts(nodes: Vec<Node>) -> Facts {
    Facts {
        nodes: Some(nodes),
        pods: Some(Vec::new()),
        classes: Some(vec![
            serde_json::from_value(json!({
                "metadata": {"name": "std", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
                "provisioner": "p",
            }))
            .expect("a class"),
        ]),
        ..Facts::default()
    }
}

fn deployment(name: &str, replicas: i64, cpu: &str, memory: &str) -> DynamicObject {
    object(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "db"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"spec": {"containers": [{
                "name": "c", "image": "i:1", "resources": {"requests": {"cpu": cpu, "memory": memory}},
            }]}},
        },
    }))
}

fn errors(objects: &[DynamicObject], options: &Options, facts: &Facts) -> Vec<String> {
    check(objects, options, facts)
        .into_iter()
        .filter(|finding| finding.blocks)
        .map(|finding| {
            assert!(!finding.hint.is_empty(), "{}", finding.message);
            finding.message
        })
        .collect()
}

#[test]
fn references_of_every_form_are_found() {
    let connect = object(json!({
        "apiVersion": "kafka.strimzi.io/v1", "kind": "KafkaConnect",
        "metadata": {"name": "c", "namespace": "kafka"},
        "spec": {
            "config": {"secretName": "not-a-reference"},
            "tls": {"trustedCertificates": [{"secretName": "my-cluster-cluster-ca-cert"}]},
            "authentication": {"passwordSecret": {"secretName": "users", "password": "p"}},
            "metricsConfig": {"valueFrom": {"configMapKeyRef": {"name": "metrics", "key": "k"}}},
            "template": {"pod": {"volumes": [
                {"name": "a", "secret": {"secretName": "mounted"}},
                {"name": "b", "secret": {"secretName": "maybe", "optional": true}},
                {"name": "c", "projected": {"sources": [{"configMap": {"name": "projected"}}]}},
            ]}},
        },
    }));
    let chi = object(json!({
        "apiVersion": "clickhouse.altinity.com/v1", "kind": "ClickHouseInstallation",
        "metadata": {"name": "ch", "namespace": "database"},
        "spec": {"configuration": {
            "users": {"admin/k8s_secret_password": "database/clickhouse-credentials/password"},
            "settings": {"x": {"valueFrom": {"secretKeyRef": {"name": "kafka-clickhouse", "key": "k"}}}},
        }},
    }));
    let cluster = object(json!({
        "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster",
        "metadata": {"name": "pg", "namespace": "database"},
        "spec": {"bootstrap": {"initdb": {"secret": {"name": "owner"}}}},
    }));
    let found: Vec<(String, String)> = open_references(&[connect.clone(), chi, cluster])
        .into_iter()
        .map(|it| (format!("{} {}", it.kind, it.name), it.namespace))
        .collect();
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    let mut wanted = vec![
        "ConfigMap metrics",
        "ConfigMap projected",
        "Secret clickhouse-credentials",
        "Secret kafka-clickhouse",
        "Secret mounted",
        "Secret my-cluster-cluster-ca-cert",
        "Secret owner",
        "Secret users",
    ];
    wanted.sort_unstable();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, wanted);
    assert!(found.contains(&("Secret clickhouse-credentials".into(), "database".into())));

    // What the set brings, or an operator makes for it, is not open.
    let users = object(
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "users", "namespace": "kafka"}}),
    );
    let kafka = object(
        json!({"apiVersion": "kafka.strimzi.io/v1", "kind": "Kafka", "metadata": {"name": "my-cluster", "namespace": "kafka"}, "spec": {}}),
    );
    let left: Vec<String> = open_references(&[connect, users, kafka])
        .into_iter()
        .map(|it| it.name)
        .collect();
    assert_eq!(left, ["metrics", "projected", "mounted"]);
}

#[test]
fn only_what_the_cluster_lacks_too_is_an_error() {
    let job = object(json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "db"},
        "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:1", "envFrom": [{"secretRef": {"name": "s"}}]}]}}},
    }));
    let mut facts = facts(vec![node("n", "4", "8Gi", &[])]);
    assert_eq!(
        errors(std::slice::from_ref(&job), &Options::default(), &facts),
        Vec::<String>::new()
    );
    facts.missing.insert(("Secret", "db".into(), "s".into()));
    assert_eq!(
        errors(&[job], &Options::default(), &facts),
        ["Job j refers to Secret `s`, which is not in namespace db"]
    );
}

#[test]
fn room_per_pod_and_in_total() {
    let two = || facts(vec![node("a", "2", "4Gi", &[]), node("b", "2", "4Gi", &[])]);
    let none = Options::default();
    let check = |objects: &[DynamicObject]| errors(objects, &none, &two());
    assert_eq!(
        check(&[deployment("d", 4, "1", "2Gi")]),
        Vec::<String>::new()
    );
    let found = check(&[deployment("d", 1, "3", "1Gi")]);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains("a pod of Deployment d requests cpu 3"),
        "{found:?}"
    );
    assert!(found[0].contains("a: cpu 2, memory 4096 MiB"), "{found:?}");
    let found = check(&[deployment("d", 5, "1", "1Gi")]);
    assert!(
        found[0].contains("all pods together request cpu 5"),
        "{found:?}"
    );
    // Operators' kinds count.
    let pool = object(json!({
        "apiVersion": "kafka.strimzi.io/v1", "kind": "KafkaNodePool",
        "metadata": {"name": "p", "namespace": "kafka", "labels": {"strimzi.io/cluster": "k"}},
        "spec": {"replicas": 3, "resources": {"limits": {"memory": "3Gi"}}},
    }));
    assert!(check(&[pool])[0].contains("all pods together request cpu 0 and memory 9216 MiB"));
    // Nodes are added where there is no room.
    let grows = Options {
        grows: true,
        ..none
    };
    assert_eq!(
        errors(&[deployment("d", 5, "1", "1Gi")], &grows, &two()),
        Vec::<String>::new()
    );
    // Not known: not checked.
    let blind = Facts {
        nodes: None,
        unread: vec!["nodes: forbidden".into()],
        ..two()
    };
    let found = super::check(
        &[deployment("d", 1, "99", "1Gi")],
        &Options::default(),
        &blind,
    );
    assert_eq!((found.len(), found[0].blocks), (1, false));
}

#[test]
fn pods_that_are_there_count_unless_they_are_the_sets_own() {
    let running = |app: &str| -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "x", "namespace": "db", "labels": {"app": app}},
            "spec": {"nodeName": "a", "containers": [{"name": "c", "resources": {"requests": {"cpu": "1500m"}}}]},
            "status": {"phase": "Running"},
        }))
        .expect("a pod")
    };
    let mut facts = facts(vec![node("a", "2", "4Gi", &[])]);
    let wanted = [deployment("d", 1, "1", "1Gi")];
    facts.pods = Some(vec![running("other")]);
    assert_eq!(errors(&wanted, &Options::default(), &facts).len(), 1);
    // A second `up` of the same set has room.
    facts.pods = Some(vec![running("d")]);
    assert_eq!(
        errors(&wanted, &Options::default(), &facts),
        Vec::<String>::new()
    );
}

#[test]
fn tainted_nodes_take_only_pods_that_tolerate() {
    let mut tainted = node("a", "8", "8Gi", &[]);
    let taint = |key: &str| {
        serde_json::from_value(json!({"taints": [{"key": key, "effect": "NoSchedule"}]}))
            .expect("a spec")
    };
    tainted.spec = taint("dedicated");
    let wanted = [deployment("d", 1, "1", "1Gi")];
    let found = errors(&wanted, &Options::default(), &facts(vec![tainted.clone()]));
    assert!(found[0].contains("no node takes pods"), "{found:?}");
    // A node that starts will.
    tainted.spec = taint("node.kubernetes.io/not-ready");
    assert_eq!(
        errors(&wanted, &Options::default(), &facts(vec![tainted])),
        Vec::<String>::new()
    );
}

#[test]
fn storage_classes() {
    let claim = |class: Value| {
        object(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "db"},
            "spec": {"storageClassName": class},
        }))
    };
    let some = facts(Vec::new());
    let none = Facts {
        classes: Some(Vec::new()),
        ..facts(Vec::new())
    };
    let check = |class: Value, facts: &Facts| errors(&[claim(class)], &Options::default(), facts);
    assert_eq!(check(json!(null), &some), Vec::<String>::new());
    assert_eq!(check(json!("std"), &some), Vec::<String>::new());
    assert_eq!(check(json!(""), &none), Vec::<String>::new());
    assert!(
        check(json!("fast"), &some)[0].contains("wants storage class `fast`; the cluster has std")
    );
    assert!(
        check(json!(null), &none)[0].contains("the cluster has no default; the cluster has none")
    );
    let pool = object(json!({
        "apiVersion": "kafka.strimzi.io/v1", "kind": "KafkaNodePool", "metadata": {"name": "p"},
        "spec": {"replicas": 0, "storage": {"type": "jbod", "volumes": [
            {"type": "persistent-claim", "class": "fast"}, {"type": "ephemeral"},
        ]}},
    }));
    assert_eq!(errors(&[pool], &Options::default(), &some).len(), 1);
}

#[test]
fn images_that_only_this_machine_has_must_be_on_every_node() {
    let connect = object(json!({
        "apiVersion": "kafka.strimzi.io/v1", "kind": "KafkaConnect", "metadata": {"name": "c"},
        "spec": {"image": "cdc-connect:1", "replicas": 1},
    }));
    let local = Options {
        local_images: vec!["cdc-connect:1".into()],
        grows: false,
    };
    let have = "docker.io/library/cdc-connect:1";
    let both = facts(vec![
        node("a", "2", "4Gi", &[have]),
        node("b", "2", "4Gi", &[have]),
    ]);
    let one = facts(vec![
        node("a", "2", "4Gi", &[have]),
        node("b", "2", "4Gi", &[]),
    ]);
    let set = std::slice::from_ref(&connect);
    assert_eq!(errors(set, &local, &both), Vec::<String>::new());
    let found = errors(set, &local, &one);
    assert!(found[0].contains("is not on node b"), "{found:?}");
    // It may be pulled: worth knowing only.
    assert_eq!(errors(set, &Options::default(), &one), Vec::<String>::new());
    assert!(
        check(set, &Options::default(), &one)
            .iter()
            .any(|it| it.message.contains("will be pulled by node b"))
    );
    // A node that reports as many as it may: its silence says nothing.
    let many: Vec<String> = (0..50).map(|n| format!("i:{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let full = facts(vec![node("a", "2", "4Gi", &many)]);
    assert_eq!(errors(set, &local, &full), Vec::<String>::new());
    // Nobody refers to it, and it must be there all the same.
    assert_eq!(errors(&[], &local, &one).len(), 1);
    assert!(errors(&[], &local, &both).is_empty());
}

#[test]
fn always_pulled_and_never_pulled() {
    let pod = |image: &str, policy: Value| {
        object(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "image": image, "imagePullPolicy": policy}]},
        }))
    };
    let local = Options {
        local_images: vec!["mine:1".into(), "mine:latest".into()],
        grows: false,
    };
    let have = ["docker.io/library/mine:1", "docker.io/library/mine:latest"];
    let there = facts(vec![node("a", "2", "4Gi", &have)]);
    assert!(errors(&[pod("mine:1", json!("Always"))], &local, &there)[0].contains("always pulls"));
    assert!(errors(&[pod("mine:latest", json!(null))], &local, &there)[0].contains("always pulls"));
    assert!(
        errors(&[pod("other:1", json!("Never"))], &local, &there)[0].contains("is never pulled")
    );
}

/// Strimzi's Deployments mount it since 1.0; a namespace that is yet to be made has none.
#[test]
fn what_kubernetes_publishes_into_every_namespace_is_never_missing() {
    let mounts = |config_map: &str| {
        object(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "operator", "namespace": "kafka"},
            "spec": {"template": {"spec": {
                "containers": [{"name": "c", "image": "i:1"}],
                "volumes": [{"name": "token", "projected": {"sources": [
                    {"serviceAccountToken": {"path": "token"}},
                    {"configMap": {"name": config_map}},
                ]}}],
            }}},
        }))
    };
    assert!(open_references(&[mounts("kube-root-ca.crt")]).is_empty());
    assert_eq!(open_references(&[mounts("my-ca.crt")]).len(), 1);
}

/// The operators' own bundles ask for nothing that they do not bring.
#[test]
#[ignore = "needs the recorded data: CDC_TEST_CAPTURES or ../shared/data"]
fn the_operators_bundles_are_complete() {
    let data = std::env::var_os("CDC_TEST_CAPTURES").map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/../../../../shared/data").into(),
        std::path::PathBuf::from,
    );
    for bundle in [
        "strimzi-0.50.1/install/cluster-operator",
        "strimzi-1.2.0/install/cluster-operator",
        "altinity-clickhouse-operator-0.25.6/clickhouse-operator-install-bundle.yaml",
        "cloudnative-pg-1.30.0/cnpg-1.30.0.yaml",
    ] {
        let path = data.join(bundle);
        let files: Vec<_> = match path.is_dir() {
            true => std::fs::read_dir(&path)
                .expect("a directory")
                .map(|it| it.expect("a file").path())
                .collect(),
            false => vec![path],
        };
        let mut objects = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(&file).expect("a file");
            for document in serde_yaml::Deserializer::from_str(&text) {
                let value: Value = serde::Deserialize::deserialize(document).expect("YAML");
                if !value.is_null() {
                    objects.push(object(value));
                }
            }
        }
        assert!(objects.len() > 5, "{bundle}");
        let open = open_references(&objects);
        println!("{bundle}: {} objects", objects.len());
        assert!(open.is_empty(), "{bundle}: {open:?}");
    }
}
