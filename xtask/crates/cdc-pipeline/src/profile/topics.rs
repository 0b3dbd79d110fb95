//! The topics that a profile's flows need, on every platform the same.

use std::collections::BTreeMap;

use super::Profile;
use super::schema::Connector;

/// How dead letter queues are called where topics have rights: Kafka knows names by their beginning
/// only.
pub const QUEUES: &str = "dlq.";

/// The most that one change may have, in bytes: a row of 16 MB as it is and as it was, and some room. What makes a
/// change, the topic that takes it and what reads it must agree.
pub const MOST_BYTES: &str = "41943040";

/// The group in which Connect reads for a sink, unless its configuration names another.
pub fn sink_group(sink: &str) -> String {
    format!("connect-{sink}")
}

/// A topic with its settings. Partitions and replicas are the brokers' defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub config: BTreeMap<&'static str, &'static str>,
}

/// The topics of a connector that can read some of its tables again while it streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rereads {
    /// Where this tool notes which tables it captures.
    pub tables: String,
    /// Where the connector tells how far it is.
    pub notifications: String,
}

impl Profile {
    /// The topics that go with this connector's reading some of its tables again; none where it cannot.
    pub fn rereads(&self, connector: &Connector) -> Option<Rereads> {
        let read = self.any(&connector.source)?.kind.source.as_ref()?;
        let prefix = &connector.prefix;
        read.rereads.then(|| Rereads {
            tables: format!("__debezium-tables.{prefix}"),
            notifications: format!("__debezium-notifications.{prefix}"),
        })
    }
}

/// One topic for each table, one for each connector's heartbeats, two for the tables that it reads again, sorted
/// by name. Connect makes its own three.
pub fn topics(profile: &Profile) -> Vec<Topic> {
    let mut topics = BTreeMap::new();
    for flow in profile.flows.values() {
        topics.insert(
            profile.topic(flow),
            BTreeMap::from([
                ("cleanup.policy", "delete"),
                // A broker of the user's own has another default.
                ("max.message.bytes", MOST_BYTES),
            ]),
        );
        // Only the newest beats matter: the smallest segments, and none of them for long.
        topics.insert(
            profile.heartbeat_topic(flow),
            BTreeMap::from([
                ("cleanup.policy", "delete"),
                ("retention.ms", "600000"),
                ("segment.bytes", "1048576"),
            ]),
        );
        let connector = profile.connectors.get(&flow.connector);
        if let Some(rereads) = connector.and_then(|it| profile.rereads(it)) {
            // Only the newest note counts.
            topics.insert(
                rereads.tables,
                BTreeMap::from([("cleanup.policy", "compact")]),
            );
            topics.insert(
                rereads.notifications,
                BTreeMap::from([
                    ("cleanup.policy", "delete"),
                    ("retention.bytes", "268435456"),
                ]),
            );
        }
    }
    let outboxes = profile.connectors.values();
    for outbox in outboxes.filter_map(|it| it.outbox.as_ref()) {
        // A projection can be replayed as long as all events are there.
        topics.insert(
            outbox.topic.clone(),
            BTreeMap::from([
                ("cleanup.policy", "delete"),
                ("max.message.bytes", MOST_BYTES),
                ("retention.ms", "-1"),
            ]),
        );
    }
    for projection in profile.projections.values() {
        topics.insert(
            projection.queue.clone(),
            BTreeMap::from([
                ("cleanup.policy", "delete"),
                ("max.message.bytes", MOST_BYTES),
            ]),
        );
    }
    topics
        .into_iter()
        .map(|(name, config)| Topic { name, config })
        .collect()
}
