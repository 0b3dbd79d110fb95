//! What a profile may hold, but for the settings of databases: each of their types has them in its
//! own `settings`.
//!
//! There are no defaults here: `profiles/defaults.yaml` and `profiles/versions.yaml` give every
//! key, so that a value's origin can always be shown.

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::columns::{ColumnRule, SchemaChange, Unfit};
use super::component::{Instance, Types};
use super::parts::{DEBEZIUM, Part};
use super::ssl::SslMode;

/// The expanded profile.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Where components run.
    pub platform: PlatformChoice,
    /// The types that components may be of.
    #[serde(skip)]
    pub types: Types,
    /// Pins, from `profiles/versions.yaml`.
    #[serde(skip)]
    pub versions: Versions,
    /// What every component on Kubernetes shares.
    pub kubernetes: Kubernetes,
    /// The cluster that the tool creates.
    pub kind: Kind,
    /// The broker.
    pub kafka: Kafka,
    /// The Connect worker.
    pub connect: Connect,
    /// Components by name, Kafka and Connect among them.
    #[serde(skip)]
    pub components: IndexMap<String, Instance>,
    /// What the profile says of types of which it has no component: no more than checked.
    #[serde(skip)]
    pub idle: Vec<Instance>,
    /// Source connectors by name.
    pub connectors: IndexMap<String, Connector>,
    /// Sink connectors by name: those of `connectors` that name a `sink`.
    #[serde(skip)]
    pub sinks: IndexMap<String, Sink>,
    /// Tables that flow from a source to a target, by name.
    pub flows: IndexMap<String, Flow>,
    /// Tables that events of an outbox add up in, by name.
    pub projections: IndexMap<String, Projection>,
}

/// Where components run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PlatformChoice {
    /// `kind` where a Docker engine answers, else `host`.
    Auto,
    /// Processes on this machine.
    Host,
    /// A Kind cluster that the tool creates.
    Kind,
    /// An existing cluster.
    Kubernetes,
}

impl PlatformChoice {
    /// Whether components are pods there.
    pub fn is_cluster(self) -> bool {
        match self {
            PlatformChoice::Kind | PlatformChoice::Kubernetes => true,
            PlatformChoice::Host | PlatformChoice::Auto => false,
        }
    }
}

/// Pins of everything that is downloaded, by the parts' keys.
#[derive(Clone, Debug, Default)]
pub struct Versions(pub(super) IndexMap<String, String>);

impl Versions {
    /// The version of a part: a plugin without one of its own has Debezium's. Empty for what no profile pins.
    pub fn of(&self, part: &Part) -> &str {
        let own = self.0.get(part.key);
        let shared = || part.plugin_name().and_then(|_| self.0.get(DEBEZIUM.key));
        own.or_else(shared).map_or("", String::as_str)
    }

    /// The version of a plugin, by its name in `images/connect/plugins.yaml`.
    pub fn plugin(&self, name: &str) -> &str {
        let own = self.0.get(&format!("plugins.{name}"));
        own.map_or_else(|| self.of(&DEBEZIUM), String::as_str)
    }
}

/// Settings that are passed through by their own names.
pub type Settings = IndexMap<String, String>;

/// A password from a profile. It never appears in debug output.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

/// What every component on Kubernetes shares.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kubernetes {
    /// Context of the kubeconfig.
    pub context: Option<String>,
    /// Namespace of Kafka and Connect.
    pub kafka_namespace: String,
    /// Namespace of the databases.
    pub database_namespace: String,
    /// Storage class of every volume; none is the cluster's default.
    pub storage_class: Option<String>,
    /// Whether the brokers' volumes outlive them.
    pub keep_volumes: bool,
    /// How strictly a component's members keep to different nodes.
    pub spread: Spread,
}

/// How strictly a component's members keep to different nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Spread {
    /// Where there are as many.
    Preferred,
    /// A member without a node of its own is not scheduled.
    Required,
}

