//! Kind's command, fetched at the pinned version and verified before it can be run.

use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};

use super::Source;
use crate::docker;
use crate::error::{Code, Error, Result};
use crate::files::hex;
use crate::files::write_atomic;
use crate::host::dirs;
use crate::plan::Progress;

/// Far more than the command's size: what is larger is something else.
const LARGEST: usize = 100 << 20;

/// Where the releases are.
pub const RELEASES: &str = "https://kind.sigs.k8s.io/dl";

/// The machines that a release has the command for, as far as this tool runs on them.
const MACHINES: [&str; 5] = [
    "linux-amd64",
    "linux-arm64",
    "darwin-amd64",
    "darwin-arm64",
    "windows-amd64",
];

/// The file with a version's digests, below the repository's root.
pub fn lock_name(version: &str) -> String {
    format!("manifests/kind/kind-{version}.sha256")
}

/// The digests that a release publishes, as the text of [`lock_name`]'s file.
///
/// # Errors
/// The release does not answer, or has no digest for a machine.
pub async fn published(releases: &str, version: &str) -> Result<String> {
    let mut lines = String::new();
    for machine in MACHINES {
        let file = format!("kind-{machine}");
        let url = format!("{releases}/v{version}/{file}.sha256sum");
        let failed = |reason: String| {
            Error::new(Code::Artifact, format!("cannot fetch {url}: {reason}"))
                .hint("check the network and HTTPS_PROXY, and that kind has this version")
        };
        let bytes = download(&url, &Progress::silent()).await.map_err(failed)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let sum = text.split_whitespace().next().unwrap_or_default();
        if sum.len() != 64 || !sum.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(failed("it is not a digest".into()));
        }
        lines.push_str(&format!("{}  {file}\n", sum.to_ascii_lowercase()));
    }
    Ok(lines)
}

/// The command in the cache, fetched if it is not there.
pub(super) async fn fetch(source: &Source, progress: &Progress) -> Result<PathBuf> {
    let version = &source.version;
    let file = file_name();
    let digests = lock_name(version);
    let install = "install kind (https://kind.sigs.k8s.io) and have it in PATH";
    let wanted = digest(&source.root.join(&digests), &file).map_err(|reason| {
        Error::new(
            Code::Missing,
            format!("kind is not in PATH, and {file} {version} cannot be fetched: {reason}"),
        )
        .hint(format!(
            "{install}, or lock the version: cargo xtask lock writes {digests}"
        ))
    })?;
    let path = source
        .cache
        .join(format!("kind-{version}-{}", &wanted[..12]))
        .join(program());
    if path.is_file() {
        return Ok(path);
    }
    let url = format!("{RELEASES}/v{version}/{file}");
    progress.observe(format!("fetching kind {version}"));
    let bytes = download(&url, progress).await.map_err(|reason| {
        Error::new(Code::Artifact, format!("cannot fetch {url}: {reason}"))
            .hint(format!("check the network and rerun, or {install}"))
    })?;
    verify(&bytes, &wanted, &url)?;
    let dir = path.parent().unwrap_or(&source.cache);
    dirs::make(dir, 0o755)?;
    write_atomic(&path, &bytes, 0o755)?;
    Ok(path)
}

fn verify(bytes: &[u8], wanted: &str, url: &str) -> Result<()> {
    let found = hex(&Sha256::digest(bytes));
    if found == wanted {
        return Ok(());
    }
    Err(Error::new(
        Code::Artifact,
        format!("{url} is not the file that is pinned"),
    )
    .detail(format!("pinned sha256 {wanted}"))
    .detail(format!("found  sha256 {found}"))
    .hint("a proxy's error page, or a changed file: nothing of it was run or kept"))
}

async fn download(url: &str, progress: &Progress) -> std::result::Result<Vec<u8>, String> {
    crate::tls::install();
    let text = |error: reqwest::Error| error.without_url().to_string();
    let client = reqwest::Client::builder()
        .https_only(url.starts_with("https:"))
        .build()
        .map_err(text)?;
    let answer = client.get(url).send().await.map_err(text)?;
    let answer = answer.error_for_status().map_err(text)?;
    let total = answer.content_length().unwrap_or_default();
    let mut chunks = answer.bytes_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.try_next().await.map_err(text)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LARGEST {
            return Err("it is larger than kind can be".into());
        }
        progress.bytes(bytes.len() as u64, total);
    }
    Ok(bytes)
}

/// The pinned digest of a file: lines of `<sha256>  <file>`, as the release publishes them.
fn digest(path: &Path, file: &str) -> std::result::Result<String, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    text.lines()
        .filter_map(|line| line.split_once("  "))
        .find(|(digest, name)| *name == file && digest.len() == 64)
        .map(|(digest, _)| digest.to_owned())
        .ok_or_else(|| format!("{} has no digest for it", path.display()))
}

/// The release's file for this machine.
fn file_name() -> String {
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    format!("kind-{os}-{}", docker::architecture(std::env::consts::ARCH))
}

fn program() -> &'static str {
    if cfg!(windows) { "kind.exe" } else { "kind" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::releases::serve;

    #[test]
    fn the_pinned_version_has_a_digest_for_every_machine_that_it_runs_on() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let path = root.join("manifests/kind/kind-0.33.0.sha256");
        for file in MACHINES {
            digest(&path, &format!("kind-{file}")).expect("pinned");
        }
        let error = digest(&path, "kind-plan9-amd64").expect_err("not pinned");
        assert!(error.contains("no digest"), "{error}");
    }

    #[tokio::test]
    async fn what_a_release_publishes_is_what_is_pinned() {
        let sums: Vec<(&'static str, &'static str)> = vec![
            ("v9/kind-linux-amd64.sha256sum", "AA"),
            ("v9/kind-linux-arm64.sha256sum", "bb"),
            ("v9/kind-darwin-amd64.sha256sum", "cc"),
            ("v9/kind-darwin-arm64.sha256sum", "dd"),
            ("v9/kind-windows-amd64.sha256sum", "ee"),
        ];
        let whole = |sums: &[(&'static str, &'static str)]| -> Vec<(&'static str, &'static str)> {
            sums.iter()
                .map(|(name, sum)| {
                    let file = &name[3..name.len() - ".sha256sum".len()];
                    let text = format!("{}  {file}\n", sum.repeat(32));
                    (*name, &*text.leak())
                })
                .collect()
        };
        let releases = serve(whole(&sums));
        let text = published(&releases, "9").await.expect("published");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("sums");
        std::fs::write(&path, &text).expect("written");
        assert_eq!(digest(&path, "kind-linux-amd64"), Ok("aa".repeat(32)));
        assert_eq!(digest(&path, "kind-windows-amd64"), Ok("ee".repeat(32)));
        let error = published(&serve(whole(&sums[..4])), "9")
            .await
            .expect_err("one is missing");
        assert!(error.message.contains("windows"), "{error}");
        let page = serve(vec![("v9/kind-linux-amd64.sha256sum", "<html>")]);
        let error = published(&page, "9").await.expect_err("a page");
        assert!(error.message.contains("not a digest"), "{error}");
    }

    #[test]
    fn other_bytes_are_refused() {
        let wanted = hex(&Sha256::digest(b"kind"));
        verify(b"kind", &wanted, "u").expect("the same");
        let error = verify(b"page", &wanted, "u").expect_err("others");
        assert_eq!(error.code, Code::Artifact);
    }
}
