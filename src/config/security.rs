//! Logins and TLS: how the servers are reached, what must be set together, and what a person should know before it is used.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use super::environment::{Environment, exposed, exposure};
use super::error::UsageError;
use super::layers::{Effective, Origin};
use super::value::Value;
use super::{Config, KafkaSecurity, Passwords, SaslMechanism, SqliteSynchronous};
use crate::kafka::KafkaSettings;
use crate::model::{Secret, is_secret_name};
use crate::registry::{RegistrySettings, RegistryUrl};
use crate::store::{StoreSettings, StoreUrl};
use crate::tls::{self, Identity, TlsSettings};

impl Config {
    /// How to reach Kafka, for all clients.
    pub fn kafka(&self) -> KafkaSettings {
        let mut properties = self.security_properties();
        properties.extend(self.kafka_properties.0.clone());
        if let Some(username) = &self.kafka.username {
            properties.insert("sasl.username".into(), username.clone());
        }
        if let Some(password) = &self.passwords.kafka {
            properties.insert("sasl.password".into(), password.expose().into());
        }
        KafkaSettings {
            brokers: self.kafka.brokers.clone(),
            properties,
        }
    }

    /// Logins and TLS in librdkafka's words.
    fn security_properties(&self) -> BTreeMap<String, String> {
        let mut properties = BTreeMap::new();
        let mut set = |name: &str, value: &str| drop(properties.insert(name.to_owned(), value.to_owned()));
        let (protocol, mechanism) = self.kafka_security();
        if protocol != KafkaSecurity::Plaintext {
            set("security.protocol", protocol.as_str());
        }
        if protocol.has_login() {
            set("sasl.mechanism", mechanism.name());
        }
        if protocol.has_tls() {
            let tls = self.kafka_tls();
            let ca_file = tls.ca_file.or_else(tls::system_ca_file);
            set(
                "ssl.ca.location",
                &ca_file.map_or("probe".into(), |file| file.to_string_lossy().into_owned()),
            );
            if let Some(identity) = tls.identity {
                set("ssl.certificate.location", &identity.certificate_file.to_string_lossy());
                set("ssl.key.location", &identity.key_file.to_string_lossy());
            }
            if let Some(password) = &self.passwords.kafka_key {
                set("ssl.key.password", password.expose());
            }
            if tls.insecure_skip_verify {
                set("enable.ssl.certificate.verification", "false");
            }
        }
        properties
    }

    /// How Kafka is spoken to: librdkafka's own properties win over the settings, here as everywhere.
    fn kafka_security(&self) -> (KafkaSecurity, SaslMechanism) {
        let property = |name: &str| self.kafka_properties.0.get(name).map(String::as_str);
        let mechanism = property("sasl.mechanism").or(property("sasl.mechanisms"));
        (
            property("security.protocol")
                .and_then(|text| KafkaSecurity::parse(text).ok())
                .unwrap_or(self.kafka.security_protocol),
            mechanism
                .and_then(|text| SaslMechanism::parse(text).ok())
                .unwrap_or(self.kafka.sasl_mechanism),
        )
    }

    fn kafka_tls(&self) -> TlsSettings {
        let kafka = &self.kafka;
        let files = (&kafka.ca_file, &kafka.certificate_file, &kafka.key_file);
        self.tls_settings(files, self.passwords.kafka_key.as_ref())
    }

    /// How to reach the store.
    pub fn store(&self) -> StoreSettings {
        let store = &self.store;
        let files = (&store.ca_file, &store.certificate_file, &store.key_file);
        let tls = || self.tls_settings(files, self.passwords.cassandra_key.as_ref());
        StoreSettings {
            url: store.url.clone(),
            username: store.username.clone(),
            password: self.passwords.cassandra.clone(),
            tls: store.tls.then(tls),
            consistency: store.consistency,
            readings_consistency: store.readings_consistency,
            data_centre: store.data_centre.clone(),
            sqlite_synchronous_full: store.sqlite_synchronous == SqliteSynchronous::Full,
            connect_timeout: store.connect_timeout,
            request_timeout: store.request_timeout,
        }
    }

