//! Which broker is responsible for what, and which address leads to it. No IO.

use std::collections::{BTreeMap, HashMap};

use kafka_protocol::messages::MetadataResponse;

/// A broker as the cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// The broker's node id.
    pub id: i32,
    /// The advertised host, which need not be reachable from here.
    pub host: String,
    /// The advertised port.
    pub port: u16,
}

impl Broker {
    /// The advertised `host:port`.
    pub fn advertised(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Where to dial, and whom to expect there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Destination {
    /// The `host:port` to dial.
    pub(super) address: String,
    /// The host that the expected broker advertises; `None` where any broker may answer.
    pub(super) advertised_host: Option<String>,
}

impl Destination {
    /// Whichever broker answers at `address`.
    pub(super) fn any(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            advertised_host: None,
        }
    }
}

/// What the latest metadata answers said.
#[derive(Debug, Default)]
pub(super) struct RoutingTable {
    brokers: BTreeMap<i32, Broker>,
    leaders: HashMap<String, BTreeMap<i32, i32>>,
}

impl RoutingTable {
    /// Takes over the brokers, and the leaders of the topics that `metadata` mentions.
    pub(super) fn absorb(&mut self, metadata: &MetadataResponse) {
        self.brokers.clear();
        for broker in &metadata.brokers {
            self.add_broker(broker.node_id.0, &broker.host, broker.port);
        }
        for topic in &metadata.topics {
            let Some(name) = &topic.name else { continue };
            let leaders = topic
                .partitions
                .iter()
                // -1: no leader at the moment.
                .filter(|partition| partition.leader_id.0 >= 0)
                .map(|partition| (partition.partition_index, partition.leader_id.0))
                .collect();
            self.leaders.insert(name.to_string(), leaders);
        }
    }

    /// Adds or replaces one broker. A port outside of 16 bits becomes 0, which cannot be dialled.
    pub(super) fn add_broker(&mut self, id: i32, host: &str, port: i32) {
        let broker = Broker {
            id,
            host: host.to_owned(),
            port: u16::try_from(port).unwrap_or(0),
        };
        self.brokers.insert(id, broker);
    }

    /// The brokers, by id.
    pub(super) fn brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values()
    }

    /// Where a broker advertises itself.
    pub(super) fn advertised(&self, id: i32) -> Option<String> {
        self.brokers.get(&id).map(Broker::advertised)
    }

    /// The broker that leads a partition, if known.
    pub(super) fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        self.leaders.get(topic)?.get(&partition).copied()
    }

    /// Forgets the leaders of a topic, so that the next request asks for them.
    pub(super) fn forget(&mut self, topic: &str) {
        self.leaders.remove(topic);
    }

    /// Where to dial for a broker: what `route` says; else the given address, if it is the
    /// only one and the broker is alone, for then it can lead nowhere else; else the advertised
    /// address. `None` if the broker is unknown.
    pub(super) fn destination(
        &self,
        id: i32,
        given: &[String],
        route: impl Fn(&Broker) -> Option<String>,
    ) -> Option<Destination> {
        let broker = self.brokers.get(&id)?;
        let routed = route(broker);
        if let ([only], None, 1) = (given, &routed, self.brokers.len()) {
            return Some(Destination::any(only));
        }
        Some(Destination {
            address: routed.unwrap_or_else(|| broker.advertised()),
            advertised_host: Some(broker.host.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::{
        messages::{
            BrokerId, TopicName,
            metadata_response::{
                MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
            },
        },
        protocol::StrBytes,
    };

    use super::*;

    fn table(brokers: i32, leaders: &[i32]) -> RoutingTable {
        let brokers = (0..brokers).map(|id| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(id))
                .with_host(StrBytes::from_string(format!("kafka-{id}.svc")))
                .with_port(9092)
        });
        let partitions = (0..).zip(leaders).map(|(index, leader)| {
            MetadataResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(BrokerId(*leader))
        });
        let topic = MetadataResponseTopic::default()
            .with_name(Some(TopicName(StrBytes::from_static_str("orders"))))
            .with_partitions(partitions.collect());
        let mut table = RoutingTable::default();
        table.absorb(
            &MetadataResponse::default()
                .with_brokers(brokers.collect())
                .with_topics(vec![topic]),
        );
        table
    }

    fn given(addresses: &[&str]) -> Vec<String> {
        addresses
            .iter()
            .map(|address| (*address).to_owned())
            .collect()
    }

    fn broker(address: &str, advertised_host: &str) -> Option<Destination> {
        Some(Destination {
            address: address.to_owned(),
            advertised_host: Some(advertised_host.to_owned()),
        })
    }

    #[test]
    fn a_single_broker_is_dialled_where_the_caller_said() {
        let destination = table(1, &[]).destination(0, &given(&["127.0.0.1:5000"]), |_| None);
        assert_eq!(destination, Some(Destination::any("127.0.0.1:5000")));
    }

    #[test]
    fn several_brokers_are_dialled_where_they_advertise() {
        let destination = table(3, &[]).destination(2, &given(&["127.0.0.1:5000"]), |_| None);
        assert_eq!(destination, broker("kafka-2.svc:9092", "kafka-2.svc"));
    }

    #[test]
    fn the_callers_map_wins() {
        for brokers in [3, 1] {
            let table = table(brokers, &[]);
            let destination =
                table.destination(brokers - 1, &given(&["127.0.0.1:5000"]), |broker| {
                    Some(format!("127.0.0.1:{}", 6000 + broker.id))
                });
            let dialled = format!("127.0.0.1:{}", 5999 + brokers);
            let host = format!("kafka-{}.svc", brokers - 1);
            assert_eq!(destination, broker(&dialled, &host));
        }
    }

    #[test]
    fn an_unknown_broker_has_no_address() {
        let destination = table(1, &[]).destination(9, &given(&["a:1"]), |_| None);
        assert_eq!(destination, None);
    }

    #[test]
    fn leaders_are_known_until_forgotten() {
        let mut table = table(2, &[1, -1]);
        assert_eq!(table.leader("orders", 0), Some(1));
        assert_eq!(table.leader("orders", 1), None, "leaderless");
        assert_eq!(table.leader("orders", 2), None, "no such partition");
        assert_eq!(table.leader("other", 0), None);
        table.forget("orders");
        assert_eq!(table.leader("orders", 0), None);
    }
}
