//! The Connect worker and its source connectors.
//!
//! ClickHouse 25.8 pauses for 500 ms after an empty Kafka poll. The connectors' heartbeats (100 ms)
//! come before a poll gives up (120 ms), so it never pauses. They also let PostgreSQL forget WAL
//! while the captured tables are idle.
//!
//! Three waits that are ten seconds by default are one or two: Debezium's before it tries a source
//! again, librdkafka's before it tries a broker again, and on `host` a group's for a member that
//! was killed.

mod anew;
mod broker;
mod jdbc_sink;
pub mod login;
mod settled;

pub use anew::{Watcher, begun, mend};
use anew::{begin_anew, has_failed};
pub use settled::settled;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::console::Console;
use super::position::is_of_snapshot;
use super::source::Reader;
use super::{Component, Manifests, Operator, PodSet, Replaced, Stage, kafka, of};
use crate::endpoint::MASK;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::image;
use crate::plan::{Outcome, Plan, Progress};
use crate::platform::Platform;
use crate::platform::host::apply::Rendered;
use crate::platform::host::artifacts::Locked;
use crate::platform::host::artifacts::lockfile;
use crate::platform::host::artifacts::maven::{Coordinates, MavenArtifact};
use crate::platform::host::artifacts::unpack::Unpack;
use crate::platform::host::java;
use crate::platform::host::prerequisites::Needs;
use crate::platform::kubernetes::watch::Target;
use crate::profile::backbone::{CONNECT_CLUSTER, STRIMZI};
use crate::profile::component::{Instance, Space};
use crate::profile::is_secret;
use crate::profile::parts::{self, Part};
use crate::profile::schema::{Connect, Connector, ExtraPlugin, Keep, Outbox, Settings};
use crate::profile::topics::MOST_BYTES;
use crate::readiness::{self, Status};
use crate::wait;

/// What the plugins are, for people.
pub const PLUGINS: &str = "Debezium";

/// `images/connect/plugins.yaml`: the plugins by name.
type Plugins = BTreeMap<String, Plugin>;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plugin {
    /// With `{version}` where the version goes.
    coordinates: String,
    class: String,
    digests: BTreeMap<String, Digest>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Digest {
    bytes: u64,
    sha256: String,
}

fn plugin(env: &Environment, part: &Part) -> Result<Plugin> {
    let name = part.plugin_name().unwrap_or(part.key);
    let path = env.root.join("images/connect/plugins.yaml");
    let text = std::fs::read_to_string(&path).map_err(|error| Error::io("read", &path, &error))?;
    let malformed = |why: String| {
        let what = format!("{} is malformed: {why}", path.display());
        Error::new(Code::Artifact, what)
    };
    let mut plugins: Plugins =
        serde_yaml::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    let found = plugins.remove(name);
    found.ok_or_else(|| malformed(format!("there is no plugin `{name}`")))
}

/// The plugins of the profile's connectors and those that it asks for, each once.
fn needed(env: &Environment) -> Vec<&'static Part> {
    let mut all = env.profile.plugins();
    for ExtraPlugin::Jdbc in &env.profile.connect.plugins {
        all.push(&parts::JDBC);
    }
    all.dedup();
    all
}

/// The plugins' archives.
///
/// # Errors
/// The version has no digest.
pub fn plugins(env: &Environment) -> Result<Vec<MavenArtifact>> {
    needed(env)
        .into_iter()
        .map(|needed| artifact(env, needed))
        .collect()
}

