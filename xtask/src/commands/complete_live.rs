//! What a shell may complete with names that running services know.
//!
//! Where nothing runs, or does not answer at once, the profile's names are offered instead, and nothing
//! is said.
//!
//! Services are asked for 300 ms on this machine and for 1.5 s through an API server.

use std::ffi::OsStr;
use std::time::Duration;

use clap_complete::engine::CompletionCandidate;
use futures_util::future::try_join_all;

use super::complete::{beginning, connector_names, of_profile, profile_name};
use super::context;
use crate::cli::Global;
use crate::clients::kafka::{KafkaClient, KafkaError};
use crate::components::{kafka, slots};
use crate::environment::Environment;
use crate::operate::dlq::queues;
use crate::platform::Platform;
use crate::profile::{Profile, topics};
use crate::report::Output;

/// The names that something live told, else those of the profile.
fn offered(
    current: &OsStr,
    live: Option<Vec<String>>,
    own: fn(&Profile) -> Vec<String>,
) -> Vec<CompletionCandidate> {
    beginning(current, live.unwrap_or_else(|| of_profile(own)))
}

/// Topics, without Kafka's own unless they are meant.
pub(super) fn topics(current: &OsStr) -> Vec<CompletionCandidate> {
    let internal = current.to_string_lossy().starts_with("__");
    let live = ask_kafka(async |client| {
        let topics = client.topics(None).await?;
        let shown = topics
            .into_iter()
            .filter(|topic| internal || !topic.internal);
        Ok(shown.map(|topic| topic.name).collect())
    });
    offered(current, live, |profile| {
        let topics = topics::topics(profile).into_iter();
        topics.map(|topic| topic.name).collect()
    })
}

/// Consumer groups.
pub(super) fn groups(current: &OsStr) -> Vec<CompletionCandidate> {
    let live = ask_kafka(async |client| {
        let groups = client.groups().await?;
        Ok(groups.into_iter().map(|group| group.id).collect())
    });
    offered(current, live, |profile| {
        let flows = profile.flows.values();
        flows.map(|flow| flow.group.clone()).collect()
    })
}

/// Connectors, and the sources that stand for them: those that Connect has, and those of the profile,
/// as one that is missing may be meant too.
pub(super) fn connectors(current: &OsStr) -> Vec<CompletionCandidate> {
    let live = ask(async |env| env.connect_client().connectors().await.ok());
    let mut names = of_profile(connector_names);
    names.extend(live.unwrap_or_default());
    names.sort_unstable();
    names.dedup();
    beginning(current, names)
}

/// Replication slots.
pub(super) fn slots(current: &OsStr) -> Vec<CompletionCandidate> {
    let live = ask(async |env| {
        let lists = slots::keepers(env).into_iter();
        let lists = try_join_all(lists.map(|(_, slots)| slots.list(env)));
        let slots = lists.await.ok()?.into_iter().flatten();
        Some(slots.map(|slot| slot.name).collect())
    });
    offered(current, live, |profile| {
        let connectors = profile.connectors.values();
        connectors.filter_map(|it| it.slot.clone()).collect()
    })
}

/// Dead letter queues, and the sinks that have one. A profile names neither.
pub(super) fn dlqs(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = ask(async |env| {
        let client = kafka::client(env).await.ok()?;
        let found = queues::find(env, &client).await.ok()?;
        let sinks = found
            .sinks
            .into_iter()
            .filter(|sink| sink.queue().is_some());
        let queues = found.queues.into_iter().map(|queue| queue.name);
        Some(queues.chain(sinks.map(|sink| sink.name)).collect())
    });
    beginning(current, names.unwrap_or_default())
}

/// Longer than this nobody waits for a completion. The way through an API server takes its time.
fn at_once(platform: Platform) -> Duration {
    Duration::from_millis(match platform {
        Platform::Host => 300,
        Platform::Kind | Platform::Kubernetes => 1500,
    })
}

fn ask_kafka(
    what: impl AsyncFnOnce(KafkaClient) -> Result<Vec<String>, KafkaError>,
) -> Option<Vec<String>> {
    ask(async |env| what(kafka::client(env).await.ok()?).await.ok())
}

/// What the environment of this command line says; none if there is none, or it does not answer.
fn ask(what: impl AsyncFnOnce(&Environment) -> Option<Vec<String>>) -> Option<Vec<String>> {
    let global = Global {
        profile: profile_name(),
        set: Vec::new(),
        platform: None,
        context: None,
        output: Output::Text,
    };
    let limit = at_once(context::platform_of(&global)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let answer = async {
        let env = context::existing(&global).await.ok()?;
        what(&env).await
    };
    let found = runtime.block_on(async { tokio::time::timeout(limit, answer).await.ok() });
    runtime.shutdown_background();
    found.flatten()
}
