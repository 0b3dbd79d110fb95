//! A broker that speaks TLS, asks who connects and checks what each may do, as a production profile
//! has it: from `up` through the daily operations to `down`.

mod queue;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::Kind;
use crate::life::{assert_proven, reset_finds_one};

const USERS: &str = "postgres.public.users";
const WORKERS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KIND_NODE_IMAGE"]
async fn every_client_logs_in_over_tls_and_may_do_its_work() {
    let mut kind = Kind::new("login");
    kind.extra.push("kafka.security=scram".into());
    kind.extra.push(format!("connect.replicas={WORKERS}"));
    // A sink: what it could not process is seen, sent back and purged.
    kind.extra.push("connect.plugins=[jdbc]".into());
    kind.ok(&["up", "--yes"]);
    assert_proven(&kind);
    has_users(&kind);
    // Two runs without a change between them.
    kind.ok(&["diff"]);
    reads(&kind);
    refuses(&kind);
    controls(&kind);
    restores(&kind).await;
    queue::operated(&kind).await;
    rolls(&kind).await;
    resets(&kind).await;
    rotates(&kind);
    assert_proven(&kind);
    joins_and_leaves(&mut kind).await;
    kind.ok(&["down", "--yes"]);
}

/// A table joins the running connector: its rows are read while it streams. Without the flow `up` says what is left,
/// and removes it.
async fn joins_and_leaves(kind: &mut Kind) {
    let make = "CREATE TABLE joined (id bigint PRIMARY KEY, v text); \
                INSERT INTO joined SELECT n, 'old' FROM generate_series(1, 1000) n";
    kind.postgres().await.execute(make).await.unwrap();
    let flow = "flows.joined={connector: postgres-connector, table: public.joined, key: [id], group: ch_joined, \
                keep: latest}";
    kind.extra.push(flow.into());
    kind.ok(&["up"]);
    let change =
        "UPDATE joined SET v = 'new' WHERE id = 1; INSERT INTO joined VALUES (1001, 'new')";
    kind.postgres().await.execute(change).await.unwrap();
    let begin = Instant::now();
    let sql = "SELECT concat(toString(count()), ' ', toString(countIf(v = 'new'))) FROM joined_silver FINAL \
               WHERE is_deleted = 0";
    loop {
        let found = kind.clickhouse().text(sql).await.unwrap();
        if found.trim() == "1001 2" {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{found}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    kind.extra.pop();
    let left = kind.json(&["up"]);
    let left = &left["pruned"]["left"];
    assert_eq!(left["flows"][0]["flow"], "joined", "{left}");
    assert_eq!(left["groups"], json!(["ch_joined"]), "{left}");
    assert_eq!(left["topics"], json!(["postgres.public.joined"]), "{left}");
    kind.ok(&["up", "--prune", "--yes"]);
    let again = kind.json(&["up"]);
    assert_eq!(again["counts"]["changed"], 0, "{again}");
    let left = &again["pruned"]["left"];
    assert_eq!(left["topics"], json!([]), "{left}");
    let tables = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name LIKE '%joined%'";
    assert_eq!(kind.clickhouse().text(tables).await.unwrap().trim(), "0");
}

/// Every client but the operators has a user of its own, and the broker lets in nobody else.
fn has_users(kind: &Kind) {
    let template = "go-template={{range .items}}{{.metadata.name}} {{(index .status.conditions 0).type}}\n{{end}}";
    let users = kind
        .kubectl(&["get", "kafkausers", "-n", "kafka", "-o", template])
        .unwrap();
    assert_eq!(users, "cdc-xtask Ready\nclickhouse Ready\nconnect Ready\n");
    let broker = [
        "get",
        "configmap",
        "-n",
        "kafka",
        "my-cluster-my-pool-0",
        "-o",
        "yaml",
    ];
    let broker = kind.kubectl(&broker).unwrap();
    for part in ["TLS-9093:SASL_SSL", "authorizer.class.name="] {
        assert!(broker.contains(part), "{broker}");
    }
}

fn names(rows: &Value) -> BTreeSet<&str> {
    let rows = rows.as_array().unwrap();
    rows.iter().filter_map(|row| row["name"].as_str()).collect()
}

/// Everything that only looks.
fn reads(kind: &Kind) {
    let topics = kind.json(&["topic", "list", "--internal"]);
    let topics = names(&topics["topics"]);
    // Kafka's and Connect's own too: their replicas count when a broker is to go away.
    for name in [
        USERS,
        "__debezium-heartbeat.postgres",
        "connect-cluster-offsets",
        "__consumer_offsets",
    ] {
        assert!(topics.contains(name), "{name} is not in {topics:?}");
    }
    let described = kind.json(&["topic", "describe", USERS]);
    assert_eq!(described["config"]["cleanup.policy"]["value"], "delete");
    let counted = kind.json(&["topic", "count", USERS]);
    assert!(counted["total"].as_i64() > Some(0), "{counted}");
    let changes = ["topic", "tail", USERS, "--cdc", "--from", "beginning"];
    let (changes, _) = kind.ok(&[&changes[..], &["--max", "3"]].concat());
    assert_eq!(changes.matches("snapshot").count(), 3, "{changes}");
    kind.ok(&["topic", "config", "--check"]);
    let groups = kind.json(&["group", "list"]);
    assert!(groups.to_string().contains("ch_users_consumer"), "{groups}");
    kind.ok(&["group", "describe", "ch_users_consumer"]);
    let lag = &kind.json(&["lag"])["flows"][0];
    assert_eq!(lag["state"], "RUNNING", "{lag}");
    let listed = kind.json(&["connector", "list"]);
    assert!(listed.to_string().contains("postgres-connector"));
    kind.ok(&["connector", "status"]);
    let slots = kind.json(&["slot", "list"]);
    assert_eq!(slots["slots"][0]["active"], true, "{slots}");
    let (rows, _) = kind.ok(&["query", "postgres", "SELECT count(*) FROM users"]);
    assert!(rows.contains("count"), "{rows}");
    kind.ok(&["query", "clickhouse", "SELECT count() FROM users_silver"]);
    for component in ["kafka", "connect", "postgres", "clickhouse"] {
        let (lines, _) = kind.ok(&["logs", component, "--tail", "5"]);
        assert!(!lines.is_empty(), "{component}");
    }
}

/// What is not the tool's business the broker refuses: its rights are looked at, not only its login.
fn refuses(kind: &Kind) {
    for (args, part) in [
        (&["topic", "tail", "connect-cluster-configs"][..], "Fetch"),
        (&["topic", "create", "audit"], "CreateTopics"),
    ] {
        let (code, said) = kind.fails(args);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("TOPIC_AUTHORIZATION_FAILED"), "{said}");
        assert!(said.contains(part), "{said}");
        assert!(said.contains("KafkaUser cdc-xtask"), "{said}");
        assert_eq!(said.matches("error:").count(), 1, "{said}");
    }
}

fn controls(kind: &Kind) {
    let state = || kind.json(&["lag"])["flows"][0]["state"].clone();
    kind.ok(&["connector", "pause", "postgres"]);
    assert_eq!(state(), "PAUSED");
    kind.ok(&["connector", "resume", "postgres"]);
    kind.ok(&["connector", "restart", "postgres"]);
    assert_eq!(state(), "RUNNING");
}

/// Somebody writes a connector's place that its source never had, and the place of before is put back.
/// Then the target's group goes back to the beginning: rows come twice, and merge.
async fn restores(kind: &Kind) {
    let file = kind.state.join("offsets.json");
    let path = file.display().to_string();
    kind.ok(&["connector", "stop", "postgres"]);
    kind.ok(&["offsets", "backup", &path]);
    let (connect, name) = (kind.connect(), "postgres-connector");
    let saved = connect.offsets(name).await.unwrap().unwrap();
    let mut wrong = saved.clone();
    for key in ["lsn", "lsn_proc", "lsn_commit"] {
        wrong.offsets[0].offset[key] = 99_999_999_999_u64.into();
    }
    connect.alter_offsets(name, &wrong).await.unwrap();
    kind.ok(&["offsets", "restore", &path, "--yes"]);
    let now = connect.offsets(name).await.unwrap().unwrap();
    assert_eq!(now.offsets[0].offset["lsn"], saved.offsets[0].offset["lsn"]);
    kind.ok(&["connector", "resume", "postgres"]);
    assert_proven(kind);

    let file = kind.state.join("groups.json");
    let path = file.display().to_string();
    kind.ok(&["offsets", "backup", &path]);
    let text = std::fs::read_to_string(&file).unwrap();
    let mut saved: Value = serde_json::from_str(&text).unwrap();
    assert!(saved["connectors"]["postgres-connector"].is_object());
    saved["connectors"] = json!({});
    saved["groups"]["ch_users_consumer"][format!("{USERS}/0")] = 0.into();
    std::fs::write(&file, saved.to_string()).unwrap();
    let restore = ["offsets", "restore", &path];
    kind.ok(&[&restore[..], &["--dry-run"]].concat());
    let restored = kind.json(&[&restore[..], &["--yes"]].concat());
    let changes = restored["changes"].as_array().unwrap();
    assert!(!changes.is_empty(), "{restored}");
    assert_proven(kind);
}

/// Rows that are inserted while workers go, one after the other, arrive; all of them.
async fn rolls(kind: &Kind) {
    let workers = || {
        let pods = [
            "get",
            "pods",
            "-n",
            "kafka",
            "-l",
            "strimzi.io/kind=KafkaConnect",
            "-o",
            "jsonpath={.items[*].metadata.uid}",
        ];
        let uids = kind.kubectl(&pods).unwrap();
        uids.split(' ').map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let before = workers();
    assert_eq!(before.len(), WORKERS, "{before:?}");
    let (stop, count) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU32::new(0)),
    );
    let session = kind.postgres().await;
    let (ends, counts) = (stop.clone(), count.clone());
    let inserting = tokio::spawn(async move {
        while !ends.load(Ordering::Relaxed) {
            let sql = format!(
                "INSERT INTO users (full_name, email) VALUES ('rolling', 'r{}@example.com')",
                counts.fetch_add(1, Ordering::Relaxed)
            );
            session.execute(&sql).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let rolled = kind.json(&["rolling-restart", "connect"]);
    stop.store(true, Ordering::Relaxed);
    inserting.await.unwrap();
    eprintln!("rolled: {rolled}");
    assert!(before.is_disjoint(&workers()));
    let wanted = count.load(Ordering::Relaxed).to_string();
    assert_ne!(wanted, "0");
    let sql =
        "SELECT count() FROM users_silver FINAL WHERE full_name = 'rolling' AND is_deleted = 0";
    arrives(kind, sql, &wanted).await;
    kind.ok(&["rolling-restart", "kafka"]);
}

async fn arrives(kind: &Kind, sql: &str, wanted: &str) {
    let begin = Instant::now();
    loop {
        let found = kind.clickhouse().text(sql).await;
        let found = found.unwrap_or_else(|error| error.to_string());
        if found.trim() == wanted {
            return;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(120),
            "{found} of {wanted}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A row that goes while nobody reads, and whose delete no event will ever tell.
async fn resets(kind: &Kind) {
    kind.ok(&["connector", "stop", "postgres"]);
    let gone = "DELETE FROM users WHERE email = 'r0@example.com'";
    kind.postgres().await.execute(gone).await.unwrap();
    reset_finds_one(kind);
}

/// A password that its operator makes anew is read anew.
fn rotates(kind: &Kind) {
    kind.kubectl(&["delete", "secret", "-n", "kafka", "cdc-xtask"])
        .unwrap();
    kind.kubectl(&[
        "patch",
        "kafkauser",
        "-n",
        "kafka",
        "cdc-xtask",
        "--type=merge",
        "--patch",
        r#"{"spec":{"quotas":{"requestPercentage":90}}}"#,
    ])
    .unwrap();
    kind.ok(&["up", "--yes"]);
    kind.ok(&["status"]);
}
