//! `lock` without Maven.

use std::process::Command;

#[test]
fn without_maven_nothing_is_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("lock")
        .env("PATH", dir.path())
        .env("XDG_STATE_HOME", dir.path())
        .env("XDG_CACHE_HOME", dir.path())
        .env_remove("CDC_PROFILE")
        .output()
        .expect("run");
    assert_eq!(output.status.code(), Some(4));
    assert!(output.stdout.is_empty());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("cargo xtask doctor"), "{errors}");
}
