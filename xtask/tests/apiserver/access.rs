use serde_json::{Value, json};
use xtask::error::Code;
use xtask::platform::kubernetes::Cluster;

use crate::server::{
    admin, api, apply, cluster, config_map, counts, eventually, namespace, object,
};

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

const RBAC: &str = "rbac.authorization.k8s.io";

/// Lets the user `limited` do this in a namespace, which is made.
async fn permit(admin: &Cluster, limited: &Cluster, at: &str, rules: &Value) {
    let objects = [
        namespace(at),
        object(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": { "name": "permitted", "namespace": at }, "rules": rules,
        })),
        object(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": { "name": "permitted", "namespace": at },
            "roleRef": { "apiGroup": RBAC, "kind": "Role", "name": "permitted" },
            "subjects": [{ "apiGroup": RBAC, "kind": "User", "name": "limited" }],
        })),
    ];
    apply(admin, &format!("{at}-permits"), &objects).await;
    let first = &rules[0];
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": {
            "namespace": at, "group": first["apiGroups"][0],
            "resource": first["resources"][0], "verb": first["verbs"][0],
        } },
    });
    let reviews = api(
        limited,
        "authorization.k8s.io/v1",
        "SelfSubjectAccessReview",
        None,
    );
    eventually("the authorizer knows the permission", async || {
        let review = object(review.clone());
        let told = reviews.create(&Default::default(), &review).await;
        told.unwrap().data["status"]["allowed"] == true
    })
    .await;
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn roles_that_give_more_than_one_has_are_named_before_anything_changes() {
    let admin = admin().await;
    let limited = cluster("limited").await;
    let at = "escalation";
    let rules = json!([
        { "apiGroups": [RBAC], "resources": ["roles", "rolebindings"], "verbs": ["create", "get", "list", "patch"] },
        { "apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get"] },
        { "apiGroups": [RBAC], "resources": ["clusterroles"], "resourceNames": ["view"], "verbs": ["bind"] },
    ]);
    permit(&admin, &limited, at, &rules).await;
    // A controller gives the roles that come with the server their rules.
    let roles = api(&admin, &format!("{RBAC}/v1"), "ClusterRole", None);
    eventually("`edit` gives something", async || {
        let role = roles.get("edit").await.unwrap();
        role.data["rules"]
            .as_array()
            .is_some_and(|rules| !rules.is_empty())
    })
    .await;
    let role = |name: &str, resources: &[&str], verbs: &[&str]| {
        object(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": { "name": name, "namespace": at },
            "rules": [{ "apiGroups": [""], "resources": resources, "verbs": verbs }],
        }))
    };
    let binding = |name: &str, kind: &str, role: &str| {
        object(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": { "name": name, "namespace": at },
            "roleRef": { "apiGroup": RBAC, "kind": kind, "name": role },
            "subjects": [{ "kind": "ServiceAccount", "name": "operator", "namespace": at }],
        }))
    };
    let held = [
        role("held", &["pods", "pods/log"], &["get"]),
        binding("held", "Role", "held"),
        binding("viewer", "ClusterRole", "view"),
    ];
    limited.check_access(&held, at).await.unwrap();
    assert_eq!(counts(&apply(&limited, at, &held).await), [3, 0, 0, 0]);

    let more = [
        role("more", &["pods", "secrets"], &["get", "delete"]),
        binding("more", "Role", "more"),
        binding("editor", "ClusterRole", "edit"),
    ];
    let set = [held.as_slice(), &more].concat();
    let error = limited.check_access(&set, at).await.unwrap_err();
    assert_eq!(error.code, Code::Platform);
    let gives = "or what it gives: delete pods, delete secrets, get secrets";
    assert_eq!(
        error.details,
        [
            format!("Role {at}/more: escalate roles.{RBAC} more, {gives}"),
            format!("RoleBinding {at}/more: bind roles.{RBAC} more, {gives}"),
            format!("RoleBinding {at}/editor: bind clusterroles.{RBAC} edit"),
        ]
    );
    // The server says the same of each, later.
    for object in &more {
        let options = xtask::platform::kubernetes::Options::new(at);
        let refused = limited
            .apply(
                std::slice::from_ref(object),
                &options,
                &xtask::plan::Progress::silent(),
            )
            .await;
        assert!(refused.is_err(), "{object:?}");
    }
    // What is there as it shall be is not sent, and wants nothing.
    apply(&admin, at, &set).await;
    limited.check_access(&set, at).await.unwrap();
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn what_may_not_be_removed_is_named_before_anything_goes() {
    let admin = admin().await;
    let limited = cluster("limited").await;
    let at = "removal";
    let rules = json!([
        { "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "delete"] },
        { "apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"] },
    ]);
    permit(&admin, &limited, at, &rules).await;
    let secret = object(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s", "namespace": at },
    }));
    apply(&admin, at, &[config_map(at, "c", &json!({})), secret]).await;
    let objects = admin.inventory(at, &[]).await.unwrap().objects;
    assert_eq!(objects.len(), 2);
    admin.check_removal(&objects).await.unwrap();
    let error = limited.check_removal(&objects).await.unwrap_err();
    assert_eq!(error.code, Code::Platform);
    assert_eq!(error.details, ["delete secrets in namespace removal"]);
    let maps = objects.iter().filter(|it| it.object.kind == "ConfigMap");
    let maps: Vec<_> = maps.cloned().collect();
    limited.check_removal(&maps).await.unwrap();
}
