//! SQL Server's connector, where no server can be had: Debezium's real plugin validates its configuration in a real
//! worker. The server itself was run nowhere (`docs/not-run.md`).

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::ports;
use crate::sandbox::Sandbox;

#[test]
fn the_real_plugin_misses_nothing_but_the_server() {
    let mut sandbox = Sandbox::new("sqlserver");
    let profile = sandbox.state().join("sqlserver.yaml");
    let closed = ports::free(21_000);
    let text = format!(
        "extends: sqlserver\nsqlserver: {{external: '127.0.0.1:{closed}', password: geheim}}\n"
    );
    std::fs::write(&profile, text).unwrap();
    sandbox.profile = Some(profile);
    sandbox
        .ports
        .retain(|key, _| !["postgres.port", "mongodb.port"].contains(key));
    // It keeps waiting for the server; Kafka and Connect do not.
    let mut up = sandbox.command(&["up"]);
    let up = up.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut up = up.unwrap();
    let begin = Instant::now();
    let validated = loop {
        let mut validate = sandbox.command(&["connector", "validate", "--output", "json"]);
        let output = validate.output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if answer["errors"].is_array() {
            break answer;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(begin.elapsed() < Duration::from_secs(300), "{said}");
        std::thread::sleep(Duration::from_secs(1));
    };
    up.kill().unwrap();
    up.wait().unwrap();
    let errors = validated["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{validated:#}");
    assert_eq!(errors[0]["key"], "database.hostname", "{validated:#}");
    let said = errors[0]["error"].as_str().unwrap();
    assert!(said.contains("Unable to connect"), "{said}");
}
