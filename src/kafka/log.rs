//! librdkafka's own log lines. What matters of them comes as errors and events; the lines themselves are for debugging,
//! and must not scribble over what a person reads.

use rdkafka::config::RDKafkaLogLevel;

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
