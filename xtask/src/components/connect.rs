//! The Connect worker and its source connectors.

mod anew;
pub mod login;
mod settled;

pub use anew::{Watcher, begun, mend};
use anew::{begin_anew, has_failed};
pub use settled::settled;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::json;

use super::kafka;
use crate::endpoint::MASK;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::image;
use crate::plan::{Outcome, Progress};
use crate::platform::Endpoint;
use crate::platform::host::apply::Rendered;
use crate::platform::host::artifacts::Locked;
use crate::platform::host::artifacts::maven::{Coordinates, MavenArtifact};
use crate::platform::host::artifacts::unpack::Unpack;
use crate::platform::host::java;
use crate::profile::logins::component;
use crate::profile::schema::{Connector, ExtraPlugin, Settings, Source};
use crate::profile::{Profile, is_secret};
use crate::readiness::{self, Status};
use crate::render::Templates;

/// `images/connect/plugins.yaml`: the plugins by what needs them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plugins {
    postgres: Plugin,
    mongodb: Plugin,
    jdbc: Plugin,
}

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

/// Why a worker has a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needed {
    /// A connector of the profile is of it.
    Source(Source),
    /// The profile asks for it.
    Extra(ExtraPlugin),
}

impl Needed {
    /// The plugin's name in `images/connect/plugins.yaml`.
    fn name(self) -> &'static str {
        match self {
            Needed::Source(Source::Postgres) => "postgres",
            Needed::Source(Source::Mongodb) => "mongodb",
            Needed::Extra(ExtraPlugin::Jdbc) => "jdbc",
        }
    }
}

fn plugin(env: &Environment, needed: Needed) -> Result<Plugin> {
    let path = env.root.join("images/connect/plugins.yaml");
    let text = std::fs::read_to_string(&path).map_err(|error| Error::io("read", &path, &error))?;
    let plugins: Plugins = serde_yaml::from_str(&text).map_err(|error| {
        Error::new(
            Code::Artifact,
            format!("{} is malformed: {error}", path.display()),
        )
    })?;
    Ok(match needed {
        Needed::Source(Source::Postgres) => plugins.postgres,
        Needed::Source(Source::Mongodb) => plugins.mongodb,
        Needed::Extra(ExtraPlugin::Jdbc) => plugins.jdbc,
    })
}

