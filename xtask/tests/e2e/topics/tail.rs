//! What `topic tail` prints: changes, messages of several partitions, what comes while it waits.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use xtask::clients::kafka::{Header, KafkaClient, Record};

use super::USERS;
use crate::sandbox::Sandbox;

pub(super) async fn changes(sandbox: &Sandbox) {
    let session = sandbox.postgres().await;
    for sql in [
        "INSERT INTO users (user_id, full_name, email) VALUES (70, 'Eve', 'a@b')",
        "UPDATE users SET email = 'c@d' WHERE user_id = 70",
        "DELETE FROM users WHERE user_id = 70",
    ] {
        session.execute(sql).await.unwrap();
    }
    sandbox.converged().await;
    let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
    let begin = Instant::now();
    let mut seen = Vec::new();
    // The canary that `up` sent has a tombstone too.
    let is_ours = |line: &String| line == "tombstone  user_id=70";
    while !seen.last().is_some_and(is_ours) {
        assert!(begin.elapsed() < Duration::from_secs(30), "{seen:?}");
        seen = lines(&sandbox.ok(&["topic", "tail", USERS, "--cdc", "--from", "4"]));
    }
    assert_eq!(seen.len(), 4);
    assert!(
        seen[0].starts_with("insert     user_id=70 full_name=\"Eve\" email=\"a@b\""),
        "{seen:?}"
    );
    assert!(
        seen[1].starts_with("update     user_id=70 email: \"a@b\" -> \"c@d\""),
        "{seen:?}"
    );
    assert!(
        seen[2].starts_with("delete     user_id=70 full_name=\"Eve\" email=\"c@d\""),
        "{seen:?}"
    );
    assert_eq!(seen[3], "tombstone  user_id=70");
    for line in &seen[..3] {
        assert!(
            line.contains("  lsn 0/") && line.ends_with(" ago"),
            "{line}"
        );
    }
    let all = lines(&sandbox.ok(&["topic", "tail", USERS, "--cdc", "--from", "beginning"]));
    assert_eq!(all.len(), 11);
    assert_eq!(
        all.iter()
            .filter(|line| line.starts_with("snapshot "))
            .count(),
        4
    );

    let text = sandbox.ok(&[
        "topic", "tail", USERS, "--cdc", "--from", "4", "--max", "2", "--output", "json",
    ]);
    let objects: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[1]["kind"], "update");
    assert_eq!(
        objects[1]["changed"]["email"],
        json!({ "before": "a@b", "after": "c@d" })
    );
    assert_eq!(objects[1]["table"], "public.users");
    assert!(objects[1]["age_ms"].as_u64().unwrap() < 120_000);

    let beat = sandbox.ok(&[
        "topic",
        "tail",
        "__debezium-heartbeat.postgres",
        "--cdc",
        "--from",
        "1",
    ]);
    assert!(beat.starts_with("heartbeat "), "{beat}");
}

/// A change is printed while the command waits, and `--max` ends it.
pub(super) async fn follows(sandbox: &Sandbox) {
    let mut child = sandbox
        .command(&[
            "topic", "tail", USERS, "--cdc", "-f", "--from", "1", "--max", "2",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // What was there already: it waits now.
    assert_eq!(lines.next().unwrap().unwrap(), "tombstone  user_id=70");
    let session = sandbox.postgres().await;
    session
        .execute("INSERT INTO users (user_id, full_name, email) VALUES (71, 'Mallory', 'm@x')")
        .await
        .unwrap();
    let line = lines.next().unwrap().unwrap();
    assert!(line.starts_with("insert     user_id=71 "), "{line}");
    assert!(child.wait().unwrap().success());
    session
        .execute("DELETE FROM users WHERE user_id = 71")
        .await
        .unwrap();
}

pub(super) async fn merges(sandbox: &Sandbox, kafka: &KafkaClient) {
    // Three partitions, written in turns: the order of the timestamps is the order printed.
    // Not from long ago: retention would take them.
    let first = xtask::clock::now_ms() / 1000 * 1000 - 60_000;
    for number in 0..30_i64 {
        let record = Record {
            timestamp: i64::try_from(first).unwrap() + number * 1000,
            headers: vec![Header {
                key: "n".into(),
                value: Some(Bytes::from(number.to_string())),
            }],
            ..Record::new(
                Some(Bytes::from(format!("k{number}"))),
                (number != 29).then(|| Bytes::from(format!("v{number}"))),
            )
        };
        let partition = i32::try_from(number % 3).unwrap();
        kafka.produce("orders", partition, &[record]).await.unwrap();
    }
    let tail = |more: &[&str]| sandbox.ok(&[&["topic", "tail", "orders"], more].concat());
    let values = |numbers: std::ops::Range<i64>| -> String {
        let line = |n| {
            if n == 29 {
                "null\n".to_owned()
            } else {
                format!("v{n}\n")
            }
        };
        numbers.map(line).collect()
    };
    assert_eq!(tail(&["--from", "beginning"]), values(0..30));
    assert_eq!(tail(&[]), values(20..30), "the last ten of all partitions");
    assert_eq!(tail(&["--from", "4", "--max", "2"]), values(26..28));
    let time = xtask::clock::utc(first + 25_000);
    let time = time.trim_end_matches(" UTC");
    assert_eq!(tail(&["--from", time]), values(25..30));
    assert_eq!(tail(&["--from", "end"]), "");
    assert_eq!(
        tail(&["--from", "beginning", "--partition", "2", "--max", "2"]),
        "v2\nv5\n"
    );
    assert_eq!(
        tail(&["--from", "1", "--keys", "--headers"]),
        "n:29\tk29\tnull\n"
    );
    let object: Value = serde_json::from_str(&tail(&["--from", "1", "--output", "json"])).unwrap();
    assert_eq!(object["tombstone"], true);
    assert_eq!(
        (&object["partition"], &object["offset"]),
        (&json!(2), &json!(9))
    );
    assert!(
        sandbox
            .fails(&["topic", "tail", "orders", "--partition", "9"], 3)
            .contains("0 to 2")
    );
    assert_eq!(sandbox.json(&["topic", "count", "orders"])["total"], 30);
}
