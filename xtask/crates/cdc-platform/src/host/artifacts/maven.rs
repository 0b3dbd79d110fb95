//! Artifacts that Maven resolves, so that mirrors, proxies and credentials of the user's own
//! settings are honoured. Everything that is missing comes with one Maven run: its JVM start and
//! plugin set-up cost more than most downloads.

use std::path::{Path, PathBuf};

use super::lockfile::{self, Locked};
use super::staging;
use super::unpack::{self, Unpack};
use crate::error::{Code, Error, Result};
use crate::host::dirs;
use crate::host::lock::{self, Lock};
use crate::plan::Progress;
use crate::process::{Job, capture};
use crate::report::text;
use crate::units::Size;

/// Maven coordinates, `group:artifact:version[:type[:classifier]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinates(pub String);

/// Something made of one or more Maven files.
#[derive(Clone, Debug)]
pub struct MavenArtifact {
    /// Name in the cache and in messages, such as `kafka-4.0.0`.
    pub name: String,
    /// What it is, for people.
    pub title: &'static str,
    /// What to ask Maven for.
    pub coordinates: Vec<Coordinates>,
    /// Whether what they depend on belongs to it.
    pub transitive: bool,
    /// The files, with digests.
    pub files: Vec<Locked>,
    /// How the files become the artifact's directory.
    pub unpack: Unpack,
}

impl MavenArtifact {
    /// Its directory in the cache, whether or not it is there yet.
    pub fn dir(&self, cache: &Path) -> PathBuf {
        let key = lockfile::digest(&lockfile::format(self.files.clone()));
        cache.join(format!("{}-{}", self.name, &key[..12]))
    }

    /// Bytes to download.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|locked| locked.bytes).sum()
    }
}

/// Has every artifact in the cache afterwards, and says which were fetched.
///
/// # Errors
/// Maven is missing or fails, a digest differs, or the cache cannot be written.
pub async fn fetch(
    artifacts: &[MavenArtifact],
    plugin_version: &str,
    cache: &Path,
    progress: &Progress,
) -> Result<Vec<String>> {
    let missing = |artifacts: &[MavenArtifact]| -> Vec<MavenArtifact> {
        artifacts
            .iter()
            .filter(|artifact| !artifact.dir(cache).is_dir())
            .cloned()
            .collect()
    };
    if missing(artifacts).is_empty() {
        return Ok(Vec::new());
    }
    progress.observe("waiting for another run's downloads");
    let lock = lock::wait(&cache.join("maven.lock"), "downloading").await?;
    let wanted = missing(artifacts);
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let staging = staging(cache, "maven")?;
    let files = resolve(&wanted, plugin_version, &staging, &lock, progress).await?;
    progress.observe("verifying and unpacking");
    let fetched = names(&wanted);
    let cache = cache.to_owned();
    tokio::task::spawn_blocking(move || {
        for artifact in &wanted {
            install(artifact, &files, &staging, &cache)?;
        }
        dirs::remove(&staging)
    })
    .await
    .map_err(|error| Error::new(Code::Artifact, format!("unpacking failed: {error}")))??;
    Ok(fetched)
}

/// Has Maven bring the files of all artifacts, in one run, into a directory below `staging`, which
/// it returns. Nothing is verified yet. Maven holds `lock` too: two of them at once in one local
/// repository get in each other's way, and one that outlives its killed run would be a second.
///
/// # Errors
/// Maven is missing or fails, or the directory cannot be written.
pub async fn resolve(
    wanted: &[MavenArtifact],
    plugin_version: &str,
    staging: &Path,
    lock: &Lock,
    progress: &Progress,
) -> Result<PathBuf> {
    let maven = which::which("mvn").map_err(|_| {
        Error::new(
            Code::Missing,
            format!(
                "Maven (mvn) is not in PATH; {} fetched with it",
                titles(wanted)
            ),
        )
        .hint("cargo xtask doctor shows how to install it here")
    })?;
    let pom = staging.join("pom.xml");
    std::fs::write(&pom, pom_text(wanted)?).map_err(|source| Error::io("write", &pom, &source))?;
    let total: u64 = wanted.iter().map(MavenArtifact::bytes).sum();
    let files = staging.join("files");
    let mut job = Job::new(
        maven,
        [
            "-B".to_owned(),
            "-f".into(),
            pom.display().to_string(),
            format!(
                "org.apache.maven.plugins:maven-dependency-plugin:{plugin_version}:copy-dependencies"
            ),
            format!("-DoutputDirectory={}", files.display()),
            "-Dmaven.artifact.threads=8".into(),
        ],
    );
    job.input = Some(lock.file());
    progress.observe(format!("Maven resolves {}", names(wanted).join(", ")));
    let mut done = 0;
    capture(&job, |line| {
        if let Some(bytes) = downloaded(line) {
            done += bytes;
            // Maven's own plugins are downloads too, but not in the total.
            progress.bytes(done.min(total), total);
        }
    })
    .await
    .map_err(|error| {
        let lines: Vec<String> = error
            .tail()
            .into_iter()
            .filter(|line| line.contains("ERROR") && !line.contains("[Help"))
            .take(4)
            .collect();
        Error::new(Code::Artifact, format!("Maven could not resolve {}: {error}", names(wanted).join(", ")))
            .details(lines)
            .hint("check the network, or the mirror in ~/.m2/settings.xml, and rerun; what is there is kept")
    })?;
    Ok(files)
}

