//! Provoking what a restart can mend under a healer that watches, and the times of what it does.

use std::time::{Duration, Instant};

use xtask::clock;

use crate::diagnosis::faults::{CONNECTORS, Fault, PROCESSES, end_reader};
use crate::healer::{Watch, event, events};
use crate::proxy::{Load, behind_proxy};
use crate::sandbox::Sandbox;

/// How long rows may take to arrive once it is healed. A machine may be busy.
const ARRIVED: Duration = Duration::from_secs(300);
const CONNECTOR: &str = "connector postgres-connector";

/// What came of one fault.
pub struct Healed {
    fault: &'static str,
    found: String,
    found_after: f64,
    healed_after: f64,
    arrived_after: f64,
    restarts: usize,
    /// Whether the connector or its task becomes FAILED, which is all that Strimzi looks at.
    fails: bool,
}

/// A fault that is healed with nobody's help, and whether it makes something FAILED.
fn faults() -> impl Iterator<Item = (&'static Fault, bool)> {
    let all = PROCESSES.iter().chain(CONNECTORS);
    all.filter_map(|fault| match fault.name {
        // Its task fails over the outage.
        "postgres killed" => Some((fault, true)),
        "connect killed" | "kafka killed" | "clickhouse killed" | "connector deleted" => {
            Some((fault, false))
        }
        _ => None,
    })
}

/// Has all of them healed, one after the other.
pub async fn all(name: &str) -> Vec<Healed> {
    let (mut sandbox, proxy) = behind_proxy(name);
    let mut rows = Vec::new();
    for (fault, fails) in faults() {
        let watch = begin(&sandbox).await;
        let at = clock::now_ms();
        let _undo = (fault.provoke)(&mut sandbox).await;
        rows.push(healed(&sandbox, fault.name, fault.subject, fails, at, watch).await);
    }
    let watch = begin(&sandbox).await;
    let at = clock::now_ms();
    end_reader(&sandbox).await;
    rows.push(healed(&sandbox, "task failed", CONNECTOR, true, at, watch).await);
    let watch = begin(&sandbox).await;
    let at = clock::now_ms();
    assert_eq!(proxy.silence(), 1, "one reads the log");
    let name = "connection of the connector silent";
    rows.push(healed(&sandbox, name, CONNECTOR, false, at, watch).await);
    rows
}

/// A healer without a past: pauses after earlier restarts would be counted as its time.
async fn begin(sandbox: &Sandbox) -> Watch {
    let _ = std::fs::remove_file(sandbox.dir().join("heal.jsonl"));
    let watch = Watch::begin(sandbox, &[]);
    event(sandbox, "began", |_| true).await;
    watch
}

async fn healed(
    sandbox: &Sandbox,
    fault: &'static str,
    subject: &str,
    fails: bool,
    at: u64,
    watch: Watch,
) -> Healed {
    println!("{fault}");
    let load = Load::begin(sandbox);
    let found = event(sandbox, "found", |it| it["subject"] == subject).await;
    let healed = event(sandbox, "healed", |it| it["subject"] == subject).await;
    load.end().await;
    let begin = Instant::now();
    while sandbox.source_rows().await != sandbox.target_rows().await {
        assert!(begin.elapsed() < ARRIVED, "{fault}: rows do not arrive");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let since = |ms: u64| Duration::from_millis(ms.saturating_sub(at)).as_secs_f64();
    let time = |event: &serde_json::Value| since(event["at"].as_u64().expect("a time"));
    let arrived_after = since(clock::now_ms());
    let restarts = events(sandbox, "attempt").len();
    watch.end();
    Healed {
        fault,
        found: found["code"].as_str().expect("a code").to_owned(),
        found_after: time(&found),
        healed_after: time(&healed),
        arrived_after,
        restarts,
        fails,
    }
}

/// Prints what the healer did beside what Strimzi's `autoRestart` would.
pub fn print(rows: &[Healed]) {
    println!(
        "| fault | found as | found after | healed after | all rows at the target after | restarts | `autoRestart` |"
    );
    println!("|---|---|---|---|---|---|---|");
    for it in rows {
        println!(
            "| {} | {} | {:.1} s | {:.1} s | {:.1} s | {} | {} |",
            it.fault,
            it.found,
            it.found_after,
            it.healed_after,
            it.arrived_after,
            it.restarts,
            match it.fails {
                true => "after 0, 2, 6, 12 ... min",
                false => "never",
            }
        );
    }
}
