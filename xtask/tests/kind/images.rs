//! Images under their official names, built where none can be pulled, and a node image that has them.
//!
//! Each image carries the digest of what it was made from as a label: unchanged inputs build nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};
use xtask::components::{clickhouse, kafka, mongodb, postgres};
use xtask::environment::{Environment, Secrets};
use xtask::plan::Progress;
use xtask::platform::Platform;
use xtask::platform::host::artifacts::{maven, pypi};
use xtask::profile::{self, Selection, parts};

const LABEL: &str = "cdc-xtask.test/inputs";
const NODE: &str = "kindest/node:cdc-test";

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a workspace")
        .to_owned()
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kind")
}

/// A node image with every image that the default profile's cluster runs, made from the one that
/// `KIND_NODE_IMAGE` names. Built at the first call.
pub fn node() -> &'static str {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(build);
    NODE
}

/// What one image is made of.
struct Image {
    tag: String,
    /// Directory below `images/` with its Dockerfile.
    folder: &'static str,
    /// Directories that are put beside the Dockerfile, by name.
    parts: Vec<(&'static str, PathBuf)>,
    arguments: Vec<String>,
}

fn build() {
    let from = std::env::var("KIND_NODE_IMAGE").expect("KIND_NODE_IMAGE");
    let base = base();
    let images = images();
    let mut tags = Vec::new();
    let mut inputs = format!("{from} {}", image_id(&from).expect("the node image"));
    for image in &images {
        image_of(image, &base);
        inputs += &format!(
            " {} {}",
            image.tag,
            image_id(&image.tag).expect("just built")
        );
        tags.push(image.tag.as_str());
    }
    let folder = here().join("images/node");
    let digest = digest(&[&folder], &inputs);
    if label(NODE).as_deref() == Some(&digest) {
        return;
    }
    eprintln!("building {NODE}");
    let mut command = Command::new(folder.join("node.sh"));
    command.args([&from, NODE, &digest]).args(&tags);
    run(&mut command);
}

fn default_profile() -> profile::Loaded {
    let selection = Selection {
        profile: "clickhouse".into(),
        set: Vec::new(),
    };
    xtask::components::load(&root(), &selection).expect("the default profile")
}

fn images() -> Vec<Image> {
    let root = root();
    let loaded = default_profile();
    let env =
        Environment::new(&root, loaded, Platform::Host, Secrets::Existing).expect("an environment");
    let versions = &env.profile.versions;
    let libraries = kafka::libraries(&env).expect("Kafka's lock file");
    let binaries = postgres::binaries(&env).expect("PostgreSQL's lock file");
    let engine = clickhouse::embedded_engine(&root, versions.of(&clickhouse::settings::ENGINE));
    let cache = env.dirs.cache.clone();
    std::fs::create_dir_all(&cache).expect("a cache");
    let artifacts = [libraries.clone(), binaries.clone()];
    let plugin = versions.of(&parts::MAVEN_PLUGIN).to_owned();
    block_on(async {
        let progress = Progress::silent();
        maven::fetch(&artifacts, &plugin, &cache, &progress)
            .await
            .expect("Maven");
        pypi::fetch(&engine, &cache, &progress).await.expect("pip");
    });
    let mongo = mongo(&cache);
    let packages = site_packages(&engine.dir(&cache).expect("a lock file"));
    let postgres = versions
        .of(&postgres::settings::SERVER)
        .rsplit_once('.')
        .expect("a version")
        .0;
    let operator = |tag: String, script: &str| Image {
        tag,
        folder: "operator",
        parts: vec![("operator", here().join("operator"))],
        arguments: vec![format!("SCRIPT={script}")],
    };
    vec![
        Image {
            tag: format!(
                "quay.io/strimzi/kafka:{}-kafka-{}",
                versions.of(&parts::STRIMZI),
                versions.of(&parts::KAFKA)
            ),
            folder: "kafka",
            parts: vec![("libs", libraries.dir(&cache))],
            arguments: vec![
                format!("KAFKA={}", versions.of(&parts::KAFKA)),
                format!("STRIMZI={}", versions.of(&parts::STRIMZI)),
            ],
        },
        Image {
            tag: format!("postgres:{postgres}"),
            folder: "postgres",
            parts: vec![("pgsql", binaries.dir(&cache))],
            arguments: Vec::new(),
        },
        Image {
            tag: format!("mongo:{}", tag_of(versions.of(&mongodb::settings::SERVER))),
            folder: "mongo",
            parts: vec![
                ("libs", mongo.join("libs")),
                ("classes", mongo.join("classes")),
            ],
            arguments: Vec::new(),
        },
        Image {
            tag: format!(
                "clickhouse/clickhouse-server:{}",
                versions.of(&clickhouse::settings::SERVER)
            ),
            folder: "clickhouse",
            parts: vec![
                // The engine's alone: pip's own are of this machine's Python.
                ("site-packages/chdb", packages.join("chdb")),
                ("site-packages/chdb.libs", packages.join("chdb.libs")),
                ("host", root.join("manifests/clickhouse/host")),
            ],
            arguments: Vec::new(),
        },
        operator(
            format!("quay.io/strimzi/operator:{}", versions.of(&parts::STRIMZI)),
            "cluster_operator.py",
        ),
        operator(
            format!(
                "altinity/clickhouse-operator:{}",
                versions.of(&clickhouse::settings::OPERATOR)
            ),
            "clickhouse_operator.py",
        ),
        operator(
            format!(
                "altinity/metrics-exporter:{}",
                versions.of(&clickhouse::settings::OPERATOR)
            ),
            "metrics_exporter.py",
        ),
    ]
}

fn block_on(work: impl Future<Output = ()> + Send) {
    // A test may have a runtime of its own, in which another one cannot be started.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(work);
        });
    });
}

