//! Provoking a fault, waiting until it is told, doing what is printed, and waiting until changes
//! arrive again.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::faults::{self, Fault};
use crate::commands;
use crate::sandbox::Sandbox;

/// How long a fault may stay untold. Nothing here is about speed: a machine may be busy.
const TOLD: Duration = Duration::from_secs(90);
/// How long changes may take to arrive again.
const MENDED: Duration = Duration::from_secs(240);

/// What came of one fault.
pub struct Outcome {
    pub fault: &'static str,
    pub provoked: &'static str,
    pub told: String,
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
    if let Some(words) = commands::commands(next).pop() {
        return words;
    }
    let kill = next.find("kill ").map(|at| next[at..].split(' '));
    let kill = kill.unwrap_or_else(|| panic!("no command in `{next}`"));
    kill.map(str::to_owned).collect()
}

/// Does what a person would: types the command as it is printed, and the password that they know where it is
/// asked for.
pub fn follow(sandbox: &Sandbox, next: &str, password: &str) -> String {
    let words = command(next);
    if words[0] == "kill" {
        let status = Command::new("kill").args(&words[1..]).status();
        assert!(status.expect("kill starts").success(), "{next}");
        return String::new();
    }
    let args: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut typed = sandbox.command(&args);
    let typed = typed
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = typed.spawn().expect("the tool starts");
    let mut input = child.stdin.take().expect("a pipe");
    // One that asks nothing may be gone before.
    let _read = writeln!(input, "{password}");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{args:?}: {text}");
    // A short one may be part of a path.
    assert!(
        password.len() < 8 || !text.contains(password),
        "{args:?}: {text}"
    );
    text
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
        let next = finding["next"].as_str().expect("a next command");
        // One for each that is asked for, in their order.
        let asked = next.split(' ').filter_map(|it| it.split_once("=@-"));
        let typed = asked.map(|(key, _)| match key.starts_with("connectors.") {
            true => "cdc",
            false => faults::PASSWORD,
        });
        let typed: Vec<&str> = typed.collect();
        follow(sandbox, next, &typed.join("\n"));
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

/// Prints what was provoked beside what was told.
pub fn print(outcomes: &[Outcome]) {
    println!("| fault | provoked | reported | reported after | fixed after |");
    println!("|---|---|---|---|---|");
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

pub async fn all(mut sandbox: Sandbox, faults: &[Fault]) -> (Sandbox, Vec<Outcome>) {
    let mut outcomes = Vec::new();
    for fault in faults {
        outcomes.push(run(&mut sandbox, fault).await);
    }
    (sandbox, outcomes)
}
