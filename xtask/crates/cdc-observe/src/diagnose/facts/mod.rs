//! What was seen of an environment, as plain data: everything at once, each fact within what the machine
//! needs for one.

pub mod clickhouse;
mod complaints;
mod components;
mod connect;
mod instances;
mod kafka;
mod letters;
mod log;
mod logins;
pub mod mongodb;
pub mod mysql;
mod operated;
pub mod postgres;
pub(crate) mod resources;
mod services;
pub mod sqlserver;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use instances::{Ask, Gather, Row, ask};
pub use instances::{Instances, ServerFacts};
pub use log::Log;
pub use services::{Connect, Disk, Kafka, Node};

use super::{Subject, Unseen};
use crate::clock;
use crate::components::position::Position;
use crate::components::read_by_class;
use crate::components::target::Drift;
use crate::environment::Environment;
use crate::observe::status;
use crate::platform::Platform;
use crate::readiness::{State, Status};
use crate::reconcile::report::TableReport;
use crate::wait::Limit;

/// How long a fact may take at the most, where nothing else is asked for. A machine at work answers within
/// two seconds, and is waited for no longer.
pub const WAIT: Duration = Duration::from_secs(30);

/// Every type whose servers say something of themselves.
const TYPES: &[Ask] = &[
    ask::<postgres::Postgres>,
    ask::<mongodb::Mongodb>,
    ask::<mysql::Mysql>,
    ask::<sqlserver::Sqlserver>,
    ask::<clickhouse::Clickhouse>,
];

/// A fact, or why it is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Known<T> {
    /// It was seen.
    Seen(T),
    /// It was not, for this reason.
    Unknown(String),
}

impl<T> Known<T> {
    /// The fact, if it is known.
    pub fn seen(&self) -> Option<&T> {
        match self {
            Known::Seen(fact) => Some(fact),
            Known::Unknown(_) => None,
        }
    }
}

impl<T> Known<Option<T>> {
    /// The fact where there is one; one that is not known may be there.
    fn transpose(self) -> Option<Known<T>> {
        match self {
            Known::Seen(fact) => fact.map(Known::Seen),
            Known::Unknown(why) => Some(Known::Unknown(why)),
        }
    }
}

impl<T, E: std::fmt::Display> From<Result<T, E>> for Known<T> {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(fact) => Known::Seen(fact),
            Err(error) => Known::Unknown(error.to_string()),
        }
    }
}

/// Everything that the rules judge.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// Profile.
    pub profile: String,
    /// Platform.
    pub platform: Platform,
    /// When, in milliseconds since the epoch.
    pub at: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Components of the profile.
    pub components: Vec<Component>,
    /// Connectors: the profile's, and others that Connect has.
    pub connectors: Vec<Connector>,
    /// Flows of the profile.
    pub flows: Vec<Flow>,
    /// What the servers say of themselves, by the names of their instances.
    pub servers: Instances,
    /// The worker.
    pub connect: Known<Connect>,
    /// The broker.
    pub kafka: Known<Kafka>,
    /// Whether the operator of Kafka and Connect works, where there is one.
    pub operator: Option<Known<Status>>,
    /// The cluster's nodes in trouble; none where there is no cluster, or they may not be looked at.
    pub nodes: Option<Known<Vec<Node>>>,
    /// Changes that the operator passed over, by component, while it waited for something; none where
    /// no operator's component fails.
    pub passed_over: Option<Known<BTreeMap<String, Vec<String>>>>,
    /// What the operator's resources say; none where no operator runs anything.
    pub resources: Option<Known<Vec<Resource>>>,
    /// Whether the workers run the image that its name means; none where nobody here knows.
    pub image: Option<Known<Status>>,
    /// Room on this machine, on `host`.
    pub disk: Option<Known<Disk>>,
    /// The rows of flows that were compared: `diagnose --data` asks for it, as it reads whole tables. Left out of
    /// a bundle, for they have rows' keys.
    #[serde(skip)]
    pub rows: Vec<TableReport>,
}

impl Facts {
    /// The component of this name.
    pub fn component(&self, name: &str) -> Option<&Component> {
        let mut components = self.components.iter();
        components.find(|component| component.name == name)
    }

    /// Where a component's keys are in the profile.
    pub fn path<'a>(&'a self, name: &'a str) -> &'a str {
        self.component(name).map_or(name, |it| &it.path)
    }

