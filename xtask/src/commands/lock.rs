//! `lock`: digests of the pinned versions' artifacts, for who bumps a version.
//!
//! Maven resolves what the pins name; what it brings is measured and written to the lock files
//! that `up` verifies downloads against. A digest that is locked is never changed here: the same
//! version with other bytes is an attack or a broken mirror until a person has found out. What is not
//! Maven's (operators' files, Kind) is fetched from its releases.

mod fetched;

use std::path::Path;
use std::process::ExitCode;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::json;

use super::{context, stdout};
use crate::cli::Global;
use crate::components::{self, Lock, connect};
use crate::error::{Code, Error, Result};
use crate::files::{read_if_there, write_atomic};
use crate::plan::Progress;
use crate::platform::host::artifacts::lockfile::{self, Locked};
use crate::platform::host::artifacts::maven::{self, Coordinates, MavenArtifact};
use crate::platform::host::artifacts::unpack::Unpack;
use crate::platform::host::{Dirs, artifacts, dirs, lock};
use crate::platform::kind::download::RELEASES;
use crate::profile::parts;
use crate::profile::schema::Versions;
use crate::report::text;

const PLUGINS: &str = "images/connect/plugins.yaml";

pub(super) async fn run(global: &Global) -> Result<ExitCode> {
    let loaded = context::load(&context::selection(global))?;
    let root = context::root();
    let versions = &loaded.profile.versions;
    let plugins_text = read_if_there(&root.join(PLUGINS))?.unwrap_or_default();
    let plugins = parse_plugins(&plugins_text)?;
    let locks = components::locks(versions);
    let cache = Dirs::of(&loaded.name)?.cache;
    let files = resolve(&locks, at_versions(&plugins, versions), versions, &cache).await?;
    // Everything is compared before anything is written.
    let mut changes = Vec::new();
    for (lock, found) in locks.into_iter().zip(&files.locks) {
        changes.push(lock_file(&root, lock.file, found)?);
    }
    changes.push(lock_plugins(
        plugins_text,
        &plugins,
        |name| versions.plugin(name).to_owned(),
        &files.plugins,
    )?);
    changes.extend(fetched::changes(&root, versions, &cache, RELEASES).await?);
    for change in &changes {
        if let Some(text) = &change.text {
            write_atomic(&root.join(&change.file), text.as_bytes(), 0o644)?;
        }
    }
    let files = changes
        .iter()
        .map(|it| json!({ "file": it.file, "result": it.done() }));
    let object = json!({ "files": files.collect::<Vec<_>>() });
    stdout::answer(global.output, object, || {
        let lines = changes
            .iter()
            .map(|it| format!("{}: {}\n", it.file, it.done()));
        lines.collect()
    })
}

/// What becomes of a file.
#[derive(Debug)]
struct Change {
    file: String,
    /// Its new text; none leaves it as it is.
    text: Option<String>,
}

impl Change {
    fn done(&self) -> &'static str {
        match self.text {
            Some(_) => "written",
            None => "unchanged",
        }
    }
}

/// A plugin of `images/connect/plugins.yaml`, as far as locking goes.
#[derive(Debug, Deserialize)]
struct Plugin {
    coordinates: String,
    #[serde(default)]
    digests: IndexMap<String, Digest>,
}

#[derive(Debug, Deserialize)]
struct Digest {
    sha256: String,
}

impl Plugin {
    fn at(&self, version: &str) -> Coordinates {
        Coordinates(self.coordinates.replace("{version}", version))
    }
}

fn parse_plugins(text: &str) -> Result<IndexMap<String, Plugin>> {
    serde_yaml::from_str(text)
        .map_err(|error| Error::new(Code::Artifact, format!("{PLUGINS} is malformed: {error}")))
}

fn at_versions(plugins: &IndexMap<String, Plugin>, versions: &Versions) -> Vec<Coordinates> {
    let plugins = plugins.iter();
    plugins
        .map(|(name, plugin)| plugin.at(versions.plugin(name)))
        .collect()
}

/// What Maven brought, measured.
#[derive(Debug)]
struct Files {
    /// Those of each lock file.
    locks: Vec<Vec<Locked>>,
    /// One file for each plugin, in their order.
    plugins: Vec<Locked>,
}

