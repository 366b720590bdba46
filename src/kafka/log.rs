//! librdkafka's own log lines. What matters of them comes as errors and events; the lines themselves are for debugging,
//! and must not scribble over what a person reads.

use rdkafka::config::RDKafkaLogLevel;

/// Makes a context of one that has nothing of its own to do with logs and errors: both are forwarded.
macro_rules! forwarding_context {
    ($Context:ty) => {
        impl rdkafka::ClientContext for $Context {
            fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
                $crate::kafka::log::forward_log(level, facility, message);
            }

            fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
                $crate::telemetry::events::kafka_client_error(&error, reason);
            }
        }
    };
}

pub(super) use forwarding_context;

/// Hands a line of librdkafka to tracing, at most at `debug` unless the client cannot go on.
pub fn forward_log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Debug => tracing::trace!(target: "librdkafka", facility, "{message}"),
        _ => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}
