//! The cluster, its topics and their configuration.

use std::collections::BTreeMap;

use kafka_protocol::{
    messages::{
        CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
        IncrementalAlterConfigsRequest, MetadataRequest, MetadataResponse,
        create_partitions_request::CreatePartitionsTopic,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        delete_topics_request::DeleteTopicState,
        describe_configs_request::DescribeConfigsResource,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    },
    protocol::StrBytes,
};

use super::{
    client::{KafkaClient, Target, text, topic_name, topic_subject},
    error::{ErrorCode, KafkaError},
    routing::Broker,
    wire::Api,
};

/// The resource type of topics in the config APIs (`ConfigResource.Type`).
const TOPIC_RESOURCE: i8 = 2;

/// The cluster as its brokers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    /// The cluster's id; absent only while a cluster forms.
    pub cluster_id: Option<String>,
    /// The broker that accepts administrative requests, if there is one. Under KRaft any broker
    /// may be named, for all of them forward.
    pub controller_id: Option<i32>,
    /// The brokers that are alive, by id.
    pub brokers: Vec<Broker>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// The topic's name.
    pub name: String,
    /// Whether Kafka itself owns the topic (`__consumer_offsets`). Connect's topics are not.
    pub internal: bool,
    /// The partitions, by index.
    pub partitions: Vec<PartitionInfo>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInfo {
    /// The partition's index.
    pub index: i32,
    /// The leader's broker id, if the partition has a leader.
    pub leader: Option<i32>,
    /// The broker ids that keep a replica.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub isr: Vec<i32>,
    /// What is wrong with the partition, for example [`ErrorCode::LeaderNotAvailable`].
    pub error: Option<ErrorCode>,
}

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// The topic's name.
    pub name: String,
    /// The number of partitions; -1 for the broker's `num.partitions`.
    pub partitions: i32,
    /// The number of replicas; -1 for the broker's `default.replication.factor`.
    pub replication_factor: i16,
    /// Settings that differ from the broker's.
    pub configs: BTreeMap<String, String>,
}

/// What creating a topic did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateOutcome {
    /// The topic is new.
    Created,
    /// The topic was there; its partitions and configs were neither compared nor changed.
    AlreadyExists,
}

/// What deleting a topic or a group did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// It was there.
    Deleted,
    /// It was not there.
    NotFound,
}

/// The value of a topic setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigValue {
    /// The value; `None` if it is sensitive and therefore withheld by the broker.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
}

/// Where a setting's value comes from (`DescribeConfigsResponse.ConfigSource` in Kafka).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Set on the broker or cluster, statically or dynamically.
    Broker,
    /// Kafka's own default.
    Default,
    /// A kind that this client does not know.
    Unknown,
}

impl ConfigSource {
    fn from_wire(source: i8) -> Self {
        match source {
            1 => Self::Topic,
            2..=4 => Self::Broker,
            5 => Self::Default,
            _ => Self::Unknown,
        }
    }
}

impl KafkaClient {
    /// The cluster's id, controller and brokers.
    pub async fn cluster(&self) -> Result<ClusterInfo, KafkaError> {
        let metadata = self.metadata(Some(&[]), self.deadline()).await?;
        let controller = metadata.controller_id.0;
        Ok(ClusterInfo {
            cluster_id: metadata.cluster_id.as_deref().map(str::to_owned),
            controller_id: (controller >= 0).then_some(controller),
            brokers: self.brokers(),
        })
    }

    /// The named topics, or all of them. Topics that do not exist are left out.
    pub async fn topics(&self, names: Option<&[&str]>) -> Result<Vec<TopicInfo>, KafkaError> {
        let metadata = self.metadata(names, self.deadline()).await?;
        topics_of(&metadata)
    }

    /// Creates topics.
    ///
    /// Stops at the first refusal (an invalid config, too many replicas), named in the error; the
    /// topics before and after it may have been created.
    pub async fn create_topics(
        &self,
        topics: &[TopicSpec],
    ) -> Result<Vec<(String, CreateOutcome)>, KafkaError> {
        let deadline = self.deadline();
        let request = CreateTopicsRequest::default()
            .with_topics(topics.iter().map(creatable).collect())
            .with_timeout_ms(deadline.left_ms());
        let response = self.call_controller(&request, deadline).await?;
        let mut outcomes = Vec::with_capacity(response.topics.len());
        for topic in response.topics {
            let outcome = match ErrorCode::try_from_code(topic.error_code) {
                Some(ErrorCode::TopicAlreadyExists) => CreateOutcome::AlreadyExists,
                _ => {
                    let message = topic.error_message.as_deref();
                    let subject = || topic_subject(&topic.name);
                    CreateTopicsRequest::check(topic.error_code, subject, message)?;
                    CreateOutcome::Created
                }
            };
            outcomes.push((topic.name.to_string(), outcome));
        }
        Ok(outcomes)
    }