fn artifact(env: &Environment, part: &Part) -> Result<MavenArtifact> {
    let version = env.profile.versions.of(part);
    let name = part.plugin_name().unwrap_or(part.key);
    let plugin = plugin(env, part)?;
    let Some(digest) = plugin.digests.get(version) else {
        let known: Vec<&str> = plugin.digests.keys().map(String::as_str).collect();
        return Err(Error::new(
            Code::Artifact,
            format!("no digest is locked for Debezium's `{name}` plugin {version}"),
        )
        .hint(format!("locked versions: {}", known.join(", "))));
    };
    let coordinates = plugin.coordinates.replace("{version}", version);
    let artifact = coordinates.split(':').nth(1).unwrap_or_default();
    Ok(MavenArtifact {
        name: format!("{artifact}-{version}"),
        title: PLUGINS,
        files: vec![Locked {
            file: format!("{artifact}-{version}-plugin.tar.gz"),
            sha256: digest.sha256.clone(),
            bytes: digest.bytes,
        }],
        coordinates: vec![Coordinates(coordinates)],
        transitive: false,
        unpack: Unpack::TarGz,
    })
}

/// The plugins as they go into the workers' image.
///
/// # Errors
/// The version has no digest.
pub fn image_plugins(env: &Environment) -> Result<Vec<image::Plugin>> {
    needed(env)
        .into_iter()
        .map(|needed| {
            let class = plugin(env, needed)?.class;
            let artifact = artifact(env, needed)?;
            let coordinates = artifact.coordinates[0].0.clone();
            let name = coordinates.split(':').nth(1).unwrap_or_default().to_owned();
            Ok(image::Plugin {
                name,
                sha256: artifact.files[0].sha256.clone(),
                dir: artifact.dir(&env.dirs.cache),
                coordinates,
                class,
            })
        })
        .collect()
}

/// The classes that the profile needs.
///
/// # Errors
/// The list of plugins is malformed.
pub fn classes(env: &Environment) -> Result<Vec<String>> {
    needed(env)
        .into_iter()
        .map(|needed| Ok(plugin(env, needed)?.class))
        .collect()
}

#[async_trait]
impl Component for Connect {
    fn stage(&self) -> Stage {
        Stage::Mover
    }

