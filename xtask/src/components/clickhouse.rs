//! The target: `clickhouse` from PATH, or the embedded engine behind the same HTTP interface.

use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use serde_json::json;

pub use super::silver::{Names, create_tables, delete_rows, leave_group, probe_tables, statements};
use crate::clients::clickhouse::Clickhouse;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::files::write_if_changed;
use crate::platform::Endpoint;
use crate::platform::host::apply::Rendered;
use crate::platform::host::artifacts::{PypiEnvironment, lockfile};
use crate::platform::host::secrets;
use crate::profile::size;
use crate::readiness::{State, Status};

/// For how long, in milliseconds, a group keeps the partitions of a consumer that is not heard: of one
/// that was killed, or that lost the broker and comes back as another. The least that a broker accepts
/// by default; librdkafka's own is 45 s.
const SESSION_MS: u32 = 6_000;
/// The same at a broker of one's own, which accepts less.
const OWN_SESSION_MS: u32 = 2_000;

/// The embedded engine; none where a `clickhouse` binary or an external server is used.
pub fn engine(env: &Environment) -> Option<PypiEnvironment> {
    let embedded = env.clickhouse_binary.is_none() && env.profile.clickhouse.external.is_none();
    embedded.then(|| embedded_engine(&env.root, &env.profile.versions.chdb))
}

/// The embedded engine of a version: whichever package has it, by the lock file of the version.
pub fn embedded_engine(root: &Path, version: &str) -> PypiEnvironment {
    let requirements = format!("manifests/clickhouse/host/requirements-{version}.lock");
    PypiEnvironment {
        name: format!("chdb-{version}"),
        requirements: root.join(requirements),
    }
}

/// The process; none for an external server.
///
/// # Errors
/// A template is wrong.
pub fn process(env: &Environment) -> Result<Option<Rendered>> {
    if env.profile.clickhouse.external.is_some() {
        return Ok(None);
    }
    let users = users_file(env);
    let memory = size::bytes(&env.profile.clickhouse.memory)?;
    let session = match env.profile.kafka.external {
        Some(_) => SESSION_MS,
        None => OWN_SESSION_MS,
    };
    let (template, extra) = match (&env.clickhouse_binary, engine(env)) {
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
                    // The server is a script: its text is part of what runs.
                    "digest": directory_digest(&server)?,
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
            }),
        ),
    };
    env.process("clickhouse", template, &extra).map(Some)
}

/// The file with the user: JSON for the embedded engine, XML for the server.
fn users_file(env: &Environment) -> PathBuf {
    let name = match env.clickhouse_binary {
        Some(_) => "users.xml",
        None => "users.json",
    };
    secrets::dir(&env.dirs, "clickhouse").join(name)
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

/// Writes the engine's user, which it reads at start.
///
/// # Errors
/// The file cannot be written.
pub fn write_users(env: &Environment) -> Result<()> {
    let endpoint = env.clickhouse();
    let path = users_file(env);
    let password = endpoint.password.expose();
    let text = match env.clickhouse_binary {
        Some(_) => users_xml(&endpoint.user, password),
        None => json!({ endpoint.user: password }).to_string(),
    };
    write_if_changed(&path, text.as_bytes(), 0o600)
        .map(drop)
        .map_err(|source| Error::io("write", path, &source))
}

/// Every server's interface answers, and takes a login and a query.
pub async fn probe(env: &Environment) -> Status {
    let servers = env.clickhouse_servers();
    let count = servers.len();
    let answers = join_all(servers.into_iter().map(|server| answer(server.endpoint))).await;
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

async fn answer(endpoint: Endpoint) -> Status {
    let client = Clickhouse::new(endpoint, "default");
    if let Err(error) = client.ping().await {
        return Status::in_progress(error.to_string());
    }
    match client.text("SELECT version()").await {
        Ok(version) => Status::current(format!("version {}", version.trim())),
        Err(error) if error.is_final() => Status::failed(error.to_string()),
        Err(error) => Status::in_progress(error.to_string()),
    }
}

/// What stands behind the interface, for `status`.
pub fn flavour(env: &Environment) -> &'static str {
    match (&env.clickhouse_binary, &env.profile.clickhouse.external) {
        (_, Some(_)) => "external",
        (Some(_), _) => "server",
        _ => "embedded engine",
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
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
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
