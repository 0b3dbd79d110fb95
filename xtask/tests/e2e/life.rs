//! From nothing to a proven pipeline and back.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Instant;

use crate::sandbox::{Sandbox, is_private};

#[tokio::test]
async fn up_proves_itself_and_down_leaves_nothing() {
    let sandbox = Sandbox::new("life");
    let page = sandbox.dir().with_file_name("timeline.html");
    let begin = Instant::now();
    let text = sandbox.ok(&["up", "--timeline", &page.display().to_string()]);
    println!("first up: {:?}\n{text}", begin.elapsed());
    assert!(text.contains("ready in") && text.contains("longest path"));
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("users/canary") && !html.contains("http://"));

    let rows = sandbox.converged().await;
    let names: Vec<&str> = rows
        .iter()
        .map(|row| row.split('|').nth(1).unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "Alice Smith",
            "Bob A. Jones",
            "Charlie Brown",
            "Diana Prince"
        ]
    );

    let pids = ["kafka", "connect", "postgres", "clickhouse"].map(|name| sandbox.pid(name));
    let begin = Instant::now();
    let again = sandbox.json(&["up"]);
    println!("second up: {:?}", begin.elapsed());
    assert_eq!(again["counts"]["changed"], 0, "{again}");
    assert_eq!(again["ok"], true);
    assert_eq!(
        pids,
        ["kafka", "connect", "postgres", "clickhouse"].map(|name| sandbox.pid(name)),
        "a second up restarted something"
    );

    let status = sandbox.json(&["status"]);
    assert_eq!(status["current"], true, "{status}");
    assert_eq!(status["flows"][0]["errors"], 0);
    a_key_ends_what_refreshes(&sandbox);
    a_shell_knows_what_was_typed(&sandbox);

    let verify = sandbox.json(&["verify", "--latency", "5"]);
    let changes: Vec<&str> = verify["proofs"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|proof| proof["flow"] == "users")
        .map(|proof| proof["change"].as_str().unwrap())
        .collect();
    assert_eq!(changes, ["insert", "update", "delete"]);
    assert_eq!(verify["latency"][0]["rows"], 5);
    // The canaries are gone on both sides.
    assert_eq!(sandbox.converged().await, rows);
    let left = sandbox
        .clickhouse()
        .text("SELECT count() FROM users_silver WHERE user_id < 0")
        .await
        .unwrap();
    assert_eq!(left.trim(), "0");

    let dry = sandbox.ok(&["down", "--dry-run"]);
    assert!(dry.contains("would stop"), "{dry}");
    assert!(sandbox.fails(&["down"], 3).contains("--yes"));
    assert_eq!(sandbox.json(&["status"])["current"], true);

    sandbox.ok(&["down", "--yes"]);
    assert!(!sandbox.dir().exists());
    assert_eq!(sandbox.processes(), Vec::<String>::new());
    for port in sandbox.ports.values() {
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    }
    assert!(sandbox.fails(&["status"], 4).contains("cargo xtask up"));
}

/// A terminal: what a person sees and types, and what opens its screen.
fn terminal() -> (std::fs::File, impl Fn() -> std::fs::File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&keyboard).unwrap();
    unlockpt(&keyboard).unwrap();
    let name = ptsname(&keyboard, Vec::new()).unwrap();
    let screen = move || {
        let mut options = std::fs::OpenOptions::new();
        let options = options.read(true).write(true);
        options.open(name.to_str().unwrap()).unwrap()
    };
    (std::fs::File::from(keyboard), screen)
}

/// On a terminal, which is as before then.
fn a_key_ends_what_refreshes(sandbox: &Sandbox) {
    let (mut keyboard, screen) = terminal();
    let shown = screen();
    let modes = || rustix::termios::tcgetattr(&shown).unwrap().local_modes;
    let before = modes();
    for watch in [["status", "--watch"], ["lag", "--watch"]] {
        let mut child = sandbox
            .command(&watch)
            .stdin(screen())
            .stdout(screen())
            .spawn()
            .unwrap();
        // Once it shows something it listens; what it shows is read, or it would wait for that.
        let mut shown = vec![0; 1 << 16];
        let mut seen = 0;
        while seen == 0 {
            seen = keyboard.read(&mut shown).unwrap();
        }
        keyboard.write_all(b"q").unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(modes(), before);
    }
}