    /// Grows a topic to `count` partitions. Kafka refuses the present number and fewer.
    pub async fn create_partitions(&self, topic: &str, count: i32) -> Result<(), KafkaError> {
        let deadline = self.deadline();
        let grown = CreatePartitionsTopic::default()
            .with_name(topic_name(topic))
            .with_count(count)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![grown])
            .with_timeout_ms(deadline.left_ms());
        let response = self.call_controller(&request, deadline).await?;
        for result in response.results {
            let message = result.error_message.as_deref();
            let subject = || topic_subject(topic);
            CreatePartitionsRequest::check(result.error_code, subject, message)?;
        }
        Ok(())
    }

    /// Deletes topics with everything in them.
    ///
    /// The answer means that the controller forgot them; brokers may list them a moment longer.
    pub async fn delete_topics(
        &self,
        names: &[&str],
    ) -> Result<Vec<(String, DeleteOutcome)>, KafkaError> {
        let deadline = self.deadline();
        let state = |name: &&str| DeleteTopicState::default().with_name(Some(topic_name(name)));
        let request = DeleteTopicsRequest::default()
            .with_topics(names.iter().map(state).collect())
            .with_timeout_ms(deadline.left_ms());
        let response = self.call_controller(&request, deadline).await?;
        let mut outcomes = Vec::with_capacity(response.responses.len());
        for topic in response.responses {
            let name = topic.name.map(|name| name.to_string()).unwrap_or_default();
            let outcome = match ErrorCode::try_from_code(topic.error_code) {
                Some(ErrorCode::UnknownTopicOrPartition) => DeleteOutcome::NotFound,
                _ => {
                    let message = topic.error_message.as_deref();
                    let subject = || topic_subject(&name);
                    DeleteTopicsRequest::check(topic.error_code, subject, message)?;
                    DeleteOutcome::Deleted
                }
            };
            outcomes.push((name, outcome));
        }
        Ok(outcomes)
    }

    /// All settings of a topic, defaults included.
    pub async fn topic_configs(
        &self,
        topic: &str,
    ) -> Result<BTreeMap<String, ConfigValue>, KafkaError> {
        let mut found = self.configs_of(&[topic]).await?;
        Ok(found.remove(topic).unwrap_or_default())
    }

    /// All settings of several topics, by topic, in one request.
    pub async fn configs_of(
        &self,
        topics: &[&str],
    ) -> Result<BTreeMap<String, BTreeMap<String, ConfigValue>>, KafkaError> {
        let resource = |topic: &&str| {
            DescribeConfigsResource::default()
                .with_resource_type(TOPIC_RESOURCE)
                .with_resource_name(text(topic))
                .with_configuration_keys(None)
        };
        let request =
            DescribeConfigsRequest::default().with_resources(topics.iter().map(resource).collect());
        let response = self.call(Target::Any, &request, self.deadline()).await?;
        let mut found = BTreeMap::new();
        for result in response.results {
            let message = result.error_message.as_deref();
            let subject = || topic_subject(&result.resource_name);
            DescribeConfigsRequest::check(result.error_code, subject, message)?;
            let configs = result.configs.iter().map(|config| {
                let value = ConfigValue {
                    value: config.value.as_deref().map(str::to_owned),
                    source: ConfigSource::from_wire(config.config_source),
                };
                (config.name.to_string(), value)
            });
            found.insert(result.resource_name.to_string(), configs.collect());
        }
        Ok(found)
    }

    /// Sets the given settings of a topic (`Some`) or returns them to the default (`None`), and
    /// leaves all others alone.
    pub async fn alter_topic_configs(
        &self,
        topic: &str,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<(), KafkaError> {
        // AlterConfigOp.OpType: 0 sets, 1 deletes.
        let change = |(name, value): (&String, &Option<String>)| {
            AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(if value.is_some() { 0 } else { 1 })
                .with_value(value.as_deref().map(text))
        };
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC_RESOURCE)
            .with_resource_name(text(topic))
            .with_configs(changes.iter().map(change).collect());
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let response = self.call_controller(&request, self.deadline()).await?;
        for result in response.responses {
            let message = result.error_message.as_deref();
            let subject = || topic_subject(topic);
            IncrementalAlterConfigsRequest::check(result.error_code, subject, message)?;
        }
        Ok(())
    }
}