    fn proof(&self) -> &'static str {
        "REST, plugin classes"
    }

    fn artifacts(&self, env: &Environment) -> Result<Vec<MavenArtifact>> {
        let mut artifacts = vec![kafka::libraries(env)?];
        artifacts.extend(plugins(env)?);
        Ok(artifacts)
    }

    fn needs(&self) -> Needs {
        Needs {
            maven: &[kafka::TITLE, PLUGINS],
            memory: Some("heap"),
            ..Needs::default()
        }
    }

    fn process(&self, env: &Environment) -> Result<Rendered> {
        let libs: PathBuf = kafka::libraries(env)?.dir(&env.dirs.cache);
        let plugin_path: Vec<String> = plugins(env)?
            .iter()
            .map(|plugin| plugin.dir(&env.dirs.cache).display().to_string())
            .collect();
        let java = java::require()?;
        let external = env.profile.kafka.external.is_some();
        env.process(
            &self.name,
            "connect/host/process.yaml.hbs",
            &json!({
                "security": broker::security(env),
                // The broker's own default, and the least that it accepts if nobody changed that.
                "replication": if external { -1 } else { 1 },
                "session_ms": if external { 6_000 } else { OWN_SESSION_MS },
                // A worker reads its login once.
                "digest": broker::jaas(env).map(|it| lockfile::digest(it.expose())),
                "java": java.program,
                "class_archive": java.class_archive(&env.dirs.cache, &self.name, &libs),
                "libs": libs,
                "plugin_path": plugin_path.join(","),
                "secrets_root": env.dirs.secrets(),
                "most_bytes": MOST_BYTES,
            }),
        )
    }

    fn before_start(&self, env: &Environment) -> Result<()> {
        broker::write_login(env)
    }

    fn templates(&self, _: &Manifests<'_>) -> Vec<&'static str> {
        vec![
            "connect/kubernetes/credentials.yaml.hbs",
            "connect/kubernetes/connect.yaml.hbs",
            "connect/kubernetes/connectors.yaml.hbs",
        ]
    }

    fn values(&self, made: &Manifests<'_>) -> Result<Value> {
        let env = made.env;
        let names = env.profile.connector_names();
        let resources = names
            .map(|name| resource(name, manifest_of(env, name)?))
            .collect::<Result<Vec<_>>>()?;
        Ok(json!({
            "image": made.image,
            "most_bytes": MOST_BYTES,
            "mounts": mounts(made)?,
            "volumes": volumes(made)?,
            "kafka_login": broker::login(made),
            "kafka_secret": broker::secret(made)?,
            "resources": resources,
            "several": self.replicas > 1,
        }))
    }

    fn operator(&self) -> Option<&'static Operator> {
        Some(&kafka::operator::STRIMZI)
    }

    fn pods(&self) -> (Space, String) {
        (
            Space::Kafka,
            format!("strimzi.io/name={CONNECT_CLUSTER}-connect"),
        )
    }

    fn sets(&self, env: &Environment) -> Replaced {
        let space = env.profile.namespace(Space::Kafka);
        Replaced::ByStrimzi(Box::new(PodSet {
            pods: Target::of(STRIMZI, "KafkaConnect", space, CONNECT_CLUSTER),
            set: Target::of(
                kafka::POD_SETS,
                "StrimziPodSet",
                space,
                format!("{CONNECT_CLUSTER}-connect"),
            ),
        }))
    }

    /// What the workers need before any broker is nodes, volumes, and an image that is there. What is wrong
    /// with these is told while Kafka is still starting.
    fn before_ready(&self, plan: &mut Plan, env: &Arc<Environment>, start: &str) -> Vec<String> {
        let mut needs = vec![
            start.to_owned(),
            format!("{}/ready", env.profile.kafka.name),
        ];
        if env.platform != Platform::Host {
            let id = format!("{}/started", self.name);
            let (at, name) = (env.clone(), self.name.clone());
            plan.gate(
                &id,
                "a node, an image, volumes",
                &[start],
                async move |progress| {
                    wait::until("the workers start", at.patience(), &progress, || async {
                        let waits = at.not_started(&name).await;
                        waits.unwrap_or_else(|| Status::current("their containers have started"))
                    })
                    .await
                    .map(Outcome::Unchanged)
                },
            );
            needs.push(id);
        }
        needs
    }

    /// The worker answers and has the plugin classes that are needed.
    async fn probe(&self, env: &Environment) -> Status {
        match classes(env) {
            Ok(classes) => probe(env, &classes).await,
            Err(error) => Status::failed(error.message),
        }
    }

    async fn version(&self, env: &Environment) -> Option<String> {
        let worker = env.connect_client().worker().await.ok()?;
        Some(worker.version)
    }

    fn page(&self) -> Result<&'static str, String> {
        // Its REST interface, which browsers show.
        Ok("/connectors?expand=status")
    }

    fn console(&self) -> Result<Console<'_>, String> {
        let name = &self.name;
        Err(format!(
            "cargo xtask open {name} --print, cargo xtask logs {name}"
        ))
    }
}

/// A connector as its resource has it.
///
/// # Errors
/// Its `tasks.max` is no number.
fn resource(name: &str, manifest: ConnectorManifest) -> Result<Value> {
    let ConnectorManifest { class, mut config } = manifest;
    // The resource has a field of its own for it and refuses the setting.
    let tasks = match config.shift_remove("tasks.max") {
        None => 1,
        Some(text) => text.parse::<u16>().map_err(|_| {
            let what = format!("connector `{name}`: tasks.max is no number");
            Error::new(Code::ProfileInvalid, what)
        })?,
    };
    Ok(json!({ "name": name, "class": class, "tasks_max": tasks, "config": config }))
}

