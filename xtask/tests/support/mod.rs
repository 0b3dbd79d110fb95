//! Runs the real executable in a world of its own: temporary directories, its own PATH.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod commands;
pub(crate) mod crds;
pub(crate) mod objects;
pub(crate) mod refusal;

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A command line under construction, and the directories that it may touch.
pub(crate) struct Xtask {
    home: TempDir,
    root: Option<PathBuf>,
    args: Vec<String>,
}

/// What a command left behind.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Xtask {
    /// A world with an empty state directory, an empty cache, and a PATH that has only `java`.
    pub(crate) fn new() -> Self {
        let xtask = Xtask {
            home: tempfile::tempdir().expect("a directory"),
            root: None,
            args: Vec::new(),
        };
        std::fs::create_dir(xtask.path("bin")).expect("a directory");
        xtask.program("java")
    }

    /// Puts a program of this name into PATH. It only fails, loudly: no test may need it to run.
    pub(crate) fn program(self, name: &str) -> Self {
        let path = self.path("bin").join(name);
        std::fs::write(&path, "#!/bin/sh\necho started >&2\nexit 99\n").expect("written");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
                .expect("permissions");
        }
        self
    }

    /// Uses another repository than this one.
    pub(crate) fn root(mut self, root: &Path) -> Self {
        self.root = Some(root.to_owned());
        self
    }

    /// Writes a file below the world's own directory.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("written");
        self
    }

    /// A path below the world's own directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The same as text.
    pub(crate) fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Adds arguments, split at spaces.
    pub(crate) fn args(mut self, args: &str) -> Self {
        self.args.extend(args.split_whitespace().map(str::to_owned));
        self
    }

    /// Adds one argument as it stands.
    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Selects a file that [`Xtask::file`] wrote as the profile.
    pub(crate) fn profile(self, name: &str) -> Self {
        let path = self.shown(name);
        self.arg("--profile").arg(path)
    }

    /// Runs the command line in the world's own directory.
    pub(crate) fn run(&self) -> Ran {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = self
            .root
            .as_deref()
            .unwrap_or_else(|| package.parent().expect("a repository"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .args(&self.args)
            .current_dir(self.home.path())
            .env_clear()
            .env("CARGO_MANIFEST_DIR", root.join("xtask"))
            .env("PATH", self.path("bin"))
            .env("HOME", self.home.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("DOCKER_HOST", "tcp://127.0.0.1:1");
        let output = command.output().expect("it starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let ran = Ran {
            code: output.status.code().expect("no signal"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        commands::check(&self.args, &ran.stderr);
        ran
    }

    /// Runs it, and expects that it refuses with `code`, says all of `parts` on standard error, and
    /// has neither made a directory nor started anything.
    #[track_caller]
    pub(crate) fn refuses(&self, code: i32, parts: &[&str]) -> Ran {
        let ran = self.run();
        let said = format!("{:?} ended with {}:\n{}", self.args, ran.code, ran.stderr);
        assert_eq!(ran.code, code, "{said}");
        assert_eq!(ran.stdout, "", "results of a refusal; {said}");
        for part in parts {
            assert!(ran.stderr.contains(part), "no {part:?} in {said}");
        }
        for made in ["state", "cache"] {
            assert!(!self.path(made).exists(), "{made} was made; {said}");
        }
        ran
    }

    /// Runs it, and expects that it works; returns standard output.
    #[track_caller]
    pub(crate) fn prints(&self) -> String {
        let ran = self.run();
        assert_eq!(
            ran.code, 0,
            "{:?}:\n{}{}",
            self.args, ran.stdout, ran.stderr
        );
        ran.stdout
    }

    /// Text without what differs between machines.
    pub(crate) fn normal(&self, text: &str) -> String {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = package.parent().expect("a repository");
        let home = self.home.path();
        let real = home.canonicalize().expect("it exists");
        let text = text
            .replace(&real.display().to_string(), "<home>")
            .replace(&home.display().to_string(), "<home>")
            .replace(&root.display().to_string(), "<repository>");
        without_digests(&text)
    }
}

/// Replaces the digest in a cache directory's name, which depends on the operating system.
fn without_digests(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('-') {
        let (before, after) = rest.split_at(at + 1);
        out.push_str(before);
        let hex = after.len()
            - after
                .trim_start_matches(|c: char| c.is_ascii_hexdigit())
                .len();
        let (digest, tail) = after.split_at(hex);
        rest = if digest.len() == 12 { tail } else { after };
        if digest.len() == 12 {
            out.push_str("<digest>");
        }
    }
    out + rest
}
