//! The target: `clickhouse` from PATH, or the embedded engine behind the same HTTP interface.
//!
//! The embedded engine limits each query to `clickhouse.memory`; it does not limit its total.

mod bounds;
mod changes;
mod columns;
mod console;
mod dialect;
mod faults;
mod kafka;
mod leftovers;
mod names;
pub(super) mod operator;
pub mod settings;
mod silver;
mod statements;
mod tables;
pub mod target;
pub(super) mod types;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::connect::login;
use super::console::Console;
use super::dialect::Dialect;
use super::target::Target;
use super::{Component, Kept, Manifests, Operator, Replaced, Stage};
use crate::clients::clickhouse::{Clickhouse, ClickhouseError};
use crate::endpoint::Endpoint;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::files::{remove, write_if_changed};
use crate::plan::Plan;
use crate::platform::Platform;
use crate::platform::host::apply::Rendered;
use crate::platform::host::artifacts::{PypiEnvironment, lockfile};
use crate::platform::host::prerequisites::{InPath, Needs, Without};
use crate::platform::host::{dirs, secrets};
use crate::profile::Profile;
use crate::profile::component::Space;
use crate::readiness::{State, Status};
use crate::units::Size;
use crate::wait;
pub use names::Names;
use settings::{ClickhouseSettings, PROGRAM};
pub use target::end;

/// For how long, in milliseconds, a group keeps the partitions of a consumer that is not heard: of one
/// that was killed, or that lost the broker and comes back as another. The least that a broker accepts
/// by default; librdkafka's own is 45 s.
const SESSION_MS: u32 = 6_000;
/// The same at a broker of one's own, which accepts less.
const OWN_SESSION_MS: u32 = 2_000;

/// The embedded engine of a version: whichever package has it, by the lock file of the version.
pub fn embedded_engine(root: &Path, version: &str) -> PypiEnvironment {
    let requirements = format!("manifests/clickhouse/host/requirements-{version}.lock");
    PypiEnvironment {
        name: format!("chdb-{version}"),
        title: "the embedded ClickHouse engine",
        instead: PROGRAM,
        requirements: root.join(requirements),
        locks: "manifests/clickhouse/host/requirements-*.lock",
    }
}

/// The server's program, where this machine has it.
fn program(env: &Environment) -> Option<&PathBuf> {
    env.programs.get(PROGRAM)
}

#[async_trait]
impl Component for ClickhouseSettings {
    fn stage(&self) -> Stage {
        Stage::Target
    }

