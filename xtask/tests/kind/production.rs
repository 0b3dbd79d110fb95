//! A broker that speaks TLS and asks who connects, as a production profile has it.

use crate::cluster::Kind;
use crate::life::assert_proven;

#[test]
#[ignore = "needs KIND_NODE_IMAGE"]
fn every_client_logs_in_over_tls() {
    let mut kind = Kind::new("login");
    kind.extra.push("kafka.security=scram".into());
    kind.ok(&["up", "--yes"]);
    assert_proven(&kind);
    // Every client but the operators has a user of its own, and the broker lets in nobody else.
    let template = "go-template={{range .items}}{{.metadata.name}} {{(index .status.conditions 0).type}}\n{{end}}";
    let users = kind
        .kubectl(&["get", "kafkausers", "-n", "kafka", "-o", template])
        .unwrap();
    assert_eq!(users, "cdc-xtask Ready\nclickhouse Ready\nconnect Ready\n");
    let broker = kind
        .kubectl(&[
            "get",
            "configmap",
            "-n",
            "kafka",
            "my-cluster-my-pool-0",
            "-o",
            "yaml",
        ])
        .unwrap();
    assert!(broker.contains("TLS-9093:SASL_SSL"), "{broker}");
    // Two runs without a change between them.
    kind.ok(&["diff"]);
    // A password that its operator makes anew is read anew.
    kind.kubectl(&["delete", "secret", "-n", "kafka", "cdc-xtask"])
        .unwrap();
    kind.kubectl(&[
        "patch",
        "kafkauser",
        "-n",
        "kafka",
        "cdc-xtask",
        "--type=merge",
        "--patch",
        r#"{"spec":{"quotas":{"requestPercentage":90}}}"#,
    ])
    .unwrap();
    kind.ok(&["up", "--yes"]);
    kind.ok(&["status"]);
    kind.ok(&["down", "--yes"]);
}
