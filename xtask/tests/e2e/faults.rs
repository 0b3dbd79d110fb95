//! Things in the way: taken ports, another run, a component that cannot start.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use crate::sandbox::Sandbox;

#[tokio::test]
async fn a_taken_port_is_named_with_its_owner_before_anything_starts() {
    let sandbox = Sandbox::new("port");
    let port = sandbox.ports["kafka.port"];
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let text = sandbox.fails(&["up"], 4);
    assert!(
        text.contains(&format!("port {port} (kafka.port)")),
        "{text}"
    );
    assert!(
        text.contains(&format!("pid {}", std::process::id())),
        "{text}"
    );
    assert!(text.contains("--ports auto"), "{text}");
    assert_eq!(sandbox.processes(), Vec::<String>::new());

    sandbox.ok(&["up", "--ports", "auto"]);
    let status = sandbox.json(&["status"]);
    assert_eq!(status["current"], true, "{status}");
    let kafka = status["components"]
        .as_array()
        .unwrap()
        .iter()
        .find(|component| component["name"] == "kafka")
        .unwrap();
    assert_ne!(kafka["endpoint"], format!("127.0.0.1:{port}"));
    // The choice lasts: the next run changes nothing.
    let again = sandbox.json(&["up", "--ports", "auto"]);
    assert_eq!(again["counts"]["changed"], 0, "{again}");
    drop(held);
}

#[tokio::test]
async fn two_runs_at_once_do_not_mix() {
    let sandbox = Sandbox::new("lock");
    let mut first = sandbox.spawn(&["up"]);
    // The first one holds the lock as soon as its file names it.
    let lock = sandbox.dir().join("lock");
    while !std::fs::read_to_string(&lock).is_ok_and(|text| text.contains("cargo xtask up")) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let text = sandbox.fails(&["up"], 4);
    assert!(text.contains(&format!("pid {}", first.id())), "{text}");
    assert!(first.wait().unwrap().success());
    sandbox.converged().await;
}

#[tokio::test]
async fn a_process_that_dies_ends_its_gate_with_the_log_lines_that_say_why() {
    let mut sandbox = Sandbox::new("dies");
    sandbox
        .extra
        .push("postgres.config.shared_preload_libraries=no_such_library".into());
    // A wait that ends by its deadline has another code, both printed and returned.
    let text = sandbox.fails(&["up"], 1);
    assert!(text.contains("no_such_library"), "{text}");
    assert!(text.contains("[GATE_FAILED]"), "{text}");
    assert!(!text.contains("[GATE_TIMEOUT]"), "{text}");
}

#[tokio::test]
async fn a_wrong_password_is_told_at_once() {
    let mut sandbox = Sandbox::up("login");
    sandbox.extra.push("postgres.password=not-the-one".into());
    let text = sandbox.fails(&["up"], 1);
    assert!(text.contains("password authentication failed"), "{text}");
    assert!(!text.contains("not-the-one"), "{text}");
    sandbox.extra.clear();
}

#[tokio::test]
async fn a_change_that_cannot_arrive_is_told_at_once_with_the_next_command() {
    let sandbox = Sandbox::up("vain");
    let call = |method: &str, path: &str| {
        let address = (Ipv4Addr::LOCALHOST, sandbox.ports["connect.port"]);
        let mut connect = TcpStream::connect(address).unwrap();
        let path = format!("/connectors/postgres-connector{path}");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: connect\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        connect.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connect.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 2"),
            "{method} {path}: {answer}"
        );
    };

    // Neither is waited for until its deadline, which would be told as such.
    call("PUT", "/pause");
    let text = sandbox.fails(&["verify"], 1);
    assert!(!text.contains("not ready after"), "{text}");
    assert!(text.contains("is PAUSED"), "{text}");

    call("DELETE", "");
    let text = sandbox.fails(&["verify"], 1);
    assert!(
        text.contains("connector postgres-connector does not exist"),
        "{text}"
    );
    assert!(text.contains("next: cargo xtask up"), "{text}");
    assert!(!text.contains("not ready after"), "{text}");

    sandbox.ok(&["up"]);
    sandbox.ok(&["verify"]);
}