    /// How to reach the store for a verdict on what is in it: what one replica has counts, whichever is asked.
    pub fn store_that_misses_nothing(&self) -> StoreSettings {
        let mut settings = self.store();
        settings.readings_consistency = settings.readings_consistency.that_misses_nothing();
        settings
    }

    /// How to reach the registry; `None` where none is set.
    pub fn registry(&self) -> Option<RegistrySettings> {
        Some(RegistrySettings {
            url: self.registry.url.clone()?,
            username: self.registry.username.clone(),
            password: self.passwords.registry.clone(),
            tls: self.tls_settings((&self.registry.ca_file, &None, &None), None),
            request_timeout: self.registry.request_timeout,
            unknown_schema_wait: self.registry.unknown_schema_wait,
        })
    }

    /// Whether something is in memory, or will be, that nobody may see: a password, a property that may be one, a private key.
    pub fn holds_secrets(&self) -> bool {
        let properties = &self.kafka_properties.0;
        self.passwords != Passwords::default()
            || properties.keys().any(|name| is_secret_name(name))
            || key_files(self).iter().any(|(_, file)| file.is_some())
    }

    fn tls_settings(
        &self,
        (ca_file, certificate_file, key_file): (&Option<PathBuf>, &Option<PathBuf>, &Option<PathBuf>),
        key_password: Option<&Secret>,
    ) -> TlsSettings {
        let pair = certificate_file.clone().zip(key_file.clone());
        TlsSettings {
            ca_file: ca_file.clone(),
            identity: pair.map(|(certificate_file, key_file)| Identity {
                certificate_file,
                key_file,
                key_password: key_password.cloned(),
            }),
            insecure_skip_verify: self.tls.insecure_skip_verify,
        }
    }
}

/// Refuses what cannot work, and adds a warning for what should not be.
pub(super) fn review(config: &mut Config, effective: &Effective, environment: &Environment) -> Result<(), UsageError> {
    check_build(config, effective)?;
    check_files(config, effective)?;
    check_login(config, effective)?;
    let keys = key_files(config).into_iter().filter_map(|(key, file)| {
        let (subject, path) = (given(effective, key)?, file?);
        let (others, path) = (exposure(&path)?, path.display());
        Some(format!("{subject}: {path} can be read by {others}: chmod 600 {path}"))
    });
    let mut warnings: Vec<String> = exposed(environment).into_iter().chain(keys).collect();
    warnings.extend(without_effect(config, effective));
    if config.tls.insecure_skip_verify {
        warnings.push(format!(
            "{}: no certificate of Kafka, Cassandra and the registry is verified: whoever is on the way can read and \
             change everything, passwords too",
            effective.get(INSECURE).origin.subject(INSECURE)
        ));
    }
    config.warnings.extend(warnings);
    Ok(())
}

const INSECURE: &str = "tls.insecure_skip_verify";

/// What an error or a warning about a setting begins with; `None` where nobody set it.
fn given(effective: &Effective, key: &str) -> Option<String> {
    let given = effective.get(key);
    let is_set = given.origin != Origin::Default && given.text != "none";
    is_set.then(|| given.origin.subject(key))
}

/// A build without TLS says so before it tries.
fn check_build(config: &Config, effective: &Effective) -> Result<(), UsageError> {
    if tls::IS_BUILT_IN {
        return Ok(());
    }
    let (protocol, mechanism) = config.kafka_security();
    let needing = match () {
        () if protocol.has_tls() => "kafka.security_protocol",
        // librdkafka takes its hash functions from OpenSSL.
        () if protocol.has_login() && mechanism != SaslMechanism::Plain => "kafka.sasl_mechanism",
        () if config.store.tls => "store.tls",
        () => return Ok(()),
    };
    Err(effective.wrong(
        needing,
        "needs TLS, which this build does not have: build it with the feature tls",
    ))
}

