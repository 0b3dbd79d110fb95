//! A connector that runs and is told to be nobody's: a worker that lost the broker says so late, when
//! another one has begun the connector already, and Connect believes the last word.

use bytes::Bytes;
use serde_json::json;
use xtask::clients::kafka::Record;

use crate::sandbox::Sandbox;

const CONNECTOR: &str = "postgres-connector";
const STATUS: &str = "connect-cluster-status";

#[tokio::test(flavor = "multi_thread")]
async fn up_begins_again_what_nobody_seems_to_have() {
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
    for partition in kafka.topics(Some(&[STATUS])).await.unwrap()[0]
        .partitions
        .iter()
    {
        let written = kafka.produce(STATUS, partition.index, std::slice::from_ref(&record));
        written.await.unwrap();
    }
    let begin = std::time::Instant::now();
    while state() != "UNASSIGNED" {
        assert!(begin.elapsed() < std::time::Duration::from_secs(30));
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let (code, said) = {
        let output = sandbox.run(&["connector", "status", CONNECTOR]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), said)
    };
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(&format!("restart {CONNECTOR}, unless")),
        "{said}"
    );
    sandbox.ok(&["up"]);
    assert_eq!(state(), "RUNNING");
    sandbox.ok(&["verify"]);
}
