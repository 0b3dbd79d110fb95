//! What a shell may complete with names that only running services know.
//!
//! Where nothing runs, or does not answer at once, there are no candidates, and nothing is said.

use std::ffi::OsStr;
use std::time::Duration;

use clap_complete::engine::CompletionCandidate;

use super::complete::{beginning, profile_name};
use super::context;
use crate::cli::Global;
use crate::clients::kafka::{KafkaClient, KafkaError};
use crate::components::kafka;
use crate::environment::Environment;
use crate::pipeline::dlq::queues;
use crate::report::Output;

/// Longer than this nobody waits for a completion.
const AT_ONCE: Duration = Duration::from_millis(1500);

/// Topics, without Kafka's own unless they are meant.
pub(crate) fn topics(current: &OsStr) -> Vec<CompletionCandidate> {
    let internal = current.to_string_lossy().starts_with("__");
    let names = ask(async |client| {
        let topics = client.topics(None).await?;
        let shown = topics
            .into_iter()
            .filter(|topic| internal || !topic.internal);
        Ok(shown.map(|topic| topic.name).collect())
    });
    beginning(current, names)
}

/// Consumer groups.
pub(crate) fn groups(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = ask(async |client| {
        let groups = client.groups().await?;
        Ok(groups.into_iter().map(|group| group.id).collect())
    });
    beginning(current, names)
}

/// Dead letter queues, and the sinks that have one.
pub(crate) fn dlqs(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = ask_env(async |env| {
        let client = kafka::client(env).await.ok()?;
        let found = queues::find(env, &client).await.ok()?;
        let sinks = found
            .sinks
            .into_iter()
            .filter(|sink| sink.queue().is_some());
        let sinks = sinks.map(|sink| sink.name);
        Some(
            found
                .queues
                .into_iter()
                .map(|queue| queue.name)
                .chain(sinks)
                .collect(),
        )
    });
    beginning(current, names)
}

fn ask(what: impl AsyncFnOnce(KafkaClient) -> Result<Vec<String>, KafkaError>) -> Vec<String> {
    ask_env(async |env| what(kafka::client(env).await.ok()?).await.ok())
}

fn ask_env(what: impl AsyncFnOnce(&Environment) -> Option<Vec<String>>) -> Vec<String> {
    let global = Global {
        profile: profile_name(),
        set: Vec::new(),
        platform: None,
        context: None,
        output: Output::Text,
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return Vec::new();
    };
    let answer = async {
        let env = context::existing(&global).await.ok()?;
        what(&env).await
    };
    let found = runtime.block_on(async { tokio::time::timeout(AT_ONCE, answer).await.ok() });
    runtime.shutdown_background();
    found.flatten().unwrap_or_default()
}
