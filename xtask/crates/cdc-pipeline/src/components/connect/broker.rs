//! How workers and their connectors reach a Kafka that wants TLS or a login. What they log in with is in a file, or in a
//! Secret that they mount; configurations refer to it.

use indexmap::IndexMap;
use serde_json::{Value, json};

use crate::components::Manifests;
use crate::environment::{AUTHORITY, CA, Environment};
use crate::error::Result;
use crate::files::{remove, write_if_changed};
use crate::platform::host::secrets;
use crate::platform::{Platform, Secret};
use crate::profile::backbone::CONNECT;
use crate::profile::schema::Sasl;

/// The Secret with what the workers log in with at the user's Kafka, and where they mount it.
const KAFKA_LOGIN: &str = "kafka-login";
/// The file or key of the login, beside its password.
const JAAS: &str = "jaas";

/// How a client of Kafka's in a worker reaches the user's brokers, by its settings; none at others. The login is a
/// reference that Connect resolves.
pub(super) fn security(env: &Environment) -> IndexMap<&'static str, String> {
    let Some(access) = env.kafka_access() else {
        return IndexMap::new();
    };
    let (ca, dir) = match env.platform {
        Platform::Host => {
            let ca = access.ca.as_ref().map(|it| it.display().to_string());
            let dir = secrets::dir(&env.dirs, &env.profile.kafka.name);
            (ca.unwrap_or_default(), dir.display().to_string())
        }
        Platform::Kind | Platform::Kubernetes => {
            let dir = format!("/mnt/{KAFKA_LOGIN}");
            (format!("{dir}/{CA}"), dir)
        }
    };
    access.properties(&ca, &format!("${{strimzidir:{dir}:{JAAS}}}"))
}

/// How Strimzi has the workers log in, with the Secrets and their keys; none at brokers that ask nobody.
pub(super) fn login(made: &Manifests<'_>) -> Option<Value> {
    let env = made.env;
    if env.profile.kafka.external.is_none() {
        return env.profile.kafka.is_secured().then(|| {
            json!({
                "authority": AUTHORITY,
                "type": Sasl::ScramSha512,
                "user": CONNECT.name,
                "secret": "kafka-users",
                "key": CONNECT.name,
            })
        });
    }
    env.kafka_access().map(|access| {
        let login = access.login.as_ref();
        json!({
            "authority": access.ca.as_ref().map(|_| KAFKA_LOGIN),
            "type": login.map(|it| it.sasl),
            "user": login.map(|it| &it.user),
            "secret": KAFKA_LOGIN,
            "key": "password",
        })
    })
}

/// What is in the Secret of [`KAFKA_LOGIN`], where there is one.
///
/// # Errors
/// The authority's file cannot be read.
pub(super) fn secret(made: &Manifests<'_>) -> Result<Option<Value>> {
    let Some(access) = made.env.kafka_access() else {
        return Ok(None);
    };
    let shown = |secret: &Secret| (made.shown)(secret.expose().to_owned());
    let login = access.login.as_ref();
    Ok(Some(json!({
        "name": KAFKA_LOGIN,
        "authority": access.authority()?,
        "user": login.map(|it| &it.user),
        "password": login.map(|it| shown(&it.password)),
        "jaas": login.map(|it| shown(&it.jaas())),
    })))
}

/// What the workers log in with at the user's Kafka; none where it asks nobody.
pub(super) fn jaas(env: &Environment) -> Option<Secret> {
    Some(env.kafka_access()?.login?.jaas())
}

/// Writes it where they read it on this machine.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write_login(env: &Environment) -> Result<()> {
    let path = secrets::dir(&env.dirs, &env.profile.kafka.name).join(JAAS);
    match jaas(env) {
        Some(jaas) => write_if_changed(&path, jaas.expose().as_bytes(), 0o600).map(drop),
        None => remove(&path),
    }
}

/// The Secret that they mount, where a connector has a client of Kafka's beside the workers' own.
pub(super) fn volume(env: &Environment) -> Option<&'static str> {
    let profile = &env.profile;
    let sources = profile.connectors.values();
    let mut sources = sources.filter_map(|it| profile.component(&it.source)?.kind.source.as_ref());
    let has_client = sources.any(|it| it.history.is_some());
    (has_client && env.kafka_access().is_some()).then_some(KAFKA_LOGIN)
}
