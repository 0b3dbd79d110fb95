//! The topics that a profile's flows need, on every platform the same.

use std::collections::BTreeMap;

use super::Profile;

/// How dead letter queues are called where topics have rights: Kafka knows names by their beginning
/// only.
pub const QUEUES: &str = "dlq.";

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

/// One topic for each table, one for each connector's heartbeats, sorted by name. Connect makes its
/// own three.
pub fn topics(profile: &Profile) -> Vec<Topic> {
    let mut topics = BTreeMap::new();
    for flow in profile.flows.values() {
        topics.insert(
            profile.topic(flow),
            BTreeMap::from([("cleanup.policy", "delete")]),
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
    }
    topics
        .into_iter()
        .map(|(name, config)| Topic { name, config })
        .collect()
}
