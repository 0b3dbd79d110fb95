//! Everything at a glance, gathered at once: components, connectors, flows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;

use crate::clock;
use crate::components::target::{Drift, End};
use crate::components::{connect, kafka, of, source, target, travelled};
use crate::environment::Environment;
use crate::platform::Platform;
use crate::platform::host::daemon::{self, Found};
use crate::process::procinfo;
use crate::profile::schema::{Connector, Flow, Sink};
use crate::readiness::{State, Status};
use crate::up::rereads::noted::{UnderWay, under_way};
use crate::up::unread::{Unread, unread};
use crate::wait::{self, Limit};

/// A component that hangs must not hide the others. Through an API server under load an answer may
/// take seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);

/// What `status` shows.
#[derive(Debug, Serialize)]
pub struct Overview {
    /// Profile.
    pub profile: String,
    /// Platform.
    pub platform: Platform,
    /// Components in the order changes travel.
    pub components: Vec<Component>,
    /// Source connectors.
    pub connectors: Vec<ConnectorRow>,
    /// Sink connectors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<SinkRow>,
    /// Flows.
    pub flows: Vec<FlowRow>,
    /// Tables that are read again, by connector.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rereads: BTreeMap<String, UnderWay>,
}

/// One component.
#[derive(Debug, Serialize)]
pub struct Component {
    /// Name.
    pub name: String,
    /// Whether it works, by its protocol.
    pub status: Status,
    /// Where it answers.
    pub endpoint: String,
    /// Version that runs; none while it does not answer.
    pub version: Option<String>,
    /// Whether the user runs it.
    pub external: bool,
    /// Its process, if this tool runs one on this machine.
    pub process: Option<Process>,
}

/// A component's process.
#[derive(Debug, Serialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Whether it runs.
    pub running: bool,
    /// Milliseconds since the epoch.
    pub since: u64,
    /// Memory in use, in bytes, with that of its own processes but for what they share.
    pub resident: u64,
}

/// One connector.
#[derive(Debug, Serialize)]
pub struct ConnectorRow {
    /// Name.
    pub name: String,
    /// The component it reads.
    pub source: String,
    /// State of connector, tasks and slot.
    pub status: Status,
    /// WAL in bytes that its source keeps for it.
    pub retained_wal: Option<u64>,
    /// WAL in bytes that it has not confirmed.
    pub unconfirmed_wal: Option<u64>,
}

/// One sink connector.
#[derive(Debug, Serialize)]
pub struct SinkRow {
    /// Name.
    pub name: String,
    /// The component it writes to.
    pub sink: String,
    /// State of connector and tasks.
    pub status: Status,
}

