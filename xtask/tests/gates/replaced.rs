//! Pods that are replaced, against a real API server. The tests do what controllers would.

use std::time::Duration;

use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use xtask::error::Code;
use xtask::plan::Progress;
use xtask::platform::kubernetes::Cluster;
use xtask::platform::kubernetes::restart::{RESTARTED, ROLL};
use xtask::platform::kubernetes::watch::{Target, Watches};
use xtask::readiness::kubernetes::rolled;

use crate::support::{api, create, namespace, set, stateful_set};

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
