//! How many records sinks have put aside.

use super::{Connector, LIMIT};
use crate::clients::kafka::{KafkaClient, OffsetAt};
use crate::environment::Environment;

/// Counts them where a sink has a place for them.
pub(super) async fn count(env: &Environment, connectors: &mut [Connector]) {
    if connectors.iter().all(|it| it.dead_letters.is_none()) {
        return;
    }
    let client = async {
        KafkaClient::with_config(env.kafka_config(LIMIT / 4))
            .await
            .ok()
    };
    let Some(client) = client.await else { return };
    for letters in connectors
        .iter_mut()
        .filter_map(|it| it.dead_letters.as_mut())
    {
        let (first, end) = tokio::join!(
            client.offsets(&letters.topic, OffsetAt::Earliest),
            client.offsets(&letters.topic, OffsetAt::Latest),
        );
        if let (Ok(first), Ok(end)) = (first, end) {
            let size = |(partition, end): (&i32, &i64)| end - first.get(partition).unwrap_or(end);
            letters.records = Some(end.iter().map(size).sum());
        }
    }
}
