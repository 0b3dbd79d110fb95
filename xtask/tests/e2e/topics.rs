//! Topics, groups and queries as an operator uses them, on one environment.

mod services;
mod tail;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

const USERS: &str = "postgres.public.users";

#[tokio::test]
async fn topics_groups_and_queries_are_operated() {
    let sandbox = Sandbox::up("topics");
    lists(&sandbox);
    tail::changes(&sandbox).await;
    tail::follows(&sandbox).await;
    let kafka = sandbox.kafka().await;
    creates(&sandbox);
    checks(&sandbox);
    tail::merges(&sandbox, &kafka).await;
    groups(&sandbox);
    services::queries(&sandbox);
    services::ways(&sandbox);
    completes(&sandbox).await;
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
            .contains("is not a valid topic name")
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

async fn completes(sandbox: &Sandbox) {
    let session = sandbox.postgres().await;
    let make = "SELECT pg_create_physical_replication_slot('spare')";
    session.query(make).await.unwrap();
    // Names that no profile knows.
    for (words, names) in [
        (&["topic", "tail", "postgres."][..], USERS),
        (
            &["topic", "tail", "connect-cluster-st"],
            "connect-cluster-status",
        ),
        (&["group", "describe", "ch_"], "ch_users_consumer"),
        (&["slot", "drop", "sp"], "spare"),
        (&["connector", "status", "postgres-"], "postgres-connector"),
    ] {
        let (offered, took) = offered(sandbox, &[&["xtask"], words].concat());
        assert_eq!(offered.trim(), names, "{words:?}");
        println!("{words:?} completed in {} ms", took.as_millis());
    }
    let end = "SELECT pg_drop_replication_slot('spare')";
    session.query(end).await.unwrap();
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

/// A reader that waits is told once that the broker is gone.
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
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.matches("error:").count(), 1, "{text}");
    assert!(
        text.contains("has ended") && text.contains("next: cargo xtask status"),
        "{text}"
    );
    // And the profile's names are offered, without a word.
    let (names, _) = offered(sandbox, &["xtask", "topic", "tail", "postgres."]);
    assert_eq!(names.trim(), USERS);
    let (names, _) = offered(sandbox, &["xtask", "topic", "tail", "connect-"]);
    assert_eq!(names.trim(), "", "what only the broker knew");
    sandbox.fails(&["topic", "list"], 1);
}
