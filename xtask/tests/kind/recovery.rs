//! What comes back while `up` waits for it: an operator, and everything after a node's restart.

use std::time::{Duration, Instant};

use crate::cluster::Kind;
use crate::life::{arrives, assert_proven, insert};

const OPERATOR: [&str; 3] = ["-n", "kafka", "deployment/strimzi-cluster-operator"];
const CONNECTOR: [&str; 3] = ["-n", "kafka", "kafkaconnector/postgres-connector"];

/// The uid of the operator's pod that does not leave.
fn operator(kind: &Kind) -> String {
    let path = "go-template={{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.uid}}{{end}}{{end}}";
    let labels = ["-n", "kafka", "-l", "name=strimzi-cluster-operator"];
    kind.kubectl(&[&["get", "pods"], &labels[..], &["-o", path]].concat())
        .unwrap()
}

/// What somebody changed while no operator was there comes into force before `up` says ready.
#[test]
#[ignore = "needs KIND_NODE_IMAGE"]
fn up_waits_for_what_an_operator_does_that_it_brings_back() {
    let kind = Kind::new("back");
    kind.ok(&["up", "--yes"]);
    kind.kubectl(&[&["scale", "--replicas=0"], &OPERATOR[..]].concat())
        .unwrap();
    let begin = Instant::now();
    while !operator(&kind).is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(500));
    }
    let pause = ["--type=merge", "-p", r#"{"spec":{"state":"paused"}}"#];
    kind.kubectl(&[&["patch"], &CONNECTOR[..], &pause].concat())
        .unwrap();
    let (_, said) = kind.fails(&["up", "--yes"]);
    assert!(said.contains("the connector is PAUSED"), "{said}");
    assert!(said.contains("operator/leads"), "{said}");

    let resume = ["--type=merge", "-p", r#"{"spec":{"state":"running"}}"#];
    kind.kubectl(&[&["patch"], &CONNECTOR[..], &resume].concat())
        .unwrap();
    kind.ok(&["up", "--yes"]);
    assert_proven(&kind);

    // A restart replaces the pod and leaves its Deployment as it is.
    let template = || {
        let path = "jsonpath={.spec.template.metadata.annotations}";
        kind.kubectl(&[&["get"], &OPERATOR[..], &["-o", path]].concat())
            .unwrap()
    };
    let (before, annotations) = (operator(&kind), template());
    let (_, took) = kind.ok(&["restart", "operator"]);
    assert_ne!(operator(&kind), before);
    assert_eq!(template(), annotations);
    assert!(took < Duration::from_secs(30), "{took:?}");
    kind.ok(&["down", "--yes"]);
}

/// After a node's restart containers end once or twice before their network is there. However often `up`
/// is begun meanwhile, it deletes nothing that comes back, and the last one waits until all is ready.
#[tokio::test]
#[ignore = "needs KIND_NODE_IMAGE"]
async fn up_during_the_recovery_of_a_node_is_harmless() {
    let kind = Kind::new("recovery");
    kind.ok(&["up", "--yes"]);
    let before = operator(&kind);
    kind.docker(&["restart", &kind.node()]).unwrap();
    for seconds in [6, 10, 10] {
        let mut up = kind.command(&["up", "--yes"]).spawn().unwrap();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        if let Some(status) = up.try_wait().unwrap() {
            assert!(status.success(), "{status} within {seconds} s");
        }
        up.kill().unwrap();
        up.wait().unwrap();
    }
    kind.ok(&["up", "--yes"]);
    assert_eq!(operator(&kind), before);
    insert(&kind, "after").await;
    arrives(&kind, "after", Duration::from_secs(30)).await;
    assert_proven(&kind);
    kind.ok(&["down", "--yes"]);
}