    /// The connector of this name.
    pub fn connector(&self, name: &str) -> Option<&Connector> {
        let mut connectors = self.connectors.iter();
        connectors.find(|connector| connector.name == name)
    }

    /// The instances of a type that answered, with their names.
    pub fn all<T: ServerFacts>(&self) -> impl Iterator<Item = (&str, &T)> {
        self.servers.all()
    }

    /// What could not be seen.
    pub(super) fn unknown(&self) -> Vec<Unseen> {
        fn why<T>(fact: &str, known: Option<&Known<T>>) -> Option<Unseen> {
            match known? {
                Known::Seen(_) => None,
                Known::Unknown(why) => Some(Unseen {
                    fact: fact.to_owned(),
                    why: why.clone(),
                }),
            }
        }
        let services = self
            .components
            .iter()
            .filter_map(|it| match it.name.as_str() {
                "connect" => why("connect", Some(&self.connect)),
                "kafka" => why("kafka", Some(&self.kafka)),
                name => why(name, self.servers.get(name)),
            });
        let others = [
            why("operator", self.operator.as_ref()),
            why("nodes", self.nodes.as_ref()),
            why("operator's log", self.passed_over.as_ref()),
            why("operator's resources", self.resources.as_ref()),
            why("image", self.image.as_ref()),
            why("disk", self.disk.as_ref()),
        ];
        let offsets = self.connectors.iter().filter_map(|connector| {
            let fact = format!("offsets of {}", connector.name);
            why(&fact, connector.committed.as_ref())
        });
        let components = self.components.iter().filter(|it| it.is_unheard());
        let components = components.map(|it| Unseen {
            fact: format!("whether {} works", it.name),
            why: it.status.message.clone(),
        });
        let rows = self.rows.iter().filter_map(|table| {
            let why = table.why_not_compared()?;
            let fact = format!("rows of flow {}", table.table);
            Some(Unseen { fact, why })
        });
        let whole = services.chain(others.into_iter().flatten());
        components.chain(whole).chain(offsets).chain(rows).collect()
    }
}

/// What the operator says of one of its resources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resource {
    /// What it is the resource of.
    pub subject: Subject,
    /// Kind and name.
    pub object: String,
    /// Why the operator did not submit it, where that does not pass by itself.
    pub refused: Option<Status>,
    /// For how many seconds the operator has not taken up its newest specification; none if it has.
    pub untaken_s: Option<u64>,
}

/// One component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Component {
    /// Name.
    pub name: String,
    /// Its type.
    pub kind: &'static str,
    /// Where its keys are in the profile.
    pub path: String,
    /// Whether the user runs it.
    pub external: bool,
    /// Whether it works, by its protocol; else why not, as its platform tells it.
    pub status: Status,
    /// Its process on this machine.
    pub process: Process,
    /// Whether its pods are being made: none of their containers has begun yet.
    pub is_being_made: bool,
    /// Who else has its port, while it has no process of its own.
    pub port_taken: Option<String>,
    /// The most telling lines of its log, while it does not work.
    pub log: Vec<String>,
}

impl Component {
    /// Whether it was not heard in time, and may work all the same: who was asked had no time to answer.
    fn is_unheard(&self) -> bool {
        self.status.state == State::Unknown
    }

    /// Whether it does not work.
    pub(super) fn is_silent(&self) -> bool {
        self.status.state != State::Current && !self.is_unheard()
    }
}

/// A component's process on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Process {
    /// It has none here: it runs on a cluster, or the user runs it.
    Elsewhere,
    /// It was never started, or was stopped by this tool.
    None,
    /// It runs.
    Running(u32),
    /// It is suspended.
    Suspended(u32),
    /// It has ended, and this tool did not stop it.
    Ended(u32),
}

