//! How far a connector's first snapshot is. It tells nothing of that itself, so what is in its topics is counted, and
//! its source asked for about how many rows there are.

use crate::clients::kafka::{FetchOptions, KafkaClient, OffsetAt};
use crate::clock;
use crate::components::connect::is_in_snapshot;
use crate::components::dialect::Read;
use crate::components::named;
use crate::environment::Environment;
use crate::profile::schema::Flow;

use super::noted::Seen;

/// What is seen of it; none where the connector is past it, or something does not answer.
pub(super) async fn seen(env: &Environment, client: &KafkaClient, name: &str) -> Option<Seen> {
    if !is_in_snapshot(env, name).await {
        return None;
    }
    let (mut rows, mut of, mut since) = (0, Some(0), None);
    for flow in env.profile.flows.values().filter(|it| it.connector == name) {
        let (sent, first) = sent(env, client, flow).await.unwrap_or_default();
        rows += sent;
        since = since.into_iter().chain(first).min();
        of = of
            .zip(estimate(env, flow).await)
            .map(|(of, more)| of + more);
    }
    let took = since.map_or(0, |since| clock::now_ms().saturating_sub(since));
    Some(Seen {
        rows,
        // An estimate may be of before the newest rows.
        of: of.filter(|of| *of > rows),
        rate: (rows * 1000).checked_div(took),
        ..Seen::default()
    })
}

/// How many rows are in a flow's topic, and when the first came.
async fn sent(env: &Environment, client: &KafkaClient, flow: &Flow) -> Option<(u64, Option<u64>)> {
    let topic = env.profile.topic(flow);
    let ends = client.offsets(&topic, OffsetAt::Latest).await.ok()?;
    let begins = client.offsets(&topic, OffsetAt::Earliest).await.ok()?;
    let (mut rows, mut since) = (0, None);
    for (partition, begin) in begins {
        let end = ends.get(&partition).copied().unwrap_or(begin);
        rows += u64::try_from(end - begin).unwrap_or(0);
        if end > begin {
            let options = FetchOptions {
                max_bytes: 1,
                ..FetchOptions::default()
            };
            let batch = client
                .fetch(&topic, partition, begin, &options)
                .await
                .ok()?;
            let first = batch.records.first();
            let first = first.and_then(|it| u64::try_from(it.timestamp).ok());
            since = since.into_iter().chain(first).min();
        }
    }
    Some((rows, since))
}

/// About how many rows the source's table has.
async fn estimate(env: &Environment, flow: &Flow) -> Option<u64> {
    let source = env.profile.source(flow)?;
    let dialect = named(env, &source.name).ok()?.dialect()?;
    let table = dialect.open(env, &flow.table, Some(flow)).await.ok()?;
    let extent = table.extent(&Read::default(), false).await.ok()?;
    Some(extent.rows)
}
