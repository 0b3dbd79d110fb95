//! A dead letter queue of Debezium's JDBC sink on a cluster: seen, mended, sent back, removed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use xtask::clients::kafka::{KafkaClient, OffsetAt, Record, TopicSpec};

use crate::cluster::Kind;
use crate::commands::bare;

const TOPIC: &str = "orders";
const QUEUE: &str = "dlq.orders";
const SINK: &str = "orders-sink";

/// A sink of one topic with a dead letter queue, as its operator gets it: one that Connect alone knows
/// would be removed. It logs in as the owner of the tables: the connectors' own user may write nothing.
/// `more` is its own configuration.
pub(crate) fn sink(kind: &Kind, name: &str, topic: &str, queue: &str, more: &Value) -> Value {
    let mut sink = json!({
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaConnector",
        "metadata": {
            "name": name,
            "namespace": "kafka",
            "labels": { "strimzi.io/cluster": "my-connect-cluster" },
        },
        "spec": {
            "class": "io.debezium.connector.jdbc.JdbcSinkConnector",
            "tasksMax": 1,
            "config": {
                "topics": topic,
                "connection.url": "jdbc:postgresql://postgres-postgresql.database.svc:5432/postgres",
                "connection.username": "postgres",
                "connection.password": kind.password("postgres-credentials"),
                "value.converter": "org.apache.kafka.connect.json.JsonConverter",
                "value.converter.schemas.enable": true,
                "errors.tolerance": "all",
                "errors.deadletterqueue.topic.name": queue,
                "errors.deadletterqueue.topic.replication.factor": 1,
                "errors.deadletterqueue.context.headers.enable": true,
            },
        },
    });
    let config = sink["spec"]["config"].as_object_mut().expect("an object");
    config.extend(more.as_object().expect("an object").clone());
    sink
}

/// What has a sink copy its topic into the schema `copies`.
fn copies() -> Value {
    json!({
        "insert.mode": "upsert",
        "primary.key.mode": "record_key",
        "delete.enabled": true,
        "schema.evolution": "basic",
        "collection.name.format": "copies.${topic}",
        "key.converter": "org.apache.kafka.connect.json.JsonConverter",
        "key.converter.schemas.enable": true,
    })
}

fn with_schema(name: &str, fields: &Value, payload: &Value) -> Value {
    let schema = json!({ "type": "struct", "name": name, "optional": false, "fields": fields });
    json!({ "schema": schema, "payload": payload })
}

fn key(id: i64) -> Bytes {
    let fields = json!([{ "field": "id", "type": "int64", "optional": false }]);
    with_schema("key", &fields, &json!({ "id": id }))
        .to_string()
        .into()
}

fn value(id: i64, name: &str) -> Value {
    let fields = json!([
        { "field": "id", "type": "int64", "optional": false },
        { "field": "name", "type": "string", "optional": true },
    ]);
    with_schema("value", &fields, &json!({ "id": id, "name": name }))
}

fn good(id: i64, name: &str) -> Record {
    Record::new(Some(key(id)), Some(value(id, name).to_string().into()))
}

fn bad(id: i64) -> Record {
    Record::new(Some(key(id)), Some(Bytes::from_static(b"\xff\xfe{")))
}

async fn rows(kind: &Kind) -> Vec<String> {
    let session = kind.postgres().await;
    let query = "SELECT id || ' ' || name FROM copies.orders ORDER BY id";
    let rows = session.query(query).await.unwrap_or_default();
    let firsts = rows.into_iter().filter_map(|row| row.into_iter().next());
    firsts.flatten().collect()
}

async fn end(kafka: &KafkaClient, topic: &str, at: OffsetAt) -> i64 {
    let ends = kafka.offsets(topic, at).await.unwrap_or_default();
    ends.get(&0).copied().unwrap_or(0)
}