/// One connector.
#[derive(Clone, Debug, Serialize)]
pub struct Connector {
    /// Name.
    pub name: String,
    /// What the profile says; none for a connector that it does not have.
    pub wanted: Option<Wanted>,
    /// `source` or `sink`; none while Connect does not tell.
    pub kind: Option<String>,
    /// Plugin class that the profile or, for others, its configuration names.
    pub class: String,
    /// Its own state; none where Connect does not have it or does not tell.
    pub state: Option<String>,
    /// Stack trace of its own failure.
    pub trace: Option<String>,
    /// Its tasks.
    pub tasks: Vec<Task>,
    /// Keys of its configuration that are not as the profile wants them.
    pub drift: Vec<String>,
    /// Why the operator did not submit it.
    pub refused: Option<Status>,
    /// Its committed place; none while Connect does not tell, or there is no such connector.
    pub committed: Option<Known<Place>>,
    /// How long ago its newest heartbeat came, in milliseconds.
    pub heartbeat_age_ms: Option<u64>,
    /// The topic that it puts records aside in; none of a source, or where it has none.
    pub dead_letters: Option<DeadLetters>,
    /// Whether its source takes its login as this tool knows it; none where nothing speaks of a login, or
    /// nobody tells.
    pub login_works: Option<bool>,
    /// What the worker warned of lately, while the connector is said to run and gives no sign of life.
    pub complaints: Vec<String>,
    /// A reset of it that was begun, is not finished, and that no command works on.
    pub reset: Option<Reset>,
}

/// A reset that is not finished, as far as its command follows from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Reset {
    /// What was chosen when it began.
    pub choice: ResetChoice,
}

/// What may be chosen of a reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ResetChoice {
    /// The target's tables are emptied.
    pub truncate_target: bool,
    /// The publication is dropped.
    pub drop_publication: bool,
}

impl ResetChoice {
    /// The command that finishes a reset which was begun so: with other choices it would be refused.
    pub fn command(self, connector: &str) -> String {
        let mut command = format!("cargo xtask reset-connector {connector}");
        if self.truncate_target {
            command += " --truncate-target";
        }
        if self.drop_publication {
            command += " --drop-publication";
        }
        command
    }
}

impl Connector {
    /// Whether a person paused or stopped it.
    pub fn is_resting(&self) -> bool {
        matches!(self.state.as_deref(), Some("PAUSED" | "STOPPED"))
    }

    /// Whether it and its tasks are said to run.
    pub fn is_running(&self) -> bool {
        self.state.as_deref() == Some("RUNNING")
            && !self.tasks.is_empty()
            && self.tasks.iter().all(|task| task.state == "RUNNING")
    }

    /// What it reads: by the profile, else by its class; none of a sink, and of a class that is not known.
    pub fn source(&self) -> Option<&'static str> {
        match &self.wanted {
            Some(wanted) => (!wanted.writes).then_some(wanted.kind),
            None => read_by_class(&self.class).map(|kind| kind.name),
        }
    }

    /// Whether the profile has it read this component.
    pub fn reads(&self, component: &str) -> bool {
        let wanted = self.wanted.as_ref();
        wanted.is_some_and(|it| !it.writes && it.component == component)
    }

    /// Whether it has a place that is none of a snapshot: it reads its source's log.
    pub fn streams(&self) -> bool {
        let place = self.committed.as_ref().and_then(Known::seen);
        let position = place.and_then(|place| place.position.as_ref());
        position.is_some_and(|position| !position.snapshot)
    }

    /// The traces of what has failed.
    pub fn traces(&self) -> impl Iterator<Item = &str> {
        let own = (self.state.as_deref() == Some("FAILED")).then_some(self.trace.as_deref());
        let tasks = self.tasks.iter().filter(|task| task.state == "FAILED");
        let tasks = tasks.map(|task| task.trace.as_deref());
        own.into_iter()
            .chain(tasks)
            .map(|trace| trace.unwrap_or_default())
    }
}

/// What a sink put aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetters {
    /// The topic.
    pub topic: String,
    /// How many records are in it; none while the broker does not tell.
    pub records: Option<i64>,
}

/// What the profile says of a connector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// The component that it reads, or writes to.
    pub component: String,
    /// That component's type.
    pub kind: &'static str,
    /// Whether it writes to it.
    pub writes: bool,
    /// Its slot.
    pub slot: Option<String>,
    /// Its publication.
    pub publication: Option<String>,
    /// The tables that its flows read.
    pub tables: Vec<String>,
    /// The user that it logs in as.
    pub user: String,
    /// Whether `up` makes that user and gives it its rights.
    pub own_user: bool,
    /// The profile's key that holds its password; none where `up` sets it at the source.
    pub password_key: Option<String>,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Task {
    /// Number.
    pub id: u32,
    /// State.
    pub state: String,
    /// Stack trace of its failure.
    pub trace: Option<String>,
}

