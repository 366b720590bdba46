//! How to reach the brokers, and the properties that every client shares.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::model::{MASK, is_secret_name};

/// What all Kafka clients share.
#[derive(Clone, PartialEq)]
pub struct KafkaSettings {
    /// Bootstrap servers, `host:port[,host:port]`.
    pub brokers: String,
    /// librdkafka properties as the user gave them: they win over ours.
    pub properties: BTreeMap<String, String>,
}

/// Properties that may hold a secret are masked.
impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |name: &String, value: &String| {
            if is_secret_name(name) {
                MASK.to_owned()
            } else {
                value.clone()
            }
        };
        let properties: BTreeMap<_, _> = self
            .properties
            .iter()
            .map(|(name, value)| (name, shown(name, value)))
            .collect();
        f.debug_struct("KafkaSettings")
            .field("brokers", &self.brokers)
            .field("properties", &properties)
            .finish()
    }
}

impl KafkaSettings {
    /// A client's configuration: ours for the role, then what the user gave.
    pub fn client_config(&self, role: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Warning);
        config.set("bootstrap.servers", &self.brokers);
        config.set("client.id", "iotpipe");
        // A broker that is down is asked for again soon; the default backs off to 10 s.
        config.set("reconnect.backoff.max.ms", "2000");
        for (name, value) in role {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }
}
