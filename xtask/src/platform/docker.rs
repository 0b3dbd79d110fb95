//! Whether a Docker engine answers.

use std::time::Duration;

/// How long an engine may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// Asks the engine of `DOCKER_HOST`, or of the system's default socket, with little patience.
pub async fn answers() -> bool {
    let Ok(docker) = bollard::Docker::connect_with_defaults() else {
        return false;
    };
    tokio::time::timeout(PATIENCE, docker.ping())
        .await
        .is_ok_and(|ping| ping.is_ok())
}

/// The engine's version, or why there is none.
///
/// # Errors
/// What the user reads where a version would stand.
pub async fn version() -> Result<String, String> {
    let docker = bollard::Docker::connect_with_defaults().map_err(|error| error.to_string())?;
    let answer = tokio::time::timeout(PATIENCE, docker.version()).await;
    match answer {
        Ok(Ok(version)) => Ok(version.version.unwrap_or_default()),
        Ok(Err(_)) | Err(_) => Err(match std::env::var("DOCKER_HOST") {
            Ok(host) if !host.is_empty() => format!("no engine answers at DOCKER_HOST={host}"),
            _ => "no engine answers".into(),
        }),
    }
}
