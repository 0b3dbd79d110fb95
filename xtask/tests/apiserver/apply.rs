use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::json;
use xtask::error::Code;
use xtask::plan::Progress;
use xtask::platform::kubernetes::{Cluster, ObjectRef, Options};

use crate::server::{
    admin, api, apply, cluster, config_map, counts, has_controllers, namespace, object,
};

/// The check looks at everything, and what is applied first is some of it.
#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn what_was_seen_is_applied_without_another_look() {
    let cluster = admin().await;
    let mut objects = vec![
        namespace("seen"),
        config_map("seen", "now", &json!({ "k": "1" })),
        config_map("seen", "later", &json!({ "k": "1" })),
    ];
    let (options, progress) = (Options::new("seen"), Progress::silent());
    let now = |object: &ObjectRef| object.name != "later";
    let seen = cluster.look(&objects, "seen").await.unwrap().only(now);
    let applied = cluster.apply_seen(&seen, &options, &progress).await;
    assert_eq!(counts(&applied.unwrap()), [2, 0, 0, 0]);
    let maps = api(&cluster, "v1", "ConfigMap", Some("seen"));
    assert!(maps.get_opt("later").await.unwrap().is_none());

    apply(&cluster, "seen", &objects).await;
    objects[1].data["data"] = json!({ "k": "2" });
    objects[2].data["data"] = json!({ "k": "2" });
    let seen = cluster.look(&objects, "seen").await.unwrap().only(now);
    let applied = cluster.apply_seen(&seen, &options, &progress).await;
    assert_eq!(counts(&applied.unwrap()), [0, 1, 1, 0]);
    let later = maps.get("later").await.unwrap();
    assert_eq!(later.data["data"], json!({ "k": "1" }));
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn created_then_unchanged_then_configured() {
    let cluster = admin().await;
    let mut objects = vec![
        config_map("first", "a", &json!({ "k": "1", "gone": "x" })),
        // Quantities are written in another way by the server, and defaults are filled in.
        object(json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": { "name": "s", "namespace": "first" },
            "spec": {
                "serviceName": "s",
                "selector": { "matchLabels": { "app": "s" } },
                "template": {
                    "metadata": { "labels": { "app": "s" } },
                    "spec": { "containers": [{
                        "name": "c", "image": "i:1",
                        "ports": [{ "containerPort": 5432, "name": "sql" }],
                        "env": [{ "name": "A", "value": "1" }],
                        "resources": { "requests": { "cpu": "1000m", "memory": "1024Mi" } },
                    }] },
                },
            },
        })),
        object(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "s", "namespace": "first" },
            "spec": { "selector": { "app": "s" }, "ports": [{ "port": 5432 }, { "port": 81, "name": "b" }] },
        })),
        object(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "s", "namespace": "first" },
            "stringData": { "password": "x" },
        })),
        namespace("first"),
    ];
    // A Service with several ports wants each to have a name.
    objects[2].data["spec"]["ports"][0]["name"] = json!("a");
    assert_eq!(
        counts(&apply(&cluster, "first", &objects).await),
        [5, 0, 0, 0]
    );
    // Who may only read can do this: nothing is sent.
    let reader = reader(&cluster).await;
    let again = apply(&reader, "first", &objects).await;
    assert_eq!(counts(&again), [0, 0, 5, 0]);

    objects[0].data["data"] = json!({ "k": "2" });
    let applied = apply(&cluster, "first", &objects).await;
    assert_eq!(counts(&applied), [0, 1, 4, 0]);
    assert_eq!(applied.objects[0].0.to_string(), "ConfigMap first/a");
    let live = api(&cluster, "v1", "ConfigMap", Some("first"))
        .get("a")
        .await
        .unwrap();
    assert_eq!(live.data["data"], json!({ "k": "2" }));
    let labels = live.metadata.labels.unwrap();
    assert_eq!(labels["app.kubernetes.io/managed-by"], "cdc-xtask");
    assert_eq!(labels["cdc-xtask.dev/environment"], "first");
}

