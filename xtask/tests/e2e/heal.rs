//! A pipeline that breaks in many ways, and a healer that restarts only what a restart can mend.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::healer::{Watch, about, event, events};
use crate::sandbox::Sandbox;

pub const CONNECTOR: &str = "postgres-connector";

/// A request to Connect's REST interface.
pub fn connect(sandbox: &Sandbox, method: &str, path: &str) -> String {
    let address = (Ipv4Addr::LOCALHOST, sandbox.ports["connect.port"]);
    let mut connect = TcpStream::connect(address).expect("a worker");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: connect\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    connect.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    connect.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Waits until the connector's task has failed.
async fn failed(sandbox: &Sandbox) {
    let begin = Instant::now();
    loop {
        let status = connect(sandbox, "GET", &format!("/connectors/{CONNECTOR}/status"));
        if status.contains("FAILED") {
            return;
        }
        let long = begin.elapsed() > Duration::from_secs(90);
        assert!(!long, "the task does not fail: {status}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn stop(sandbox: &Sandbox, component: &str, signal: rustix::process::Signal) {
    let pid = i32::try_from(sandbox.pid(component)).expect("a pid");
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, signal).expect("signalled");
}

/// Takes what is posted to it.
struct Webhook {
    url: String,
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl Webhook {
    fn listen() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let taken = bodies.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                taken.lock().unwrap().extend(take(stream));
            }
        });
        Webhook {
            url: format!("http://127.0.0.1:{port}/hook?token=not-to-be-seen"),
            bodies,
        }
    }

    fn bodies(&self) -> Vec<Value> {
        self.bodies.lock().unwrap().clone()
    }
}

