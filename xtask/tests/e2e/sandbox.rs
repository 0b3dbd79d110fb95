//! One real environment of its own: own state, own ports, the machine's artifact cache.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::clients::clickhouse::Clickhouse;
use xtask::clients::kafka::KafkaClient;
use xtask::clients::postgres::Postgres;
use xtask::platform::{Endpoint, Secret};

use crate::{commands, ports};

/// The ports of the default profile, by key.
const PORTS: [&str; 6] = [
    "kafka.port",
    "kafka.controller_port",
    "connect.port",
    "postgres.port",
    "mongodb.port",
    "clickhouse.port",
];

pub struct Sandbox {
    state: PathBuf,
    pub ports: BTreeMap<&'static str, u16>,
    pub extra: Vec<String>,
    /// The machine's artifact cache, or one of the test's own.
    pub cache: Option<PathBuf>,
    /// The default profile, or a file of the test's own.
    pub profile: Option<PathBuf>,
    /// A directory of programs that come before those of PATH.
    pub programs: Option<PathBuf>,
    /// The printed commands that were run, without what chose the environment.
    looked: Mutex<BTreeSet<String>>,
}

impl Sandbox {
    /// A place for an environment; nothing is started. The directory can be entered by everybody,
    /// as PostgreSQL may have to run as another user.
    pub fn new(name: &str) -> Self {
        let state = std::env::temp_dir().join(format!("cdc-e2e-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&state).expect("a directory");
        Sandbox {
            state,
            ports: PORTS.map(|key| (key, ports::free(21_000))).into(),
            extra: Vec::new(),
            profile: None,
            cache: None,
            programs: None,
            looked: Mutex::default(),
        }
    }

    /// An environment that is up.
    pub fn up(name: &str) -> Self {
        let sandbox = Sandbox::new(name);
        sandbox.ok(&["up"]);
        sandbox
    }

    /// Its own directory, which goes with it.
    pub fn state(&self) -> &Path {
        &self.state
    }

    pub fn dir(&self) -> PathBuf {
        let name = match &self.profile {
            Some(path) => path.file_stem().expect("a file").to_owned(),
            None => "clickhouse".into(),
        };
        self.state.join("cdc-xtask").join(name)
    }

    /// The tool with these words alone, as a person types them.
    fn typed(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .args(words)
            .env("XDG_STATE_HOME", &self.state)
            // So that `auto` means `host`.
            .env("DOCKER_HOST", "tcp://127.0.0.1:1")
            .env("CI", "true")
            .stdin(Stdio::null());
        if let Some(cache) = &self.cache {
            command.env("XDG_CACHE_HOME", cache);
        }
        if let Some(programs) = &self.programs {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let before = std::iter::once(programs.clone()).chain(std::env::split_paths(&path));
            command.env("PATH", std::env::join_paths(before).expect("a path"));
        }
        command
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.typed(args);
        // A command that was printed has its own.
        let is_given = |option: &str| args.contains(&option);
        if let Some(profile) = &self.profile
            && !is_given("--profile")
        {
            command.arg("--profile").arg(profile);
        }
        if args
            .first()
            .is_some_and(|verb| ["up", "render", "plan"].contains(verb))
        {
            let ports = self.ports.iter().map(|(key, port)| format!("{key}={port}"));
            for set in ports.chain(self.extra.iter().map(ToString::to_string)) {
                if !is_given(&set) {
                    command.arg("--set").arg(set);
                }
            }
        }
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        let output = command.output().expect("the tool starts");
        let given: Vec<String> = command
            .get_args()
            .map(|it| it.to_string_lossy().into_owned())
            .collect();
        for stream in [&output.stdout, &output.stderr] {
            let said = String::from_utf8_lossy(stream);
            commands::check(&given, &said);
            // In a program's text a command ends in that one's quotes.
            if !args.contains(&"--output") {
                self.looks(&given, &said);
            }
        }
        output
    }

    /// Runs what a command printed as the next ones, as it stands, where they only look and did not yet. What they
    /// find may be bad: they must be understood, and find their environment.
    fn looks(&self, given: &[String], said: &str) {
        for words in commands::next(said) {
            let looks = commands::parsed(&words).is_some_and(|it| commands::only_looks(&it));
            let bare = commands::bare(&words.join(" "));
            if !looks || !self.looked.lock().expect("one at a time").insert(bare) {
                continue;
            }
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let output = self.answered(&words, given);
            let (code, text) = (
                output.status.code(),
                String::from_utf8_lossy(&output.stderr),
            );
            assert!(matches!(code, Some(0..=2)), "{words:?}: {code:?} {text}");
        }
    }

    /// Types a command, and the passwords that it asks for, as another one had them.
    fn answered(&self, words: &[&str], given: &[String]) -> Output {
        let asked = words.iter().filter_map(|it| it.strip_suffix("@-"));
        let password = |key: &str| {
            let value = given.iter().find_map(|it| it.strip_prefix(key));
            value.unwrap_or_else(|| panic!("{words:?} asks for {key}"))
        };
        let answers: String = asked.map(|key| format!("{}\n", password(key))).collect();
        let mut child = self
            .typed(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the tool starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        // Who asks for nothing may have ended before it is told.
        let _ = stdin.write_all(answers.as_bytes());
        drop(stdin);
        child.wait_with_output().expect("the tool ends")
    }

    /// The printed commands that were run.
    pub fn looked(&self) -> Vec<String> {
        self.looked
            .lock()
            .expect("one at a time")
            .iter()
            .cloned()
            .collect()
    }

    /// Runs a command that must succeed; returns its standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(
            output.status.success(),
            "{args:?} ended with {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs a command that must end with this code; returns both streams.
    pub fn fails(&self, args: &[&str], code: i32) -> String {
        let output = self.run(args);
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        text
    }

    pub fn json(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.extend(["--output", "json"]);
        let text = String::from_utf8(self.run(&args).stdout).expect("text");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }

    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the tool starts")
    }

    pub fn password(&self, component: &str) -> String {
        let path = self
            .dir()
            .join(format!("secrets/{component}-auth/password"));
        std::fs::read_to_string(path).expect("a password")
    }

    fn endpoint(&self, key: &str, user: &str, component: &str) -> Endpoint {
        Endpoint::loopback(self.ports[key]).login(user, Secret::new(self.password(component)))
    }

    /// Where PostgreSQL is, whether or not it answers.
    pub fn source(&self) -> Endpoint {
        self.endpoint("postgres.port", "postgres", "postgres")
    }

    pub async fn postgres(&self) -> Postgres {
        self.postgres_database("postgres").await
    }

    pub async fn postgres_database(&self, database: &str) -> Postgres {
        Postgres::connect(&self.source(), database)
            .await
            .expect("a session")
    }

    pub fn clickhouse(&self) -> Clickhouse {
        Clickhouse::new(
            self.endpoint("clickhouse.port", "default", "clickhouse"),
            "default",
        )
    }

    pub fn clickhouse_with(&self, password: &str) -> Clickhouse {
        let endpoint = Endpoint::loopback(self.ports["clickhouse.port"]);
        Clickhouse::new(endpoint.login("default", Secret::new(password)), "default")
    }

    pub async fn kafka(&self) -> KafkaClient {
        let address = format!("127.0.0.1:{}", self.ports["kafka.port"]);
        KafkaClient::connect(&[address], Duration::from_secs(10))
            .await
            .expect("a broker")
    }

    /// The pid of a component's process, from what the process recorded.
    pub fn pid(&self, component: &str) -> u32 {
        let text = std::fs::read_to_string(self.dir().join(format!("run/{component}.json")))
            .expect("a record");
        let record: Value = serde_json::from_str(&text).expect("JSON");
        u32::try_from(record["pid"].as_u64().expect("a pid")).expect("a pid")
    }

    /// kill -9 on a component of this sandbox.
    pub fn kill(&self, component: &str) {
        kill(self.pid(component));
    }

    /// Every process whose environment or arguments name this sandbox.
    pub fn processes(&self) -> Vec<String> {
        let needle = self.state.display().to_string();
        std::fs::read_dir("/proc")
            .expect("proc")
            .flatten()
            .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .filter(|line| line.contains(&needle))
            .collect()
    }

    /// Waits until silver shows exactly what the source has, and returns it.
    pub async fn converged(&self) -> Vec<String> {
        let begin = Instant::now();
        let mut target = Vec::new();
        let mut source = Vec::new();
        // Longer than a killed consumer's session, with room for a busy machine.
        while begin.elapsed() < Duration::from_secs(90) {
            source = self.source_rows().await;
            target = self.target_rows().await;
            if source == target {
                return source;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!(
            "silver is not what the source has: {} rows at the source, {} at the target\n\
             only at the source: {:?}\nonly at the target: {:?}",
            source.len(),
            target.len(),
            source
                .iter()
                .filter(|row| !target.contains(row))
                .take(5)
                .collect::<Vec<_>>(),
            target
                .iter()
                .filter(|row| !source.contains(row))
                .take(5)
                .collect::<Vec<_>>(),
        );
    }

    pub async fn source_rows(&self) -> Vec<String> {
        let rows = self
            .postgres()
            .await
            .query(
                "SELECT user_id || '|' || full_name || '|' || email || '|' || \
                 to_char(created_at, 'YYYY-MM-DD HH24:MI:SS.US') || '|' || \
                 to_char(updated_at, 'YYYY-MM-DD HH24:MI:SS.US') \
                 FROM users ORDER BY user_id",
            )
            .await
            .expect("the source's rows");
        rows.into_iter()
            .filter_map(|row| row.into_iter().next().flatten())
            .collect()
    }

    pub async fn target_rows(&self) -> Vec<String> {
        let text = self
            .clickhouse()
            .text(
                "SELECT concat(toString(user_id), '|', full_name, '|', email, '|', \
                 toString(created_at), '|', toString(updated_at)) \
                 FROM users_silver FINAL WHERE is_deleted = 0 ORDER BY user_id FORMAT TSVRaw",
            )
            .await
            .unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let output = self.run(&["down", "--yes"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if std::thread::panicking() {
            eprintln!("state was kept for a look: {}", self.state.display());
        } else {
            assert!(output.status.success(), "down: {text}");
            std::fs::remove_dir_all(&self.state).expect("removed");
        }
    }
}

/// kill -9, and waits until the system has taken the process apart: a large one runs on for a moment.
pub fn kill(pid: u32) {
    let process = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid"));
    rustix::process::kill_process(process.expect("a pid"), rustix::process::Signal::KILL)
        .expect("killed");
    let begin = Instant::now();
    let is_there = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit(") ").next().and_then(|it| it.chars().next());
        state.is_some_and(|state| !['Z', 'X'].contains(&state))
    };
    while is_there() && begin.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn interrupt(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("interrupted");
}

/// Whether a file is readable by its owner alone.
pub fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).expect("there").permissions().mode() & 0o077 == 0
}
