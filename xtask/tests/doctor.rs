//! `doctor` on machines made of a PATH.

#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn script(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
}

fn doctor(path: &Path, args: &[&str]) -> Output {
    run(path, &[&["doctor"], args].concat())
}

fn run(path: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(args)
        .env("PATH", path)
        .env("XDG_STATE_HOME", path.join("state"))
        .env("XDG_CACHE_HOME", path.join("cache"))
        .env_remove("JAVA_HOME")
        .env_remove("CDC_PROFILE")
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .stdin(Stdio::null())
        .output()
        .expect("run")
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

fn ids(document: &Value) -> Vec<&str> {
    let checks = document["checks"].as_array().expect("checks");
    let ids = checks.iter().map(|check| check["id"].as_str());
    ids.map(|id| id.expect("a name")).collect()
}

fn status<'a>(document: &'a Value, id: &str) -> &'a str {
    let checks = document["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["id"] == id).expect(id);
    check["status"].as_str().expect("a status")
}

#[test]
fn an_empty_machine_lacks_everything() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = doctor(dir.path(), &["--output", "json"]);
    assert_eq!(output.status.code(), Some(4));
    let found = document(&output);
    assert_eq!(found["ok"], false);
    assert_eq!(found["error"]["code"], "PREREQUISITE_MISSING");
    for id in ["java", "maven", "python"] {
        assert_eq!(status(&found, id), "missing", "{id}");
    }
    for id in ["mongod", "docker"] {
        assert_eq!(status(&found, id), "optional-missing", "{id}");
    }

    let output = doctor(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(4));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("✗ java") && !text.contains('\u{1b}'),
        "{text}"
    );
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("java, mvn, python3"), "{errors}");
}

#[test]
fn old_tools_are_asked_and_found_too_old() {
    let dir = tempfile::tempdir().expect("a directory");
    script(
        dir.path(),
        "java",
        "echo 'openjdk version \"11.0.2\" 2019-01-15' >&2",
    );
    script(dir.path(), "python3", "echo 3.8.10");
    script(dir.path(), "mvn", "echo 'Apache Maven 3.9.9 (8e85)'");
    script(dir.path(), "mongod", "echo 'db version v8.0.4'");
    let found = document(&doctor(dir.path(), &["--output", "json"]));
    assert_eq!(status(&found, "java"), "too-old");
    assert_eq!(status(&found, "python"), "too-old");
    assert_eq!(status(&found, "maven"), "ok");
    assert_eq!(status(&found, "mongod"), "ok");
    let versions: Vec<&Value> = found["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|check| check["id"] == "maven" || check["id"] == "mongod")
        .map(|check| &check["version"])
        .collect();
    assert_eq!(versions, ["3.9.9", "8.0.4"]);
}

#[test]
fn what_is_external_needs_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let args = [
        "--output",
        "json",
        "--set",
        "clickhouse.external=ch:8123",
        "--set",
        "mongodb.external=m:27017",
    ];
    let found = document(&doctor(dir.path(), &args));
    let ids = ids(&found);
    for absent in [
        "python",
        "mongod",
        "port.clickhouse.port",
        "port.mongodb.port",
    ] {
        assert!(!ids.contains(&absent), "{absent}");
    }
}

/// Gives a machine package managers that make the tools.
fn manage(path: &Path) {
    // Whatever this system's package manager is, here it makes the tools.
    let install = format!(
        "echo \"$0 $*\"
case \"$*\" in update) exit 0 ;; esac
cd {}
printf '#!/bin/sh\\necho openjdk version \\\\\"21.0.1\\\\\" >&2\\n' > java
printf '#!/bin/sh\\necho Apache Maven 3.9.9\\n' > mvn
printf '#!/bin/sh\\necho 3.12.1\\n' > python3
/bin/chmod 755 java mvn python3",
        path.display()
    );
    for manager in ["apt-get", "dnf", "apk", "pacman", "zypper", "brew"] {
        script(path, manager, &install);
    }
    script(path, "sudo", "exec \"$@\"");
}

#[test]
fn the_first_up_installs_what_is_missing_and_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path();
    manage(path);
    let up = ["up", "--platform", "host"];
    let output = run(path, &up);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(
        said.contains("cargo xtask up --platform host --yes installs it first"),
        "{said}"
    );
    assert!(!path.join("java").exists());
    assert!(!path.join("state").exists() && !path.join("cache").exists());

    // What these tools are asked for next they cannot do: it went on.
    let output = run(path, &[&up[..], &["--yes", "--ports", "auto"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(path.join("mvn").exists(), "{said}");
    assert!(said.contains("host/artifacts"), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
}

#[test]
fn fix_asks_first_and_then_installs_and_looks_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path();
    manage(path);

    let output = doctor(path, &["--fix"]);
    assert_eq!(output.status.code(), Some(3), "no terminal to ask at");
    assert!(!path.join("java").exists());

    let output = doctor(path, &["--fix", "--yes", "--output", "json"]);
    let found = document(&output);
    for id in ["java", "maven", "python"] {
        assert_eq!(status(&found, id), "ok", "{id}: {found}");
    }
    assert_eq!(found["fix"].as_array().map(Vec::len), Some(0));
    let seen = String::from_utf8_lossy(&output.stderr);
    assert!(seen.contains("maven"), "{seen}");
}

#[test]
fn kind_and_kubernetes_are_looked_at_where_they_are_chosen() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = doctor(dir.path(), &["--output", "json", "--platform", "kind"]);
    assert_eq!(output.status.code(), Some(4));
    let found = document(&output);
    assert_eq!(found["platform"], "kind");
    assert_eq!(status(&found, "docker"), "missing");
    assert_eq!(status(&found, "kind"), "ok", "it is fetched");
    assert_eq!(status(&found, "maven"), "missing");
    let ids = ids(&found);
    assert!(ids.contains(&"node-image") && ids.contains(&"port.kafka.port"));
    assert!(!ids.contains(&"python"), "{ids:?}");

    let mut args = vec!["--output", "json", "--platform", "kubernetes"];
    args.extend(["--set", "connect.registry=registry.invalid/team"]);
    let found = document(&doctor(dir.path(), &args));
    assert_eq!(status(&found, "context"), "missing");
    args.extend(["--context", "nowhere"]);
    let found = document(&doctor(dir.path(), &args));
    assert_eq!(status(&found, "context"), "unusable");
}
