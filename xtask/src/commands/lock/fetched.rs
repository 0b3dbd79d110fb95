//! The digests of what is fetched by version and not through Maven: operators' installation files
//! and Kind's command.
//!
//! What is locked is compared only where its release answers, so that a closed network can still
//! lock what Maven brings.

use std::path::Path;

use super::{Change, difference, lock_file, refused};
use crate::components::OPERATORS;
use crate::error::Result;
use crate::files::read_if_there;
use crate::platform::host::artifacts::{Locked, staging};
use crate::platform::host::dirs;
use crate::platform::kind::download;
use crate::platform::kubernetes::bundles::{lock_name, measure};
use crate::profile::parts;
use crate::profile::schema::Versions;

/// What the files of the pinned versions become. One that is there is compared if its release
/// answers; where it does not (a closed network), that is said, and it stays as it is.
///
/// # Errors
/// A release that must be locked does not answer, or its files are others than those that are locked.
pub(super) async fn changes(
    root: &Path,
    versions: &Versions,
    cache: &Path,
    releases: &str,
) -> Result<Vec<Change>> {
    dirs::make(cache, 0o755)?;
    let staging = staging(cache, "releases")?;
    let mut changes = Vec::new();
    for operator in OPERATORS {
        let (operator, version) = (operator.name, versions.of(operator.part));
        let found = measure(root, operator, version, &staging).await;
        let file = lock_name(operator, version);
        changes.push(one(root, file, found, |file, found: Vec<Locked>| {
            lock_file(root, file, &found)
        })?);
    }
    let published = download::published(releases, versions.of(&parts::KIND)).await;
    let file = download::lock_name(versions.of(&parts::KIND));
    changes.push(one(root, file, published, |file, text| {
        lock_text(root, file, text)
    })?);
    dirs::remove(&staging)?;
    Ok(changes)
}

/// What a file becomes by what was found for it.
fn one<T>(
    root: &Path,
    file: String,
    found: Result<T>,
    lock: impl Fn(String, T) -> Result<Change>,
) -> Result<Change> {
    match found {
        Ok(found) => lock(file, found),
        Err(error) if root.join(&file).is_file() => {
            eprintln!("{file} is not compared: {}", error.message);
            Ok(Change { file, text: None })
        }
        Err(error) => Err(error),
    }
}

/// A file that is not there yet, or proof that the one that is there has every line of it.
fn lock_text(root: &Path, file: String, found: String) -> Result<Change> {
    let Some(locked) = read_if_there(&root.join(&file))? else {
        return Ok(Change {
            file,
            text: Some(found),
        });
    };
    let lines = |text: &str| -> Vec<(String, String)> {
        text.lines()
            .filter_map(|line| line.split_once("  "))
            .map(|(digest, name)| (name.to_owned(), digest.to_owned()))
            .collect()
    };
    let locked = lines(&locked);
    let mut details = Vec::new();
    for (name, digest) in lines(&found) {
        match locked.iter().find(|(locked, _)| *locked == name) {
            Some((_, locked)) if *locked == digest => {}
            Some((_, locked)) => details.push(difference(&name, locked, &digest)),
            None => details.push(format!("{name}: published, and not locked")),
        }
    }
    if details.is_empty() {
        return Ok(Change { file, text: None });
    }
    Err(refused(&file, details))
}

#[cfg(test)]
#[path = "../../../tests/support/releases.rs"]
mod releases;
#[cfg(test)]
mod tests {
    use super::releases::serve;
    use super::*;
    use crate::profile::Selection;

    const SUM: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn repository(url: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for operator in OPERATORS.map(|it| it.name) {
            let dir = root.path().join("manifests").join(operator);
            std::fs::create_dir_all(&dir).expect("a directory");
            let place = format!("url: {url}\ndir: d\nfiles: [{operator}.yaml]\n");
            std::fs::write(dir.join("bundle.yaml"), place).expect("written");
        }
        std::fs::create_dir_all(root.path().join("manifests/kind")).expect("a directory");
        root
    }

