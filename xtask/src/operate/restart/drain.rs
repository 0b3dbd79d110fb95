//! Whether what one worker or broker had in its hands is in others': seen at positions, after which
//! the next one may go.
//!
//! Each connector has to commit a position behind the one where its source was. A canary gives it a
//! change to commit: the log of an idle source ends behind every commit, and no connector confirms
//! that end.

use std::sync::Arc;

use futures_util::future::try_join_all;

use super::proof::{self, Resting};
use crate::clients::connect::Offsets;
use crate::clients::kafka::{KafkaClient, TopicInfo};
use crate::components::connect::settled;
use crate::components::{kafka, service, source};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Progress};
use crate::profile::schema::Connector;
use crate::readiness::{State, Status};
use crate::up::canary;
use crate::wait;

/// Waits until every connector that is to run does, and its committed position lies beyond where its
/// source was when this began. Connectors commit places of changes only, and an idle source has none:
/// a canary gives them one.
///
/// # Errors
/// A connector does not run, or commits nothing.
pub(super) async fn connectors(
    env: &Arc<Environment>,
    resting: &Resting,
    progress: &Progress,
) -> Result<Outcome> {
    let each = env
        .profile
        .connectors
        .iter()
        .map(async |(name, connector)| {
            proof::runs(env, name, connector, resting, progress).await?;
            match resting.has(name) {
                true => Ok(format!("{name} is paused")),
                false => committed(env, name, connector, progress).await,
            }
        });
    let seen = try_join_all(each).await?;
    Ok(Outcome::Unchanged(match seen.is_empty() {
        true => "no connector".into(),
        false => seen.join("; "),
    }))
}

async fn committed(
    env: &Environment,
    name: &str,
    connector: &Connector,
    progress: &Progress,
) -> Result<String> {
    let flows = env.profile.flows.iter();
    let of_it = flows.filter(|(_, flow)| flow.connector == name && flow.canary.is_some());
    let flows: Vec<&String> = of_it.map(|(flow, _)| flow).collect();
    if flows.is_empty() {
        return Ok(format!("{name} runs; none of its flows has a canary"));
    }
    let before = told(env, name, connector, progress).await?;
    for flow in flows {
        canary::gate(env, flow, progress).await?;
    }
    let what = format!("{name} commits what its source has");
    wait::until(&what, env.patience(), progress, || async {
        match passed(env, name, connector, &before).await {
            Ok(true) => Status::current(format!("{name} committed what came since")),
            Ok(false) => Status::in_progress(format!("{name} has committed nothing new yet")),
            Err(error) => Status::in_progress(error.message),
        }
    })
    .await
}

/// Where a source's log ends or, for one that remembers nobody, what its connector has committed.
#[derive(PartialEq)]
enum Place {
    End(u64),
    Offsets(Option<Offsets>),
}

/// The place, once it can be told: workers that have just come may take longer to agree than one
/// question is waited for.
async fn told(
    env: &Environment,
    name: &str,
    connector: &Connector,
    progress: &Progress,
) -> Result<Place> {
    let what = format!("the position of {name} is known");
    wait::answer(&what, env.patience(), progress, || async {
        let place = place(env, name, connector).await;
        place.map_err(|error| Status::in_progress(error.message))
    })
    .await
}

async fn place(env: &Environment, name: &str, connector: &Connector) -> Result<Place> {
    let mark = source(env, connector).mark(env, connector).await?;
    if let Some(end) = mark.and_then(|mark| mark.end()) {
        return Ok(Place::End(end));
    }
    let client = env.connect_client();
    let offsets = settled(&Progress::silent(), || client.offsets(name)).await?;
    Ok(Place::Offsets(offsets))
}

async fn passed(
    env: &Environment,
    name: &str,
    connector: &Connector,
    before: &Place,
) -> Result<bool> {
    match before {
        Place::End(end) => {
            let mark = source(env, connector).mark(env, connector).await?;
            let confirmed = mark.and_then(|mark| mark.confirmed_at);
            Ok(confirmed.is_some_and(|confirmed| confirmed >= *end))
        }
        Place::Offsets(_) => Ok(place(env, name, connector).await? != *before),
    }
}

