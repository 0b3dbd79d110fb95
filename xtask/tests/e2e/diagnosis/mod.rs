//! Faults that are provoked for real: each is told by its own code, and the command that is printed
//! as the next one mends it. `benches/faults.rs` prints the times.

pub mod documents;
pub mod faults;
pub mod member;
pub mod room;
pub mod run;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::sandbox::Sandbox;
use faults::Fault;

async fn told_and_mended(sandbox: Sandbox, faults: &[Fault]) {
    let (sandbox, outcomes) = run::all(sandbox, faults).await;
    run::print(&outcomes);
    for it in &outcomes {
        assert_eq!(it.told, it.provoked, "{}", it.fault);
    }
    sandbox.converged().await;
}

#[tokio::test]
async fn processes_that_end_or_rest_are_told_and_mended() {
    told_and_mended(Sandbox::up("diagnose"), faults::PROCESSES).await;
}

#[tokio::test]
async fn troubles_of_the_source_are_told_and_mended() {
    told_and_mended(faults::with_own_user("source").await, faults::SOURCE).await;
}

#[tokio::test]
async fn troubles_of_connectors_and_the_target_are_told_and_mended() {
    told_and_mended(faults::with_own_cache("connectors"), faults::CONNECTORS).await;
}

#[tokio::test]
#[ignore = "mounts a file system: wants root, and CDC_TEST_MOUNT"]
async fn a_full_disk_is_told_and_room_mends_it() {
    let room = room::Room::mounted("disk").expect("a file system of its own");
    let sandbox = Sandbox::up(room.name());
    let (sandbox, outcomes) = run::all(sandbox, room::DISK).await;
    run::print(&outcomes);
    for it in &outcomes {
        assert_eq!(it.told, it.provoked, "{}", it.fault);
    }
    sandbox.converged().await;
    room.unmount(sandbox);
}

#[tokio::test]
#[ignore = "needs CDC_TEST_MONGODB=host:port"]
async fn troubles_of_an_external_member_are_told_and_mended() {
    let sandbox = documents::with_member("documents").expect("CDC_TEST_MONGODB");
    let (sandbox, outcomes) = run::all(sandbox, documents::DOCUMENTS).await;
    run::print(&outcomes);
    for it in &outcomes {
        assert_eq!(it.told, it.provoked, "{}", it.fault);
    }
    // The member has no users, so that no password is the right one: it is told, and that is all.
    let login = ["mongodb.user=nobody", "mongodb.password=nottheone"];
    let text = sandbox.fails(&["up", "--set", login[0], "--set", login[1]], 1);
    assert!(text.contains("LOGIN_REFUSED"), "{text}");
    assert!(!text.contains("nottheone"), "{text}");
    let diagnosis = sandbox.json(&["diagnose"]);
    assert_eq!(
        diagnosis["findings"][0]["code"], "LOGIN_REFUSED",
        "{diagnosis:#}"
    );
    assert_eq!(
        diagnosis["findings"][0]["subject"], "mongodb",
        "{diagnosis:#}"
    );
    sandbox.ok(&["up", "--require", "mongodb"]);
    sandbox.ok(&["verify"]);
}

#[tokio::test]
async fn a_healthy_pipeline_under_load_is_never_blamed() {
    let sandbox = Sandbox::up("healthy");
    let session = sandbox.postgres().await;
    let load = tokio::spawn(async move {
        for round in 0_u32.. {
            let sql = format!(
                "INSERT INTO users (full_name, email) \
                 SELECT 'Load', '{round}-' || n || '@example.com' FROM generate_series(1, 500) AS n"
            );
            if session.execute(&sql).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    for run in 0..20 {
        let diagnosis = sandbox.json(&["diagnose"]);
        assert_eq!(
            diagnosis["findings"],
            serde_json::json!([]),
            "{run}: {diagnosis:#}"
        );
        assert_eq!(diagnosis["sound"], true, "{run}: {diagnosis:#}");
    }
    load.abort();
    sandbox.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_slow_is_waited_for() {
    let sandbox = Sandbox::up("slow");
    let stop = Arc::new(AtomicBool::new(false));
    // So many for each processor that want it all: answers took longer than the two seconds that they had.
    let busy = std::thread::available_parallelism().map_or(2, usize::from) * 10;
    for _ in 0..busy {
        let stop = stop.clone();
        std::thread::spawn(move || while !stop.load(Relaxed) {});
    }
    let seen: Vec<_> = (0..2)
        .map(|_| sandbox.json(&["diagnose", "--wait", "2m"]))
        .collect();
    stop.store(true, Relaxed);
    for diagnosis in seen {
        println!("facts took {} ms", diagnosis["took_ms"]);
        assert_eq!(diagnosis["unknown"], serde_json::json!([]), "{diagnosis:#}");
        assert_eq!(
            diagnosis["findings"],
            serde_json::json!([]),
            "{diagnosis:#}"
        );
    }
}

#[tokio::test]
async fn a_bundle_tells_everything_but_secrets() {
    let sandbox = Sandbox::up("bundle");
    // A healer that has something to tell later.
    sandbox.ok(&["heal"]);
    // A secret that somebody lets into a log.
    let session = sandbox.postgres().await;
    let password = sandbox.password("postgres");
    let leak = format!("SELECT '{password}' FROM no_such_table");
    assert!(session.query(&leak).await.is_err());
    sandbox.kill("clickhouse");
    let file = sandbox.dir().join("bundle.tar.gz");
    let text = sandbox.fails(&["diagnose", "--bundle", file.to_str().expect("text")], 1);
    assert!(text.contains("PROCESS_ENDED"), "{text}");
    assert!(crate::sandbox::is_private(&file));

    let into = sandbox.dir().join("bundle");
    std::fs::create_dir(&into).expect("made");
    let status = Command::new("tar")
        .arg("xzf")
        .arg(&file)
        .arg("-C")
        .arg(&into)
        .status();
    assert!(status.expect("tar starts").success());
    let log = std::fs::read_to_string(sandbox.dir().join("logs/postgres.log")).expect("a log");
    assert!(log.contains(&password), "the trap is set");
    let mut seen = 0;
    let mut folders = vec![into.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
                continue;
            }
            seen += 1;
            let text = std::fs::read_to_string(entry.path()).expect("text");
            for component in ["postgres", "clickhouse"] {
                let secret = sandbox.password(component);
                assert!(!text.contains(&secret), "{}", entry.path().display());
            }
        }
    }
    assert!(seen > 8, "{seen} files");
    for file in [
        "facts.json",
        "findings.json",
        "about.json",
        "heal.jsonl",
        "logs/connect.log",
    ] {
        assert!(into.join(file).is_file(), "{file}");
    }

    let fixed = sandbox.json(&["diagnose", "--fix"]);
    assert_eq!(fixed["sound"], true, "{fixed:#}");
    let done: Vec<String> = serde_json::from_value(fixed["fixed"].clone()).unwrap();
    let done: Vec<String> = done.iter().map(|it| crate::commands::bare(it)).collect();
    assert_eq!(done, ["cargo xtask up"], "{fixed:#}");
    // What fails tells the cause by the same rules.
    sandbox.kill("connect");
    let text = sandbox.fails(&["verify"], 1);
    assert!(text.contains("PROCESS_ENDED connect"), "{text}");
    let status = sandbox.json(&["status"]);
    assert_eq!(status["findings"][0]["code"], "PROCESS_ENDED", "{status:#}");
    sandbox.ok(&["up"]);
}