async fn resolve(
    locks: &[Lock],
    plugins: Vec<Coordinates>,
    versions: &Versions,
    cache: &Path,
) -> Result<Files> {
    dirs::make(cache, 0o755)?;
    let lock = lock::wait(&cache.join("maven.lock"), "cargo xtask lock").await?;
    let staging = artifacts::staging(cache, "maven")?;
    let names = |coordinates: &[Coordinates]| -> Vec<String> {
        coordinates.iter().map(maven::file_name).collect()
    };
    let named = names(&plugins);
    let own = locks
        .iter()
        .map(|it| (!it.transitive).then(|| names(&it.coordinates)));
    let own: Vec<Option<Vec<String>>> = own.collect();
    let mut wanted: Vec<MavenArtifact> = locks
        .iter()
        .map(|it| artifact(it.title, it.coordinates.clone(), it.transitive))
        .collect();
    // The order in which `up` asks: what takes dependencies comes first.
    let debezium = artifact(connect::PLUGINS, plugins, false);
    wanted.insert(wanted.len().min(1), debezium);
    let titles: Vec<&str> = wanted.iter().map(|it| it.title).collect();
    eprintln!("Maven resolves {} for all systems", text::list(&titles));
    let plugin = versions.of(&parts::MAVEN_PLUGIN);
    let dir = maven::resolve(&wanted, plugin, &staging, &lock, &Progress::silent()).await?;
    let files = tokio::task::spawn_blocking(move || {
        let files = measure(&dir, &named, &own)?;
        dirs::remove(&staging)?;
        Ok(files)
    });
    files
        .await
        .map_err(|error| Error::new(Code::Artifact, format!("measuring failed: {error}")))?
}

/// What Maven is asked for.
fn artifact(title: &'static str, coordinates: Vec<Coordinates>, transitive: bool) -> MavenArtifact {
    MavenArtifact {
        name: title.to_owned(),
        title,
        coordinates,
        transitive,
        files: Vec::new(),
        unpack: Unpack::Copy,
    }
}

/// Measures everything in a directory; what is neither a plugin nor named by a lock belongs to the one that
/// takes dependencies, which names none.
fn measure(dir: &Path, plugins: &[String], locks: &[Option<Vec<String>>]) -> Result<Files> {
    let io = |source: std::io::Error| Error::io("read", dir, &source);
    let all = |names: &[String]| -> Result<Vec<Locked>> {
        let measured = names.iter().map(|name| {
            lockfile::measure(&dir.join(name))
                .map_err(|source| Error::io("read", dir.join(name), &source))
        });
        measured.collect()
    };
    let mut rest = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let name = name.to_string_lossy().into_owned();
        let named = locks.iter().flatten().map(Vec::as_slice);
        if !named.chain([plugins]).any(|names| names.contains(&name)) {
            rest.push(name);
        }
    }
    let locks = locks
        .iter()
        .map(|names| all(names.as_ref().unwrap_or(&rest)));
    Ok(Files {
        locks: locks.collect::<Result<_>>()?,
        plugins: all(plugins)?,
    })
}

/// A lock file that is not there yet, or proof that the one that is there still holds.
fn lock_file(root: &Path, file: String, found: &[Locked]) -> Result<Change> {
    let path = root.join(&file);
    if !path.is_file() {
        let text = Some(lockfile::format(found.to_vec()));
        return Ok(Change { file, text });
    }
    let locked = lockfile::read(&path)?;
    let mut details = Vec::new();
    for old in &locked {
        match found.iter().find(|new| new.file == old.file) {
            None => details.push(format!("{}: locked, and not resolved any more", old.file)),
            Some(new) if new != old => {
                details.push(difference(&old.file, &old.sha256, &new.sha256))
            }
            Some(_) => {}
        }
    }
    for new in found {
        if !locked.iter().any(|old| old.file == new.file) {
            details.push(format!("{}: resolved, and not locked", new.file));
        }
    }
    if details.is_empty() {
        return Ok(Change { file, text: None });
    }
    Err(refused(&file, details))
}

fn difference(file: &str, locked: &str, found: &str) -> String {
    format!("{file}: locked sha256 {locked}, found {found}")
}

fn refused(file: &str, details: Vec<String>) -> Error {
    Error::new(
        Code::Artifact,
        format!("{file} locks other files than there are now; it is left as it is"),
    )
    .details(details)
    .hint("a version's files must not change: find out why; to lock them again, remove what is locked and rerun")
}

/// `plugins.yaml` with the digests that it lacks for the plugins' versions.
fn lock_plugins(
    mut text: String,
    plugins: &IndexMap<String, Plugin>,
    version: impl Fn(&str) -> String,
    found: &[Locked],
) -> Result<Change> {
    let mut details = Vec::new();
    let mut changed = false;
    for ((name, plugin), found) in plugins.iter().zip(found) {
        let version = &version(name);
        match plugin.digests.get(version) {
            Some(digest) if digest.sha256 == found.sha256 => {}
            Some(digest) => details.push(difference(&found.file, &digest.sha256, &found.sha256)),
            None => {
                text = with_digest(&text, name, version, found).ok_or_else(|| {
                    Error::new(
                        Code::Artifact,
                        format!("{PLUGINS}: `{name}` has no `digests:` block to add to"),
                    )
                    .detail(digest_line(version, found))
                })?;
                changed = true;
            }
        }
    }
    if !details.is_empty() {
        return Err(refused(PLUGINS, details));
    }
    Ok(Change {
        file: PLUGINS.into(),
        text: changed.then_some(text),
    })
}

