//! One environment on a Kind cluster of its own: own state, own name, own ports.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::clients::clickhouse::Clickhouse;
use xtask::clients::connect::Connect;
use xtask::clients::kafka::KafkaClient;
use xtask::clients::postgres::Postgres;
use xtask::platform::{Endpoint, Secret};

use crate::{images, ports};

/// Ports of this machine that the cluster maps, by key.
const PORTS: [&str; 4] = [
    "kafka.port",
    "connect.port",
    "postgres.port",
    "clickhouse.port",
];

pub struct Kind {
    pub name: String,
    pub state: PathBuf,
    pub ports: BTreeMap<&'static str, u16>,
    pub extra: Vec<String>,
    /// Another profile than the default one.
    pub profile: Option<&'static str>,
    /// Another checkout of the repository than this one.
    pub root: Option<PathBuf>,
}

impl Kind {
    /// A place for an environment; nothing is started, but the images are there afterwards.
    pub fn new(name: &str) -> Self {
        images::node();
        let name = format!("cdc-test-{name}-{}", std::process::id());
        let state = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&state).expect("a directory");
        Kind {
            name,
            state,
            ports: PORTS.map(|key| (key, ports::free(22_000))).into(),
            // What the components ask for by default is more than two processors have beside
            // Kubernetes' own.
            extra: ["kafka", "connect", "postgres", "mongodb", "clickhouse"]
                .map(|component| format!("{component}.resources.cpu=50m"))
                .to_vec(),
            profile: None,
            root: None,
        }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .args(arguments)
            .env("XDG_STATE_HOME", &self.state)
            .env("KUBECONFIG", self.kubeconfig())
            .env("KIND_NODE_IMAGE", images::node())
            .env("DOCKER_BUILDKIT", "0")
            .env("CI", "true")
            .stdin(Stdio::null());
        if let Some(root) = &self.root {
            command.env("CARGO_MANIFEST_DIR", root.join("xtask"));
        }
        // A command that was printed has them.
        if !arguments.contains(&"--platform") {
            command.args(["--platform", "kind"]);
            if let Some(profile) = self.profile {
                command.args(["--profile", profile]);
            }
            for set in self.sets() {
                command.arg("--set").arg(set);
            }
        }
        let wants_bundles = arguments
            .first()
            .is_some_and(|verb| ["up", "diff"].contains(verb));
        if let (true, Some(dir)) = (wants_bundles, std::env::var_os("CDC_TEST_BUNDLES")) {
            command.arg("--bundle-dir").arg(dir);
        }
        command
    }

    /// The profile's keys that make the environment one of its own.
    pub fn sets(&self) -> Vec<String> {
        let mut sets = vec![
            format!("kind.name={}", self.name),
            "kind.web_port=~".into(),
            images::mongodb(),
        ];
        let ports = self.ports.iter();
        sets.extend(ports.map(|(key, port)| format!("{key}={port}")));
        sets.extend(self.extra.iter().cloned());
        sets
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the tool starts")
    }

    /// Runs a command that must succeed; returns its standard output and how long it took.
    pub fn ok(&self, arguments: &[&str]) -> (String, Duration) {
        let begin = Instant::now();
        let output = self.run(arguments);
        let took = begin.elapsed();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{arguments:?} ended with {} after {took:?}\n{}{errors}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            self.kubectl(&["get", "pods", "-A", "-o", "wide"])
                .unwrap_or_default(),
        );
        eprintln!(
            "{}: {arguments:?} took {:.1} s",
            self.name,
            took.as_secs_f64()
        );
        (String::from_utf8(output.stdout).expect("text"), took)
    }

    /// Runs a command that must fail; returns its exit code and both streams.
    pub fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!output.status.success(), "{arguments:?} succeeded: {text}");
        (output.status.code().expect("an exit code"), text)
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--output", "json"]].concat();
        let (text, _) = self.ok(&arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// `kubectl` of the node: it need not be on this machine.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let node = self.node();
        let kubeconfig = "--kubeconfig=/etc/kubernetes/admin.conf";
        self.docker(&[&["exec", &node, "kubectl", kubeconfig], arguments].concat())
    }

    /// Applies an object as a person does.
    pub fn apply(&self, object: &Value) {
        let mut child = Command::new("docker")
            .args(["exec", "-i", &self.node(), "kubectl"])
            .args([
                "--kubeconfig=/etc/kubernetes/admin.conf",
                "apply",
                "-f",
                "-",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("docker");
        let mut input = child.stdin.take().expect("a pipe");
        input
            .write_all(object.to_string().as_bytes())
            .expect("sent");
        drop(input);
        assert!(child.wait().expect("it ends").success(), "{object}");
    }

    /// Runs a shell's command on the node.
    pub fn on_node(&self, command: &str) -> Result<String, String> {
        self.docker(&["exec", &self.node(), "sh", "-c", command])
    }

    /// The container that is the cluster's only node.
    pub fn node(&self) -> String {
        format!("{}-control-plane", self.name)
    }

    pub fn docker(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("docker")
            .args(arguments)
            .output()
            .expect("docker");
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// A password as the cluster has it.
    pub fn password(&self, secret: &str) -> String {
        let template = "go-template={{.data.password | base64decode}}";
        self.kubectl(&["get", "secret", "-n", "database", secret, "-o", template])
            .expect("the Secret")
    }

    /// What PostgreSQL's connectors log in with.
    pub fn connector_password(&self) -> String {
        let template = "go-template={{.data.password | base64decode}}";
        let secret = [
            "get",
            "secret",
            "-n",
            "kafka",
            "postgres-connector",
            "-o",
            template,
        ];
        self.kubectl(&secret).expect("the Secret")
    }

    pub async fn postgres(&self) -> Postgres {
        let login = Endpoint::loopback(self.ports["postgres.port"]).login(
            "postgres",
            Secret::new(self.password("postgres-credentials")),
        );
        Postgres::connect(&login, "postgres")
            .await
            .expect("a session")
    }

    pub async fn kafka(&self) -> KafkaClient {
        let address = format!("127.0.0.1:{}", self.ports["kafka.port"]);
        KafkaClient::connect(&[address], Duration::from_secs(10))
            .await
            .expect("a broker")
    }

    pub fn connect(&self) -> Connect {
        Connect::new(Endpoint::loopback(self.ports["connect.port"]))
    }

    pub fn clickhouse(&self) -> Clickhouse {
        let login = Endpoint::loopback(self.ports["clickhouse.port"]).login(
            "default",
            Secret::new(self.password("clickhouse-credentials")),
        );
        Clickhouse::new(login, "default")
    }
}

impl Drop for Kind {
    /// What a failed test left.
    fn drop(&mut self) {
        drop(self.docker(&["rm", "--force", "--volumes", &self.node()]));
        drop(std::fs::remove_dir_all(&self.state));
    }
}