/// The cluster that the tool creates.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    /// Its name; none is derived from the profile's.
    pub name: Option<String>,
    /// Nodes, the control plane among them.
    pub nodes: u16,
    /// This machine's port for a web UI that users bring.
    pub web_port: Option<u16>,
    /// Ports of the node that lead to services: to the components of those types that have one, and to a web
    /// UI of the user's.
    pub node_ports: IndexMap<String, u16>,
}

/// The port of a Kind node that a web UI of the user's gets.
pub const WEB: &str = "web";

impl Kind {
    /// The port of the node that leads to what has this name.
    pub fn node_port(&self, name: &str) -> Option<u16> {
        self.node_ports.get(name).copied()
    }
}

/// What a container asks the scheduler for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Requested processor time, which is no limit.
    pub cpu: String,
    /// Memory: request and limit.
    pub memory: String,
}

/// How clients talk to Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KafkaSecurity {
    /// Unencrypted, without login.
    Plain,
    /// TLS and SCRAM-SHA-512, with rights by topic.
    Scram,
}

/// How clients log in at brokers that the user runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Sasl {
    /// With the password itself.
    #[serde(rename = "plain")]
    Plain,
    /// With SCRAM and SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// With SCRAM and SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

/// Kafka, one KRaft node on `host`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// The component's name.
    #[serde(skip)]
    pub name: String,
    /// Address of a broker that the tool does not run.
    pub external: Option<String>,
    /// How connections to it are encrypted.
    pub sslmode: SslMode,
    /// File of the certificates that sign its own, in PEM.
    pub sslrootcert: Option<String>,
    /// How clients log in at it; none where it asks nobody.
    pub sasl: Option<Sasl>,
    /// The user that they log in as, this tool among them.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Password>,
    /// Client port.
    pub port: u16,
    /// KRaft controller port.
    pub controller_port: u16,
    /// JVM heap, as `-Xmx` takes it.
    pub heap: String,
    /// More broker settings.
    pub config: Settings,
    /// Brokers (Kubernetes).
    pub replicas: u16,
    /// How clients talk to it (Kubernetes).
    pub security: KafkaSecurity,
    /// What a broker asks for (Kubernetes).
    pub resources: Resources,
    /// A broker's volume (Kubernetes).
    pub storage: String,
}

/// Kafka Connect.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connect {
    /// The component's name.
    #[serde(skip)]
    pub name: String,
    /// REST port.
    pub port: u16,
    /// JVM heap, as `-Xmx` takes it.
    pub heap: String,
    /// Worker group.
    pub group: String,
    /// Plugins beside those of the profile's own connectors.
    pub plugins: Vec<ExtraPlugin>,
    /// More worker settings.
    pub config: Settings,
    /// Workers (Kubernetes).
    pub replicas: u16,
    /// An image that the tool does not build (Kubernetes).
    pub image: Option<String>,
    /// Where a built image is pushed (Kubernetes).
    pub registry: Option<String>,
    /// What a worker asks for (Kubernetes).
    pub resources: Resources,
}

/// A plugin that no connector of a profile needs: for connectors that users register themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExtraPlugin {
    /// Debezium's JDBC sink.
    Jdbc,
}

/// A Debezium source connector.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connector {
    /// The component that it reads.
    pub source: String,
    /// `topic.prefix`.
    pub prefix: String,
    /// Replication slot (PostgreSQL only).
    pub slot: Option<String>,
    /// Publication (PostgreSQL only).
    pub publication: Option<String>,
    /// A table whose rows are events: they go to a topic of their own, and the table is no flow.
    pub outbox: Option<Outbox>,
    /// More connector settings; they win over the template's.
    pub config: Settings,
}

/// A transactional outbox: an application inserts an event in the transaction that makes it true, and Debezium's event
/// router sends it on. Its columns are the router's defaults: `id`, `aggregatetype`, `aggregateid`, `type`, `payload`
/// (<https://debezium.io/documentation/reference/stable/transformations/outbox-event-router.html>).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbox {
    /// The table, as a flow names one.
    pub table: String,
    /// The topic that its events arrive in.
    pub topic: String,
}

