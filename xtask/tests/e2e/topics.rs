//! Topics, groups and queries as an operator uses them, on one environment.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use xtask::clients::kafka::{Header, KafkaClient, Record};

use crate::sandbox::Sandbox;

const USERS: &str = "postgres.public.users";

#[tokio::test]
async fn topics_groups_and_queries_are_operated() {
    let sandbox = Sandbox::up("topics");
    lists(&sandbox);
    changes(&sandbox).await;
    follows(&sandbox).await;
    let kafka = sandbox.kafka().await;
    creates(&sandbox);
    checks(&sandbox);
    tails(&sandbox, &kafka).await;
    groups(&sandbox);
    queries(&sandbox);
    ways(&sandbox);
    completes(&sandbox);
    refuses(&sandbox);
    loses_the_broker(&sandbox);
}

fn named<'a>(rows: &'a Value, name: &str) -> &'a Value {
    let found = rows
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {rows}"))
}

fn lists(sandbox: &Sandbox) {
    let found = sandbox.json(&["topic", "list"]);
    let users = named(&found["topics"], USERS);
    assert_eq!(users["role"], "cdc");
    assert_eq!(users["partitions"], 1);
    // Four rows of the snapshot, and the canary that came and went.
    assert_eq!(users["messages"], json!({ "count": 7, "compacted": false }));
    let beats = named(&found["topics"], "__debezium-heartbeat.postgres");
    assert_eq!(beats["retention_ms"], 600_000);
    let configs = named(&found["topics"], "connect-cluster-configs");
    assert_eq!(configs["messages"]["compacted"], true);
    let text = sandbox.ok(&["topic", "list"]);
    assert!(
        text.starts_with("TOPIC ") && !text.contains('\u{1b}'),
        "{text}"
    );
    assert!(!text.contains("__consumer_offsets"));
    assert!(
        sandbox
            .ok(&["topic", "list", "--internal"])
            .contains("__consumer_offsets")
    );

    let counted = sandbox.json(&["topic", "count", "postgres.*", USERS]);
    assert_eq!(counted["total"], 7, "each topic counts once: {counted}");
    let described = sandbox.json(&["topic", "describe", USERS]);
    assert_eq!(described["partitions"][0]["end"], 7);
    assert_eq!(described["config"]["cleanup.policy"]["value"], "delete");
}

