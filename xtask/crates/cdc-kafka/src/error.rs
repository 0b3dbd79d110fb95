//! The one error type of the Kafka client.

use std::{io, time::Duration};

use kafka_protocol::ResponseError;

use super::{sasl::LoginProblem, tls::TlsProblem};

/// A Kafka error code, as the protocol defines it (`org.apache.kafka.common.protocol.Errors`).
///
/// Compare with its variants (`ErrorCode::UnknownTopicOrPartition`); [`code_name`] gives the
/// spelling of Kafka's own documentation and logs.
pub type ErrorCode = ResponseError;

/// What can go wrong between this client and a cluster.
///
/// Every message is complete on its own (it contains its cause and names the address, topic or
/// group), so that callers can print it as it is.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// No connection could be opened.
    #[error("cannot connect to Kafka at {address}{}: {cause}", advertised(*.advertised_by))]
    Connect {
        /// The dialled `host:port`.
        address: String,
        /// The broker that advertises this address, if the caller did not give it.
        advertised_by: Option<i32>,
        /// What the operating system or the resolver said.
        cause: io::Error,
    },

    /// The connection ended while a request was under way. Whether the broker carried the request
    /// out is unknown.
    #[error("{address} closed the connection during {api}: {cause}")]
    Disconnected {
        /// The dialled `host:port`.
        address: String,
        /// The API in Kafka's spelling, for example `Metadata`.
        api: &'static str,
        /// What the operating system said.
        cause: io::Error,
    },

    /// The deadline of the operation passed.
    #[error("no answer to {what} within {} s", .after.as_secs_f64())]
    Timeout {
        /// What was waited for, with the address: `Metadata from 127.0.0.1:9092`.
        what: String,
        /// The time granted to the whole operation.
        after: Duration,
    },

    /// A broker answered with an error code.
    #[error("{api}{}: {}{}", of(.subject), code_name(*.code), explained(*.code, .message.as_deref()))]
    Broker {
        /// The API in Kafka's spelling.
        api: &'static str,
        /// The code in the answer.
        code: ErrorCode,
        /// What the code is about: `topic orders`, `group etl`. Empty if about the request.
        subject: String,
        /// The broker's own words, for the APIs that have any.
        message: Option<String>,
    },

    /// An answer could not be understood: damaged, or not Kafka at all.
    #[error("{address} sent what is not a valid Kafka answer to {api}: {detail}")]
    Protocol {
        /// The dialled `host:port`.
        address: String,
        /// The API in Kafka's spelling.
        api: &'static str,
        /// What was wrong with the bytes.
        detail: String,
    },

    /// Client and broker have no common way of doing this.
    #[error("{0}")]
    Unsupported(String),

    /// The CA certificate that the caller gave is none.
    #[error("the CA certificate for Kafka's brokers cannot be used: {0}")]
    Ca(
        /// What is wrong with it.
        String,
    ),

    /// The broker could not be reached over TLS, or is not the one that was expected.
    #[error("no TLS with Kafka at {address}: {problem}")]
    Tls {
        /// The dialled `host:port`.
        address: String,
        /// Why.
        problem: TlsProblem,
    },

    /// The client was configured to speak without TLS, and the broker wants it.
    #[error("Kafka at {address} speaks TLS here, and the client was configured without")]
    TlsWanted {
        /// The dialled `host:port`.
        address: String,
    },

    /// The client was configured without a login, and the broker wants a login.
    #[error("Kafka at {address} wants a login ({}), and the client was configured without", .offered.join(", "))]
    LoginWanted {
        /// The dialled `host:port`.
        address: String,
        /// The mechanisms that the listener offers.
        offered: Vec<String>,
    },

    /// The login failed.
    #[error("cannot log in to Kafka at {address} as {user}: {problem}")]
    Login {
        /// The dialled `host:port`.
        address: String,
        /// As whom.
        user: String,
        /// Why.
        problem: LoginProblem,
    },

    /// None of several bootstrap addresses answered.
    #[error("no Kafka broker answers: {}", joined(.0))]
    NoBroker(
        /// One error per address, in the order of the addresses.
        Vec<KafkaError>,
    ),
}

impl KafkaError {
    /// Whether the same call can succeed later without anyone changing anything: elections,
    /// loading coordinators, brokers that are starting, timeouts.
    ///
    /// Codes are classified by the protocol, which counts `UNKNOWN_TOPIC_OR_PARTITION` as
    /// retriable because new topics take a moment to reach every broker. Callers that know the
    /// topic ought to exist should look at [`KafkaError::code`].
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Connect { cause, .. } => cause.kind() != io::ErrorKind::InvalidInput,
            Self::Disconnected { .. } | Self::Timeout { .. } => true,
            Self::Broker { code, .. } => code.is_retriable(),
            // A port-forward hangs up like this while its target is starting.
            Self::Tls { problem, .. } => *problem == TlsProblem::Closed,
            Self::Protocol { .. }
            | Self::Unsupported(_)
            | Self::Ca(_)
            | Self::TlsWanted { .. }
            | Self::LoginWanted { .. }
            | Self::Login { .. } => false,
            Self::NoBroker(attempts) => attempts.iter().any(Self::is_retriable),
        }
    }

    /// The broker's error code, if a broker answered with one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the request went to the wrong broker, because leaders or coordinators moved or the
    /// broker is gone, and was certainly not carried out.
    pub(super) fn is_misrouted(&self) -> bool {
        matches!(self, Self::Connect { .. })
            || matches!(
                self.code(),
                Some(
                    ErrorCode::NotLeaderOrFollower
                        | ErrorCode::LeaderNotAvailable
                        | ErrorCode::FencedLeaderEpoch
                        | ErrorCode::UnknownLeaderEpoch
                        | ErrorCode::NotController
                        | ErrorCode::NotCoordinator
                )
            )
    }
}

