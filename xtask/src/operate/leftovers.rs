//! What flows and connectors leave behind that the profile no longer has: tables, consumer groups, topics. `up` names
//! it, and removes it when it is told to.
//!
//! It is found anew each time, in the order in which it is removed: what was killed on the way is removed by the next
//! run. A connector goes last, since its configuration says which topics are its own; until then it is stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::clients::connect::TargetState;
use crate::clients::kafka::{ErrorCode, KafkaClient, TopicInfo};
use crate::components::connect::settled;
use crate::components::target::Leftover;
use crate::components::{kafka, reading_targets, service};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::observe::topics::roles::{Role, role};
use crate::plan::Progress;
use crate::platform::Platform;
use crate::profile::topics::sink_group;
use crate::readiness::Status;
use crate::up::control;
use crate::wait::{self, Patience};

/// How long a consumer may take to leave its group.
const LEAVES: Duration = Duration::from_secs(30);

/// What there is that the profile does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Leftovers {
    /// At the targets, by flow.
    pub flows: Vec<Leftover>,
    /// Consumer groups.
    pub groups: Vec<String>,
    /// Topics of tables.
    pub topics: Vec<String>,
    /// Connectors, with the slots that they leave at their sources.
    pub connectors: BTreeMap<String, Option<String>>,
}

impl Leftovers {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Leftovers::default()
    }

    /// One line for each thing.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for left in &self.flows {
            let tables = left.tables.join(", ");
            lines.push(format!(
                "flow {}: {} rows in {tables}",
                left.flow, left.rows
            ));
        }
        let named = [("consumer group", &self.groups), ("topic", &self.topics)];
        for (what, names) in named {
            lines.extend(names.iter().map(|name| format!("{what} {name}")));
        }
        lines.extend(self.connectors.keys().map(|it| format!("connector {it}")));
        lines
    }
}

/// Looks for what is left over.
///
/// # Errors
/// A component does not answer.
pub async fn find(env: &Environment) -> Result<Leftovers> {
    let mut left = Leftovers::default();
    for target in reading_targets(env) {
        left.flows.extend(target.leftovers(env).await?);
    }
    // On clusters a connector is an object, which is pruned as all of them are.
    let mut prefixes = BTreeSet::new();
    if env.platform == Platform::Host {
        let connect = env.connect_client();
        let all = settled(&Progress::silent(), || connect.all()).await?;
        let known: BTreeSet<&String> = env.profile.connector_names().collect();
        for (name, listed) in all {
            if known.contains(&name) {
                continue;
            }
            prefixes.extend(listed.info.config.get("topic.prefix").cloned());
            let slot = listed.info.config.get("slot.name").cloned();
            left.connectors.insert(name, slot);
        }
    }
    let client = kafka::client(env).await?;
    let there = client.topics(None).await.map_err(|error| service(&error))?;
    left.topics = topics(env, &left.flows, &prefixes, &there);
    left.groups = groups(env, &client, &left).await?;
    Ok(left)
}

/// The topics that no flow reads and that nothing writes any more.
fn topics(
    env: &Environment,
    flows: &[Leftover],
    prefixes: &BTreeSet<String>,
    there: &[TopicInfo],
) -> Vec<String> {
    let profile = &env.profile;
    let of_flows: BTreeSet<&String> = flows.iter().flat_map(|it| &it.topics).collect();
    let mut kept: BTreeSet<String> = BTreeSet::new();
    for flow in profile.flows.values() {
        kept.extend([profile.topic(flow), profile.heartbeat_topic(flow)]);
    }
    // A connector that is told by its own settings what to capture writes topics that no flow reads.
    let captures = |prefix: &str| {
        let mut own = profile
            .connectors
            .iter()
            .filter(|(_, it)| it.prefix == prefix);
        own.any(|(name, it)| {
            let by_flows = profile.flows.values().any(|flow| flow.connector == *name);
            let chosen = |key: &String| key.ends_with(".list") || key.starts_with("transforms");
            !by_flows || it.config.keys().any(chosen)
        })
    };
    let is_left = |topic: &TopicInfo| {
        let name = &topic.name;
        let prefix_of = |prefix: &str| {
            name.strip_prefix(prefix)
                .is_some_and(|it| it.starts_with('.'))
        };
        let beside = |prefix: &String| {
            let own = ["heartbeat", "tables", "notifications"];
            own.iter()
                .any(|it| *name == format!("__debezium-{it}.{prefix}"))
        };
        let of_profile = profile.connectors.values().find(|it| prefix_of(&it.prefix));
        match of_profile {
            Some(connector) => role(profile, topic) == Role::Cdc && !captures(&connector.prefix),
            None => {
                of_flows.contains(name) || prefixes.iter().any(|it| prefix_of(it) || beside(it))
            }
        }
    };
    let left = there
        .iter()
        .filter(|it| !kept.contains(&it.name) && is_left(it));
    left.map(|it| it.name.clone()).collect()
}

