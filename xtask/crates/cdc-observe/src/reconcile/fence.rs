//! The fence of a comparison: the target has all that the source had committed before.
//!
//! The source writes a marker into its log. Once the flow's connector has committed a position behind it, Kafka has
//! all that came before it; once the target's group has committed what Kafka had then, the target has it. Nothing is
//! locked, and no table is written to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clients::kafka::{ErrorCode, KafkaClient, OffsetAt};
use crate::components::{flow_source, kafka, service};
use crate::environment::Environment;
use crate::error::Result;
use crate::plan::Progress;
use crate::profile::schema::Flow;
use crate::readiness::Status;
use crate::up::unread::unread_before;
use crate::wait::{self, Patience};

/// A flow's fence.
pub(super) struct Fence<'a> {
    env: &'a Environment,
    flow: &'a Flow,
    client: KafkaClient,
    /// For how long it waits.
    within: Duration,
    /// How many markers were written.
    markers: AtomicU64,
}

impl<'a> Fence<'a> {
    /// Connects.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub(super) async fn of(env: &'a Environment, flow: &'a Flow, within: Duration) -> Result<Self> {
        Ok(Fence {
            env,
            flow,
            client: kafka::client(env).await?,
            within,
            markers: AtomicU64::new(0),
        })
    }

    /// How many markers it has written.
    pub(super) fn markers(&self) -> u64 {
        self.markers.load(Ordering::Relaxed)
    }

    /// Waits until the target has all that the source has committed by now.
    ///
    /// # Errors
    /// An end does not answer, or it takes too long.
    pub(super) async fn pass(&self) -> Result<()> {
        let patience = Patience {
            deadline: self.within,
            first: Duration::from_millis(20),
            slowest: Duration::from_millis(100),
        };
        let (env, flow) = (self.env, self.flow);
        let progress = Progress::silent();
        let marker = match flow_source(env, flow) {
            Some(source) => source.marker(env).await?.map(|marker| (source, marker)),
            None => None,
        };
        if let Some((source, marker)) = marker {
            self.markers.fetch_add(1, Ordering::Relaxed);
            let connect = env.connect_client();
            let what = format!("{} has read what the source had", flow.connector);
            let look = || async {
                match connect.offsets(&flow.connector).await {
                    Ok(found) => {
                        let all = found.iter().flat_map(|it| &it.offsets);
                        let reached = all.filter_map(|it| source.reached(&it.offset)).max();
                        match reached.is_some_and(|it| it >= marker) {
                            true => Status::current("read"),
                            false => Status::in_progress("it has not committed the marker yet"),
                        }
                    }
                    Err(error) => Status::in_progress(error.to_string()),
                }
            };
            wait::until(&what, patience, &progress, look).await?;
        }
        let topic = env.profile.topic(flow);
        let ends = match self.client.offsets(&topic, OffsetAt::Latest).await {
            // No change has come yet.
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => return Ok(()),
            ends => ends.map_err(service)?,
        };
        let what = format!("the target has read {topic}");
        let look = || async {
            match unread_before(&self.client, &topic, &flow.group, &ends).await {
                Ok(0) => Status::current("read"),
                Ok(changes) => Status::in_progress(format!("{changes} changes to go")),
                Err(error) => Status::in_progress(error.to_string()),
            }
        };
        wait::until(&what, patience, &progress, look).await?;
        Ok(())
    }
}
