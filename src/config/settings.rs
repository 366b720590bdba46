//! Every setting, declared once. The declaration drives the file, the environment, the flags and their help, the
//! defaults, `iotpipe config` and `iotpipe.example.toml`.

use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::choices::{Codec, KafkaSecurity, OnDataLoss, Payload, Profile, SaslMechanism, SqliteSynchronous, Start};
use super::error::UsageError;
use super::layers::Effective;
use super::value::{ByteSize, Seconds, Shape, Value, at_least, between, if_set, not_empty, within};
use super::window_sizes::WindowSizes;
use crate::registry::RegistryUrl;
use crate::store::{Compaction, Consistency, ReadingsConsistency, Replication, StoreUrl};

/// What is known of a setting besides its type.
#[derive(Debug)]
pub struct Setting {
    /// `section.key`, as in the TOML file; one setting stands there before all sections and has none.
    pub key: &'static str,
    pub section: &'static str,
    /// What the section is about, for headings.
    pub section_about: &'static str,
    /// Lines of text.
    pub about: &'static [&'static str],
    /// As a flag or variable would give it. `{other.key}` stands for the effective value of another setting.
    pub default: &'static str,
    /// The default in profile `cluster`, where it is another.
    pub cluster: Option<&'static str>,
    /// With the dashes; the first is the flag's name, the others are aliases.
    pub flags: &'static [&'static str],
    /// The subcommands that take the flag.
    pub commands: &'static [&'static str],
    /// Where the flag stands alone and takes no value.
    pub switch: Option<Switch>,
    /// Variables that people use already, besides [`Setting::variable`].
    pub variables: &'static [&'static str],
    pub shape: Shape,
    pub placeholder: &'static str,
}

/// A flag without a value.
#[derive(Clone, Copy, Debug)]
pub struct Switch {
    /// What the flag sets.
    pub text: &'static str,
    /// The flag's own help: the setting's text may say the opposite.
    pub help: &'static str,
}

impl Setting {
    /// The variable that every setting has: `IOTPIPE_SECTION_KEY`.
    pub fn variable(&self) -> String {
        format!("IOTPIPE_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }

    pub fn flag(&self) -> Option<&'static str> {
        self.flags.first().copied()
    }

    /// The default that a profile has for itself.
    pub(super) fn default_of(&self, profile: Profile) -> Option<&'static str> {
        match profile {
            Profile::Single => None,
            Profile::Cluster => self.cluster,
        }
    }
}