    fn release(strimzi: &'static str) -> String {
        let mut files = vec![
            ("strimzi.yaml", strimzi),
            ("altinity.yaml", "kind: B\n"),
            ("cloudnative-pg.yaml", "kind: C\n"),
        ];
        for machine in [
            "linux-amd64",
            "linux-arm64",
            "darwin-amd64",
            "darwin-arm64",
            "windows-amd64",
        ] {
            let name = format!("v9/kind-{machine}.sha256sum");
            files.push((name.leak(), SUM));
        }
        serve(files)
    }

    fn versions(strimzi: &str) -> Versions {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let selection = Selection {
            profile: "clickhouse".into(),
            set: vec![
                format!("versions.strimzi={strimzi}"),
                "versions.cloudnative_pg=2".into(),
                "versions.altinity_operator=3".into(),
                "versions.kind=9".into(),
            ],
        };
        let loaded = crate::components::load(&root, &selection).expect("a profile");
        loaded.profile.versions
    }

    async fn of(root: &Path, releases: &str) -> Result<Vec<Change>> {
        let cache = tempfile::tempdir().expect("a directory");
        changes(root, &versions("0.50.0"), cache.path(), releases).await
    }

    fn write(root: &Path, changes: &[Change]) {
        for change in changes {
            let text = change.text.as_deref().expect("new");
            std::fs::write(root.join(&change.file), text).expect("written");
        }
    }

    #[tokio::test]
    async fn bundles_and_kind_are_locked_once_and_then_only_compared() {
        let url = release("kind: A\n");
        let root = repository(&url);
        let first = of(root.path(), &url).await.expect("all there");
        let files: Vec<&str> = first.iter().map(|change| change.file.as_str()).collect();
        assert_eq!(
            files,
            [
                "manifests/strimzi/bundle-0.50.0.lock",
                "manifests/altinity/bundle-3.lock",
                "manifests/cloudnative-pg/bundle-2.lock",
                "manifests/kind/kind-9.sha256",
            ]
        );
        write(root.path(), &first);
        let kind = std::fs::read_to_string(root.path().join(files[3])).expect("written");
        assert_eq!(kind.lines().count(), 5);
        assert!(kind.starts_with(&format!("{SUM}  kind-linux-amd64\n")));
        let bundle = crate::platform::kubernetes::bundles::bundle(root.path(), "strimzi", "0.50.0");
        assert_eq!(bundle.expect("locked").files[0].bytes, 8);

        let again = of(root.path(), &url).await.expect("the same");
        assert!(again.iter().all(|change| change.text.is_none()));
        // A closed network changes nothing, and is no error for what is locked.
        let closed = repository("http://127.0.0.1:1");
        write(closed.path(), &first);
        let changes = of(closed.path(), "http://127.0.0.1:1").await;
        let changes = changes.expect("locked already");
        assert!(changes.iter().all(|change| change.text.is_none()));
        let error = of(repository("http://127.0.0.1:1").path(), &url).await;
        assert!(
            error
                .expect_err("nothing locked")
                .message
                .contains("strimzi.yaml")
        );
    }

    #[tokio::test]
    async fn other_files_of_a_locked_version_are_refused() {
        let url = release("kind: A\n");
        let root = repository(&url);
        write(
            root.path(),
            &of(root.path(), &url).await.expect("all there"),
        );
        let other = release("kind: X\n");
        for operator in OPERATORS.map(|it| it.name) {
            let path = root
                .path()
                .join(format!("manifests/{operator}/bundle.yaml"));
            let text = std::fs::read_to_string(&path).expect("read");
            std::fs::write(&path, text.replace(&url, &other)).expect("written");
        }
        let error = of(root.path(), &url).await.expect_err("another file");
        assert!(
            error.details[0].starts_with("strimzi.yaml: locked sha256"),
            "{error}"
        );

        let path = root.path().join("manifests/kind/kind-9.sha256");
        let text = std::fs::read_to_string(&path).expect("read");
        let changed = text.replacen(SUM, &"b".repeat(64), 1);
        std::fs::write(&path, changed).expect("written");
        let text = lock_text(root.path(), "manifests/kind/kind-9.sha256".into(), text);
        let error = text.expect_err("another digest");
        assert_eq!(error.details.len(), 1, "{error}");
    }
}
