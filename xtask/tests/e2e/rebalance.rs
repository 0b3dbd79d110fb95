//! Connect while it rebalances: it refuses whatever it is asked then, and who asks is not to notice.

use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use indexmap::IndexMap;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use xtask::clients::connect::{Connect, ConnectError};
use xtask::components::connect::settled;
use xtask::plan::Progress;
use xtask::platform::Endpoint;

use crate::ports;
use crate::sandbox::Sandbox;

const CONNECTOR: &str = "postgres-connector";

/// So many ask without a pause that one of them always waits for its turn when the worker learns
/// that its connectors are others: that one is refused.
const AT_ONCE: usize = 8;
const ROUNDS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn what_connect_refuses_while_it_rebalances_is_asked_again() {
    let sandbox = Sandbox::up("rebalance");
    let connect = Connect::new(Endpoint::loopback(sandbox.ports["connect.port"]));
    let (stop, refused) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU32::new(0)),
    );
    let asking: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (connect, stop, refused) = (connect.clone(), stop.clone(), refused.clone());
            tokio::spawn(async move {
                let mut answers = 0;
                while !stop.load(SeqCst) {
                    let found = settled(&Progress::silent(), || counted(&connect, &refused)).await;
                    let found = found.expect("an answer, however often it was refused");
                    assert!(found.is_some(), "the connector is there");
                    answers += 1;
                }
                answers
            })
        })
        .collect();
    // A connector without a task is all that a rebalance needs.
    let url = format!(
        "http://127.0.0.1:{}/connectors",
        sandbox.ports["connect.port"]
    );
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let config = connect.config(CONNECTOR).await;
    let mut config = json!(config.expect("a configuration").expect("registered"));
    config["name"] = "another".into();
    let made = json!({ "name": "another", "config": config, "initial_state": "STOPPED" });
    for _ in 0..ROUNDS {
        until_taken(|| http.post(&url).json(&made)).await;
        let said = sandbox.ok(&["connector", "config", CONNECTOR]);
        assert!(said.contains("plugin.name=pgoutput"), "{said}");
        until_taken(|| http.delete(format!("{url}/another"))).await;
    }
    stop.store(true, SeqCst);
    let mut answers = 0;
    for asking in asking {
        answers += asking.await.expect("nobody was refused");
    }
    let refused = refused.load(SeqCst);
    println!("{answers} answers, {refused} refusals");
    assert!(refused > 0, "no request met a rebalance, of {answers}");
    sandbox.ok(&["verify"]);
}

/// What a worker looks up in its thread for changes; what it tells of states it has at hand.
async fn counted(
    connect: &Connect,
    refused: &AtomicU32,
) -> Result<Option<IndexMap<String, String>>, ConnectError> {
    let answer = connect.config(CONNECTOR).await;
    if answer.as_ref().is_err_and(ConnectError::is_rebalance) {
        refused.fetch_add(1, SeqCst);
    }
    answer
}

/// Sends a change until no rebalance refuses it.
async fn until_taken(request: impl Fn() -> reqwest::RequestBuilder) {
    loop {
        let answer = request().send().await.expect("an answer");
        let status = answer.status();
        if status.is_success() {
            return;
        }
        let text = answer.text().await.unwrap_or_default();
        assert!(text.contains("rebalance"), "{status}: {text}");
    }
}

/// A second worker: another port, otherwise as the first. The broker puts it out last.
struct Second(Child);

impl Second {
    fn begin(sandbox: &Sandbox) -> Self {
        let of_first = sandbox.dir().join("config/connect/worker.properties");
        let text = std::fs::read_to_string(&of_first).expect("a configuration");
        let port = sandbox.ports["connect.port"].to_string();
        let text = text.replace(&port, &ports::free(21_000).to_string());
        let own = sandbox.dir().join("second.properties");
        std::fs::write(&own, text + "\nsession.timeout.ms=300000\n").expect("written");
        let line = std::fs::read(format!("/proc/{}/cmdline", sandbox.pid("connect")));
        let line = String::from_utf8(line.expect("a process")).expect("text");
        let mut words: Vec<&str> = line.split_terminator('\0').collect();
        assert_eq!(words.pop(), of_first.to_str(), "{line}");
        let mut command = Command::new(words.remove(0));
        command.args(words).arg(own);
        let null = || std::process::Stdio::null();
        let begun = command.stdout(null()).stderr(null()).spawn();
        Second(begun.expect("it starts"))
    }

    fn suspend(&self) {
        let pid = i32::try_from(self.0.id()).expect("a pid");
        let pid = Pid::from_raw(pid).expect("a pid");
        kill_process(pid, Signal::STOP).expect("suspended");
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        // It may have ended; nothing is to be done about either.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_worker_that_hangs_is_told_where_connect_gives_no_answer() {
    let sandbox = Sandbox::up("hangs");
    let second = Second::begin(&sandbox);
    let kafka = sandbox.kafka().await;
    loop {
        let group = kafka.describe_group("connect-cluster").await.expect("told");
        if group.members.len() == 2 && group.state == "Stable" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    sandbox.ok(&["verify"]);

    second.suspend();
    // A change that all have to hear of: the group waits for the one that hears nothing.
    let connect = Connect::new(Endpoint::loopback(sandbox.ports["connect.port"]));
    let config = connect.config(CONNECTOR).await;
    let mut config = config.expect("a configuration").expect("registered");
    config.insert("name".into(), "another".into());
    config.insert("slot.name".into(), "another".into());
    let put = connect.put_config("another", &config).await;
    put.expect("taken");
    let diagnosis = loop {
        let diagnosis = sandbox.json(&["diagnose"]);
        if diagnosis["findings"][0]["code"] == "CONNECT_REBALANCING" {
            break diagnosis;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let cause = diagnosis["findings"][0]["cause"].as_str().unwrap();
    assert!(cause.contains("2 workers"), "{diagnosis:#}");
    let output = sandbox.run(&["connector", "status", CONNECTOR]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("position  not known"), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
    let said = sandbox.fails(&["connector", "config", CONNECTOR], 1);
    assert!(said.contains("gives no answer"), "{said}");
    assert!(said.contains("next: cargo xtask diagnose"), "{said}");

    // The broker puts it out, and the one that is left goes on.
    until_taken(|| {
        let port = sandbox.ports["connect.port"];
        let url = format!("http://127.0.0.1:{port}/connectors/another");
        reqwest::Client::new().delete(url)
    })
    .await;
    drop(second);
    sandbox.ok(&["verify"]);
    let group = kafka.describe_group("connect-cluster").await.expect("told");
    assert_eq!(group.members.len(), 1);
}