/// The name of a code as Kafka writes it: `UNKNOWN_TOPIC_OR_PARTITION`.
pub fn code_name(code: ErrorCode) -> String {
    if let ErrorCode::Unknown(number) = code {
        return format!("error code {number}");
    }
    let mut name = String::new();
    for (index, letter) in code.to_string().char_indices() {
        if index > 0 && letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// What a code means to the person in front of the terminal, for the codes that people meet.
fn meaning(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::UnknownTopicOrPartition => "it does not exist (yet)",
        ErrorCode::LeaderNotAvailable => "its leader is being elected",
        ErrorCode::NotLeaderOrFollower => "its leader has moved to another broker",
        ErrorCode::OffsetOutOfRange => {
            "the offset was deleted by retention or is beyond the end of the partition"
        }
        ErrorCode::CoordinatorLoadInProgress => "the group coordinator is still loading",
        ErrorCode::CoordinatorNotAvailable => {
            "no group coordinator yet; a new cluster is creating __consumer_offsets"
        }
        ErrorCode::NotCoordinator => "the group coordinator has moved to another broker",
        ErrorCode::NonEmptyGroup | ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
            "the group has active members; stop its consumers first"
        }
        ErrorCode::GroupIdNotFound => "no such group",
        ErrorCode::MessageTooLarge => "larger than the topic's max.message.bytes",
        ErrorCode::NotEnoughReplicas => "fewer replicas in sync than min.insync.replicas",
        ErrorCode::InvalidReplicationFactor => "more replicas asked for than there are brokers",
        _ => return None,
    })
}

fn advertised(by: Option<i32>) -> String {
    by.map(|id| format!(", where broker {id} advertises itself"))
        .unwrap_or_default()
}

fn of(subject: &str) -> String {
    match subject {
        "" => String::new(),
        subject => format!(" of {subject}"),
    }
}

/// The broker's words are about this very case, so they win over the general meaning.
fn explained(code: ErrorCode, words: Option<&str>) -> String {
    let text = words.or_else(|| meaning(code));
    text.map(|text| format!(" ({text})")).unwrap_or_default()
}

fn joined(errors: &[KafkaError]) -> String {
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    errors.join("; ")
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::FetchRequest;

    use super::*;
    use crate::wire::Api;

    fn broker(code: i16, subject: &str, message: Option<&str>) -> KafkaError {
        FetchRequest::check(code, || subject.to_owned(), message).expect_err("a code is an error")
    }

    #[test]
    fn codes_are_spelled_like_in_the_documentation() {
        assert_eq!(
            code_name(ErrorCode::UnknownTopicOrPartition),
            "UNKNOWN_TOPIC_OR_PARTITION"
        );
        assert_eq!(code_name(ErrorCode::Unknown(4242)), "error code 4242");
    }

    #[test]
    fn messages_name_the_subject_and_the_meaning() {
        assert_eq!(
            broker(3, "topic orders", None).to_string(),
            "Fetch of topic orders: UNKNOWN_TOPIC_OR_PARTITION (it does not exist (yet))"
        );
        assert_eq!(
            broker(42, "", Some("bad request")).to_string(),
            "Fetch: INVALID_REQUEST (bad request)"
        );
    }

    #[test]
    fn advertised_addresses_are_told_from_given_ones() {
        let error = KafkaError::Connect {
            address: "kafka-2.svc:9092".into(),
            advertised_by: Some(2),
            cause: io::Error::other("unknown host"),
        };
        assert_eq!(
            error.to_string(),
            "cannot connect to Kafka at kafka-2.svc:9092, where broker 2 advertises itself: unknown host"
        );
    }

    #[test]
    fn success_is_no_error() {
        assert!(FetchRequest::check(0, String::new, None).is_ok());
    }

    #[test]
    fn retriable_follows_the_protocol() {
        for (code, retriable) in [(6, true), (14, true), (5, true), (1, false), (29, false)] {
            assert_eq!(broker(code, "", None).is_retriable(), retriable, "{code}");
        }
        let refused = || KafkaError::Connect {
            address: "127.0.0.1:1".into(),
            advertised_by: None,
            cause: io::ErrorKind::ConnectionRefused.into(),
        };
        assert!(refused().is_retriable());
        assert!(KafkaError::NoBroker(vec![refused()]).is_retriable());
        assert!(!KafkaError::Unsupported(String::new()).is_retriable());
    }

    #[test]
    fn only_moved_leaders_and_coordinators_are_misrouted() {
        assert!(broker(6, "", None).is_misrouted());
        assert!(!broker(3, "", None).is_misrouted());
    }
}
