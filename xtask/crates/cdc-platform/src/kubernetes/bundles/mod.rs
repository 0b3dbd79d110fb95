//! The operators' own installation files: fetched by release tag, or read from a directory; every
//! file is proven by its digest in the lock beside the component before anything reads it.
//!
//! `install` turns the files into objects of an environment.

pub mod install;
mod release;
#[cfg(test)]
mod tests;

pub use release::measure;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;

use crate::error::{Code, Error, Result, nearest};
use crate::files;
use crate::host::artifacts::{Locked, lockfile, staging};
use crate::host::{dirs, lock};
use crate::plan::Progress;

/// Downloads at once.
const AT_ONCE: usize = 8;
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// An operator's installation files at one version.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The operator: its folder in `manifests/`.
    pub operator: &'static str,
    /// Its version.
    pub version: String,
    /// Where the files are, without a slash at the end.
    pub url: String,
    /// Where they are below a directory of bundles.
    pub dir: String,
    /// The files, with digests.
    pub files: Vec<Locked>,
}

/// `manifests/<operator>/bundle.yaml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    url: String,
    dir: String,
    /// The files' names, for `lock`.
    #[serde(default)]
    files: Vec<String>,
    /// Where a release's files are listed, if their names change.
    list: Option<String>,
}

/// Where an operator's files are at a version.
fn place(root: &Path, operator: &str, version: &str) -> Result<Place> {
    let path = root.join("manifests").join(operator).join("bundle.yaml");
    let text = files::read(&path)?;
    let place: Place = serde_yaml::from_str(&text).map_err(|error| {
        Error::new(
            Code::Artifact,
            format!("{} is malformed: {error}", path.display()),
        )
    })?;
    let at = |text: String| text.replace("{version}", version);
    Ok(Place {
        url: at(place.url),
        dir: at(place.dir),
        files: place.files.into_iter().map(at).collect(),
        list: place.list.map(at),
    })
}

/// The operator's lock file at a version, below the repository's root.
pub fn lock_name(operator: &str, version: &str) -> String {
    format!("manifests/{operator}/bundle-{version}.lock")
}

/// The bundle of an operator at a version.
///
/// # Errors
/// There is no such operator, or no digests are locked for its version.
pub fn bundle(root: &Path, operator: &'static str, version: &str) -> Result<Bundle> {
    let place = place(root, operator, version)?;
    let lock = root.join(lock_name(operator, version));
    if !lock.is_file() {
        let folder = root.join("manifests").join(operator);
        return Err(unlocked(&folder, operator, version));
    }
    Ok(Bundle {
        operator,
        version: version.to_owned(),
        url: place.url,
        dir: place.dir,
        files: lockfile::read(&lock)?,
    })
}

fn unlocked(folder: &Path, operator: &str, version: &str) -> Error {
    let mut known: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let version = name.strip_prefix("bundle-")?.strip_suffix(".lock")?;
            Some(version.to_owned())
        })
        .collect();
    known.sort();
    let error = Error::new(
        Code::Artifact,
        format!("no digests are locked for {operator} {version}"),
    );
    match nearest(version, known.iter().map(String::as_str)) {
        Some(near) => error.hint(format!(
            "use {near}, or lock this one: cargo xtask lock; locked are: {}",
            known.join(", ")
        )),
        None => error.hint(format!(
            "lock it: cargo xtask lock; locked versions: {}",
            known.join(", ")
        )),
    }
}

impl Bundle {
    /// Its directory in the cache, whether or not it is there yet.
    pub fn cached(&self, cache: &Path) -> PathBuf {
        let key = lockfile::digest(&lockfile::format(self.files.clone()));
        cache.join(format!(
            "{}-bundle-{}-{}",
            self.operator,
            self.version,
            &key[..12]
        ))
    }

    /// Its files below a directory of bundles, such as `--bundle-dir` names.
    ///
    /// # Errors
    /// One is missing, or is not the locked one.
    pub fn read_from(&self, bundles: &Path) -> Result<Vec<(String, String)>> {
        self.read(&bundles.join(&self.dir))
    }

    /// Its files in the cache.
    ///
    /// # Errors
    /// One is missing, or is not the locked one.
    pub fn read_cached(&self, cache: &Path) -> Result<Vec<(String, String)>> {
        self.read(&self.cached(cache))
    }