/// The name that Maven gives the file of some coordinates.
pub fn file_name(coordinates: &Coordinates) -> String {
    let mut parts = coordinates.0.split(':').skip(1);
    let mut next = || parts.next().unwrap_or_default();
    let (artifact, version, extension, classifier) = (next(), next(), next(), next());
    let dash = if classifier.is_empty() { "" } else { "-" };
    let extension = if extension.is_empty() {
        "jar"
    } else {
        extension
    };
    format!("{artifact}-{version}{dash}{classifier}.{extension}")
}

fn names(artifacts: &[MavenArtifact]) -> Vec<String> {
    artifacts
        .iter()
        .map(|artifact| artifact.name.clone())
        .collect()
}

/// What the artifacts are, each once, with its verb: `Kafka and Debezium are`.
fn titles(artifacts: &[MavenArtifact]) -> String {
    let mut titles: Vec<&str> = artifacts.iter().map(|artifact| artifact.title).collect();
    titles.dedup();
    let verb = if titles.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", text::list(&titles))
}

fn install(artifact: &MavenArtifact, files: &Path, staging: &Path, cache: &Path) -> Result<()> {
    for locked in &artifact.files {
        let path = files.join(&locked.file);
        if !path.is_file() {
            return Err(Error::new(
                Code::Artifact,
                format!("{}: Maven did not bring {}", artifact.name, locked.file),
            )
            .hint("the lock file is of another version: cargo xtask lock"));
        }
        lockfile::verify(&path, locked)?;
    }
    let unfinished = staging.join(&artifact.name);
    dirs::make(&unfinished, 0o755)?;
    for locked in &artifact.files {
        unpack::unpack(artifact.unpack, &files.join(&locked.file), &unfinished)?;
    }
    let target = artifact.dir(cache);
    std::fs::rename(&unfinished, &target).map_err(|source| Error::io("create", target, &source))
}

/// A project whose only purpose is its dependencies.
fn pom_text(artifacts: &[MavenArtifact]) -> Result<String> {
    use std::fmt::Write;
    let mut text = String::from(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n<modelVersion>4.0.0</modelVersion>\n\
         <groupId>cdc</groupId><artifactId>artifacts</artifactId><version>1</version><packaging>pom</packaging>\n\
         <dependencies>\n",
    );
    for artifact in artifacts {
        for Coordinates(coordinates) in &artifact.coordinates {
            let parts: Vec<&str> = coordinates.split(':').collect();
            let tags = ["groupId", "artifactId", "version", "type", "classifier"];
            let safe = parts.iter().all(|part| {
                !part.is_empty()
                    && part
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
            });
            if !safe || !(3..=5).contains(&parts.len()) {
                return Err(Error::new(
                    Code::Artifact,
                    format!("`{coordinates}` are no Maven coordinates"),
                )
                .hint("group:artifact:version[:type[:classifier]]"));
            }
            text.push_str("<dependency>");
            for (tag, part) in tags.iter().zip(&parts) {
                // Writing to a String cannot fail.
                let _ = write!(text, "<{tag}>{part}</{tag}>");
            }
            if !artifact.transitive {
                text.push_str("<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>");
            }
            text.push_str("</dependency>\n");
        }
    }
    text.push_str("</dependencies>\n</project>\n");
    Ok(text)
}

/// The bytes of a line such as `Downloaded from central: URL (4.5 MB at 12 MB/s)`.
fn downloaded(line: &str) -> Option<u64> {
    if !line.contains("Downloaded from") {
        return None;
    }
    let size = line.rsplit_once(" (")?.1.split_once(" at ")?.0;
    Some(Size::decimal(size)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(coordinates: &str) -> MavenArtifact {
        MavenArtifact {
            name: "x".into(),
            title: "x",
            coordinates: vec![Coordinates(coordinates.into())],
            transitive: false,
            files: Vec::new(),
            unpack: Unpack::Copy,
        }
    }

    #[test]
    fn poms_name_coordinates_and_refuse_markup() {
        let text = pom_text(&[artifact(
            "io.debezium:debezium-connector-postgres:3.4.0.Final:tar.gz:plugin",
        )])
        .expect("valid");
        assert!(text.contains("<type>tar.gz</type><classifier>plugin</classifier><exclusions>"));
        for bad in ["a:b", "a:b:c:d:e:f", "a:b:<x>", "a::c"] {
            assert!(pom_text(&[artifact(bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn file_names() {
        let name = |text: &str| file_name(&Coordinates(text.into()));
        assert_eq!(name("g:a:1.0"), "a-1.0.jar");
        assert_eq!(name("g:a:1.0:tar.gz:plugin"), "a-1.0-plugin.tar.gz");
    }

    #[test]
    fn download_lines() {
        assert_eq!(
            downloaded("[INFO] Downloaded from central: x/y.jar (4.5 MB at 12 MB/s)"),
            Some(4_500_000)
        );
        assert_eq!(
            downloaded("Downloaded from m: x (812 B at 1 kB/s)"),
            Some(812)
        );
        assert_eq!(downloaded("[INFO] Downloading from central: x/y.jar"), None);
    }
}