/// What the events of an outbox add up to, a row for each key: how many there are, and sums of their fields.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Projection {
    /// The outbox's topic.
    pub topic: String,
    /// The types of events that count.
    pub events: Vec<String>,
    /// The component that has the table: a PostgreSQL.
    pub into: String,
    /// The table, as a flow names one.
    pub table: String,
    /// The field of an event's payload that its rows are told apart by, and the table's key.
    pub key: String,
    /// The column that counts events.
    pub count: String,
    /// Columns, each with the field of an event's payload that it adds up.
    #[serde(default)]
    pub sum: IndexMap<String, String>,
    /// The topic of events that cannot be added up.
    pub queue: String,
    /// A query at the outbox's database that gives the table's columns as they should be.
    pub truth: String,
}

/// A sink connector: it writes topics to a component.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sink {
    /// The component that it writes to.
    pub sink: String,
    /// How many tasks share the topics' partitions.
    pub tasks: u16,
    /// The topic of records that it cannot write; without one such a record stops it.
    pub queue: Option<String>,
    /// More connector settings; they win over the template's.
    #[serde(default)]
    pub config: Settings,
}

/// What silver keeps of a key's changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The newest version.
    Latest,
    /// Every change.
    Every,
}

/// One table's way from the source to silver.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// The connector that captures it.
    pub connector: String,
    /// `schema.table` or `database.collection`.
    pub table: String,
    /// What silver keeps.
    pub keep: Keep,
    /// Key columns, as the source calls them.
    pub key: Vec<String>,
    /// Consumer group of the bronze queue.
    pub group: String,
    /// Exactly the columns that arrive, in order; without any, all of the source's do.
    #[serde(default)]
    pub columns: IndexMap<String, ColumnRule>,
    /// What differs where all of the source's arrive.
    #[serde(default, rename = "override")]
    pub overrides: IndexMap<String, ColumnRule>,
    /// Columns of the source that are left out where all others arrive.
    #[serde(default)]
    pub omit: Vec<String>,
    /// What becomes of values that a column's type cannot hold, of the columns that can have it.
    #[serde(default)]
    pub unfit: Unfit,
    /// What becomes of columns that the source gets later, where all of them arrive.
    #[serde(default)]
    pub schema: SchemaChange,
    /// The sink connector that writes it; none arrives at the component that reads the topics itself.
    pub to: Option<String>,
    /// Text columns of the row that gates and `verify` send through, `{id}` standing for a unique
    /// number; its key is a number that no sequence gives. None leaves the flow without a canary.
    pub canary: Option<Settings>,
}

impl Profile {
    /// The topic that a flow's changes arrive in: `<prefix>.<table>`, Debezium's naming.
    pub fn topic(&self, flow: &Flow) -> String {
        match self.connectors.get(&flow.connector) {
            Some(connector) => format!("{}.{}", connector.prefix, flow.table),
            None => flow.table.clone(),
        }
    }

    /// The topic of the heartbeats of a flow's connector, Debezium's naming.
    pub fn heartbeat_topic(&self, flow: &Flow) -> String {
        let prefix = self
            .connectors
            .get(&flow.connector)
            .map_or("", |connector| connector.prefix.as_str());
        format!("__debezium-heartbeat.{prefix}")
    }

