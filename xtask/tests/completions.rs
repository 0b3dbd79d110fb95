//! The completion scripts, and what bash makes of one.

#![cfg(unix)]

use std::path::Path;
use std::process::Command;

fn script(shell: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["completions", shell])
        .output()
        .expect("run");
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).expect("text")
}

/// A repository as far as the scripts look at it.
fn repository(dir: &Path) {
    for name in ["profiles", "xtask/src", "target/debug"] {
        std::fs::create_dir_all(dir.join(name)).expect("created");
    }
    for name in ["profiles/versions.yaml", "xtask/src/cli.rs"] {
        std::fs::write(dir.join(name), "").expect("written");
    }
    let binary = dir.join("target/debug/xtask");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_xtask"), binary).expect("linked");
}

/// What bash offers at the end of a line that it split into these words.
fn bash(dir: &Path, words: &[&str]) -> Vec<String> {
    let harness = "
source script.bash
COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMP_LINE=\"$*\"; COMP_POINT=${#COMP_LINE}
function=$(complete -p \"${1##*/}\"); function=${function##*-F }
${function%% *} \"$1\" \"${COMP_WORDS[COMP_CWORD]}\" ''
printf '%s\\n' \"${COMPREPLY[@]}\"
";
    let output = Command::new("bash")
        .args(["--norc", "-c", harness, "bash"])
        .args(words)
        .current_dir(dir)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CDC_PROFILE")
        .env("KUBECONFIG", dir.join("kubeconfig"))
        .output()
        .expect("bash");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_shell_has_a_script() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(script(shell).contains("CDC_XTASK_COMPLETE"), "{shell}");
    }
}

#[test]
fn bash_completes_names_as_they_are_now() {
    if Command::new("bash").arg("--version").output().is_err() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    repository(dir.path());
    std::fs::write(dir.path().join("script.bash"), script("bash")).expect("written");
    let contexts = r#"{"apiVersion":"v1","kind":"Config","contexts":[{"name":"kind-a"},{"name":"kind-b"},{"name":"prod"}]}"#;
    std::fs::write(dir.path().join("kubeconfig"), contexts).expect("written");
    let offered = |words: &[&str]| bash(dir.path(), words);
    assert_eq!(offered(&["cargo", "xtask", "log"]), ["logs"]);
    assert_eq!(offered(&["cargo", "+stable", "xtask", "doc"]), ["doctor"]);
    assert_eq!(offered(&["target/debug/xtask", "doc"]), ["doctor"]);
    assert_eq!(offered(&["cargo", "xt"]), ["xtask"]);
    assert_eq!(
        offered(&["cargo", "xtask", "logs", "c"]),
        ["connect", "clickhouse"]
    );
    assert_eq!(
        offered(&["cargo", "xtask", "up", "--require", "mo"]),
        ["mongodb"]
    );
    // Where no word has begun, options are offered too.
    let names = |words: &[&str]| -> Vec<String> {
        let offered = offered(words).into_iter();
        offered.filter(|word| !word.starts_with("--")).collect()
    };
    assert_eq!(
        names(&["cargo", "xtask", "query", ""]),
        ["postgres", "clickhouse"]
    );
    assert_eq!(
        names(&["cargo", "xtask", "shell", ""]),
        ["kafka", "postgres", "mongodb", "clickhouse"]
    );
    assert_eq!(
        names(&["cargo", "xtask", "flow", "show", ""]),
        ["users", "events"]
    );
    let warehouse = ["cargo", "xtask", "--profile", "warehouse"];
    for words in [
        &["query", ""][..],
        &["slot", "list", "--component", ""],
        &["slot", "drop", "--component", ""],
    ] {
        let words = [&warehouse, words].concat();
        assert_eq!(names(&words), ["source", "warehouse"], "{words:?}");
    }
    assert!(offered(&["cargo", "xtask", "up", "--profile", "cl"]).contains(&"clickhouse".into()));
    assert_eq!(
        offered(&["cargo", "xtask", "up", "--context", "kind"]),
        ["kind-a", "kind-b"]
    );
    // Bash takes `=` for a word of its own.
    assert!(
        offered(&["cargo", "xtask", "up", "--profile", "=", "cl"]).contains(&"clickhouse".into())
    );
    assert_eq!(
        offered(&["cargo", "xtask", "up", "--set", "kafka.po"]),
        ["kafka.port="]
    );
    assert_eq!(
        offered(&["cargo", "xtask", "up", "--set", "kafka.port", "=", "9"]),
        ["9092"]
    );
    let after = [
        "cargo",
        "xtask",
        "up",
        "--set",
        "kafka.port",
        "=",
        "1",
        "--req",
    ];
    assert_eq!(offered(&after), ["--require"]);
}

#[test]
fn elsewhere_nothing_is_asked() {
    if Command::new("bash").arg("--version").output().is_err() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("script.bash"), script("bash")).expect("written");
    assert!(bash(dir.path(), &["cargo", "xtask", "log"]).is_empty());
}