    fn proof(&self) -> &'static str {
        "ping, login, query"
    }

    fn engine(&self, env: &Environment) -> Option<PypiEnvironment> {
        let embedded = program(env).is_none();
        embedded.then(|| embedded_engine(&env.root, env.profile.versions.of(&settings::ENGINE)))
    }

    fn needs(&self) -> Needs {
        Needs {
            program: Some(InPath {
                name: PROGRAM,
                why: "the target",
                without: Without::Python {
                    why: "runs the embedded ClickHouse engine",
                    oldest: (3, 9),
                },
            }),
            memory: Some("memory"),
            ..Needs::default()
        }
    }

    fn process(&self, env: &Environment) -> Result<Rendered> {
        let users = users_file(env, &self.name);
        let memory = self.memory.parse::<Size>()?.0;
        let session = match env.profile.kafka.external {
            Some(_) => SESSION_MS,
            None => OWN_SESSION_MS,
        };
        let kafka = kafka::login(env, program(env).is_some());
        let digest = kafka.as_ref().map(|it| lockfile::digest(it.expose()));
        let (template, extra) = match (program(env), self.engine(env)) {
            (None, Some(engine)) => {
                let server: PathBuf = env.root.join("manifests/clickhouse/host");
                (
                    "clickhouse/host/process.yaml.hbs",
                    json!({
                        "python": engine.python(&env.dirs.cache)?,
                        "server": server,
                        "users_file": users,
                        "memory_bytes": memory,
                        "session_ms": session,
                        "kafka_file": kafka.map(|_| kafka_file(env, &self.name)),
                        // The server is a script: its text is part of what runs. It reads Kafka's login once.
                        "digest": [Some(directory_digest(&server)?), digest],
                    }),
                )
            }
            (binary, _) => (
                "clickhouse/host/server.yaml.hbs",
                json!({
                    "clickhouse_binary": binary,
                    "users_file": users,
                    "memory_bytes": memory,
                    "session_ms": session,
                    "heartbeat_ms": session / 4,
                    "digest": digest,
                }),
            ),
        };
        env.process(&self.name, template, &extra)
    }

    /// Writes the engine's user and its login at Kafka, which it reads at start.
    fn before_start(&self, env: &Environment) -> Result<()> {
        let path = kafka_file(env, &self.name);
        match kafka::login(env, program(env).is_some()) {
            Some(login) => {
                if let Some(folder) = path.parent() {
                    dirs::make(folder, 0o700)?;
                }
                write_if_changed(&path, login.expose().as_bytes(), 0o600)?;
            }
            None => remove(&path)?,
        }
        let endpoint = env.endpoint(&self.name);
        let path = users_file(env, &self.name);
        let password = endpoint.password.expose();
        let text = match program(env) {
            Some(_) => users_xml(&endpoint.user, password),
            None => json!({ endpoint.user: password }).to_string(),
        };
        write_if_changed(&path, text.as_bytes(), 0o600).map(drop)
    }

    fn templates(&self, _: &Manifests<'_>) -> Vec<&'static str> {
        let mut templates = vec![
            "clickhouse/kubernetes/credentials.yaml.hbs",
            "clickhouse/kubernetes/installation.yaml.hbs",
        ];
        if self.keepers > 0 {
            templates.push("clickhouse/kubernetes/keeper.yaml.hbs");
        }
        templates
    }

    fn values(&self, made: &Manifests<'_>) -> Result<Value> {
        Ok(json!({
            "memory_bytes": self.memory.parse::<Size>()?.0.to_string(),
            "host_port": made.on_kind && self.has_node_port(&made.env.profile),
            "keepers": self.keepers > 0,
            "several": self.is_several(),
            "several_keepers": self.keepers > 1,
            "kafka": kafka::settings(made, &self.name)?,
        }))
    }

    fn operator(&self) -> Option<&'static Operator> {
        Some(&operator::ALTINITY)
    }

    fn pods(&self) -> (Space, String) {
        (Space::Database, format!("app={}", self.name))
    }

    fn kept(&self, profile: &Profile) -> Vec<Kept> {
        let mut kept = Kept::accounts(profile, &self.name, format!("{}-credentials", self.name));
        let operator = format!("{}-operator", self.name);
        kept.push(Kept {
            name: operator.clone(),
            space: Space::Database,
            secret: operator,
            key: "password".into(),
        });
        kept
    }

    /// The operator keeps one set for each replica.
    fn sets(&self, _: &Environment) -> Replaced {
        Replaced::BySets {
            labels: format!("clickhouse.altinity.com/chi={}", self.name),
        }
    }

    /// The engine's consumers look for their topic at once and then only now and again.
    fn after_ready(&self, plan: &mut Plan, env: &Arc<Environment>) {
        let (at, own) = (env.clone(), self.clone());
        let mut needs = vec![format!("{}/ready", self.name), "kafka/topics".to_owned()];
        let flows = env.profile.flows_to(&self.name);
        let sources = flows.filter_map(|(_, flow)| env.profile.source(flow));
        for checked in sources.filter_map(|it| super::of(it).checks_tables()) {
            if !needs.contains(&checked) {
                needs.push(checked);
            }
        }
        let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
        plan.step(
            &format!("{}/tables", self.name),
            "bronze and silver tables",
            &needs,
            async move |progress| {
                let outcome = own.create_tables(&at, &progress).await?;
                let look = || own.probe_tables(&at);
                wait::until("tables are present", at.patience(), &progress, look).await?;
                Ok(outcome)
            },
        );
    }

    /// Every server's interface answers, and takes a login and a query.
    async fn probe(&self, env: &Environment) -> Status {
        let servers = env.servers(&self.name);
        let count = servers.len();
        let answers = join_all(servers.into_iter().map(|(_, at)| answer(self, at))).await;
        let mut answers = answers.into_iter();
        let Some(first) = answers.next() else {
            return Status::unknown("there is no server");
        };
        let worst = answers.fold(first, |worst, next| match worst.state {
            State::Current => next,
            State::Failed => worst,
            _ if next.state == State::Failed => next,
            _ => worst,
        });
        match worst.state {
            State::Current if count > 1 => {
                Status::current(format!("{count} servers, {}", worst.message))
            }
            _ => worst,
        }
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(self)
    }

    fn dialect(&self) -> Option<&dyn Dialect> {
        Some(self)
    }

    fn page(&self) -> Result<&'static str, String> {
        Ok("/play")
    }

    fn instead_of_page(&self, env: &Environment) -> Option<String> {
        let embedded = env.platform == Platform::Host && program(env).is_none();
        let name = &self.name;
        (embedded && self.external.is_none()).then(|| {
            format!(
                "the embedded engine has none: cargo xtask query {name} \"SELECT ...\", or: cargo xtask shell {name}"
            )
        })
    }

    fn console(&self) -> Result<Console<'_>, String> {
        Ok(Console::Sql(self))
    }
}

