//! Up, proven, unchanged, down; and a node that restarts.

use std::time::{Duration, Instant};

use crate::cluster::Kind;

/// `verify` has proven all three kinds of change on every flow.
pub fn assert_proven(kind: &Kind) {
    let proofs = kind.json(&["verify"]);
    let proofs = proofs["proofs"].as_array().unwrap();
    for flow in ["users", "events"] {
        let changes: Vec<&str> = proofs
            .iter()
            .filter(|proof| proof["flow"] == flow)
            .map(|proof| proof["change"].as_str().unwrap())
            .collect();
        assert_eq!(changes, ["insert", "update", "delete"], "{flow}");
    }
}

async fn silver(kind: &Kind, name: &str) -> String {
    kind.clickhouse()
        .text(&format!(
            "SELECT count() FROM users_silver FINAL WHERE full_name = '{name}' AND is_deleted = 0"
        ))
        .await
        .unwrap_or_else(|error| error.to_string())
}

pub async fn arrives(kind: &Kind, name: &str, within: Duration) {
    let begin = Instant::now();
    loop {
        let count = silver(kind, name).await;
        if count.trim() == "1" {
            eprintln!(
                "{name} is in silver after {:.1} s",
                begin.elapsed().as_secs_f64()
            );
            return;
        }
        assert!(begin.elapsed() < within, "{name}: {count}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

pub async fn insert(kind: &Kind, name: &str) {
    let statement =
        format!("INSERT INTO users (full_name, email) VALUES ('{name}', '{name}@example.com')");
    kind.postgres().await.execute(&statement).await.unwrap();
}

/// A task that failed is started again by `up` once its cause is gone, as on `host`.
async fn mended(kind: &Kind) {
    let session = kind.postgres().await;
    kind.ok(&["connector", "stop", "postgres"]);
    let copy = |from: &str, to: &str| {
        format!(
            "SELECT pg_copy_logical_replication_slot('{from}', '{to}'), pg_drop_replication_slot('{from}')"
        )
    };
    session.query(&copy("debezium", "kept")).await.unwrap();
    let (_, said) = kind.fails(&["connector", "resume", "postgres"]);
    assert!(said.contains("FAILED"), "{said}");
    session.query(&copy("kept", "debezium")).await.unwrap();
    kind.ok(&["up", "--yes"]);
    let status = kind.json(&["connector", "status", "postgres"]);
    assert_eq!(
        status["connectors"][0]["tasks"][0]["state"], "RUNNING",
        "{status}"
    );
}

/// What a pod says of itself.
pub fn told(kind: &Kind, pod: &str, path: &str) -> String {
    let path = format!("jsonpath={{{path}}}");
    kind.kubectl(&["get", "-n", "kafka", "pod", pod, "-o", &path])
        .unwrap()
}

pub const WORKER: &str = "my-connect-cluster-connect-0";

/// An image with another content, made by another checkout: it has another tag, is run, and seen to be.
fn another_image(kind: &mut Kind) {
    let seen = |kind: &Kind| {
        let image = told(kind, WORKER, ".spec.containers[0].image");
        let id = told(kind, WORKER, ".status.containerStatuses[0].imageID");
        (image, id)
    };
    let before = seen(kind);
    let root = kind.state.join("checkout");
    std::fs::create_dir(&root).unwrap();
    for folder in ["images", "manifests", "profiles"] {
        let from = crate::images::root().join(folder);
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .args([&from, &root])
            .status();
        assert!(copied.unwrap().success());
    }
    let recipe = root.join("images/connect/Dockerfile");
    let text = std::fs::read_to_string(&recipe).unwrap();
    std::fs::write(&recipe, format!("{text}\nENV CDC_TEST_IMAGE=another\n")).unwrap();
    kind.root = Some(root);
    kind.ok(&["image", "update"]);
    kind.root = None;
    let after = seen(kind);
    assert_ne!(before.0, after.0);
    assert_ne!(before.1, after.1);
    let within = [
        "exec",
        "-n",
        "kafka",
        WORKER,
        "--",
        "printenv",
        "CDC_TEST_IMAGE",
    ];
    assert_eq!(kind.kubectl(&within).unwrap().trim(), "another");
    kind.docker(&["image", "rm", &after.0]).unwrap();
}

/// Daily operations: what is asked goes through the API server, and a state goes into the resource.
async fn operate(kind: &mut Kind) {
    let state = |kind: &Kind| {
        let path = "jsonpath={.spec.state}";
        let resource = "kafkaconnector/postgres-connector";
        kind.kubectl(&["get", "-n", "kafka", resource, "-o", path])
            .unwrap()
    };
    kind.ok(&["connector", "pause", "postgres"]);
    assert_eq!(state(kind).trim(), "paused");
    insert(kind, "while-paused").await;
    let lag = &kind.json(&["lag"])["flows"][0];
    assert_eq!(lag["state"], "PAUSED", "{lag}");
    assert!(lag["wal"]["unconfirmed"].as_u64() > Some(0), "{lag}");
    kind.ok(&["connector", "resume", "postgres"]);
    assert_eq!(state(kind).trim(), "");
    arrives(kind, "while-paused", Duration::from_secs(60)).await;
    for args in [
        &["connector", "list"][..],
        &["connector", "status"],
        &["slot", "list"],
        &["topic", "list"],
        &["topic", "count", "postgres.public.users"],
        &["topic", "config", "--check"],
        &[
            "topic",
            "tail",
            "postgres.public.users",
            "--cdc",
            "--from",
            "beginning",
            "--max",
            "3",
        ],
        &["group", "list"],
        &["query", "postgres", "SELECT count(*) FROM users"],
        &["lag"],
        &["offsets", "backup"],
        &["connector", "restart", "postgres"],
    ] {
        kind.ok(args);
    }
    // Restarted by who keeps the pods: Strimzi, or the operators' own Deployments.
    let uid = |kind: &Kind, pod: &str| told(kind, pod, ".metadata.uid");
    let before = uid(kind, WORKER);
    kind.ok(&["restart", "connect"]);
    let after = uid(kind, WORKER);
    assert_ne!(before, after);
    kind.ok(&["rolling-restart", "connect"]);
    assert_ne!(after, uid(kind, WORKER));
    let broker = "my-cluster-my-pool-0";
    let before = uid(kind, broker);
    kind.ok(&["rolling-restart", "kafka"]);
    assert_ne!(before, uid(kind, broker));
    kind.ok(&["restart", "operator"]);
    kind.ok(&["restart", "postgres"]);
    let same = uid(kind, WORKER);
    kind.ok(&["image", "update"]);
    assert_eq!(same, uid(kind, WORKER));
    another_image(kind);
    // A row that goes while nobody reads, and whose delete no event will ever tell.
    kind.ok(&["connector", "stop", "postgres"]);
    assert_eq!(state(kind).trim(), "stopped");
    let gone = "DELETE FROM users WHERE full_name = 'while-paused'";
    kind.postgres().await.execute(gone).await.unwrap();
    reset_finds_one(kind);
    assert_eq!(silver(kind, "while-paused").await.trim(), "0");
    assert_proven(kind);
}

/// What the operator thought at a bad moment it would go on saying for two minutes.
fn asked_again(kind: &Kind) {
    let resource = ["-n", "kafka", "kafkaconnect/my-connect-cluster"];
    let old = serde_json::json!({ "status": { "conditions": [{
        "type": "NotReady",
        "status": "True",
        "reason": "ConnectRestException",
        "message": "GET /connector-plugins returned 404 (404): ",
        "lastTransitionTime": "2026-11-21T03:00:00Z",
    }]}})
    .to_string();
    let patch = ["--subresource=status", "--type=merge", "-p"];
    let patch = [&["patch"], &resource[..], &patch, &[&old]].concat();
    kind.kubectl(&patch).unwrap();
    let read = |path: &str| {
        let path = format!("jsonpath={{{path}}}");
        let read = [&["get"], &resource[..], &["-o", &path]].concat();
        kind.kubectl(&read).unwrap()
    };
    let asked = || read(".metadata.annotations.cdc-xtask\\.dev/restarted-at");
    let before = asked();
    kind.ok(&["up", "--yes"]);
    assert_ne!(asked(), before);
    assert_eq!(read(".status.conditions[*].type"), "Ready");
}

#[tokio::test]
#[ignore = "needs KIND_NODE_IMAGE"]
async fn up_verify_nothing_to_do_status_down() {
    let mut kind = Kind::new("life");
    kind.ok(&["up", "--yes"]);
    assert_proven(&kind);
    crate::genuine::assert_like_the_genuine(&kind);
    // A row of a user's own, read from the target itself.
    insert(&kind, "by-hand").await;
    arrives(&kind, "by-hand", Duration::from_secs(20)).await;
    let before = kind.kubectl(&["get", "pods", "-A", "-o", "name"]).unwrap();
    kind.ok(&["up", "--yes"]);
    assert_eq!(
        before,
        kind.kubectl(&["get", "pods", "-A", "-o", "name"]).unwrap()
    );
    kind.ok(&["status"]);
    asked_again(&kind);
    operate(&mut kind).await;
    mended(&kind).await;
    kind.ok(&["down", "--yes"]);
    let left = kind
        .docker(&["ps", "--all", "--format", "{{.Names}}"])
        .unwrap();
    assert!(!left.lines().any(|line| line == kind.node()), "{left}");
}

#[tokio::test]
#[ignore = "needs KIND_NODE_IMAGE"]
async fn a_node_that_restarts_keeps_its_data_and_goes_on() {
    let kind = Kind::new("restart");
    kind.ok(&["up", "--yes"]);
    insert(&kind, "before").await;
    arrives(&kind, "before", Duration::from_secs(20)).await;
    kind.docker(&["restart", &kind.node()]).unwrap();
    kind.ok(&["up", "--yes"]);
    assert_eq!(silver(&kind, "before").await.trim(), "1");
    insert(&kind, "after").await;
    arrives(&kind, "after", Duration::from_secs(30)).await;
    assert_proven(&kind);
    kind.ok(&["down", "--yes"]);
}

/// A reset finds the one row whose delete no event has told.
pub(crate) fn reset_finds_one(kind: &Kind) {
    let summary = kind.json(&["reset-connector", "postgres", "--yes"]);
    let deleted = summary["flows"][0]["deleted"].as_array().unwrap();
    assert_eq!(deleted.len(), 1, "{summary}");
    eprintln!(
        "reset: first row after {} ms, all after {} ms",
        summary["flows"][0]["first_row_ms"], summary["took_ms"]
    );
}