/// One flow.
#[derive(Debug, Serialize)]
pub struct FlowRow {
    /// Name.
    pub name: String,
    /// Its connector.
    pub connector: String,
    /// The sink that writes it, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Its topic.
    pub topic: String,
    /// Messages in the topic.
    pub messages: Option<i64>,
    /// Messages that the target has not read yet.
    pub lag: Option<i64>,
    /// Its table at the target.
    pub silver: String,
    /// Rows at the target that are not deleted.
    pub rows: Option<u64>,
    /// How old the newest row at the target is, in milliseconds.
    pub newest_ms: Option<u64>,
    /// Messages that were no change.
    pub errors: Option<u64>,
    /// What has to become of its table's columns, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

impl Overview {
    /// Whether everything is as wanted.
    pub fn is_current(&self) -> bool {
        self.components
            .iter()
            .map(|component| &component.status)
            .chain(self.connectors.iter().map(|connector| &connector.status))
            .chain(self.sinks.iter().map(|sink| &sink.status))
            .all(|status| status.state == State::Current)
            && self
                .flows
                .iter()
                .all(|flow| flow.drift.as_ref().is_none_or(Drift::is_by_choice))
    }
}

/// Gathers everything, concurrently.
pub async fn gather(env: &Arc<Environment>) -> Overview {
    let limit = Limit::fixed(PATIENCE);
    let rereads = tokio::time::timeout(PATIENCE, under_way(env));
    let (components, connectors, sinks, flows, rereads) = tokio::join!(
        components(env, &limit),
        connectors(env),
        sinks(env),
        flows(env),
        rereads
    );
    Overview {
        profile: env.name.clone(),
        platform: env.platform,
        components,
        connectors,
        sinks,
        flows,
        rereads: rereads.unwrap_or_default(),
    }
}

/// A probe's status, or that it took too long. A client that gave up by itself, before the limit, had as
/// little time as the machine: that is no answer, either.
async fn patiently(limit: &Limit, probe: impl Future<Output = Status>) -> Status {
    match limit.within(probe).await {
        Ok(status) if status.state == State::InProgress && gave_up(&status.message) => {
            Status::unknown(status.message)
        }
        Ok(status) => status,
        Err(late) => late.status(),
    }
}

/// Whether a client's error says only that it waited for too long.
fn gave_up(error: &str) -> bool {
    let waited = ["timed out", "timeout", "no answer"];
    !error.contains("refused") && waited.iter().any(|it| error.contains(it))
}

/// The components, asked at once. Who has not answered although there was time for it does not answer; else
/// it is unknown.
pub(crate) async fn components(env: &Arc<Environment>, limit: &Limit) -> Vec<Component> {
    // What does not run, or is suspended, will not answer.
    let limit = |name| match is_at_rest(env, name) {
        true => limit.short(),
        false => limit.clone(),
    };
    let seen = travelled(env).into_iter().map(|own| {
        let limit = limit(own.name());
        async move {
            let (status, version) = tokio::join!(
                patiently(&limit, own.probe(env)),
                limit.within(own.version(env))
            );
            let version = version.ok().flatten();
            let version = version.filter(|_| status.state == State::Current);
            let version = version.or_else(|| after(&status, "version "));
            component(env, own.name(), &limit, status, version).await
        }
    });
    join_all(seen).await
}

/// Whether a component has a process here that does not run, or needs one for what it is asked.
pub(crate) fn is_at_rest(env: &Environment, name: &str) -> bool {
    // Without its broker a worker waits for its own group.
    let (kafka, connect) = (&env.profile.kafka.name, &env.profile.connect.name);
    if name == connect && is_at_rest(env, kafka) {
        return true;
    }
    if env.platform != Platform::Host || env.is_external(name) {
        return false;
    }
    match daemon::find(&env.dirs, name) {
        Ok(Found::Running(_, seen)) => seen.suspended,
        Ok(Found::Gone(_) | Found::Never) => true,
        Err(_) => false,
    }
}

/// What a probe's message says after `word`.
fn after(status: &Status, word: &str) -> Option<String> {
    (status.state == State::Current)
        .then(|| status.message.split_once(word))?
        .map(|(_, rest)| rest.trim().to_owned())
}

/// A process that ended explains a service that does not answer.
async fn component(
    env: &Environment,
    name: &str,
    limit: &Limit,
    status: Status,
    version: Option<String>,
) -> Component {
    let endpoint = env.shown(name);
    let process = match daemon::find(&env.dirs, name) {
        _ if env.platform != Platform::Host => None,
        Ok(Found::Running(record, seen)) => Some(Process {
            pid: record.pid,
            running: true,
            since: record.since,
            resident: seen.resident + procinfo::children_resident(&env.dirs.data(name), record.pid),
        }),
        Ok(Found::Gone(record)) => Some(Process {
            pid: record.pid,
            running: false,
            since: record.since,
            resident: 0,
        }),
        Ok(Found::Never) | Err(_) => None,
    };
    let died = process.as_ref().is_some_and(|process| !process.running);
    let explained = died || env.platform != Platform::Host;
    let status = if status.state == State::Current || !explained {
        status
    } else {
        let seen = limit.within(obstacle(env, name)).await;
        seen.ok().flatten().unwrap_or(status)
    };
    Component {
        name: name.to_owned(),
        status,
        endpoint,
        version,
        external: env.is_external(name),
        process,
    }
}

/// What keeps a component from answering, as its platform sees it. A watch that has only just begun
/// explains nothing yet.
async fn obstacle(env: &Environment, name: &str) -> Option<Status> {
    loop {
        match env.blocked_by(name).await {
            Some(seen) if seen.state == State::Unknown => {
                wait::pause(Duration::from_millis(50)).await;
            }
            seen => return seen,
        }
    }
}

async fn connectors(env: &Arc<Environment>) -> Vec<ConnectorRow> {
    join_all(
        env.profile
            .connectors
            .iter()
            .map(|(name, connector)| connector_row(env, name, connector)),
    )
    .await
}

async fn connector_row(env: &Arc<Environment>, name: &str, connector: &Connector) -> ConnectorRow {
    let lag = async {
        let mark = source(env, connector).mark(env, connector);
        let mark = tokio::time::timeout(PATIENCE, mark).await.ok()?.ok()??;
        Some((mark.retained.unwrap_or(0), mark.unconfirmed.unwrap_or(0)))
    };
    let limit = Limit::fixed(PATIENCE);
    let (status, lag) = tokio::join!(
        patiently(&limit, connect::probe_connector(env, name, connector)),
        lag
    );
    ConnectorRow {
        name: name.to_owned(),
        source: connector.source.clone(),
        status,
        retained_wal: lag.map(|(retained, _)| retained),
        unconfirmed_wal: lag.map(|(_, unconfirmed)| unconfirmed),
    }
}

async fn sinks(env: &Environment) -> Vec<SinkRow> {
    let limit = Limit::fixed(PATIENCE);
    let row = async |(name, sink): (&String, &Sink)| SinkRow {
        name: name.clone(),
        sink: sink.sink.clone(),
        status: patiently(&limit, connect::probe_tasks(env, name)).await,
    };
    join_all(env.profile.sinks.iter().map(row)).await
}

/// The flows. The broker and the target are asked at the same time.
pub(super) async fn flows(env: &Arc<Environment>) -> Vec<FlowRow> {
    let flows = env.profile.flows.iter();
    let read: Vec<(String, String)> = flows
        .map(|(_, flow)| (env.profile.topic(flow), flow.group.clone()))
        .collect();
    let positions = async {
        let client = kafka::client(env).await.ok()?;
        unread(&client, &read).await.ok()
    };
    let positions = tokio::time::timeout(PATIENCE, positions);
    let ends = async {
        // A type that can be a target may be a source here.
        let components = env.profile.components.values();
        let reached = components.filter(|it| env.profile.flows_to(&it.name).next().is_some());
        let targets = reached.filter_map(|it| of(it).target());
        let ends = join_all(targets.map(|target| target.ends(env, PATIENCE))).await;
        ends.into_iter().flatten().collect::<BTreeMap<_, _>>()
    };
    let drifts = env.profile.flows.iter().map(|(name, flow)| async move {
        let target = target(env, flow).ok()?;
        let drift = tokio::time::timeout(PATIENCE, target.drift(env, name, flow)).await;
        drift.ok()?.ok().filter(|it| !it.is_none())
    });
    let (positions, mut ends, drifts) = tokio::join!(positions, ends, join_all(drifts));
    let mut positions = positions.ok().flatten().unwrap_or_default().into_iter();
    let mut rows = Vec::new();
    for ((name, flow), drift) in env.profile.flows.iter().zip(drifts) {
        let positions = positions.next().flatten();
        let row = flow_row(env, name, flow, positions, ends.remove(name));
        rows.push(FlowRow { drift, ..row });
    }
    rows
}

fn flow_row(
    env: &Environment,
    name: &str,
    flow: &Flow,
    positions: Option<Unread>,
    end: Option<End>,
) -> FlowRow {
    FlowRow {
        name: name.to_owned(),
        connector: flow.connector.clone(),
        to: flow.to.clone(),
        messages: positions.map(|positions| positions.messages),
        lag: positions.map(|positions| positions.changes),
        silver: target(env, flow).map_or_else(|_| String::new(), |it| it.name(env, name)),
        rows: end.map(|end| end.rows),
        newest_ms: end
            .filter(|end| end.newest > 0)
            .map(|end| clock::now_ms().saturating_sub(end.newest)),
        errors: end.map(|end| end.errors),
        drift: None,
        topic: env.profile.topic(flow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_gave_up_is_not_taken_for_an_answer() {
        let limit = Limit::growing(Duration::from_secs(30));
        let seen = async |said: &str| {
            let probe = async { Status::in_progress(said) };
            patiently(&limit, probe).await.state
        };
        for said in [
            "ClickHouse at 127.0.0.1:8123 does not answer: operation timed out",
            "Connect at 127.0.0.1:8083 gives no answer within 20 s",
            "PostgreSQL at db:5432 does not answer: connection timed out",
        ] {
            assert_eq!(seen(said).await, State::Unknown, "{said}");
        }
        for said in [
            "ClickHouse at 127.0.0.1:8123 does not answer: connection refused",
            "MongoDB at db:27017: Server selection timeout: ... Connection refused (os error 111)",
        ] {
            assert_eq!(seen(said).await, State::InProgress, "{said}");
        }
    }
}