/// A committed place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// As Connect keeps it; null where nothing is committed.
    pub offset: serde_json::Value,
    /// Its meaning, where it is one that the tool can read.
    pub position: Option<Position>,
}

/// One flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flow {
    /// Name.
    pub name: String,
    /// Its connector.
    pub connector: String,
    /// The sink that writes it; none where its target reads the topic itself.
    pub sink: Option<String>,
    /// The component that it arrives at.
    pub target: Option<String>,
    /// Its topic.
    pub topic: String,
    /// The target's consumer group.
    pub group: String,
    /// Whether the topic exists; none while the broker does not tell.
    pub topic_exists: Option<bool>,
    /// Messages in the topic.
    pub messages: Option<i64>,
    /// The group's state.
    pub group_state: Option<String>,
    /// Members of the group.
    pub members: Option<usize>,
    /// Messages of the flow's topics, heartbeats among them, that the group has not read.
    pub unread: Option<i64>,
    /// Whether the group read anything while it was watched.
    pub reads: Option<bool>,
    /// Messages that the target could not take.
    pub errors: Option<u64>,
    /// Those of them that wait for what becomes of a column.
    pub waiting: u64,
    /// What has to become of its table's columns; none while its source or its target does not tell.
    pub drift: Option<Drift>,
    /// The newest of them: where it came from, and why.
    pub newest_error: Option<String>,
    /// How old the newest row at the target is, in milliseconds.
    pub newest_ms: Option<u64>,
}

/// Gathers everything, concurrently, and waits for none of it for longer than `wait`.
pub async fn gather(env: &Arc<Environment>, wait: Duration) -> Facts {
    let begin = Instant::now();
    let limit = &Limit::growing(wait);
    let operated = async {
        tokio::join!(
            operated::operator(env, limit),
            operated::nodes(env, limit),
            operated::ignored(env, limit),
            operated::image(env, limit),
            resources::gather(env, limit)
        )
    };
    let [worker, broker] = ["connect", "kafka"].map(|name| patience(env, name, limit));
    let (components, servers, connect, kafka, operated) = tokio::join!(
        components::gather(env, limit),
        instances::gather(env, limit),
        connect::gather(env, &worker),
        kafka::gather(env, &broker),
        operated,
    );
    let ((connect, connectors), (kafka, flows, ages)) = (connect, kafka);
    let (servers, rows) = servers;
    let (operator, nodes, passed_over, image, resources) = operated;
    let mut facts = Facts {
        profile: env.name.clone(),
        platform: env.platform,
        at: clock::now_ms(),
        took_ms: 0,
        operator,
        nodes,
        passed_over: passed_over.filter(|_| operated::is_needed(&components)),
        image,
        resources,
        components,
        connectors,
        flows,
        servers,
        connect,
        kafka,
        disk: (env.platform == Platform::Host).then(|| components::disk(env)),
        rows: Vec::new(),
    };
    let resources = facts.resources.as_ref().and_then(Known::seen);
    for connector in &mut facts.connectors {
        connector.heartbeat_age_ms = ages.get(&connector.name).copied();
        let subject = Subject::Connector(connector.name.clone());
        let own = resources.and_then(|all| all.iter().find(|it| it.subject == subject));
        connector.refused = own.and_then(|it| it.refused.clone());
    }
    instances::fill(&mut facts.flows, rows);
    complaints::add(env, &mut facts.connectors, limit).await;
    logins::add(env, &mut facts.connectors, limit).await;
    facts.servers.confirm(env, &facts.connectors, limit).await;
    letters::count(env, &mut facts.connectors, &broker).await;
    facts.took_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    facts
}

/// How long a component is waited for: of what does not run there is nothing to wait for.
fn patience(env: &Environment, name: &str, limit: &Limit) -> Limit {
    match status::is_at_rest(env, name) {
        true => limit.short(),
        false => limit.clone(),
    }
}

/// The fact, unless it takes too long.
pub async fn limited<T, E: std::fmt::Display>(
    limit: &Limit,
    fact: impl Future<Output = Result<T, E>>,
) -> Known<T> {
    match limit.within(fact).await {
        Ok(result) => result.into(),
        Err(late) => Known::Unknown(late.to_string()),
    }
}