fn digest_line(version: &str, found: &Locked) -> String {
    format!(
        "    {version}: {{ bytes: {}, sha256: {} }}",
        found.bytes, found.sha256
    )
}

/// The text with one more line at the end of a plugin's digests; everything else stays.
fn with_digest(text: &str, plugin: &str, version: &str, found: &Locked) -> Option<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let top = lines
        .iter()
        .position(|line| *line == format!("{plugin}:"))?;
    let is_inside = |line: &String| line.starts_with(' ') || line.trim().is_empty();
    let end = top
        + 1
        + lines[top + 1..]
            .iter()
            .take_while(|line| is_inside(line))
            .count();
    let digests = top
        + lines[top..end]
            .iter()
            .position(|line| line.trim_end() == "  digests:")?;
    let entries = lines[digests + 1..end]
        .iter()
        .take_while(|line| line.starts_with("    "))
        .count();
    lines.insert(digests + 1 + entries, digest_line(version, found));
    Some(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "\
# Comment.
postgres:
  coordinates: g:a:{version}:tar.gz:plugin # another
  digests:
    1: { bytes: 1, sha256: one }

mongodb:
  coordinates: g:b:{version}:tar.gz:plugin
  digests:
    1: { bytes: 1, sha256: two }
    # the last
";

    fn locked(file: &str, sha256: &str) -> Locked {
        Locked {
            file: file.into(),
            sha256: sha256.into(),
            bytes: 1,
        }
    }

    #[test]
    fn a_missing_digest_is_added_and_nothing_else_changes() {
        let plugins = parse_plugins(YAML).expect("valid");
        let found = [locked("a", "three"), locked("b", "four")];
        let change = lock_plugins(YAML.into(), &plugins, |_| "2".into(), &found).expect("added");
        let text = change.text.expect("changed");
        let added = |line: &&str| line.starts_with("    2: ");
        assert_eq!(
            text.lines().filter(added).collect::<Vec<_>>(),
            [
                "    2: { bytes: 1, sha256: three }",
                "    2: { bytes: 1, sha256: four }"
            ]
        );
        let kept: Vec<&str> = text.lines().filter(|line| !added(line)).collect();
        assert_eq!(kept, YAML.lines().collect::<Vec<_>>());
        let plugins = parse_plugins(&text).expect("still valid");
        assert_eq!(plugins["mongodb"].digests["2"].sha256, "four");
        let change = lock_plugins(text, &plugins, |_| "2".into(), &found).expect("the same");
        assert_eq!(change.done(), "unchanged");
    }

    #[test]
    fn each_plugin_is_locked_at_its_own_version() {
        let plugins = parse_plugins(YAML).expect("valid");
        let found = [locked("a", "three"), locked("b", "two")];
        let version = |name: &str| if name == "postgres" { "2" } else { "1" }.to_owned();
        let change = lock_plugins(YAML.into(), &plugins, version, &found).expect("added");
        let plugins = parse_plugins(&change.text.expect("changed")).expect("valid");
        assert_eq!(plugins["postgres"].digests["2"].sha256, "three");
        assert_eq!(plugins["mongodb"].digests.len(), 1);
    }

    #[test]
    fn another_digest_is_refused() {
        let plugins = parse_plugins(YAML).expect("valid");
        let found = [locked("a", "one"), locked("b", "other")];
        let error =
            lock_plugins(YAML.into(), &plugins, |_| "1".into(), &found).expect_err("refused");
        assert_eq!(error.details, ["b: locked sha256 two, found other"]);
    }

    #[test]
    fn a_lock_file_is_written_once_and_then_only_compared() {
        let dir = tempfile::tempdir().expect("a directory");
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let lock = |found: &[Locked]| lock_file(dir.path(), "x.lock".into(), found);
        let text = lock(&[locked("2.jar", &a), locked("1.jar", &b)])
            .expect("new")
            .text;
        let text = text.expect("written");
        assert_eq!(text, format!("{b}  1  1.jar\n{a}  1  2.jar\n"));
        std::fs::write(dir.path().join("x.lock"), text).expect("written");
        let same = lock(&[locked("1.jar", &b), locked("2.jar", &a)]).expect("the same");
        assert_eq!(same.done(), "unchanged");
        let error = lock(&[locked("1.jar", &a), locked("3.jar", &a)]).expect_err("refused");
        assert_eq!(error.code, Code::Artifact);
        assert_eq!(error.details.len(), 3, "{error}");
        assert!(error.message.contains("x.lock"), "{error}");
    }
}
