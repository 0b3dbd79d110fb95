//! Strimzi 0.50 writes its statuses through v1beta2, as its own model reads the object: what has its
//! default there is left out, and leaves our set of fields with it.

use crate::support::objects::Cluster as For;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::server::{admin, api, apply, counts, namespace, object};
use crate::support::crds::bundles;
use crate::support::objects::objects_with;

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS, and the operators' bundles: CDC_TEST_CRDS, or ../shared/data"]
async fn a_status_that_is_written_through_an_older_version_is_no_change_of_ours() {
    let cluster = admin().await;
    let file = bundles().join("strimzi-0.50.1/install/cluster-operator/040-Crd-kafka.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let definition: Value = serde_yaml::from_str(&text).unwrap();
    let objects = objects_with("clickhouse", &[], For::Kind);
    let kafka = objects
        .iter()
        .map(|it| serde_json::to_value(&it.object).unwrap());
    let mut kafka = kafka.into_iter().find(|it| it["kind"] == "Kafka").unwrap();
    kafka["metadata"]["namespace"] = json!("lost");
    let set = [object(definition), namespace("lost"), object(kafka)];
    apply(&cluster, "lost", &set).await;

    let older = api(&cluster, "kafka.strimzi.io/v1beta2", "Kafka", Some("lost"));
    let mut seen = older.get("my-cluster").await.unwrap();
    let spec = &mut seen.data["spec"]["kafka"];
    spec["readinessProbe"]
        .as_object_mut()
        .unwrap()
        .remove("timeoutSeconds");
    spec["listeners"][0]
        .as_object_mut()
        .unwrap()
        .remove("networkPolicyPeers");
    seen.data["status"] = json!({ "clusterId": "c", "observedGeneration": 1 });
    let by = PostParams {
        field_manager: Some("strimzi-cluster-operator".into()),
        ..PostParams::default()
    };
    let written = older
        .replace_status("my-cluster", &by, &seen)
        .await
        .unwrap();
    assert_eq!(written.data["status"]["clusterId"], "c");

    let newer = api(&cluster, "kafka.strimzi.io/v1", "Kafka", Some("lost"));
    let live = newer.get("my-cluster").await.unwrap();
    assert_eq!(
        live.data["spec"]["kafka"]["readinessProbe"]["timeoutSeconds"],
        5
    );
    let fields = serde_json::to_value(&live.metadata.managed_fields).unwrap();
    let ours = fields
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["operation"] == "Apply")
        .unwrap();
    let owned = &ours["fieldsV1"]["f:spec"]["f:kafka"];
    assert!(
        owned["f:readinessProbe"]["f:periodSeconds"].is_object(),
        "{ours}"
    );
    assert!(
        owned["f:readinessProbe"]["f:timeoutSeconds"].is_null(),
        "{ours}"
    );
    assert!(owned["f:listeners"].is_null(), "{ours}");

    assert_eq!(cluster.diff(&set, "lost").await.unwrap(), []);
    let applied = apply(&cluster, "lost", &set).await;
    assert_eq!(counts(&applied), [0, 0, 3, 0]);
    let after = newer.get("my-cluster").await.unwrap();
    assert_eq!(
        after.metadata.resource_version,
        live.metadata.resource_version
    );
}
