//! How many records sinks have put aside.

use super::Connector;
use crate::clients::kafka::{KafkaClient, OffsetAt};
use crate::environment::Environment;
use crate::wait::Limit;

/// Counts them where a sink has a place for them.
pub(super) async fn count(env: &Environment, connectors: &mut [Connector], limit: &Limit) {
    if connectors.iter().any(|it| it.dead_letters.is_some()) {
        // What was not counted stays unknown.
        let _late = limit.within(ask(env, connectors, limit)).await;
    }
}

async fn ask(env: &Environment, connectors: &mut [Connector], limit: &Limit) {
    let client = KafkaClient::with_config(env.kafka_config(limit.most())).await;
    let Ok(client) = client else { return };
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
