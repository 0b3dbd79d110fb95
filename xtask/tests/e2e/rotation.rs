//! A password that is changed at the server, and a slot that nobody will make: `up` waits for neither, names
//! what `diagnose` names, and the command that is printed, typed as it is printed, ends in a pipeline that works.

use std::time::{Duration, Instant};

use serde_json::Value;

use xtask::clients::postgres::Postgres;

use crate::commands;
use crate::diagnosis::faults::rest;
use crate::diagnosis::run::follow;
use crate::sandbox::Sandbox;

const PASSWORD: &str = "changed-at-the-server";
const CONNECTOR: &str = "postgres-connector";
/// Nothing here is about speed, but these waits used to take minutes.
const SOON: Duration = Duration::from_secs(60);

/// Diagnoses until this is the first finding.
async fn first(sandbox: &Sandbox, code: &str) -> Value {
    let begin = Instant::now();
    loop {
        let mut diagnosis = sandbox.json(&["diagnose"]);
        if diagnosis["findings"][0]["code"] == code {
            return diagnosis["findings"][0].take();
        }
        assert!(
            begin.elapsed() < 2 * SOON,
            "{code} was never told: {diagnosis:#}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// When the session that reads the slot began, and as whom, as PostgreSQL tells.
async fn reader(session: &Postgres) -> Option<(String, String)> {
    let sql = "SELECT a.usename, a.backend_start FROM pg_replication_slots s \
               JOIN pg_stat_activity a ON a.pid = s.active_pid WHERE s.slot_name = 'debezium'";
    let rows = session.query(sql).await.expect("rows");
    let mut row = rows.into_iter().next()?.into_iter();
    Some((row.next()??, row.next()??))
}

/// Fails at once, and names what `diagnose` names.
fn up_names(sandbox: &Sandbox, code: &str, command: &str) {
    let begin = Instant::now();
    let text = sandbox.fails(&["up"], 1);
    assert!(begin.elapsed() < SOON, "{:?}: {text}", begin.elapsed());
    assert!(text.contains(code), "{text}");
    // The options that chose the environment stand between its words.
    let mut words = command.split(' ');
    assert!(words.all(|word| text.contains(word)), "{text}");
}

#[tokio::test]
async fn a_password_changed_at_the_server_is_followed_by_the_printed_command() {
    let mut sandbox = Sandbox::new("rotation");
    // A connector that shares the server's user, as on a server that somebody else runs.
    sandbox
        .extra
        .push("postgres.connector_user=postgres".into());
    sandbox.ok(&["up"]);
    let session = sandbox.postgres().await;
    let (user, began) = reader(&session).await.expect("somebody reads the slot");
    let change = |password: &str| format!("ALTER ROLE \"{user}\" PASSWORD '{password}'");
    session.execute(&change(PASSWORD)).await.expect("changed");
    // The connector has to log in again, and its task tries the old password for ever.
    session
        .execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
        .await
        .expect("ended");
    let row = "INSERT INTO users (full_name, email) VALUES ('Rotated', 'rotated@example.com')";
    session.execute(row).await.expect("a row");
    let finding = first(&sandbox, "LOGIN_REFUSED").await;
    let next = finding["next"].as_str().expect("a command");
    assert!(next.contains("=@-"), "{next}");
    up_names(&sandbox, "LOGIN_REFUSED", "=@-");
    follow(&sandbox, next, PASSWORD);
    assert_eq!(sandbox.password("postgres"), PASSWORD);
    let (_, begins) = reader(&session).await.expect("somebody reads the slot");
    assert_ne!(begins, began, "its session is the one of before");
    sandbox.converged().await;
    sandbox.ok(&["verify"]);
    assert_eq!(sandbox.json(&["diagnose"])["sound"], true);

    // While the session of before lives, nothing shows, and the task has the old password all the same.
    let second = format!("{PASSWORD}-again");
    session.execute(&change(&second)).await.expect("changed");
    let (_, began) = reader(&session).await.expect("somebody reads the slot");
    let next = first(&sandbox, "LOGIN_REFUSED").await["next"].take();
    let text = follow(&sandbox, next.as_str().expect("a command"), &second);
    assert!(text.contains("it had the password of before"), "{text}");
    let (_, begins) = reader(&session).await.expect("somebody reads the slot");
    assert_ne!(begins, began, "its session is the one of before");
    // Once only.
    let text = sandbox.json(&["up"]).to_string();
    assert!(!text.contains("password of before"), "{text}");
    sandbox.converged().await;
}

/// The tool's own login, and that of the connectors' user, which `up` sets again.
#[tokio::test]
async fn both_users_of_a_server_of_the_tools_get_their_passwords_by_what_is_printed() {
    let sandbox = Sandbox::up("both");
    let session = sandbox.postgres().await;
    let (user, _) = reader(&session).await.expect("a reader of the slot");
    assert_eq!(user, "cdc_connector");
    let change = |user: &str| format!("ALTER ROLE {user} PASSWORD '{PASSWORD}'");
    session.execute(&change("postgres")).await.expect("changed");
    let next = first(&sandbox, "LOGIN_REFUSED").await["next"].take();
    follow(&sandbox, next.as_str().expect("a command"), PASSWORD);
    assert_eq!(sandbox.password("postgres"), PASSWORD);
    sandbox.ok(&["verify"]);

    session.execute(&change(&user)).await.expect("changed");
    session
        .execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
        .await
        .expect("ended");
    let row = "INSERT INTO users (full_name, email) VALUES ('Both', 'both@example.com')";
    session.execute(row).await.expect("a row");
    let next = first(&sandbox, "LOGIN_REFUSED").await["next"].take();
    let next = next.as_str().expect("a command");
    assert_eq!(commands::bare(next), "cargo xtask up");
    // As it stands: with the ports that the environment was made with.
    assert!(next.contains("--set kafka.port="), "{next}");
    follow(&sandbox, next, "");
    sandbox.converged().await;
    sandbox.ok(&["verify"]);
    assert_eq!(sandbox.json(&["diagnose"])["sound"], true);
}

#[tokio::test]
async fn no_up_waits_for_a_slot_that_nobody_will_make() {
    let sandbox = Sandbox::up("noslot");
    sandbox.ok(&["connector", "stop", CONNECTOR]);
    sandbox.ok(&["slot", "drop", "debezium", "--yes"]);
    let session = sandbox.postgres().await;
    let row = "INSERT INTO users (full_name, email) VALUES ('Gone', 'gone@example.com')";
    session.execute(row).await.expect("a row");
    // As somebody who does not know does it.
    rest(&sandbox, "PUT", "/resume", "");
    up_names(
        &sandbox,
        "SLOT_MISSING",
        "reset-connector postgres-connector --yes",
    );
    let finding = first(&sandbox, "SLOT_MISSING").await;
    follow(&sandbox, finding["next"].as_str().expect("a command"), "");
    sandbox.converged().await;
    sandbox.ok(&["verify"]);
}
