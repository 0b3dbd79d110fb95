//! A connector that runs and is told to be nobody's: a worker that lost the broker says so late, when
//! another one has begun the connector already, and Connect believes the last word.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use xtask::clients::kafka::Record;

use crate::sandbox::Sandbox;

const CONNECTOR: &str = "postgres-connector";
const STATUS: &str = "connect-cluster-status";

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_seems_to_have_is_begun_again() {
    let sandbox = Sandbox::up("unassigned");
    let state = || {
        let status = sandbox.run(&["connector", "status", "--output", "json"]);
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        status["connectors"][0]["state"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(state(), "RUNNING");
    // As the other worker writes it.
    let key = format!("status-connector-{CONNECTOR}");
    let worker = "127.0.0.1:1";
    let told =
        json!({ "state": "UNASSIGNED", "trace": null, "worker_id": worker, "generation": 1 });
    let record = Record::new(Some(key.into()), Some(Bytes::from(told.to_string())));
    let kafka = sandbox.kafka().await;
    let topics = kafka.topics(Some(&[STATUS])).await.unwrap();
    for mends in [&["up"][..], &["restart", "postgres"]] {
        for partition in &topics[0].partitions {
            let written = kafka.produce(STATUS, partition.index, std::slice::from_ref(&record));
            written.await.unwrap();
        }
        let begin = Instant::now();
        while state() != "UNASSIGNED" {
            assert!(begin.elapsed() < Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let output = sandbox.run(&["connector", "status", CONNECTOR]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let next = format!("restart {CONNECTOR}, unless");
        assert!(said.contains(&next), "{said}");
        assert_eq!(output.status.code(), Some(1), "{said}");
        sandbox.ok(mends);
        assert_eq!(state(), "RUNNING", "{mends:?}");
    }
    sandbox.ok(&["verify"]);
}
