use serde_json::json;
use xtask::error::Code;

use crate::server::{admin, api, apply, cluster, config_map, counts, namespace, object};

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn missing_permissions_are_named_before_anything_changes() {
    let admin = admin().await;
    let limited = cluster("limited").await;
    let namespaces = api(&admin, "v1", "Namespace", None);
    namespaces
        .create(&Default::default(), &namespace("limited"))
        .await
        .unwrap();
    let rules = json!([
        { "apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get", "list", "patch", "delete"] },
        { "apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"] },
    ]);
    let role = |kind: &str, rest: serde_json::Value| {
        let mut value = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": { "name": "limited", "namespace": "limited" },
        });
        value
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        object(value)
    };
    let roles = [
        role("Role", json!({ "rules": rules })),
        role(
            "RoleBinding",
            json!({
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "limited" },
                "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "limited" }],
            }),
        ),
        object(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": "limited" },
            "rules": [{ "apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"] }],
        })),
        object(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": "limited" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "limited" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "limited" }],
        })),
    ];
    apply(&admin, "limited-roles", &roles).await;

    let permitted = [
        namespace("limited"),
        config_map("limited", "c", &json!({ "a": "1" })),
    ];
    limited.check_access(&permitted, "limited").await.unwrap();
    admin.check_access(&permitted, "limited").await.unwrap();

    let mut set = permitted.to_vec();
    set.push(object(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s", "namespace": "limited" },
    })));
    set.push(namespace("limited-new"));
    let error = limited.check_access(&set, "limited").await.unwrap_err();
    assert_eq!(error.code, Code::Platform);
    assert_eq!(
        error.details,
        [
            "create namespaces in the whole cluster",
            "list namespaces in the whole cluster",
            "patch namespaces in the whole cluster",
            "create secrets in namespace limited",
            "patch secrets in namespace limited",
        ]
    );
    let maps = api(&admin, "v1", "ConfigMap", Some("limited"));
    assert!(maps.get("c").await.is_err(), "nothing may have changed");

    // A user without rights in the whole cluster can apply, and finds what is his.
    assert_eq!(
        counts(&apply(&limited, "limited", &permitted).await),
        [1, 0, 0, 1]
    );
    assert_eq!(
        counts(&apply(&limited, "limited", &permitted).await),
        [0, 0, 1, 1]
    );
    let inventory = limited
        .inventory("limited", &["limited".into()])
        .await
        .unwrap();
    assert_eq!(inventory.objects.len(), 1);
    assert!(
        inventory
            .hidden
            .iter()
            .any(|line| line.starts_with("pods:")),
        "{:?}",
        inventory.hidden
    );
    assert!(
        !inventory
            .hidden
            .iter()
            .any(|line| line.starts_with("configmaps:"))
    );

    // Whoever does not ask before is told by the server.
    let error = limited
        .apply(
            &set[2..3],
            &xtask::platform::kubernetes::Options::new("limited"),
            &xtask::plan::Progress::silent(),
        )
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::Platform);
    assert!(
        error
            .to_string()
            .contains("cannot patch resource \"secrets\""),
        "{error}"
    );
}
