//! Two PostgreSQL instances of one profile on a cluster, and the sink between them.

use crate::cluster::Kind;
use crate::ports;

fn warehouse(name: &str) -> Kind {
    let mut kind = Kind::new(name);
    kind.profile = Some("warehouse");
    kind.ports
        .retain(|key, _| ["kafka.port", "connect.port"].contains(key));
    kind.extra
        .retain(|set| set.starts_with("kafka") || set.starts_with("connect"));
    for (name, port) in [
        ("components.source", "components.source.port"),
        ("components.warehouse", "components.warehouse.port"),
    ] {
        kind.ports.insert(port, ports::free(22_000));
        kind.extra.push(format!("{name}.resources.cpu=50m"));
    }
    kind
}

/// Where brokers ask who connects, the workers' user may read in the sink's group and make its queue.
#[test]
#[ignore = "needs KIND_NODE_IMAGE"]
fn a_sink_has_its_rights() {
    let mut kind = warehouse("warehouse-secured");
    kind.extra.push("kafka.security=scram".into());
    kind.ok(&["up"]);
    kind.ok(&["verify"]);
    let queues = kind.json(&["dlq", "list"]);
    assert!(
        queues.to_string().contains("dlq-postgresql-sink"),
        "{queues}"
    );
    let again = kind.json(&["up"]);
    assert_eq!(again["counts"]["changed"], 0, "{again}");
    kind.ok(&["down", "--yes"]);
}

#[test]
#[ignore = "needs KIND_NODE_IMAGE"]
fn rows_go_from_one_postgresql_to_another() {
    let kind = warehouse("warehouse");
    kind.ok(&["up"]);
    let again = kind.json(&["up"]);
    assert_eq!(again["counts"]["changed"], 0, "{again}");
    let verify = kind.json(&["verify"]);
    let proofs = verify["proofs"].as_array().unwrap().iter();
    let changes: Vec<&str> = proofs
        .map(|proof| proof["change"].as_str().unwrap())
        .collect();
    assert_eq!(changes, ["insert", "update", "delete"], "{verify}");
    let status = kind.json(&["status"]);
    assert_eq!(status["current"], true, "{status}");
    assert_eq!(status["sinks"][0]["status"]["state"], "Current", "{status}");
    kind.ok(&["reset-connector", "warehouse-source", "--yes"]);
    kind.ok(&["restart", "warehouse"]);
    kind.ok(&["up"]);
    kind.ok(&["verify"]);
    let diagnosis = kind.json(&["diagnose"]);
    assert_eq!(diagnosis["findings"], serde_json::json!([]), "{diagnosis}");
    kind.ok(&["down", "--yes"]);
}
