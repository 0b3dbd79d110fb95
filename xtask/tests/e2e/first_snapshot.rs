//! A first snapshot takes as long as its tables are large: `status` and `lag` say how far it is, nothing is reported
//! as broken meanwhile, and `up` waits for it.

use std::time::{Duration, Instant};

use crate::own_tables::{flow, run};
use crate::sandbox::Sandbox;

/// More than a connector reads before it is looked at.
const ROWS: u32 = 80_000;

#[tokio::test]
async fn a_first_snapshot_says_how_far_it_is() {
    let mut sandbox = Sandbox::new("first-snapshot");
    sandbox.ports.retain(|key, _| *key != "mongodb.port");
    let profile = sandbox.state().join("own.yaml");
    let head = "postgres: {schema: []}\nconnectors:\n  pg: {source: postgres, prefix: own, slot: own, publication: own, config: {}}\nflows:\n";
    let text = format!("{head}{}", flow("big", "public.big", "id", ""));
    std::fs::write(&profile, text).unwrap();
    sandbox.profile = Some(profile);
    // The server is there before its table is.
    sandbox.fails(&["up"], 1);
    let session = sandbox.postgres().await;
    let rows = format!("SELECT n, 'row ' || n FROM generate_series(1, {ROWS}) n");
    run(
        &session,
        &format!("CREATE TABLE big (id bigint PRIMARY KEY, name text); INSERT INTO big {rows}; ANALYZE big"),
    )
    .await;
    let mut up = sandbox.spawn(&["up"]);
    let begin = Instant::now();
    let seen = loop {
        assert!(up.try_wait().unwrap().is_none(), "`up` did not wait for it");
        assert!(begin.elapsed() < Duration::from_secs(120), "never seen");
        let status = sandbox.json(&["status"]);
        let seen = &status["rereads"]["pg"];
        if seen["first"] == true && seen["seen"]["rows"].as_u64() > Some(0) {
            break seen.clone();
        }
    };
    assert_eq!(seen["seen"]["of"], ROWS, "{seen:#}");
    // Asked while it lasts; the connector may be past it by the second.
    let lag = sandbox.ok(&["lag"]);
    let diagnosis = sandbox.json(&["diagnose"]);
    assert_eq!(
        diagnosis["findings"],
        serde_json::json!([]),
        "{diagnosis:#}"
    );
    if sandbox.json(&["status"])["rereads"]["pg"]["first"] == true {
        assert!(lag.contains("its first snapshot: "), "{lag}");
    }
    assert!(up.wait().unwrap().success());
    let report = sandbox.json(&["reconcile"]);
    assert_eq!(report["status"], "PASS", "{report:#}");
    assert_eq!(report["source_total_rows"], ROWS, "{report:#}");
}
