//! What can go wrong with the source.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use sluice_crds::condition::Reason;

use super::context::Trouble;
use crate::error::Classified;

/// An error of the source.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // The texts say what the variants are.
pub enum SourceError {
    #[error(
        "connection `{connection}`: key `{key}` of secret `{secret}` cannot be read: create the secret with this key, or correct the name in the connection"
    )]
    Secret { connection: String, secret: String, key: String, source: std::io::Error },

    #[error(
        "connection `{connection}`: librdkafka refuses the property `{property}`: {problem}; correct it in the connection's `config`"
    )]
    Property { connection: String, property: String, problem: String },

    #[error("connection `{connection}`: no client can be made of its settings: {problem}")]
    Client { connection: String, problem: String },

    #[error(
        "topic `{topic}` does not exist in connection `{connection}`: create it, correct its name in the table, or allow its user to describe it"
    )]
    UnknownTopic { connection: String, topic: String },

    #[error(
        "connection `{connection}`: the brokers at {servers} do not answer while {doing}: {problem}; check the addresses, the network and whether TLS is expected"
    )]
    Unavailable { connection: String, servers: String, doing: String, problem: String },

    #[error(
        "connection `{connection}`: the brokers refuse the login: {problem}; check the credentials and the certificates"
    )]
    Authentication { connection: String, problem: String },

    #[error(
        "connection `{connection}`: not allowed while {doing}: {problem}; grant Describe and Read on topic `{topic}` and Read on the group"
    )]
    Authorization { connection: String, topic: String, doing: String, problem: String },

    #[error(
        "topic `{topic}` partition {partition}: position {position} is not in the topic, which has {beginning} to {end}: set `onOffsetOutOfRange` to go on with a recorded gap"
    )]
    OutOfRange { topic: String, partition: i32, position: i64, beginning: i64, end: i64 },

    #[error(
        "topic `{topic}` partition {partition}: the record at offset {offset} cannot be read and is not skipped: {problem}; repair or remove it on the broker"
    )]
    Unreadable { topic: String, partition: i32, offset: i64, problem: String },

    #[error("topic `{topic}`: the client cannot go on: {problem}; start the worker again")]
    Fatal { topic: String, problem: String },

    #[error("the embedded Kafka failed")]
    Embedded {
        #[source]
        source: rdkafka::error::KafkaError,
    },
    #[error("topic `{topic}`: {problem}")]
    Internal { topic: String, problem: String },
}

impl Classified for SourceError {
    fn reason(&self) -> Reason {
        match self {
            Self::Secret { .. } | Self::UnknownTopic { .. } => Reason::ReferenceNotFound,
            Self::Property { .. } | Self::Client { .. } => Reason::ConfigInvalid,
            Self::Unavailable { .. } | Self::Fatal { .. } => Reason::SourceUnavailable,
            Self::Authentication { .. } => Reason::AuthenticationFailed,
            Self::Authorization { .. } => Reason::AuthorizationFailed,
            Self::OutOfRange { .. } => Reason::OffsetOutOfRange,
            Self::Unreadable { .. } => Reason::DataLossRisk,
            Self::Embedded { .. } | Self::Internal { .. } => Reason::Internal,
        }
    }

    fn retry(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Fatal { .. })
    }
}

/// What an error code of librdkafka or of a broker means to a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The position is not in the topic.
    OutOfRange,
    /// There is no such topic or partition.
    UnknownTopic,
    /// The login was refused.
    Authentication,
    /// The user may not do this.
    Authorization,
    /// Bytes that are not a record. librdkafka goes on behind them, so whoever reads must stop.
    Unreadable,
    /// The client itself is broken.
    Fatal,
    /// A note, or something that librdkafka mends by itself.
    Passing,
}

/// What a code means.
pub(super) fn meaning(code: Code) -> Meaning {
    match code {
        Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation => Meaning::OutOfRange,
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::InvalidTopic => {
            Meaning::UnknownTopic
        }
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::SSL
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => Meaning::Authentication,
        Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            Meaning::Authorization
        }
        Code::BadMessage
        | Code::BadCompression
        | Code::NotImplemented
        | Code::InvalidMessage
        | Code::InvalidMessageSize
        | Code::MessageSizeTooLarge
        | Code::UnsupportedCompressionType
        | Code::UnsupportedForMessageFormat
        | Code::Underflow => Meaning::Unreadable,
        Code::Fatal | Code::Fenced | Code::FencedInstanceId => Meaning::Fatal,
        _ => Meaning::Passing,
    }
}

/// Who asks what, for messages.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// Name of the connection.
    pub connection: String,
    /// The brokers' addresses.
    pub servers: String,
    /// The topic.
    pub topic: String,
}

impl Subject {
    /// The error for a code that a call or a callback gave. What librdkafka noted meanwhile (`trouble`) tells the cause:
    /// a refused login shows as a time-out to the caller.
    pub(super) fn error(&self, code: Code, text: &str, doing: &str, trouble: Option<&Trouble>) -> SourceError {
        let (connection, topic) = (self.connection.clone(), self.topic.clone());
        let (doing, problem) = (doing.to_owned(), text.to_owned());
        match (meaning(code), trouble) {
            (Meaning::UnknownTopic, _) => SourceError::UnknownTopic { connection, topic },
            (Meaning::Authentication, _) => SourceError::Authentication { connection, problem },
            (Meaning::Authorization, _) => SourceError::Authorization { connection, topic, doing, problem },
            (Meaning::Fatal, _) => SourceError::Fatal { topic, problem },
            (_, Some(Trouble { reason: Reason::AuthenticationFailed, message, .. })) => {
                SourceError::Authentication { connection, problem: message.clone() }
            }
            (_, Some(Trouble { reason: Reason::AuthorizationFailed, message, .. })) => {
                SourceError::Authorization { connection, topic, doing, problem: message.clone() }
            }
            (_, trouble) => {
                let problem = trouble.map_or(problem.clone(), |trouble| format!("{problem} ({})", trouble.message));
                SourceError::Unavailable { connection, servers: self.servers.clone(), doing, problem }
            }
        }
    }
}

/// The text of an error, without the values of properties: a value may be a secret.
pub(super) fn describe(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, problem, property, _) => format!("property `{property}`: {problem}"),
        other => other.rdkafka_error_code().map_or_else(|| other.to_string(), |code| code.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn subject() -> Subject {
        Subject { connection: "onprem".into(), servers: "k:9092".into(), topic: "t".into() }
    }

    #[test]
    fn a_time_out_after_a_refused_login_is_an_authentication_error() {
        let trouble = Trouble {
            reason: Reason::AuthenticationFailed,
            message: "SASL authentication error".into(),
            since: Timestamp::UNIX_EPOCH,
        };
        let error = subject().error(Code::OperationTimedOut, "timed out", "asking", Some(&trouble));
        assert_eq!((error.reason(), error.retry()), (Reason::AuthenticationFailed, false));
        let error = subject().error(Code::OperationTimedOut, "timed out", "asking", None);
        assert_eq!((error.reason(), error.retry()), (Reason::SourceUnavailable, true));
    }

    #[test]
    fn a_property_error_never_shows_the_value() {
        let error = KafkaError::ClientConfig(
            rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "invalid value".into(),
            "sasl.password".into(),
            "hunter2".into(),
        );
        assert_eq!(describe(&error), "property `sasl.password`: invalid value");
    }
}
