use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::json;
use xtask::plan::Progress;

use crate::server::{admin, api, apply, config_map, counts, has_controllers, namespace, object};

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn what_left_the_profile_is_listed_and_then_removed() {
    let cluster = admin().await;
    let service = object(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "s", "namespace": "prune" },
        "spec": { "selector": { "app": "s" }, "ports": [{ "port": 80 }] },
    }));
    let account = object(json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "leaves", "namespace": "prune" },
    }));
    let objects = [
        namespace("prune"),
        config_map("prune", "stays", &json!({})),
        config_map("prune", "leaves", &json!({})),
        service,
        account,
    ];
    apply(&cluster, "prune", &objects).await;
    apply(
        &cluster,
        "prune-other",
        &[config_map("prune", "of-another-environment", &json!({}))],
    )
    .await;
    // Controllers copy labels to what they make: that is not ours.
    let mut copy = config_map("prune", "copied-labels", &json!({}));
    copy.metadata.labels = Some(
        [
            ("app.kubernetes.io/managed-by".into(), "cdc-xtask".into()),
            ("cdc-xtask.dev/environment".into(), "prune".into()),
        ]
        .into(),
    );
    let maps = api(&cluster, "v1", "ConfigMap", Some("prune"));
    maps.create(&Default::default(), &copy).await.unwrap();

    let inventory = cluster.inventory("prune", &[]).await.unwrap();
    assert_eq!(inventory.hidden, Vec::<String>::new());
    assert_eq!(inventory.objects.len(), 5, "{:?}", inventory.objects);
    let wanted = [objects[0].clone(), objects[1].clone(), objects[3].clone()];
    let left = inventory.left(&wanted).unwrap();
    let names: Vec<String> = left.iter().map(|owned| owned.object.to_string()).collect();
    assert_eq!(
        names,
        ["ConfigMap prune/leaves", "ServiceAccount prune/leaves"]
    );

    let removed = cluster
        .remove(&left, DEADLINE, &Progress::silent())
        .await
        .unwrap();
    assert_eq!(removed.gone.len(), 2);
    assert!(maps.get("leaves").await.is_err());
    for name in ["stays", "of-another-environment", "copied-labels"] {
        assert!(maps.get(name).await.is_ok(), "{name}");
    }
    assert_eq!(
        counts(&apply(&cluster, "prune", &wanted).await),
        [0, 0, 3, 0]
    );
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn a_namespace_with_things_of_others_stays_and_goes_without_them() {
    let cluster = admin().await;
    let objects = [namespace("down"), config_map("down", "ours", &json!({}))];
    apply(&cluster, "down", &objects).await;
    let maps = api(&cluster, "v1", "ConfigMap", Some("down"));
    maps.create(
        &Default::default(),
        &config_map("down", "theirs", &json!({})),
    )
    .await
    .unwrap();
    let guest = [namespace("down"), config_map("down", "guest", &json!({}))];
    let applied = apply(&cluster, "down-guest", &guest).await;
    assert_eq!(counts(&applied), [1, 0, 0, 1]);
    let inventory = cluster.inventory("down", &[]).await.unwrap();
    let removed = cluster
        .remove(&inventory.objects, DEADLINE, &Progress::silent())
        .await
        .unwrap();
    assert_eq!(removed.gone.len(), 1);
    assert_eq!(removed.kept.len(), 1);
    assert!(
        removed.kept[0]
            .1
            .contains("ConfigMap down/guest and 1 more are still there"),
        "{:?}",
        removed.kept
    );
    maps.get("theirs").await.unwrap();
    let guest = cluster.inventory("down-guest", &[]).await.unwrap();
    assert_eq!(guest.objects.len(), 1);
    let removed = cluster
        .remove(&guest.objects, DEADLINE, &Progress::silent())
        .await
        .unwrap();
    assert_eq!(removed.gone.len(), 1);

    maps.delete("theirs", &Default::default()).await.unwrap();
    if has_controllers() {
        let inventory = cluster.inventory("down", &[]).await.unwrap();
        let removed = cluster
            .remove(&inventory.objects, DEADLINE, &Progress::silent())
            .await
            .unwrap();
        assert_eq!((removed.gone.len(), removed.kept.len()), (1, 0));
        assert!(
            api(&cluster, "v1", "Namespace", None)
                .get("down")
                .await
                .is_err()
        );
    }
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn what_was_there_before_is_given_up_and_not_deleted() {
    let cluster = admin().await;
    apply(&cluster, "adopt", &[namespace("adopt")]).await;
    let maps = api(&cluster, "v1", "ConfigMap", Some("adopt"));
    let by = kube::api::PostParams {
        field_manager: Some("helm".into()),
        ..Default::default()
    };
    maps.create(&by, &config_map("adopt", "c", &json!({ "a": "1" })))
        .await
        .unwrap();
    let set = [config_map("adopt", "c", &json!({ "a": "1", "b": "2" }))];
    assert_eq!(counts(&apply(&cluster, "adopt", &set).await), [0, 1, 0, 0]);
    assert_eq!(counts(&apply(&cluster, "adopt", &set).await), [0, 0, 1, 0]);
    let inventory = cluster.inventory("adopt", &[]).await.unwrap();
    let adopted: Vec<_> = inventory
        .objects
        .into_iter()
        .filter(|owned| !owned.created)
        .collect();
    assert_eq!(adopted.len(), 1);
    let removed = cluster
        .remove(&adopted, DEADLINE, &Progress::silent())
        .await
        .unwrap();
    assert_eq!(removed.released.len(), 1);
    let left = maps.get("c").await.unwrap();
    assert_eq!(left.data["data"], json!({ "a": "1" }));
    assert_eq!(left.metadata.labels.unwrap_or_default().len(), 0);
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn what_cannot_go_is_named_with_what_holds_it() {
    let cluster = admin().await;
    let mut held = config_map("held", "held", &json!({}));
    held.metadata.finalizers = Some(vec!["example.com/hold".into()]);
    apply(&cluster, "held", &[namespace("held"), held]).await;
    let inventory = cluster.inventory("held", &[]).await.unwrap();
    let error = cluster
        .remove(
            &inventory.objects,
            Duration::from_millis(300),
            &Progress::silent(),
        )
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("ConfigMap held/held (finalizers: example.com/hold)"),
        "{text}"
    );
    // The namespace's turn did not come.
    let namespaces = api(&cluster, "v1", "Namespace", None);
    assert_eq!(
        namespaces
            .get("held")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp,
        None
    );
    let release = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    let maps = api(&cluster, "v1", "ConfigMap", Some("held"));
    maps.patch("held", &PatchParams::default(), &release)
        .await
        .unwrap();
}
