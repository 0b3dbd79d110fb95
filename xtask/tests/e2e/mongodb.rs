//! The MongoDB branch, driven through Debezium's real connector. `CDC_TEST_MONGODB=host:port` names
//! a replica set member without users: a real one, or a stand-in that speaks its protocol.

use std::time::{Duration, Instant};

use mongodb::bson::doc;
use xtask::clients::mongodb::Mongodb;

use crate::diagnosis::documents::endpoint;
use crate::sandbox::Sandbox;

#[tokio::test]
#[ignore = "needs CDC_TEST_MONGODB=host:port"]
async fn documents_reach_silver_through_an_external_member() {
    let address = std::env::var("CDC_TEST_MONGODB").expect("CDC_TEST_MONGODB");
    let mut sandbox = Sandbox::new("mongodb");
    sandbox.extra.push(format!("mongodb.external={address}"));
    sandbox.ok(&["up", "--require", "mongodb"]);
    let proofs = sandbox.json(&["verify"]);
    let changes: Vec<&str> = proofs["proofs"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|proof| proof["flow"] == "events")
        .map(|proof| proof["change"].as_str().unwrap())
        .collect();
    assert_eq!(changes, ["insert", "update", "delete"]);
    let begin = Instant::now();
    loop {
        let rows = sandbox
            .clickhouse()
            .text(
                "SELECT user_id, event_type, JSONExtractString(metadata, 'device'), toYear(timestamp) >= 2024 \
                 FROM events_silver FINAL WHERE is_deleted = 0 AND event_type IN ('login', 'add_to_cart') \
                 ORDER BY user_id, event_type FORMAT TSV",
            )
            .await
            .unwrap();
        if rows
            == "1\tlogin\tmobile\t1\n2\tadd_to_cart\t\t1\n2\tlogin\tdesktop\t1\n3\tlogin\ttablet\t1\n"
        {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{rows}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    // A delete that no event will ever tell of is found by the document's id.
    let member = Mongodb::new(&endpoint(&address)).expect("a client");
    let lost = doc! { "_id": "lost", "user_id": 9, "event_type": "lost" };
    member
        .insert("commerce.events", vec![lost])
        .await
        .expect("inserted");
    sandbox.ok(&["verify"]);
    sandbox.ok(&["connector", "stop", "mongo"]);
    member
        .delete("commerce.events", "lost")
        .await
        .expect("deleted");
    let summary = sandbox.json(&["reset-connector", "mongo", "--yes"]);
    assert_eq!(
        summary["flows"][0]["deleted"],
        serde_json::json!(["lost"]),
        "{summary}"
    );
    sandbox.ok(&["verify"]);
}

#[test]
fn without_mongod_the_branch_is_left_out_and_said_so() {
    if which::which("mongod").is_ok() {
        // The other test covers a machine that has one.
        return;
    }
    let sandbox = Sandbox::new("leftout");
    let text = sandbox.fails(&["up", "--require", "mongodb"], 4);
    assert!(text.contains("mongod"), "{text}");
    assert_eq!(sandbox.processes(), Vec::<String>::new());
    let plan = sandbox.ok(&["plan"]);
    assert!(!plan.contains("mongo-connector"), "{plan}");
}
