//! How long the daily operations take on `host`: `cargo bench --profile dev --bench operations`.
//!
//! Each is timed as a whole process, on the default profile. Nothing here passes or fails.

#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::panic
)]

#[allow(dead_code, reason = "the tests use all of it")]
#[path = "../tests/support/commands.rs"]
mod commands;
#[path = "support/machine.rs"]
mod machine;
#[path = "../tests/support/ports.rs"]
mod ports;
#[path = "../tests/e2e/sandbox.rs"]
mod sandbox;

use std::time::{Duration, Instant};

use sandbox::Sandbox;

const RUNS: usize = 9;

fn main() {
    if !machine::is_wanted() {
        return;
    }
    machine::print();
    let sandbox = Sandbox::up("bench-operations");
    println!("{:<34} {:>9} {:>9}", "", "median", "longest");
    for args in [
        &["connector", "list"][..],
        &["connector", "status"],
        &["slot", "list"],
        &["topic", "list"],
        &["topic", "count", "postgres.public.users"],
        &["group", "list"],
        &["lag"],
        &["status"],
    ] {
        row(
            &args.join(" "),
            (0..RUNS).map(|_| took(&sandbox, args)).collect(),
        );
    }
    let args = ["connector", "restart", "postgres"];
    row(
        &args.join(" "),
        (0..3).map(|_| took(&sandbox, &args)).collect(),
    );
    let (mut first, mut all) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let summary = sandbox.json(&["reset-connector", "postgres", "--yes"]);
        let ms = |value: &serde_json::Value| Duration::from_millis(value.as_u64().unwrap());
        first.push(ms(&summary["flows"][0]["first_row_ms"]));
        all.push(ms(&summary["took_ms"]));
    }
    row("reset-connector: first row in silver", first);
    row("reset-connector: all", all);
}

fn took(sandbox: &Sandbox, args: &[&str]) -> Duration {
    let begin = Instant::now();
    sandbox.ok(args);
    begin.elapsed()
}

fn row(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{what:<34} {:>7.2} s {:>7.2} s",
        median.as_secs_f64(),
        longest.as_secs_f64()
    );
}
