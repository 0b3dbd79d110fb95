//! Dead letter queues: what sink connectors could not process, why, and sending it back.
//!
//! Nothing is remembered beside the topics themselves. A record that is sent back carries which record
//! of its topic it repeats ([`headers::ORIGIN`]); so a second run, after a kill at any point or on
//! another machine, sees in the topic what was sent already.

pub mod decide;
pub mod edit;
pub mod filter;
pub mod headers;
mod originals;
pub mod prepare;
mod proof;
pub mod purge;
pub mod queues;
pub mod redrive;
mod rows;
pub mod scan;
mod target;

use crate::clients::kafka::{ErrorCode, KafkaError, Record};
use crate::environment::KAFKA_USER;
use crate::error::Error;
use crate::observe::topics::lost;
use crate::profile::topics::QUEUES;
pub use headers::{Failure, Place};
pub use rows::{Errors, errors, rejected};

/// What a refused change of a topic means for the user.
fn refused(error: KafkaError, operation: &str) -> Error {
    match error.code() {
        // The user that an encrypted cluster has for this tool may do so with the queues and topics of
        // sinks that the profile knows of.
        Some(ErrorCode::TopicAuthorizationFailed) => {
            crate::components::service(error).hint(format!(
                "the tool's user has the right to {operation} where connect.plugins names a sink, on the \
                 flows' topics and on queues called {QUEUES}*; give it more in the KafkaUser {KAFKA_USER}"
            ))
        }
        _ => lost(error),
    }
}

/// A record of a dead letter queue.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where in the queue it is.
    pub at: Place,
    /// What its headers say.
    pub failure: Failure,
    /// The record.
    pub record: Record,
}

impl Entry {
    /// Reads a record of a partition of a queue.
    pub fn of(topic: &str, partition: i32, record: Record) -> Self {
        Entry {
            at: Place {
                topic: topic.to_owned(),
                partition,
                offset: record.offset,
            },
            failure: headers::decode(&record.headers),
            record,
        }
    }
}
