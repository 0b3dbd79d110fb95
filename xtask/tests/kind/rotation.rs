//! A password that is changed at the server: its Secret, the workers' file that follows a minute later, and the
//! task that tries the old one for ever.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::cluster::Kind;
use crate::commands;
use crate::life::arrives;

const PASSWORD: &str = "changed-at-the-server";

/// Types a command as it is printed, and the password where it is asked for.
fn follow(kind: &Kind, next: &str) -> String {
    let command = commands::commands(next).swap_remove(0);
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut child = kind
        .command(&words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool starts");
    writeln!(child.stdin.take().unwrap(), "{PASSWORD}").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{words:?}: {text}");
    assert!(!text.contains(PASSWORD), "{text}");
    text
}

#[tokio::test]
#[ignore = "needs KIND_NODE_IMAGE"]
async fn a_password_changed_at_the_server_reaches_the_workers_by_the_printed_command() {
    let mut kind = Kind::new("rotation");
    // A connector that shares the server's user, as on a server that somebody else runs: the password of a user of
    // its own is set again by `up`.
    kind.extra.push("postgres.connector_user=postgres".into());
    kind.ok(&["up", "--yes"]);
    let session = kind.postgres().await;
    let user = "SELECT a.usename FROM pg_replication_slots s JOIN pg_stat_activity a ON a.pid = s.active_pid";
    let user = session.value(user).await.unwrap().expect("a reader");
    for sql in [
        format!("ALTER ROLE \"{user}\" PASSWORD '{PASSWORD}'"),
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active".into(),
        "INSERT INTO users (full_name, email) VALUES ('Rotated', 'rotated@example.com')".into(),
    ] {
        session.execute(&sql).await.unwrap();
    }
    let begin = Instant::now();
    let next = loop {
        let output = kind.run(&["diagnose", "--output", "json"]);
        let diagnosis: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let finding = &diagnosis["findings"][0];
        if finding["code"] == "LOGIN_REFUSED" {
            break finding["next"].as_str().unwrap().to_owned();
        }
        assert!(begin.elapsed() < Duration::from_secs(120), "{diagnosis:#}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    // Nothing waits for what nobody will make.
    let begin = Instant::now();
    let (_, said) = kind.fails(&["up", "--yes"]);
    assert!(begin.elapsed() < Duration::from_secs(90), "{said}");
    assert!(
        said.contains("LOGIN_REFUSED") && said.contains("=@-"),
        "{said}"
    );
    let begin = Instant::now();
    follow(&kind, &next);
    eprintln!("followed after {:.1} s", begin.elapsed().as_secs_f64());
    arrives(&kind, "Rotated", Duration::from_secs(60)).await;
    kind.ok(&["verify"]);
    assert_eq!(kind.json(&["diagnose"])["sound"], true);
    kind.ok(&["down", "--yes"]);
}