fn take(mut stream: TcpStream) -> Option<Value> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        bytes.extend(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str(body)
        {
            let answer = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).ok()?;
            return Some(body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_killed_and_what_failed_over_it_is_healed_once() {
    let mut sandbox = Sandbox::new("heal");
    // By default Debezium tries its source again and again, and no task fails over an outage.
    let retries = r#"connectors.postgres-connector.config={"errors.max.retries": "0"}"#;
    sandbox.extra.push(retries.into());
    sandbox.ok(&["up"]);
    // Nothing is wrong: nothing is done, whichever way it is asked.
    let would = sandbox.ok(&["heal", "--dry-run"]);
    assert!(would.contains("nothing would be done"), "{would}");
    assert_eq!(sandbox.json(&["heal"])["sound"], true);
    assert_eq!(events(&sandbox, "attempt"), Vec::<Value>::new());

    // A worker that was killed.
    let before = sandbox.pid("connect");
    sandbox.kill("connect");
    let would = sandbox.ok(&["heal", "--dry-run"]);
    assert!(
        would.contains("would run: cargo xtask restart connect"),
        "{would}"
    );
    assert_eq!(sandbox.pid("connect"), before, "a dry run changes nothing");
    assert_eq!(events(&sandbox, "attempt"), Vec::<Value>::new());
    let healed = sandbox.json(&["heal"]);
    assert_eq!(healed["sound"], true, "{healed}");
    assert_ne!(sandbox.pid("connect"), before);
    assert_eq!(events(&sandbox, "attempt").len(), 1);
    assert!(
        events(&sandbox, "healed")
            .iter()
            .any(about("PROCESS_ENDED", "connect"))
    );
    sandbox.converged().await;

    // A task that failed over an outage of its source which has passed.
    sandbox.kill("postgres");
    failed(&sandbox).await;
    let healed = sandbox.json(&["heal"]);
    assert_eq!(healed["sound"], true, "{healed}");
    assert!(
        events(&sandbox, "healed")
            .iter()
            .any(about("PROCESS_ENDED", "postgres"))
    );
    let subject = format!("connector {CONNECTOR}");
    let of_task = events(&sandbox, "attempt");
    let of_task: Vec<&Value> = of_task
        .iter()
        .filter(|it| it["subject"] == subject)
        .collect();
    assert_eq!(of_task.len(), 1, "{of_task:?}");
    let act = format!("cargo xtask connector restart {CONNECTOR} --only-failed");
    assert_eq!(of_task[0]["act"], act);
    sandbox.converged().await;
    assert_eq!(events(&sandbox, "escalated"), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_once_and_nothing_is_restarted() {
    let sandbox = Sandbox::up("healpass");
    let hook = Webhook::listen();
    let session = sandbox.postgres().await;
    session
        .execute("ALTER USER cdc_connector PASSWORD 'somebody-changed-it'")
        .await
        .expect("changed");
    // Debezium tries to log in again and again, and is said to run: silent for long enough to be stuck.
    let path = format!("/connectors/{CONNECTOR}/restart?includeTasks=true");
    connect(&sandbox, "POST", &path);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let watch = Watch::begin(&sandbox, &["--alert-webhook", &hook.url]);
    let escalated = event(&sandbox, "escalated", |it| it["code"] == "LOGIN_REFUSED").await;
    assert_eq!(escalated["reason"], "person");
    event(&sandbox, "alerted", |it| it["code"] == "LOGIN_REFUSED").await;
    // Several rounds, and another healer after a kill: no second word, and no restart.
    tokio::time::sleep(Duration::from_secs(8)).await;
    watch.kill();
    let watch = Watch::begin(&sandbox, &["--alert-webhook", &hook.url]);
    tokio::time::sleep(Duration::from_secs(8)).await;
    let bodies = hook.bodies();
    let mut told: Vec<String> = bodies
        .iter()
        .map(|it| format!("{} {} {}", it["code"], it["subject"], it["reason"]))
        .collect();
    let count = told.len();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), count, "told twice: {bodies:?}");
    let login = bodies
        .iter()
        .find(|it| it["code"] == "LOGIN_REFUSED")
        .expect("told");
    assert_eq!(login["environment"], "clickhouse");
    let next = login["next"].as_str().expect("a command");
    assert!(next.contains("cargo xtask"), "{next}");
    assert_eq!(events(&sandbox, "attempt"), Vec::<Value>::new());
    let text = std::fs::read_to_string(sandbox.dir().join("heal.jsonl")).expect("a history");
    assert!(!text.contains("not-to-be-seen"), "{text}");
    assert_eq!(watch.end(), Some(130));

    let back = format!(
        "ALTER USER cdc_connector PASSWORD '{}'",
        sandbox.password("postgres-connector")
    );
    session.execute(&back).await.expect("changed back");
    sandbox.ok(&["connector", "restart", CONNECTOR]);
    let healed = sandbox.json(&["heal"]);
    assert_eq!(healed["sound"], true, "{healed}");
    sandbox.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_gone_is_not_made_again() {
    let sandbox = Sandbox::up("healslot");
    let hook = Webhook::listen();
    let session = sandbox.postgres().await;
    sandbox.kill("connect");
    // The server notices that its reader is gone.
    let begin = Instant::now();
    while session
        .query("SELECT pg_drop_replication_slot('debezium')")
        .await
        .is_err()
    {
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "the slot is still read"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let insert = "INSERT INTO users (full_name, email) VALUES ('Lost', 'lost@example.com')";
    session.execute(insert).await.expect("a row");
    let left = {
        let mut command = sandbox.command(&["heal", "--output", "json"]);
        let output = command
            .env("CDC_ALERT_WEBHOOK", &hook.url)
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    assert_eq!(left["sound"], false);
    assert_eq!(events(&sandbox, "attempt"), Vec::<Value>::new(), "{left}");
    let escalated = events(&sandbox, "escalated");
    let slot = escalated
        .iter()
        .find(|it| it["code"] == "SLOT_MISSING")
        .expect("told");
    let next = slot["next"].as_str().expect("a command");
    assert!(
        next.contains(&format!("cargo xtask reset-connector {CONNECTOR}")),
        "{next}"
    );
    assert!(hook.bodies().iter().any(|it| it["code"] == "SLOT_MISSING"));
    let slots = session
        .query("SELECT slot_name FROM pg_replication_slots")
        .await;
    assert_eq!(slots.expect("slots").len(), 0);
    // What it says is what helps.
    sandbox.run(&["up"]);
    sandbox.ok(&["reset-connector", CONNECTOR, "--yes"]);
    sandbox.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healer_that_watches_survives_losses_and_kills() {
    let sandbox = Sandbox::up("healwatch");
    let watch = Watch::begin(&sandbox, &[]);
    event(&sandbox, "began", |_| true).await;

    // Two healers do not fight.
    let said = sandbox.fails(&["heal"], 4);
    assert!(said.contains(&format!("pid {}", watch.pid())), "{said}");
    let second = Watch::begin(&sandbox, &[]);
    // Other commands go on while it watches.
    sandbox.ok(&["connector", "pause", CONNECTOR]);
    event(
        &sandbox,
        "escalated",
        about("CONNECTOR_RESTING", &format!("connector {CONNECTOR}")),
    )
    .await;
    sandbox.ok(&["connector", "resume", CONNECTOR]);
    event(
        &sandbox,
        "gone",
        about("CONNECTOR_RESTING", &format!("connector {CONNECTOR}")),
    )
    .await;

    // Connect is lost and healed, and the healer with it.
    sandbox.kill("connect");
    event(&sandbox, "healed", about("PROCESS_ENDED", "connect")).await;
    assert_eq!(events(&sandbox, "began").len(), 1);
    assert_eq!(events(&sandbox, "attempt").len(), 1);

    // The one who stood by takes over, and knows of the pause.
    let lost = watch.pid();
    watch.kill();
    sandbox.kill("connect");
    let took = event(&sandbox, "began", |it| it["pid"] == second.pid()).await;
    assert_ne!(took["pid"], lost);
    event(&sandbox, "attempt", |it| it["number"] == 2).await;
    let attempts = events(&sandbox, "attempt");
    let at = |index: usize| attempts[index]["at"].as_u64().expect("a time");
    assert!(at(1) - at(0) >= 10_000, "{attempts:?}");
    let returned = events(&sandbox, "escalated");
    assert!(
        returned.iter().any(|it| it["reason"] == "returned"),
        "{returned:?}"
    );
    event(&sandbox, "healed", |it| it["at"].as_u64() > Some(at(1))).await;
    sandbox.converged().await;

    // A source that somebody suspended is somebody's: nothing is restarted, and it is healed with it.
    stop(&sandbox, "postgres", rustix::process::Signal::STOP);
    event(
        &sandbox,
        "escalated",
        about("PROCESS_SUSPENDED", "postgres"),
    )
    .await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(events(&sandbox, "attempt").len(), 2);
    stop(&sandbox, "postgres", rustix::process::Signal::CONT);
    event(&sandbox, "gone", about("PROCESS_SUSPENDED", "postgres")).await;
    let healed = Instant::now();
    while sandbox.json(&["diagnose"])["sound"] != true {
        assert!(healed.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(second.end(), Some(130));
    sandbox.converged().await;
}
