//! Which replica leads.

use kafka_protocol::messages::ElectLeadersRequest;

use super::{
    client::KafkaClient,
    error::{ErrorCode, KafkaError},
    wire::Api,
};

impl KafkaClient {
    /// Has every partition led by the first of its replicas again, where that one is in sync. The
    /// brokers do so by themselves too, every five minutes.
    pub async fn elect_preferred_leaders(&self) -> Result<(), KafkaError> {
        let deadline = self.deadline();
        let request = ElectLeadersRequest::default()
            .with_election_type(0) // The preferred ones; 1 would lose data.
            .with_topic_partitions(None) // All of them.
            .with_timeout_ms(deadline.left_ms());
        let response = self.call_controller(&request, deadline).await?;
        let subject = || "all partitions".to_owned();
        ElectLeadersRequest::check(response.error_code, subject, None)?;
        for topic in response.replica_election_results {
            for partition in topic.partition_result {
                // It leads already, or is not there to lead: the caller looks at the result.
                let passes = matches!(
                    ErrorCode::try_from_code(partition.error_code),
                    Some(ErrorCode::ElectionNotNeeded | ErrorCode::PreferredLeaderNotAvailable)
                );
                if !passes {
                    let subject = || format!("{}-{}", topic.topic.as_str(), partition.partition_id);
                    let message = partition.error_message.as_deref();
                    ElectLeadersRequest::check(partition.error_code, subject, message)?;
                }
            }
        }
        Ok(())
    }
}