/// The groups that read such topics, or read heartbeats for a flow that is gone.
async fn groups(env: &Environment, client: &KafkaClient, left: &Leftovers) -> Result<Vec<String>> {
    let profile = &env.profile;
    let mut known: BTreeSet<String> = profile.flows.values().map(|it| it.group.clone()).collect();
    known.insert(profile.connect.group.clone());
    known.extend(profile.sinks.keys().map(|it| sink_group(it)));
    let of_queues = left.flows.iter().filter_map(|it| it.group.clone());
    let mut found: BTreeSet<String> = of_queues.filter(|it| !known.contains(it)).collect();
    let mut read: BTreeSet<String> = left.topics.iter().cloned().collect();
    read.extend(profile.flows.values().map(|it| profile.heartbeat_topic(it)));
    let there = client.groups().await.map_err(|error| service(&error))?;
    for group in there {
        // One that has members is read by a queue, or is not ours.
        if known.contains(&group.id) || found.contains(&group.id) || group.state != "Empty" {
            continue;
        }
        let offsets = client.group_offsets(&group.id).await;
        let offsets = offsets.map_err(|error| service(&error))?;
        if !offsets.is_empty() && offsets.keys().all(|(topic, _)| read.contains(topic)) {
            found.insert(group.id);
        }
    }
    Ok(found.into_iter().collect())
}

/// Removes what [`find`] has found.
///
/// # Errors
/// A component refuses.
pub async fn remove(env: &Environment, left: &Leftovers, progress: &Progress) -> Result<()> {
    for name in left.connectors.keys() {
        control::set_state(env, name, TargetState::Stopped, progress).await?;
    }
    for target in reading_targets(env) {
        for own in target.leftovers(env).await? {
            if left.flows.iter().any(|it| it.flow == own.flow) {
                progress.observe(format!("removing flow {}", own.flow));
                target.remove(env, &own).await?;
            }
        }
    }
    let client = kafka::client(env).await?;
    for group in &left.groups {
        delete_group(&client, group, progress).await?;
    }
    let topics: Vec<&str> = left.topics.iter().map(String::as_str).collect();
    if !topics.is_empty() {
        let deleted = client.delete_topics(&topics).await;
        deleted.map_err(|error| service(&error))?;
    }
    let connect = env.connect_client();
    for name in left.connectors.keys() {
        // One of the same name would go on from there.
        settled(progress, || connect.delete_offsets(name)).await?;
        settled(progress, || connect.delete(name)).await?;
    }
    Ok(())
}

/// A consumer whose table is gone takes a moment to leave.
async fn delete_group(client: &KafkaClient, group: &str, progress: &Progress) -> Result<()> {
    let what = format!("consumer group {group} is empty");
    let patience = Patience::local(LEAVES);
    let deleted = wait::answer(&what, patience, progress, || async {
        match client.delete_group(group).await {
            Err(error) if error.code() == Some(ErrorCode::NonEmptyGroup) => {
                Err(Status::in_progress("it has members"))
            }
            other => Ok(other),
        }
    });
    let deleted = deleted.await?;
    deleted.map(drop).map_err(|error| {
        Error::new(Code::Service, error.to_string())
            .hint("Kafka itself forgets a group that nothing reads in after a week")
    })
}
