use serde_json::{Value, json};
use xtask::error::Code;

use crate::server::{admin, api, apply, config_map, namespace, object};

fn cluster_wide(kind: &str, name: &str, rest: &Value) -> kube::api::DynamicObject {
    let mut value = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "name": name },
    });
    value
        .as_object_mut()
        .unwrap()
        .extend(rest.as_object().unwrap().clone());
    object(value)
}

/// Strimzi's bindings for the whole cluster have one name, whichever namespace its operator is in.
#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn what_is_another_environments_in_the_whole_cluster_is_named_before_anything_changes() {
    let cluster = admin().await;
    let role = cluster_wide(
        "ClusterRole",
        "strimzi-of-owners",
        &json!({ "rules": [{ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] }] }),
    );
    let binding = |namespace: &str| {
        cluster_wide(
            "ClusterRoleBinding",
            "strimzi-of-owners",
            &json!({
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "strimzi-of-owners" },
                "subjects": [{ "kind": "ServiceAccount", "name": "strimzi", "namespace": namespace }],
            }),
        )
    };
    let first = [namespace("owners-one"), role.clone(), binding("owners-one")];
    apply(&cluster, "owners-one", &first).await;
    let seen = cluster.look(&first, "owners-one").await.unwrap();
    seen.check_owners().unwrap();

    let second = [
        namespace("owners-two"),
        config_map("owners-two", "c", &json!({})),
        role,
        binding("owners-two"),
    ];
    let seen = cluster.look(&second, "owners-two").await.unwrap();
    let error = seen.check_owners().unwrap_err();
    assert_eq!(error.code, Code::Drift);
    assert!(
        error
            .message
            .contains("2 objects belong to the environment `owners-one`"),
        "{error}"
    );
    assert_eq!(
        error.details,
        [
            "ClusterRole strimzi-of-owners",
            "ClusterRoleBinding strimzi-of-owners"
        ]
    );
    assert!(error.hint.unwrap().contains("remove `owners-one` first"));
    let bindings = api(
        &cluster,
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        None,
    );
    let live = bindings.get("strimzi-of-owners").await.unwrap();
    assert_eq!(live.data["subjects"][0]["namespace"], "owners-one");

    // Once that one has ended, its place is free.
    let inventory = cluster.inventory("owners-one", &[]).await.unwrap();
    let wide: Vec<_> = inventory
        .objects
        .into_iter()
        .filter(|owned| owned.object.kind.starts_with("ClusterRole"))
        .collect();
    let progress = xtask::plan::Progress::silent();
    cluster
        .remove(&wide, std::time::Duration::from_secs(60), &progress)
        .await
        .unwrap();
    let seen = cluster.look(&second, "owners-two").await.unwrap();
    seen.check_owners().unwrap();
}
