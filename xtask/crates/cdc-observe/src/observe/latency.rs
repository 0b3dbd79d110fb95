//! How long each hop takes: rows one at a time, timed at the source, in the topic and at the target.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Mutex;

use crate::clients::kafka::{FetchOptions, KafkaClient, OffsetAt};
use crate::components::source::{CANARY, CANARY_UUID};
use crate::components::{kafka, service};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::readiness::Status;
use crate::up::canary::{self, Canary};
use crate::wait::{self, Patience};

/// The distribution of one hop, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Distribution {
    /// Half are faster.
    pub p50: f64,
    /// 95 of 100 are faster.
    pub p95: f64,
    /// 99 of 100 are faster.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

/// A flow's hops.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// Flow.
    pub flow: String,
    /// Rows sent.
    pub rows: usize,
    /// From the insert's call to the message at a consumer of the topic.
    pub source_to_topic: Distribution,
    /// From there to the row at the target.
    pub topic_to_silver: Distribution,
    /// From the insert's call to the row at the target.
    pub total: Distribution,
}

/// Sends `rows` rows, one at a time, and removes them again.
///
/// # Errors
/// A row does not arrive, or an end refuses.
pub async fn measure(
    env: &Environment,
    flow: &str,
    rows: u32,
    progress: &Progress,
) -> Result<Latency> {
    let mut canary = Canary::prepare(env, flow).await?;
    let listener = Listener::start(env, flow).await?;
    let mut samples = Vec::new();
    let mut result = Ok(());
    for number in 0..rows {
        if number > 0 {
            canary.renew();
        }
        progress.observe(format!("{flow}: row {} of {rows}", number + 1));
        match sample(&canary, &listener, progress).await {
            Ok(sample) => samples.push(sample),
            Err(error) => result = Err(error),
        }
        canary.delete().await?;
        if result.is_err() {
            break;
        }
    }
    listener.stop();
    result?;
    if rows > 0 {
        canary.arrives(None, progress).await?;
        canary.sweep_all().await?;
    }
    let hop = |pick: fn(&Sample) -> Duration| distribution(samples.iter().map(pick).collect());
    Ok(Latency {
        flow: flow.to_owned(),
        rows: samples.len(),
        source_to_topic: hop(|sample| sample.topic),
        topic_to_silver: hop(|sample| sample.silver.saturating_sub(sample.topic)),
        total: hop(|sample| sample.silver),
    })
}

/// One row's arrivals, from its insert on.
struct Sample {
    topic: Duration,
    silver: Duration,
}

async fn sample(canary: &Canary<'_>, listener: &Listener, progress: &Progress) -> Result<Sample> {
    let begin = Instant::now();
    canary.insert().await?;
    canary.arrives(Some(&canary.values().0), progress).await?;
    let silver = begin.elapsed();
    // The target reads the topic: what has arrived there was heard here, or is about to be.
    let heard = listener.heard(canary.token(), progress).await?;
    Ok(Sample {
        topic: heard.saturating_duration_since(begin).min(silver),
        silver,
    })
}

/// A consumer of the flow's topic that notes when each canary comes by.
struct Listener {
    heard: Arc<Mutex<HashMap<String, Instant>>>,
    stopped: Arc<AtomicBool>,
}

impl Listener {
    async fn start(env: &Environment, flow_name: &str) -> Result<Self> {
        let flow = canary::flow(env, flow_name)?;
        let topic = env.profile.topic(flow);
        let client = kafka::client(env).await?;
        let ends = client.offsets(&topic, OffsetAt::Latest).await;
        let ends = ends.map_err(service)?;
        let listener = Listener {
            heard: Arc::default(),
            stopped: Arc::default(),
        };
        for (partition, end) in ends {
            let heard = listener.heard.clone();
            let stopped = listener.stopped.clone();
            let (client, topic) = (client.clone(), topic.clone());
            tokio::spawn(
                async move { listen(client, topic, partition, end, heard, stopped).await },
            );
        }
        Ok(listener)
    }

    fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    async fn heard(&self, token: String, progress: &Progress) -> Result<Instant> {
        let patience = Patience::local(Duration::from_secs(10));
        let what = "the message is in the topic";
        wait::until(what, patience, progress, || async {
            match self.heard.lock().await.contains_key(&token) {
                true => Status::current("heard"),
                false => Status::in_progress("not received yet"),
            }
        })
        .await?;
        let heard = self.heard.lock().await.get(&token).copied();
        heard.ok_or_else(|| Error::new(Code::Verify, "a message that was received is gone"))
    }
}

async fn listen(
    client: KafkaClient,
    topic: String,
    partition: i32,
    mut offset: i64,
    heard: Arc<Mutex<HashMap<String, Instant>>>,
    stopped: Arc<AtomicBool>,
) {
    let options = FetchOptions {
        max_wait: Duration::from_millis(200),
        ..FetchOptions::default()
    };
    while !stopped.load(Relaxed) {
        // A listener that cannot listen lets the row's own wait fail, which says so.
        let Ok(batch) = client.fetch(&topic, partition, offset, &options).await else {
            return;
        };
        let now = Instant::now();
        let mut heard = heard.lock().await;
        for record in &batch.records {
            let key = record.key.as_deref().unwrap_or_default();
            if record.value.is_some()
                && let Some(token) = token(&String::from_utf8_lossy(key))
            {
                // The first message with this key is the insert.
                heard.entry(token).or_insert(now);
            }
        }
        offset = batch.next_offset;
    }
}

/// The canary's number in a message key.
fn token(key: &str) -> Option<String> {
    // Of a key of several columns the first is the canary's.
    let behind = [CANARY_UUID, CANARY, "-"]
        .into_iter()
        .find_map(|it| key.split_once(it));
    let digits = behind?.1.trim_start_matches('0');
    let number: String = digits.chars().take_while(char::is_ascii_digit).collect();
    (!number.is_empty()).then_some(number)
}

/// Percentiles by the nearest-rank method.
fn distribution(mut samples: Vec<Duration>) -> Distribution {
    samples.sort();
    let at = |percent: usize| {
        let rank = (samples.len() * percent).div_ceil(100).max(1) - 1;
        samples
            .get(rank)
            .map_or(0.0, |sample| sample.as_secs_f64() * 1000.0)
    };
    Distribution {
        p50: at(50),
        p95: at(95),
        p99: at(99),
        max: at(100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let samples = (1..=200).map(Duration::from_millis).collect();
        let found = distribution(samples);
        assert_eq!(
            (found.p50, found.p95, found.p99, found.max),
            (100.0, 190.0, 198.0, 200.0)
        );
        assert_eq!(distribution(vec![Duration::from_millis(7)]).p99, 7.0);
        assert_eq!(distribution(Vec::new()).max, 0.0);
    }

    #[test]
    fn tokens_are_found_in_keys() {
        assert_eq!(token(r#"{"user_id":-1234}"#).as_deref(), Some("1234"));
        assert_eq!(
            token(r#"{"id":"\"canary-000000000077\""}"#).as_deref(),
            Some("77")
        );
        let uuid = format!(r#"{{"id":"{CANARY_UUID}000000000077","part":"a-b"}}"#);
        assert_eq!(token(&uuid).as_deref(), Some("77"));
        assert_eq!(token(r#"{"user_id":5}"#), None);
    }
}
