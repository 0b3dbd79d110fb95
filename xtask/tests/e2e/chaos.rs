//! `chaos` from the outside: its rounds find no difference, its environment is its own, and it is gone afterwards.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::ports;
use crate::sandbox::{Sandbox, interrupt};

/// Ports of its own: other tests take others at the same time.
fn sets() -> Vec<String> {
    [
        "kafka.port",
        "kafka.controller_port",
        "connect.port",
        "clickhouse.port",
        "postgres.port",
        "components.target.port",
        "connectors.chaos-source.config.database.port",
    ]
    .map(|key| format!("--set={key}={}", ports::free(21_000)))
    .to_vec()
}

fn words<'a>(first: &[&'a str], sets: &'a [String]) -> Vec<&'a str> {
    let sets = sets.iter().map(String::as_str);
    first.iter().copied().chain(sets).collect()
}

#[tokio::test]
async fn nothing_is_lost_over_kills_and_a_dropped_slot() {
    let sandbox = Sandbox::new("chaos");
    let sets = sets();
    let args = [
        "chaos",
        "--seed",
        "7",
        "--rounds",
        "3",
        "--only",
        "kill,slot",
    ];
    let plan = sandbox.json(&words(&[&args[..], &["--dry-run"]].concat(), &sets));
    let again = sandbox.json(&words(&[&args[..], &["--dry-run"]].concat(), &sets));
    assert_eq!(plan, again);
    let refused = sandbox.fails(&words(&args, &sets), 3);
    assert!(refused.contains("cargo xtask chaos"), "{refused}");

    let report = sandbox.json(&words(&[&args[..], &["--yes"]].concat(), &sets));
    assert_eq!(report["fine"], true, "{report:#}");
    assert_eq!(report["played"], 3, "{report:#}");
    let rounds = report["rounds"].as_array().unwrap();
    let faults: Vec<&Value> = rounds.iter().map(|it| &it["fault"]).collect();
    let planned = plan["dry_run"].as_array().unwrap();
    let planned: Vec<&Value> = planned.iter().map(|it| &it["fault"]).collect();
    assert_eq!(faults, planned);
    assert!(report["acknowledged"].as_u64() > Some(100), "{report:#}");
    assert!(sandbox.processes().is_empty(), "{:?}", sandbox.processes());
}

#[tokio::test]
async fn an_interrupted_run_leaves_nothing() {
    let sandbox = Sandbox::new("chaos-interrupted");
    let sets = sets();
    let args = ["chaos", "--yes", "--seed", "7"];
    let mut child = sandbox.spawn(&words(&args, &sets));
    let record = sandbox.state().join("cdc-xtask/chaos/run/kafka.json");
    let begin = Instant::now();
    while !record.exists() {
        assert!(begin.elapsed() < Duration::from_secs(60), "nothing starts");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    interrupt(child.id());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(sandbox.processes().is_empty(), "{:?}", sandbox.processes());
    assert!(!sandbox.state().join("cdc-xtask/chaos").exists());
}
