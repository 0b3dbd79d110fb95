//! kill -9 anywhere, and nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use crate::sandbox::{Sandbox, interrupt, kill};

/// Inserts until it is told to stop, over reconnects; counts what the server confirmed.
fn insert_loop(
    sandbox: &Arc<Sandbox>,
) -> (Arc<AtomicBool>, Arc<AtomicU64>, tokio::task::JoinHandle<()>) {
    let (stop, count) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (stopped, counted, sandbox) = (stop.clone(), count.clone(), sandbox.clone());
    let task = tokio::spawn(async move {
        let mut session = None;
        let mut number = 0_u64;
        while !stopped.load(SeqCst) {
            number += 1;
            if session.is_none() {
                let password = sandbox.password("postgres");
                let endpoint = xtask::platform::Endpoint::loopback(sandbox.ports["postgres.port"])
                    .login("postgres", xtask::platform::Secret::new(password));
                session = xtask::clients::postgres::Postgres::connect(&endpoint, "postgres")
                    .await
                    .ok();
            }
            let sql = format!(
                "INSERT INTO users (full_name, email) VALUES ('n{number}', 'n{number}@loop')"
            );
            match &session {
                Some(open) if open.execute(&sql).await.is_ok() => {
                    counted.fetch_add(1, SeqCst);
                }
                _ => session = None,
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    (stop, count, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_component_is_named_and_repaired_without_losing_a_row() {
    let sandbox = Arc::new(Sandbox::up("component"));
    let (stop, count, task) = insert_loop(&sandbox);
    for component in ["clickhouse", "connect", "kafka", "postgres"] {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let pid = sandbox.pid(component);
        sandbox.kill(component);
        let text = sandbox.fails(&["status"], 1);
        assert!(
            text.contains(&format!("its process (pid {pid}) has ended")),
            "{component}: {text}"
        );
        sandbox.ok(&["up"]);
        assert_ne!(sandbox.pid(component), pid);
        println!("{component} was killed; {} rows so far", count.load(SeqCst));
    }
    stop.store(true, SeqCst);
    task.await.unwrap();
    let rows = sandbox.converged().await;
    let kept = rows.iter().filter(|row| row.contains("@loop")).count() as u64;
    // A row whose confirmation was lost with the connection may be there too.
    assert!(
        kept >= count.load(SeqCst),
        "{kept} of {}",
        count.load(SeqCst)
    );
    assert!(kept > 100, "the loop hardly ran: {kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_killed_at_once_comes_back() {
    let sandbox = Arc::new(Sandbox::up("all"));
    let (stop, count, task) = insert_loop(&sandbox);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for component in ["kafka", "connect", "clickhouse", "postgres"] {
        sandbox.kill(component);
    }
    sandbox.ok(&["up"]);
    stop.store(true, SeqCst);
    task.await.unwrap();
    let rows = sandbox.converged().await;
    let kept = rows.iter().filter(|row| row.contains("@loop")).count() as u64;
    assert!(kept >= count.load(SeqCst));
}

#[tokio::test]
async fn up_killed_at_any_point_converges() {
    let sandbox = Sandbox::new("up");
    // From the first file to the last gate; then once more from a stopped environment.
    for delay in [30, 120, 400, 900, 1500, 2500, 4000, 6000, 8000, 9500] {
        let child = sandbox.spawn(&["up"]);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        kill_if_running(child);
    }
    sandbox.ok(&["up"]);
    let rows = sandbox.converged().await;
    assert!(rows.len() >= 4, "{rows:?}");
    sandbox.ok(&["down", "--keep-data"]);
    for delay in [50, 300, 1000, 3000, 5000] {
        let child = sandbox.spawn(&["up"]);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        kill_if_running(child);
    }
    sandbox.ok(&["up"]);
    assert_eq!(sandbox.json(&["status"])["current"], true);
    // One process of each component, not one of each attempt.
    assert_eq!(
        sandbox
            .processes()
            .iter()
            .filter(|line| line.contains("kafka.Kafka")
                || line.contains("ConnectDistributed")
                || line.contains("server.py")
                || line.contains("bin/postgres -D"))
            .count(),
        4,
        "{:#?}",
        sandbox.processes()
    );
}

#[tokio::test]
async fn down_killed_at_any_point_converges() {
    let sandbox = Sandbox::up("down");
    for delay in [20, 300, 1200] {
        let child = sandbox.spawn(&["down", "--yes"]);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        kill_if_running(child);
    }
    sandbox.ok(&["down", "--yes"]);
    assert_eq!(sandbox.processes(), Vec::<String>::new());
    assert!(!sandbox.dir().exists());
    sandbox.ok(&["up"]);
    sandbox.converged().await;
}

fn kill_if_running(mut child: std::process::Child) {
    if child.try_wait().unwrap().is_none() {
        kill(child.id());
    }
    child.wait().unwrap();
}

/// An `up` in the middle of what PostgreSQL's `initdb` does through servers of its own: it makes the
/// databases 1, 4 and 5, one after the other.
async fn within_initdb(sandbox: &Sandbox, database: &str) -> std::process::Child {
    let unfinished = sandbox.dir().join("data/.postgres.new");
    let finished = sandbox.dir().join("data/postgres");
    // On a busy machine the run before may have come further than it was to.
    if finished.is_dir() {
        sandbox.ok(&["down", "--yes"]);
    }
    // What the run before left is to be removed first.
    let before = unfinished.join("before");
    if unfinished.is_dir() {
        std::fs::write(&before, "").expect("a mark");
    }
    let base = unfinished.join("base");
    let mut child = sandbox.spawn(&["up"]);
    while !finished.is_dir() && (before.exists() || !base.join(database).is_dir()) {
        assert_eq!(child.try_wait().unwrap(), None, "it ended");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    child
}

#[tokio::test]
async fn an_interrupted_up_says_so_and_the_next_one_finishes() {
    let sandbox = Sandbox::new("interrupt");
    for database in ["1", "4", "5", "4"] {
        let mut child = within_initdb(&sandbox, database).await;
        interrupt(child.id());
        assert_eq!(child.wait().unwrap().code(), Some(130));
    }
    let mut child = within_initdb(&sandbox, "4").await;
    kill(child.id());
    child.wait().unwrap();
    sandbox.ok(&["up"]);
    sandbox.converged().await;
}

#[tokio::test]
async fn downloads_survive_a_kill_and_two_runs_at_once() {
    let mut first = Sandbox::new("cache-a");
    let mut second = Sandbox::new("cache-b");
    let cache = first.dir().parent().unwrap().with_file_name("cache");
    first.cache = Some(cache.clone());
    second.cache = Some(cache.clone());
    for delay in [1000, 4000, 7000] {
        let child = first.spawn(&["up"]);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        kill_if_running(child);
    }
    std::thread::scope(|scope| {
        let other = scope.spawn(|| second.ok(&["up"]));
        first.ok(&["up"]);
        other.join().unwrap();
    });
    first.converged().await;
    second.converged().await;
}
