//! Downloads against a server of the test's own, and the installation of files with known content.
//! The real bundles are read in `tests/bundles.rs`.

use std::path::Path;

use super::*;
use crate::releases::serve;

fn locked(file: &str, text: &str) -> Locked {
    Locked {
        file: file.to_owned(),
        sha256: lockfile::digest(text),
        bytes: text.len() as u64,
    }
}

fn bundle(url: String, files: Vec<Locked>) -> Bundle {
    Bundle {
        operator: "strimzi",
        version: "1".into(),
        url,
        dir: "strimzi-1".into(),
        files,
    }
}

fn left_behind(cache: &Path) -> Vec<String> {
    std::fs::read_dir(cache)
        .expect("listed")
        .map(|entry| {
            let name = entry.expect("an entry").file_name();
            name.to_string_lossy().into_owned()
        })
        .filter(|name| name != "bundles.lock")
        .collect()
}

#[tokio::test]
async fn files_are_fetched_once_and_proven() {
    let url = serve(vec![("a.yaml", "kind: A\n"), ("b.yaml", "kind: B\n")]);
    let cache = tempfile::tempdir().expect("a directory");
    let files = vec![locked("a.yaml", "kind: A\n"), locked("b.yaml", "kind: B\n")];
    let bundle = bundle(url, files);
    let bundles = [bundle.clone()];
    let fetched = fetch(&bundles, cache.path(), &Progress::silent())
        .await
        .expect("fetched");
    assert_eq!(fetched, ["strimzi 1"]);
    let texts = bundle.read_cached(cache.path()).expect("read");
    assert_eq!(texts[1], ("b.yaml".into(), "kind: B\n".into()));
    // A second time there is nothing to do, nobody to ask, and nothing was left lying about.
    let gone = [Bundle {
        url: "http://127.0.0.1:1".into(),
        ..bundle.clone()
    }];
    let again = fetch(&gone, cache.path(), &Progress::silent()).await;
    assert!(again.expect("in the cache").is_empty());
    let name = bundle.cached(cache.path());
    let name = name.file_name().expect("a name").to_string_lossy();
    assert_eq!(left_behind(cache.path()), [name.as_ref()]);
    // What was changed in the cache since is found when it is read.
    std::fs::write(bundle.cached(cache.path()).join("a.yaml"), "kind: X\n").expect("written");
    let error = bundle.read_cached(cache.path()).expect_err("changed");
    assert!(error.to_string().contains("a.yaml"), "{error}");
}

#[tokio::test]
async fn a_file_with_another_digest_is_never_used() {
    let url = serve(vec![("a.yaml", "kind: Evil\n")]);
    let cache = tempfile::tempdir().expect("a directory");
    let bundle = bundle(url, vec![locked("a.yaml", "kind: A\n")]);
    let error = fetch(
        std::slice::from_ref(&bundle),
        cache.path(),
        &Progress::silent(),
    )
    .await
    .expect_err("another digest");
    assert_eq!(error.code, Code::Artifact);
    let said = error.to_string();
    for part in ["a.yaml is not the file that was locked", "found  sha256"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!bundle.cached(cache.path()).exists());
}

#[tokio::test]
async fn a_server_that_fails_is_named() {
    let cache = tempfile::tempdir().expect("a directory");
    for url in [serve(Vec::new()), "http://127.0.0.1:1/v1".to_owned()] {
        let bundles = [bundle(url.clone(), vec![locked("a.yaml", "x")])];
        let error = fetch(&bundles, cache.path(), &Progress::silent())
            .await
            .expect_err("no file");
        let said = error.to_string();
        assert!(said.contains(&format!("{url}/a.yaml")), "{said}");
        assert!(said.contains("--bundle-dir"), "{said}");
    }
}

#[test]
fn a_directory_of_bundles_is_proven_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let bundle = bundle(String::new(), vec![locked("a.yaml", "kind: A\n")]);
    let error = bundle.read_from(dir.path()).expect_err("nothing there");
    assert!(error.to_string().contains("strimzi-1/a.yaml"), "{error}");
    std::fs::create_dir(dir.path().join("strimzi-1")).expect("a directory");
    let file = dir.path().join("strimzi-1/a.yaml");
    std::fs::write(&file, "kind: B\n").expect("written");
    assert!(bundle.read_from(dir.path()).is_err());
    std::fs::write(&file, "kind: A\n").expect("written");
    assert_eq!(bundle.read_from(dir.path()).expect("right").len(), 1);
}

#[tokio::test]
async fn a_release_is_measured_with_the_files_that_it_has() {
    let url = serve(vec![
        (
            "list?ref=0.50.0",
            r#"[{"name":"b.yaml","type":"file"},{"name":"a.yaml","type":"file"},{"name":"old","type":"dir"},{"name":"README.md","type":"file"}]"#,
        ),
        ("a.yaml", "kind: A\n"),
        ("b.yaml", "kind: B\n"),
        ("cnpg-2.yaml", "kind: C\n"),
    ]);
    let root = tempfile::tempdir().expect("a directory");
    let place = |operator: &str, rest: &str| {
        let dir = root.path().join("manifests").join(operator);
        std::fs::create_dir_all(&dir).expect("a directory");
        std::fs::write(
            dir.join("bundle.yaml"),
            format!("url: {url}\ndir: d\n{rest}\n"),
        )
        .expect("written");
    };
    place("strimzi", &format!("list: {url}/list?ref={{version}}"));
    place("cloudnative-pg", "files: [\"cnpg-{version}.yaml\"]");
    place("altinity", "files: [gone.yaml]");
    let staging = tempfile::tempdir().expect("a directory");
    let of = |operator: &'static str, version: &'static str| {
        let (root, staging) = (root.path(), staging.path());
        async move { measure(root, operator, version, staging).await }
    };
    let mut files = of("strimzi", "0.50.0").await.expect("measured");
    files.sort_by(|a, b| a.file.cmp(&b.file));
    assert_eq!(
        files,
        [locked("a.yaml", "kind: A\n"), locked("b.yaml", "kind: B\n")]
    );
    let files = of("cloudnative-pg", "2").await.expect("measured");
    assert_eq!(files, [locked("cnpg-2.yaml", "kind: C\n")]);
    let error = of("altinity", "3").await.expect_err("no such file");
    assert!(error.message.contains("gone.yaml"), "{error}");
}