/// The Secrets that the connectors' passwords are read from: `/mnt/<name>/password`, sorted by name.
///
/// # Errors
/// A server's authority cannot be read.
fn mounts(made: &Manifests<'_>) -> Result<Vec<Value>> {
    let env = made.env;
    let mut read: Vec<&Instance> = env.profile.components.values().collect();
    read.sort_by(|a, b| a.name.cmp(&b.name));
    read.into_iter()
        .filter(|it| env.is_joined(it))
        .filter_map(|it| {
            let user = it.connector_login().user();
            let name = it.connector_secret();
            let password = env.connector_password(it).expose().to_owned();
            let password = (made.shown)(password);
            let mount = |ca: Option<String>| {
                // Nobody logs in, and no certificate is checked.
                if user.is_empty() && ca.is_none() {
                    return Ok(None);
                }
                let source = of(it).source();
                let store = match (source, &ca) {
                    (Some(source), Some(pem)) => source.truststore(pem)?,
                    _ => None,
                };
                let store = store.map(|(file, content)| json!({"file": file, "content": STANDARD.encode(content)}));
                Ok(Some(json!({"name": name, "secret": name, "username": user, "password": password, "ca": ca,
                    "truststore": store})))
            };
            env.authority_of(it).and_then(mount).transpose()
        })
        .collect()
}

/// The Secrets that the workers mount, each under its name.
///
/// # Errors
/// See [`mounts`].
fn volumes(made: &Manifests<'_>) -> Result<Vec<Value>> {
    let mut all: Vec<Value> = mounts(made)?
        .into_iter()
        .map(|it| it["name"].clone())
        .collect();
    all.extend(broker::volume(made.env).map(Value::from));
    Ok(all)
}

/// For how long a group keeps a worker that is not heard at a broker of the tool's own, in milliseconds: less than its
/// successor takes to start.
const OWN_SESSION_MS: u32 = 5_000;

async fn probe(env: &Environment, classes: &[String]) -> Status {
    let client = env.connect_client();
    // The connectors' list is served only by a worker that has joined its group.
    let answer = async {
        client.connectors().await?;
        client.plugins().await
    };
    match answer.await {
        Ok(loaded) => {
            let classes: Vec<&str> = classes.iter().map(String::as_str).collect();
            readiness::connect::plugins(&loaded, &classes)
        }
        Err(error) if error.is_transient() => Status::in_progress(error.to_string()),
        Err(error) => Status::failed(error.to_string()),
    }
}

/// `manifests/connect/connectors/<source>.yaml.hbs`, rendered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectorManifest {
    /// The plugin class.
    pub class: String,
    /// Its configuration.
    pub config: Settings,
}

/// A sink makes columns by the schemas that stand in the messages, which the worker leaves out by default.
pub(super) fn with_schemas() -> Settings {
    let converter = "org.apache.kafka.connect.json.JsonConverter";
    ["key", "value"]
        .into_iter()
        .flat_map(|part| {
            [
                (format!("{part}.converter"), converter.to_owned()),
                (
                    format!("{part}.converter.schemas.enable"),
                    "true".to_owned(),
                ),
            ]
        })
        .collect()
}

