//! Components that end and begin again while rows are inserted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::sandbox::Sandbox;

/// Beside the figure, a row takes its usual way: up to a second through poll, commit and flush, on a
/// machine that runs everything at once; and the figure's positions are looked at every 50 ms.
const USUAL: Duration = Duration::from_secs(3);

/// Inserts rows, and looks at the target for each; by how much the latest was late.
async fn inserts(sandbox: &Sandbox, round: &str, stop: &AtomicBool) -> (usize, Duration) {
    let session = sandbox.postgres().await;
    let target = sandbox.clickhouse();
    let mut sent: Vec<(String, Instant)> = Vec::new();
    let (mut arrived, mut latest, mut number) = (0, Duration::ZERO, 0);
    let begin = Instant::now();
    loop {
        let stopped = stop.load(Ordering::Relaxed);
        if stopped && sent.is_empty() {
            return (arrived, latest);
        }
        assert!(
            begin.elapsed() < Duration::from_secs(240),
            "{} rows never arrived, the first is {:?}",
            sent.len(),
            sent.first()
        );
        if !stopped {
            let email = format!("{round}-{number}@example.com");
            number += 1;
            let sql = format!("INSERT INTO users (full_name, email) VALUES ('Roll', '{email}')");
            session.execute(&sql).await.expect("inserted");
            sent.push((email, Instant::now()));
        }
        let text = target
            .text("SELECT DISTINCT email FROM users_silver WHERE full_name = 'Roll' FORMAT TSVRaw")
            .await
            .unwrap_or_default();
        let there: std::collections::HashSet<&str> = text.lines().collect();
        sent.retain(|(email, at)| {
            let is = there.contains(email.as_str());
            if is {
                arrived += 1;
                latest = latest.max(at.elapsed());
            }
            !is
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_is_lost_nor_later_than_the_figure() {
    let sandbox = Arc::new(Sandbox::up("rolling"));
    for component in ["connect", "kafka"] {
        let before = sandbox.pid(component);
        let stop = Arc::new(AtomicBool::new(false));
        let rolled = {
            let (sandbox, stop) = (sandbox.clone(), stop.clone());
            tokio::task::spawn_blocking(move || {
                // The figure shall hold for rows that are on their way from the beginning.
                std::thread::sleep(Duration::from_secs(2));
                let rolled = sandbox.json(&["rolling-restart", component]);
                std::thread::sleep(Duration::from_secs(1));
                stop.store(true, Ordering::Relaxed);
                rolled
            })
        };
        let (arrived, latest) = inserts(&sandbox, component, &stop).await;
        let rolled = rolled.await.expect("it ends");
        assert_eq!(rolled["ok"], true, "{rolled}");
        assert_ne!(
            sandbox.pid(component),
            before,
            "{component} was not restarted"
        );
        let still = Duration::from_millis(rolled["still_ms"].as_u64().expect("a figure"));
        println!(
            "{component}: {arrived} rows, the latest after {latest:?}, still for {still:?}: {rolled}"
        );
        assert!(arrived > 20, "{arrived}");
        assert!(still > Duration::from_millis(500), "{still:?}");
        assert!(
            latest <= still + USUAL,
            "{component}: {latest:?} of {still:?}"
        );
    }
    sandbox.converged().await;
}

#[tokio::test]
async fn every_component_begins_again_and_what_rests_stays_at_rest() {
    let sandbox = Sandbox::up("restart");
    for component in ["clickhouse", "postgres", "kafka"] {
        let before = sandbox.pid(component);
        let restarted = sandbox.json(&["restart", component]);
        assert_eq!(restarted["ok"], true, "{restarted}");
        assert_eq!(restarted["restarted"], component);
        assert_ne!(sandbox.pid(component), before);
    }
    sandbox.converged().await;

    let before = sandbox.pid("connect");
    let said = sandbox.ok(&["restart", "connect", "--dry-run"]);
    assert!(said.contains("connect/stop"), "{said}");
    assert_eq!(sandbox.pid("connect"), before);
    sandbox.ok(&["connector", "pause", "postgres"]);
    sandbox.ok(&["restart", "connect"]);
    let status = sandbox.json(&["connector", "list"]);
    assert_eq!(status["connectors"][0]["state"], "PAUSED", "{status}");
    sandbox.ok(&["connector", "resume", "postgres"]);

    // A kill in the middle: what was stopped is started by the same command.
    let mut child = sandbox.spawn(&["restart", "connect"]);
    let record = sandbox.dir().join("run/connect.json");
    let begin = Instant::now();
    while record.exists() && begin.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(1));
    }
    crate::sandbox::kill(child.id());
    child.wait().expect("ended");
    sandbox.ok(&["restart", "connect"]);
    sandbox.converged().await;

    assert!(
        sandbox
            .fails(&["restart", "operator"], 3)
            .contains("no operator")
    );
    assert!(sandbox.fails(&["restart", "mongodb"], 4).contains("mongod"));
    assert!(
        sandbox
            .fails(&["restart", "konnect"], 3)
            .contains("`connect`")
    );
    assert!(
        sandbox
            .fails(&["rolling-restart", "postgres"], 3)
            .contains("kafka")
    );
    assert!(
        sandbox
            .fails(&["image", "update"], 3)
            .contains("images are for clusters")
    );
}
