use std::time::Duration;

use kube::api::DynamicObject;
use serde_json::json;
use xtask::plan::Progress;

use crate::server::{admin, api, apply, counts, has_controllers, namespace, object};

/// A definition of the kind Widget in the group `<name>.example.com`.
pub fn definition(name: &str) -> DynamicObject {
    object(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("widgets.{name}.example.com") },
        "spec": {
            "group": format!("{name}.example.com"),
            "scope": "Namespaced",
            "names": { "kind": "Widget", "plural": "widgets" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                    "spec": { "type": "object", "properties": {
                        "size": { "type": "integer" },
                        "parts": { "type": "array", "items": { "type": "object", "properties": {
                            "name": { "type": "string" },
                        } } },
                    } },
                } } },
            }],
        },
    }))
}

pub fn widget(group: &str, namespace: &str, name: &str) -> DynamicObject {
    object(json!({
        "apiVersion": format!("{group}.example.com/v1"),
        "kind": "Widget",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "size": 3, "parts": [{ "name": "a" }, { "name": "b" }] },
    }))
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn a_definition_and_its_custom_resources_in_one_set() {
    let cluster = admin().await;
    // What needs something comes first.
    let objects = [
        widget("one", "one", "w"),
        widget("one", "one", "x"),
        definition("one"),
        namespace("one"),
    ];
    assert_eq!(
        counts(&apply(&cluster, "one-set", &objects).await),
        [4, 0, 0, 0]
    );
    assert_eq!(
        counts(&apply(&cluster, "one-set", &objects).await),
        [0, 0, 4, 0]
    );
    // Another process knows nothing of what this one learned.
    let other = admin().await;
    assert_eq!(
        counts(&apply(&other, "one-set", &objects).await),
        [0, 0, 4, 0]
    );

    let mut unknown = widget("one", "one", "y");
    unknown.data["spec"]["colour"] = json!("red");
    let error = cluster
        .apply(
            &[unknown],
            &xtask::platform::kubernetes::Options::new("one-set"),
            &Progress::silent(),
        )
        .await
        .unwrap_err();
    assert!(error.message.contains("colour"), "{error}");
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn a_definition_stays_while_others_have_custom_resources_of_it() {
    let cluster = admin().await;
    let objects = [
        definition("two"),
        namespace("two"),
        widget("two", "two", "ours"),
    ];
    apply(&cluster, "two-set", &objects).await;
    let theirs = widget("two", "default", "theirs");
    let widgets = api(&cluster, "two.example.com/v1", "Widget", Some("default"));
    widgets.create(&Default::default(), &theirs).await.unwrap();
    let inventory = cluster.inventory("two-set", &[]).await.unwrap();
    assert_eq!(inventory.objects.len(), 3);
    let but_namespace: Vec<_> = inventory
        .objects
        .iter()
        .filter(|owned| !owned.object.is_namespace())
        .cloned()
        .collect();
    let deadline = Duration::from_secs(20);
    let removed = cluster
        .remove(&but_namespace, deadline, &Progress::silent())
        .await
        .unwrap();
    assert_eq!(removed.gone.len(), 1);
    assert_eq!(removed.kept.len(), 1);
    let (kept, why) = &removed.kept[0];
    assert!(kept.is_definition());
    assert!(
        why.contains("Widget default/theirs is still there"),
        "{why}"
    );

    widgets.delete("theirs", &Default::default()).await.unwrap();
    let left = cluster.inventory("two-set", &[]).await.unwrap();
    let all = has_controllers();
    let due: Vec<_> = left
        .objects
        .into_iter()
        .filter(|owned| all || !owned.object.is_namespace())
        .collect();
    let removed = cluster
        .remove(&due, deadline, &Progress::silent())
        .await
        .unwrap();
    assert_eq!((removed.gone.len(), removed.kept.len()), (due.len(), 0));
    let left = cluster.inventory("two-set", &[]).await.unwrap();
    assert_eq!(left.objects.len(), usize::from(!all));
}
