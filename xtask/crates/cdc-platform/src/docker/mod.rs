//! The Docker engine: where it is, whether it answers, and what it is.

pub mod address;
pub mod exec;

use std::time::Duration;

use bollard::Docker;
use bollard::models::SystemInfo;

use crate::error::{Code, Error, Result};
use address::{Address, Surroundings};

/// How long an engine may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long an engine may take for a request that makes it work, such as packing an image.
const WORK: Duration = Duration::from_secs(900);

/// Asks the engine with little patience.
pub async fn answers() -> bool {
    version().await.is_ok()
}

/// The engine's version, or why there is none.
///
/// # Errors
/// What the user reads where a version would stand.
pub async fn version() -> Result<String, String> {
    let address = Address::choose(&Surroundings::here());
    let docker = open(&address).map_err(|error| error.message)?;
    let answer = tokio::time::timeout(PATIENCE, docker.version()).await;
    match answer {
        Ok(Ok(version)) => Ok(version.version.unwrap_or_default()),
        Ok(Err(_)) | Err(_) => Err(silence(&address)),
    }
}

/// A connection to the engine that the `docker` command would use, speaking a version of the
/// interface that both know.
///
/// # Errors
/// No engine answers, or its address cannot be used.
pub async fn connect() -> Result<Docker> {
    let address = Address::choose(&Surroundings::here());
    let docker = open(&address)?;
    let missing = |reason: String| {
        Error::new(Code::Missing, silence(&address))
            .detail(reason)
            .hint("start Docker, or point DOCKER_HOST at an engine: cargo xtask doctor")
    };
    // The first answer of an engine that is just starting may take longer than a look may.
    match tokio::time::timeout(PATIENCE * 10, docker.negotiate_version()).await {
        Ok(Ok(docker)) => Ok(docker),
        Ok(Err(error)) => Err(missing(error.to_string())),
        Err(_) => Err(missing("it does not answer in time".into())),
    }
}

fn silence(address: &Address) -> String {
    format!(
        "no Docker engine answers at {} ({})",
        address.url, address.origin
    )
}

fn open(address: &Address) -> Result<Docker> {
    let url = address.url.as_str();
    if url.starts_with("ssh://") {
        return Err(Error::new(
            Code::Missing,
            format!("{url} ({}): engines behind ssh are not supported", address.origin),
        )
        .hint("forward the engine's socket (ssh -L /tmp/docker.sock:/var/run/docker.sock ...) and set DOCKER_HOST=unix:///tmp/docker.sock"));
    }
    // TLS is chosen by DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, as for the `docker` command.
    crate::tls::install();
    Docker::connect_with_host(url)
        .map(|docker| docker.with_timeout(WORK))
        .map_err(|error| {
            Error::new(
                Code::Missing,
                format!(
                    "cannot use the Docker engine at {url} ({}): {error}",
                    address.origin
                ),
            )
            .hint("unix:///path, tcp://host:port or npipe:// are understood in DOCKER_HOST")
        })
}

/// What decides how components run on an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The engine's version.
    pub version: String,
    /// `amd64`, `arm64` and so on: the name that images use.
    pub architecture: String,
    /// `linux` or `windows`.
    pub os: String,
    /// Memory of the machine or virtual machine that containers share.
    pub memory: u64,
    /// Its processors.
    pub cpus: u64,
    /// 1 or 2.
    pub cgroup_version: u8,
    /// Whether it runs without root.
    pub rootless: bool,
    /// Whether images lie in containerd's store: their ids are then digests of manifests.
    pub containerd_store: bool,
}

/// Asks the engine about itself.
///
/// # Errors
/// It does not answer.
pub async fn facts(docker: &Docker) -> Result<Facts> {
    let info = docker
        .info()
        .await
        .map_err(|error| failed("tell about itself", &error))?;
    Ok(read_facts(info))
}

fn read_facts(info: SystemInfo) -> Facts {
    let positive = |number: Option<i64>| {
        number
            .and_then(|number| u64::try_from(number).ok())
            .unwrap_or_default()
    };
    let store = info.driver_status.unwrap_or_default();
    Facts {
        version: info.server_version.unwrap_or_default(),
        architecture: architecture(&info.architecture.unwrap_or_default()).to_owned(),
        os: info.os_type.unwrap_or_default(),
        memory: positive(info.mem_total),
        cpus: positive(info.ncpu),
        cgroup_version: match info.cgroup_version.map(|version| version.to_string()) {
            Some(version) if version == "2" => 2,
            _ => 1,
        },
        rootless: info
            .security_options
            .unwrap_or_default()
            .iter()
            .any(|option| option.starts_with("name=rootless")),
        containerd_store: store
            .iter()
            .flatten()
            .any(|value| value.starts_with("io.containerd.snapshotter")),
    }
}

/// The name that images use for a machine's architecture.
pub fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// An engine's refusal as the user reads it.
pub fn failed(what: &str, error: &bollard::errors::Error) -> Error {
    let message = match error {
        bollard::errors::Error::DockerResponseServerError { message, .. } => message.clone(),
        other => other.to_string(),
    };
    Error::new(
        Code::Service,
        format!("the Docker engine could not {what}: {message}"),
    )
}

/// Whether the engine says that there is no such thing.
pub fn is_missing(error: &bollard::errors::Error) -> bool {
    matches!(
        error,
        bollard::errors::Error::DockerResponseServerError {
            status_code: 404,
            ..
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_as_images_name_them() {
        let info: SystemInfo = serde_json::from_value(serde_json::json!({
            "ServerVersion": "29.0.0", "Architecture": "aarch64", "OSType": "linux",
            "MemTotal": 4_000_000_000_u64, "NCPU": 4, "CgroupVersion": "2",
            "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"],
            "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
        }))
        .expect("valid");
        let facts = read_facts(info);
        assert_eq!(
            facts,
            Facts {
                version: "29.0.0".into(),
                architecture: "arm64".into(),
                os: "linux".into(),
                memory: 4_000_000_000,
                cpus: 4,
                cgroup_version: 2,
                rootless: true,
                containerd_store: true,
            }
        );
        let old = read_facts(SystemInfo::default());
        assert!(old.cgroup_version == 1 && !old.rootless && !old.containerd_store);
    }
}