/// Where pip puts packages.
fn site_packages(environment: &Path) -> PathBuf {
    let lib = std::fs::read_dir(environment.join("lib")).expect("a virtual environment");
    let python = lib.map(|entry| entry.expect("an entry").path()).next();
    python.expect("its Python").join("site-packages")
}

/// A pin without its digest, which no stand-in can have: the tests ask for the tag alone.
fn tag_of(pin: &str) -> &str {
    pin.split('@').next().unwrap_or(pin)
}

/// `--set` of the stand-in for mongod.
pub fn mongodb() -> String {
    format!(
        "versions.mongodb={}",
        tag_of(
            default_profile()
                .profile
                .versions
                .of(&mongodb::settings::SERVER)
        )
    )
}

/// The classes behind the stand-in for mongod, built once per content.
fn mongo(cache: &Path) -> PathBuf {
    let folder = here().join("images/mongo");
    let dir = cache.join(format!("test-mongo-{}", &digest(&[&folder], "")[..12]));
    if !dir.is_dir() {
        let unfinished = dir.with_extension("unfinished");
        run(Command::new(folder.join("build.sh")).arg(&unfinished));
        std::fs::rename(&unfinished, &dir).expect("a directory");
    }
    dir
}

/// The root file system that all images share.
fn base() -> String {
    let script = here().join("images/base.sh");
    let digest = digest(&[&script], "");
    let tag = format!("cdc-test/base:{}", &digest[..12]);
    if image_id(&tag).is_some() {
        return tag;
    }
    eprintln!("building {tag}");
    let dir = std::env::temp_dir().join(format!("cdc-test-base-{}", std::process::id()));
    run(Command::new(&script).arg(&dir));
    let mut tar = Command::new("tar")
        .args(["--numeric-owner", "-c", "-C"])
        .arg(&dir)
        .arg(".")
        .stdout(Stdio::piped())
        .spawn()
        .expect("tar");
    let packed = tar.stdout.take().expect("a pipe");
    run(docker(&["import", "-", &tag]).stdin(packed));
    assert!(tar.wait().expect("tar").success(), "tar failed");
    std::fs::remove_dir_all(&dir).expect("removed");
    tag
}

