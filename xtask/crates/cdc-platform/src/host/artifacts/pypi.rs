//! A private Python environment, installed by pip with every file's hash required.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{lockfile, staging};
use crate::error::{Code, Error, Result};
use crate::host::{dirs, lock};
use crate::plan::Progress;
use crate::process::{Job, capture};
use crate::units::Size;
use crate::wait;

/// A virtual environment made from a requirements file with hashes.
#[derive(Clone, Debug)]
pub struct PypiEnvironment {
    /// Name in the cache and in messages.
    pub name: String,
    /// What it is, for people.
    pub title: &'static str,
    /// The program that does instead.
    pub instead: &'static str,
    /// pip's requirements file with `--hash` lines.
    pub requirements: PathBuf,
    /// Which of them there are, below the repository's root.
    pub locks: &'static str,
}

impl PypiEnvironment {
    /// Its directory in the cache, whether or not it is there yet.
    ///
    /// # Errors
    /// The requirements file cannot be read.
    pub fn dir(&self, cache: &Path) -> Result<PathBuf> {
        let text = std::fs::read_to_string(&self.requirements).map_err(|source| {
            let file = self.requirements.display();
            Error::new(
                Code::Artifact,
                format!(
                    "no digests are locked for {}: cannot read {file}: {source}",
                    self.name
                ),
            )
            .hint(format!("use a version that is locked: {}", self.locks))
        })?;
        let key = lockfile::digest(&text);
        Ok(cache.join(format!("{}-{}", self.name, &key[..12])))
    }

    /// Its Python.
    ///
    /// # Errors
    /// See [`PypiEnvironment::dir`].
    pub fn python(&self, cache: &Path) -> Result<PathBuf> {
        Ok(self.dir(cache)?.join("bin/python"))
    }
}

/// Has the environment in the cache afterwards; says whether it was made now.
///
/// # Errors
/// Python is missing or fails, a hash differs, or the cache cannot be written.
pub async fn fetch(
    environment: &PypiEnvironment,
    cache: &Path,
    progress: &Progress,
) -> Result<bool> {
    let dir = environment.dir(cache)?;
    // The environment's python is a link to the system's: a removed Python breaks it.
    let complete = || dir.join("bin/python").exists();
    if complete() {
        return Ok(false);
    }
    progress.observe("waiting for another run's downloads");
    let lock = lock::wait(&cache.join("pypi.lock"), "downloading").await?;
    if complete() {
        return Ok(false);
    }
    let python = which::which("python3").map_err(|_| {
        Error::new(
            Code::Missing,
            format!(
                "there is no `{}` in PATH, and no `python3` to run the embedded engine with",
                environment.instead
            ),
        )
        .hint("cargo xtask doctor shows how to install one of them here")
    })?;
    let staging = staging(cache, "pypi")?;
    dirs::remove(&dir)?;
    let downloads = staging.join("downloads");
    dirs::make(&downloads, 0o755)?;
    let venv = staging.join("venv");
    progress.observe("creating a private Python environment");
    let mut create = Job::new(python, ["-m", "venv", &venv.display().to_string()]);
    create.input = Some(lock.file());
    run(
        &create,
        progress,
        &downloads,
        "python3 cannot create a virtual environment",
        "on Debian and Ubuntu: apt-get install python3-venv",
    )
    .await?;
    let mut install = Job::new(
        venv.join("bin/python"),
        [
            "-m",
            "pip",
            "install",
            "--no-deps",
            "--require-hashes",
            "--only-binary=:all:",
            "--no-input",
            "--disable-pip-version-check",
            "--progress-bar=off",
            "-r",
            &environment.requirements.display().to_string(),
        ],
    );
    install.input = Some(lock.file());
    install
        .env
        .insert("TMPDIR".into(), downloads.display().to_string());
    run(
        &install,
        progress,
        &downloads,
        &format!("pip could not install {}", environment.title),
        "check the network or pip's index settings (pip config list) and rerun",
    )
    .await?;
    std::fs::rename(&venv, &dir).map_err(|source| Error::io("create", &dir, &source))?;
    dirs::remove(&staging)?;
    Ok(true)
}

async fn run(
    job: &Job,
    progress: &Progress,
    downloads: &Path,
    failed: &str,
    hint: &str,
) -> Result<()> {
    // pip tells a file's size when it begins with it, and nothing more on a pipe.
    let total = AtomicU64::new(0);
    let work = capture(job, |line| {
        if let Some(bytes) = announced(line) {
            total.store(bytes, Relaxed);
        }
        if let Some(what) = line.trim().strip_prefix("Downloading ") {
            progress.observe(format!("downloading {}", file_name(what)));
        } else if line.starts_with("Installing") {
            progress.observe("installing");
        }
    });
    wait::while_running(work, Duration::from_millis(250), || {
        let total = total.load(Relaxed);
        if total > 0 {
            progress.bytes(size(downloads).min(total), total);
        }
    })
    .await
    .map_err(|error| {
        Error::new(Code::Artifact, format!("{failed}: {error}"))
            .details(
                error
                    .tail()
                    .into_iter()
                    .filter(|line| !line.trim().is_empty()),
            )
            .hint(hint)
    })?;
    Ok(())
}

/// The last part of an address, without its origin.
fn file_name(what: &str) -> &str {
    let what = what.split_whitespace().next().unwrap_or(what);
    what.rsplit('/').next().unwrap_or(what)
}

/// The bytes of a line such as `  Downloading chdb-4.0.0.whl (149.4 MB)`.
fn announced(line: &str) -> Option<u64> {
    let size = line
        .trim()
        .strip_prefix("Downloading ")?
        .rsplit_once('(')?
        .1
        .strip_suffix(')')?;
    Some(Size::decimal(size)?.0)
}

/// The size of all files below a directory that other processes are changing.
fn size(dir: &Path) -> u64 {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announced_sizes() {
        assert_eq!(
            announced("  Downloading https://x/chdb-4.0.0-py3.whl (149.4 MB)"),
            Some(149_400_000)
        );
        assert_eq!(announced("Installing collected packages: chdb"), None);
        assert_eq!(
            file_name("https://x/chdb-4.0.0.whl (149.4 MB)"),
            "chdb-4.0.0.whl"
        );
    }
}
