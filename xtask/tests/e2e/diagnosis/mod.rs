//! Faults that are provoked for real: each is told by its own code, and the command that is printed
//! as the next one mends it.
//!
//! A run prints what was provoked beside what was told, how long after the fault it was told, and how
//! long after the fault changes arrived again: `cargo test --test e2e -- diagnosis --nocapture`.

mod faults;

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::sandbox::Sandbox;
use faults::Fault;

/// How long a fault may stay untold. Nothing here is about speed: a machine may be busy.
const TOLD: Duration = Duration::from_secs(90);
/// How long changes may take to arrive again.
const MENDED: Duration = Duration::from_secs(240);

/// What came of one fault.
struct Outcome {
    fault: &'static str,
    provoked: &'static str,
    told: String,
    told_after: Duration,
    mended_after: Duration,
}

/// The code that a diagnosis tells first; empty where nothing is wrong.
fn first(diagnosis: &Value) -> &str {
    diagnosis["findings"][0]["code"]
        .as_str()
        .unwrap_or_default()
}

/// Looks until the code is told, or for as long as it may take.
async fn told(sandbox: &Sandbox, code: &str) -> Value {
    let begin = Instant::now();
    loop {
        let diagnosis = sandbox.json(&["diagnose"]);
        if first(&diagnosis) == code || begin.elapsed() > TOLD {
            return diagnosis;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Looks until changes arrive and nothing is found, or for as long as it may take.
async fn mended(sandbox: &Sandbox) -> Result<(), String> {
    let begin = Instant::now();
    loop {
        let verified = sandbox.run(&["verify"]);
        let diagnosis = sandbox.json(&["diagnose"]);
        if verified.status.success() && diagnosis["sound"] == true && first(&diagnosis).is_empty() {
            return Ok(());
        }
        if begin.elapsed() > MENDED {
            let text = String::from_utf8_lossy(&verified.stderr).into_owned();
            return Err(format!("{text}\n{diagnosis:#}"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The last command that a finding prints, in words.
fn command(next: &str) -> Vec<String> {
    let begin = next.rfind("cargo xtask ").or_else(|| next.find("kill "));
    let begin = begin.unwrap_or_else(|| panic!("no command in `{next}`"));
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in next[begin..].chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            ',' | ';' if !quoted => break,
            c => word.push(c),
        }
    }
    words.push(word);
    words
}

/// Does what a person would: types the command, the password that they know, and the confirmation.
fn follow(sandbox: &Sandbox, next: &str) {
    let words = command(next);
    if words[0] == "kill" {
        let status = Command::new("kill").args(&words[1..]).status();
        assert!(status.expect("kill starts").success(), "{next}");
        return;
    }
    let words: Vec<String> = words[2..]
        .iter()
        .map(|word| word.replace("THE_SERVERS_PASSWORD", faults::PASSWORD))
        .collect();
    let mut args: Vec<&str> = words.iter().map(String::as_str).collect();
    if args[0] == "reset-connector" {
        args.push("--yes");
    }
    sandbox.ok(&args);
}

async fn run(sandbox: &mut Sandbox, fault: &Fault) -> Outcome {
    println!("{}", fault.name);
    let begin = Instant::now();
    let undo = (fault.provoke)(sandbox).await;
    let diagnosis = told(sandbox, fault.code).await;
    let told_after = begin.elapsed();
    let finding = &diagnosis["findings"][0];
    let code = first(&diagnosis).to_owned();
    if code == fault.code {
        assert_eq!(finding["subject"], fault.subject, "{finding:#}");
        // What a person does who is told so, where that is no command.
        undo(sandbox);
        follow(sandbox, finding["next"].as_str().expect("a next command"));
    } else {
        println!("{diagnosis:#}");
    }
    let ended = mended(sandbox).await;
    assert!(
        ended.is_ok(),
        "{}: following `{}` does not mend it: {}",
        fault.name,
        finding["next"],
        ended.err().unwrap_or_default()
    );
    Outcome {
        fault: fault.name,
        provoked: fault.code,
        told: code,
        told_after,
        mended_after: begin.elapsed(),
    }
}

fn print(outcomes: &[Outcome]) {
    println!("| fault | provoked | told | told after | mended after |\n|---|---|---|---|---|");
    for it in outcomes {
        println!(
            "| {} | {} | {} | {:.1} s | {:.1} s |",
            it.fault,
            it.provoked,
            it.told,
            it.told_after.as_secs_f64(),
            it.mended_after.as_secs_f64()
        );
    }
}

async fn all(mut sandbox: Sandbox, faults: &[Fault]) -> Sandbox {
    let mut outcomes = Vec::new();
    for fault in faults {
        outcomes.push(run(&mut sandbox, fault).await);
    }
    print(&outcomes);
    for it in &outcomes {
        assert_eq!(it.told, it.provoked, "{}", it.fault);
    }
    sandbox
}

#[tokio::test]
async fn processes_that_end_or_rest_are_told_and_mended() {
    let sandbox = all(Sandbox::up("diagnose"), faults::PROCESSES).await;
    sandbox.converged().await;
}

#[tokio::test]
async fn troubles_of_the_source_are_told_and_mended() {
    let sandbox = all(faults::with_own_user("source").await, faults::SOURCE).await;
    sandbox.converged().await;
}

#[tokio::test]
async fn troubles_of_connectors_and_the_target_are_told_and_mended() {
    let sandbox = all(faults::with_own_cache("connectors"), faults::CONNECTORS).await;
    sandbox.converged().await;
}

#[tokio::test]
async fn a_healthy_pipeline_under_load_is_never_blamed() {
    let sandbox = Sandbox::up("healthy");
    let session = sandbox.postgres().await;
    let load = tokio::spawn(async move {
        for round in 0_u32.. {
            let sql = format!(
                "INSERT INTO users (full_name, email) \
                 SELECT 'Load', '{round}-' || n || '@example.com' FROM generate_series(1, 500) AS n"
            );
            if session.execute(&sql).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    for run in 0..20 {
        let diagnosis = sandbox.json(&["diagnose"]);
        assert_eq!(
            diagnosis["findings"],
            serde_json::json!([]),
            "{run}: {diagnosis:#}"
        );
        assert_eq!(diagnosis["sound"], true, "{run}: {diagnosis:#}");
    }
    load.abort();
    sandbox.converged().await;
}

#[tokio::test]
async fn a_bundle_tells_everything_but_secrets() {
    let sandbox = Sandbox::up("bundle");
    // A secret that somebody lets into a log.
    let session = sandbox.postgres().await;
    let password = sandbox.password("postgres");
    let leak = format!("SELECT '{password}' FROM no_such_table");
    assert!(session.query(&leak).await.is_err());
    sandbox.kill("clickhouse");
    let file = sandbox.dir().join("bundle.tar.gz");
    let text = sandbox.fails(&["diagnose", "--bundle", file.to_str().expect("text")], 1);
    assert!(text.contains("PROCESS_ENDED"), "{text}");
    assert!(crate::sandbox::is_private(&file));

    let into = sandbox.dir().join("bundle");
    std::fs::create_dir(&into).expect("made");
    let status = Command::new("tar")
        .arg("xzf")
        .arg(&file)
        .arg("-C")
        .arg(&into)
        .status();
    assert!(status.expect("tar starts").success());
    let log = std::fs::read_to_string(sandbox.dir().join("logs/postgres.log")).expect("a log");
    assert!(log.contains(&password), "the trap is set");
    let mut seen = 0;
    let mut folders = vec![into.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
                continue;
            }
            seen += 1;
            let text = std::fs::read_to_string(entry.path()).expect("text");
            for component in ["postgres", "clickhouse"] {
                let secret = sandbox.password(component);
                assert!(!text.contains(&secret), "{}", entry.path().display());
            }
        }
    }
    assert!(seen > 8, "{seen} files");
    for file in [
        "facts.json",
        "findings.json",
        "about.json",
        "logs/connect.log",
    ] {
        assert!(into.join(file).is_file(), "{file}");
    }

    let fixed = sandbox.json(&["diagnose", "--fix"]);
    assert_eq!(fixed["sound"], true, "{fixed:#}");
    assert_eq!(
        fixed["fixed"],
        serde_json::json!(["cargo xtask up"]),
        "{fixed:#}"
    );
    // What fails tells the cause by the same rules.
    sandbox.kill("connect");
    let text = sandbox.fails(&["verify"], 1);
    assert!(text.contains("PROCESS_ENDED connect"), "{text}");
    let status = sandbox.json(&["status"]);
    assert_eq!(status["findings"][0]["code"], "PROCESS_ENDED", "{status:#}");
    sandbox.ok(&["up"]);
}
