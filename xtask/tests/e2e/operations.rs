//! Connectors in daily work: resting, failing, beginning anew, and their positions.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use serde_json::Value;

use xtask::clients::connect::Connect;
use xtask::platform::Endpoint;

use crate::sandbox::{Sandbox, kill};

const CONNECTOR: &str = "postgres-connector";

#[tokio::test(flavor = "multi_thread")]
async fn connectors_rest_fail_and_run_again() {
    let sandbox = Sandbox::up("connectors");
    let rows = sandbox.json(&["connector", "list"]);
    assert_eq!(rows["connectors"][0]["name"], CONNECTOR);
    assert_eq!(rows["connectors"][0]["state"], "RUNNING");
    let status = &sandbox.json(&["connector", "status", "postgres"])["connectors"][0];
    assert_eq!(status["tasks"][0]["state"], "RUNNING");
    assert!(status["position"]["place"].is_string(), "{status}");
    let config = sandbox.ok(&["connector", "config"]);
    assert!(config.contains("plugin.name=pgoutput"), "{config}");
    assert!(!config.contains(&sandbox.password("postgres")));
    assert!(sandbox.ok(&["connector", "validate"]).contains("valid"));
    assert!(
        sandbox
            .ok(&["connector", "plugins"])
            .contains("PostgresConnector")
    );
    let offsets = sandbox.json(&["connector", "offsets"]);
    assert!(offsets["connectors"][CONNECTOR][0]["offset"]["lsn"].is_u64());

    // Resting: nothing travels, and everything that waits for it says why at once.
    let would = sandbox.ok(&["connector", "pause", "*", "--dry-run"]);
    assert!(would.contains("would pause"), "{would}");
    sandbox.ok(&["connector", "pause", "postgres-*"]);
    let said = sandbox.fails(&["connector", "restart", CONNECTOR], 3);
    assert!(said.contains("is PAUSED"), "{said}");
    let said = sandbox.fails(&["up"], 1);
    assert!(said.contains("cargo xtask connector resume"), "{said}");
    // Every port of this environment was given to `up`, and stands in what it prints.
    let resume = format!("--set kafka.port={}", sandbox.ports["kafka.port"]);
    assert!(said.contains(&resume), "{said}");
    for args in ["diagnose", "status", "verify"] {
        sandbox.run(&[args]);
    }
    let looked = sandbox.looked();
    assert!(looked.len() > 1, "{looked:?}");
    assert_eq!(
        sandbox.json(&["connector", "status"])["connectors"][0]["state"],
        "PAUSED"
    );
    // It is as somebody wanted it.
    sandbox.ok(&["connector", "status", CONNECTOR]);
    let session = sandbox.postgres().await;
    let insert =
        "INSERT INTO users (full_name, email) SELECT 'w', n || '@w' FROM generate_series(1, 500) n";
    session.execute(insert).await.expect("rows");
    let lag = &sandbox.json(&["lag"])["flows"][0];
    assert_eq!(lag["state"], "PAUSED");
    assert!(lag["wal"]["unconfirmed"].as_u64() > Some(10_000), "{lag}");
    assert!(lag["wal"]["free"].as_u64() > Some(1 << 20), "{lag}");
    assert!(sandbox.ok(&["lag"]).contains("PAUSED"));
    let again = sandbox.json(&["connector", "pause", CONNECTOR]);
    assert_eq!(again["connectors"][0]["changed"], false);
    sandbox.ok(&["connector", "resume", CONNECTOR]);
    sandbox.ok(&["verify"]);
    sandbox.converged().await;
    let lag = &sandbox.json(&["lag"])["flows"][0];
    assert_eq!(lag["state"], "RUNNING");
    assert!(lag["committed"]["place"].is_string(), "{lag}");
    assert!(lag["newest_ms"].is_u64(), "{lag}");

    // Stopped: no task, and the slot is free but not dropped without a word.
    sandbox.ok(&["connector", "stop", CONNECTOR]);
    let said = sandbox.fails(&["slot", "drop", "debezium"], 3);
    assert!(said.contains("needs a new snapshot"), "{said}");
    let would = sandbox.ok(&["slot", "drop", "debezium", "--dry-run"]);
    assert!(would.contains("would drop slot debezium"), "{would}");
    sandbox.ok(&["connector", "resume", CONNECTOR]);
    let said = sandbox.fails(&["slot", "drop", "debezium", "--yes"], 1);
    assert!(said.contains("is being read"), "{said}");
    assert!(said.contains("cargo xtask connector stop"), "{said}");
    sandbox.ok(&["connector", "pause", CONNECTOR]);
    let said = sandbox.fails(&["slot", "drop", "debezium", "--yes"], 1);
    assert!(said.contains("cargo xtask connector stop"), "{said}");
    sandbox.ok(&["connector", "resume", CONNECTOR]);
    let slots = sandbox.json(&["slot", "list"]);
    assert_eq!(slots["slots"][0]["connector"], CONNECTOR);
    assert_eq!(slots["slots"][0]["active"], true);
    let made = "SELECT pg_create_physical_replication_slot('forgotten')";
    session.query(made).await.expect("a slot");
    sandbox.ok(&["slot", "drop", "forgotten", "--yes"]);
    assert_eq!(
        sandbox.json(&["slot", "list"])["slots"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );

    // A restart is proven, of all or of one task.
    sandbox.ok(&["connector", "restart", CONNECTOR]);
    sandbox.ok(&["connector", "restart", CONNECTOR, "--task", "0"]);
    let text = sandbox.ok(&["connector", "restart", CONNECTOR, "--only-failed"]);
    assert!(text.contains("nothing of it failed"), "{text}");

    // A place that PostgreSQL no longer has: the task fails, is named by its root cause, and no
    // restart helps. A reset does.
    sandbox.ok(&["connector", "stop", CONNECTOR]);
    let lost = serde_json::json!({ "offsets": [{
        "partition": { "server": "postgres" },
        "offset": { "lsn": 1, "lsn_proc": 1, "lsn_commit": 1, "txId": 1, "ts_usec": 1, "messageType": "COMMIT" },
    }] });
    let offsets = serde_json::from_value(lost).expect("offsets");
    let connect = Connect::new(Endpoint::loopback(sandbox.ports["connect.port"]));
    connect
        .alter_offsets(CONNECTOR, &offsets)
        .await
        .expect("set");
    let said = sandbox.fails(&["connector", "resume", CONNECTOR], 1);
    assert!(said.contains("FAILED"), "{said}");
    let said = sandbox.fails(&["connector", "status"], 1);
    assert!(said.contains("--only-failed"), "{said}");
    let said = sandbox.fails(&["connector", "restart", CONNECTOR, "--only-failed"], 1);
    assert!(said.contains("FAILED"), "{said}");
    sandbox.ok(&["reset-connector", CONNECTOR, "--yes"]);
    sandbox.ok(&["verify"]);

    for (args, words) in [
        (
            &["connector", "stop", "postgres-conector"][..],
            "did you mean `postgres-connector`?",
        ),
        (&["connector", "stop", "x*"], "no connector fits `x*`"),
        (
            &["slot", "drop", "debezum", "--yes"],
            "did you mean `debezium`?",
        ),
        (
            &["reset-connector", "mysql"],
            "there is no connector `mysql`",
        ),
        (&["offsets", "restore", "absent.json"], "absent.json"),
    ] {
        let said = sandbox.fails(args, 3);
        assert!(said.contains(words), "{args:?}: {said}");
    }
    sandbox.kill("connect");
    let said = sandbox.fails(&["connector", "list"], 1);
    assert!(said.contains("Connect at 127.0.0.1"), "{said}");
}

/// Inserts, updates and deletes until it is told to stop.
fn work(sandbox: &Arc<Sandbox>, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<u64> {
    let (sandbox, stop) = (sandbox.clone(), stop.clone());
    tokio::spawn(async move {
        let session = sandbox.postgres().await;
        let mut number = 0;
        while !stop.load(SeqCst) {
            number += 1;
            let sql = format!(
                "INSERT INTO users (full_name, email) VALUES ('n{number}', 'n{number}@work'); \
                 UPDATE users SET full_name = full_name || '+' WHERE email = 'n{}@work'; \
                 DELETE FROM users WHERE email = 'n{}@work'",
                number / 2,
                number / 3
            );
            session.execute(&sql).await.expect("the source takes it");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        number
    })
}

/// Runs a reset, and kills it as soon as it has said this; says whether it was still running then.
fn killed_after(mut command: Command, words: &str) -> bool {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool starts");
    let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    for line in lines.map_while(Result::ok) {
        if line.contains(words) {
            kill(child.id());
            child.wait().expect("it ends");
            return true;
        }
    }
    child.wait().expect("it ends");
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_reads_everything_again_and_finds_the_deletes_that_were_missed() {
    let sandbox = Arc::new(Sandbox::up("reset"));
    let session = sandbox.postgres().await;
    session
        .execute(
            "INSERT INTO users (full_name, email) SELECT 'k' || n, 'k' || n || '@kept' FROM generate_series(1, 3000) n",
        )
        .await
        .expect("rows");
    sandbox.converged().await;
    // Gone while nobody reads: the slot is lost, so no event will ever tell of these.
    sandbox.ok(&["connector", "stop", "postgres"]);
    session
        .execute("DELETE FROM users WHERE email LIKE 'k1%@kept'")
        .await
        .expect("deleted");
    sandbox.ok(&["slot", "drop", "debezium", "--yes"]);
    let would = sandbox.ok(&["reset-connector", "postgres", "--dry-run"]);
    assert!(
        would.contains("deletes are found by comparing keys"),
        "{would}"
    );
    let said = sandbox.fails(&["reset-connector", "postgres"], 3);
    assert!(said.contains("--yes"), "{said}");

    let summary = sandbox.json(&["reset-connector", "postgres", "--yes"]);
    let flow = &summary["flows"][0];
    let lost = flow["deleted"].as_array().expect("keys").len();
    // 1, 10 to 19, 100 to 199, 1000 to 1999.
    assert_eq!(lost, 1111, "{summary}");
    assert_eq!(summary["data"]["status"], "PASS", "{summary}");
    println!(
        "reset: first row after {}, last row after {}, all after {} ms",
        flow["first_row_ms"], flow["last_row_ms"], summary["took_ms"]
    );
    let rows = sandbox.converged().await;
    assert!(rows.len() > 1889, "{}", rows.len());
    // A row that comes back later wins over its mark.
    session
        .execute("INSERT INTO users (user_id, full_name, email) SELECT min(user_id) - 1, 'back', 'k1@kept' FROM users WHERE email LIKE 'k2%'")
        .await
        .expect("a row");
    sandbox.converged().await;
    let again = sandbox.json(&[
        "reset-connector",
        "postgres",
        "--yes",
        "--truncate-target",
        "--drop-publication",
    ]);
    assert_eq!(again["flows"][0]["deleted"], Value::Array(Vec::new()));
    sandbox.converged().await;
    sandbox.ok(&["verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_killed_after_any_step_is_finished_by_the_same_command() {
    let sandbox = Arc::new(Sandbox::up("killedreset"));
    let stop = Arc::new(AtomicBool::new(false));
    let worker = work(&sandbox, &stop);
    let steps = [
        "stop ",
        "slot/free",
        "save ",
        "offsets/delete",
        "slot/drop",
        "publication/drop",
        "target/truncate",
        "start ",
        "snapshot ",
        "changes ",
        "target/compare",
    ];
    for step in steps {
        let args: &[&str] = match step {
            "target/truncate" | "publication/drop" => &[
                "reset-connector",
                "postgres",
                "--yes",
                "--truncate-target",
                "--drop-publication",
            ],
            _ => &["reset-connector", "postgres", "--yes"],
        };
        for begins in ["done ", "same "] {
            // A step ends in one of two ways; what did not happen just runs through.
            if killed_after(sandbox.command(args), &format!("{begins}{step}")) {
                let said = sandbox.run(&["connector", "stop", CONNECTOR]);
                let said = String::from_utf8_lossy(&said.stderr).into_owned();
                assert!(said.contains("is unfinished"), "after {step}: {said}");
                sandbox.ok(args);
                break;
            }
        }
    }
    stop.store(true, SeqCst);
    let count = worker.await.expect("the work ends");
    assert!(count > 100, "the work hardly ran: {count}");
    sandbox.converged().await;
    sandbox.ok(&["verify"]);
    assert_eq!(sandbox.json(&["status"])["current"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_go_to_a_file_and_back() {
    let sandbox = Sandbox::up("offsets");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("offsets.json").display().to_string();
    // Somebody writes a place that the source never had, and the place of before is put back.
    sandbox.ok(&["connector", "stop", "postgres"]);
    sandbox.ok(&["offsets", "backup", &file]);
    let connect = Connect::new(Endpoint::loopback(sandbox.ports["connect.port"]));
    let offsets = async || {
        let offsets = connect.offsets("postgres-connector").await;
        offsets.expect("told").expect("registered")
    };
    let place = offsets().await;
    let mut wrong = place.clone();
    for key in ["lsn", "lsn_proc", "lsn_commit"] {
        wrong.offsets[0].offset[key] = 99_999_999_999_u64.into();
    }
    let written = connect.alter_offsets("postgres-connector", &wrong).await;
    written.expect("written");
    let text = sandbox.ok(&["offsets", "restore", &file, "--dry-run"]);
    println!("{text}");
    assert_ne!(offsets().await, place);
    sandbox.ok(&["offsets", "restore", &file, "--yes"]);
    assert_eq!(offsets().await, place);
    sandbox.ok(&["connector", "resume", "postgres"]);
    let session = sandbox.postgres().await;
    session
        .execute("INSERT INTO users (full_name, email) SELECT 'x', n || '@x' FROM generate_series(1, 50) n")
        .await
        .expect("rows");
    sandbox.converged().await;
    // PostgreSQL has forgotten what the connector had confirmed since.
    let confirmed = std::time::Instant::now();
    let said = loop {
        let output = sandbox.run(&["offsets", "restore", &file, "--yes"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if said.contains("no longer has its saved position")
            || confirmed.elapsed() > Duration::from_secs(60)
        {
            break said;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    assert!(said.contains("no longer has its saved position"), "{said}");
    assert!(said.contains("nothing was changed"), "{said}");
    // The target's groups can always go back as far as the topic reaches: rows come twice, and merge.
    let mut saved: Value =
        serde_json::from_str(&std::fs::read_to_string(&file).expect("a file")).expect("JSON");
    saved["connectors"] = serde_json::json!({});
    saved["groups"]["ch_users_consumer"]["postgres.public.users/0"] = 0.into();
    std::fs::write(&file, saved.to_string()).expect("written");
    let said = sandbox.fails(&["offsets", "restore", &file], 3);
    assert!(said.contains("--yes"), "{said}");
    let changed = sandbox.json(&["offsets", "restore", &file, "--yes"]);
    assert!(
        !changed["changes"].as_array().expect("changes").is_empty(),
        "{changed}"
    );
    sandbox.converged().await;
    sandbox.ok(&["verify"]);
    saved["groups"]["ch_users_consumer"]["postgres.public.users/0"] = 1_000_000.into();
    std::fs::write(&file, saved.to_string()).expect("written");
    let said = sandbox.fails(&["offsets", "restore", &file, "--yes"], 1);
    assert!(said.contains("the topic ends at"), "{said}");
}