/// A shell lists tables and brings back what was typed, in the next one too.
fn a_shell_knows_what_was_typed(sandbox: &Sandbox) {
    let (mut keyboard, screen) = terminal();
    let shell = || {
        let mut command = sandbox.command(&["shell", "postgres"]);
        command.stdin(screen()).stdout(screen()).stderr(screen());
        command.env("TERM", "xterm").spawn().unwrap()
    };
    let mut seen = String::new();
    let mut typed = |keys: &str, wanted: &str| {
        keyboard.write_all(keys.as_bytes()).unwrap();
        let mut shown = vec![0; 1 << 16];
        while !seen.contains(wanted) {
            let read = keyboard.read(&mut shown).unwrap();
            seen += &String::from_utf8_lossy(&shown[..read]);
        }
        seen.clear();
    };
    let mut child = shell();
    typed("\\d\r", "users");
    typed("\\d users\r", "full_name");
    typed("SELECT 40 + 2 AS answer;\r", "(1 row)");
    typed("ALTER ROLE nobody PASSWORD 'hidden';\r", "does not exist");
    typed("help\r", "Ctrl-C");
    keyboard.write_all(b"\\q\r").unwrap();
    assert!(child.wait().unwrap().success());
    let history = sandbox.dir().join("shell-postgres.history");
    let kept = std::fs::read_to_string(&history).unwrap();
    assert!(
        kept.contains("SELECT 40 + 2") && !kept.contains("hidden"),
        "{kept}"
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&history).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn data_that_is_kept_is_there_again() {
    let sandbox = Sandbox::up("keep");
    let session = sandbox.postgres().await;
    session
        .execute("INSERT INTO users (full_name, email) VALUES ('Eve', 'eve@example.com')")
        .await
        .unwrap();
    let rows = sandbox.converged().await;
    sandbox.ok(&["down", "--keep-data"]);
    assert_eq!(sandbox.processes(), Vec::<String>::new());
    sandbox.ok(&["up"]);
    assert_eq!(sandbox.converged().await, rows);
    // A seed row that was deleted stays deleted, until `seed` brings it back.
    let session = sandbox.postgres().await;
    session
        .execute("DELETE FROM users WHERE user_id = 1")
        .await
        .unwrap();
    sandbox.ok(&["up"]);
    assert_eq!(sandbox.converged().await.len(), rows.len() - 1);
    sandbox.ok(&["seed"]);
    assert_eq!(sandbox.converged().await.len(), rows.len());
}

#[tokio::test]
async fn a_changed_setting_restarts_its_component_alone() {
    let mut sandbox = Sandbox::up("change");
    let before = ["kafka", "connect", "postgres"].map(|name| sandbox.pid(name));
    sandbox.extra.push("connect.heap=300m".into());
    assert!(
        sandbox
            .ok(&["up", "--dry-run"])
            .lines()
            .any(|line| line.starts_with("connect") && line.contains("would be restarted"))
    );
    sandbox.ok(&["up"]);
    let after = ["kafka", "connect", "postgres"].map(|name| sandbox.pid(name));
    assert_eq!((before[0], before[2]), (after[0], after[2]));
    assert_ne!(before[1], after[1]);
    sandbox.converged().await;
}

#[tokio::test]
async fn secrets_stay_secret() {
    let sandbox = Sandbox::new("secrets");
    let up = sandbox.run(&["up"]);
    assert!(up.status.success());
    let mut said = vec![
        String::from_utf8_lossy(&up.stdout).into_owned(),
        String::from_utf8_lossy(&up.stderr).into_owned(),
    ];
    for args in [
        &["status"][..],
        &["status", "--output", "json"],
        &["render"],
        &["render", "--output", "json"],
        &["plan", "--output", "json"],
        &["profile", "show"],
        &["verify"],
        &["up", "--output", "json"],
    ] {
        let output = sandbox.run(args);
        said.push(String::from_utf8_lossy(&output.stdout).into_owned());
        said.push(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    said.extend(sandbox.processes());
    // Everything on disk but the secrets and the databases themselves.
    let mut open = vec![sandbox.dir()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                if !path.ends_with("secrets") && !path.ends_with("data") {
                    open.push(path);
                }
            } else {
                said.push(String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned());
            }
        }
    }
    for component in [
        "postgres",
        "postgres-connector",
        "clickhouse",
        "mongodb",
        "mongodb-connector",
        "mongodb-key",
    ] {
        let password = sandbox.password(component);
        assert_eq!(password.len(), 24);
        for text in &said {
            assert!(
                !text.contains(&password),
                "the {component} password is in: {text}"
            );
        }
        let dir = sandbox.dir().join(format!("secrets/{component}-auth"));
        assert!(is_private(&dir));
        for file in std::fs::read_dir(dir).unwrap().flatten() {
            assert!(is_private(&file.path()), "{}", file.path().display());
        }
    }
    // A wrong password is refused by each.
    let refused = sandbox
        .clickhouse_with("wrong")
        .text("SELECT 1")
        .await
        .expect_err("refused");
    assert!(refused.to_string().contains("default"), "{refused}");
}
