//! `logs` on an environment that consists of files.

#![cfg(unix)]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

struct Environment {
    dir: tempfile::TempDir,
}

impl Environment {
    fn new(set: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let env = Environment { dir };
        std::fs::create_dir_all(env.state().join("logs")).expect("created");
        let selection = format!("{{\"profile\": \"clickhouse\", \"set\": [{set}]}}");
        std::fs::write(env.state().join("selection.json"), selection).expect("written");
        env
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("cdc-xtask/clickhouse")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.state().join("logs").join(name)
    }

    fn logs(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .arg("logs")
            .args(args)
            .env("XDG_STATE_HOME", self.dir.path())
            .env_remove("CDC_PROFILE")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let output = self.logs(args).output().expect("run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    }
}

fn append(path: &Path, text: &str) {
    let mut file = File::options()
        .append(true)
        .create(true)
        .open(path)
        .expect("open");
    file.write_all(text.as_bytes()).expect("written");
}

#[test]
fn the_last_lines_and_the_run_before() {
    let env = Environment::new("");
    append(&env.log("kafka.log"), "one\ntwo\nthree\n");
    append(&env.log("kafka.previous.log"), "before\n");
    let (code, out, _) = env.run(&["kafka", "--tail", "2"]);
    assert_eq!((code, out.as_str()), (Some(0), "two\nthree\n"));
    let (code, out, _) = env.run(&["kafka", "--previous"]);
    assert_eq!((code, out.as_str()), (Some(0), "before\n"));
    let (_, out, _) = env.run(&["kafka", "--tail", "1", "--output", "json"]);
    assert_eq!(out, "{\"component\":\"kafka\",\"line\":\"three\"}\n");
}

#[test]
fn what_has_no_log_says_why() {
    let env = Environment::new("\"postgres.external=db:5432\"");
    let (code, _, err) = env.run(&["konnect"]);
    assert_eq!(code, Some(3));
    assert!(err.contains("did you mean `connect`"), "{err}");
    let (code, _, err) = env.run(&["kafka"]);
    assert_eq!(code, Some(4));
    assert!(err.contains("never ran"), "{err}");
    let (code, _, err) = env.run(&["postgres"]);
    assert_eq!(code, Some(4));
    assert!(err.contains("external (db:5432)"), "{err}");
    std::fs::remove_file(env.state().join("selection.json")).expect("removed");
    let (code, _, err) = env.run(&["kafka"]);
    assert_eq!(code, Some(4));
    assert!(err.contains("NOT_UP"), "{err}");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let env = Environment::new("");
    append(&env.log("kafka.log"), &"a line of text\n".repeat(100_000));
    let mut child = env
        .logs(&["kafka", "--tail", "100000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run");
    let mut line = String::new();
    let mut reader = BufReader::new(child.stdout.take().expect("piped"));
    reader.read_line(&mut line).expect("read");
    drop(reader);
    let output = child.wait_with_output().expect("ended");
    assert_eq!(
        (output.status.code(), line.as_str()),
        (Some(0), "a line of text\n")
    );
    assert!(output.stderr.is_empty());
}

#[test]
fn following_goes_on_after_a_restart_and_ends_with_an_interrupt() {
    let env = Environment::new("");
    let log = env.log("kafka.log");
    append(&log, "zero\none\n");
    let mut child = env
        .logs(&["kafka", "-f", "--tail", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("run");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert_eq!(next(), "one");
    append(&log, "two\n");
    assert_eq!(next(), "two");
    append(&log, "last words\n");
    std::fs::rename(&log, env.log("kafka.previous.log")).expect("renamed");
    append(&log, "three\n");
    assert_eq!(next(), "last words");
    assert_eq!(next(), "three");
    let pid = i32::try_from(child.id()).expect("a pid");
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::INT).expect("signalled");
    assert_eq!(child.wait().expect("ended").code(), Some(130));
}

const WARNED: &str = "\
2026-11-21T06:54:15,123 INFO  [main] a.B - begins
2026-11-21T06:54:16,123 ERROR [main] a.B - breaks
java.io.IOException: gone
\tat a.B.c(B.java:1)
2026-11-21T06:54:17,123 INFO  [main] a.B - goes on
2026-11-21T06:54:18,123 WARN  [main] a.B - slow
";

#[test]
fn grave_lines_with_their_traces_and_late_ones() {
    let env = Environment::new("");
    append(&env.log("connect.log"), WARNED);
    let lines: Vec<&str> = WARNED.lines().collect();
    let run = |args: &[&str]| {
        let mut command = env.logs(&["connect"]);
        let output = command.args(args).env("TZ", "UTC").output().expect("run");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        run(&["--level", "warn"]),
        [lines[1], lines[2], lines[3], lines[5]]
    );
    assert_eq!(
        run(&["--level", "error", "--tail", "2"]),
        [lines[2], lines[3]]
    );
    assert_eq!(
        run(&["--since", "2026-11-21T06:54:17Z", "--tail", "1000"]),
        lines[4..]
    );
    assert_eq!(run(&["--since", "1s"]), Vec::<String>::new());
    assert_eq!(run(&["--level", "trace"]), lines);
    assert_eq!(
        run(&["--level", "warn", "--tail", "1", "--output", "json"]),
        [
            "{\"component\":\"connect\",\"line\":\"2026-11-21T06:54:18,123 WARN  [main] a.B - slow\"}"
        ]
    );
    let (code, _, err) = env.run(&["connect", "--since", "yesterday"]);
    assert_eq!(code, Some(3));
    assert!(err.contains("--since 30s"), "{err}");
    let (code, _, err) = env.run(&["connect", "--level", "loud"]);
    assert_eq!(code, Some(3), "{err}");
}

#[test]
fn following_grave_lines_alone() {
    let env = Environment::new("");
    let log = env.log("connect.log");
    append(&log, WARNED);
    let mut child = env
        .logs(&["connect", "-f", "--level", "warn", "--tail", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("run");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert!(next().ends_with("slow"));
    append(&log, "2026-11-21T06:54:19,123 INFO  [main] a.B - calm\n");
    append(
        &log,
        "2026-11-21T06:54:20,123 ERROR [main] a.B - half of a li",
    );
    append(&log, "ne\n\tat a.B\n");
    assert!(next().ends_with("half of a line"));
    assert_eq!(next(), "\tat a.B");
    let pid = i32::try_from(child.id()).expect("a pid");
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::INT).expect("signalled");
    assert_eq!(child.wait().expect("ended").code(), Some(130));
}