fn creatable(topic: &TopicSpec) -> CreatableTopic {
    let config = |(name, value): (&String, &String)| {
        CreatableTopicConfig::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
    };
    CreatableTopic::default()
        .with_name(topic_name(&topic.name))
        .with_num_partitions(topic.partitions)
        .with_replication_factor(topic.replication_factor)
        .with_configs(topic.configs.iter().map(config).collect())
}

fn topics_of(metadata: &MetadataResponse) -> Result<Vec<TopicInfo>, KafkaError> {
    let ids =
        |brokers: &[kafka_protocol::messages::BrokerId]| brokers.iter().map(|id| id.0).collect();
    let mut topics = Vec::with_capacity(metadata.topics.len());
    for topic in &metadata.topics {
        let name = topic.name.as_deref().map_or("", StrBytes::as_str);
        match ErrorCode::try_from_code(topic.error_code) {
            Some(ErrorCode::UnknownTopicOrPartition) => continue,
            // The partitions say which of them lack a leader.
            Some(ErrorCode::LeaderNotAvailable) if !topic.partitions.is_empty() => {}
            _ => MetadataRequest::check(topic.error_code, || topic_subject(name), None)?,
        }
        let mut partitions: Vec<_> = topic
            .partitions
            .iter()
            .map(|partition| PartitionInfo {
                index: partition.partition_index,
                leader: (partition.leader_id.0 >= 0).then_some(partition.leader_id.0),
                replicas: ids(&partition.replica_nodes),
                isr: ids(&partition.isr_nodes),
                error: ErrorCode::try_from_code(partition.error_code),
            })
            .collect();
        partitions.sort_by_key(|partition| partition.index);
        topics.push(TopicInfo {
            name: name.to_owned(),
            internal: topic.is_internal,
            partitions,
        });
    }
    topics.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(topics)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::metadata_response::{
        MetadataResponsePartition, MetadataResponseTopic,
    };

    use super::*;

    fn answer(name: &str, code: i16, partitions: &[(i32, i32, i16)]) -> MetadataResponseTopic {
        let partition = |&(index, leader, code): &(i32, i32, i16)| {
            MetadataResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(leader.into())
                .with_error_code(code)
        };
        MetadataResponseTopic::default()
            .with_name(Some(topic_name(name)))
            .with_error_code(code)
            .with_partitions(partitions.iter().map(partition).collect())
    }

    fn topics(answers: Vec<MetadataResponseTopic>) -> Result<Vec<TopicInfo>, KafkaError> {
        topics_of(&MetadataResponse::default().with_topics(answers))
    }

    #[test]
    fn topics_and_partitions_are_sorted_and_absent_topics_left_out() {
        let found = topics(vec![
            answer("b", 0, &[(1, 0, 0), (0, 0, 0)]),
            answer("absent", 3, &[]),
            answer("a", 0, &[]),
        ])
        .expect("no error");
        let names: Vec<_> = found.iter().map(|topic| topic.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(found[1].partitions[0].index, 0);
    }

    #[test]
    fn a_partition_without_leader_says_why() {
        let found = topics(vec![answer("a", 5, &[(0, -1, 5)])]).expect("no error");
        assert_eq!(found[0].partitions[0].leader, None);
        assert_eq!(
            found[0].partitions[0].error,
            Some(ErrorCode::LeaderNotAvailable)
        );
    }

    #[test]
    fn other_topic_errors_are_errors() {
        let error = topics(vec![answer("secret", 29, &[])]).expect_err("not authorised");
        assert_eq!(
            error.to_string(),
            "Metadata of topic secret: TOPIC_AUTHORIZATION_FAILED"
        );
    }

    #[test]
    fn a_spec_becomes_a_request_with_its_configs() {
        let topic = creatable(&TopicSpec {
            name: "orders".into(),
            partitions: 3,
            replication_factor: -1,
            configs: BTreeMap::from([("cleanup.policy".into(), "compact".into())]),
        });
        assert_eq!((topic.num_partitions, topic.replication_factor), (3, -1));
        assert_eq!(topic.configs[0].name.as_str(), "cleanup.policy");
        assert_eq!(topic.configs[0].value.as_deref(), Some("compact"));
    }

    #[test]
    fn config_sources_are_the_protocols() {
        let sources = [0, 1, 2, 4, 5].map(ConfigSource::from_wire);
        use ConfigSource::{Broker, Default, Topic, Unknown};
        assert_eq!(sources, [Unknown, Topic, Broker, Broker, Default]);
    }
}
