//! Components by their protocols, their processes, their logs.
//!
//! A component counts as silent only once it had the time that others on the machine needed. A pod
//! that is not heard in time is unknown, not broken: its resource reports when it hangs. What the
//! user runs elsewhere has no resource, and is reported.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{Component, Disk, Known, Process};
use crate::environment::Environment;
use crate::files;
use crate::observe::status;
use crate::platform::Platform;
use crate::platform::host::daemon::{self, Found};
use crate::platform::host::ports;
use crate::readiness::State;
use crate::wait::Limit;

/// Asks all components. On a cluster one that does not work is explained by its resource.
pub(super) async fn gather(env: &Arc<Environment>, limit: &Limit) -> Vec<Component> {
    let seen = status::components(env, limit).await;
    let made = seen.iter().map(|seen| is_being_made(env, seen, limit));
    let made = join_all(made).await;
    seen.into_iter()
        .zip(made)
        .map(|(seen, is_being_made)| {
            let works = seen.status.state == State::Current;
            let process = process(env, &seen.name);
            let gone = matches!(process, Process::None | Process::Ended(_));
            let own = env.profile.component(&seen.name);
            Component {
                name: seen.name.clone(),
                kind: own.map_or("", |it| it.kind.name),
                path: own.map_or_else(|| seen.name.clone(), |it| it.path.clone()),
                external: seen.external,
                is_being_made,
                port_taken: gone.then(|| taken(env, &seen.name)).flatten(),
                log: match process {
                    _ if works => Vec::new(),
                    Process::Elsewhere => seen.status.evidence.clone(),
                    Process::None => Vec::new(),
                    // Troubles that it had before it was killed are not why it ended.
                    Process::Ended(_) => last(env, &seen.name),
                    Process::Running(_) | Process::Suspended(_) => {
                        daemon::evidence(&env.dirs.log(&seen.name))
                    }
                },
                status: seen.status,
                process,
            }
        })
        .collect()
}

/// Whether a component's pods are on their way, and none of their containers has begun.
async fn is_being_made(env: &Environment, seen: &status::Component, limit: &Limit) -> bool {
    let waits = matches!(seen.status.state, State::InProgress | State::NotFound);
    if env.platform == Platform::Host || seen.external || !waits {
        return false;
    }
    let begins = limit
        .within(env.not_started(&seen.name))
        .await
        .ok()
        .flatten();
    begins.is_some_and(|it| matches!(it.state, State::InProgress | State::NotFound))
}

/// The last lines of a component's log.
fn last(env: &Environment, component: &str) -> Vec<String> {
    const LINES: usize = 80;
    let path = env.dirs.log(component);
    files::tail(&path, LINES)
        .unwrap_or_else(|error| vec![format!("cannot read {}: {error}", path.display())])
}

fn process(env: &Environment, component: &str) -> Process {
    if env.platform != Platform::Host || env.is_external(component) {
        return Process::Elsewhere;
    }
    match daemon::find(&env.dirs, component) {
        Ok(Found::Running(record, seen)) if seen.suspended => Process::Suspended(record.pid),
        Ok(Found::Running(record, _)) => Process::Running(record.pid),
        Ok(Found::Gone(record)) => Process::Ended(record.pid),
        Ok(Found::Never) | Err(_) => Process::None,
    }
}

/// Who listens on a component's port.
fn taken(env: &Environment, component: &str) -> Option<String> {
    let port = env.endpoint(component).port;
    (!ports::is_free(port)).then(|| format!("port {port}: {}", ports::owner(port)))
}

/// Room where the components keep their data.
pub(super) fn disk(env: &Environment) -> Known<Disk> {
    #[cfg(unix)]
    {
        let mut seen: Vec<(u64, (String, u64, u64))> = Vec::new();
        for component in env.profile.components.keys() {
            let data = env.dirs.data(component);
            // What was never made is on no file system.
            let Ok(room) = rustix::fs::statvfs(&data) else {
                continue;
            };
            if seen.iter().all(|(id, _)| *id != room.f_fsid) {
                let (free, all) = (room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize);
                seen.push((room.f_fsid, (data.display().to_string(), free, all)));
            }
        }
        Known::Seen(Disk {
            rooms: seen.into_iter().map(|(_, room)| room).collect(),
        })
    }
    #[cfg(not(unix))]
    {
        let _ = env;
        Known::Unknown("this system is not asked for it".into())
    }
}