/// Waits until every partition has all its replicas in sync, and has the leaders back where they
/// belong.
///
/// # Errors
/// A replica does not catch up.
pub(super) async fn partitions(env: &Arc<Environment>, progress: &Progress) -> Result<Outcome> {
    let what = "every replica is in sync";
    wait::until(what, env.patience(), progress, || look(env, in_sync)).await?;
    if look(env, led).await.state == State::Current {
        return Ok(Outcome::Unchanged(look(env, in_sync).await.message));
    }
    progress.observe("asking for the leaders to go back");
    let client = kafka::client(env).await?;
    if let Err(error) = client.elect_preferred_leaders().await {
        // The brokers do it themselves, later; until then the others lead, which is no fault.
        let why = format!("in sync; the leaders go back within five minutes ({error})");
        return Ok(Outcome::Unchanged(why));
    }
    let what = "the leaders are back";
    wait::until(what, env.patience(), progress, || look(env, led))
        .await
        .map(Outcome::Changed)
}

/// Refuses to begin where a broker that goes away could take the last copy with it.
///
/// # Errors
/// A partition lacks a leader or a replica.
pub(super) async fn refuse_out_of_sync(env: &Arc<Environment>) -> Result<String> {
    let status = look(env, in_sync).await;
    match status.state {
        State::Current => Ok(status.message),
        _ => Err(Error::new(
            Code::Service,
            format!("no broker may go away now: {}", status.message),
        )
        .details(status.evidence)
        .hint("wait until the replicas are in sync: cargo xtask status")),
    }
}

async fn look(env: &Environment, judge: impl Fn(&[TopicInfo]) -> Status) -> Status {
    let topics = async {
        let client: KafkaClient = kafka::client(env).await?;
        client.topics(None).await.map_err(service)
    };
    match topics.await {
        Ok(topics) => judge(&topics),
        Err(error) => Status::in_progress(error.message),
    }
}

/// How many partitions an answer names.
const SHOWN: usize = 5;

fn judge<'a>(
    topics: &'a [TopicInfo],
    wrong: impl Fn(&'a crate::clients::kafka::PartitionInfo) -> Option<String>,
) -> Result<usize, Status> {
    let partitions = topics.iter().flat_map(|topic| {
        let named = topic.partitions.iter();
        named.map(|partition| (topic.name.as_str(), partition))
    });
    let mut count = 0;
    let mut found = Vec::new();
    for (topic, partition) in partitions {
        count += 1;
        if let Some(why) = wrong(partition) {
            found.push(format!("{topic}-{}: {why}", partition.index));
        }
    }
    if found.is_empty() {
        return Ok(count);
    }
    let message = format!("{} of {count} partitions, {}", found.len(), found[0]);
    found.truncate(SHOWN);
    Err(Status::in_progress(message).with_evidence(found))
}

fn in_sync(topics: &[TopicInfo]) -> Status {
    let wrong = judge(topics, |partition| {
        if partition.leader.is_none() {
            return Some("no leader".to_owned());
        }
        let (isr, all) = (partition.isr.len(), partition.replicas.len());
        (isr < all).then(|| format!("{isr} of {all} replicas in sync"))
    });
    match wrong {
        Ok(count) => Status::current(format!("{count} partitions in sync")),
        Err(status) => status,
    }
}

fn led(topics: &[TopicInfo]) -> Status {
    let wrong = judge(topics, |partition| {
        let preferred = partition.replicas.first();
        let at = partition.leader.as_ref();
        (at != preferred).then(|| "led by another replica".to_owned())
    });
    match wrong {
        Ok(count) => Status::current(format!("{count} partitions in sync, leaders back")),
        Err(status) => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::kafka::PartitionInfo;

    fn topic(leader: Option<i32>, replicas: &[i32], isr: &[i32]) -> Vec<TopicInfo> {
        vec![TopicInfo {
            name: "t".into(),
            internal: false,
            partitions: vec![PartitionInfo {
                index: 0,
                leader,
                replicas: replicas.to_vec(),
                isr: isr.to_vec(),
                error: None,
            }],
        }]
    }

    #[test]
    fn partitions_are_in_sync_and_led_by_their_first_replica() {
        let good = topic(Some(1), &[1, 2], &[2, 1]);
        assert_eq!(in_sync(&good).state, State::Current);
        assert_eq!(led(&good).state, State::Current);
        let behind = in_sync(&topic(Some(1), &[1, 2], &[1]));
        assert_eq!(behind.state, State::InProgress);
        assert_eq!(
            behind.message,
            "1 of 1 partitions, t-0: 1 of 2 replicas in sync"
        );
        let headless = in_sync(&topic(None, &[1, 2], &[1, 2]));
        assert!(headless.message.ends_with("no leader"));
        let elsewhere = topic(Some(2), &[1, 2], &[1, 2]);
        assert_eq!(in_sync(&elsewhere).state, State::Current);
        assert_eq!(led(&elsewhere).state, State::InProgress);
        assert_eq!(in_sync(&[]).state, State::Current);
    }
}
