//! A source that was restored: its log begins again where an older one was, and the target has a past that
//! it does not have.

use std::path::Path;

use crate::sandbox::Sandbox;

/// PostgreSQL's data directory, and a copy of it.
fn data(sandbox: &Sandbox) -> (std::path::PathBuf, std::path::PathBuf) {
    let data = sandbox.dir().join("data/postgres");
    let copy = data.with_extension("copy");
    (data, copy)
}

/// With owners and modes: PostgreSQL may run as another user.
fn copied(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status();
    assert!(status.expect("cp").success());
}

#[tokio::test]
async fn what_a_restored_source_does_not_have_is_repaired_by_the_printed_command() {
    let sandbox = Sandbox::up("restored");
    let source = sandbox.postgres().await;
    let make = "INSERT INTO users (full_name, email) SELECT 'Row', 'r' || n || '@example.com' FROM generate_series(1, 50) n";
    source.execute(make).await.unwrap();
    sandbox.converged().await;
    let (data, copy) = data(&sandbox);
    drop(source);
    sandbox.kill("postgres");
    copied(&data, &copy);
    sandbox.ok(&["up"]);

    // A past that is lost: 20 MB of log, a changed row, a deleted and a new one.
    let source = sandbox.postgres().await;
    for lost in [
        "CREATE TABLE filler AS SELECT repeat(md5(n::text), 8) FROM generate_series(1, 80000) n",
        "UPDATE users SET full_name = 'Lost' WHERE email = 'r1@example.com'",
        "DELETE FROM users WHERE email = 'r2@example.com'",
        "INSERT INTO users (full_name, email) VALUES ('Lost', 'lost@example.com')",
    ] {
        source.execute(lost).await.unwrap();
    }
    sandbox.converged().await;
    drop(source);
    sandbox.kill("postgres");
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&copy, &data).unwrap();

    // Nothing calls itself proven, and no time is spent on a canary that would be skipped.
    let said = sandbox.fails(&["up"], 1);
    assert!(said.contains("has not written yet"), "{said}");
    assert!(!said.contains("the canary row reaches silver"), "{said}");
    let diagnosis = sandbox.json(&["diagnose"]);
    assert_eq!(
        diagnosis["findings"][0]["code"], "OFFSET_AHEAD",
        "{diagnosis:#}"
    );
    let next = diagnosis["findings"][0]["next"].as_str().unwrap();
    assert!(said.contains("cargo xtask reset-connector "), "{said}");
    let words: Vec<&str> = next.trim_start_matches("cargo xtask ").split(' ').collect();
    let dry: Vec<&str> = words
        .iter()
        .map(|it| if *it == "--yes" { "--dry-run" } else { it })
        .collect();
    let said = sandbox.ok(&dry);
    assert!(
        said.contains("from a past that the source does not have"),
        "{said}"
    );
    sandbox.ok(&words);
    sandbox.converged().await;
    sandbox.ok(&["up"]);
    let change = "UPDATE users SET full_name = 'Found' WHERE email = 'r1@example.com'";
    sandbox.postgres().await.execute(change).await.unwrap();
    let rows = sandbox.converged().await;
    assert!(rows.iter().any(|row| row.contains("|Found|")), "{rows:?}");
    assert!(!rows.iter().any(|row| row.contains("|Lost|")), "{rows:?}");
}
