//! The MongoDB branch, driven through Debezium's real connector. `CDC_TEST_MONGODB=host:port` names
//! a replica set member without users: a real one, or a stand-in that speaks its protocol.

use std::time::{Duration, Instant};

use bytes::Bytes;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, doc};
use xtask::clients::kafka::Record;
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
    let member = Mongodb::new(&endpoint(&address));
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
    documents_are_compared(&sandbox, &member).await;
    values_of_documents(&sandbox).await;
}

/// Documents and their rows are the same, whatever their fields have, until a row is lost or changed.
async fn documents_are_compared(sandbox: &Sandbox, member: &Mongodb) {
    // The member is not the test's own, and may have had them before.
    let ids = serde_json::json!({ "_id": { "$in": ["slash", "bare", 7] } });
    let clear = serde_json::json!({ "delete": "events", "deletes": [{ "q": ids, "limit": 0 }] });
    member.command("commerce", &clear).await.expect("deleted");
    let at = DateTime::from_millis(-1);
    let documents = vec![
        doc! { "_id": "slash", "user_id": 1_i64, "event_type": "a/b \"c\" \u{2028}ä🦀", "timestamp": at },
        doc! { "_id": ObjectId::new(), "user_id": 5.0, "event_type": 1.5, "timestamp": at,
        "metadata": { "n": [1, 2_i64, 1e21, -0.0], "at": at, "s": "a/\u{1}", "b": true, "none": Bson::Null } },
        doc! { "_id": 7_i64, "user_id": "12", "event_type": true, "timestamp": "1969-12-31T23:59:58.25+01:00", "metadata": "x" },
        // Fields that are not there have their columns' defaults.
        doc! { "_id": "bare" },
    ];
    let inserted = member.insert("commerce.events", documents).await;
    inserted.expect("inserted");
    let report = sandbox.json(&["reconcile", "events", "--rows", "5"]);
    assert_eq!(report["status"], "PASS", "{report:#}");
    let table = &report["tables"][0];
    assert_eq!(table["not_compared"], serde_json::json!([]), "{table:#}");
    let client = sandbox.clickhouse();
    for change in [
        "DELETE FROM events_silver WHERE _id = 'bare'",
        "INSERT INTO events_silver SELECT * REPLACE(concat(event_type, ' ') AS event_type, _offset + 1000000 AS _offset, \
         _position + 1 AS _position) FROM events_silver WHERE _id = '7'",
    ] {
        client.text(change).await.expect("changed");
    }
    let report = sandbox.json(&["reconcile", "events", "--rows", "5"]);
    let found = report["tables"][0]["differences"]
        .as_array()
        .expect("differences");
    let found: Vec<String> = found
        .iter()
        .map(|it| format!("{} {}", it["key"], it["kind"]))
        .collect();
    assert_eq!(
        found,
        ["[\"7\"] \"changed\"", "[\"bare\"] \"missing\""],
        "{report:#}"
    );
    for change in ["DELETE FROM events_silver WHERE _id = '7'"] {
        client.text(change).await.expect("changed");
    }
}

/// Numbers and times in each form that extended JSON has for them, as the connector writes a document: what has an equal
/// arrives, the rest is held back. The last is an update of a document that is gone, which is nothing.
async fn values_of_documents(sandbox: &Sandbox) {
    let cases = [
        ("user_id", "5", "5"),
        ("user_id", "5.0", "5"),
        ("user_id", "5.5", ""),
        (
            "user_id",
            r#"{"$numberLong":"9007199254740993"}"#,
            "9007199254740993",
        ),
        ("user_id", r#"{"$numberDecimal":"12"}"#, "12"),
        ("user_id", r#"{"$numberDecimal":"12.34"}"#, ""),
        ("user_id", r#"{"$numberDouble":"NaN"}"#, ""),
        ("user_id", "null", ""),
        ("user_id", "\"abc\"", ""),
        ("timestamp", r#"{"$date":-1}"#, "1969-12-31 23:59:59.999"),
        (
            "timestamp",
            r#"{"$date":{"$numberLong":"1700000000123"}}"#,
            "2023-11-14 22:13:20.123",
        ),
        (
            "timestamp",
            r#"{"$timestamp":{"t":1700000000,"i":1}}"#,
            "2023-11-14 22:13:20.000",
        ),
        (
            "timestamp",
            "\"1969-12-31T23:59:58.25+01:00\"",
            "1969-12-31 22:59:58.250",
        ),
        ("timestamp", "\"yesterday\"", ""),
        ("timestamp", "17", ""),
        (
            "event_type",
            r#"{"$oid":"65a000000000000000000001"}"#,
            "65a000000000000000000001",
        ),
        (
            "event_type",
            r#"{"deep":[1,{"x":null}]}"#,
            r#"{"deep":[1,{"x":null}]}"#,
        ),
    ];
    let message = |op: &str, after: &str| {
        let value =
            serde_json::json!({ "op": op, "after": after, "source": { "ts_ms": 1, "ord": 1 } });
        Record::new(
            Some(Bytes::from_static(b"k")),
            Some(Bytes::from(value.to_string())),
        )
    };
    let mut records: Vec<Record> = cases
        .iter()
        .enumerate()
        .map(|(at, (field, value, _))| {
            message(
                "c",
                &format!(r#"{{"_id":"case-{at:02}","{field}":{value}}}"#),
            )
        })
        .collect();
    let gone = r#"{"op":"u","after":null,"source":{"ts_ms":1,"ord":1}}"#;
    records.push(Record::new(
        Some(Bytes::from_static(b"k")),
        Some(Bytes::from(gone)),
    ));
    let kafka = sandbox.kafka().await;
    kafka
        .produce("mongo.commerce.events", 0, &records)
        .await
        .unwrap();
    let wanted: Vec<String> = cases
        .iter()
        .enumerate()
        .filter(|(_, (_, _, shown))| !shown.is_empty())
        .map(|(at, (_, _, shown))| format!("case-{at:02} {shown}"))
        .collect();
    let held_back = cases.len() - wanted.len();
    let begin = Instant::now();
    loop {
        let ask = |sql: &'static str| async move { sandbox.clickhouse().text(sql).await.unwrap() };
        let rows = ask(
            "SELECT concat(_id, ' ', multiIf(event_type != '', event_type, user_id != 0, toString(user_id), toString(timestamp))) \
             FROM events_silver FINAL WHERE startsWith(_id, 'case-') ORDER BY _id FORMAT TSVRaw",
        )
        .await;
        let errors = ask(
            "SELECT count() FROM events_errors FINAL WHERE match(reason, '^column [a-z_]+: ') FORMAT TSV",
        )
        .await;
        let others = ask(
            "SELECT reason FROM events_errors FINAL WHERE NOT match(reason, '^column [a-z_]+: ') FORMAT TSV",
        )
        .await;
        if rows.lines().eq(&wanted) && errors.trim() == held_back.to_string() {
            assert_eq!(others, "");
            return;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "{rows}\n{errors}\n{others}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
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