async fn changes(sandbox: &Sandbox) {
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
async fn follows(sandbox: &Sandbox) {
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

fn creates(sandbox: &Sandbox) {
    let create = [
        "topic",
        "create",
        "orders",
        "--partitions",
        "3",
        "--config",
        "retention.ms=3600000",
    ];
    let dry = sandbox.ok(&[&create[..], &["--dry-run"]].concat());
    assert!(dry.starts_with("would create orders"), "{dry}");
    assert!(!sandbox.ok(&["topic", "list"]).contains("orders"));
    assert_eq!(sandbox.json(&create)["outcome"], "created");
    assert_eq!(
        sandbox.json(&create)["outcome"],
        "unchanged",
        "a second time"
    );
    let text = sandbox.fails(
        &[
            "topic",
            "create",
            "orders",
            "--partitions",
            "4",
            "--config",
            "retention.ms=1",
        ],
        1,
    );
    for part in [
        "is there and different",
        "partitions is 3, wanted 4",
        "retention.ms is 3600000, wanted 1",
        "cargo xtask topic config orders --alter retention.ms=1",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let text = sandbox.fails(
        &["topic", "create", "x", "--config", "retention.ms=soon"],
        3,
    );
    assert!(text.contains("retention.ms"), "{text}");
    assert!(
        sandbox
            .fails(&["topic", "create", "a b"], 3)
            .contains("is no name for a topic")
    );
}

fn checks(sandbox: &Sandbox) {
    let fresh = sandbox.json(&["topic", "config", "--check"]);
    assert_eq!(fresh["differences"], 0, "what `up` makes is right: {fresh}");
    sandbox.ok(&["topic", "config", "--check"]);
    sandbox.fails(&["topic", "config", "--check", "--strict"], 2);
    for (name, role) in [
        ("dlq.orders", "dlq"),
        ("schema-history.orders", "schema-history"),
    ] {
        sandbox.ok(&["topic", "create", name, "--role", role]);
    }
    sandbox.ok(&["topic", "config", "--check"]);
    sandbox.ok(&[
        "topic",
        "create",
        "schema-history.wrong",
        "--config",
        "cleanup.policy=compact",
    ]);
    let alter = ["topic", "config", USERS, "--alter", "retention.ms=1000000"];
    sandbox.ok(&[&alter[..], &["--dry-run"]].concat());
    sandbox.ok(&["topic", "config", "--check", USERS]);
    sandbox.ok(&alter);
    let text = sandbox.fails(&["topic", "config", "--check"], 2);
    let next = "cargo xtask topic config schema-history.wrong --alter cleanup.policy=delete";
    assert!(
        text.contains(next) && text.contains("3 differences"),
        "{text}"
    );
    let found = sandbox.json(&["topic", "config", "--check"]);
    let findings = found["findings"].as_array().unwrap().iter();
    let mut nexts: Vec<&str> = findings
        .filter_map(|finding| finding["next"].as_str())
        .collect();
    nexts.sort_unstable();
    assert_eq!(nexts.len(), 3, "{found}");
    // What it says is what mends it.
    for next in nexts {
        let words: Vec<&str> = next.split(' ').skip(2).collect();
        sandbox.ok(&words);
    }
    sandbox.ok(&["topic", "config", "--check"]);
    let text = sandbox.fails(
        &["topic", "config", "orders", "--alter", "retention.sm=1"],
        3,
    );
    assert!(text.contains("did you mean `retention.ms`?"), "{text}");
}

async fn tails(sandbox: &Sandbox, kafka: &KafkaClient) {
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

fn groups(sandbox: &Sandbox) {
    let found = sandbox.json(&["group", "list"]);
    let group = named(&found["groups"], "ch_users_consumer");
    assert_eq!(group["state"], "Stable");
    assert_eq!(group["members"], 1);
    let described = sandbox.json(&["group", "describe", "ch_users_consumer"]);
    let partitions: BTreeMap<&str, &Value> = described["partitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["topic"].as_str().unwrap(), one))
        .collect();
    let users = partitions[USERS];
    assert!(
        users["end"].as_i64() >= users["position"].as_i64(),
        "{described}"
    );
    let text = sandbox.ok(&["group", "describe", "ch_users_consumer"]);
    assert!(
        text.starts_with("ch_users_consumer: Stable, lag "),
        "{text}"
    );
    let text = sandbox.fails(&["group", "describe", "ch_user_consumer"], 3);
    assert!(text.contains("did you mean `ch_users_consumer`?"), "{text}");
}

fn queries(sandbox: &Sandbox) {
    let text = sandbox.ok(&[
        "query",
        "postgres",
        "SELECT 1 AS n, NULL AS nothing; SELECT 'x' AS t",
    ]);
    assert_eq!(text, "n  nothing\n1  NULL\n(1 row)\n\nt\nx\n(1 row)\n");
    let found = sandbox.json(&[
        "query",
        "postgres",
        "SELECT count(*) FROM users WHERE user_id < 5",
    ]);
    assert_eq!(found["results"][0]["rows"], json!([["4"]]));
    let text = sandbox.fails(&["query", "postgres", "SELECT\n  fom users"], 1);
    assert!(
        text.contains("statement:2:3: ") && text.contains("42703"),
        "{text}"
    );
    let sql = "SELECT 7 AS n, 'x' AS t, NULL AS nothing;";
    let text = sandbox.ok(&["query", "clickhouse", sql]);
    assert_eq!(text, "n  t  nothing\n7  x  NULL\n(1 row)\n");
    let found = sandbox.json(&["query", "clickhouse", sql]);
    assert_eq!(found["results"][0]["rows"], json!([[7, "x", null]]));
    // No digit is lost.
    let text = sandbox.ok(&[
        "query",
        "clickhouse",
        "SELECT toInt256('406797045046408742210338816')",
    ]);
    assert!(text.contains("406797045046408742210338816"), "{text}");
    assert_eq!(
        sandbox.ok(&["query", "clickhouse", "SELECT 1, 2 FORMAT CSV"]),
        "1,2\n"
    );
    let text = sandbox.fails(&["query", "clickhouse", "SELECT nope"], 1);
    assert!(text.contains("ClickHouse refused"), "{text}");
    for secret in [sandbox.password("postgres"), sandbox.password("clickhouse")] {
        assert!(!text.contains(&secret));
    }
    assert!(
        sandbox
            .fails(&["query", "postgres", " "], 3)
            .contains("there is no statement")
    );
}

fn ways(sandbox: &Sandbox) {
    let found = sandbox.json(&["forward"]);
    let services = found["services"].as_array().unwrap();
    let postgres = services
        .iter()
        .find(|one| one["service"] == "postgres")
        .unwrap();
    assert_eq!(
        postgres["address"],
        format!("127.0.0.1:{}", sandbox.ports["postgres.port"])
    );
    assert_eq!(postgres["forwarded"], false);
    assert!(!found.to_string().contains(&sandbox.password("postgres")));
    let url = sandbox.ok(&["open", "connect", "--print"]);
    assert!(
        url.starts_with(&format!(
            "http://127.0.0.1:{}/",
            sandbox.ports["connect.port"]
        )),
        "{url}"
    );
    assert!(
        sandbox
            .fails(&["open", "postgres"], 3)
            .contains("has no page")
    );
    assert!(
        sandbox
            .fails(&["forward", "kafak"], 3)
            .contains("did you mean `kafka`?")
    );
}

/// What a shell is offered, as the completion scripts ask for it.
pub fn offered(sandbox: &Sandbox, words: &[&str]) -> (String, Duration) {
    let begin = Instant::now();
    let mut command = sandbox.command(&[]);
    command.env("CDC_XTASK_COMPLETE", "bash");
    command.env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
    command.env("_CLAP_IFS", "\n").arg("--").args(words);
    let output = command.output().unwrap();
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (String::from_utf8(output.stdout).unwrap(), begin.elapsed())
}

fn completes(sandbox: &Sandbox) {
    let (names, _) = offered(sandbox, &["xtask", "topic", "tail", "postgres."]);
    assert_eq!(names.trim(), USERS);
    let (names, _) = offered(sandbox, &["xtask", "group", "describe", "ch_"]);
    assert_eq!(names.trim(), "ch_users_consumer");
}

fn refuses(sandbox: &Sandbox) {
    let text = sandbox.fails(&["topic", "tail", "postgres.public.user"], 3);
    assert!(text.contains(&format!("did you mean `{USERS}`?")), "{text}");
    assert_eq!(text.matches("error:").count(), 1);
    assert!(
        sandbox
            .fails(&["topic", "count", "nothing*"], 3)
            .contains("no topic fits")
    );
    assert!(
        sandbox
            .fails(&["topic", "tail", "postgres.*"], 3)
            .contains("may be several")
    );
}

/// A reader that waits is told once, and soon, that the broker is gone.
fn loses_the_broker(sandbox: &Sandbox) {
    let child = sandbox
        .command(&["topic", "tail", USERS, "-f"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    sandbox.kill("kafka");
    let begin = Instant::now();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.matches("error:").count(), 1, "{text}");
    assert!(
        text.contains("has ended") && text.contains("next: cargo xtask status"),
        "{text}"
    );
    assert!(begin.elapsed() < Duration::from_secs(15));
    // And nothing is offered, at once and without a word.
    let (names, took) = offered(sandbox, &["xtask", "topic", "tail", "post"]);
    assert_eq!(names.trim(), "");
    assert!(took < Duration::from_secs(3), "{took:?}");
    sandbox.fails(&["topic", "list"], 1);
}