    /// The plugins of the profile's connectors, each once.
    pub fn plugins(&self) -> Vec<&'static Part> {
        let read = self.components.values().filter(|it| {
            let mut connectors = self.connectors.values();
            connectors.any(|connector| connector.source == it.name)
        });
        let mut plugins: Vec<&Part> = Vec::new();
        for source in read.filter_map(|it| it.kind.source.as_ref()) {
            if !plugins.contains(&source.plugin) {
                plugins.push(source.plugin);
            }
        }
        let written = self.sinks.values();
        let written = written.filter_map(|sink| self.components.get(&sink.sink));
        for sink in written.filter_map(|it| it.kind.sink.as_ref()) {
            if !plugins.contains(&sink.plugin) {
                plugins.push(sink.plugin);
            }
        }
        plugins
    }

    /// The names of all connectors, sources before sinks.
    pub fn connector_names(&self) -> impl Iterator<Item = &String> {
        self.connectors.keys().chain(self.sinks.keys())
    }

    /// The component that reads topics itself: flows that name no sink arrive there.
    pub fn reader(&self) -> Option<&Instance> {
        let mut components = self.components.values();
        components.find(|it| it.kind.reads_topics.is_some())
    }

    /// The component that a flow arrives at, through a sink.
    pub fn written(&self, flow: &Flow) -> Option<&Instance> {
        let sink = self.sinks.get(flow.to.as_ref()?)?;
        self.components.get(&sink.sink)
    }

    /// The sinks that write to a component.
    pub fn sinks_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a String, &'a Sink)> {
        self.sinks.iter().filter(move |(_, sink)| sink.sink == name)
    }

    /// The flows that arrive at a component: through sinks, or where it reads the topics itself.
    pub fn flows_to<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a String, &'a Flow)> {
        let own = self.components.get(name);
        let reads = own.is_some_and(|it| it.kind.reads_topics.is_some());
        let of = move |flow: &Flow| match self.written(flow) {
            Some(written) => written.name == name,
            None => reads,
        };
        self.flows.iter().filter(move |(_, flow)| of(flow))
    }

    /// The tables that a connector captures: those of its flows, and its outbox.
    pub fn captured<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let flows = self.flows.values().filter(move |it| it.connector == name);
        let connector = self.connectors.get(name);
        let outbox = connector.and_then(|it| it.outbox.as_ref());
        flows
            .map(|it| it.table.as_str())
            .chain(outbox.map(|it| it.table.as_str()))
    }

    /// The connector that reads the outbox of this topic, with its name.
    pub fn outbox_of(&self, topic: &str) -> Option<(&String, &Connector)> {
        let mut connectors = self.connectors.iter();
        connectors.find(|(_, it)| it.outbox.as_ref().is_some_and(|it| it.topic == topic))
    }

    /// The component that a flow reads.
    pub fn source(&self, flow: &Flow) -> Option<&Instance> {
        let connector = self.connectors.get(&flow.connector)?;
        self.components.get(&connector.source)
    }

    /// The flows from a component.
    pub fn flows_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a String, &'a Flow)> {
        let of = move |flow: &Flow| self.source(flow).is_some_and(|it| it.name == name);
        self.flows.iter().filter(move |(_, flow)| of(flow))
    }

    /// Leaves out a component with its connectors and their flows.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.components.shift_remove(name);
        self.connectors
            .retain(|_, connector| connector.source != name);
        self.sinks.retain(|_, sink| sink.sink != name);
        let (connectors, sinks) = (&self.connectors, &self.sinks);
        self.flows.retain(|_, flow| {
            let written = flow.to.as_ref().is_none_or(|to| sinks.contains_key(to));
            written && connectors.contains_key(&flow.connector)
        });
        self
    }
}

#[cfg(test)]
mod tests {

    use crate::components::load;
    use crate::profile::Selection;

    /// Each component that flows arrive at, with them.
    fn arrivals(profile: &str) -> Vec<(String, Vec<String>)> {
        let root = crate::repository();
        let selection = Selection {
            profile: profile.into(),
            set: Vec::new(),
        };
        let profile = load(root, &selection).expect("a profile").profile;
        let flows = |name: &String| {
            let flows = profile.flows_to(name).map(|(flow, _)| flow.clone());
            (name.clone(), flows.collect::<Vec<_>>())
        };
        let all = profile.components.keys().map(flows);
        all.filter(|(_, flows)| !flows.is_empty()).collect()
    }

    #[test]
    fn flows_arrive_where_they_are_written_or_read_and_nowhere_else() {
        let to = |name: &str, flows: &[&str]| {
            let flows = flows.iter().map(|flow| (*flow).to_owned());
            vec![(name.to_owned(), flows.collect::<Vec<_>>())]
        };
        assert_eq!(
            arrivals("clickhouse"),
            to("clickhouse", &["users", "events"])
        );
        assert_eq!(
            arrivals("warehouse"),
            to("warehouse", &["customers", "orders", "line_items"])
        );
    }
}
