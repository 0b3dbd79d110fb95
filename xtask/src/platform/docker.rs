//! Whether a Docker engine answers.

use std::time::Duration;

/// Asks the engine of `DOCKER_HOST`, or of the system's default socket, with little patience.
pub async fn answers() -> bool {
    let Ok(docker) = bollard::Docker::connect_with_defaults() else {
        return false;
    };
    tokio::time::timeout(Duration::from_millis(500), docker.ping())
        .await
        .is_ok_and(|ping| ping.is_ok())
}
