//! The broker: topics, the target's groups, and how old the newest heartbeats are.
//!
//! `RUNNING` is no sign of life: heartbeats come ten times a second, and a connector whose newest
//! one is older than 15 s counts as stuck.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::{Flow, Kafka, Known, limited};
use crate::clients::kafka::{
    FetchOptions, KafkaClient, KafkaError, OffsetAt, TopicInfo, TopicPartition,
};
use crate::clock;
use crate::environment::Environment;
use crate::error::Result;
use crate::profile::component::Instance;
use crate::profile::{Profile, schema};
use crate::wait::{self, Limit};

/// How long the target's groups are watched.
const WATCHED: Duration = Duration::from_millis(600);

/// By connector, in milliseconds.
type Ages = BTreeMap<String, u64>;

/// Asks the broker.
pub(super) async fn gather(
    env: &Arc<Environment>,
    limit: &Limit,
) -> (Known<Kafka>, Vec<Flow>, Ages) {
    match limited(limit, ask(env, limit)).await {
        Known::Seen((kafka, flows, ages)) => (Known::Seen(kafka), flows, ages),
        Known::Unknown(why) => {
            let flows = env.profile.flows.iter();
            let flows = flows.map(|(name, flow)| empty(env, name, flow)).collect();
            (Known::Unknown(why), flows, Ages::new())
        }
    }
}

fn empty(env: &Environment, name: &str, flow: &schema::Flow) -> Flow {
    Flow {
        name: name.to_owned(),
        connector: flow.connector.clone(),
        sink: flow.to.clone(),
        target: target(&env.profile, flow).map(|it| it.name.clone()),
        topic: env.profile.topic(flow),
        group: flow.group.clone(),
        topic_exists: None,
        messages: None,
        group_state: None,
        members: None,
        unread: None,
        reads: None,
        errors: None,
        waiting: 0,
        drift: None,
        newest_error: None,
        newest_ms: None,
    }
}

/// The component that a flow arrives at.
fn target<'a>(profile: &'a Profile, flow: &schema::Flow) -> Option<&'a Instance> {
    match flow.to {
        Some(_) => profile.written(flow),
        None => profile
            .components
            .values()
            .find(|it| it.kind.reads_topics.is_some()),
    }
}

async fn ask(env: &Environment, limit: &Limit) -> Result<(Kafka, Vec<Flow>, Ages), String> {
    env.learn_kafka_login()
        .await
        .map_err(|error| error.message)?;
    let text = |error: KafkaError| error.to_string();
    let client = KafkaClient::with_config(env.kafka_config(limit.most())).await;
    let client = client.map_err(text)?;
    let topics = client.topics(None).await.map_err(text)?;
    let flows = env.profile.flows.iter();
    let flows = flows.map(|(name, flow)| one(env, &client, &topics, name, flow));
    let (flows, ages, workers) = tokio::join!(
        join_all(flows),
        ages(env, &client, &topics),
        client.describe_group(&env.profile.connect.group)
    );
    let workers = workers.map_err(text)?;
    let flows: Result<Vec<Flow>, KafkaError> = flows.into_iter().collect();
    let partitions = |wrong: &dyn Fn(&crate::clients::kafka::PartitionInfo) -> bool| {
        let named = topics.iter().flat_map(|topic| {
            let wrong = topic.partitions.iter().filter(|it| wrong(it));
            wrong.map(|it| format!("{}-{}", topic.name, it.index))
        });
        named.collect::<Vec<_>>()
    };
    let kafka = Kafka {
        leaderless: partitions(&|it| it.leader.is_none()),
        behind: partitions(&|it| it.leader.is_some() && it.isr.len() < it.replicas.len()),
        uncompacted: uncompacted(&client, &topics).await.map_err(text)?,
        workers: workers.members.len(),
        workers_state: workers.state,
    };
    Ok((kafka, flows.map_err(text)?, ages))
}