/// What an image is made of. Two checkouts with the same content make the same image: where they are
/// is left out.
fn recipe(image: &Image, base: &str, root: &Path) -> String {
    let folder = root.join("xtask/tests/kind/images").join(image.folder);
    let mut inputs: Vec<&Path> = vec![&folder];
    let mut names = Vec::new();
    for (name, path) in &image.parts {
        match path.strip_prefix(root) {
            Ok(below) => {
                inputs.push(path);
                names.push(format!("{name} {}", below.display()));
            }
            // Names in the artifact cache are made of digests; what is in the repository may change.
            Err(_) => names.push(format!("{name} {}", path.display())),
        }
    }
    digest(&inputs, &format!("{base} {:?} {names:?}", image.arguments))
}

#[test]
fn two_checkouts_with_the_same_content_make_the_same_image() {
    let dir = tempfile::tempdir().unwrap();
    let checkout = |name: &str, script: &str| {
        let root = dir.path().join(name);
        let folder = root.join("xtask/tests/kind/images/operator");
        let part = root.join("xtask/tests/kind/operator");
        for (dir, file, text) in [
            (&folder, "Dockerfile", "FROM x"),
            (&part, "operator.py", script),
        ] {
            std::fs::create_dir_all(dir).unwrap();
            std::fs::write(dir.join(file), text).unwrap();
        }
        let image = Image {
            tag: "t".into(),
            folder: "operator",
            parts: vec![("operator", part), ("libs", "/cache/kafka-0123".into())],
            arguments: vec!["SCRIPT=operator.py".into()],
        };
        recipe(&image, "base", &root)
    };
    let one = checkout("one", "print(1)");
    assert_eq!(one, checkout("another", "print(1)"));
    assert_ne!(one, checkout("changed", "print(2)"));
}

fn image_of(image: &Image, base: &str) {
    let folder = here().join("images").join(image.folder);
    let digest = recipe(image, base, &root());
    if label(&image.tag).as_deref() == Some(&digest) {
        return;
    }
    eprintln!("building {}", image.tag);
    let context = std::env::temp_dir().join(format!(
        "cdc-test-context-{}-{}",
        std::process::id(),
        image.folder
    ));
    drop(std::fs::remove_dir_all(&context));
    copy(&folder, &context);
    for (name, path) in &image.parts {
        copy(path, &context.join(name));
    }
    let mut command = docker(&["build", "--quiet", "--tag", &image.tag]);
    command.args(["--label", &format!("{LABEL}={digest}")]);
    command.args(["--build-arg", &format!("BASE={base}")]);
    for argument in &image.arguments {
        command.args(["--build-arg", argument]);
    }
    run(command.arg(&context));
    std::fs::remove_dir_all(&context).expect("removed");
}

/// A copy of a directory's content, with modes.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    run(Command::new("cp")
        .arg("-a")
        .arg(format!("{}/.", from.display()))
        .arg(to));
}

/// Over paths, modes and contents below some files or directories, and more.
fn digest(paths: &[&Path], more: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(more);
    for path in paths {
        add(&mut hash, path, path);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn add(hash: &mut Sha256, root: &Path, path: &Path) {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.file_name().is_none_or(|name| name != "__pycache__"))
            .collect();
        entries.sort();
        for entry in entries {
            add(hash, root, &entry);
        }
        return;
    }
    let name = path.strip_prefix(root).expect("below it");
    hash.update(name.as_os_str().as_encoded_bytes());
    hash.update([0]);
    hash.update(std::fs::read(path).expect("a file"));
    hash.update([0]);
}

fn docker(arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    // The legacy builder is in every engine; it needs no plug-in.
    command.env("DOCKER_BUILDKIT", "0").args(arguments);
    command
}

fn run(command: &mut Command) {
    let output = command.output().expect("the program starts");
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn inspect(tag: &str, format: &str) -> Option<String> {
    let output = docker(&["image", "inspect", "--format", format, tag])
        .output()
        .expect("docker");
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn image_id(tag: &str) -> Option<String> {
    inspect(tag, "{{.Id}}")
}

fn label(tag: &str) -> Option<String> {
    inspect(tag, &format!("{{{{index .Config.Labels \"{LABEL}\"}}}}"))
}
