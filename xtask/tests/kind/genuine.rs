//! The stand-in operator's pods beside those that the genuine one made (`captures`, beside the bundles that
//! `CDC_TEST_BUNDLES` names): what is started, and what the kubelet asks.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cluster::Kind;

/// By set and container: what is started, and what its probes ask.
fn pods(list: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let items = list["items"].as_array().expect("a list");
    for set in items.iter().filter(|it| it["kind"] == "StrimziPodSet") {
        let pod = &set["spec"]["pods"][0]["spec"];
        for key in ["initContainers", "containers"] {
            for container in pod[key].as_array().into_iter().flatten() {
                let asks = ["livenessProbe", "readinessProbe"].map(|probe| {
                    let probe = &container[probe];
                    json!([probe["exec"]["command"], probe["httpGet"]["path"]])
                });
                let name = format!("{} {}", set["metadata"]["name"], container["name"]);
                found.insert(name, json!([container["args"], asks]));
            }
        }
    }
    found
}

pub fn assert_like_the_genuine(kind: &Kind) {
    let Some(data) = std::env::var_os("CDC_TEST_BUNDLES") else {
        eprintln!("not compared with the genuine operator's pods: CDC_TEST_BUNDLES is not set");
        return;
    };
    let path = std::path::Path::new(&data).join("captures/strimzi-1.2.0/01-ready.yaml");
    let text = std::fs::read_to_string(path).expect("the recorded objects");
    let genuine: Value = serde_yaml::from_str(&text).expect("YAML");
    let made = ["get", "strimzipodsets", "-n", "kafka", "-o", "json"];
    let made: Value = serde_json::from_str(&kind.kubectl(&made).unwrap()).expect("JSON");
    assert_eq!(pods(&made), pods(&genuine));
}
