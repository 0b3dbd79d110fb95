//! What the worker says of late about connectors that run and give no sign of life: Debezium tries
//! again without end what does not work, and tells nobody but its log.

use std::fs::File;
use std::time::Duration;

use kube::api::LogParams;

use super::Connector;
use crate::clock;
use crate::environment::Environment;
use crate::files::last_lines;
use crate::observe::logline::{Filter, Level, TimeZone};
use crate::platform::Platform;
use crate::up::cluster;
use crate::wait::Limit;

/// Heartbeats that are younger are no reason to read logs.
const QUIET_MS: u64 = 5_000;
/// By default Debezium tries every ten seconds.
const LATELY: Duration = Duration::from_secs(30);
/// Lines of the log that are read; a retry writes a trace and its configuration.
const LINES: usize = 3_000;
/// Lines that are kept.
const KEPT: usize = 60;

/// Reads them where there is a reason to.
pub(super) async fn add(env: &Environment, connectors: &mut [Connector], limit: &Limit) {
    let quiet = |connector: &Connector| {
        connector.is_running() && connector.heartbeat_age_ms.is_some_and(|age| age > QUIET_MS)
    };
    if !connectors.iter().any(quiet) {
        return;
    }
    let read = limit.within(read(env)).await;
    let lines = read.ok().flatten().unwrap_or_default();
    for connector in connectors.iter_mut().filter(|it| quiet(it)) {
        connector.complaints.clone_from(&lines);
    }
}

/// The worker's warnings and errors of late; none if they cannot be read.
async fn read(env: &Environment) -> Option<Vec<String>> {
    let lately = u64::try_from(LATELY.as_millis()).unwrap_or(u64::MAX);
    let since = clock::now_ms().saturating_sub(lately);
    let (text, zone) = match env.platform {
        Platform::Host => {
            let mut file = File::open(env.dirs.log("connect")).ok()?;
            let bytes = last_lines(&mut file, LINES).ok()?;
            (
                String::from_utf8_lossy(&bytes).into_owned(),
                TimeZone::system(),
            )
        }
        Platform::Kind | Platform::Kubernetes => (pods(env).await?, TimeZone::UTC),
    };
    let mut filter = Filter::new(Level::Warn, Some(since), zone);
    // What stands before the first head belongs to nothing that is known.
    let lines = text
        .lines()
        .skip_while(|line| line.starts_with(['\t', ' ']));
    let wanted: Vec<&str> = lines.filter(|line| filter.wants(line)).collect();
    let told = wanted
        .into_iter()
        .filter(|line| !line.trim_start().starts_with("at "));
    let told: Vec<String> = told.map(str::to_owned).collect();
    Some(told[told.len().saturating_sub(KEPT)..].to_vec())
}

async fn pods(env: &Environment) -> Option<String> {
    let asked = LogParams {
        since_seconds: i64::try_from(LATELY.as_secs()).ok(),
        tail_lines: i64::try_from(LINES).ok(),
        ..LogParams::default()
    };
    let logs = cluster::logs(env, "connect", &asked).await.ok()?;
    Some(logs.into_iter().map(|(_, text)| text).collect())
}
