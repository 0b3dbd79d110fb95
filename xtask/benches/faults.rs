//! How long after a fault its cause is told, and how long after it changes arrive again when the printed
//! command is followed: `cargo bench --profile dev --bench faults`. Nothing here passes or fails.

#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::panic
)]

#[path = "../tests/support/ports.rs"]
mod ports;
#[path = "../tests/e2e/sandbox.rs"]
mod sandbox;

#[path = "../tests/e2e/diagnosis"]
mod diagnosis {
    pub mod faults;
    pub mod run;
}

use std::collections::BTreeMap;

use diagnosis::faults::{CONNECTORS, PROCESSES, SOURCE, with_own_cache, with_own_user};
use diagnosis::run;
use sandbox::Sandbox;

#[tokio::main]
async fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if std::env::args().all(|argument| argument != "--bench") {
        return;
    }
    println!("date: {}\n", xtask::clock::utc(xtask::clock::now_ms()));
    let mut outcomes = Vec::new();
    let (_, of) = run::all(Sandbox::up("bench-processes"), PROCESSES).await;
    outcomes.extend(of);
    let (_, of) = run::all(with_own_user("bench-source").await, SOURCE).await;
    outcomes.extend(of);
    let (_, of) = run::all(with_own_cache("bench-connectors"), CONNECTORS).await;
    outcomes.extend(of);
    run::print(&outcomes);
    println!(
        "\nStrimzi's autoRestart tries what is FAILED after 0, 2, 6, 12, 20, 30, 42 minutes, whatever the cause."
    );
    println!("\nprovoked x told:");
    let mut confusion: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for it in &outcomes {
        *confusion.entry((it.provoked, &it.told)).or_default() += 1;
    }
    for ((provoked, told), count) in confusion {
        let right = if provoked == told { "" } else { "  WRONG" };
        println!("{provoked:<22} {told:<22} {count}{right}");
    }
}
