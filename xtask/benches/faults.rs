//! How long after a fault its cause is told, how long after it changes arrive again when the printed
//! command is followed, and how long after it `heal` has mended it with nobody's help:
//! `cargo bench --profile dev --bench faults`. Nothing here passes or fails.
//!
//! As root a disk is filled too, and with `CDC_TEST_MONGODB=host:port` there are the document
//! source's faults. Parts can be named: `-- processes source connectors disk documents heal`.

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
#[path = "../tests/e2e/healer.rs"]
mod healer;
#[path = "support/healing.rs"]
mod healing;
#[path = "support/machine.rs"]
mod machine;
#[path = "../tests/support/ports.rs"]
mod ports;
#[path = "../tests/e2e/proxy.rs"]
mod proxy;
#[path = "../tests/e2e/sandbox.rs"]
mod sandbox;

#[path = "../tests/e2e/diagnosis"]
mod diagnosis {
    pub mod documents;
    pub mod faults;
    pub mod member;
    pub mod room;
    pub mod run;
}

use std::collections::BTreeMap;

use diagnosis::documents::{DOCUMENTS, with_member};
use diagnosis::faults::{CONNECTORS, PROCESSES, SOURCE, with_own_cache, with_own_user};
use diagnosis::room::{DISK, Room};
use diagnosis::run;
use sandbox::Sandbox;

#[tokio::main]
async fn main() {
    if !machine::is_wanted() {
        return;
    }
    machine::print();
    // Parts that are named, or all.
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|it| !it.starts_with("--"))
        .collect();
    let wants = |part: &str| named.is_empty() || named.iter().any(|it| it == part);
    let mut outcomes = Vec::new();
    if wants("processes") {
        let of = run::all(Sandbox::up("bench-processes"), PROCESSES).await;
        outcomes.extend(of.1);
    }
    if wants("source") {
        let of = run::all(with_own_user("bench-source").await, SOURCE).await;
        outcomes.extend(of.1);
    }
    if wants("connectors") {
        let of = run::all(with_own_cache("bench-connectors"), CONNECTORS).await;
        outcomes.extend(of.1);
    }
    if wants("disk") {
        match Room::mounted("bench-disk") {
            Some(room) => {
                let (sandbox, of) = run::all(Sandbox::up(room.name()), DISK).await;
                room.unmount(sandbox);
                outcomes.extend(of);
            }
            None => println!("skipped: a full disk: no file system may be mounted"),
        }
    }
    if wants("documents") {
        match with_member("bench-documents") {
            Some(sandbox) => outcomes.extend(run::all(sandbox, DOCUMENTS).await.1),
            None => println!("skipped: the document source: CDC_TEST_MONGODB is not set"),
        }
    }
    if !outcomes.is_empty() {
        told(&outcomes);
    }
    if wants("heal") {
        println!("\nhealed by `heal --watch`, load {}:", machine::load());
        healing::print(&healing::all("bench-heal").await);
        println!(
            "\nStrimzi's autoRestart looks at what is FAILED alone: at once, and 2, 6, 12, 20, 30, 42 minutes later."
        );
    }
}

/// What was provoked beside what was told.
fn told(outcomes: &[run::Outcome]) {
    run::print(outcomes);
    println!("\nprovoked x reported:");
    let mut confusion: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for it in outcomes {
        *confusion.entry((it.provoked, &it.told)).or_default() += 1;
    }
    for ((provoked, told), count) in confusion {
        let right = if provoked == told { "" } else { "  WRONG" };
        println!("{provoked:<22} {told:<22} {count}{right}");
    }
}
