//! A broker that goes away for longer than a worker's default patience, and comes back.

use std::time::{Duration, Instant};

use crate::cluster::Kind;
use crate::life::{WORKER, assert_proven, told};

const BROKER: &str = "my-cluster-my-pool-0";

/// Connect's `/health` has no answer until some seconds after a broker is back. A worker that the kubelet kills
/// for that comes back later than one that waits.
#[tokio::test]
#[ignore = "needs KIND_NODE_IMAGE"]
async fn workers_outlast_a_broker_that_is_away() {
    let kind = Kind::new("broker");
    kind.ok(&["up", "--yes"]);
    let worker = || {
        let restarts = ".status.containerStatuses[0].restartCount";
        [".metadata.uid", restarts].map(|path| told(&kind, WORKER, path))
    };
    let before = worker();
    for _ in 0..3 {
        delete(&kind);
        proven_after_return(&kind, "a plain deletion");
    }
    let node = kind.node();
    kind.kubectl(&["cordon", &node]).unwrap();
    delete(&kind);
    // The default is three looks ten seconds apart, each with a timeout of five.
    tokio::time::sleep(Duration::from_secs(50)).await;
    kind.kubectl(&["uncordon", &node]).unwrap();
    proven_after_return(&kind, "a deletion and 50 s without a node");
    // The kill came some seconds after the broker's return.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(before, worker());
    assert_proven(&kind);
    kind.ok(&["down", "--yes"]);
}

fn delete(kind: &Kind) {
    let delete = ["delete", "pod", "-n", "kafka", BROKER];
    kind.kubectl(&delete).unwrap();
}

/// Waits until the broker is ready and then until `verify` passes, and prints how long that took.
fn proven_after_return(kind: &Kind, after: &str) {
    let ready = ["wait", "-n", "kafka", "--for=condition=Ready"];
    let ready = [&ready[..], &["pod", BROKER, "--timeout=300s"]].concat();
    let begin = Instant::now();
    while kind.kubectl(&ready).is_err() {
        let waited = begin.elapsed();
        assert!(waited < Duration::from_secs(300), "no broker");
        std::thread::sleep(Duration::from_millis(200));
    }
    let back = Instant::now();
    while !kind.run(&["verify"]).status.success() {
        let waited = back.elapsed();
        assert!(waited < Duration::from_secs(300), "no proof");
    }
    eprintln!(
        "after {after}: verify passes {:.1} s after the broker is ready",
        back.elapsed().as_secs_f64()
    );
}