/// The setting of that key.
pub fn setting(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// In the list of subcommands: all of them.
pub const EVERY_COMMAND: &[&str] = &["*"];

/// Subcommands with a simulated fleet.
const FLEETS: &[&str] = &[
    "produce",
    "bench produce",
    "bench store",
    "bench drain",
    "bench e2e",
    "bench max",
];
/// Subcommands that consume.
const CONSUMERS: &[&str] = &["consume", "bench drain", "bench e2e", "bench max"];
/// Subcommands that keep windows and alerts, and the one that compares with what is kept.
const KEEPERS: &[&str] = &["consume", "demo", "verify", "bench drain", "bench e2e", "bench max"];
/// Subcommands that make topics.
const WITH_TOPICS: &[&str] = &["init-schema", "bench produce", "bench drain", "bench e2e", "bench max"];
/// Subcommands that may ask a registry.
const WITH_REGISTRY: &[&str] = &[
    "init-schema",
    "produce",
    "consume",
    "bench produce",
    "bench drain",
    "bench e2e",
    "bench max",
];
/// Subcommands that send records.
const SENDERS: &[&str] = &["produce", "bench produce", "bench drain", "bench e2e", "bench max"];
/// Subcommands to which it matters what a record looks like.
const WITH_PAYLOAD: &[&str] = &[
    "init-schema",
    "produce",
    "bench produce",
    "bench store",
    "bench drain",
    "bench e2e",
    "bench max",
];
/// Subcommands that write to the store.
const STORING: &[&str] = &["consume", "bench store", "bench drain", "bench e2e", "bench max"];

/// Which defaults the other settings have. Each default that depends on it is declared with its setting.
const PROFILE: Setting = Setting {
    key: "profile",
    section: "",
    section_about: "",
    about: &[
        " Defaults for `single`, one node of each server, or for `cluster`, three or more: replication 3, min in-sync 2, readings",
        " at ONE and all else at QUORUM. Whatever is set anywhere wins over it.",
    ],
    default: "single",
    cluster: None,
    flags: &["--profile"],
    commands: EVERY_COMMAND,
    switch: None,
    variables: &[],
    shape: <Profile as Value>::SHAPE,
    placeholder: <Profile as Value>::PLACEHOLDER,
};

/// Declares the sections with their settings: a struct each, and one table of all.
macro_rules! settings {
    ($(
        #[doc = $section_about:literal]
        $section:ident: $Struct:ident {$(
            $(#[doc = $about:literal])+
            $key:ident: $type:ty = $default:literal
                $(, cluster $cluster:literal)?
                $(, flags $flags:expr, on $commands:expr)?
                $(, switch $switch:literal = $switch_help:literal)?
                $(, variables $variables:expr)?
                $(, check $check:expr)?
            ;
        )+}
    )+) => {
        /// All settings, in the order of the file.
        pub const SETTINGS: &[Setting] = &[PROFILE, $($(Setting {
            key: concat!(stringify!($section), ".", stringify!($key)),
            section: stringify!($section),
            section_about: $section_about,
            about: &[$($about),+],
            default: $default,
            cluster: settings!(@option $($cluster)?),
            flags: settings!(@or_none $($flags)?),
            commands: settings!(@or_none $($commands)?),
            switch: settings!(@switch $($switch, $switch_help)?),
            variables: settings!(@or_none $($variables)?),
            shape: <$type as Value>::SHAPE,
            placeholder: <$type as Value>::PLACEHOLDER,
        },)+)+];

        $(
            #[doc = $section_about]
            #[derive(Clone, PartialEq, Debug)]
            pub struct $Struct {$(
                $(#[doc = $about])+
                pub $key: $type,
            )+}

            impl $Struct {
                pub(super) fn read(effective: &Effective) -> Result<$Struct, UsageError> {
                    Ok($Struct {$(
                        $key: {
                            let key = concat!(stringify!($section), ".", stringify!($key));
                            let value: $type = effective.value(key)?;
                            $(effective.check(key, &value, $check)?;)?
                            value
                        },
                    )+})
                }
            }
        )+
    };
    (@or_none) => { &[] };
    (@or_none $list:expr) => { $list };
    (@option) => { None };
    (@option $value:literal) => { Some($value) };
    (@switch) => { None };
    (@switch $text:literal, $help:literal) => { Some(Switch { text: $text, help: $help }) };
}

settings! {
    /// Kafka: brokers and topics
    kafka: KafkaConfig {
        /// Brokers to start from, `host:port[,host:port]`.
        brokers: String = "127.0.0.1:9092", flags &["--brokers"], on EVERY_COMMAND,
            variables &["KAFKA_BOOTSTRAP_SERVERS"];
        /// Topic of the readings.
        topic: String = "iot_sensor_data", flags &["--topic"], on EVERY_COMMAND, variables &["KAFKA_TOPIC_NAME"];
        /// Topic of the records that cannot be stored.
        dlq_topic: String = "{kafka.topic}.dlq";
        /// Topic of the alerts.
        alerts_topic: String = "alerts";
        /// Topic of the events: changes of the devices' status.
        events_topic: String = "events";
        /// Topic of the analytics.
        analytics_topic: String = "analytics";
        /// Partitions of the topic of the readings.
        partitions: i32 = "12", cluster "6", flags &["--partitions"], on WITH_TOPICS,
            variables &["KAFKA_PARTITIONS", "KAFKA_NUM_PARTITIONS"], check within(1..=100_000);
        /// Replicas of each partition, all topics.
        replication_factor: i16 = "1", cluster "3", flags &["--replication-factor"], on &["init-schema"],
            variables &["KAFKA_REPLICATION_FACTOR"], check within(1..=i16::MAX);
        /// Replicas that must have a record before it is acknowledged, all topics.
        min_insync_replicas: i16 = "1", cluster "2", flags &["--min-insync-replicas"], on &["init-schema"],
            check within(1..=i16::MAX);
        /// How long the topic keeps readings, for example `7d`; `none` is for ever.
        retention: Option<Duration> = "7d", flags &["--retention"], on &["init-schema"],
            check if_set(between("1m", "36500d"));
        /// How long dead letters are kept.
        dlq_retention: Option<Duration> = "30d";
        /// Partitions of the topic of the alerts.
        alerts_partitions: i32 = "1", check within(1..=100_000);
        /// How long alerts are kept.
        alerts_retention: Option<Duration> = "90d";
        /// Partitions of the topic of the events.
        events_partitions: i32 = "{kafka.partitions}", check within(1..=100_000);
        /// How long events are kept.
        events_retention: Option<Duration> = "30d";
        /// Partitions of the topic of the analytics.
        analytics_partitions: i32 = "{kafka.partitions}", check within(1..=100_000);
        /// How long analytics are kept.
        analytics_retention: Option<Duration> = "7d";
        /// How the brokers are spoken to: `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`; `ssl` is TLS, `sasl` a login.
        security_protocol: KafkaSecurity = "plaintext";
        /// How a login proves its password: `scram_sha_512`, `scram_sha_256` or `plain`.
        sasl_mechanism: SaslMechanism = "scram_sha_512";
        /// User of a login; the password is IOTPIPE_KAFKA_PASSWORD or in the file IOTPIPE_KAFKA_PASSWORD_FILE.
        username: Option<String> = "none";
        /// Authorities that vouch for the brokers, if other than those in [tls].
        ca_file: Option<PathBuf> = "{tls.ca_file}";
        /// Client certificate for the brokers, if another than the one in [tls].
        certificate_file: Option<PathBuf> = "{tls.certificate_file}";
        /// Its key; the password of an encrypted one is IOTPIPE_KAFKA_KEY_PASSWORD or in the file
        /// IOTPIPE_KAFKA_KEY_PASSWORD_FILE.
        key_file: Option<PathBuf> = "{tls.key_file}";
    }

    /// The store of the readings
    store: StoreConfig {
        /// `cassandra://host[,host]:9042/keyspace` or `sqlite:path`.
        url: StoreUrl = "cassandra://127.0.0.1:9042/iot_data", flags &["--store"], on EVERY_COMMAND,
            variables &["IOTPIPE_STORE"];
        /// Cassandra's user; the password is IOTPIPE_CASSANDRA_PASSWORD or in the file IOTPIPE_CASSANDRA_PASSWORD_FILE.
        username: Option<String> = "none";
        /// Cassandra is spoken to by TLS. A node's certificate must be for its address, or for a host name in the url.
        tls: bool = "false";
        /// Authorities that vouch for the nodes, if other than those in [tls].
        ca_file: Option<PathBuf> = "{tls.ca_file}";
        /// Client certificate for the nodes, if another than the one in [tls].
        certificate_file: Option<PathBuf> = "{tls.certificate_file}";
        /// Its key; the password of an encrypted one is IOTPIPE_CASSANDRA_KEY_PASSWORD or in the file
        /// IOTPIPE_CASSANDRA_KEY_PASSWORD_FILE.
        key_file: Option<PathBuf> = "{tls.key_file}";
        /// Cassandra's consistency: `quorum`, `all`, or `local_quorum` where all consumers use one data centre.
        consistency: Consistency = "local_quorum", cluster "quorum";
        /// The same for readings alone, where it is another: also `one` or `local_one`. Then they are requests of their own, one
        /// replica's word is enough, and a question may miss what the others do not have yet (docs/architecture.md).
        readings_consistency: ReadingsConsistency = "{store.consistency}", cluster "one";
        /// The data centre whose nodes of Cassandra are asked; needed for `local_quorum` where there are several.
        data_centre: Option<String> = "none";
        /// Copies of each row in Cassandra: a number, or one for each data centre: `dc1=3,dc2=2`.
        replication: Replication = "1", cluster "3", flags &["--store-replication"], on &["init-schema"];
        /// How long readings are kept, for example `90d`; `none` is for ever. Older data are dead letters.
        readings_ttl: Option<Duration> = "none", flags &["--readings-ttl"], on &["init-schema"],
            check if_set(between("2d", "7300d"));
        /// Cassandra's compaction of the readings: `twcs`, `stcs`, `lcs` or `ucs`.
        readings_compaction: Compaction = "twcs", flags &["--readings-compaction"], on &["init-schema"];
        /// SQLite's `synchronous`; only `full` survives a power cut whole.
        sqlite_synchronous: SqliteSynchronous = "full";
        /// The longest that connecting to one node may take.
        connect_timeout: Duration = "5s", check between("100ms", "10m");
        /// The longest that one request may take.
        request_timeout: Duration = "10s", check between("100ms", "10m");
    }

    /// The registry of the schemas of records in Avro
    registry: RegistryConfig {
        /// Registry with Confluent's interface, `http://host:8081` or `https://…`; for Apicurio with `/apis/ccompat/v7` behind
        /// it. Without one there is no Avro.
        url: Option<RegistryUrl> = "none", flags &["--registry"], on WITH_REGISTRY, variables &["SCHEMA_REGISTRY_URL"];
        /// User for basic authentication; the password is IOTPIPE_REGISTRY_PASSWORD or in the file
        /// IOTPIPE_REGISTRY_PASSWORD_FILE.
        username: Option<String> = "none";
        /// Authorities that vouch for the registry, if other than those in [tls].
        ca_file: Option<PathBuf> = "{tls.ca_file}";
        /// How long a schema that the registry does not know is asked for again before its record is a dead letter.
        unknown_schema_wait: Duration = "60s", flags &["--unknown-schema-wait"], on &["consume"], check between("0s", "1h");
        /// The longest that one request may take.
        request_timeout: Duration = "5s", check between("100ms", "10m");
    }

    /// TLS, wherever it is spoken
    tls: TlsConfig {
        /// PEM file of the authorities that vouch for servers; `none` is those that this system trusts.
        ca_file: Option<PathBuf> = "none";
        /// PEM file of the client certificate for servers that ask for one.
        certificate_file: Option<PathBuf> = "none";
        /// PEM file of its key.
        key_file: Option<PathBuf> = "none";
        /// Believe every certificate of Kafka, Cassandra and the registry, whoever shows it: for laboratories.
        insecure_skip_verify: bool = "false", flags &["--insecure-skip-verify"], on EVERY_COMMAND,
            switch "true" = "Believe every certificate of Kafka, Cassandra and the registry: for laboratories";
    }

    /// The consumer
    consume: ConsumeConfig {
        /// Consumer group.
        group: String = "iotpipe", flags &["--group"], on &["consume"], variables &["KAFKA_CONSUMER_GROUP_ID"];
        /// Name of this member, unique in its group: after a restart it gets its partitions back at once.
        instance_id: Option<String> = "none", flags &["--instance-id"], on &["consume"];
        /// Where to start on sources without a committed offset that the store's ledger does not know: `earliest` or
        /// `latest`. Everywhere else it has no effect.
        start: Start = "earliest", flags &["--start"], on &["consume"], variables &["KAFKA_AUTO_OFFSET_RESET"];
        /// Where records were lost before they were read: `refuse` to go on, or record the hole and `continue`.
        on_data_loss: OnDataLoss = "refuse", flags &["--on-data-loss"], on &["consume"];
        /// Requests to the store in flight.
        writers: usize = "32", flags &["--writers"], on STORING, check within(1..=4096);
        /// Readings held in memory until the store has acknowledged them.
        pending_readings: usize = "50000", flags &["--pending-readings"], on CONSUMERS,
            check within(1000..=100_000_000);
        /// Memory for what is known of sensors between two records: their state, their open windows. With more sensors than
        /// fit, the store is asked again for those that come back.
        state_memory: ByteSize = "256MiB", flags &["--state-memory"], on CONSUMERS, check at_least("1MiB");
        /// The longest that a sensor's state, and while the store is busy its windows, wait for the sensor's next write to take
        /// them along; its offsets are committed once they are stored. `0s` stores them with every write.
        state_interval: Duration = "5s", flags &["--state-interval"], on CONSUMERS, check between("0s", "1m");
        /// Reads of state and windows from the store in flight.
        loaders: usize = "256", flags &["--loaders"], on CONSUMERS, check within(1..=4096);
        /// The largest record that is decoded; a larger one is a dead letter.
        max_payload: ByteSize = "1MiB";
        /// Encoding of the alerts, events and analytics that are sent: `json`, or `avro` with schemas in the registry.
        outputs_codec: Codec = "json", flags &["--outputs-codec"], on &["consume"];
        /// How often offsets are committed.
        commit_interval: Duration = "1s", check between("10ms", "1h");
        /// The longest that writes of revoked partitions may take to finish.
        drain_timeout: Duration = "20s", check between("0s", "1h");
        /// How long the group waits for a silent member before it gives its partitions away.
        session_timeout: Duration = "10s", check between("1s", "30m");
    }

    /// Windows
    windows: WindowsConfig {
        /// Windows by event time are kept up to date in the store: count, sum, mean, deviation, least, greatest, first and
        /// last value of each measure of a sensor.
        enabled: bool = "true", flags &["--no-windows"], on KEEPERS, switch "false" = "No windows are kept";
        /// Their sizes, for example `1m`; each divides a day. Larger ones are put together from them when asked for.
        sizes: WindowSizes = "1m,1h";
    }

    /// Alerts
    alerts: AlertsConfig {
        /// The rules judge each reading; what they find goes to the store and to the topic of the alerts.
        enabled: bool = "true", flags &["--no-alerts"], on KEEPERS, switch "false" = "No alerts are kept: no rule judges";
    }

    /// Analytics
    analytics: AnalyticsConfig {
        /// Windows that changed are sent to the topic of the analytics with every commit of offsets.
        enabled: bool = "false", flags &["--analytics"], on CONSUMERS,
            switch "true" = "Send windows that changed to the topic of the analytics with every commit";
    }

    /// The simulated fleet
    produce: ProduceConfig {
        /// Sensors.
        sensors: u32 = "1000", flags &["--sensors", "--num-sensors"], on FLEETS, variables &["IOT_NUM_DEVICES"],
            check within(1..=100_000_000);
        /// Measures that the fleet knows.
        kinds: Vec<String> = "temperature,humidity,pressure,voltage,motion,light", flags &["--kinds"], on FLEETS,
            variables &["IOT_DEVICE_TYPES"], check not_empty;
        /// Records per second, all sensors together; 0 is as fast as possible.
        rate: f64 = "3500", flags &["--rate"], on &["produce", "bench e2e"], variables &["PRODUCER_TARGET_RATE"],
            check within(0.0..=1e9);
        /// Seconds between two records of one sensor, or a duration such as `500ms`. Follows from sensors and rate where it
        /// is not set, and is 1 s at rate 0; set it, and the rate follows.
        interval: Option<Seconds> = "none", flags &["--interval"], on &["produce"], variables &["IOT_DATA_INTERVAL_SEC"];
        /// `narrow`: one measure a record; `wide`: all measures of the sensor in one.
        payload: Payload = "narrow", flags &["--payload"], on WITH_PAYLOAD;
        /// `json`, or `avro` with a schema in the registry.
        codec: Codec = "json", flags &["--codec"], on SENDERS;
        /// The same seed makes the same fleet and the same readings.
        seed: u64 = "42", flags &["--seed"], on FLEETS;
    }

    /// Faults of the simulated fleet, by probability (0 to 1)
    faults: FaultsConfig {
        /// A spike, a drift or a stuck value begins.
        anomaly_probability: f64 = "0", flags &["--anomaly-probability"], on &["produce"],
            variables &["IOT_ANOMALY_PROBABILITY"], check within(0.0..=1.0);
        /// The record is late.
        late_probability: f64 = "0", flags &["--late-probability"], on &["produce"], check within(0.0..=1.0);
        /// The longest that a late record is late.
        late_max: Duration = "1h", flags &["--late-max"], on &["produce"];
        /// The record is sent twice.
        duplicate_probability: f64 = "0", flags &["--duplicate-probability"], on &["produce"], check within(0.0..=1.0);
        /// The record cannot be decoded.
        malformed_probability: f64 = "0", flags &["--malformed-probability"], on &["produce"], check within(0.0..=1.0);
        /// The sensor falls silent for a while.
        silence_probability: f64 = "0", flags &["--silence-probability"], on &["produce"], check within(0.0..=1.0);
    }

    /// Names of the fields in records
    fields: FieldsConfig {
        /// The sensor's id: the first of these names that a record has.
        id: Vec<String> = "sensor_id,device_id", check not_empty;
        /// The event time, likewise.
        time: Vec<String> = "reading_time,timestamp", check not_empty;
        /// The measure's name, in records of one measure.
        type_field: String = "type";
        /// The measure's value, in records of one measure.
        value_field: String = "reading";
        /// Fields that are no measure, in records of several measures.
        ignored: Vec<String> = "";
        /// The sensor's place.
        location: String = "location";
        /// The sensor's own word on how it is.
        status: String = "status";
    }

    /// Logs
    log: LogConfig {
        /// The least severe lines that are logged to stderr: `off`, `error`, `warn`, `info`, `debug` or `trace`.
        level: LevelFilter = "info", flags &["--log-level"], on EVERY_COMMAND, variables &["LOG_LEVEL"];
        /// File that gets the lines too; `iotpipe.log` where ENVIRONMENT=production.
        file: Option<String> = "none";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_flags_and_variables_are_unique() {
        let mut seen = BTreeSet::new();
        for setting in SETTINGS {
            assert!(seen.insert(setting.key.to_owned()), "{}", setting.key);
            assert!(seen.insert(setting.variable()), "{}", setting.variable());
            assert!(
                setting
                    .variables
                    .iter()
                    .chain(setting.flags)
                    .all(|name| seen.insert((*name).to_owned()))
            );
        }
    }
}
