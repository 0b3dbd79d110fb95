//! A Kafka that somebody else runs: its clients' only listener is encrypted and wants a login.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use xtask::platform::host::{Dirs, java};

use super::PASSWORD;
use crate::ports;
use crate::sandbox::Sandbox;

pub const USER: &str = "etl";

/// It is killed and waited for, and its files removed, even when the test panics.
pub struct Broker {
    process: Child,
    pub port: u16,
    files: tempfile::TempDir,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Kafka's jars, which an environment of this machine has fetched.
fn libraries() -> PathBuf {
    let cache = Dirs::of("clickhouse").expect("directories").cache;
    let found = || {
        let entries = std::fs::read_dir(&cache).into_iter().flatten().flatten();
        let mut paths = entries.map(|entry| entry.path());
        paths.find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("kafka-4") && !name.contains(".staging")
        })
    };
    found().unwrap_or_else(|| {
        drop(Sandbox::up("kafka-jars"));
        found().expect("Kafka's jars")
    })
}

/// A text between quotes, where a backslash takes the next character as it is.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn properties(files: &Path, port: u16, controller: u16) -> String {
    let login = format!(
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"broker\" password=\"inside\" \
         user_broker=\"inside\" user_{USER}={};",
        quoted(PASSWORD)
    );
    // A backslash would escape what follows it.
    let login = login.replace('\\', "\\\\");
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    let files = files.display();
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=CLIENT://localhost:{port}
listener.security.protocol.map=CLIENT:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENT
sasl.mechanism.inter.broker.protocol=PLAIN
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN
listener.name.client.plain.sasl.jaas.config={login}
listener.name.client.scram-sha-512.sasl.jaas.config={scram}
listener.name.client.scram-sha-256.sasl.jaas.config={scram}
ssl.keystore.type=PEM
ssl.keystore.location={files}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={files}/ca.pem
log.dirs={files}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
# Rows may be large.
socket.request.max.bytes=104857600
log.cleaner.dedupe.buffer.size=16777216
"
    )
}

impl Broker {
    /// Starts one with this authority, certificate and key, and waits until it listens.
    pub fn start((ca, certificate, key): &(String, String, String)) -> Self {
        let files = tempfile::tempdir().unwrap();
        let at = files.path();
        let (port, controller) = (ports::free(21_000), ports::free(21_000));
        std::fs::write(at.join("ca.pem"), ca).unwrap();
        std::fs::write(at.join("broker.pem"), format!("{key}{certificate}")).unwrap();
        let server = at.join("server.properties");
        std::fs::write(&server, properties(at, port, controller)).unwrap();
        let run = |args: &[&str]| {
            let log = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../manifests/kafka/host/log4j2.properties"
            );
            let out = std::fs::File::options();
            let out = out
                .clone()
                .append(true)
                .create(true)
                .open(at.join("log"))
                .unwrap();
            let mut command = Command::new(java::require().unwrap().program);
            command
                .args([
                    "-Xmx256m",
                    "-XX:+UseSerialGC",
                    "-XX:TieredStopAtLevel=1",
                    "-XX:-UsePerfData",
                ])
                .arg(format!("-Dlog4j2.configurationFile={log}"))
                .arg("-cp")
                .arg(libraries().join("*"))
                .args(args)
                .stdin(Stdio::null())
                .stdout(out.try_clone().unwrap())
                .stderr(out);
            command
        };
        let server = server.to_str().unwrap();
        // Its quotes are taken off, and what is between them is the password as it stands.
        let user = |hash: &str| format!("{hash}=[name={USER},password=\"{PASSWORD}\"]");
        let (weaker, stronger) = (user("SCRAM-SHA-256"), user("SCRAM-SHA-512"));
        let format = [
            "kafka.tools.StorageTool",
            "format",
            "--cluster-id",
            "Y2RjLXh0YXNrLXRlc3QtMQ",
            "--config",
            server,
            "--add-scram",
            &weaker,
            "--add-scram",
            &stronger,
        ];
        let formatted = run(&format).status().unwrap();
        let log = || std::fs::read_to_string(at.join("log")).unwrap_or_default();
        assert!(formatted.success(), "{}", log());
        let mut process = run(&["kafka.Kafka", server]).spawn().unwrap();
        let begin = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = process.try_wait().unwrap();
            assert!(
                ended.is_none() && begin.elapsed() < Duration::from_secs(90),
                "{}",
                log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        Broker {
            process,
            port,
            files,
        }
    }

    /// Its log, for a look.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.files.path().join("log")).unwrap_or_default()
    }

    pub fn runs(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }
}
