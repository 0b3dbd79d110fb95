use serde_json::json;
use xtask::components::mongodb::members::refuse_shrinking;
use xtask::error::Code;

use crate::server::{admin, apply, namespace, object};

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn pods_of_members_are_not_taken_away() {
    let cluster = admin().await;
    refuse_shrinking(&cluster, "members", "mongo", 1)
        .await
        .unwrap();
    let set = object(json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": { "name": "mongo", "namespace": "members" },
        "spec": {
            "replicas": 3, "serviceName": "mongo", "selector": { "matchLabels": { "app": "mongo" } },
            "template": {
                "metadata": { "labels": { "app": "mongo" } },
                "spec": { "containers": [{ "name": "mongo", "image": "mongo:8.0" }] },
            },
        },
    }));
    apply(&cluster, "members", &[namespace("members"), set]).await;
    for wanted in [3, 5] {
        refuse_shrinking(&cluster, "members", "mongo", wanted)
            .await
            .unwrap();
    }
    let error = refuse_shrinking(&cluster, "members", "mongo", 1)
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::Drift);
    assert!(error.message.contains("mongo-1, mongo-2"), "{error}");
}