/// Settings of files with what they name, those that others take their defaults from first.
fn key_files(config: &Config) -> [(&'static str, Option<PathBuf>); 3] {
    [
        ("tls.key_file", config.tls.key_file.clone()),
        ("kafka.key_file", config.kafka.key_file.clone()),
        ("store.key_file", config.store.key_file.clone()),
    ]
}

fn check_files(config: &Config, effective: &Effective) -> Result<(), UsageError> {
    let (tls, kafka, store) = (&config.tls, &config.kafka, &config.store);
    let others = [
        ("tls.ca_file", &tls.ca_file),
        ("tls.certificate_file", &tls.certificate_file),
        ("kafka.ca_file", &kafka.ca_file),
        ("kafka.certificate_file", &kafka.certificate_file),
        ("store.ca_file", &store.ca_file),
        ("store.certificate_file", &store.certificate_file),
        ("registry.ca_file", &config.registry.ca_file),
    ];
    let others = others.map(|(key, file)| (key, file.clone()));
    for (key, file) in others.into_iter().chain(key_files(config)) {
        let Some(file) = file else { continue };
        File::open(&file).map_err(|error| effective.wrong(key, &format!("cannot read {}: {error}", file.display())))?;
    }
    let pairs = [
        ("tls", &tls.certificate_file, &tls.key_file),
        ("kafka", &kafka.certificate_file, &kafka.key_file),
        ("store", &store.certificate_file, &store.key_file),
    ];
    for (section, certificate, key) in pairs {
        let (lone, missing) = match (certificate, key) {
            (Some(_), None) => ("certificate_file", "key_file"),
            (None, Some(_)) => ("key_file", "certificate_file"),
            _ => continue,
        };
        let error = format!("belongs together with {section}.{missing}, which is not set");
        return Err(effective.wrong(&format!("{section}.{lone}"), &error));
    }
    Ok(())
}

/// A login needs somebody to log in. Of mechanisms that only librdkafka knows, it knows what they need.
fn check_login(config: &Config, effective: &Effective) -> Result<(), UsageError> {
    let properties = &config.kafka_properties.0;
    let has = |name: &str| properties.contains_key(name);
    let (protocol, _) = config.kafka_security();
    if !protocol.has_login() || has("sasl.mechanism") || has("sasl.mechanisms") {
        return Ok(());
    }
    let missing = match (&config.kafka.username, &config.passwords.kafka) {
        (None, _) if !has("sasl.username") => "kafka.username",
        (_, None) if !has("sasl.password") => "IOTPIPE_KAFKA_PASSWORD (or IOTPIPE_KAFKA_PASSWORD_FILE)",
        _ => return Ok(()),
    };
    let error = format!("{protocol} is a login, and {missing} is not set");
    Err(effective.wrong("kafka.security_protocol", &error))
}

/// Settings that somebody gave in the belief that they protect.
fn without_effect(config: &Config, effective: &Effective) -> Vec<String> {
    let (protocol, _) = config.kafka_security();
    let is_cassandra = matches!(config.store.url, StoreUrl::Cassandra { .. });
    let registry_tls = config.registry.url.as_ref().is_some_and(RegistryUrl::is_secure);
    let kafka = format!("kafka.security_protocol is {protocol}");
    let store = "store.tls is false".to_owned();
    let registry = "registry.url is no https address".to_owned();
    let candidates = [
        ("kafka.username", !protocol.has_login(), &kafka),
        ("kafka.ca_file", !protocol.has_tls(), &kafka),
        ("kafka.certificate_file", !protocol.has_tls(), &kafka),
        ("store.ca_file", is_cassandra && !config.store.tls, &store),
        ("store.certificate_file", is_cassandra && !config.store.tls, &store),
        (
            "registry.ca_file",
            config.registry.url.is_some() && !registry_tls,
            &registry,
        ),
    ];
    let idle = candidates.into_iter().filter(|(_, is_idle, _)| *is_idle);
    idle.filter_map(|(key, _, why)| Some(format!("{}: has no effect: {why}", given(effective, key)?)))
        .collect()
}

#[cfg(test)]
mod tests;
