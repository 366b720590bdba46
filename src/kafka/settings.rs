//! How to reach the brokers, and the properties that every client shares.

use std::collections::BTreeMap;
use std::fmt;
#[cfg(feature = "tls")]
use std::path::PathBuf;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

#[cfg(feature = "tls")]
use crate::model::Secret;
use crate::model::{MASK, is_secret_name};
#[cfg(feature = "tls")]
use crate::tls::{Identity, TlsSettings};

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
    /// A librdkafka property as it was given.
    pub(super) fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }

    /// Neither TLS nor a login.
    pub(super) fn is_open_to_all(&self) -> bool {
        let protocol = self.property("security.protocol");
        protocol.is_none_or(|protocol| protocol.eq_ignore_ascii_case("plaintext"))
    }

    /// What the properties say about TLS, for connections that librdkafka does not make.
    #[cfg(feature = "tls")]
    pub(super) fn tls(&self) -> TlsSettings {
        let file = |name| self.property(name).map(PathBuf::from);
        let certificate = file("ssl.certificate.location").zip(file("ssl.key.location"));
        TlsSettings {
            ca_file: file("ssl.ca.location").filter(|path| path.as_os_str() != "probe"),
            identity: certificate.map(|(certificate_file, key_file)| Identity {
                certificate_file,
                key_file,
                key_password: self.property("ssl.key.password").map(Secret::new),
            }),
            insecure_skip_verify: self.property("enable.ssl.certificate.verification") == Some("false"),
        }
    }

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