/// The cluster as a user who may read everything and change nothing.
async fn reader(admin: &Cluster) -> Cluster {
    let group = "rbac.authorization.k8s.io";
    let of = |kind: &str| {
        json!({
            "apiVersion": format!("{group}/v1"),
            "kind": kind,
            "metadata": { "name": "reader" },
        })
    };
    let (mut role, mut binding) = (of("ClusterRole"), of("ClusterRoleBinding"));
    role["rules"] = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"] }]);
    binding["roleRef"] = json!({ "apiGroup": group, "kind": "ClusterRole", "name": "reader" });
    binding["subjects"] = json!([{ "apiGroup": group, "kind": "User", "name": "reader" }]);
    apply(admin, "reader", &[object(role), object(binding)]).await;
    let reader = cluster("reader").await;
    let options = Options::new("reader");
    let denied = reader
        .apply(&[namespace("denied")], &options, &Progress::silent())
        .await;
    assert_eq!(denied.unwrap_err().code, Code::Platform);
    reader
}

/// The no-op proof must see every kind of foreign change to our fields, and no other.
#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn what_others_did_to_our_fields_is_seen_and_the_rest_is_theirs() {
    let cluster = admin().await;
    let objects = [
        namespace("theirs"),
        config_map("theirs", "c", &json!({ "a": "1", "b": "2" })),
        object(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "d", "namespace": "theirs" },
            "spec": {
                "replicas": 2,
                "selector": { "matchLabels": { "app": "d" } },
                "template": {
                    "metadata": { "labels": { "app": "d" } },
                    "spec": { "containers": [{ "name": "c", "image": "i:1", "env": [{ "name": "A", "value": "1" }] }] },
                },
            },
        })),
    ];
    apply(&cluster, "theirs", &objects).await;
    let maps = api(&cluster, "v1", "ConfigMap", Some("theirs"));
    let deployments = api(&cluster, "apps/v1", "Deployment", Some("theirs"));
    let by = |manager: &str| PatchParams {
        field_manager: Some(manager.into()),
        ..PatchParams::default()
    };
    let force = Options {
        force: true,
        ..Options::new("theirs")
    };

    // A field of their own is none of our business.
    let own = json!({ "data": { "c": "theirs" }, "metadata": { "labels": { "theirs": "yes" } } });
    maps.patch("c", &by("other"), &Patch::Merge(own))
        .await
        .unwrap();
    assert_eq!(
        counts(&apply(&cluster, "theirs", &objects).await),
        [0, 0, 3, 0]
    );

    // A removed field comes back; nobody owns it, so that there is no conflict.
    maps.patch(
        "c",
        &by("other"),
        &Patch::Merge(json!({ "data": { "a": null } })),
    )
    .await
    .unwrap();
    assert_eq!(
        counts(&apply(&cluster, "theirs", &objects).await),
        [0, 1, 2, 0]
    );
    let data = maps.get("c").await.unwrap().data["data"].clone();
    assert_eq!(data, json!({ "a": "1", "b": "2", "c": "theirs" }));

    // A changed one is a conflict until it is taken over.
    maps.patch(
        "c",
        &by("kubectl-edit"),
        &Patch::Merge(json!({ "data": { "b": "9" } })),
    )
    .await
    .unwrap();
    let scale = json!({ "spec": { "replicas": 5 } });
    deployments
        .patch_scale("d", &by("autoscaler"), &Patch::Merge(scale))
        .await
        .unwrap();
    let error = cluster
        .apply(&objects, &Options::new("theirs"), &Progress::silent())
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::Drift);
    let text = error.to_string();
    assert!(
        text.contains("ConfigMap theirs/c: data.b (owned by kubectl-edit)"),
        "{text}"
    );
    assert!(
        text.contains("Deployment theirs/d: spec.replicas (owned by autoscaler)"),
        "{text}"
    );
    assert!(text.contains("--force"), "{text}");
    assert_eq!(maps.get("c").await.unwrap().data["data"]["b"], "9");

    let applied = cluster
        .apply(&objects, &force, &Progress::silent())
        .await
        .unwrap();
    assert_eq!(counts(&applied), [0, 2, 1, 0]);
    assert_eq!(maps.get("c").await.unwrap().data["data"]["b"], "2");
    assert_eq!(
        counts(&apply(&cluster, "theirs", &objects).await),
        [0, 0, 3, 0]
    );

    // An element that vanished from a list, through a replaced list.
    let bare = json!([{ "name": "c", "image": "i:1" }]);
    let without = json!({ "spec": { "template": { "spec": { "containers": bare } } } });
    deployments
        .patch("d", &by("other"), &Patch::Merge(without))
        .await
        .unwrap();
    assert_eq!(
        counts(&apply(&cluster, "theirs", &objects).await),
        [0, 1, 2, 0]
    );
    let live = deployments.get("d").await.unwrap();
    let env = &live.data["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(env, &json!([{ "name": "A", "value": "1" }]));
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn namespaces_of_others_are_used_and_never_changed() {
    let cluster = admin().await;
    let namespaces = api(&cluster, "v1", "Namespace", None);
    namespaces
        .create(&Default::default(), &namespace("foreign"))
        .await
        .unwrap();
    let before = namespaces.get("foreign").await.unwrap();
    let objects = [
        namespace("foreign"),
        config_map("foreign", "c", &json!({ "a": "1" })),
    ];
    assert_eq!(
        counts(&apply(&cluster, "guest", &objects).await),
        [1, 0, 0, 1]
    );
    assert_eq!(
        counts(&apply(&cluster, "guest", &objects).await),
        [0, 0, 1, 1]
    );
    let after = namespaces.get("foreign").await.unwrap();
    assert_eq!(
        after.metadata.resource_version,
        before.metadata.resource_version
    );
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn two_environments_do_not_take_objects_from_one_another() {
    let cluster = admin().await;
    let objects = [
        namespace("shared"),
        config_map("shared", "c", &json!({ "a": "1" })),
    ];
    apply(&cluster, "one", &objects).await;
    let error = cluster
        .apply(&objects[1..], &Options::new("two"), &Progress::silent())
        .await
        .unwrap_err();
    assert!(
        error
            .message
            .contains("ConfigMap shared/c belongs to the environment `one`"),
        "{error}"
    );
    assert_eq!(
        counts(&apply(&cluster, "one", &objects).await),
        [0, 0, 2, 0]
    );
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn all_errors_are_told_and_what_does_not_depend_on_them_is_applied() {
    let cluster = admin().await;
    let mut wrong = config_map("errors", "wrong", &json!({ "a": "1" }));
    wrong.data["dta"] = json!({ "typo": "x" });
    let objects = [
        namespace("errors"),
        wrong,
        config_map("absent-namespace", "c", &json!({})),
        config_map("errors", "good", &json!({ "a": "1" })),
        namespace("Bad_Name"),
        config_map("Bad_Name", "c", &json!({})),
    ];
    let error = cluster
        .apply(&objects, &Options::new("errors"), &Progress::silent())
        .await
        .unwrap_err();
    assert_eq!(error.others.len(), 2, "{error}");
    let text = error.to_string();
    assert!(
        text.contains("ConfigMap errors/wrong") && text.contains("dta"),
        "{text}"
    );
    assert!(
        text.contains("namespaces \"absent-namespace\" not found"),
        "{text}"
    );
    assert!(text.contains("Namespace Bad_Name"), "{text}");
    assert!(text.contains("1 objects wait for it"), "{text}");
    let good = api(&cluster, "v1", "ConfigMap", Some("errors"))
        .get("good")
        .await;
    assert!(good.is_ok(), "{good:?}");
    let error = cluster
        .apply(
            &[object(
                json!({ "apiVersion": "no.such/v1", "kind": "Thing", "metadata": { "name": "t" } }),
            )],
            &Options::new("errors"),
            &Progress::silent(),
        )
        .await
        .unwrap_err();
    assert!(
        error.message.contains("knows no kind Thing in no.such/v1"),
        "{error}"
    );
}

fn many(namespace_name: &str, count: usize) -> Vec<kube::api::DynamicObject> {
    let mut objects = vec![namespace(namespace_name)];
    objects.extend((0..count).map(|number| {
        config_map(
            namespace_name,
            &format!("c{number}"),
            &json!({ "number": number.to_string() }),
        )
    }));
    objects
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn a_thousand_objects() {
    let cluster = admin().await;
    let objects = many("thousand", 1_000);
    assert_eq!(
        counts(&apply(&cluster, "thousand", &objects).await),
        [1_001, 0, 0, 0]
    );
    assert_eq!(
        counts(&apply(&cluster, "thousand", &objects).await),
        [0, 0, 1_001, 0]
    );
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn an_apply_that_was_killed_anywhere_is_finished_by_the_next() {
    let cluster = admin().await;
    let objects = many("killed", 150);
    let mut created = 0;
    for step in 1..=6 {
        let options = Options::new("killed");
        let progress = Progress::silent();
        let run = cluster.apply(&objects, &options, &progress);
        // Dropped in the middle of its requests.
        let ended = tokio::time::timeout(Duration::from_millis(15 * step), run).await;
        created += usize::from(ended.is_err());
    }
    assert!(created > 0, "no run was cut off");
    let applied = apply(&cluster, "killed", &objects).await;
    let [created, configured, unchanged, _] = counts(&applied);
    assert_eq!((created + unchanged, configured), (151, 0));
    assert_eq!(
        counts(&apply(&cluster, "killed", &objects).await),
        [0, 0, 151, 0]
    );
    let inventory = cluster.inventory("killed", &[]).await.unwrap();
    assert_eq!(inventory.objects.len(), 151);
    assert!(inventory.objects.iter().all(|owned| owned.created));
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn a_namespace_that_is_being_deleted_is_waited_for_and_named_if_it_stays() {
    let cluster = admin().await;
    let mut held = config_map("leaving", "held", &json!({}));
    held.metadata.finalizers = Some(vec!["example.com/hold".into()]);
    let objects = [namespace("leaving"), held];
    apply(&cluster, "leaving", &objects).await;
    let namespaces = api(&cluster, "v1", "Namespace", None);
    namespaces
        .delete("leaving", &Default::default())
        .await
        .unwrap();
    let options = Options {
        deadline: Duration::from_millis(600),
        ..Options::new("leaving")
    };
    let error = cluster
        .apply(&objects, &options, &Progress::silent())
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::GateTimeout);
    let text = error.to_string();
    assert!(
        text.contains("Namespace leaving is still being deleted"),
        "{text}"
    );
    assert!(
        text.contains("kubectl --context admin get namespaces leaving"),
        "{text}"
    );
    // An object for a namespace that leaves, without that namespace in the set.
    let other = config_map("leaving", "new", &json!({}));
    let error = cluster
        .apply(&[other], &options, &Progress::silent())
        .await
        .unwrap_err();
    assert!(
        error
            .message
            .contains("the namespace leaving is being deleted"),
        "{error}"
    );
    if !has_controllers() {
        return;
    }
    let options = Options::new("leaving");
    let progress = Progress::silent();
    let (applied, ()) = tokio::join!(cluster.apply(&objects, &options, &progress), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let release = json!({ "metadata": { "finalizers": null } });
        api(&cluster, "v1", "ConfigMap", Some("leaving"))
            .patch("held", &Default::default(), &Patch::Merge(release))
            .await
            .unwrap();
    });
    let applied = applied.unwrap();
    assert_eq!(counts(&applied), [2, 0, 0, 0]);
    let name: &ObjectRef = &applied.objects[0].0;
    assert!(name.is_namespace());
}