    fn read(&self, dir: &Path) -> Result<Vec<(String, String)>> {
        self.files
            .iter()
            .map(|locked| {
                let path = dir.join(&locked.file);
                self.verify(&path, locked)?;
                Ok((locked.file.clone(), files::read(&path)?))
            })
            .collect()
    }

    fn verify(&self, path: &Path, locked: &Locked) -> Result<()> {
        if !path.is_file() {
            return Err(Error::new(
                Code::Artifact,
                format!(
                    "{} {}: there is no {}",
                    self.operator,
                    self.version,
                    path.display()
                ),
            )
            .hint(format!(
                "a directory of bundles holds it as {}/{}, from {}",
                self.dir, locked.file, self.url
            )));
        }
        lockfile::verify(path, locked).map_err(|error| {
            error.hint(format!(
                "do not use it: {} at {} is another file",
                self.operator, self.version
            ))
        })
    }
}

/// Has every bundle in the cache afterwards, and says which were fetched.
///
/// # Errors
/// The network fails, a digest differs, or the cache cannot be written.
pub async fn fetch(bundles: &[Bundle], cache: &Path, progress: &Progress) -> Result<Vec<String>> {
    let missing = || -> Vec<Bundle> {
        bundles
            .iter()
            .filter(|bundle| !bundle.cached(cache).is_dir())
            .cloned()
            .collect()
    };
    if missing().is_empty() {
        return Ok(Vec::new());
    }
    dirs::make(cache, 0o755)?;
    progress.observe("waiting for another run's downloads");
    let _lock = lock::wait(&cache.join("bundles.lock"), "downloading").await?;
    let wanted = missing();
    let staging = staging(cache, "bundles")?;
    let client = client()?;
    let total = wanted
        .iter()
        .flat_map(|bundle| &bundle.files)
        .map(|locked| locked.bytes)
        .sum();
    let done = std::sync::atomic::AtomicU64::new(0);
    let (client, done, staging_dir) = (&client, &done, &staging);
    let mut fetched = Vec::new();
    for bundle in &wanted {
        let name = format!("{} {}", bundle.operator, bundle.version);
        progress.observe(format!("fetching {name}"));
        let unfinished = staging_dir.join(bundle.operator);
        dirs::make(&unfinished, 0o755)?;
        // By value: a closure over references would keep the whole from being sent to a task.
        stream::iter(bundle.files.clone())
            .map(|locked| {
                let path = unfinished.join(&locked.file);
                async move {
                    let url = format!("{}/{}", bundle.url, locked.file);
                    download(client, &url, &path, |bytes| {
                        let now = done.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
                        progress.bytes((now + bytes).min(total), total);
                    })
                    .await?;
                    bundle.verify(&path, &locked)
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        let target = bundle.cached(cache);
        std::fs::rename(&unfinished, &target)
            .map_err(|source| Error::io("create", target, &source))?;
        fetched.push(name);
    }
    dirs::remove(&staging)?;
    Ok(fetched)
}

/// Proxies are those of the environment.
fn client() -> Result<reqwest::Client> {
    crate::tls::install();
    reqwest::Client::builder()
        // GitHub answers nobody who does not say who asks.
        .user_agent("cdc-xtask")
        .connect_timeout(SILENCE)
        .read_timeout(SILENCE)
        .build()
        .map_err(|error| Error::new(Code::Artifact, format!("no HTTP client: {error}")))
}

async fn download(
    client: &reqwest::Client,
    url: &str,
    path: &Path,
    received: impl Fn(u64),
) -> Result<()> {
    let failed = |error: reqwest::Error| {
        // The interesting part is at the end of the chain: the name that did not resolve, the proxy.
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        Error::new(Code::Artifact, format!("cannot fetch {url}: {reason}")).hint(
            "check the network and HTTPS_PROXY, or bring the files: --bundle-dir DIR (see manifests/README.md)",
        )
    };
    let answer = client
        .get(url)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .map_err(failed)?;
    let mut bytes = Vec::new();
    let mut stream = answer.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(failed)?;
        received(chunk.len() as u64);
        bytes.extend_from_slice(&chunk);
    }
    std::fs::write(path, &bytes).map_err(|source| Error::io("write", path, &source))
}
