use serde_json::json;
use xtask::plan::Progress;
use xtask::platform::kubernetes::{Action, Options};

use crate::kinds::{definition, widget};
use crate::server::{admin, api, apply, config_map, counts, namespace, object};

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn shows_what_an_apply_would_change_and_changes_nothing() {
    let cluster = admin().await;
    let secret = |password: &str| {
        object(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "s", "namespace": "diff" },
            "stringData": { "user": "me", "password": password },
        }))
    };
    let before = [
        namespace("diff"),
        config_map("diff", "same", &json!({ "a": "1" })),
        config_map("diff", "other", &json!({ "a": "1", "b": "2" })),
        secret("geheim-alt"),
    ];
    let all = cluster.diff(&before, "diff").await.unwrap();
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|found| found.action == Action::Create));
    assert!(all[2].text.contains("+  b: '2'\n"), "{}", all[2].text);
    assert!(
        api(&cluster, "v1", "Namespace", None)
            .get("diff")
            .await
            .is_err()
    );

    apply(&cluster, "diff", &before).await;
    assert_eq!(cluster.diff(&before, "diff").await.unwrap(), []);

    let after = [
        namespace("diff"),
        config_map("diff", "same", &json!({ "a": "1" })),
        config_map("diff", "other", &json!({ "a": "3" })),
        secret("geheim-neu"),
        config_map("diff", "new", &json!({ "a": "1" })),
    ];
    let found = cluster.diff(&after, "diff").await.unwrap();
    let names: Vec<(String, Action)> = found
        .iter()
        .map(|found| (found.object.to_string(), found.action))
        .collect();
    assert_eq!(
        names,
        [
            ("ConfigMap diff/other".into(), Action::Configure),
            ("Secret diff/s".into(), Action::Configure),
            ("ConfigMap diff/new".into(), Action::Create),
        ]
    );
    assert!(
        found[0].text.contains("-  a: '1'\n-  b: '2'\n+  a: '3'\n"),
        "{}",
        found[0].text
    );
    let secret_text = &found[1].text;
    assert!(
        secret_text.contains("-  password: '********'\n+  password: '******** (differs)'\n"),
        "{secret_text}"
    );
    assert!(
        secret_text.contains("   user: '********'\n"),
        "{secret_text}"
    );
    for value in ["geheim", "Z2VoZWlt"] {
        assert!(
            !found.iter().any(|found| found.text.contains(value)),
            "{secret_text}"
        );
    }

    let dry = Options {
        dry_run: true,
        ..Options::new("diff")
    };
    let applied = cluster
        .apply(&after, &dry, &Progress::silent())
        .await
        .unwrap();
    assert_eq!(counts(&applied), [1, 2, 2, 0]);
    assert_eq!(cluster.diff(&before, "diff").await.unwrap(), []);
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn kinds_that_do_not_exist_yet_and_conflicts_are_shown() {
    let cluster = admin().await;
    let set = [
        definition("diffs"),
        namespace("diff-kinds"),
        widget("diffs", "diff-kinds", "w"),
    ];
    let found = cluster.diff(&set, "diff-kinds").await.unwrap();
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|found| found.action == Action::Create));

    let objects = [
        namespace("diff-kinds"),
        config_map("diff-kinds", "c", &json!({ "a": "1" })),
    ];
    apply(&cluster, "diff-kinds", &objects).await;
    let by = kube::api::PatchParams {
        field_manager: Some("kubectl-edit".into()),
        ..Default::default()
    };
    let edit = kube::api::Patch::Merge(json!({ "data": { "a": "9" } }));
    api(&cluster, "v1", "ConfigMap", Some("diff-kinds"))
        .patch("c", &by, &edit)
        .await
        .unwrap();
    let found = cluster.diff(&objects, "diff-kinds").await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(
        found[0].text.contains("-  a: '9'\n+  a: '1'\n"),
        "{}",
        found[0].text
    );
    assert!(
        found[0].conflicts[0].contains("kubectl-edit"),
        "{:?}",
        found[0].conflicts
    );
}

/// Strimzi 0.50 takes fields out of our set by writing its status through an older version; here another
/// manager takes one over and gives it back its value.
#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn a_field_that_another_manager_holds_at_our_value_is_no_difference_and_no_change() {
    let cluster = admin().await;
    let objects = [
        namespace("diff-lost"),
        config_map("diff-lost", "c", &json!({ "a": "1", "b": "2" })),
    ];
    apply(&cluster, "diff-lost", &objects).await;
    let maps = api(&cluster, "v1", "ConfigMap", Some("diff-lost"));
    let by = kube::api::PatchParams {
        field_manager: Some("another".into()),
        ..Default::default()
    };
    for (value, differences, changed) in [("9", 1, None), ("1", 0, Some([0, 0, 2, 0]))] {
        let edit = kube::api::Patch::Merge(json!({ "data": { "a": value } }));
        let live = maps.patch("c", &by, &edit).await.unwrap();
        let found = cluster.diff(&objects, "diff-lost").await.unwrap();
        assert_eq!(found.len(), differences, "{found:?}");
        if let Some(expected) = changed {
            let applied = apply(&cluster, "diff-lost", &objects).await;
            assert_eq!(counts(&applied), expected);
            let after = maps.get("c").await.unwrap();
            assert_eq!(
                after.metadata.resource_version,
                live.metadata.resource_version
            );
        }
    }
}

/// What an apply writes, `diff` names, even if no value differs.
#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn a_value_that_is_written_in_another_way_is_named_as_such() {
    let cluster = admin().await;
    let quota = |size: &str| {
        object(json!({
            "apiVersion": "v1", "kind": "ResourceQuota",
            "metadata": { "name": "q", "namespace": "diff-same" },
            "spec": { "hard": { "cpu": size } },
        }))
    };
    apply(&cluster, "diff-same", &[namespace("diff-same"), quota("1")]).await;
    let found = cluster.diff(&[quota("1000m")], "diff-same").await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(
        found[0].text.contains("the values are the same"),
        "{found:?}"
    );
    let applied = apply(&cluster, "diff-same", &[quota("1000m")]).await;
    assert_eq!(counts(&applied), [0, 1, 0, 0]);
    assert_eq!(
        cluster.diff(&[quota("1000m")], "diff-same").await.unwrap(),
        []
    );
}
