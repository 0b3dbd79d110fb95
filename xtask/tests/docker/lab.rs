//! Images made of a few files, and what a test leaves behind.

use std::path::{Path, PathBuf};

use bollard::Docker;
use bollard::query_parameters::RemoveImageOptionsBuilder;
use xtask::image::{ConnectImage, Plugin};
use xtask::plan::Progress;
use xtask::platform::docker;
use xtask::platform::kind::{Kind, PortMapping, Source, Spec};
use xtask::process::{Job, capture};
use xtask::render::Templates;
use xtask::up::cluster::kind_config;

pub const POSTGRES: &str = "io.debezium.connector.postgresql.PostgresConnector";

/// A directory of a test's own, with the images that it makes.
pub struct Lab {
    pub docker: Docker,
    pub dir: tempfile::TempDir,
    images: Vec<String>,
}

impl Lab {
    pub async fn new() -> Self {
        Lab {
            docker: docker::connect().await.unwrap(),
            dir: tempfile::tempdir().unwrap(),
            images: Vec::new(),
        }
    }

    /// An image of nothing but these files, one layer each.
    pub async fn image(&mut self, reference: &str, files: &[(&str, Vec<u8>)]) {
        let context = self.dir.path().join("context");
        let _ = std::fs::remove_dir_all(&context);
        std::fs::create_dir_all(&context).unwrap();
        let mut dockerfile = String::from("FROM scratch\n");
        for (index, (path, content)) in files.iter().enumerate() {
            let file = context.join(index.to_string());
            std::fs::write(&file, content).unwrap();
            make_executable(&file);
            dockerfile.push_str(&format!("COPY {index} {path}\n"));
        }
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        let mut job = Job::new("docker", ["build", "-q", "-t", reference, "."]);
        job.dir = Some(context);
        job.env.insert("DOCKER_BUILDKIT".into(), "0".into());
        capture(&job, |_| {}).await.unwrap();
        self.images.push(reference.to_owned());
    }

    /// A base such as Strimzi's: the script, a jar on the class path, and a big file.
    pub async fn base(&mut self, reference: &str, jar: &str) {
        let files = [
            ("/opt/kafka/kafka_connect_run.sh", b"#!/bin/sh\n".to_vec()),
            (&format!("/opt/kafka/libs/{jar}") as &str, b"jar".to_vec()),
            ("/big", vec![7; 12 << 20]),
        ];
        self.image(reference, &files).await;
    }

    /// The Connect image of this repository on such a base, with a plugin of one jar.
    pub fn connect(&self, base: &str) -> ConnectImage {
        let source = self.dir.path().join("source");
        std::fs::create_dir_all(&source).unwrap();
        let dockerfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/connect/Dockerfile");
        std::fs::copy(dockerfile, source.join("Dockerfile")).unwrap();
        let dir = self.dir.path().join("plugin/debezium-connector-postgres");
        std::fs::create_dir_all(&dir).unwrap();
        let class = format!("{}.class", POSTGRES.replace('.', "/"));
        std::fs::write(dir.join("debezium-connector-postgres.jar"), jar(&class)).unwrap();
        ConnectImage {
            repository: "cdc-test-connect".into(),
            version: "0.0.1".into(),
            base: base.into(),
            source,
            plugins: vec![Plugin {
                name: "debezium-connector-postgres".into(),
                coordinates: "io.debezium:debezium-connector-postgres:0.0.1:tar.gz:plugin".into(),
                sha256: "0".repeat(64),
                class: POSTGRES.into(),
                dir: self.dir.path().join("plugin"),
            }],
        }
    }

    pub fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// Has an image removed at the end.
    pub fn forget(&mut self, reference: &str) {
        self.images.push(reference.to_owned());
    }

    pub async fn end(self) {
        for image in self.images.iter().rev() {
            let options = RemoveImageOptionsBuilder::default().force(true).build();
            let _ = self.docker.remove_image(image, Some(options), None).await;
        }
    }
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn jar(entry: &str) -> Vec<u8> {
    let mut jar = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    jar.start_file(entry, zip::write::SimpleFileOptions::default())
        .unwrap();
    jar.finish().unwrap().into_inner()
}

/// Content that no compression makes small: what repeats is farther apart than gzip looks back.
pub fn noise(bytes: usize, mut seed: u64) -> Vec<u8> {
    let mut block = Vec::with_capacity(1 << 20);
    while block.len() < 1 << 20 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        block.extend_from_slice(&seed.to_le_bytes());
    }
    let mut noise = block.repeat(bytes.div_ceil(block.len()));
    noise.truncate(bytes);
    noise
}

pub fn config(spec: &Spec) -> String {
    kind_config(&Templates::new(root().join("manifests")), spec).unwrap()
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub fn spec(name: &str, nodes: u16, host: u16) -> Spec {
    Spec {
        name: name.into(),
        node_image: std::env::var("KIND_NODE_IMAGE").expect("KIND_NODE_IMAGE"),
        nodes,
        ports: vec![PortMapping {
            name: "web".into(),
            host,
            node: 30000,
        }],
    }
}

/// Kind with a kubeconfig and a cache of the test's own.
pub async fn kind(dir: &Path) -> Kind {
    let source = Source {
        version: "0.33.0".into(),
        root: root(),
        cache: dir.join("kind-cache"),
    };
    let kind = Kind::find(&source, &Progress::silent()).await.unwrap();
    kind.with_kubeconfig(dir.join("kubeconfig"))
}