impl ClickhouseSettings {
    /// A client as the profile's user, in the database of the silver tables.
    pub fn client(&self, env: &Environment) -> Clickhouse {
        Clickhouse::new(env.endpoint(&self.name), &self.database)
    }

    /// Every server, with its shard.
    pub fn each_server(&self, env: &Environment) -> Vec<Server> {
        let servers = env.servers(&self.name).into_iter();
        servers
            .map(|(shard, endpoint)| Server { shard, endpoint })
            .collect()
    }

    /// Whether the environment's is more than one server.
    fn are_several(&self, env: &Environment) -> bool {
        env.platform != Platform::Host && self.external.is_none() && self.is_several()
    }

    /// Whether a shard's rows are on more than one server.
    fn are_replicated(&self, env: &Environment) -> bool {
        self.are_several(env) && self.replicas > 1
    }
}

/// One server.
#[derive(Clone, Debug)]
pub struct Server {
    /// The shard that it has a replica of.
    pub shard: u16,
    /// Where it answers.
    pub endpoint: Endpoint,
}

impl Server {
    /// A client of this server.
    pub fn client(&self, database: &str) -> Clickhouse {
        Clickhouse::new(self.endpoint.clone(), database)
    }
}

/// The file with the user: JSON for the embedded engine, XML for the server.
fn users_file(env: &Environment, component: &str) -> PathBuf {
    let name = match program(env) {
        Some(_) => "users.xml",
        None => "users.json",
    };
    secrets::dir(&env.dirs, component).join(name)
}

/// The file with the login at Kafka: for the embedded engine as it likes it, for the server where it looks for more
/// of its configuration.
fn kafka_file(env: &Environment, component: &str) -> PathBuf {
    match program(env) {
        Some(_) => env.dirs.config(component).join("config.d/kafka.xml"),
        None => secrets::dir(&env.dirs, component).join("kafka.json"),
    }
}

/// The user as the server's configuration wants it: by the password's hash, from this machine only.
fn users_xml(user: &str, password: &str) -> String {
    format!(
        "<clickhouse>\n<profiles><default/></profiles>\n<quotas><default/></quotas>\n<users><{user}>\n\
         <password_sha256_hex>{}</password_sha256_hex>\n\
         <networks><ip>127.0.0.1</ip><ip>::1</ip></networks>\n\
         <profile>default</profile><quota>default</quota>\n</{user}></users>\n</clickhouse>\n",
        lockfile::digest(password)
    )
}

fn directory_digest(dir: &std::path::Path) -> Result<String> {
    let mut texts = Vec::new();
    let entries = std::fs::read_dir(dir).map_err(|source| Error::io("read", dir, &source))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "py") {
            let text = std::fs::read_to_string(&path)
                .map_err(|source| Error::io("read", &path, &source))?;
            texts.push((path.file_name().unwrap_or_default().to_owned(), text));
        }
    }
    texts.sort();
    Ok(lockfile::digest(&format!("{texts:?}")))
}

async fn answer(own: &ClickhouseSettings, at: Endpoint) -> Status {
    let client = Clickhouse::new(at, "default");
    let asked = async {
        client.ping().await?;
        client.text("SELECT version()").await
    };
    match asked.await {
        Ok(version) => Status::current(format!("version {}", version.trim())),
        Err(ClickhouseError::Tls { address, problem }) => {
            let key = problem.key();
            login::correct(&own.name, key, ClickhouseError::Tls { address, problem })
        }
        Err(error) if error.is_refused_login() && own.external.is_some() => {
            let next = login::give(&format!("{}.password", own.name));
            Status::failed(error.to_string()).next(next)
        }
        Err(error) if error.is_final() => Status::failed(error.to_string()),
        Err(error) => Status::in_progress(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_s_user_has_no_password_in_the_clear() {
        let xml = users_xml("default", "secret-word");
        assert!(xml.contains(&lockfile::digest("secret-word")) && !xml.contains("secret-word"));
    }

    #[test]
    fn an_engine_is_found_by_the_lock_of_its_version() {
        let root = crate::repository();
        let dir = |version: &str| embedded_engine(root, version).dir(Path::new("/cache"));
        let (old, new) = (
            dir("4.0.0").expect("locked"),
            dir("26.3.0").expect("locked"),
        );
        assert_ne!(old, new);
        let error = dir("5.0").expect_err("not locked");
        assert_eq!(error.code, crate::error::Code::Artifact);
        assert!(
            error
                .message
                .starts_with("no digests are locked for chdb-5.0: "),
            "{error}"
        );
    }
}
