//! A topic of orders, and a sink that copies it into the schema `copies`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use indexmap::IndexMap;
use serde_json::{Value, json};
use xtask::clients::connect::Connect;
use xtask::clients::kafka::{FetchOptions, Header, KafkaClient, OffsetAt, Record, TopicSpec};
use xtask::operate::dlq::headers::repeats;
use xtask::platform::Endpoint;

use crate::sandbox::Sandbox;

pub(super) const TOPIC: &str = "orders";
pub(super) const QUEUE: &str = "dlq.orders";
pub(super) const SINK: &str = "orders-sink";
/// No JSON, and no text.
const POISON: &[u8] = b"\xff\xfe{";

pub(super) fn connect(sandbox: &Sandbox) -> Connect {
    Connect::new(Endpoint::loopback(sandbox.ports["connect.port"]))
}

/// An environment with a topic, and a sink that copies it into the schema `copies`.
pub(super) async fn with_sink(name: &str) -> (Sandbox, KafkaClient) {
    let mut sandbox = Sandbox::new(name);
    sandbox.extra.push("connect.plugins=[jdbc]".into());
    sandbox.ok(&["up"]);
    let kafka = sandbox.kafka().await;
    let topic = TopicSpec {
        name: TOPIC.into(),
        partitions: 1,
        replication_factor: 1,
        configs: BTreeMap::new(),
    };
    kafka.create_topics(&[topic]).await.unwrap();
    let session = sandbox.postgres().await;
    session.execute("CREATE SCHEMA copies").await.unwrap();
    register(&sandbox, SINK, &[]).await;
    (sandbox, kafka)
}

pub(super) async fn register(sandbox: &Sandbox, name: &str, more: &[(&str, &str)]) {
    let port = sandbox.ports["postgres.port"];
    let secrets = sandbox.dir().join("secrets/postgres-auth");
    let url = format!("jdbc:postgresql://localhost:{port}/postgres");
    let password = format!("${{strimzidir:{}:password}}", secrets.display());
    let config = [
        (
            "connector.class",
            "io.debezium.connector.jdbc.JdbcSinkConnector",
        ),
        ("topics", TOPIC),
        ("connection.url", &url),
        ("connection.username", "postgres"),
        ("connection.password", &password),
        ("insert.mode", "upsert"),
        ("primary.key.mode", "record_key"),
        ("delete.enabled", "true"),
        ("schema.evolution", "basic"),
        ("collection.name.format", "copies.${topic}"),
        (
            "key.converter",
            "org.apache.kafka.connect.json.JsonConverter",
        ),
        ("key.converter.schemas.enable", "true"),
        (
            "value.converter",
            "org.apache.kafka.connect.json.JsonConverter",
        ),
        ("value.converter.schemas.enable", "true"),
        ("errors.tolerance", "all"),
        ("errors.deadletterqueue.topic.name", QUEUE),
        ("errors.deadletterqueue.topic.replication.factor", "1"),
        ("errors.deadletterqueue.context.headers.enable", "true"),
    ];
    let config = config
        .iter()
        .chain(more)
        .filter(|(_, value)| !value.is_empty());
    let mut config: IndexMap<String, String> = config
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    for (key, value) in more {
        if value.is_empty() {
            config.shift_remove(*key);
        }
    }
    let connect = connect(sandbox);
    connect.put_config(name, &config).await.unwrap();
    let begin = Instant::now();
    loop {
        let status = connect.status(name).await.unwrap();
        if status.is_some_and(|status| status.tasks.iter().any(|task| task.state == "RUNNING")) {
            return;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "{name} does not run"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(super) fn with_schema(name: &str, fields: Value, payload: Value) -> Bytes {
    json!({
        "schema": { "type": "struct", "name": name, "optional": false, "fields": fields },
        "payload": payload,
    })
    .to_string()
    .into()
}

pub(super) fn key(id: i64) -> Bytes {
    let fields = json!([{ "field": "id", "type": "int64", "optional": false }]);
    with_schema("key", fields, json!({ "id": id }))
}

pub(super) fn value(id: i64, name: &str) -> Bytes {
    let fields = json!([
        { "field": "id", "type": "int64", "optional": false },
        { "field": "name", "type": "string", "optional": true },
    ]);
    with_schema("value", fields, json!({ "id": id, "name": name }))
}

pub(super) fn good(id: i64, name: &str) -> Record {
    Record::new(Some(key(id)), Some(value(id, name)))
}

pub(super) fn bad(id: i64) -> Record {
    Record {
        headers: vec![Header {
            key: "shop".into(),
            value: Some("7".into()),
        }],
        ..Record::new(Some(key(id)), Some(POISON.into()))
    }
}

pub(super) async fn rows(sandbox: &Sandbox) -> Vec<String> {
    let session = sandbox.postgres().await;
    let rows = session
        .query("SELECT id || ' ' || name FROM copies.orders ORDER BY id")
        .await
        .unwrap_or_default();
    rows.into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .collect()
}

pub(super) async fn eventually<F: Future<Output = bool>>(what: &str, question: impl Fn() -> F) {
    let begin = Instant::now();
    while !question().await {
        assert!(
            begin.elapsed() < Duration::from_secs(90),
            "not in time: {what}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(super) async fn end(kafka: &KafkaClient, topic: &str) -> i64 {
    let ends = kafka.offsets(topic, OffsetAt::Latest).await;
    ends.ok()
        .and_then(|ends| ends.get(&0).copied())
        .unwrap_or(0)
}

/// The records of the topic that are repeated in it, by how often.
pub(super) async fn repeated(kafka: &KafkaClient) -> BTreeMap<String, usize> {
    let end = end(kafka, TOPIC).await;
    let mut next = 0;
    let mut found = BTreeMap::new();
    while next < end {
        let batch = kafka
            .fetch(TOPIC, 0, next, &FetchOptions::default())
            .await
            .unwrap();
        for record in &batch.records {
            if let Some(origin) = repeats(&record.headers) {
                *found.entry(origin.to_string()).or_default() += 1;
            }
        }
        next = batch.next_offset;
    }
    found
}

pub(super) fn queue_of(list: &Value) -> &Value {
    let queues = list["queues"].as_array().unwrap();
    queues.iter().find(|row| row["topic"] == QUEUE).unwrap()
}
