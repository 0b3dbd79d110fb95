//! Connect while it rebalances: it refuses whatever it is asked then, and who asks is not to notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use indexmap::IndexMap;
use serde_json::json;
use xtask::clients::connect::{Connect, ConnectError};
use xtask::pipeline::connectors::settled;
use xtask::plan::Progress;
use xtask::platform::Endpoint;

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