async fn eventually<F: Future<Output = bool>>(what: &str, question: impl Fn() -> F) {
    let begin = Instant::now();
    while !question().await {
        assert!(
            begin.elapsed() < Duration::from_secs(120),
            "not in time: {what}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Gives the only record of a mend file its right value.
fn mend(path: &std::path::Path, id: i64, name: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut line: Value = serde_json::from_str(text.trim()).unwrap();
    line["value"] = json!({ "json": value(id, name) });
    std::fs::write(path, line.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KIND_NODE_IMAGE"]
async fn what_a_sink_could_not_take_is_seen_mended_and_sent_back() {
    let mut kind = Kind::new("dlq");
    kind.extra.push("connect.plugins=[jdbc]".into());
    kind.ok(&["up", "--yes"]);
    story(&kind).await;
    kind.ok(&["down", "--yes"]);
}

/// What the rules say of the queue; none where it is not told. Other findings are those of a machine
/// that does too much at once.
fn told(kind: &Kind) -> Option<Value> {
    let told = kind.run(&["diagnose", "--output", "json"]);
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let mut all = told["findings"].as_array().unwrap().iter();
    all.find(|it| it["code"] == "DEAD_LETTERS").cloned()
}

pub async fn story(kind: &Kind) {
    let kafka = kind.kafka().await;
    let topic = TopicSpec {
        name: TOPIC.into(),
        partitions: 1,
        replication_factor: 1,
        configs: BTreeMap::new(),
    };
    kafka.create_topics(&[topic]).await.unwrap();
    let session = kind.postgres().await;
    session.execute("CREATE SCHEMA copies").await.unwrap();
    kind.apply(&sink(kind, SINK, TOPIC, QUEUE, &copies()));
    let records = [good(1, "a"), bad(2), bad(3), good(9, "last")];
    kafka.produce(TOPIC, 0, &records).await.unwrap();
    let (client, at) = (&kafka, kind);
    eventually("two records in the queue", || async {
        end(client, QUEUE, OffsetAt::Latest).await == 2
    })
    .await;
    eventually("two rows", || async { rows(at).await.len() == 2 }).await;

    // The queue is told by the rules, too.
    eventually("its finding", || async { told(at).is_some() }).await;
    let next = &told(kind).unwrap()["next"];
    assert!(
        bare(next.as_str().unwrap()).contains("dlq redrive dlq.orders"),
        "{next}"
    );

    let list = kind.json(&["dlq", "list"]);
    let queues = list["queues"].as_array().unwrap();
    let row = queues.iter().find(|row| row["topic"] == QUEUE).unwrap();
    assert_eq!(row["connectors"], json!([SINK]));
    assert_eq!(row["summary"]["records"], 2, "{row:#}");
    let shown = kind.json(&["dlq", "show", SINK]);
    let first = &shown["records"][0];
    assert_eq!(first["failure"]["origin"], "orders/0@1", "{first:#}");
    assert_eq!(first["failure"]["stage"], "VALUE_CONVERTER");
    assert_eq!(first["key"]["payload"]["id"], 2);
    let (stack, _) = kind.ok(&["dlq", "show", QUEUE, "--stack"]);
    assert!(stack.contains("at org.apache.kafka.connect"), "{stack}");

    let plan = kind.json(&["dlq", "redrive", QUEUE, "--dry-run"]);
    assert_eq!(plan["send"].as_array().unwrap().len(), 2, "{plan:#}");
    assert_eq!(end(&kafka, TOPIC, OffsetAt::Latest).await, 4);
    // As it is, it comes back; mended, it arrives, and is seen at the target.
    let (code, said) = kind.fails(&["dlq", "redrive", QUEUE, "--filter", "offset=2..2", "--yes"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("came back"), "{said}");
    let path = kind.state.join("mend.jsonl");
    let file = path.display().to_string();
    let args = [
        "dlq",
        "redrive",
        QUEUE,
        "--filter",
        "offset=1..1",
        "--edit-file",
        &file,
        "--yes",
    ];
    kind.ok(&args);
    mend(&path, 2, "mended");
    let summary = kind.json(&args);
    assert_eq!(
        (&summary["sent"], &summary["delivered"]),
        (&json!(1), &json!(1)),
        "{summary:#}"
    );
    assert_eq!(summary["target"][SINK]["found"], 1, "{summary:#}");
    assert_eq!(rows(kind).await, ["1 a", "2 mended", "9 last"]);
    let (again, _) = kind.ok(&args);
    assert!(again.contains("nothing to send"), "{again}");

    let (would, _) = kind.ok(&["dlq", "purge", QUEUE, "--dry-run"]);
    assert!(would.contains("would delete 3 records"), "{would}");
    assert_eq!(end(&kafka, QUEUE, OffsetAt::Earliest).await, 0);
    kind.ok(&["dlq", "purge", QUEUE, "--yes"]);
    assert_eq!(end(&kafka, QUEUE, OffsetAt::Earliest).await, 3);
    eventually("its end", || async { told(at).is_none() }).await;
}
