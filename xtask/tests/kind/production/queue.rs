//! A sink of the user's own, which reads a flow's topic as what it is not: each change goes into its
//! dead letter queue. Mended, it takes what is sent back.

use std::time::{Duration, Instant};

use serde_json::json;

use super::USERS;
use crate::cluster::Kind;
use crate::dlq::sink;

const SINK: &str = "users-sink";
const QUEUE: &str = "dlq.users";

pub(super) async fn operated(kind: &Kind) {
    kind.ok(&["topic", "create", QUEUE, "--role", "dlq"]);
    let week = format!("retention.ms={}", 40_i64 * 86_400_000);
    kind.ok(&["topic", "config", QUEUE, "--alter", &week]);
    let more = json!({
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        // What it can read it drops: this is about what it cannot.
        "transforms": "drop",
        "transforms.drop.type": "org.apache.kafka.connect.transforms.Filter",
    });
    kind.apply(&sink(kind, SINK, USERS, QUEUE, &more));
    let begin = Instant::now();
    while records(kind) == 0 {
        assert!(begin.elapsed() < Duration::from_secs(120), "nothing failed");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    kind.ok(&["dlq", "show", SINK, "--max", "1"]);
    // It still reads wrongly: what is sent back comes back.
    let first = ["dlq", "redrive", QUEUE, "--filter", "dlq-offset=0..0"];
    let (code, said) = kind.fails(&[&first[..], &["--yes", "--output", "json"]].concat());
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(r#""sent":1"#), "{said}");
    assert!(said.contains(r#""came_back":[{"#), "{said}");

    mend(kind);
    let summary = kind.json(&["dlq", "redrive", SINK, "--yes"]);
    assert!(summary["sent"].as_u64() > Some(0), "{summary}");
    assert_eq!(summary["sent"], summary["delivered"], "{summary}");
    assert_eq!(summary["came_back"], json!([]), "{summary}");
    kind.ok(&["dlq", "purge", QUEUE, "--yes"]);
    assert_eq!(records(kind), 0);
    kind.ok(&["connector", "status", SINK]);
    kind.kubectl(&["delete", "kafkaconnector", "-n", "kafka", SINK])
        .unwrap();
}

fn records(kind: &Kind) -> u64 {
    let list = kind.json(&["dlq", "list"]);
    let queues = list["queues"].as_array().unwrap();
    let queue = queues.iter().find(|row| row["topic"] == QUEUE);
    queue.map_or(0, |queue| queue["summary"]["records"].as_u64().unwrap_or(0))
}

/// Changes come without a schema: told so, it reads them. It is told when its tasks have begun anew.
fn mend(kind: &Kind) {
    let patch = json!({ "spec": { "config": { "value.converter.schemas.enable": false } } });
    let patch = patch.to_string();
    let args = ["patch", "kafkaconnector", "-n", "kafka", SINK];
    kind.kubectl(&[&args[..], &["--type=merge", "--patch", &patch]].concat())
        .unwrap();
    let begin = Instant::now();
    let is_mended = || {
        let config = kind.json(&["connector", "config", SINK]);
        config
            .to_string()
            .contains(r#""value.converter.schemas.enable":"false""#)
    };
    while !is_mended() {
        assert!(begin.elapsed() < Duration::from_secs(60), "not mended");
        std::thread::sleep(Duration::from_millis(500));
    }
    kind.ok(&["connector", "restart", SINK]);
}