/// The plugins of the profile's connectors and those that it asks for, each once.
fn needed(env: &Environment) -> Vec<Needed> {
    let sources = [Source::Postgres, Source::Mongodb]
        .into_iter()
        .filter(|source| env.profile.uses(*source))
        .map(Needed::Source);
    let extra = env.profile.connect.plugins.iter().copied();
    let mut all: Vec<Needed> = sources.chain(extra.map(Needed::Extra)).collect();
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

fn artifact(env: &Environment, needed: Needed) -> Result<MavenArtifact> {
    let name = needed.name();
    let version = env.profile.versions.plugin(name);
    let plugin = plugin(env, needed)?;
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

/// The process.
///
/// # Errors
/// Java is missing, a version has no digests, or a template is wrong.
pub fn process(env: &Environment) -> Result<Rendered> {
    let libs: PathBuf = kafka::libraries(env)?.dir(&env.dirs.cache);
    let plugin_path: Vec<String> = plugins(env)?
        .iter()
        .map(|plugin| plugin.dir(&env.dirs.cache).display().to_string())
        .collect();
    let java = java::require()?;
    env.process(
        "connect",
        "connect/host/process.yaml.hbs",
        &json!({
            "java": java.program,
            "class_archive": java.class_archive(&env.dirs.cache, "connect", &libs),
            "libs": libs,
            "plugin_path": plugin_path.join(","),
            "secrets_root": env.dirs.secrets(),
        }),
    )
}

/// The worker answers and has the plugin classes that are needed.
pub async fn probe(env: &Environment, classes: &[String]) -> Status {
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

/// Renders a connector as the environment's worker gets it.
///
/// # Errors
/// The template is wrong.
pub fn manifest(env: &Environment, name: &str, connector: &Connector) -> Result<ConnectorManifest> {
    let password_dir = env.connector_password_dir(connector.source);
    let source = env.connector_endpoint(connector.source);
    render(
        &env.templates,
        &env.profile,
        name,
        connector,
        &source,
        &password_dir,
    )
}

/// Renders a connector that reads from `source`, as its user. The password is a reference that
/// Connect resolves below `password_dir`, never the password.
///
/// # Errors
/// The template is wrong.
pub fn render(
    templates: &Templates,
    profile: &Profile,
    name: &str,
    connector: &Connector,
    source: &Endpoint,
    password_dir: &str,
) -> Result<ConnectorManifest> {
    let password = format!("${{strimzidir:{password_dir}:password}}");
    let tables: Vec<&str> = profile
        .flows
        .values()
        .filter(|flow| flow.connector == name)
        .map(|flow| flow.table.as_str())
        .collect();
    let mut context = json!({
        "connector": {
            "prefix": connector.prefix,
            "slot": connector.slot,
            "publication": connector.publication,
        },
        "tables": tables.join(","),
    });
    match connector.source {
        Source::Postgres => {
            context["host"] = json!(source.host);
            context["port"] = json!(source.port);
            context["user"] = json!(source.user);
            context["password"] = json!(password);
            context["database"] = json!(profile.postgres.database);
        }
        Source::Mongodb => {
            let (address, set) = (source.address(), &profile.mongodb.replica_set);
            context["connection_string"] = json!(format!("mongodb://{address}/?replicaSet={set}"));
            context["user"] = json!(source.user);
            context["password"] = json!(password);
            let databases: BTreeSet<&str> = tables
                .iter()
                .map(|table| {
                    table
                        .split_once('.')
                        .map_or(*table, |(database, _)| database)
                })
                .collect();
            // One stream is of one database or of all: the first takes rights in that one alone.
            let only = (databases.len() == 1).then(|| databases.first()).flatten();
            context["database"] = json!(only);
        }
    }
    let template = format!(
        "connect/connectors/{}.yaml.hbs",
        component(connector.source)
    );
    let mut manifest: ConnectorManifest = templates.yaml(&template, &context)?;
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
    let connector =
        env.profile.connectors.get(&name).ok_or_else(|| {
            Error::new(Code::Plan, format!("the profile has no connector `{name}`"))
        })?;
    let (_, wanted) = wanted(&env, &name, connector)?;
    let client = env.connect_client();
    // Another connector of the same profile that has just been registered makes Connect rebalance.
    let existing = settled(&progress, || client.config(&name)).await?;
    if let Some(existing) = &existing
        && drift(existing, &wanted).is_empty()
    {
        return login::put_right(&env, &name, connector, &progress).await;
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

/// A connector's class, and its whole configuration as Connect's REST interface takes it.
///
/// # Errors
/// The template is wrong.
pub fn wanted(
    env: &Environment,
    name: &str,
    connector: &Connector,
) -> Result<(String, IndexMap<String, String>)> {
    let manifest = manifest(env, name, connector)?;
    let mut config: IndexMap<String, String> = manifest.config;
    config.insert("connector.class".into(), manifest.class.clone());
    config.insert("name".into(), name.to_owned());
    Ok((manifest.class, config))
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

/// The connector and all its tasks run, and for PostgreSQL its slot is read.
pub async fn probe_connector(env: &Environment, name: &str, connector: &Connector) -> Status {
    let status = match env.connect_client().status(name).await {
        Ok(status) => readiness::connect::connector(status.as_ref()),
        Err(error) if error.is_transient() => return Status::in_progress(error.to_string()),
        Err(error) => return Status::failed(error.to_string()),
    };
    if status.state != readiness::State::Current {
        return status;
    }
    match &connector.slot {
        None => status,
        Some(slot) => {
            let slot = super::postgres::probe_slot(env, slot).await;
            if slot.state == readiness::State::Current {
                Status::current(format!("{}, slot active", status.message))
            } else {
                slot
            }
        }
    }
}