/// Has Debezium's event router send an outbox's events on, and nothing else. A payload stays the text that it is: expanded, a
/// number with a fraction would become a float.
fn routed(prefix: &str, outbox: &Outbox) -> Settings {
    let topic = format!("{prefix}.{}", outbox.table);
    let pattern = topic.replace('.', "\\.");
    let router = "io.debezium.transforms.outbox.EventRouter";
    let names = "org.apache.kafka.connect.transforms.predicates.TopicNameMatches";
    [
        ("predicates", "outbox"),
        ("predicates.outbox.type", names),
        ("predicates.outbox.pattern", &pattern),
        ("transforms", "outbox"),
        ("transforms.outbox.type", router),
        ("transforms.outbox.predicate", "outbox"),
        ("transforms.outbox.route.topic.replacement", &outbox.topic),
        (
            "transforms.outbox.table.fields.additional.placement",
            "type:header:eventType",
        ),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// Renders a connector as the environment's worker gets it. The password is a reference that Connect
/// resolves, never the password.
///
/// # Errors
/// The template is wrong.
pub fn manifest(env: &Environment, name: &str, connector: &Connector) -> Result<ConnectorManifest> {
    let read = env.read_by(connector).ok_or_else(|| {
        let what = format!(
            "connector `{name}` reads `{}`, which is not there",
            connector.source
        );
        Error::new(Code::Plan, what)
    })?;
    let password_dir = env.connector_password_dir(read);
    let password = format!("${{strimzidir:{password_dir}:password}}");
    let captured = env.profile.flows.values();
    let captured = captured.filter(|flow| flow.connector == name);
    let tables: Vec<&str> = env.profile.captured(name).collect();
    let every = captured.filter(|flow| flow.keep == Keep::Every);
    let every: Vec<String> = every.map(|flow| format!("{}:.*", flow.table)).collect();
    let source = env.connector_endpoint(read);
    let reader = Reader {
        connector,
        tables: &tables,
        at: &source,
        secrets: &password_dir,
        kafka: env.inside(&env.profile.kafka.name).address(),
        security: broker::security(env),
    };
    let mut context = super::source(env, connector).connection(&reader);
    context["prefix"] = json!(connector.prefix);
    context["tables"] = json!(tables.join(","));
    context["every"] = json!(every.join(","));
    context["user"] = json!(source.user);
    context["password"] = json!(password);
    let rereads = env.profile.rereads(connector);
    context["notifications"] = json!(rereads.map_or(String::new(), |topics| topics.notifications));
    let template = format!("connect/connectors/{}.yaml.hbs", read.kind.name);
    let mut manifest: ConnectorManifest = env.templates.yaml(&template, &context)?;
    let mut flows = env.profile.flows.values();
    if flows.any(|flow| flow.connector == name && flow.to.is_some()) {
        manifest.config.extend(with_schemas());
        // A number stays one: as a text the sink would make a text of its column.
        let decimals = ("decimal.handling.mode", "precise");
        manifest.config.insert(decimals.0.into(), decimals.1.into());
    }
    if let Some(outbox) = &connector.outbox {
        manifest.config.extend(routed(&connector.prefix, outbox));
    }
    manifest.config.extend(connector.config.clone());
    Ok(manifest)
}

/// Has the connector registered with this configuration afterwards. What failed is restarted. So is
/// what runs and does not read its slot: a task reads its password once, and tries the old one for
/// ever.
///
/// # Errors
/// Connect refuses the configuration.
pub async fn register(env: Arc<Environment>, name: String, progress: Progress) -> Result<Outcome> {
    let connector = env.profile.connectors.get(&name);
    let (_, wanted) = wanted_of(&env, &name)?;
    let client = env.connect_client();
    // Another connector of the same profile that has just been registered makes Connect rebalance.
    let existing = settled(&progress, || client.config(&name)).await?;
    if let Some(existing) = &existing
        && drift(existing, &wanted).is_empty()
    {
        return match connector {
            Some(connector) => login::put_right(&env, &name, connector, &progress).await,
            None => mend(&env, &name, &progress).await,
        };
    }
    let before = settled(&progress, || client.status(&name)).await?;
    settled(&progress, || client.put_config(&name, &wanted)).await?;
    if let Some(before) = before.filter(has_failed) {
        begin_anew(&env, &name, &before, &progress).await?;
    }
    Ok(Outcome::Changed(match existing {
        Some(_) => "configuration changed".into(),
        None => "registered".into(),
    }))
}

/// A connector of the profile, source or sink, as the environment's worker gets it.
///
/// # Errors
/// There is none of this name, or its template is wrong.
pub fn manifest_of(env: &Environment, name: &str) -> Result<ConnectorManifest> {
    if let Some(connector) = env.profile.connectors.get(name) {
        return manifest(env, name, connector);
    }
    match env.profile.sinks.get(name) {
        Some(sink) => jdbc_sink::manifest(env, name, sink),
        None => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> Error {
    Error::new(Code::Plan, format!("the profile has no connector `{name}`"))
}

/// A connector's class, and its whole configuration as Connect's REST interface takes it.
///
/// # Errors
/// The template is wrong.
pub fn wanted(
    env: &Environment,
    name: &str,
    connector: &Connector,
) -> Result<(String, IndexMap<String, String>)> {
    Ok(whole(name, manifest(env, name, connector)?))
}

/// As [`wanted`], of any connector of the profile, source or sink.
///
/// # Errors
/// There is none of this name, or its template is wrong.
pub fn wanted_of(env: &Environment, name: &str) -> Result<(String, IndexMap<String, String>)> {
    Ok(whole(name, manifest_of(env, name)?))
}

fn whole(name: &str, manifest: ConnectorManifest) -> (String, IndexMap<String, String>) {
    let mut config: IndexMap<String, String> = manifest.config;
    config.insert("connector.class".into(), manifest.class.clone());
    config.insert("name".into(), name.to_owned());
    (manifest.class, config)
}

/// A connector's configuration for people: what is a secret and no reference to one is masked.
pub fn shown(config: IndexMap<String, String>) -> IndexMap<String, String> {
    let masked = |(key, value): (String, String)| {
        let hidden = is_secret(&format!("connector.config.{key}")) && !value.contains("${");
        (key, if hidden { MASK.to_owned() } else { value })
    };
    let mut shown: IndexMap<String, String> = config.into_iter().map(masked).collect();
    shown.sort_keys();
    shown
}

/// The keys in which a connector's configuration differs from what the profile wants.
pub fn drift(has: &IndexMap<String, String>, wanted: &IndexMap<String, String>) -> Vec<String> {
    let mut keys: Vec<String> = wanted
        .iter()
        .filter(|(key, value)| has.get(*key) != Some(value))
        .map(|(key, _)| key.clone())
        .collect();
    keys.extend(has.keys().filter(|key| !wanted.contains_key(*key)).cloned());
    keys
}

/// Why no change will come through this connector; none while one still may, or while Connect does
/// not tell.
pub async fn hindrance(env: &Environment, name: &str) -> Option<Status> {
    let client = env.connect_client();
    let (status, names) = tokio::join!(client.status(name), client.connectors());
    let listed = names.ok()?.iter().any(|it| it == name);
    readiness::connect::hindrance(name, status.ok()?.as_ref(), listed)
}

/// What is said of a connector that reads no log yet.
pub const IN_SNAPSHOT: &str = "its first snapshot is under way";

/// The connector and all its tasks run, and its source sees it read, if that tells.
pub async fn probe_connector(env: &Environment, name: &str, connector: &Connector) -> Status {
    let status = probe_tasks(env, name).await;
    if status.state != readiness::State::Current {
        return held(env, connector, status).await;
    }
    match super::source(env, connector).reading(env, connector).await {
        Some(reading) if reading.status.state == readiness::State::InProgress => {
            match is_in_snapshot(env, name).await {
                true => Status::in_progress(IN_SNAPSHOT),
                false => reading.status,
            }
        }
        Some(reading) if reading.status.state != readiness::State::Current => reading.status,
        Some(_) => Status::current(format!("{}, slot active", status.message)),
        None => status,
    }
}

/// Whether what a connector has committed last is of its first snapshot: it reads no log until that ends.
pub async fn is_in_snapshot(env: &Environment, name: &str) -> bool {
    let offsets = env.connect_client().offsets(name).await;
    let offsets = offsets.ok().flatten();
    offsets.is_some_and(|it| it.offsets.iter().any(|one| is_of_snapshot(&one.offset)))
}

/// The status of a connector on its way, which is what its source waits for where that tells.
pub async fn held(env: &Environment, connector: &Connector, status: Status) -> Status {
    if status.state != readiness::State::InProgress {
        return status;
    }
    let reading = super::source(env, connector).reading(env, connector).await;
    match reading.and_then(|it| it.waits) {
        Some(waits) => Status::in_progress(waits),
        None => status,
    }
}

/// Whether a connector and its tasks run, by Connect.
pub async fn probe_tasks(env: &Environment, name: &str) -> Status {
    match env.connect_client().status(name).await {
        Ok(status) => readiness::connect::connector(status.as_ref()),
        Err(error) if error.is_transient() => Status::in_progress(error.to_string()),
        Err(error) => Status::failed(error.to_string()),
    }
}
