//! Pods that are replaced, against a real API server. The tests do what controllers would.

use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use xtask::error::Code;
use xtask::operate::restart::{self, What};
use xtask::plan::{Outcome, Progress};
use xtask::platform::kubernetes::Cluster;
use xtask::platform::kubernetes::restart::{LOOK, RESTARTED, ROLL};
use xtask::platform::kubernetes::watch::{Target, Watches};
use xtask::readiness::kubernetes::rolled;

use crate::support::{api, create, environment, namespace, set, stateful_set};

const LONG: Duration = Duration::from_secs(30);
const SPACE: &str = "rolls";

/// A pod as the set's controller makes one, ready or not.
async fn pod(client: &Client, ready: bool) {
    let made = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "s-0", "labels": {"app": "s"}},
        "spec": {"containers": [{"name": "c", "image": "i:1"}]},
    });
    create(client, Some(SPACE), made).await;
    if ready {
        be_ready(client).await;
    }
}

async fn be_ready(client: &Client) {
    let conditions = json!([{"type": "Ready", "status": "True"}]);
    patch_status(
        client,
        ("v1", "Pod"),
        "s-0",
        json!({"conditions": conditions}),
    )
    .await;
}

async fn patch_status(client: &Client, kind: (&str, &str), name: &str, status: Value) {
    let patch = Patch::Merge(json!({ "status": status }));
    api(client, kind.0, kind.1, Some(SPACE))
        .patch_status(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

async fn be_current(client: &Client, generation: i64) {
    let status = json!({
        "observedGeneration": generation, "replicas": 1, "readyReplicas": 1,
        "availableReplicas": 1, "updatedReplicas": 1,
    });
    patch_status(client, ("apps/v1", "StatefulSet"), "s", status).await;
}

/// What `restart` does with a StatefulSet: the pods are noted, the template is marked as `kubectl
/// rollout restart` does, and the wait ends with the new pod and not with the old one's readiness.
pub async fn a_set_is_restarted(cluster: &Cluster) {
    let client = &cluster.client;
    namespace(client, SPACE).await;
    let target = stateful_set(SPACE, "s");
    let error = cluster.restart_template(&target).await.unwrap_err();
    assert_eq!(error.code, Code::NotUp, "{error}");
    create(
        client,
        Some(SPACE),
        set("s", json!({"name": "c", "image": "i:1"})),
    )
    .await;
    let error = cluster.pods_of(&target).await.unwrap_err();
    assert_eq!(error.code, Code::NotUp, "{error}");
    assert!(error.message.contains("has no pod"), "{error}");

    pod(client, true).await;
    be_current(client, 1).await;
    let before = cluster.pods_of(&target).await.unwrap();
    assert_eq!(before.keys().collect::<Vec<_>>(), ["s-0"]);
    cluster.restart_template(&target).await.unwrap();
    let marked = cluster.object(&target).await.unwrap().unwrap();
    let annotations = &marked.data["spec"]["template"]["metadata"]["annotations"];
    assert!(annotations[RESTARTED].is_string(), "{annotations}");
    assert_eq!(marked.metadata.generation, Some(2));

    let watches = Watches::new(client.clone());
    let silent = Progress::silent();
    let wait = |deadline| {
        let judge = |pods: &[_]| rolled(&before, pods);
        watches.replaced(
            "pods are replaced",
            target.clone(),
            judge,
            deadline,
            &silent,
        )
    };
    // The status is that of before, and so is the pod.
    let error = wait(Duration::from_millis(700)).await.unwrap_err();
    assert_eq!(error.code, Code::GateTimeout);
    assert!(error.message.contains("1 of 1 to be replaced"), "{error}");

    let controller = async {
        let pods = api(client, "v1", "Pod", Some(SPACE));
        let at_once = DeleteParams::default().grace_period(0);
        pods.delete("s-0", &at_once).await.unwrap();
        pod(client, false).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        be_ready(client).await;
        // Not before its controller has seen the newest template.
        tokio::time::sleep(Duration::from_millis(200)).await;
        be_current(client, 2).await;
    };
    let (seen, ()) = tokio::join!(wait(LONG), controller);
    assert_eq!(seen.unwrap(), "replaced; 1 of 1 pod ready");

    // One pod is marked as Strimzi looks for it.
    let one = Target::of("v1", "Pod", SPACE, "s-0");
    cluster.annotate(&one, ROLL, "true").await.unwrap();
    let marked = cluster.object(&one).await.unwrap().unwrap();
    assert_eq!(marked.metadata.annotations.unwrap()[ROLL], "true");
    let kind = Target::of("apps/v1", "StatefulSet", SPACE, "");
    assert!(
        cluster
            .names_labelled(&kind, "x=y")
            .await
            .unwrap()
            .is_empty()
    );
}

/// What ends a kubelet's pause deletes no pod that has changed since, and one that is gone is fine.
pub async fn a_pause_ends_with_its_pod_only(cluster: &Cluster) {
    let client = &cluster.client;
    let pods = api(client, "v1", "Pod", Some(SPACE));
    let pauses = pods.get("s-0").await.unwrap();
    patch_status(client, ("v1", "Pod"), "s-0", json!({"phase": "Running"})).await;
    assert!(!cluster.replace_paused(&pauses).await.unwrap());
    let now = pods.get("s-0").await.unwrap();
    assert_eq!(now.metadata.uid, pauses.metadata.uid);
    assert!(now.metadata.deletion_timestamp.is_none());
    assert!(cluster.replace_paused(&now).await.unwrap());
    assert!(pods.get_opt("s-0").await.unwrap().is_none());
    assert!(!cluster.replace_paused(&now).await.unwrap());

    // By name and uid: another pod of this name is left alone.
    pod(client, true).await;
    let target = stateful_set(SPACE, "s");
    let there = cluster.pods_of(&target).await.unwrap();
    let before = [("s-0".to_owned(), now.metadata.uid.unwrap())].into();
    cluster.delete_pods(&target, &before).await.unwrap();
    assert_eq!(cluster.pods_of(&target).await.unwrap(), there);
    cluster.delete_pods(&target, &there).await.unwrap();
    assert!(pods.get_opt("s-0").await.unwrap().is_none());
}

const KIND: (&str, &str) = ("kafka.strimzi.io/v1", "KafkaConnect");
const SETS: (&str, &str) = ("core.strimzi.io/v1", "StrimziPodSet");
const WORKERS: &str = "my-connect-cluster-connect";
const WORKER: &str = "my-connect-cluster-connect-0";

pub async fn define(client: &Client, kind: (&str, &str)) {
    let group = kind.0.trim_end_matches("/v1");
    let plural = format!("{}s", kind.1.to_lowercase());
    create(
        client,
        None,
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {
                "group": group, "scope": "Namespaced", "names": {"kind": kind.1, "plural": plural},
                "versions": [{
                    "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {
                        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    }},
                }],
            },
        }),
    )
    .await;
    let begin = Instant::now();
    while api(client, kind.0, kind.1, None)
        .list(&Default::default())
        .await
        .is_err()
    {
        assert!(begin.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn labels() -> Value {
    json!({"strimzi.io/cluster": "my-connect-cluster", "strimzi.io/kind": "KafkaConnect"})
}

async fn worker(client: &Client, space: &str) {
    let revision = json!({"strimzi.io/revision": "r"});
    let made = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": WORKER, "labels": labels(), "annotations": revision},
        "spec": {"containers": [{"name": "c", "image": "i:1"}]},
    });
    create(client, Some(space), made).await;
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    api(client, "v1", "Pod", Some(space))
        .patch_status(WORKER, &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
}

/// What `restart connect` does: Strimzi is asked in the way it understands, and told to look.
pub async fn strimzi_is_asked(cluster: &Cluster) {
    let client = &cluster.client;
    let env = environment(cluster).await;
    let space = env.profile.kubernetes.kafka_namespace.as_str();
    namespace(client, space).await;
    for kind in [KIND, SETS] {
        define(client, kind).await;
    }
    let meta = |name: &str| json!({"name": name, "labels": labels()});
    let pods = json!([{"metadata": {"name": WORKER, "annotations": {"strimzi.io/revision": "r"}}}]);
    let connect = json!({
        "apiVersion": KIND.0, "kind": KIND.1, "metadata": meta("my-connect-cluster"),
        "spec": {"replicas": 1},
    });
    let set = json!({
        "apiVersion": SETS.0, "kind": SETS.1, "metadata": meta(WORKERS), "spec": {"pods": pods},
    });
    for made in [connect, set] {
        create(client, Some(space), made).await;
    }
    let ready =
        json!({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]});
    let full = json!({"observedGeneration": 1, "pods": 1, "currentPods": 1, "readyPods": 1});
    for (kind, name, status) in [(KIND, "my-connect-cluster", ready), (SETS, WORKERS, full)] {
        api(client, kind.0, kind.1, Some(space))
            .patch_status(
                name,
                &PatchParams::default(),
                &Patch::Merge(json!({ "status": status })),
            )
            .await
            .unwrap();
    }
    worker(client, space).await;

    let plan = restart::plan(&env, &What::Component("connect".into())).unwrap();
    let (graph, actions) = plan.build().unwrap();
    let ids: Vec<&str> = graph.nodes().iter().map(|node| node.id.as_str()).collect();
    assert_eq!(ids[..2], ["connect/roll", "connect/ready"]);
    assert!(ids.contains(&"users/canary"), "{ids:?}");
    let roll = actions.into_iter().next().unwrap();
    let operator = async {
        let marked = async |kind: (&str, &str), name: &str, key: &str| {
            let object = api(client, kind.0, kind.1, Some(space)).get(name).await;
            let annotations = object.unwrap().metadata.annotations;
            annotations.is_some_and(|annotations| annotations.contains_key(key))
        };
        let begin = Instant::now();
        // It is told to look last, and finds the mark then.
        while !marked(KIND, "my-connect-cluster", LOOK).await {
            assert!(begin.elapsed() < LONG);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(marked(SETS, WORKERS, ROLL).await);
        let at_once = DeleteParams::default().grace_period(0);
        let pods = api(client, "v1", "Pod", Some(space));
        pods.delete(WORKER, &at_once).await.unwrap();
        worker(client, space).await;
    };
    let (rolled, ()) = tokio::join!(roll(Progress::silent()), operator);
    let rolled = rolled.unwrap();
    assert_eq!(
        rolled,
        Outcome::Changed("replaced; 1 of 1 pod ready".into())
    );

    // Nothing is there of the operators: that is said, and nothing waits for it.
    let plan = restart::plan(&env, &What::Operator).unwrap();
    let (graph, actions) = plan.build().unwrap();
    assert_eq!(graph.nodes()[0].id, "strimzi/roll");
    let roll = actions.into_iter().next().unwrap();
    let error = roll(Progress::silent()).await.unwrap_err();
    assert_eq!(error.code, Code::NotUp, "{error}");
    assert!(
        error.message.contains("strimzi-cluster-operator"),
        "{error}"
    );
}