/// One flow's topics, and what its group does with them.
async fn one(
    env: &Environment,
    client: &KafkaClient,
    topics: &[TopicInfo],
    name: &str,
    flow: &schema::Flow,
) -> Result<Flow, KafkaError> {
    let mut seen = empty(env, name, flow);
    let mut read = vec![seen.topic.clone()];
    // A sink reads no heartbeats.
    if flow.to.is_none() {
        read.push(env.profile.heartbeat_topic(flow));
    }
    let of_flow: Vec<TopicInfo> = topics
        .iter()
        .filter(|topic| read.contains(&topic.name))
        .cloned()
        .collect();
    seen.topic_exists = Some(of_flow.iter().any(|topic| topic.name == seen.topic));
    let (group, before, first) = tokio::join!(
        client.describe_group(&flow.group),
        client.group_offsets(&flow.group),
        client.offsets_of(&of_flow, OffsetAt::Earliest),
    );
    let (group, before, first) = (group?, before?, first?);
    wait::pause(WATCHED).await;
    let (after, ends) = tokio::join!(
        client.group_offsets(&flow.group),
        client.offsets_of(&of_flow, OffsetAt::Latest),
    );
    let (after, ends) = (after?, ends?);
    let size = |(place, end): (&TopicPartition, &i64)| end - first.get(place).unwrap_or(end);
    let left = |(place, end): (&TopicPartition, &i64)| {
        let start = first.get(place).copied().unwrap_or(0);
        (end - after.get(place).copied().unwrap_or(start)).max(0)
    };
    let own = ends.iter().filter(|((topic, _), _)| *topic == seen.topic);
    seen.messages = Some(own.map(size).sum());
    seen.unread = Some(ends.iter().map(left).sum());
    seen.reads = Some(after != before);
    seen.members = Some(group.members.len());
    seen.group_state = Some(group.state);
    Ok(seen)
}

/// How old each connector's newest heartbeat is. None has an age that never beat, or whose topic
/// cannot be read: a rule that wants one says nothing then.
async fn ages(env: &Environment, client: &KafkaClient, topics: &[TopicInfo]) -> Ages {
    let flows = env.profile.flows.values();
    let beats: BTreeMap<&str, String> = flows
        .map(|flow| (flow.connector.as_str(), env.profile.heartbeat_topic(flow)))
        .collect();
    let each = beats.into_iter().map(async |(connector, topic)| {
        topics.iter().find(|seen| seen.name == topic)?;
        let end = client.offsets(&topic, OffsetAt::Latest).await.ok()?;
        let end = end.get(&0).copied().filter(|end| *end > 0)?;
        let options = FetchOptions {
            max_wait: Duration::ZERO,
            ..FetchOptions::default()
        };
        let batch = client.fetch(&topic, 0, end - 1, &options).await.ok()?;
        let newest = batch.records.iter().map(|record| record.timestamp).max()?;
        let newest = u64::try_from(newest).ok()?;
        Some((connector.to_owned(), clock::now_ms().saturating_sub(newest)))
    });
    join_all(each).await.into_iter().flatten().collect()
}

/// Connect's own topics that forget by time what must be kept by key.
async fn uncompacted(
    client: &KafkaClient,
    topics: &[TopicInfo],
) -> Result<Vec<String>, KafkaError> {
    const OWN: [&str; 3] = ["configs", "offsets", "status"];
    let own: Vec<&str> = topics
        .iter()
        .map(|topic| topic.name.as_str())
        .filter(|name| {
            let last = name.rsplit(['-', '.']).next().unwrap_or_default();
            name.contains("connect") && OWN.contains(&last)
        })
        .collect();
    let configs = client.configs_of(&own).await?;
    let wrong = configs.into_iter().filter(|(_, config)| {
        let policy = config.get("cleanup.policy");
        let policy = policy.and_then(|it| it.value.as_deref());
        policy.is_some_and(|policy| policy != "compact")
    });
    Ok(wrong.map(|(topic, _)| topic).collect())
}
